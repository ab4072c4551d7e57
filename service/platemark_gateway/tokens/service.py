"""Print tokens: relay the permission, issue the token sealed to its agent, stop it, close it.

Steps are numbered as in docs/flows/redemption.md, section "before the first print".
"""

import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import MalformedError
from platemark.protocol import token as print_token
from platemark.protocol.cid import Cid
from platemark.protocol.digests import tag, token_digest
from platemark.protocol.permission import LAST_RELEASE_BEFORE_EXPIRY_SECONDS, check_reservation
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.token import PrintToken
from platemark.protocol.typed_data import Close, Reservation, Stop, Terms, TokenRequest
from platemark.protocol.units import Address, Digest32, TokenId, UnixSeconds, id_text
from platemark_gateway import profiles
from platemark_gateway.audit import journal
from platemark_gateway.auth import signatures
from platemark_gateway.clock import chain_now
from platemark_gateway.container import Container
from platemark_gateway.db import locks
from platemark_gateway.errors import ConflictError, ForbiddenError, UnauthenticatedError, UnavailableError, not_final
from platemark_gateway.models.license import License
from platemark_gateway.models.printlog import LogHead
from platemark_gateway.models.token import Deciding, Token
from platemark_gateway.ports import ChainProgress, Contract, FactStatus, KeyKind
from platemark_gateway.ratelimit import quotas
from platemark_gateway.tokens import errors, repository

BATCH: Final = "reserve-batch"
"""Purpose of a transaction that reserves several permissions."""
SHORTEST_CLOSE_SECONDS: Final = 30
LONGEST_CLOSE_SECONDS: Final = 86_400
"""An offer to close freezes the token until it is used or its deadline is over in a final block."""


@dataclass(frozen=True, slots=True)
class TokenState:
    """A token with what the chain says of it."""

    row: Token
    status: FactStatus
    settled_sequence: int
    burned: int
    retry_after_seconds: int | None


# --- the permission, relayed ------------------------------------------------------------------------------


def permission_of(row: Token) -> Reservation:
    """Return the permission that the holder signed."""
    return Reservation(
        holder=row.holder,
        gateway=row.gateway,
        agent=row.agent,
        license_id=row.license_id,
        revision=row.revision,
        prints=row.prints,
        expires_at=row.expires_at,
        deadline=row.deadline,
        salt=row.salt,
    )


def permitted(token_id: TokenId, permission: Reservation, terms: Terms, now: UnixSeconds) -> Token:
    """Return the row of a token that no block has: as its permission says, with the spares that the terms give."""
    return Token(
        token_id=token_id,
        holder=permission.holder,
        gateway=permission.gateway,
        agent=permission.agent,
        license_id=permission.license_id,
        revision=permission.revision,
        prints=permission.prints,
        expires_at=permission.expires_at,
        deadline=permission.deadline,
        salt=permission.salt,
        design_id=terms.design_id,
        spares=terms.spares(permission.prints),
        created_at=now,
    )


async def check_relay(container: Container, reservation: Reservation, signature: bytes) -> None:
    """Pass when the holder signed and has the prints; asks the chain, so call it outside a transaction.

    Errors: UnauthenticatedError `signature-invalid`; ConflictError `balance-short`; UnavailableError.
    """
    deployment = container.chain.deployment
    digest = reservation.digest(deployment.ledger_domain())
    await signatures.check(container.chain, reservation.holder, digest, signature)
    known = await container.chain.reservation(
        reservation.gateway, reservation.license_id, TokenId(int.from_bytes(digest, "big"))
    )
    if known is not None:
        return  # on the ledger already: repeating is harmless
    balance = await container.chain.balance(reservation.license_id, reservation.holder)
    if balance < reservation.prints:
        raise ConflictError(
            f"the holder has {balance} prints of this licence, not {reservation.prints}",
            code="balance-short",
            expected=reservation.prints,
        )


