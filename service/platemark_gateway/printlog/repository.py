"""SQL of the print log."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Row, and_, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.cid import Cid
from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds
from platemark_gateway.db import bulk
from platemark_gateway.models.design import Design, Revision
from platemark_gateway.models.license import License
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogAnchor, LogEntry, LogHead, LogRoot, LogWitness
from platemark_gateway.models.profile import Declaration
from platemark_gateway.models.token import Token


async def head(session: AsyncSession) -> LogHead | None:
    """Return the head of the epoch that grows."""
    return await session.scalar(
        select(LogHead).order_by(LogHead.epoch.desc()).limit(1).execution_options(populate_existing=True)
    )


async def lock_head(session: AsyncSession) -> LogHead | None:
    """Return the head, locked until the transaction ends."""
    return await session.scalar(
        select(LogHead)
        .order_by(LogHead.epoch.desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


async def waiting(session: AsyncSession, limit: int) -> Sequence[int]:
    """Return the ids of entries without a position, in the order in which they were written."""
    rows = await session.scalars(
        select(LogEntry.id).where(LogEntry.position.is_(None)).order_by(LogEntry.id).limit(limit)
    )
    return rows.all()


async def place(session: AsyncSession, ids: Sequence[int], first: int) -> None:
    """Give entries consecutive positions from `first`."""
    await session.execute(
        update(LogEntry),
        [{"id": entry_id, "position": first + offset} for offset, entry_id in enumerate(ids)],
    )


async def move_assigned(session: AsyncSession, epoch: int, old: int, new: int) -> bool:
    """Move the number of entries that have a position; return False when another process did."""
    moved = await session.scalar(
        update(LogHead)
        .where(LogHead.epoch == epoch, LogHead.assigned == old)
        .values(assigned=new)
        .returning(LogHead.assigned)
        .execution_options(synchronize_session=False)
    )
    return moved is not None


async def move_size(session: AsyncSession, epoch: int, old: int, new: int, root: Digest32) -> bool:
    """Move the head to a new size and root; return False when another process did."""
    moved = await session.scalar(
        update(LogHead)
        .where(LogHead.epoch == epoch, LogHead.size == old, LogHead.assigned >= new, LogHead.quarantine.is_(None))
        .values(size=new, root=root)
        .returning(LogHead.size)
        .execution_options(synchronize_session=False)
    )
    return moved is not None


async def entries(session: AsyncSession, start: int, end: int) -> list[bytes]:
    """Return the entries with positions from `start` up to `end`, in order."""
    rows = await session.scalars(
        select(LogEntry.entry).where(LogEntry.position >= start, LogEntry.position < end).order_by(LogEntry.position)
    )
    return list(rows)


async def entries_beyond(session: AsyncSession, size: int, limit: int) -> Sequence[tuple[int, bytes]]:
    """Return id and bytes of the entries without a position below `size`, in the order in which they were written."""
    rows = await session.execute(
        select(LogEntry.id, LogEntry.entry)
        .where(or_(LogEntry.position.is_(None), LogEntry.position >= size))
        .order_by(LogEntry.id)
        .limit(limit)
    )
    return [(entry_id, entry) for entry_id, entry in rows]


async def newest_entry(session: AsyncSession) -> int:
    """Return the id of the entry that was written last, 0 when there is none."""
    return await session.scalar(select(func.max(LogEntry.id))) or 0


async def root_sizes(session: AsyncSession, epoch: int, above: int, up_to: int) -> Sequence[int]:
    """Return the sizes at which an epoch's head stood, above one size and up to another."""
    rows = await session.scalars(
        select(LogRoot.size).where(LogRoot.epoch == epoch, LogRoot.size > above, LogRoot.size <= up_to)
    )
    return rows.all()


async def root_at(session: AsyncSession, epoch: int, size: int) -> Digest32 | None:
    """Return the root that was committed for a size, if the head ever stood there."""
    return await session.scalar(select(LogRoot.root).where(LogRoot.epoch == epoch, LogRoot.size == size))


