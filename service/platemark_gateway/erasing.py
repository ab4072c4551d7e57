"""What the gateway keeps of a person, or of one part, beyond what counts: taken out of its database.

A person is an account. These steps follow each other; each batch is one transaction with its own row in the audit
table, so that a kill between two of them leaves nothing that the same command does not finish:

1. answers that were kept under idempotency keys, and speak of the account or of its tokens' agents (their receipts)
2. challenges, sessions, API keys, and what was spent of quotas
3. receipts of the account's tokens, with their salts: the log's digests say nothing any more
4. what the gateway was given to relay and can come to the chain no more
5. in the audit table, who acted and in which request; the acts stay
6. the file or tables are written anew, so that no page holds what was erased

Counts, vouchers, log entries, settlements and what the chain says of the account stay: proofs rest on them
(docs/privacy.md).
"""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, String, cast, delete, func, literal, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import MalformedError, UsageError
from platemark.protocol.serial import parse_serial
from platemark.protocol.units import Address, TokenId, UnixSeconds, address_text, id_text, parse_address
from platemark_gateway.audit import journal
from platemark_gateway.clock import Clock, SystemClock
from platemark_gateway.db import migrations
from platemark_gateway.db.engine import BUSY_TIMEOUT_SECONDS
from platemark_gateway.db.session import Database
from platemark_gateway.errors import ConflictError, UnavailableError, VaultError
from platemark_gateway.idempotency import expired, kept_answer
from platemark_gateway.models.access import ApiKey, Challenge, Session, Spending
from platemark_gateway.models.audit import ERASED, OF_ACCESS, AuditEntry
from platemark_gateway.models.chain import OutboxAttempt, OutboxTransaction, SendingAccount
from platemark_gateway.models.design import Design, Revision
from platemark_gateway.models.idempotency import IdempotentAnswer
from platemark_gateway.models.license import License, LicenseCredit
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.token import Token
from platemark_gateway.ports import KeyVault
from platemark_gateway.printlog.errors import part_unknown
from platemark_gateway.serving import finished_and_in_use, open_vault
from platemark_gateway.settings import Settings

TABLES: Final = (
    *(IdempotentAnswer, Challenge, Session, ApiKey, Spending, PrintOutcome),
    *(OutboxAttempt, OutboxTransaction, Token, License, Revision, Design, AuditEntry),
)
"""Those that are written anew in the end."""
_ROWS_AT_ONCE: Final = 200
_ENTRIES_AT_ONCE: Final = 5_000
_DAY: Final = 86_400

_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{40}")

_Step = Callable[[AsyncSession, Any], Awaitable[tuple[Counter[str], Any]]]
"""Takes where to go on; returns how many rows of each kind it erased, and where to go on next, None at the end."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows of each kind were erased, how many of the subject's stay, and how many of its tokens are open."""

    rows: Mapping[str, int]
    stays: Mapping[str, int]
    open_tokens: int = 0


async def run(settings: Settings, subject: str) -> Erased:
    """Erase what a gateway, which may be running, keeps of an account or of a part.

    Errors: UsageError for anything but an address or a serial; as `erase`; those of the vault; LocalError
        `gateway-running` while a restore is under way.
    """
    wanted = subject_of(subject)
    with finished_and_in_use(settings):
        vault = await asyncio.to_thread(open_vault, settings)
        database = Database(settings.database())
        try:
            await migrations.upgrade(database)
            return await erase(database, vault, SystemClock(), wanted)
        finally:
            await database.close()


def subject_of(text: str) -> Address | str:
    """Return the account, or the serial, that somebody typed; errors: UsageError."""
    try:
        return parse_address(text) if text.startswith("0x") else parse_serial(text)
    except MalformedError as error:
        raise UsageError(error.message, hint="an account's address, or a part's serial") from error


