"""Run a slicer as a process of its own: fed by a pipe, within limits, killed with all its children.

A slicer reads what strangers made, so it may crash, hang or take all memory without taking the agent along, and
its messages never become ours.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from platemark.agent.slicers import confine
from platemark.errors import LocalError

_STDERR_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one run may take."""

    wall_seconds: float = 300.0
    cpu_seconds: int = 240
    memory_bytes: int = 4 << 30
    output_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended: the program's exit code (negative: the signal), its output and the head of its messages."""

    code: int
    output: bytes
    messages: bytes


def run(
    arguments: Sequence[str],
    *,
    bounds: Bounds,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    drop_privileges: bool,
) -> Finished:
    """Run a program (its absolute path first) to its end and return how it ended.

    Errors: LocalError `slicer-timeout` when it takes too long, `slicer-crashed` when it says too much,
        `slicer-missing` when it cannot be started.
    """
    limits = json.dumps(
        {
            "cpuSeconds": bounds.cpu_seconds,
            "memoryBytes": bounds.memory_bytes,
            "fileBytes": bounds.output_bytes,
            "dropPrivileges": drop_privileges,
        }
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(confine.__file__)), limits, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", **(environment or {})},
            cwd="/",
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise LocalError("the slicer could not be started", code="slicer-missing") from error
    with process:
        return _follow(process, stdin, bounds)


def _follow(process: "subprocess.Popen[bytes]", stdin: bytes, bounds: Bounds) -> Finished:
    output, messages = _Pipe(process.stdout, bounds.output_bytes), _Pipe(process.stderr, _STDERR_BYTES)
    feeder = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
    feeder.start()
    try:
        process.wait(bounds.wall_seconds)
    except subprocess.TimeoutExpired as error:
        raise LocalError(
            f"the slicer took longer than {bounds.wall_seconds:.0f} seconds",
            code="slicer-timeout",
            hint="use a coarser profile, or a simpler mesh",
        ) from error
    finally:
        _kill(process)
        for thread in (feeder, output.thread, messages.thread):
            thread.join()
    if output.overflowed:
        raise LocalError("the slicer wrote more than it may", code="slicer-crashed")
    return Finished(process.returncode, bytes(output.data), bytes(messages.data))


class _Pipe:
    """Collects what a pipe says, up to a limit; the rest is read and dropped, so that nobody blocks."""

    def __init__(self, pipe: IO[bytes] | None, most: int) -> None:
        if pipe is None:
            raise ValueError("the process has no pipe")
        self.data = bytearray()
        self.overflowed = False
        self._pipe = pipe
        self._most = most
        self.thread = threading.Thread(target=self._collect, daemon=True)
        self.thread.start()

    def _collect(self) -> None:
        while chunk := self._pipe.read(1 << 16):
            room = self._most - len(self.data)
            self.data += chunk[:room]
            self.overflowed |= len(chunk) > room


def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.write(data)
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the program and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
