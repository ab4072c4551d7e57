"""What `platemark-gateway doctor` looks at: each part by itself, without changing anything.

One part that is wrong hides no other: several problems at once are told at once.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import LocalError, PlatemarkError
from platemark.protocol.codes import CODES
from platemark.protocol.units import Address, address_text
from platemark_gateway.chain.client import ChainClient, ContractReader, Header, Rpc
from platemark_gateway.chain.deploy import FILE_NAME as DEPLOYMENT_FILE
from platemark_gateway.chain.deploy import read_deployment, verify_deployment
from platemark_gateway.chain.submitter import sending_account
from platemark_gateway.clock import CLOCK_AHEAD, Clock, SystemClock, is_ahead
from platemark_gateway.db import migrations
from platemark_gateway.db.session import Database
from platemark_gateway.info.health import FULL_BYTES, LOW_BYTES, SILENT_SECONDS
from platemark_gateway.info.witnesses import witness_states
from platemark_gateway.metrics import Metrics
from platemark_gateway.models.blocks import KeptRoot
from platemark_gateway.models.chain import ChainProgress, OutboxTransaction
from platemark_gateway.models.printlog import LogHead
from platemark_gateway.models.work import WorkerStep
from platemark_gateway.ports import CHAIN_DISPUTED
from platemark_gateway.serving import blocks_of, open_vault
from platemark_gateway.settings import Settings

_WEI_PER_COIN: Final = 10**18
_LOW_WEI: Final = 10**17
_LONGEST_SECONDS: Final = 30
_DATABASE_SKEW_SECONDS: Final = 5
_CHAIN_SKEW_SECONDS: Final = 900
_BLOCK_SECONDS: Final = 15
"""For how long a block is waited for that says whether the chain is silent or this clock ahead."""
_MIB: Final = 1 << 20


class Level(StrEnum):
    """How a part is."""

    WELL = "ok"
    NOTE = "note"  # works, and somebody should know
    WRONG = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One part and what was found."""

    part: str
    text: str
    level: Level = Level.WELL


_Check = Callable[[Settings, Clock], Awaitable[Sequence[Finding]]]


async def examine(settings: Settings, clock: Clock | None = None) -> list[Finding]:
    """Return what was found of each part; nothing is raised, nothing is changed."""
    checks: list[tuple[str, _Check]] = [
        ("settings", _settings),
        ("data folder", _folder),
        ("disk", _disk),
        ("vault", _vault),
        ("database", _database),
        ("state", _state),
        ("chain", _chain),
        ("account", _account),
        ("blocks", _blocks),
    ]
    found: list[Finding] = []
    for part, check in checks:
        found += await _findings(part, check, settings, clock or SystemClock())
    return found


async def _findings(part: str, check: _Check, settings: Settings, clock: Clock) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            return await check(settings, clock)
    except PlatemarkError as error:
        return [_wrong(part, error)]
    except TimeoutError:
        return [Finding(part, f"no answer within {_LONGEST_SECONDS} seconds", Level.WRONG)]
    except OSError as error:
        return [Finding(part, error.strerror or "an input or output error", Level.WRONG)]
    except SQLAlchemyError as error:  # its text may hold what was asked with
        return [Finding(part, f"the database cannot answer ({type(error).__name__})", Level.WRONG)]


def _wrong(part: str, error: PlatemarkError) -> Finding:
    hint = f" (hint: {error.hint})" if error.hint else ""
    return Finding(part, f"{error.message} [{error.code}]{hint}", Level.WRONG)


async def _settings(settings: Settings, _clock: Clock) -> Sequence[Finding]:
    noted: list[Finding] = []
    url = urlsplit(settings.public_url())
    if url.scheme == "http" and url.hostname not in {"127.0.0.1", "::1", "localhost"}:
        noted.append(Finding("settings", "clients reach the gateway without encryption: url is http://", Level.NOTE))
    if settings.host not in {"127.0.0.1", "::1", "localhost"} and not settings.trusted_proxies:
        noted.append(
            Finding(
                "settings", "behind a reverse proxy, trusted_proxies must name it: callers share a limit", Level.NOTE
            )
        )
    if settings.ipfs_replica_api is not None and settings.ipfs_replica_api == settings.ipfs_api:
        noted.append(Finding("settings", "the replica of the blocks is the primary itself", Level.WRONG))
    if "*" in settings.cors_origins:
        noted.append(Finding("settings", "pages of every origin may call every endpoint", Level.NOTE))
    return noted or [Finding("settings", "fit together")]


