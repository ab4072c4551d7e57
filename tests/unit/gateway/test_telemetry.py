import asyncio
import io
import json
import logging
import sys
from collections.abc import Mapping

import pytest

from platemark.errors import LocalError
from platemark_gateway import telemetry
from platemark_gateway.audit import journal
from platemark_gateway.metrics import Metrics
from platemark_gateway.worker.loop import StepState, Worker
from simulators.clock import ManualClock


class FullDisk(io.StringIO):
    """Standard error on a disk without space."""

    def write(self, _text: str, /) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.fixture
def _logging_as_before() -> "object":
    import structlog

    root = logging.getLogger()
    before = (root.handlers, root.level)
    yield
    root.handlers, level = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging_as_before")
@pytest.mark.parametrize("as_json", [True, False])
def test_what_cannot_be_logged_is_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    disk = FullDisk()
    monkeypatch.setattr(sys, "stderr", disk)
    telemetry.configure(as_json=as_json, level="INFO")
    telemetry.log().warning("worker.step.failed", step="grow")
    telemetry.log().error("worker.step.broken", exc_info=RuntimeError("unforeseen"))
    logging.getLogger("uvicorn").error("a library's record")
    assert disk.getvalue() == ""


@pytest.mark.usefixtures("_logging_as_before")
def test_what_can_be_logged_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure(as_json=True, level="INFO")
    telemetry.log().warning("worker.step.failed", step="grow")
    assert '"step": "grow"' in stream.getvalue()


@pytest.mark.anyio
@pytest.mark.usefixtures("_logging_as_before")
async def test_the_lines_and_acts_of_one_run_of_a_step_share_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock, stop = io.StringIO(), ManualClock(), asyncio.Event()
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure(as_json=True, level="INFO")
    acts = list[str]()

    async def fails() -> bool:
        telemetry.log().info("log.tried")
        await asyncio.sleep(0)
        acts.append(journal.entry(clock, actor=journal.GATEWAY, action="log.anchor", subject="x")["correlation_id"])
        if len(acts) == 2:
            stop.set()
        raise LocalError("no", code="disk-full")

    async def other() -> bool:
        telemetry.log().info("log.other")
        return False

    async def told(_states: Mapping[str, StepState]) -> None:
        """Nobody asks."""

    steps = {"fails": fails, "other": other}
    await Worker(steps, pause_seconds=0.001, clock=clock, metrics=Metrics(), report=told).run(stop)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    of_fails = [(line["event"], line["run"]) for line in lines if line["step"] == "fails"]
    assert of_fails == [(event, run) for run in acts for event in ("log.tried", "worker.step.failed")]
    others = {line["run"] for line in lines if line["step"] == "other"}
    assert len({*acts, *others}) == len(acts) + len(others)
    assert telemetry.correlation_id() == "none"
