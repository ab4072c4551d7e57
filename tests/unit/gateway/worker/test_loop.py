import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from platemark.errors import LocalError
from platemark_gateway.metrics import Metrics
from platemark_gateway.worker.loop import StepState, Worker
from simulators.clock import ManualClock

pytestmark = pytest.mark.anyio


async def until(holds: asyncio.Event) -> None:
    await asyncio.wait_for(holds.wait(), 20)


async def test_a_step_that_fails_stops_no_other_and_is_tried_again() -> None:
    stop, recovered, other_done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tried, seen = 0, list[str]()

    async def fails() -> bool:
        nonlocal tried
        tried += 1
        seen.append(worker.health())
        if tried < 7:
            raise RuntimeError("unforeseen") if tried == 2 else LocalError("no", code="disk-full")
        recovered.set()
        return False

    async def other() -> bool:
        other_done.set()
        return False

    async def told(states: Mapping[str, StepState]) -> None:
        reported.update({name: replace(state) for name, state in states.items()})

    reported: dict[str, StepState] = {}
    metrics = Metrics()
    worker = Worker(
        {"fails": fails, "other": other}, pause_seconds=0.001, clock=ManualClock(), metrics=metrics, report=told
    )
    assert worker.health() == "ok"
    running = asyncio.create_task(worker.run(stop))
    await until(other_done)
    await until(recovered)
    stop.set()
    await running
    assert seen == ["ok"] * 5 + ["failing"] * 2
    assert worker.health() == "stopped"
    assert set(reported) == {"fails", "other", "reporting"}
    lines = list(metrics.lines())
    assert 'platemark_worker_step_failures_total{step="fails",reason="disk-full"} 5' in lines
    assert 'platemark_worker_step_failures_total{step="fails",reason="internal"} 1' in lines
