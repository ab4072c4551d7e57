"""The worker: runs each step again and again until it is told to stop.

A step returns whether more is waiting, and then comes back at once. A step that fails waits a little longer each
time, and the others go on. Every step claims its work in the database, so any number of workers may run.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from platemark.errors import PlatemarkError
from platemark.protocol.units import UnixSeconds
from platemark_gateway import telemetry
from platemark_gateway.clock import Clock
from platemark_gateway.metrics import Metrics

Step = Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class StepState:
    """When a step last ended well and badly, how often in a row badly, and with which code."""

    succeeded_at: UnixSeconds | None = None
    failed_at: UnixSeconds | None = None
    failures: int = 0
    code: str | None = None


Report = Callable[[Mapping[str, StepState]], Awaitable[None]]

_LONGEST_PAUSE_SECONDS: Final = 30.0
_REPORTING: Final = "reporting"
_REPORT_SECONDS: Final = 5.0
_FAILING: Final = 5
"""Failures of a step in a row after which the worker's health says so."""


class Worker:
    """Named steps, each in a task of its own; what they did is reported every few seconds."""

    def __init__(
        self, steps: Mapping[str, Step], *, pause_seconds: float, clock: Clock, metrics: Metrics, report: Report
    ) -> None:
        self._steps = {**steps, _REPORTING: self._tell}
        self._pause = pause_seconds
        self._clock = clock
        self._metrics = metrics
        self._report = report
        self._tell_at = 0.0
        self._states = {name: StepState() for name in self._steps}
        self._has_ended = False

    def health(self) -> str:
        """Return `ok`, `failing` when a step has failed several times in a row, `stopped` when it runs no more."""
        if self._has_ended:
            return "stopped"
        return "failing" if any(state.failures >= _FAILING for state in self._states.values()) else "ok"

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; steps that are under way are finished."""
        try:
            async with asyncio.TaskGroup() as group:
                for name, step in self._steps.items():
                    group.create_task(self._repeat(name, step, stop))
        finally:
            self._has_ended = True

    async def _repeat(self, name: str, step: Step, stop: asyncio.Event) -> None:
        state = self._states[name]
        while not stop.is_set():
            with telemetry.run_of(name):
                more = await self._take(name, step, state)
            if not more:
                await _wait(stop, self._pause_after(state.failures))

    async def _take(self, name: str, step: Step, state: StepState) -> bool:
        try:
            more = await step()
        except PlatemarkError as error:
            self._note_failure(name, state, error.code)
            telemetry.log().warning("worker.step.failed", code=error.code, failures=state.failures)
        except Exception:  # noqa: BLE001 (a step that fails in a way nobody foresaw must not stop the others)
            self._note_failure(name, state, "internal")
            telemetry.log().exception("worker.step.broken", failures=state.failures)
        else:
            state.failures, state.succeeded_at = 0, self._clock.now()
            return more
        return False

    def _note_failure(self, name: str, state: StepState, code: str) -> None:
        state.failures, state.failed_at, state.code = state.failures + 1, self._clock.now(), code
        self._metrics.step_failures.add(name, code)

    async def _tell(self) -> bool:
        if self._clock.monotonic() >= self._tell_at:
            await self._report(self._states)
            self._tell_at = self._clock.monotonic() + _REPORT_SECONDS
        return False

    def _pause_after(self, failures: int) -> float:
        if failures == 0:
            return self._pause
        longest = min(_LONGEST_PAUSE_SECONDS, self._pause * 2.0**failures)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