async def relay(session: AsyncSession, container: Container, reservation: Reservation, signature: bytes) -> Token:
    """Note a checked permission for the next batch (`reserving`) and return its token's row; repeating changes nothing.

    Errors: NotFoundError `license-unknown`; ConflictError `license-moved`, `revision-recalled`,
        `revision-not-accepted`; RefusedError of `check_reservation`; LimitedError `limit-gas`.
    """
    deployment = container.chain.deployment
    token_id = reservation.token_id(deployment.ledger_domain())
    await locks.take(session, f"reserve:{id_text(token_id)}")
    row = await repository.lock(session, token_id)
    if row is not None:
        row.holder_signature = row.holder_signature or signature
        if row.seen_block is not None or not await _failed(session, container, row):
            return row
    now = await now_of(session, container)
    license_row, terms = await _license(session, container, reservation)
    check_reservation(reservation, terms, gateway=license_row.gateway, domain=deployment.license_domain(), now=now)
    await check_printable(session, reservation.revision, license_row)
    await quotas.spend_relays(
        session,
        container.clock,
        payer=reservation.holder,
        gateway=container.vault.account,
        amount=1,
        limit=container.settings.relays_per_day,
        limit_in_all=container.settings.relays_per_day_in_all,
    )
    if row is None:
        row = permitted(token_id, reservation, terms, container.clock.now())
        session.add(row)
    row.holder_signature = signature
    row.transaction_id = None
    journal.record(
        session, container.clock, actor=reservation.holder, action="token.reserve", subject=id_text(token_id)
    )
    await session.flush()
    return row


async def _failed(session: AsyncSession, container: Container, row: Token) -> bool:
    if row.transaction_id is None:
        return False
    view = await container.transactions.view(session, row.transaction_id)
    # A batch that failed is taken apart, and its tokens are sent again by themselves.
    return view is not None and view.status == FactStatus.FAILED and view.purpose != BATCH


async def _license(session: AsyncSession, container: Container, reservation: Reservation) -> tuple[License, Terms]:
    row = await repository.license_of(session, reservation.license_id)
    if row is None or row.seen_block is None:
        raise errors.license_unknown()
    if row.gateway != container.vault.account:
        raise errors.license_moved(row.gateway)
    return row, Terms.from_json(row.terms)


async def check_printable(session: AsyncSession, revision: int, license_row: License) -> None:
    """Pass when a licence's revision is the one that is reserved, and is not recalled.

    Errors: ConflictError `revision-not-accepted`, `revision-recalled`.
    """
    if revision != license_row.revision:
        raise ConflictError(
            f"the licence is for revision {license_row.revision}",
            code="revision-not-accepted",
            expected=license_row.revision,
        )
    found = await repository.revision_of(session, license_row.design_id, revision)
    if found is not None and (found.recalled_block is not None or found.recall_signed_at is not None):
        raise errors.revision_recalled()


# --- reading ----------------------------------------------------------------------------------------------


def index_empty() -> UnavailableError:
    """Return the refusal of what needs to know where the chain is."""
    return UnavailableError("the chain has not been read yet", code="index-empty", retry_after_seconds=2)


async def progress_of(session: AsyncSession, container: Container) -> ChainProgress:
    """Return how far the index has come.

    Errors: UnavailableError `index-empty` before its first block.
    """
    progress = await container.index.progress(session)
    if progress is None:
        raise index_empty()
    return progress


async def now_of(session: AsyncSession, container: Container) -> UnixSeconds:
    """Return "now" for rules that the ledger will check too: the later of clock and head block."""
    progress = await container.index.progress(session)
    return chain_now(container.clock, progress.head.timestamp if progress else UnixSeconds(0))


async def state_of(session: AsyncSession, container: Container, token_id: TokenId) -> TokenState:
    """Return a token's state; errors: NotFoundError `token-unknown`."""
    row = await repository.get(session, token_id)
    if row is None or row.gateway != container.vault.account:
        raise errors.token_unknown()
    return await _state(session, container, row)


async def list_of(
    session: AsyncSession, container: Container, holder: Address, *, after: TokenId | None, limit: int
) -> list[TokenState]:
    """Return a holder's tokens of this gateway, in the order of their ids."""
    rows = await repository.held_by(session, container.vault.account, holder, after=after, limit=limit)
    return [await _state(session, container, row) for row in rows]


async def _state(session: AsyncSession, container: Container, row: Token) -> TokenState:
    progress = await container.index.progress(session)
    status = progress.status(row.seen_block) if progress else FactStatus.PENDING
    if status is FactStatus.PENDING and await _failed(session, container, row):
        status = FactStatus.FAILED
    settled = await repository.settled(session, row.token_id)
    waiting = status in {FactStatus.PENDING, FactStatus.SEEN, FactStatus.CONFIRMED}
    return TokenState(
        row=row,
        status=status,
        settled_sequence=settled.sequence if settled else 0,
        burned=settled.burned if settled else 0,
        retry_after_seconds=container.settings.finality_seconds if waiting else None,
    )


def prints_left(row: Token) -> int:
    """Return how many more sequences may be redeemed, as counts stand."""
    return min(row.prints - (row.released - row.voided), row.prints + row.spares - row.released)