async def erase(database: Database, vault: KeyVault, clock: Clock, subject: Address | str) -> Erased:
    """Take all steps for an account, or for a part (its serial); again is harmless, and finishes what was begun.

    Errors: ConflictError `erasure-own-account` for an account of the gateway; NotFoundError `serial-unknown`;
        UnavailableError `database-unreachable`, also when the file is in use for too long to be written anew.
    """
    work = _Work(database, clock)
    if isinstance(subject, str):
        async with database.read() as session:
            known = await _part(session, subject)
            agents = await _agents(session, Token.token_id == known.token_id)
        await work.do(partial(_answers, vault, clock.now(), (), agents))
        await work.do(partial(_receipt_of, known))
        await _write_anew(database)
        return Erased(work.rows, {"outcomes": 1})
    async with database.read() as session:
        senders = await session.scalars(select(SendingAccount.address))
        if subject in {vault.account, *senders}:
            raise ConflictError("that is an account of the gateway itself", code="erasure-own-account")
        agents = await _agents(session, Token.holder == subject)
        keys = await session.scalars(select(ApiKey.id).where(ApiKey.address == subject))
        names = subject.hex(), *map(str, keys)
    is_sqlite = database.is_sqlite
    await work.do(partial(_answers, vault, clock.now(), names, agents))
    await work.do(partial(_access, subject))
    await work.do(partial(_receipts, subject))
    await work.do(partial(_never_on_chain, is_sqlite, UnixSeconds(clock.now() - _DAY), subject))
    await work.do(partial(_acts_of_tokens, subject))
    await work.do(partial(_acts, subject))
    await _write_anew(database)
    async with database.read() as session:
        return await _told(session, subject, work.rows)


