"""SQL of prints: the statements that count. SQLAlchemy core, the same for SQLite and PostgreSQL."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypedDict

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds
from platemark_gateway import ports
from platemark_gateway.audit import journal
from platemark_gateway.db import bulk
from platemark_gateway.db.types import Uint256Type, UnixSecondsType
from platemark_gateway.models.chain import ChainProgress
from platemark_gateway.models.design import Revision
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogAnchor, LogEntry, LogHead
from platemark_gateway.models.token import Deciding, Token

_PRINTS: Final = Print.metadata.tables[Print.__tablename__]
_ENTRIES: Final = LogEntry.metadata.tables[LogEntry.__tablename__]


_DECIDING: Final = tuple(getattr(Token, name) for name in Deciding._fields)


def _locking(found: Select[Any], *, arrays: bool) -> Select[Any]:
    locking = (
        found.where(bulk.one_of(Token.token_id.expression, "token_ids", arrays=arrays))
        .order_by(Token.token_id)
        .with_for_update(key_share=True)
    )
    if not arrays:
        return locking
    return locking.add_columns(
        # Arrays have one good plan, whatever is in them; making one for each takes PostgreSQL longer than the work.
        func.set_config("plan_cache_mode", "force_generic_plan", true()),
        # That plan uses indexes: made while a table is small, it would read all of what the table has grown to.
        func.set_config("enable_seqscan", "off", true()),
    )


@functools.cache
def _lock_tokens(*, arrays: bool) -> Select[Any]:
    only = select(Token).options(load_only(*_DECIDING, raiseload=True)).execution_options(populate_existing=True)
    return _locking(only, arrays=arrays)


@functools.cache
def _lock_deciding(*, arrays: bool) -> Select[Any]:
    return _locking(select(*_DECIDING), arrays=arrays)


async def lock_tokens(session: AsyncSession, token_ids: Collection[TokenId]) -> dict[TokenId, Token]:
    """Return tokens, locked until the transaction ends, always in the order of their ids (no deadlocks).

    Only with what decides about prints and outcomes: their rows are wide.
    """
    statement = _lock_tokens(arrays=bulk.takes_arrays(session))
    rows = await session.scalars(statement, {"token_ids": sorted(set(token_ids))})
    return {row.token_id: row for row in rows}


async def lock_deciding(session: AsyncSession, token_ids: Collection[TokenId]) -> dict[TokenId, Deciding]:
    """Return as `lock_tokens`, but what decides alone: to read, for redemptions, which wait for it."""
    connection = await session.connection()
    statement = _lock_deciding(arrays=bulk.takes_arrays(session))
    rows = await connection.execute(statement, {"token_ids": sorted(set(token_ids))})
    return {row.token_id: Deciding(*row[: len(_DECIDING)]) for row in rows}


async def get_token(session: AsyncSession, token_id: TokenId) -> Token | None:
    """Return a token without locking it."""
    return await session.get(Token, token_id)


@dataclass(frozen=True, slots=True)
class Asked:
    """The sequences and print ids of a batch of redemptions."""

    keys: frozenset[tuple[TokenId, int]]
    print_ids: frozenset[bytes]

    def parameters(self) -> dict[str, Any]:
        """Return what `_known` takes."""
        return {
            "token_ids": sorted({token_id for token_id, _ in self.keys}),
            "sequences": sorted({sequence for _, sequence in self.keys}),
            "print_ids": list(self.print_ids),
        }


@functools.cache
def _known(*, arrays: bool) -> CompoundSelect[TokenId, int, bytes]:
    columns = (Print.token_id, Print.sequence, Print.print_id)
    return union_all(
        # More than the pairs, which the caller sorts out; but a plan that stays good however large the table grows.
        select(*columns).where(
            bulk.one_of(Print.token_id.expression, "token_ids", arrays=arrays),
            bulk.one_of(Print.sequence.expression, "sequences", arrays=arrays),
        ),
        select(*columns).where(bulk.one_of(Print.print_id.expression, "print_ids", arrays=arrays)),
    )


async def known_prints(session: AsyncSession, asked: Asked) -> tuple[dict[tuple[TokenId, int], Print], set[bytes]]:
    """Return the prints that exist at the sequences that are asked for, and which of the print ids some print has."""
    connection = await session.connection()
    found = (await connection.execute(_known(arrays=bulk.takes_arrays(session)), asked.parameters())).all()
    known = asked.keys.intersection((row.token_id, row.sequence) for row in found)
    prints: dict[tuple[TokenId, int], Print] = {}
    if known:
        rows = await session.scalars(select(Print).where(tuple_(Print.token_id, Print.sequence).in_(sorted(known))))
        prints = {(row.token_id, row.sequence): row for row in rows}
    return prints, {row.print_id for row in found} & asked.print_ids


async def origins(session: AsyncSession) -> dict[int, str]:
    """Return the origin of each epoch of the log."""
    return {head.epoch: head.origin for head in await session.scalars(select(LogHead))}


@dataclass(frozen=True, slots=True)
class LogState:
    """The log's head, and since when its oldest entry waits for a final anchor (None when none does)."""

    epoch: int
    origin: str
    profile_digest: Digest32
    merge_delay_seconds: int
    quarantine: str | None
    unanchored_since: UnixSeconds | None