# --- the log, as far as tokens and prints need it ---------------------------------------------------------


async def open_log(session: AsyncSession) -> LogHead:
    """Return the head of the log that grows.

    Errors: UnavailableError `quarantine` while nothing may be released, or before the log was opened.
    """
    head = await repository.log_head(session)
    if head is None:
        raise errors.log_closed()
    if head.quarantine is not None:
        raise errors.quarantine(head.quarantine)
    return head


# --- issue ------------------------------------------------------------------------------------------------


def wrapping_context(container: Container, token_id: TokenId) -> bytes:
    """Return the associated data of a token at rest: it opens in its own row only."""
    deployment = container.chain.deployment
    return (
        tag("vault-token") + deployment.chain_id.to_bytes(32, "big") + deployment.ledger + token_id.to_bytes(32, "big")
    )


def issued_text(container: Container, row: Token | Deciding) -> str:
    """Return the token (compact JWS) that was issued for a row.

    Errors: VaultError `vault-unwrap` for a row that was changed or moved.
    """
    if row.wrapped_token is None:
        raise errors.token_unknown()
    return container.vault.unwrap(row.wrapped_token, wrapping_context(container, row.token_id)).decode()


async def check_ledger(container: Container, token_id: TokenId) -> None:
    """Pass when the ledger's storage, in the final block, says what the index says; asks the chain, as `check_relay`.

    Errors: NotFoundError `token-unknown`; UnconfirmedError `awaiting-finality`; ConflictError `token-closed`.
    """
    async with container.database.read() as session:
        row = await repository.get(session, token_id)
        if row is None or row.gateway != container.vault.account:
            raise errors.token_unknown()
        progress = await progress_of(session, container)
        if progress.status(row.seen_block) is not FactStatus.FINAL:
            raise not_final(container.settings.finality_seconds, progress.dispute)
    state = await container.chain.reservation(row.gateway, row.license_id, token_id, block=progress.final.number)
    if state is None:
        raise not_final(container.settings.finality_seconds, progress.dispute)
    if state.closed:
        raise errors.token_closed()
    found = (state.agent, state.expires_at, state.prints, state.spares)
    if found != (row.agent, row.expires_at, row.prints, row.spares):
        raise UnavailableError("the ledger says something else than its events", code="chain-contradicts")


async def issue(
    session: AsyncSession, container: Container, request: TokenRequest, recipient_public: bytes, signature: bytes
) -> tuple[bytes, UnixSeconds]:
    """Return a final reservation's print token, sealed to its agent, and when it expires.

    The same reservation and recipient have the same token for ever.

    Errors: NotFoundError `token-unknown`; UnconfirmedError `awaiting-finality`; UnauthenticatedError
        `signature-invalid`; ConflictError `deadline-passed`, `token-…`, `revision-recalled`, `key-not-deposited`;
        UnavailableError `quarantine`. A token that was lost is not made again under other keys: prints cite its digest.
    """
    row = await repository.lock(session, request.token_id)
    if row is None or row.gateway != container.vault.account:
        raise errors.token_unknown()
    domain = container.chain.deployment.ledger_domain()
    if print_token.requesting_agent(request, recipient_public, signature, domain) != row.agent:
        raise UnauthenticatedError("the request is not by the token's agent", code="signature-invalid")
    head = await open_log(session)
    progress = await progress_of(session, container)
    now = chain_now(container.clock, progress.head.timestamp)
    if now > request.deadline:
        raise ConflictError("the request's deadline has passed", code="deadline-passed")
    if progress.status(row.seen_block) is not FactStatus.FINAL or row.reserved_at is None:
        raise not_final(container.settings.finality_seconds, progress.dispute)
    if row.wrapped_token is not None:
        if row.recipient_digest != request.recipient_digest:
            raise errors.token_bound()
        text = issued_text(container, row)
        return print_token.seal_token(text, row.token_id, recipient_public), row.expires_at
    check_open(row, progress, now)
    if row.is_lost:
        raise errors.token_lost()
    revision = await repository.revision_of(session, row.design_id, row.revision)
    if revision is None or revision.manifest_cid is None or revision.wrapped_package is None:
        raise ConflictError("the design's manifest or key is not deposited here", code="key-not-deposited")
    if revision.recalled_block is not None or revision.recall_signed_at is not None:
        raise errors.revision_recalled()
    profile = await profiles.profile_of(session, container, head.profile_digest)
    text = _signed(container, row, row.reserved_at, Cid.parse(revision.manifest_cid), request.recipient_digest, profile)
    sealed = print_token.seal_token(text, row.token_id, recipient_public)
    row.wrapped_token = container.vault.wrap(text.encode(), wrapping_context(container, row.token_id))
    row.recipient_digest = request.recipient_digest
    row.issued_at = container.clock.now()
    journal.record(session, container.clock, actor=row.agent, action="token.issue", subject=id_text(row.token_id))
    await session.flush()
    return sealed, row.expires_at


