"""Sign-In with Ethereum: the text that a person's wallet shows and signs.

Only the form that gateways issue: version 1, whole seconds in UTC, a statement, no `not before`, no request id,
no resources. Every text has one reading and every reading one text.

Source: ERC-4361, EIP-191.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from platemark.errors import MalformedError
from platemark.protocol.moments import RFC_3339, rfc3339
from platemark.protocol.plain_text import line_of
from platemark.protocol.units import Address, Digest32, UnixSeconds, address_text, keccak256, parse_address

MAX_LENGTH: Final = 2048
LATEST: Final = UnixSeconds(253_402_300_799)  # the end of the year 9999

_DOMAIN: Final = re.compile(r"[A-Za-z0-9.\-\[\]:]{1,255}")
_URI: Final = re.compile(r"https?://[!-~]{1,1024}")
_NONCE: Final = re.compile(r"[A-Za-z0-9]{8,96}")
_TEXT: Final = re.compile(
    r"(?P<domain>[^ \n]+) wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9a-fA-F]{40})\n"
    r"\n"
    r"(?P<statement>[^\n]+)\n"
    r"\n"
    r"URI: (?P<uri>[^\n]+)\n"
    r"Version: 1\n"
    r"Chain ID: (?P<chain>[1-9][0-9]{0,15})\n"
    r"Nonce: (?P<nonce>[^\n]+)\n"
    r"Issued At: (?P<issued>[^\n]+)\n"
    r"Expiration Time: (?P<expires>[^\n]+)"
)


@dataclass(frozen=True, slots=True)
class SignInMessage:
    """A sign-in message; `domain` is the console's host and port, times are Unix seconds."""

    domain: str
    address: Address
    statement: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: UnixSeconds
    expires_at: UnixSeconds

    def __post_init__(self) -> None:
        """Errors: MalformedError `sign-in-message` for a member that could not be read back."""
        line_of(self.statement, max_length=500)
        for pattern, value in ((_DOMAIN, self.domain), (_URI, self.uri), (_NONCE, self.nonce)):
            if not pattern.fullmatch(value):
                raise MalformedError("a member of the sign-in message is ill-formed", code="sign-in-message")
        if self.chain_id < 1 or not 0 <= self.issued_at < self.expires_at <= LATEST:
            raise MalformedError("the sign-in message's chain or times are impossible", code="sign-in-message")

    def text(self) -> str:
        """Return what the wallet shows and signs."""
        return (
            f"{self.domain} wants you to sign in with your Ethereum account:\n{address_text(self.address)}\n\n"
            f"{self.statement}\n\nURI: {self.uri}\nVersion: 1\nChain ID: {self.chain_id}\nNonce: {self.nonce}\n"
            f"Issued At: {rfc3339(self.issued_at)}\nExpiration Time: {rfc3339(self.expires_at)}"
        )

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the message in `text`, which must be exactly what `text()` writes.

        Errors: MalformedError `sign-in-message`.
        """
        found = _TEXT.fullmatch(text) if isinstance(text, str) and len(text) <= MAX_LENGTH else None
        if found is None:
            raise MalformedError("this is not the sign-in message that was issued", code="sign-in-message")
        message = cls(
            domain=found["domain"],
            address=parse_address(found["address"]),
            statement=found["statement"],
            uri=found["uri"],
            chain_id=int(found["chain"]),
            nonce=found["nonce"],
            issued_at=_seconds(found["issued"]),
            expires_at=_seconds(found["expires"]),
        )
        if message.text() != text:
            raise MalformedError("this is not the sign-in message that was issued", code="sign-in-message")
        return message

    def digest(self) -> Digest32:
        """Return what the wallet signs: EIP-191, version 0x45, over the text."""
        return personal_digest(self.text().encode())


def personal_digest(message: bytes) -> Digest32:
    """Return EIP-191's `personal_sign` digest of a message."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def _seconds(text: str) -> UnixSeconds:
    try:
        moment = datetime.strptime(text, RFC_3339).replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedError("a time of the sign-in message is ill-formed", code="sign-in-message") from error
    return UnixSeconds(int(moment.timestamp()))
