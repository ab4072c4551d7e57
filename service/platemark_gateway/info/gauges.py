"""What the database and this machine know, measured when somebody asks: the same from every process of a gateway."""

import asyncio
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError
from platemark.protocol.units import UnixSeconds
from platemark_gateway.clock import CLOCK_AHEAD, chain_now
from platemark_gateway.container import Container
from platemark_gateway.info.lag import Lag, lag
from platemark_gateway.info.witnesses import WitnessState, witness_states
from platemark_gateway.metrics import gauge
from platemark_gateway.models.blocks import KeptRoot
from platemark_gateway.models.chain import ChainSpending, OutboxTransaction
from platemark_gateway.models.design import Revision
from platemark_gateway.models.printlog import LogAnchor, LogEntry, LogHead
from platemark_gateway.models.work import WorkerStep
from platemark_gateway.ports import ChainProgress

ENDPOINT_WELL: Final = frozenset({"ok", "trusted"})
_DAY_SECONDS: Final = 86_400
UNFINISHED: Final = ("queued", "sent", "seen", "confirmed")
_Samples = list[tuple[Mapping[str, str], float]]


@dataclass(frozen=True, slots=True)
class LogAge:
    """How far the log is, and how long its oldest entry without a final anchor has been waiting."""

    size: int = 0
    anchored: int = 0
    backlog_seconds: int = 0
    anchored_at: UnixSeconds | None = None
    merge_delay_seconds: int = 0
    compared_at: UnixSeconds | None = None
    quarantine: str | None = None

    @property
    def is_late(self) -> bool:
        """Whether an entry waits for its anchor for longer than was promised."""
        return self.backlog_seconds > self.merge_delay_seconds


@dataclass(slots=True)
class Gauges:
    """Named gauges with their samples."""

    _found: dict[str, tuple[str, _Samples]] = field(default_factory=dict)

    def set(self, name: str, text: str, value: float, **labels: str) -> None:
        """Add a sample."""
        self._found.setdefault(name, (text, []))[1].append((labels, value))

    def lines(self) -> Iterable[str]:
        """Yield the exposition's lines."""
        for name, (text, samples) in self._found.items():
            yield from gauge(name, text, samples)


async def log_age(session: AsyncSession, container: Container, progress: ChainProgress | None) -> LogAge:
    """Return how old what waits in the log is; all zero before the log was opened."""
    head = await session.scalar(select(LogHead).order_by(LogHead.epoch.desc()).limit(1))
    if head is None:
        return LogAge()
    final = -1 if progress is None else progress.final.number
    anchor = await session.scalar(
        select(LogAnchor)
        .where(
            LogAnchor.gateway == container.vault.account,
            LogAnchor.epoch == head.epoch,
            LogAnchor.seen_block <= final,
        )
        .order_by(LogAnchor.size.desc())
        .limit(1)
    )
    anchored = 0 if anchor is None else anchor.size
    since = await session.scalar(select(LogEntry.created_at).where(LogEntry.position == anchored))
    if since is None:
        unplaced = select(LogEntry.created_at).where(LogEntry.position.is_(None)).order_by(LogEntry.id).limit(1)
        since = await session.scalar(unplaced)
    now = chain_now(container.clock, UnixSeconds(0) if progress is None else progress.head.timestamp)
    return LogAge(
        size=head.size,
        anchored=anchored,
        backlog_seconds=0 if since is None else max(0, now - since),
        anchored_at=None if anchor is None else anchor.created_at,
        merge_delay_seconds=head.merge_delay_seconds,
        compared_at=head.compared_at,
        quarantine=head.quarantine,
    )


async def replica_behind(session: AsyncSession, container: Container) -> int | None:
    """Return how many roots were never found whole on the replica; None without a replica."""
    if not container.blocks.has_replica:
        return None
    behind = select(func.count()).select_from(KeptRoot).where(KeptRoot.copied_to.is_(None))
    return await session.scalar(behind) or 0


async def is_clock_ahead(session: AsyncSession) -> bool:
    """Return whether the worker that reported last has a clock that is far ahead of the blocks that arrive."""
    ahead = select(WorkerStep.step).where(WorkerStep.code == CLOCK_AHEAD, WorkerStep.failures > 0)
    return await session.scalar(ahead.limit(1)) is not None


