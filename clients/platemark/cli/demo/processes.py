"""The demonstration's processes: servers that say when they are ready, and one session for each role.

Nothing of these programs is imported here: the gateway is started like an operator would start it, and each role runs
its commands in a process of its own with a home and keys of its own.
"""

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, cast

from platemark.errors import LocalError

READY_SECONDS: Final = 60
STOP_SECONDS: Final = 10
_TAIL_LINES: Final = 6


class Server:
    """A server process that prints one JSON line when it is ready; its log goes to a file."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        keeps_open: Sequence[int] = (),
    ) -> None:
        """Start it, with the open files `keeps_open` as its own too; errors: LocalError `program-missing`."""
        self.name = name
        self.log = log
        self._stream = log.open("ab")
        try:
            self.process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._stream,
                env=dict(environment),
                pass_fds=tuple(keeps_open),
            )
        except OSError as error:
            raise LocalError(
                f"the {name} cannot be started",
                code="program-missing",
                hint="install platemark-gateway beside platemark",
            ) from error

    def ready(self, seconds: float = READY_SECONDS) -> Mapping[str, Any]:
        """Return what the server said when it was ready.

        Errors: LocalError `server-failed` with the last lines of its log.
        """
        line = self._first_line(time.monotonic() + seconds)
        try:
            found = json.loads(line)
        except ValueError:
            found = {}
        if isinstance(found, dict) and found.get("ready") is True:
            return cast("Mapping[str, Any]", found)
        self.stop()
        raise LocalError(f"the {self.name} did not start", code="server-failed", hint=self._tail())

    def stop(self) -> None:
        """End the process: politely, then at once; nothing when it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._stream.close()

    def _first_line(self, ends_at: float) -> bytes:
        output = self.process.stdout
        if output is None:
            return b""
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while (left := ends_at - time.monotonic()) > 0:
                if selector.select(left):
                    return output.readline()
        return b""

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return " / ".join(line.strip() for line in lines) or f"see {self.log}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command ended."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def value(self) -> Mapping[str, Any]:
        """The command's machine output."""
        return cast("Mapping[str, Any]", json.loads(self.stdout or "{}"))

    @property
    def error_code(self) -> str | None:
        """The code of the error that ended it, if one did."""
        error = self.value.get("error")
        return error.get("code") if isinstance(error, dict) else None

    @property
    def complaint(self) -> str:
        """The line that says what went wrong."""
        error = self.value.get("error")
        if isinstance(error, dict):
            return str(error.get("message"))
        lines = [line for line in self.stderr.splitlines() if line.startswith("platemark: ")]
        return lines[-1].removeprefix("platemark: ") if lines else ""


class Role:
    """A person with a machine: one process that runs `platemark` commands, with a home of its own."""

    def __init__(self, name: str, home: Path, *, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.home = home
        self._stream = log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "platemark.cli", "session"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stream,
            env={**environment, "PLATEMARK_HOME": str(home)},
            text=True,
            encoding="utf-8",
        )

    def attempt(self, *argv: str) -> Outcome:
        """Run one command with --json and return how it ended, well or not.

        Errors: LocalError `server-failed` when the process itself ended.
        """
        request, answer = cast("IO[str]", self.process.stdin), cast("IO[str]", self.process.stdout)
        try:
            request.write(json.dumps({"argv": [*argv, "--json"]}) + "\n")
            request.flush()
            line = answer.readline()
        except OSError:
            line = ""
        if not line:
            raise LocalError(
                f"the process of the {self.name} ended", code="server-failed", hint=f"see {self._stream.name}"
            )
        found = json.loads(line)
        return Outcome(argv, found["exitCode"], found["stdout"], found["stderr"])

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gateway_program() -> str:
    """Return the gateway's program, beside this Python or on the path.

    Errors: LocalError `program-missing`.
    """
    beside = Path(sys.executable).with_name("platemark-gateway")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("platemark-gateway")
    if found is None:
        raise LocalError(
            "the demonstration needs the gateway's program",
            code="program-missing",
            hint="install platemark-gateway beside platemark",
        )
    return found
