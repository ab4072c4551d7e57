"""Brings a database that was restored from an old backup up to its own published log.

1. The published log must begin with the log that the database has, root for root; a fork is never mended here.
2. The missing entries are read from the tiles, each checked against the published root.
3. In one transaction they are counted again: prints, outcomes, ends of tokens; then the head moves to the published
   size.

   Then, in the same transaction, the entries that lay beside a shipped copy and were in no checkpoint, and the acts
   beside them that forbid.

What the log does not hold (receipts, promises) comes back when agents report again. What was released but in no
checkpoint is known to the agents: they send the same bytes again, and these give the same leaf.
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import MalformedError
from platemark.protocol import merkle
from platemark.protocol.accounts import recover
from platemark.protocol.checkpoint import Checkpoint
from platemark.protocol.log_entry import ClosedEntry, CloseReason, LogEntry, OutcomeEntry, RedeemedEntry, decode
from platemark.protocol.serial import serial_of
from platemark.protocol.tiles import LogReader
from platemark.protocol.typed_data import Reservation, Terms
from platemark.protocol.units import Digest32, TokenId, UnixSeconds
from platemark_gateway import telemetry
from platemark_gateway.audit import journal
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.models import printlog as rows
from platemark_gateway.models.design import Revision
from platemark_gateway.models.license import License
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import repository
from platemark_gateway.printlog.errors import LogForkedError
from platemark_gateway.printlog.files import LogFiles
from platemark_gateway.printlog.service import files_of, key_of
from platemark_gateway.printlog.waiting import Forbidding, Waiting
from platemark_gateway.tokens.service import make_again, permitted


async def rebuild(container: Container) -> int:
    """Count what the published log has, and a shipped copy had beside it, and the database lacks; return how much.

    Errors: LogForkedError when the database is no beginning of the published log; VerificationError for tiles that
        are not of it, `waiting-ahead` for entries beside them that do not follow; UnavailableError `index-behind`
        while the chain has not been read as far as the log needs.
    """
    async with container.database.read() as reading:
        head = await repository.head(reading)
    if head is None:
        return 0
    files, key = files_of(container), await key_of(container, head)
    published = await asyncio.to_thread(files.published, key)
    size = max(head.size, 0 if published is None else published.size)
    brought = await asyncio.to_thread(_read_waiting, files, container, head.origin, size)
    if published is not None and published.size <= head.size:
        published = None
    if published is None and brought is None:
        return 0
    missing = [] if published is None else await asyncio.to_thread(_read_missing, files, published, head)
    async with container.database.begin() as session:
        locked = await repository.lock_head(session)
        if locked is None or (locked.epoch, locked.size) != (head.epoch, head.size):
            return 0
        counting = _Counting(session, container, locked)
        if published is not None:
            await repository.release_positions(session, head.size)
            for offset, entry in enumerate(missing):
                await counting.add(head.size + offset, entry)
            locked.assigned = locked.size = published.size
            locked.root = published.root
            await repository.add_root(session, head.epoch, published.size, published.root, container.clock.now())
        if brought is not None:
            for entry in brought.entries:
                await counting.add_waiting(entry)
            await _forbid(session, container, brought.forbidding)
        journal.record(
            session,
            container.clock,
            actor=journal.GATEWAY,
            action="log.rebuild",
            subject=head.origin,
            detail={"from": head.size, "to": locked.size, "counted": counting.counted},
        )
        await session.flush()
    if brought is not None:
        await asyncio.to_thread(files.forget_waiting)
    telemetry.log().warning("log.rebuilt", from_size=head.size, to_size=locked.size, counted=counting.counted)
    return len(missing) + (brought is not None)


def _read_waiting(files: LogFiles, container: Container, origin: str, size: int) -> Waiting | None:
    """Return what a restore brought beside the tiles of so many entries, or None. Blocks."""
    data = files.read_waiting()
    if data is None:
        return None
    found = Waiting.parse(data, container.vault)
    found.check_follows(origin, size)
    return found


def _read_missing(files: LogFiles, published: Checkpoint, head: rows.LogHead) -> list[bytes]:
    """Steps 1 and 2. Blocks."""
    log = LogReader(published.size, published.root, files.read)
    if log.old_root(head.size) != head.root:
        raise LogForkedError(f"the published log does not begin with the {head.size} entries of the database")
    return list(log.entries(head.size, published.size))


async def _forbid(session: AsyncSession, container: Container, acts: Forbidding) -> None:
    """Let what forbade when the copy was made forbid again; what forbids already stays as it is."""
    domain = container.chain.deployment.ledger_domain()
    stops = {stop.permission.token_id(domain): stop for stop in acts.stops}
    tokens = await repository.lock_tokens(session, [*stops, *(offer.token_id for offer in acts.offers)])
    for token_id, stop in stops.items():
        token = tokens.get(token_id) or await _permitted(session, container, token_id, stop.permission)
        if token is not None and token.stopped_at is None:
            token.stopped_at, token.stop_signature = stop.at, stop.signature
    for offer in acts.offers:
        token = tokens.get(offer.token_id)
        if token is None:
            raise _behind("the log")
        if token.closing_until is None or token.closing_until < offer.until:
            token.closing_released, token.closing_voided = offer.released, offer.voided
            token.closing_until, token.closing_transaction_id = offer.until, None
    for recall in acts.recalls:
        revision = await session.get(Revision, (recall.design_id, recall.revision), with_for_update=True)
        if revision is None:
            raise _behind("a recall")
        if revision.recall_signed_at is None:
            revision.recall_signed_at, revision.recall_reason = recall.at, recall.reason_digest
    await session.flush()


async def _permitted(
    session: AsyncSession, container: Container, token_id: TokenId, permission: Reservation
) -> Token | None:
    """Make the row of a token that no block has, so that it is stopped when somebody brings its permission.

    None when nobody can any more. Errors: UnavailableError `index-behind` while its licence is not known.
    """
    progress = await container.index.progress(session)
    license_row = await session.get(License, permission.license_id)
    if license_row is None:
        if progress is None or progress.final.timestamp <= permission.deadline:
            raise _behind("a stop")
        return None
    token = permitted(token_id, permission, Terms.from_json(license_row.terms), container.clock.now())
    session.add(token)
    return token


def _behind(what: str) -> UnavailableError:
    return UnavailableError(f"the chain has not been read as far as {what} needs", code="index-behind")


@dataclass(slots=True)
class _Counting:
    """Step 3: counts entries again, in the order of the log."""

    session: AsyncSession
    container: Container
    head: rows.LogHead
    counted: int = 0

    async def add(self, position: int, data: bytes) -> None:
        """Give an entry that is here its position; count one that is not."""
        entry, leaf = decode(data), merkle.leaf_hash(data)
        known = await repository.entry_with(self.session, entry.token_id, leaf)
        if known is not None:
            known.position = position
            await self.session.flush()
            return
        await self._add(entry, data, leaf, position)

    async def add_waiting(self, data: bytes) -> None:
        """Count an entry that was in no checkpoint, unless it is here; it is given its position as any new one.

        The end of a token is left out: it is told again, from the counts.
        """
        entry, leaf = decode(data), merkle.leaf_hash(data)
        if isinstance(entry, ClosedEntry) or await repository.entry_with(self.session, entry.token_id, leaf):
            return
        await self._add(entry, data, leaf, None)

    async def _add(self, entry: LogEntry, data: bytes, leaf: Digest32, position: int | None) -> None:
        now = self.container.clock.now()
        self.session.add(
            rows.LogEntry(
                kind=entry.KIND,
                token_id=entry.token_id,
                entry=data,
                leaf_hash=leaf,
                position=position,
                created_at=now,
            )
        )
        await self._count(entry, leaf, now)
        self.counted += 1
        await self.session.flush()

    async def _count(self, entry: LogEntry, leaf: Digest32, now: UnixSeconds) -> None:
        token = await self._token(entry.token_id)
        match entry:
            case RedeemedEntry():
                await self._redeemed(entry, token, leaf, now)
            case OutcomeEntry():
                await self._outcome(entry, token, leaf, now)
            case ClosedEntry():
                if (entry.released, entry.voided) != (token.released, token.voided):
                    raise LogForkedError("a token ended in the log with other counts than its entries give")
                token.ended_at = now
                if entry.reason is CloseReason.STOPPED and token.stopped_at is None:
                    # The log tells that it was stopped; the holder's signature of that is lost.
                    token.stopped_at, token.stop_signature = now, b""

    async def _token(self, token_id: TokenId) -> Token:
        found = await self.session.get(Token, token_id, with_for_update=True, populate_existing=True)
        if found is None:
            raise _behind("the log")
        return found

    async def _redeemed(self, entry: RedeemedEntry, token: Token, leaf: Digest32, now: UnixSeconds) -> None:
        if entry.sequence != token.released + 1:
            raise LogForkedError(f"sequence {entry.sequence} follows {token.released} in the log")
        digest = entry.redemption().digest(self.container.chain.deployment.ledger_domain())
        try:
            agent = recover(digest, entry.signature)
        except MalformedError:
            agent = None
        if agent != token.agent:
            raise LogForkedError("a voucher in the log is not the agent's")
        _, _, revision, _ = await repository.documents_of(self.session, token)
        if revision is None or revision.key_commitment is None:
            raise UnavailableError("a design's deposit is missing for what was logged", code="index-behind")
        self.session.add(
            Print(
                token_id=entry.token_id,
                sequence=entry.sequence,
                print_id=entry.print_id,
                serial=serial_of(entry.token_id, entry.sequence),
                request_digest=entry.request_digest(),
                token_digest=entry.token_digest,
                recipient_digest=entry.recipient_digest,
                seen_block=entry.seen_block,
                seen_hash=entry.seen_hash,
                detail=entry.detail,
                signature=entry.signature,
                leaf_hash=leaf,
                epoch=self.head.epoch,
                profile_digest=self.head.profile_digest,
                manifest_digest=revision.manifest_digest,
                key_commitment=revision.key_commitment,
                merge_by=now + self.head.merge_delay_seconds,
                created_at=now,
            )
        )
        token.released = entry.sequence
        if token.wrapped_token is None:  # it was issued after the backup
            await make_again(self.session, self.container, token, entry.recipient_digest, entry.token_digest)

    async def _outcome(self, entry: OutcomeEntry, token: Token, leaf: Digest32, now: UnixSeconds) -> None:
        self.session.add(
            PrintOutcome(
                token_id=entry.token_id,
                sequence=entry.sequence,
                result=int(entry.result),
                spare_used=entry.spare_used,
                receipt_digest=entry.receipt_digest,
                signature=entry.signature,
                leaf_hash=leaf,
                epoch=self.head.epoch,
                created_at=now,
            )
        )
        token.voided += entry.spare_used
