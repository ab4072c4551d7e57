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
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds
from platemark_gateway import ports
from platemark_gateway.audit import journal
from platemark_gateway.db import bulk
from platemark_gateway.db.statements import Statements
from platemark_gateway.db.types import Uint256Type, UnixSecondsType
from platemark_gateway.models.chain import ChainProgress
from platemark_gateway.models.design import Revision
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogAnchor, LogEntry, LogHead
from platemark_gateway.models.profile import StoredProfile
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


async def lock_deciding(statements: Statements, token_ids: Collection[TokenId]) -> dict[TokenId, Deciding]:
    """Return as `lock_tokens`, but what decides alone: to read, for redemptions, which wait for it."""
    locking = _lock_deciding(arrays=statements.arrays)
    rows = await statements.rows(locking, {"token_ids": sorted(set(token_ids))})
    return {row[0]: Deciding(*row[: len(_DECIDING)]) for row in rows}


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


class KnownPrint(NamedTuple):
    """What a print's answer is made of, by the names of its row's columns."""

    token_id: TokenId
    sequence: int
    print_id: bytes
    request_digest: Digest32
    signature: bytes
    epoch: int
    leaf_hash: Digest32
    key_commitment: Digest32
    manifest_digest: Digest32
    merge_by: UnixSeconds
    profile_digest: Digest32


@functools.cache
def _known(*, arrays: bool) -> CompoundSelect[*tuple[Any, ...]]:
    columns = [getattr(Print, name) for name in KnownPrint._fields]
    return union_all(
        # More than the pairs, which the caller sorts out; but a plan that stays good however large the table grows.
        select(*columns).where(
            bulk.one_of(Print.token_id.expression, "token_ids", arrays=arrays),
            bulk.one_of(Print.sequence.expression, "sequences", arrays=arrays),
        ),
        select(*columns).where(bulk.one_of(Print.print_id.expression, "print_ids", arrays=arrays)),
    )


_ORIGINS: Final = select(LogHead.epoch, LogHead.origin)
_PROFILE: Final = select(StoredProfile.profile).where(StoredProfile.digest == bindparam("digest"))


async def known_prints(
    statements: Statements, asked: Asked
) -> tuple[dict[tuple[TokenId, int], KnownPrint], set[bytes]]:
    """Return the prints that exist at the sequences that are asked for, and which of the print ids some print has."""
    rows = await statements.rows(_known(arrays=statements.arrays), asked.parameters())
    found = [KnownPrint(*row) for row in rows]
    prints = {(row.token_id, row.sequence): row for row in found if (row.token_id, row.sequence) in asked.keys}
    return prints, {row.print_id for row in found} & asked.print_ids


async def origins(statements: Statements) -> dict[int, str]:
    """Return the origin of each epoch of the log."""
    return {row[0]: row[1] for row in await statements.rows(_ORIGINS, {})}


async def profile_bytes(statements: Statements, digest: Digest32) -> bytes | None:
    """Return a profile that this gateway made, by its digest."""
    rows = await statements.rows(_PROFILE, {"digest": digest})
    return bytes(rows[0][0]) if rows else None


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


class _Read(NamedTuple):
    """How far the chain is read, by the names of the row's columns (`ChainIndex.told_by`)."""

    head_number: int | None
    head_hash: Digest32
    head_timestamp: UnixSeconds
    indexed_number: int
    indexed_hash: Digest32
    indexed_timestamp: UnixSeconds
    final_number: int
    final_hash: Digest32
    final_timestamp: UnixSeconds
    dispute: str | None


_LOG_FIELDS: Final = len(LogState.__slots__)
_OF_REVISION: Final = slice(_LOG_FIELDS + 1, _LOG_FIELDS + 1 + len(Deposited._fields))
_OF_INDEX: Final = slice(_OF_REVISION.stop, _OF_REVISION.stop + len(_Read._fields))


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
            *(getattr(ChainProgress, name) for name in _Read._fields),
        )
        .select_from(LogHead)
        .outerjoin(ChainProgress, ChainProgress.id == literal_column("1", Integer))
        .outerjoin(Revision, wanted)
        .where(LogHead.epoch == newest)
    )


async def situation(
    statements: Statements,
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
    rows = await statements.rows(_situation(arrays=statements.arrays), values)
    if not rows:
        return Situation(None, None, is_known=False, revisions={})
    first = rows[0]
    read = _Read(*first[_OF_INDEX])
    found = [Deposited(*row[_OF_REVISION]) for row in rows if row[_OF_REVISION.start] is not None]
    return Situation(
        None if read.head_number is None else index.told_by(read),
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
    statements: Statements, counts: Sequence[Count], prints: bulk.Rows, entries: bulk.Rows, acts: bulk.Rows
) -> bool:
    """Raise tokens' counts and insert the prints, their entries and acts; return whether every rule held.

    The rules are repeated against the rows themselves. A sequence or print id that exists fails the transaction; the
    caller must fail it when a rule did not hold.
    """
    inserts = {_PRINTS: prints, _ENTRIES: entries, journal.TABLE: acts}
    return await bulk.update_and_insert(statements, _COUNTS, counts, inserts) == len(counts)


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