async def measure(container: Container) -> Iterable[str]:
    """Return the exposition's lines of every gauge; of a database that is away only that it is."""
    gauges = Gauges()
    _endpoints(gauges, container)
    _disk(gauges, await asyncio.to_thread(shutil.disk_usage, container.settings.data))
    for node, state in (await container.blocks.states()).items():
        gauges.set("platemark_blobs_node_up", "1 while a block node answers.", int(state == "ok"), node=node)
    try:
        async with container.database.read() as session:
            await _measure_database(gauges, session, container)
        reachable = 1
    except PlatemarkError:
        reachable = 0
    gauges.set("platemark_database_up", "1 while the database answers.", reachable)
    return gauges.lines()


def _endpoints(gauges: Gauges, container: Container) -> None:
    """Tell how this process finds the chain's nodes; another one may find them otherwise."""
    for each in container.chain.endpoints():
        gauges.set(
            "platemark_chain_endpoint_up",
            "1 while this process uses the chain endpoint.",
            int(each.state in ENDPOINT_WELL),
            endpoint=each.name,
        )
        gauges.set(
            "platemark_chain_endpoint_contradictions",
            "What the endpoint said against proof or agreement, since this process started.",
            each.contradictions,
            endpoint=each.name,
        )


async def is_capped(session: AsyncSession) -> bool:
    """Return whether the day's spending cap keeps a transaction waiting."""
    capped = select(OutboxTransaction.id).where(
        OutboxTransaction.status.in_(UNFINISHED), OutboxTransaction.waiting == "spending-cap"
    )
    return await session.scalar(capped.limit(1)) is not None


async def _spending(gauges: Gauges, session: AsyncSession, container: Container) -> None:
    today = ChainSpending.day == container.clock.now() // _DAY_SECONDS
    spent = sum(await session.scalars(select(ChainSpending.wei).where(today)))
    gauges.set("platemark_spent_wei", "What today's transactions cost, wei.", spent)
    gauges.set("platemark_spending_cap_wei", "What a day's may cost.", container.settings.spend_wei_per_day)
    gauges.set("platemark_outbox_capped", "1 while the spending cap keeps transactions.", int(await is_capped(session)))


def _disk(gauges: Gauges, usage: tuple[int, int, int]) -> None:
    total, _, free = usage
    gauges.set("platemark_disk_free_bytes", "Free space where the data folder lies.", free)
    gauges.set("platemark_disk_size_bytes", "Size of the disk on which the data folder lies.", total)


async def _measure_database(gauges: Gauges, session: AsyncSession, container: Container) -> None:
    progress = await container.index.progress(session)
    _chain(gauges, progress)
    gauges.set(
        "platemark_clock_ahead",
        "1 while the worker's clock is far ahead of the blocks that arrive: no token is ended.",
        int(await is_clock_ahead(session)),
    )
    await _spending(gauges, session, container)
    await _outbox(gauges, session, container)
    _log(gauges, await log_age(session, container, progress), container)
    waiting = select(func.count()).select_from(LogEntry).where(LogEntry.position.is_(None))
    gauges.set("platemark_log_waiting_entries", "Log entries without a position.", await session.scalar(waiting) or 0)
    held = select(func.count()).select_from(Revision).where(Revision.wrapped_package.is_not(None))
    gauges.set("platemark_vault_keys", "Content keys that are wrapped for the vault.", await session.scalar(held) or 0)
    await _kept(gauges, session, container)
    _copy(gauges, await lag(session, container))
    _witnesses(gauges, await witness_states(session, (each.key for each in container.witnesses)))
    for row in await session.scalars(select(WorkerStep).order_by(WorkerStep.step)):
        gauges.set(
            "platemark_worker_step_success_timestamp_seconds",
            "When a worker last finished the step, Unix seconds; 0 when none ever has.",
            row.succeeded_at or 0,
            step=row.step,
        )
        gauges.set(
            "platemark_worker_step_failing",
            "How often in a row the step has failed, in the worker that reported last.",
            row.failures,
            step=row.step,
        )


def _witnesses(gauges: Gauges, witnesses: Sequence[WitnessState]) -> None:
    for each in witnesses:
        gauges.set(
            "platemark_witness_failing",
            "1 while the witness gives no cosignature.",
            int(each.state not in {"ok", "waiting"}),
            witness=each.name,
        )
        gauges.set("platemark_witness_size", "Log entries that it cosigned last.", each.size, witness=each.name)
        gauges.set(
            "platemark_witness_cosigned_timestamp_seconds",
            "When it last cosigned, Unix seconds; 0 for never.",
            each.cosigned_at or 0,
            witness=each.name,
        )


