"""Sign-In with Ethereum, sessions and API keys.

Secrets leave once, in the answer; the database holds keyed hashes of them, whose key is in the vault.
"""

import uuid
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.byte_text import base64url
from platemark.protocol.siwe import SignInMessage
from platemark.protocol.units import Address, UnixSeconds, address_text
from platemark_gateway.audit import journal
from platemark_gateway.auth import repository, signatures
from platemark_gateway.auth.scopes import EVERYBODY, Principal, Scope
from platemark_gateway.container import Container
from platemark_gateway.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from platemark_gateway.models.access import ApiKey, Challenge, Session

SESSION_PREFIX: Final = "pms_"
API_KEY_PREFIX: Final = "pmk_"
_SECRET_BYTES: Final = 32
_LONGEST_CREDENTIAL: Final = 128
_STATEMENT: Final = "Sign in to the Platemark gateway. This costs nothing and sends no transaction."


async def challenge(session: AsyncSession, container: Container, address: Address) -> SignInMessage:
    """Return a new message for an account to sign; its nonce is good for one sign-in."""
    now = container.clock.now()
    url = container.settings.public_url()
    message = SignInMessage(
        domain=urlsplit(url).netloc,
        address=address,
        statement=_STATEMENT,
        uri=url,
        chain_id=container.chain.deployment.chain_id,
        nonce=container.randomness.token_bytes(16).hex(),
        issued_at=now,
        expires_at=UnixSeconds(now + container.settings.challenge_seconds),
    )
    await repository.forget_expired(session, now)
    session.add(Challenge(nonce=message.nonce, address=address, issued_at=now, expires_at=message.expires_at))
    return message


async def check_message(container: Container, text: str, signature: bytes) -> SignInMessage:
    """Return the message in `text`, which is for this gateway and signed by its account.

    Errors: MalformedError `sign-in-message`; UnauthenticatedError `sign-in-foreign`, `signature-invalid`.
    """
    message = SignInMessage.parse(text)
    url = container.settings.public_url()
    expected = (urlsplit(url).netloc, url, container.chain.deployment.chain_id)
    if (message.domain, message.uri, message.chain_id) != expected:
        raise UnauthenticatedError("the message was issued by somebody else", code="sign-in-foreign")
    await signatures.check(container.chain, message.address, message.digest(), signature)
    return message


async def sign_in(session: AsyncSession, container: Container, message: SignInMessage) -> tuple[str, Session]:
    """Return a session's secret and row for a checked message, whose nonce is used up by this.

    Errors: UnauthenticatedError `nonce-spent` for a nonce that is unknown, used, expired or another account's.
    """
    now = container.clock.now()
    if not await repository.use_challenge(session, message.nonce, message.address, now):
        raise UnauthenticatedError(
            "this sign-in message was used, has expired or was never issued",
            code="nonce-spent",
            hint="ask for a new challenge",
        )
    scopes = await _scopes_of(container, message.address)
    secret = SESSION_PREFIX + base64url(container.randomness.token_bytes(_SECRET_BYTES))
    row = Session(
        id=container.randomness.new_id(),
        secret_mac=_mac(container, secret),
        address=message.address,
        scopes=sorted(scopes),
        created_at=now,
        expires_at=UnixSeconds(now + container.settings.session_seconds),
    )
    session.add(row)
    journal.record(
        session, container.clock, actor=message.address, action="sign-in", subject=address_text(message.address)
    )
    return secret, row


async def sign_out(session: AsyncSession, container: Container, principal: Principal, credential: str) -> None:
    """End the session of a credential, if it is one."""
    await repository.end_session(session, _mac(container, credential))
    journal.record(
        session, container.clock, actor=principal.address, action="sign-out", subject=address_text(principal.address)
    )


async def principal_of(session: AsyncSession, container: Container, credential: str) -> Principal:
    """Return who a session or an API key belongs to.

    Errors: UnauthenticatedError `credential-invalid` for anything unknown, expired or revoked.
    """
    found: Session | ApiKey | None = None
    if len(credential) <= _LONGEST_CREDENTIAL and credential.isascii():
        mac = _mac(container, credential)
        if credential.startswith(SESSION_PREFIX):
            found = await repository.session_of(session, mac, container.clock.now())
        elif credential.startswith(API_KEY_PREFIX):
            found = await repository.key_of(session, mac)
    if found is None:
        raise UnauthenticatedError(
            "the session or API key is unknown, expired or revoked", code="credential-invalid", hint="sign in again"
        )
    scopes = frozenset(Scope(scope) for scope in found.scopes)
    return Principal(found.address, scopes, has_signed_in=isinstance(found, Session))


async def make_key(
    session: AsyncSession, container: Container, principal: Principal, name: str, scopes: frozenset[Scope]
) -> tuple[str, ApiKey]:
    """Return a new key's secret and row; the key may do no more than the caller.

    Errors: ForbiddenError `scope`.
    """
    if not scopes <= principal.scopes:
        raise ForbiddenError("a key cannot do more than its maker", code="scope")
    secret = API_KEY_PREFIX + base64url(container.randomness.token_bytes(_SECRET_BYTES))
    row = ApiKey(
        id=container.randomness.new_id(),
        secret_mac=_mac(container, secret),
        name=name,
        address=principal.address,
        scopes=sorted(scopes),
        created_at=container.clock.now(),
    )
    session.add(row)
    journal.record(
        session,
        container.clock,
        actor=principal.address,
        action="api-key.make",
        subject=str(row.id),
        detail={"scopes": sorted(scopes)},
    )
    return secret, row


async def revoke_key(session: AsyncSession, container: Container, principal: Principal, key_id: uuid.UUID) -> None:
    """Revoke one of the caller's keys; again is harmless.

    Errors: NotFoundError `api-key-unknown`.
    """
    if not await repository.revoke_key(session, key_id, principal.address, container.clock.now()):
        raise NotFoundError("there is no such API key", code="api-key-unknown")
    journal.record(session, container.clock, actor=principal.address, action="api-key.revoke", subject=str(key_id))


async def _scopes_of(container: Container, address: Address) -> frozenset[Scope]:
    if address == container.vault.account:
        return EVERYBODY | {Scope.OPERATOR}
    return EVERYBODY


def _mac(container: Container, credential: str) -> bytes:
    return container.vault.mac("credential", credential.encode())