class Deposited(NamedTuple):
    """What of a revision decides about releases of its key."""

    design_id: DesignId
    revision: int
    wrapped_package: bytes | None
    key_commitment: Digest32 | None
    manifest_digest: Digest32
    recalled_block: int | None
    recall_signed_at: UnixSeconds | None


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides about all of a batch.

    `progress` is None before the index has a block, `log` before the log was opened. `is_known`: a sequence or a print
    id of the batch was used already.
    """

    progress: ports.ChainProgress | None
    log: LogState | None
    is_known: bool
    revisions: Mapping[tuple[DesignId, int], Deposited]


_LOG_FIELDS: Final = len(LogState.__slots__)
_PROGRESS: Final = (
    ChainProgress.head_number, ChainProgress.head_hash, ChainProgress.head_timestamp,
    ChainProgress.indexed_number, ChainProgress.indexed_hash, ChainProgress.indexed_timestamp,
    ChainProgress.final_number, ChainProgress.final_hash, ChainProgress.final_timestamp,
    ChainProgress.dispute,
)  # fmt: skip


@functools.cache
def _situation(*, arrays: bool) -> Select[Any]:
    anchored = (
        select(func.coalesce(func.max(LogAnchor.size), 0))
        .where(
            LogAnchor.gateway == bindparam("gateway"),
            LogAnchor.epoch == LogHead.epoch,
            LogAnchor.seen_block <= ChainProgress.final_number,
        )
        .correlate(LogHead, ChainProgress)
        .scalar_subquery()
    )
    placed = (
        select(LogEntry.created_at)
        .where(LogEntry.position == anchored)
        .correlate(LogHead, ChainProgress)
        .scalar_subquery()
    )
    # One, and not a parameter: a plan for any number of entries would sort all that wait.
    oldest = select(LogEntry.created_at).where(LogEntry.position.is_(None)).order_by(LogEntry.id)
    waiting = oldest.limit(literal_column("1", Integer)).scalar_subquery()
    newest = select(func.max(LogHead.epoch)).scalar_subquery()
    # Counted rather than tested for one: whoever plans for the first of many rows reads a large table from its start.
    known = select(func.count()).select_from(_known(arrays=arrays).subquery()).scalar_subquery()
    wanted = and_(
        bulk.one_of(Revision.design_id.expression, "design_ids", arrays=arrays),
        bulk.one_of(Revision.revision.expression, "numbers", arrays=arrays),
    )
    return (
        select(
            LogHead.epoch,
            LogHead.origin,
            LogHead.profile_digest,
            LogHead.merge_delay_seconds,
            LogHead.quarantine,
            func.coalesce(placed, waiting),
            known,
            *(getattr(Revision, name) for name in Deposited._fields),
            *_PROGRESS,
        )
        .select_from(LogHead)
        .outerjoin(ChainProgress, ChainProgress.id == literal_column("1", Integer))
        .outerjoin(Revision, wanted)
        .where(LogHead.epoch == newest)
    )


async def situation(
    session: AsyncSession,
    index: ports.ChainIndex,
    gateway: Address,
    revisions: Collection[tuple[DesignId, int]],
    asked: Asked,
) -> Situation:
    """Return what of the chain is read, the log that grows, at least these revisions, and whether prints are known.

    One statement, for which every redemption waits.
    """
    values = asked.parameters() | {
        "gateway": gateway,
        "design_ids": sorted({design_id for design_id, _ in revisions}),
        "numbers": sorted({number for _, number in revisions}),
    }
    connection = await session.connection()
    rows = (await connection.execute(_situation(arrays=bulk.takes_arrays(session)), values)).all()
    if not rows:
        return Situation(None, None, is_known=False, revisions={})
    first = rows[0]
    of_revision = slice(_LOG_FIELDS + 1, _LOG_FIELDS + 1 + len(Deposited._fields))
    found = [Deposited(*row[of_revision]) for row in rows if row.design_id is not None]
    return Situation(
        None if first.final_number is None else index.told_by(first),
        LogState(*first[:_LOG_FIELDS]),
        is_known=bool(first[_LOG_FIELDS]),
        revisions={(each.design_id, each.revision): each for each in found},
    )


class Count(TypedDict):
    """One token's new uses in a batch: from `released` to `released + uses`."""

    token_id: TokenId
    released: int
    uses: int
    latest_expiry: UnixSeconds


