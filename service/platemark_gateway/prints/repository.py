"""SQL of prints: the statements that count. SQLAlchemy core, the same for SQLite and PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Integer, bindparam, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds
from platemark_gateway.db.types import Uint256Type
from platemark_gateway.models.design import Revision
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogAnchor, LogEntry, LogHead
from platemark_gateway.models.token import Token


async def lock_tokens(session: AsyncSession, token_ids: Sequence[TokenId]) -> dict[TokenId, Token]:
    """Return tokens, locked until the transaction ends, always in the order of their ids (no deadlocks)."""
    rows = await session.scalars(
        select(Token)
        .where(Token.token_id.in_(sorted(set(token_ids))))
        .order_by(Token.token_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {row.token_id: row for row in rows}


async def get_token(session: AsyncSession, token_id: TokenId) -> Token | None:
    """Return a token without locking it."""
    return await session.get(Token, token_id)


async def prints_at(session: AsyncSession, keys: Sequence[tuple[TokenId, int]]) -> dict[tuple[TokenId, int], Print]:
    """Return the prints that exist at these sequences."""
    rows = await session.scalars(select(Print).where(tuple_(Print.token_id, Print.sequence).in_(sorted(set(keys)))))
    return {(row.token_id, row.sequence): row for row in rows}


async def used_print_ids(session: AsyncSession, print_ids: Sequence[bytes]) -> set[bytes]:
    """Return which of these print ids some print has."""
    return set(await session.scalars(select(Print.print_id).where(Print.print_id.in_(print_ids))))


async def revisions(
    session: AsyncSession, keys: Sequence[tuple[DesignId, int]]
) -> dict[tuple[DesignId, int], Revision]:
    """Return designs' revisions, as they are now."""
    if not keys:
        return {}
    rows = await session.scalars(
        select(Revision)
        .where(tuple_(Revision.design_id, Revision.revision).in_(keys))
        .execution_options(populate_existing=True)
    )
    return {(row.design_id, row.revision): row for row in rows}


async def origins(session: AsyncSession) -> dict[int, str]:
    """Return the origin of each epoch of the log."""
    return {head.epoch: head.origin for head in await session.scalars(select(LogHead))}


async def oldest_unanchored(
    session: AsyncSession, gateway: Address, epoch: int, final_block: int
) -> UnixSeconds | None:
    """Return since when the oldest entry waits for a final anchor; None when none does."""
    anchored = await session.scalar(
        select(func.max(LogAnchor.size)).where(
            LogAnchor.gateway == gateway, LogAnchor.epoch == epoch, LogAnchor.seen_block <= final_block
        )
    )
    waiting = await session.scalar(select(LogEntry.created_at).where(LogEntry.position == (anchored or 0)))
    if waiting is not None:
        return waiting
    return await session.scalar(
        select(LogEntry.created_at).where(LogEntry.position.is_(None)).order_by(LogEntry.id).limit(1)
    )


@dataclass(frozen=True, slots=True)
class Count:
    """One token's new uses in a batch: from `released` to `released + uses`."""

    token_id: TokenId
    released: int
    uses: int
    latest_expiry: UnixSeconds


# Built once: assembling a statement costs more than running it.
_COUNT: Final = (
    update(Token)
    .where(
        Token.token_id == bindparam("of_token", type_=Uint256Type()),
        Token.released == bindparam("expected"),
        Token.released + bindparam("uses", type_=Integer()) - Token.voided <= Token.prints,
        Token.released + bindparam("uses", type_=Integer()) <= Token.prints + Token.spares,
        Token.expires_at > bindparam("latest_expiry"),
        Token.wrapped_token.is_not(None),
        Token.stopped_at.is_(None),
        Token.closed_block.is_(None),
        Token.reclaimed_block.is_(None),
        Token.ended_at.is_(None),
    )
    .values(released=Token.released + bindparam("uses", type_=Integer()))
    .returning(Token.released)
)


async def count(session: AsyncSession, item: Count) -> bool:
    """Raise a token's count if every rule still holds in the row itself; return whether it did."""
    connection = await session.connection()
    found = await connection.scalar(
        _COUNT,
        {
            "of_token": item.token_id,
            "expected": item.released,
            "uses": item.uses,
            "latest_expiry": item.latest_expiry,
        },
    )
    return found is not None


_ADD_PRINT: Final = insert(Print)
_ADD_ENTRY: Final = insert(LogEntry)


async def add_prints(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert prints; a sequence or print id that exists fails the transaction."""
    await (await session.connection()).execute(_ADD_PRINT, list(rows))


async def add_entries(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert entries of the log, in order; their positions come from the sequencer."""
    await (await session.connection()).execute(_ADD_ENTRY, list(rows))


def entry_values(
    kind: int, token_id: TokenId, entry: bytes, leaf_hash: Digest32, created_at: UnixSeconds
) -> dict[str, Any]:
    """Return the columns of a new entry."""
    return {
        "kind": kind,
        "token_id": token_id,
        "entry": entry,
        "leaf_hash": leaf_hash,
        "created_at": created_at,
    }


async def get_print(session: AsyncSession, token_id: TokenId, sequence: int) -> Print | None:
    """Return a print."""
    return await session.get(Print, (token_id, sequence))


async def get_outcome(session: AsyncSession, token_id: TokenId, sequence: int) -> PrintOutcome | None:
    """Return a print's outcome."""
    return await session.get(PrintOutcome, (token_id, sequence))


async def use_spare(session: AsyncSession, token_id: TokenId) -> bool:
    """Give one print back if the token has a spare left; return whether it did."""
    found = await session.scalar(
        update(Token)
        .where(Token.token_id == token_id, Token.voided < Token.spares, Token.voided < Token.released)
        .values(voided=Token.voided + 1)
        .returning(Token.voided)
        .execution_options(synchronize_session=False)
    )
    return found is not None


async def finished_tokens(
    session: AsyncSession, *, final_block: int, now: UnixSeconds, outcomes_until: UnixSeconds, limit: int
) -> Sequence[TokenId]:
    """Return tokens that yield no more prints, and whose outcomes are all there or too late."""
    outcomes = (
        select(func.count())
        .select_from(PrintOutcome)
        .where(PrintOutcome.token_id == Token.token_id)
        .correlate(Token)
        .scalar_subquery()
    )
    rows = await session.scalars(
        select(Token.token_id)
        .where(
            Token.ended_at.is_(None),
            Token.seen_block <= final_block,
            or_(Token.closed_block <= final_block, Token.stopped_at.is_not(None), Token.expires_at <= now),
            or_(Token.released == outcomes, Token.expires_at <= outcomes_until),
        )
        .order_by(Token.token_id)
        .limit(limit)
    )
    return rows.all()


async def find_serial(session: AsyncSession, serial: str) -> Sequence[Print]:
    """Return the prints with a serial: at most one, unless two digests share their first ten bytes."""
    return (await session.scalars(select(Print).where(Print.serial == serial).order_by(Print.created_at))).all()
