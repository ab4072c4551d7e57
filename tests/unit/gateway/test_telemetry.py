import io
import logging
import sys

import pytest

from platemark_gateway import telemetry


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