class _Work:
    """Takes steps batch by batch, and adds up what they erased."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.rows: Counter[str] = Counter()
        self._database = database
        self._clock = clock

    async def do(self, step: _Step) -> None:
        """Take a step to its end; each batch tells the audit table what kind of rows it erased, and of nobody."""
        after = None
        while True:
            async with self._database.begin() as session:
                found, after = await step(session, after)
                for kind, rows in sorted((+found).items()):
                    journal.record(
                        session, self._clock, actor="operator", action="erase", subject=kind, detail={"rows": rows}
                    )
            self.rows += found
            if after is None:
                return


# --- step 1 -----------------------------------------------------------------------------------------------


async def _answers(
    vault: KeyVault,
    now: UnixSeconds,
    names: Sequence[str],
    agents: frozenset[str],
    session: AsyncSession,
    after: bytes | None,
) -> tuple[Counter[str], bytes | None]:
    await session.execute(delete(IdempotentAnswer).where(expired(now)))
    query = select(IdempotentAnswer).order_by(IdempotentAnswer.key_digest).limit(_ROWS_AT_ONCE)
    if after is not None:
        query = query.where(IdempotentAnswer.key_digest > after)
    rows = (await session.scalars(query)).all()
    speaking = [row.key_digest for row in rows if _speaks(vault, row, names, agents)]
    await session.execute(delete(IdempotentAnswer).where(IdempotentAnswer.key_digest.in_(speaking)))
    return Counter({"answers": len(speaking)}), rows[-1].key_digest if len(rows) == _ROWS_AT_ONCE else None


def _speaks(vault: KeyVault, row: IdempotentAnswer, names: Sequence[str], agents: frozenset[str]) -> bool:
    """Whether an answer has one of these names or agents in it; what the vault cannot open is of no use to anybody.

    A receipt names its agent beside its payload; agents are as many as tokens, and are looked up among the addresses.
    """
    if row.wrapped_answer is None:
        return False
    try:
        answer = str(kept_answer(vault, row)).lower()
    except VaultError:
        return True
    return not agents.isdisjoint(_HEXADECIMAL.findall(answer)) or any(each in answer for each in names)


# --- step 2 -----------------------------------------------------------------------------------------------


async def _access(account: Address, session: AsyncSession, _after: None) -> tuple[Counter[str], None]:
    found: Counter[str] = Counter()
    for kind, model in (("challenges", Challenge), ("sessions", Session), ("api-keys", ApiKey), ("quotas", Spending)):
        gone = await session.execute(delete(model).where(model.address == account))
        found[kind] = _rows(gone)
    return found, None


# --- step 3 -----------------------------------------------------------------------------------------------


async def _receipts(
    account: Address, session: AsyncSession, after: TokenId | None
) -> tuple[Counter[str], TokenId | None]:
    tokens = await _tokens(session, account, after)
    gone = await session.execute(_without_receipt().where(PrintOutcome.token_id.in_(tokens)))
    return Counter({"receipts": _rows(gone)}), _last(tokens)


async def _receipt_of(known: Print, session: AsyncSession, _after: None) -> tuple[Counter[str], None]:
    gone = await session.execute(
        _without_receipt().where(PrintOutcome.token_id == known.token_id, PrintOutcome.sequence == known.sequence)
    )
    return Counter({"receipts": _rows(gone)}), None


def _without_receipt() -> Any:
    """Return the statement that takes receipts away; result, digest, signature and promise stay."""
    return (
        update(PrintOutcome)
        .where(or_(PrintOutcome.receipt.is_not(None), PrintOutcome.receipt_salt.is_not(None)))
        .values(receipt=None, receipt_salt=None, envelope_signature=None)
    )


# --- step 4 -----------------------------------------------------------------------------------------------


async def _never_on_chain(
    is_sqlite: bool, before: UnixSeconds, account: Address, session: AsyncSession, _after: None
) -> tuple[Counter[str], None]:
    """Erase signed statements that failed and are in no block, and rows of what they would have made.

    A permission whose deadline was a day ago (`before`) can be brought to the chain by nobody.
    """
    found: Counter[str] = Counter()
    failed = OutboxTransaction.status == "failed", OutboxTransaction.mined_hash.is_(None)
    gone = await session.execute(
        delete(Token).where(Token.holder == account, Token.seen_block.is_(None), Token.deadline < before)
    )
    found["reservations-never-made"] = _rows(gone)
    ended = select(OutboxTransaction.id).where(*failed)
    designs = select(Design.design_id).where(
        Design.registrant == account, Design.seen_block.is_(None), Design.transaction_id.in_(ended)
    )
    for model in (License, Revision, Design):
        gone = await session.execute(delete(model).where(model.design_id.in_(designs), model.seen_block.is_(None)))
        found["designs-never-registered"] += _rows(gone)
    named = or_(_contains(is_sqlite, account), func.lower(OutboxTransaction.reason).like(f"%{account.hex()}%"))
    relayed = (await session.scalars(select(OutboxTransaction.id).where(*failed, named))).all()
    await session.execute(delete(OutboxAttempt).where(OutboxAttempt.transaction_id.in_(relayed)))
    gone = await session.execute(
        update(OutboxTransaction)
        .where(OutboxTransaction.id.in_(relayed))
        .values(data=b"", dedupe_key=ERASED, reason=ERASED)
    )
    found["transactions-never-mined"] = _rows(gone)
    return found, None


def _contains(is_sqlite: bool, account: Address) -> ColumnElement[bool]:
    """Return whether calldata holds an address, as ABI words do."""
    data = OutboxTransaction.data
    place = func.instr(data, account) if is_sqlite else func.position(literal(bytes(account)).op("IN")(data))
    found: ColumnElement[bool] = place > 0
    return found


# --- step 5 -----------------------------------------------------------------------------------------------


async def _acts_of_tokens(
    account: Address, session: AsyncSession, after: TokenId | None
) -> tuple[Counter[str], TokenId | None]:
    """Take holder and agent out of the acts on the account's tokens."""
    tokens = await _tokens(session, account, after)
    gone = await session.execute(
        update(AuditEntry)
        .where(
            AuditEntry.subject.in_(map(id_text, tokens)),
            AuditEntry.actor.not_in((journal.GATEWAY, "operator", ERASED)),
        )
        .values(actor=ERASED, correlation_id=None)
    )
    return Counter({"acts": _rows(gone)}), _last(tokens)