async def _folder(settings: Settings, _clock: Clock) -> Sequence[Finding]:
    with tempfile.NamedTemporaryFile(dir=settings.data):
        return [Finding("data folder", "can be written")]


async def _disk(settings: Settings, _clock: Clock) -> Sequence[Finding]:
    free = (await asyncio.to_thread(shutil.disk_usage, settings.data)).free
    level = Level.WRONG if free < FULL_BYTES else Level.NOTE if free < LOW_BYTES else Level.WELL
    return [Finding("disk", f"{free // _MIB} MiB are free where the data folder lies", level)]


async def _vault(settings: Settings, _clock: Clock) -> Sequence[Finding]:
    vault = await asyncio.to_thread(open_vault, settings)
    return [Finding("vault", f"opens; the account is {address_text(vault.account)}")]


# --- database ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[AsyncSession]:
    """Open a transaction that only reads; a database that is not there is not made.

    Errors: LocalError `database-behind` for a file that is not there; as `Database.read`.
    """
    database = Database(settings.database())
    try:
        if database.is_sqlite and not await asyncio.to_thread(Path(database.engine.url.database or "").exists):
            raise LocalError("there is none yet", code="database-behind", hint="start `serve`, or restore a backup")
        async with database.read() as session:
            yield session
    finally:
        await database.close()


async def _database(settings: Settings, clock: Clock) -> Sequence[Finding]:
    async with reading(settings) as session:
        connection = await session.connection()
        revision = await connection.run_sync(migrations.found_in)
        skew = await _skew(session, clock) if connection.dialect.name == "postgresql" else 0
    found = []
    newest = migrations.newest()
    if revision == newest:
        found.append(Finding("database", f"is at the newest revision, {revision}"))
    elif migrations.is_newer(revision):
        told = f"is at revision {revision}, of a newer program than this one, which knows {newest}"
        found.append(Finding("database", told, Level.NOTE))
    else:
        behind = LocalError(
            f"is at revision {revision}, the newest is {newest}",
            code="database-behind",
            hint="run `platemark-gateway migrate`",
        )
        found.append(_wrong("database", behind))
    if abs(skew) > _DATABASE_SKEW_SECONDS:
        found.append(
            Finding("clock", f"the database's clock is {skew:+} seconds from this one: set both by NTP", Level.WRONG)
        )
    return found


async def _skew(session: AsyncSession, clock: Clock) -> int:
    told = await session.scalar(text("SELECT CAST(extract(epoch FROM clock_timestamp()) AS bigint)"))
    return int(told or 0) - clock.now()


async def _state(settings: Settings, clock: Clock) -> Sequence[Finding]:
    """What the tables say of the log, the worker, the outbox and the blocks that are kept."""
    async with reading(settings) as session:
        return [
            *await _log(session),
            *await _witnesses(session, settings),
            *await _worker(session, clock),
            *await _outbox(session),
            *await _kept(session, settings),
        ]


async def _log(session: AsyncSession) -> Sequence[Finding]:
    head = await session.scalar(select(LogHead).order_by(LogHead.epoch.desc()).limit(1))
    if head is None:
        return [Finding("log", "was never opened", Level.NOTE)]
    if head.quarantine is not None:
        return [Finding("log", f"is in quarantine: {head.quarantine}", Level.WRONG)]
    return [Finding("log", f"has {head.size} entries, {head.assigned - head.size} on their way")]


async def _witnesses(session: AsyncSession, settings: Settings) -> Sequence[Finding]:
    found = await witness_states(session, (key for key, _ in settings.witness_places()))
    return [Finding("witness", f"{each.name} {_cosigns(each.state)}", _note_if(each.state != "ok")) for each in found]


def _cosigns(state: str) -> str:
    return {"ok": "cosigns", "waiting": "was never asked"}.get(state, f"did not cosign last time: {state}")