def _signed(
    container: Container,
    row: Token,
    reserved_at: UnixSeconds,
    manifest: Cid,
    recipient_digest: Digest32,
    profile: GatewayProfile,
) -> str:
    """Return the token (compact JWS) of a reservation; the same under the same profile, whenever it is made."""
    claims = PrintToken(
        token_id=row.token_id,
        chain_id=container.chain.deployment.chain_id,
        ledger=container.chain.deployment.ledger,
        license_id=row.license_id,
        design_id=row.design_id,
        revision=row.revision,
        manifest=manifest,
        agent=row.agent,
        recipient_digest=recipient_digest,
        prints=row.prints,
        spares=row.spares,
        not_before=reserved_at,
        expires_at=row.expires_at,
        gateway_url=profile.url,
        profile_digest=profile.digest(),
    )
    return claims.sign(profiles.signer_of(container, profile))


async def make_again(
    session: AsyncSession, container: Container, row: Token, recipient_digest: Digest32, digest: Digest32
) -> bool:
    """Make a token again that was issued and lost with the database; return whether it is the one with that digest.

    Its bytes follow from the reservation, the recipient and the profile of its day. A vault that lacks the key, or a
    profile that is not stored, make none.
    """
    revision = await repository.revision_of(session, row.design_id, row.revision)
    if revision is None or revision.manifest_cid is None or row.reserved_at is None:
        return False
    manifest = Cid.parse(revision.manifest_cid)
    for profile in await profiles.stored(session):
        if not container.vault.holds(KeyKind.RELEASE, profile.release_key):
            continue
        text = _signed(container, row, row.reserved_at, manifest, recipient_digest, profile)
        if token_digest(text) == digest:
            row.wrapped_token = container.vault.wrap(text.encode(), wrapping_context(container, row.token_id))
            row.recipient_digest = recipient_digest
            row.issued_at = container.clock.now()
            return True
    return False


def check_open(row: Token | Deciding, progress: ChainProgress, now: UnixSeconds) -> None:
    """Pass when nothing forbids another release of a token: times, stop, close, reclaim.

    Errors: ConflictError `token-expired`, `token-stopped`, `token-closed`.
    """
    if row.stopped_at is not None:
        raise errors.token_stopped()
    if row.closed_block is not None or row.reclaimed_block is not None or row.ended_at is not None:
        raise errors.token_closed()
    if is_closing(row, progress):
        raise errors.token_closed()
    if now + LAST_RELEASE_BEFORE_EXPIRY_SECONDS >= row.expires_at:
        raise errors.token_expired()


def is_closing(row: Token | Deciding, progress: ChainProgress) -> bool:
    """Return whether an agreement to close can still reach the ledger: its deadline is not over in a final block."""
    return row.closing_until is not None and progress.final.timestamp <= row.closing_until


# --- stop and close ---------------------------------------------------------------------------------------


async def holder_of(session: AsyncSession, container: Container, token_id: TokenId) -> Address:
    """Return a token's holder; errors: NotFoundError `token-unknown`."""
    return (await state_of(session, container, token_id)).row.holder


async def stop(session: AsyncSession, container: Container, statement: Stop, signature: bytes) -> Token:
    """End a token's releases at once; the holder's signature was checked. Repeating changes nothing.

    Errors: NotFoundError `token-unknown`; ConflictError `deadline-passed`.
    """
    row = await repository.lock(session, statement.token_id)
    if row is None or row.gateway != container.vault.account:
        raise errors.token_unknown()
    if row.stopped_at is not None:
        return row
    now = await now_of(session, container)
    if now > statement.deadline:
        raise ConflictError("the stop's deadline has passed", code="deadline-passed")
    row.stopped_at = now
    row.stop_signature = signature
    journal.record(session, container.clock, actor=row.holder, action="token.stop", subject=id_text(row.token_id))
    await session.flush()
    return row