async def _acts(account: Address, session: AsyncSession, after: int | None) -> tuple[Counter[str], int | None]:
    """Take the account out of its other acts, and out of those of others that name it."""
    first = 0 if after is None else after
    last = await session.scalar(select(func.max(AuditEntry.id))) or 0
    here = AuditEntry.id > first, AuditEntry.id <= first + _ENTRIES_AT_ONCE
    name = address_text(account)
    found = 0
    named = func.lower(cast(AuditEntry.detail, String)).like(f"%{account.hex()}%")
    for chosen, values in (
        ((AuditEntry.actor == name, AuditEntry.action.in_(OF_ACCESS)), {"subject": ERASED}),
        ((AuditEntry.actor == name,), {"actor": ERASED, "correlation_id": None}),
        ((AuditEntry.subject == name,), {"subject": ERASED, "correlation_id": None}),
        ((named,), {"detail": {}, "correlation_id": None}),
    ):
        gone = await session.execute(update(AuditEntry).where(*here, *chosen).values(values))
        found += _rows(gone) if "correlation_id" in values else 0
    return Counter({"acts": found}), first + _ENTRIES_AT_ONCE if first + _ENTRIES_AT_ONCE < last else None


# --- step 6 -----------------------------------------------------------------------------------------------


async def _write_anew(database: Database) -> None:
    """Let no page of the database hold what was erased.

    PostgreSQL's archived write-ahead log, and its own files until they are used again, are the operator's.
    """
    if database.is_sqlite:
        await asyncio.to_thread(_vacuum, str(database.engine.url.database))
        return
    async with database.engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await alone.execute(text("SET statement_timeout = 0"))
        try:
            await alone.execute(text(f"VACUUM {', '.join(model.__tablename__ for model in TABLES)}"))
        finally:
            await alone.execute(text("RESET statement_timeout"))


def _vacuum(path: str) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        raise _not_rewritten(str(error)) from error
    if is_busy:
        raise _not_rewritten("it is in use")


def _not_rewritten(why: str) -> UnavailableError:
    return UnavailableError(
        f"everything is erased, but the database could not be written anew: {why}",
        code="database-unreachable",
        hint="give the same command again",
    )


# --- what is told -----------------------------------------------------------------------------------------


async def _told(session: AsyncSession, account: Address, rows: Mapping[str, int]) -> Erased:
    held = select(Token.token_id).where(Token.holder == account)
    stays = {
        "designs": Design.registrant == account,
        "credits": LicenseCredit.payee == account,
        "reservations": Token.holder == account,
        "prints": Print.token_id.in_(held),
        "outcomes": PrintOutcome.token_id.in_(held),
    }
    counts = {kind: await session.scalar(select(func.count()).where(chosen)) or 0 for kind, chosen in stays.items()}
    still_open = await session.scalar(select(func.count()).where(Token.holder == account, Token.ended_at.is_(None)))
    return Erased(rows, counts, still_open or 0)


async def _part(session: AsyncSession, serial: str) -> Print:
    known = await session.scalar(select(Print).where(Print.serial == serial))
    if known is None:
        raise part_unknown()
    return known


async def _agents(session: AsyncSession, chosen: ColumnElement[bool]) -> frozenset[str]:
    return frozenset(agent.hex() for agent in await session.scalars(select(Token.agent).where(chosen)))


async def _tokens(session: AsyncSession, account: Address, after: TokenId | None) -> Sequence[TokenId]:
    query = select(Token.token_id).where(Token.holder == account).order_by(Token.token_id).limit(_ROWS_AT_ONCE)
    if after is not None:
        query = query.where(Token.token_id > after)
    return (await session.scalars(query)).all()


def _last(tokens: Sequence[TokenId]) -> TokenId | None:
    return tokens[-1] if len(tokens) == _ROWS_AT_ONCE else None


def _rows(result: Any) -> int:
    return int(result.rowcount)