async def _worker(session: AsyncSession, clock: Clock) -> Sequence[Finding]:
    rows = list(await session.scalars(select(WorkerStep).order_by(WorkerStep.step)))
    found = [Finding("worker", _failing(row), Level.WRONG) for row in rows if row.failures]
    latest = max((row.succeeded_at for row in rows if row.succeeded_at is not None), default=None)
    if latest is None or clock.now() - latest > SILENT_SECONDS:
        since = "has never worked" if latest is None else f"last worked {clock.now() - latest} seconds ago"
        return [*found, Finding("worker", since, Level.NOTE)]
    return found or [Finding("worker", "works")]


def _failing(row: WorkerStep) -> str:
    told = f"{row.step} failed {row.failures} times in a row, last with {row.code}"
    known = CODES.get(row.code or "")
    return told if known is None or known.hint is None else f"{told} (hint: {known.hint})"


async def _outbox(session: AsyncSession) -> Sequence[Finding]:
    def number(*statuses: str) -> Awaitable[int | None]:
        query = select(func.count()).select_from(OutboxTransaction).where(OutboxTransaction.status.in_(statuses))
        return session.scalar(query)

    waiting, failed = await number("queued", "sent", "seen", "confirmed"), await number("failed")
    told = f"{waiting} transactions are on their way, {failed} have failed"
    return [Finding("outbox", told, Level.NOTE if failed else Level.WELL)]


async def _kept(session: AsyncSession, settings: Settings) -> Sequence[Finding]:
    lost = list(await session.scalars(select(KeptRoot).where(KeptRoot.problem.is_not(None)).limit(5)))
    found = [Finding("blocks", f"{row.purpose} {row.cid} is not whole [{row.problem}]", Level.WRONG) for row in lost]
    if settings.ipfs_replica_api is not None:
        behind = await session.scalar(select(func.count()).select_from(KeptRoot).where(KeptRoot.copied_to.is_(None)))
        if behind:
            found.append(Finding("blocks", f"the replica lacks {behind} roots", Level.NOTE))
    return found


# --- chain ------------------------------------------------------------------------------------------------


async def _chain(settings: Settings, clock: Clock) -> Sequence[Finding]:
    deployment = read_deployment(settings.data / DEPLOYMENT_FILE)
    async with _nodes(settings) as clients:
        if deployment is None:
            told = f"chain {await clients[0].chain_id()} answers; the contracts are not deployed yet"
            return [Finding("chain", told, Level.NOTE)]
        found, views = [], []
        for client in clients:
            try:
                await verify_deployment(client, deployment)
                blocks = await client.head_and_final()
            except PlatemarkError as error:
                found.append(Finding("chain", f"{client.rpc.name}: {error.message} [{error.code}]", Level.WRONG))
                continue
            if blocks is None:
                found.append(Finding("chain", f"{client.rpc.name} has no final block", Level.WRONG))
            else:
                views.append((client, *blocks))
        if not views:
            return found
        head = max((header for _, header, _ in views), key=lambda header: header.number)
        found.append(Finding("chain", f"chain {deployment.chain_id} at block {head.number}; the contracts are ours"))
        final = min((header for _, _, header in views), key=lambda header: header.number)
        found.append(await _agreement(clients, [client for client, _, _ in views], final))
        if is_ahead(clock, head.timestamp):
            found.append(await _old_head(views[0][0], head, clock))
    ahead = head.timestamp - clock.now()
    if ahead > _CHAIN_SKEW_SECONDS:
        told = (
            f"the chain's head is {ahead} seconds ahead of this clock: set it by NTP (an embedded chain may be ahead)"
        )
        found.append(Finding("clock", told, Level.WRONG))
    return [*found, *await _index(settings, head.number)]


async def _old_head(client: ChainClient, head: Header, clock: Clock) -> Finding:
    """Return whether the chain is silent or, when a block arrives that is as old, this clock ahead of it."""
    ends_at = clock.monotonic() + _BLOCK_SECONDS
    newest = head
    while newest.number <= head.number and clock.monotonic() < ends_at:
        await asyncio.sleep(0.5)
        blocks = await client.head_and_final()
        newest = head if blocks is None else blocks[0]
    old = clock.now() - newest.timestamp
    if newest.number <= head.number or not is_ahead(clock, newest.timestamp):
        return Finding("clock", f"the chain's head is {old} seconds old, and no block arrives", Level.NOTE)
    told = f"is {old} seconds ahead of blocks that arrive: set it by NTP, or wait for the node to read the chain"
    return Finding("clock", f"{told} [{CLOCK_AHEAD}]", Level.WRONG)


