"""Signing in to a gateway with an account: what is signed is read first (ERC-4361)."""

from urllib.parse import urlsplit

from platemark.errors import MalformedError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.siwe import SignInMessage
from platemark.protocol.units import address_text
from platemark.sdk.answers import SignInChallenge


def signed_message(challenge: SignInChallenge, account: AccountKey, gateway_url: str) -> tuple[str, bytes]:
    """Return the sign-in text and the account's signature (65 bytes).

    The text must be a sign-in for this account at the very address that is being called; otherwise a gateway could
    pass on the challenge of another one and sign in there.

    Errors: VerificationError `sign-in-message`.
    """
    try:
        message = SignInMessage.parse(challenge.text)
    except MalformedError as error:
        raise _foreign("a sign-in message", "something else") from error
    called = urlsplit(gateway_url).netloc
    if message.address != account.address:
        raise _foreign(address_text(account.address), address_text(message.address))
    if message.domain != called or urlsplit(message.uri).netloc != called:
        raise _foreign(f"a sign-in at {called}", f"one at {message.domain}")
    return challenge.text, account.sign(message.digest())


def _foreign(expected: str, found: str) -> VerificationError:
    return VerificationError(
        "the gateway asks for a signature that is no sign-in for it",
        step="sign-in",
        code="sign-in-message",
        expected=expected,
        found=found,
        hint="call the gateway by the address that it announces",
    )