async def add_root(session: AsyncSession, epoch: int, size: int, root: Digest32, now: UnixSeconds) -> None:
    """Note the one root of a size; noting the same again changes nothing."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    await session.execute(
        insert(LogRoot).values(epoch=epoch, size=size, root=root, created_at=now).on_conflict_do_nothing()
    )


async def witnesses(session: AsyncSession, epoch: int) -> Mapping[str, LogWitness]:
    """Return what is known of an epoch's witnesses, by their keys."""
    rows = await session.scalars(select(LogWitness).where(LogWitness.epoch == epoch))
    return {row.witness: row for row in rows}


async def witness(session: AsyncSession, epoch: int, key: str) -> LogWitness:
    """Return the row of a witness, locked until the transaction ends; it is made where there was none."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    new = insert(LogWitness).values(epoch=epoch, witness=key, size=0, failures=0)
    await session.execute(new.on_conflict_do_nothing())
    found = await session.scalars(
        select(LogWitness).where(LogWitness.epoch == epoch, LogWitness.witness == key).with_for_update()
    )
    return found.one()


async def last_anchor(
    session: AsyncSession, gateway: Address, epoch: int, *, up_to_block: int | None = None
) -> LogAnchor | None:
    """Return the largest anchor that stands on the ledger (in blocks up to `up_to_block`, where given)."""
    query = (
        select(LogAnchor)
        .where(LogAnchor.gateway == gateway, LogAnchor.epoch == epoch, LogAnchor.seen_block.is_not(None))
        .order_by(LogAnchor.size.desc())
        .limit(1)
    )
    if up_to_block is not None:
        query = query.where(LogAnchor.seen_block <= up_to_block)
    return await session.scalar(query)


async def pending_anchor(session: AsyncSession, gateway: Address, epoch: int) -> LogAnchor | None:
    """Return an anchor that was sent and is not on the ledger yet."""
    return await session.scalar(
        select(LogAnchor)
        .where(
            LogAnchor.gateway == gateway,
            LogAnchor.epoch == epoch,
            LogAnchor.seen_block.is_(None),
            LogAnchor.transaction_id.is_not(None),
        )
        .order_by(LogAnchor.size.desc())
        .limit(1)
    )


async def first_anchor(session: AsyncSession, gateway: Address, position: int, *, up_to_block: int) -> LogAnchor | None:
    """Return the anchor, of any epoch, that covered a position first."""
    return await session.scalar(
        select(LogAnchor)
        .where(LogAnchor.gateway == gateway, LogAnchor.size > position, LogAnchor.seen_block <= up_to_block)
        .order_by(LogAnchor.seen_block, LogAnchor.size)
        .limit(1)
    )


async def anchor_over(
    session: AsyncSession, gateway: Address, epoch: int, position: int, *, up_to_block: int
) -> LogAnchor | None:
    """Return the smallest anchor of an epoch that covers a position and is in a block up to `up_to_block`."""
    return await session.scalar(
        select(LogAnchor)
        .where(
            LogAnchor.gateway == gateway,
            LogAnchor.epoch == epoch,
            LogAnchor.size > position,
            LogAnchor.seen_block <= up_to_block,
        )
        .order_by(LogAnchor.size)
        .limit(1)
    )


async def anchors(session: AsyncSession, gateway: Address, epoch: int) -> Sequence[LogAnchor]:
    """Return the anchors of an epoch that stand on the ledger, smallest first."""
    rows = await session.scalars(
        select(LogAnchor)
        .where(LogAnchor.gateway == gateway, LogAnchor.epoch == epoch, LogAnchor.seen_block.is_not(None))
        .order_by(LogAnchor.size)
    )
    return rows.all()


async def documents(session: AsyncSession) -> Sequence[Cid]:
    """Return the blocks of all manifests and terms that are known, each once."""
    manifests = await session.scalars(select(Revision.manifest_cid).where(Revision.manifest_cid.is_not(None)))
    terms = await session.scalars(select(License.terms_cid).where(License.terms_cid.is_not(None)))
    return [Cid.parse(text) for text in sorted({*manifests, *terms} - {None})]


async def get_anchor(session: AsyncSession, gateway: Address, epoch: int, size: int) -> LogAnchor | None:
    """Return an anchor by its size."""
    return await session.get(LogAnchor, (gateway, epoch, size))


async def oldest_above(session: AsyncSession, size: int) -> UnixSeconds | None:
    """Return when the first entry at or above a position was written; None when there is none."""
    return await session.scalar(select(LogEntry.created_at).where(LogEntry.position == size))


async def count_waiting(session: AsyncSession) -> int:
    """Return how many entries have no position yet."""
    found = await session.scalar(select(func.count()).select_from(LogEntry).where(LogEntry.position.is_(None)))
    return found or 0


_STOP: Final = (
    Token.holder, Token.gateway, Token.agent, Token.license_id, Token.revision, Token.prints, Token.expires_at,
    Token.deadline, Token.salt, Token.stopped_at, Token.stop_signature,
)  # fmt: skip
"""The permission, in the order of `Reservation`, and the stop."""
_Rows = Sequence[Row[*tuple[Any, ...]]]


async def stopped(session: AsyncSession, gateway: Address, final_time: UnixSeconds, limit: int) -> _Rows:
    """Return permission, time and signature of a gateway's tokens that were stopped and can still be used, but for it.

    The latest first. Those that have ended in the log cannot, nor those that no block has and none will take any more.
    """
    rows = await session.execute(
        select(*_STOP)
        .where(
            Token.gateway == gateway,
            Token.stopped_at.is_not(None),
            Token.ended_at.is_(None),
            or_(Token.seen_block.is_not(None), Token.deadline >= final_time),
        )
        .order_by(Token.stopped_at.desc(), Token.token_id)
        .limit(limit)
    )
    return rows.all()


async def stops_of(session: AsyncSession, token_ids: Sequence[TokenId]) -> _Rows:
    """Return as `stopped`, those of these tokens that were stopped."""
    wanted = bulk.one_of(Token.token_id.expression, "token_ids", arrays=bulk.takes_arrays(session))
    query = select(*_STOP).where(wanted, Token.stopped_at.is_not(None))
    return (await session.execute(query, {"token_ids": token_ids})).all()


async def lock_tokens(session: AsyncSession, token_ids: Sequence[TokenId]) -> dict[TokenId, Token]:
    """Return tokens by their ids, locked until the transaction ends, in the order of their ids."""
    wanted = bulk.one_of(Token.token_id.expression, "token_ids", arrays=bulk.takes_arrays(session))
    query = select(Token).where(wanted).order_by(Token.token_id).with_for_update(key_share=True)
    rows = await session.scalars(query.execution_options(populate_existing=True), {"token_ids": sorted(token_ids)})
    return {row.token_id: row for row in rows}


async def offered(session: AsyncSession, gateway: Address, final_time: UnixSeconds, limit: int) -> _Rows:
    """Return a gateway's tokens whose offer to close can still reach the ledger, with its counts and deadline.

    The latest deadline first.
    """
    rows = await session.execute(
        select(Token.token_id, Token.closing_released, Token.closing_voided, Token.closing_until)
        .where(Token.gateway == gateway, Token.closing_until >= final_time)
        .order_by(Token.closing_until.desc(), Token.token_id)
        .limit(limit)
    )
    return rows.all()


async def recalled(session: AsyncSession, final_block: int, limit: int) -> _Rows:
    """Return the revisions whose recall is signed and in no final block, when that was, and its reason's digest.

    The latest first.
    """
    rows = await session.execute(
        select(Revision.design_id, Revision.revision, Revision.recall_signed_at, Revision.recall_reason)
        .where(
            Revision.recall_signed_at.is_not(None),
            Revision.recall_reason.is_not(None),
            or_(Revision.recalled_block.is_(None), Revision.recalled_block > final_block),
        )
        .order_by(Revision.recall_signed_at.desc(), Revision.design_id, Revision.revision)
        .limit(limit)
    )
    return rows.all()


async def rewind(session: AsyncSession, block: int) -> None:
    """Forget where anchors stood, and what was declared, in blocks above `block`."""
    await session.execute(delete(Declaration).where(Declaration.seen_block > block))
    await session.execute(
        update(LogAnchor)
        .where(LogAnchor.seen_block > block)
        .values(seen_block=None, seen_hash=None, transaction_hash=None)
    )


async def release_positions(session: AsyncSession, size: int) -> None:
    """Let the entries from position `size` on wait again."""
    await session.execute(update(LogEntry).where(LogEntry.position >= size).values(position=None))


async def entry_with(session: AsyncSession, token_id: TokenId, leaf: Digest32) -> LogEntry | None:
    """Return the entry of a token with a leaf hash."""
    return await session.scalar(select(LogEntry).where(LogEntry.token_id == token_id, LogEntry.leaf_hash == leaf))


async def positions(
    session: AsyncSession, token_id: TokenId, leaves: Sequence[Digest32]
) -> dict[Digest32, tuple[int | None, bytes]]:
    """Return position and bytes of a token's entries by their leaf hashes."""
    rows = await session.execute(
        select(LogEntry.leaf_hash, LogEntry.position, LogEntry.entry).where(
            LogEntry.token_id == token_id, LogEntry.leaf_hash.in_(leaves)
        )
    )
    return {leaf: (position, entry) for leaf, position, entry in rows}