async def _agreement(configured: Sequence[ChainClient], well: Sequence[ChainClient], final: Header) -> Finding:
    """Return whether the endpoints have the same final block."""
    if len(configured) == 1:
        return Finding("chain", f"its only endpoint, {well[0].rpc.name}, is trusted")
    for client in well:
        header = await client.header(final.number)
        if header is None or header.hash != final.hash:
            told = f"{client.rpc.name} has another block {final.number} than others: take out which one is wrong"
            return Finding("chain", f"{told} [{CHAIN_DISPUTED}]", Level.WRONG)
    if len(well) == 1:
        return Finding("chain", f"of {len(configured)} endpoints one works: nothing becomes final", Level.WRONG)
    return Finding("chain", f"{len(well)} of {len(configured)} endpoints agree on block {final.number}")


@contextlib.asynccontextmanager
async def _nodes(settings: Settings) -> AsyncIterator[list[ChainClient]]:
    """Open a client of each of the chain's endpoints."""
    rpcs = [Rpc(url, timeout_seconds=settings.rpc_timeout_seconds) for url in settings.rpc_urls()]
    try:
        yield [ChainClient(rpc, final_depth=settings.final_depth) for rpc in rpcs]
    finally:
        for rpc in rpcs:
            await rpc.close()


async def _index(settings: Settings, head: int) -> Sequence[Finding]:
    try:
        async with reading(settings) as session:
            row = await session.get(ChainProgress, 1)
    except (PlatemarkError, SQLAlchemyError):
        return []  # the database's own check says so
    if row is None:
        return [Finding("index", "has seen no block yet", Level.NOTE)]
    return [Finding("index", f"is {max(0, head - row.indexed_number)} blocks behind the chain")]


async def _account(settings: Settings, _clock: Clock) -> Sequence[Finding]:
    vault = await asyncio.to_thread(open_vault, settings)
    sender = await _sender(settings, vault.account)
    async with _nodes(settings) as clients:
        client = clients[0]
        balance = await client.balance_of(sender)
        deployment = read_deployment(settings.data / DEPLOYMENT_FILE)
        ledger = None if deployment is None else ContractReader(client, deployment)
        declared = None if ledger is None else await ledger.gateway(vault.account)
        may_act = ledger is None or await ledger.is_operator(vault.account, sender)
    coins = f"{balance // _WEI_PER_COIN}.{balance % _WEI_PER_COIN // 10**14:04d}"
    is_low = balance < _LOW_WEI
    which = "" if sender == vault.account else f"{address_text(sender)}, which sends in its place, "
    found = [Finding("account", f"{which}has {coins} coins" + (": fill it up" if is_low else ""), _note_if(is_low))]
    if not may_act or not vault.holds_sender(sender):
        what = "is no operator" if not may_act else "is not in the vault"
        found.append(Finding("account", f"{which}{what}: platemark-gateway keys rotate sender", Level.WRONG))
    if declared is not None:
        undeclared = not any(declared.profile_digest)
        told = (
            "this account declared no profile yet" if undeclared else f"its profile is declared, epoch {declared.epoch}"
        )
        found.append(Finding("keys", told, _note_if(undeclared)))
    return found


async def _sender(settings: Settings, account: Address) -> Address:
    try:
        async with reading(settings) as session:
            return await sending_account(session, account)
    except (PlatemarkError, SQLAlchemyError):
        return account  # the database's own check says so


def _note_if(holds: bool) -> Level:
    return Level.NOTE if holds else Level.WELL


# --- blocks -----------------------------------------------------------------------------------------------


async def _blocks(settings: Settings, clock: Clock) -> Sequence[Finding]:
    store = blocks_of(settings, clock, Metrics())
    found = []
    for node in store.nodes:
        try:
            who = await node.identity()
        except PlatemarkError as error:
            found.append(Finding("blocks", f"the {node.name} {error.message} [{error.code}]", Level.WRONG))
        else:
            told = "lie in the data folder" if who == "folder" else f"the {node.name} is the IPFS node {who}"
            found.append(Finding("blocks", told))
    return found
