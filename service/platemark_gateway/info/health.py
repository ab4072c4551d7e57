"""Whether a gateway can serve, part by part, in words that tell an outsider nothing that he may not know.

A part's state is one of a few fixed words or a stable error code: no address, path, number or message.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError
from platemark_gateway.container import Container
from platemark_gateway.info.gauges import ENDPOINT_WELL, is_capped, is_clock_ahead, log_age, replica_behind
from platemark_gateway.info.lag import lag
from platemark_gateway.info.witnesses import witness_states
from platemark_gateway.models.work import WorkerStep
from platemark_gateway.ports import ChainProgress

BEHIND_BLOCKS: Final = 50
SILENT_SECONDS: Final = 60
LOW_BYTES: Final = 1 << 30
FULL_BYTES: Final = 64 << 20
_READY_SECONDS: Final = 5
_NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "database": frozenset({"ok"}),
    "chain": frozenset({"ok"}),
    "worker": frozenset({"ok", "failing", "silent"}),
    "disk": frozenset({"ok", "low"}),
}
"""States with which requests are answered. Every gateway shares log, index and blocks: another one serves no better."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The parts' states, and how many roots the replica of the blocks lacks (None without a replica)."""

    parts: Mapping[str, str]
    replica_behind_roots: int | None

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return all(self.parts[part] in states for part, states in _NEEDED.items() if part in self.parts)


async def examine(container: Container, own_worker: Callable[[], str] | None) -> Condition:
    """Return how each part is; nothing is raised.

    Parts: database, chain, clock, endpoints, spending, index, log, its copy and its witnesses, blocks, worker, disk.
    `own_worker` tells how the worker in this process is; without one the database says whether another works.
    """
    parts: dict[str, str] = {"database": await _answer(_database(container))}
    behind: int | None = None
    if parts["database"] != "database-unreachable":
        try:
            async with asyncio.timeout(_READY_SECONDS), container.database.read() as session:
                progress = await container.index.progress(session)
                parts["index"] = _index(progress)
                parts["log"] = await _log(session, container, progress)
                parts["worker"] = await _workers(session, container)
                parts["clock"] = "ahead" if await is_clock_ahead(session) else "ok"
                parts["endpoints"] = _endpoints(container, progress)
                parts["spending"] = "capped" if await is_capped(session) else "ok"
                behind = await replica_behind(session, container)
                copy = await lag(session, container)
                if copy is not None:
                    parts["copy"] = "ok" if copy.failing is None else "failing"
                for witness in await witness_states(session, (each.key for each in container.witnesses)):
                    parts[f"witness-{witness.name}"] = witness.state
        except (PlatemarkError, TimeoutError) as error:
            parts["database"] = error.code if isinstance(error, PlatemarkError) else "timeout"
    if own_worker is not None:
        parts["worker"] = own_worker()
    parts["chain"] = await _answer(_chain(container))
    parts["disk"] = await asyncio.to_thread(_disk, container)
    for node, state in (await container.blocks.states()).items():
        parts[f"blocks-{node}"] = "behind" if state == "ok" and node == "replica" and behind else state
    return Condition(dict(sorted(parts.items())), behind)


async def _answer(check: Awaitable[str]) -> str:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            return await check
    except (PlatemarkError, TimeoutError) as error:
        return error.code if isinstance(error, PlatemarkError) else "timeout"


async def _database(container: Container) -> str:
    if not container.database.is_sqlite:
        async with container.database.begin() as writing:
            if await writing.scalar(text("SHOW transaction_read_only")) == "on":
                return "read-only"
    async with container.database.read() as session:
        await session.execute(text("SELECT 1"))
    return "ok"


async def _chain(container: Container) -> str:
    await container.chain.head()
    return "ok"


def _endpoints(container: Container, progress: ChainProgress | None) -> str:
    """Return `trusted` for a single endpoint, `alone` while too few are well to agree on anything, `disputed`."""
    if progress is not None and progress.dispute is not None:
        return "disputed"
    endpoints = container.chain.endpoints()
    if len(endpoints) == 1:
        return "trusted"
    return "ok" if sum(each.state in ENDPOINT_WELL for each in endpoints) > 1 else "alone"


def _index(progress: ChainProgress | None) -> str:
    if progress is None:
        return "empty"
    return "behind" if progress.head.number - progress.indexed.number > BEHIND_BLOCKS else "ok"


async def _log(session: AsyncSession, container: Container, progress: ChainProgress | None) -> str:
    age = await log_age(session, container, progress)
    if age.quarantine is not None:
        return "quarantine"
    return "behind" if age.is_late else "ok"


async def _workers(session: AsyncSession, container: Container) -> str:
    latest = await session.scalar(select(func.max(WorkerStep.succeeded_at)))
    return "ok" if latest is not None and container.clock.now() - latest <= SILENT_SECONDS else "silent"


def _disk(container: Container) -> str:
    free = shutil.disk_usage(container.settings.data).free
    if free < FULL_BYTES:
        return "full"
    return "low" if free < LOW_BYTES else "ok"