async def print_with(session: AsyncSession, serial: str) -> Print | None:
    """Return the print with a serial, the earliest should two ever share one."""
    return await session.scalar(select(Print).where(Print.serial == serial).order_by(Print.created_at).limit(1))


async def outcome_of(session: AsyncSession, token_id: TokenId, sequence: int) -> PrintOutcome | None:
    """Return a print's outcome."""
    return await session.get(PrintOutcome, (token_id, sequence))


async def token_of(session: AsyncSession, token_id: TokenId) -> Token | None:
    """Return a print's token."""
    return await session.get(Token, token_id)


async def tokens_from(
    session: AsyncSession, gateway: Address, design_id: DesignId, revision: int, first: TokenId, *, limit: int
) -> Sequence[Token]:
    """Return a gateway's reservations of a revision that a block held or whose keys were released, by id.

    They begin with `first`.
    """
    query = (
        select(Token)
        .where(
            Token.gateway == gateway,
            Token.design_id == design_id,
            Token.revision == revision,
            Token.token_id >= first,
            or_(Token.seen_block.is_not(None), Token.released > 0),
        )
        .order_by(Token.token_id)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def prints_after(
    session: AsyncSession, token_ids: Sequence[TokenId], after: tuple[TokenId, int], *, limit: int
) -> Sequence[tuple[Print, PrintOutcome | None]]:
    """Return prints of some tokens with their outcomes, by token and sequence, above `after`."""
    query = (
        select(Print, PrintOutcome)
        .outerjoin(PrintOutcome, and_(PrintOutcome.token_id == Print.token_id, PrintOutcome.sequence == Print.sequence))
        .where(
            Print.token_id.in_(token_ids),
            or_(Print.token_id > after[0], and_(Print.token_id == after[0], Print.sequence > after[1])),
        )
        .order_by(Print.token_id, Print.sequence)
        .limit(limit)
    )
    return [(found, outcome) for found, outcome in (await session.execute(query)).all()]


async def documents_of(
    session: AsyncSession, token: Token
) -> tuple[Design | None, Revision | None, Revision | None, License | None]:
    """Return a token's design, its first revision, the token's revision, and the licence."""
    return (
        await session.get(Design, token.design_id),
        await session.get(Revision, (token.design_id, 1)),
        await session.get(Revision, (token.design_id, token.revision)),
        await session.get(License, token.license_id),
    )