async def offer_close(
    session: AsyncSession, container: Container, token_id: TokenId, deadline: UnixSeconds, caller: Address
) -> tuple[Close, bytes]:
    """Freeze a token at its counts until `deadline`, and return them with the gateway's signature.

    Errors: NotFoundError `token-unknown`; ForbiddenError `not-holder`; ConflictError `close-deadline`,
        `token-closed`; UnconfirmedError `awaiting-finality`.
    """
    row = await repository.lock(session, token_id)
    if row is None or row.gateway != container.vault.account:
        raise errors.token_unknown()
    if caller != row.holder:
        raise ForbiddenError("only the token's holder may close it", code="not-holder")
    progress = await progress_of(session, container)
    if progress.status(row.seen_block) is not FactStatus.FINAL:
        raise not_final(container.settings.finality_seconds, progress.dispute)
    if row.closed_block is not None or row.reclaimed_block is not None:
        raise errors.token_closed()  # one that was stopped and has ended may still give its unused prints back
    now = chain_now(container.clock, progress.head.timestamp)
    if not now + SHORTEST_CLOSE_SECONDS <= deadline <= now + LONGEST_CLOSE_SECONDS:
        raise ConflictError(
            f"the deadline lies {SHORTEST_CLOSE_SECONDS} seconds to a day ahead",
            code="close-deadline",
            expected=now + LONGEST_CLOSE_SECONDS,
        )
    if not is_closing(row, progress):
        row.closing_released, row.closing_voided, row.closing_until = row.released, row.voided, deadline
        row.closing_transaction_id = None
    # Every offer that was ever signed and is not over has these same counts.
    row.closing_until = max(row.closing_until or deadline, deadline)
    close = _close(row, deadline)
    journal.record(session, container.clock, actor=caller, action="token.close.offer", subject=id_text(token_id))
    await session.flush()
    return close, container.vault.sign_digest(close.digest(container.chain.deployment.ledger_domain()))


def _close(row: Token, deadline: UnixSeconds) -> Close:
    return Close(row.token_id, row.closing_released or 0, row.closing_voided or 0, deadline)


async def closing_digest(session: AsyncSession, container: Container, token_id: TokenId, deadline: int) -> Digest32:
    """Return the digest that the holder must have signed to close on the offered counts.

    Errors: ConflictError `close-not-offered`.
    """
    row = await repository.get(session, token_id)
    if row is None or row.gateway != container.vault.account:
        raise errors.token_unknown()
    if row.closing_until is None or deadline > row.closing_until:
        raise _not_offered()
    return _close(row, UnixSeconds(deadline)).digest(container.chain.deployment.ledger_domain())


def _not_offered() -> ConflictError:
    return ConflictError(
        "the gateway has not offered to close until then", code="close-not-offered", hint="ask for the counts first"
    )


async def close(
    session: AsyncSession,
    container: Container,
    token_id: TokenId,
    deadline: UnixSeconds,
    digest: Digest32,
    holder_signature: bytes,
) -> tuple[Close, bytes, uuid.UUID]:
    """Put the agreed close into the outbox; the holder's signature of `digest` was checked. Repeating is harmless.

    One transaction closes a token: the ledger takes each further one, at the gateway's cost, and does nothing.

    Errors: ConflictError `close-not-offered` when the offer changed meanwhile, `token-closed`.
    """
    row = await repository.lock(session, token_id)
    if row is None:
        raise errors.token_unknown()
    domain = container.chain.deployment.ledger_domain()
    agreed = _close(row, deadline)
    progress = await progress_of(session, container)
    if agreed.digest(domain) != digest or not is_closing(row, progress):
        raise _not_offered()
    if row.closed_block is not None or row.reclaimed_block is not None:
        raise errors.token_closed()
    signature = container.vault.sign_digest(digest)
    if row.closing_transaction_id is not None:
        sent = await container.transactions.view(session, row.closing_transaction_id)
        if sent is not None and sent.status != FactStatus.FAILED:
            return agreed, signature, sent.id
    row.closing_transaction_id = await container.transactions.enqueue(
        session,
        purpose="close",
        to=container.chain.deployment.ledger,
        data=container.calls.encode(
            Contract.LEDGER,
            "close",
            [agreed.arguments(), permission_of(row).arguments(), signature, holder_signature],
        ),
        dedupe_key=f"close:{id_text(token_id)}:{deadline}",
    )
    journal.record(session, container.clock, actor=row.holder, action="token.close", subject=id_text(token_id))
    await session.flush()
    return agreed, signature, row.closing_transaction_id


def check_path(token_id: TokenId, named: TokenId) -> None:
    """Pass when a body is about the token of its address; errors: MalformedError `path-mismatch`."""
    if token_id != named:
        raise MalformedError("the body is about another token than the address", code="path-mismatch")