def _copy(gauges: Gauges, behind: Lag | None) -> None:
    if behind is not None:
        gauges.set("platemark_ship_lag_entries", "Log entries that the second place lacks.", behind.entries)
        gauges.set("platemark_ship_lag_seconds", "For how long the oldest of them has been there.", behind.seconds)
        gauges.set(
            "platemark_ship_failing", "1 while the second place cannot be used.", int(behind.failing is not None)
        )


def _chain(gauges: Gauges, progress: ChainProgress | None) -> None:
    head, indexed, final = (
        (0, 0, 0) if progress is None else (progress.head.number, progress.indexed.number, progress.final.number)
    )
    gauges.set(
        "platemark_chain_disputed",
        "1 while nothing more becomes final because the chain's endpoints disagree.",
        int(progress is not None and progress.dispute is not None),
    )
    gauges.set("platemark_chain_head_block", "Latest block that was seen.", head)
    gauges.set("platemark_chain_indexed_block", "Latest block with its facts.", indexed)
    gauges.set("platemark_chain_final_block", "Latest final block.", final)
    gauges.set("platemark_index_lag_blocks", "Blocks that were seen and are not indexed.", head - indexed)
    gauges.set(
        "platemark_chain_head_timestamp_seconds",
        "Timestamp of the latest block that was seen, Unix seconds.",
        0 if progress is None else progress.head.timestamp,
    )


async def _outbox(gauges: Gauges, session: AsyncSession, container: Container) -> None:
    query = select(OutboxTransaction.status, func.count().label("number")).group_by(OutboxTransaction.status)
    counts = {row.status: int(row.number) for row in await session.execute(query)}
    for status in (*UNFINISHED, "failed"):
        gauges.set(
            "platemark_outbox_transactions",
            "Transactions by state; those that are final are not counted.",
            counts.get(status, 0),
            status=status,
        )
    gauges.set(
        "platemark_outbox_unfinished",
        "Transactions that are neither final nor failed.",
        sum(counts.get(status, 0) for status in UNFINISHED),
    )
    oldest = await session.scalar(
        select(func.min(OutboxTransaction.created_at)).where(OutboxTransaction.status.in_(UNFINISHED))
    )
    gauges.set(
        "platemark_outbox_oldest_seconds",
        "Age of the oldest transaction that is neither final nor failed.",
        0 if oldest is None else max(0, container.clock.now() - oldest),
    )


def _log(gauges: Gauges, age: LogAge, container: Container) -> None:
    gauges.set("platemark_quarantine", "1 while nothing may be released.", int(age.quarantine is not None))
    gauges.set("platemark_log_size", "Entries under the log's head.", age.size)
    gauges.set("platemark_log_anchored_size", "Entries under the last final anchor.", age.anchored)
    gauges.set(
        "platemark_log_backlog_seconds",
        "For how long the oldest entry has been waiting for a final anchor.",
        age.backlog_seconds,
    )
    gauges.set(
        "platemark_log_merge_delay_seconds",
        "For how long an entry may wait at most before nothing is released.",
        age.merge_delay_seconds,
    )
    if age.compared_at is not None:
        gauges.set(
            "platemark_log_comparison_age_seconds",
            "Age of the last comparison of log, anchors and chain that found nothing.",
            max(0, container.clock.now() - age.compared_at),
        )
    if age.anchored_at is not None:
        gauges.set(
            "platemark_log_anchor_age_seconds",
            "Age of the last final anchor; a log that does not grow needs no new one.",
            max(0, container.clock.now() - age.anchored_at),
        )


async def _kept(gauges: Gauges, session: AsyncSession, container: Container) -> None:
    name, text = "platemark_blobs_roots", "Roots that are kept on the block nodes."
    gauges.set(name, text, await session.scalar(select(func.count()).select_from(KeptRoot)) or 0)
    query = select(KeptRoot.problem, func.count().label("number")).where(KeptRoot.problem.is_not(None))
    problems = {str(row.problem): int(row.number) for row in await session.execute(query.group_by(KeptRoot.problem))}
    for reason in sorted({"block-not-found", "block-damaged", *problems}):
        gauges.set(
            "platemark_blobs_unrepaired_roots",
            "Roots with a block that could not be repaired.",
            problems.get(reason, 0),
            reason=reason,
        )
    lacking = await replica_behind(session, container)
    if lacking is not None:
        gauges.set("platemark_blobs_replica_behind_roots", "Roots that were never found whole on the replica.", lacking)