_COUNTS: Final = bulk.ManyUpdates(
    {
        "token_id": Uint256Type(),
        "released": BigInteger(),
        "uses": BigInteger(),
        "latest_expiry": UnixSecondsType(),
    },
    lambda given: (
        update(Token)
        .where(
            Token.token_id == given["token_id"],
            Token.released == given["released"],
            Token.released + given["uses"] - Token.voided <= Token.prints,
            Token.released + given["uses"] <= Token.prints + Token.spares,
            Token.expires_at > given["latest_expiry"],
            Token.wrapped_token.is_not(None),
            Token.stopped_at.is_(None),
            # Not as bare conditions on columns with an index: the index to use is that of the ids.
            func.coalesce(Token.closed_block, Token.reclaimed_block, Token.ended_at).is_(None),
        )
        .values(released=Token.released + given["uses"])
    ),
)


async def release(
    session: AsyncSession, counts: Sequence[Count], prints: bulk.Rows, entries: bulk.Rows, acts: bulk.Rows
) -> bool:
    """Raise tokens' counts and insert the prints, their entries and acts; return whether every rule held.

    The rules are repeated against the rows themselves. A sequence or print id that exists fails the transaction; the
    caller must fail it when a rule did not hold.
    """
    inserts = {_PRINTS: prints, _ENTRIES: entries, journal.TABLE: acts}
    return await bulk.update_and_insert(session, _COUNTS, counts, inserts) == len(counts)


async def add_entries(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert entries of the log, in order; their positions come from the sequencer."""
    await bulk.insert_rows(session, _ENTRIES, rows)


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
    session: AsyncSession,
    gateway: Address,
    *,
    final_block: int,
    now: UnixSeconds,
    outcomes_until: UnixSeconds,
    limit: int,
) -> Sequence[TokenId]:
    """Return a gateway's tokens that yield no more prints, and whose outcomes are all there or too late.

    Reservations with other gateways of the ledger are known too: they end in the logs of those.
    """
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
            Token.gateway == gateway,
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
