"""Processes of tests, forked from one that has imported everything: each obeys one order and can be killed anywhere.

    processes = Processes("simulators.counting")
    process = processes.start({"step": "sequence", …})     what it said, once it has said a line or is gone
    processes.end(process)                                 its exit status

The module has `async def obey(order)`, which may write one line to stdout; the first process is given its name.
"""

import asyncio
import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

TESTS: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Process:
    """A forked process and the line that it said; empty when it ended first."""

    pid: int
    said: str


class Processes:
    """What is forked from one process, which lives until `close`, or until this process is gone."""

    def __init__(self, module: str) -> None:
        self._first = subprocess.Popen(
            [sys.executable, "-m", "simulators.forking", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "default"},
        )

    def start(self, order: Mapping[str, Any]) -> Process:
        """Let a new process obey an order; return when it has said a line or has ended."""
        pid, said = self._ask({"order": order})
        return Process(pid, said)

    def end(self, process: Process) -> int:
        """Wait until a process has ended and return its status: a signal's number, negative, when it was killed."""
        return int(self._ask({"end": process.pid}))

    def close(self) -> None:
        """End the first process."""
        self._first.communicate()

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        self._first.stdin.write(json.dumps(request) + "\n")
        self._first.stdin.flush()
        return json.loads(self._first.stdout.readline())


# --- the first process --------------------------------------------------------------------------------------


def _forked(obey: Callable[[Any], Coroutine[Any, Any, None]], order: Any) -> tuple[int, str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 1)
        os.close(writing)
        os._exit(_obeyed(obey, order))
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        return child, stream.readline()


def _obeyed(obey: Callable[[Any], Coroutine[Any, Any, None]], order: Any) -> int:
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as a gateway runs
            runner.run(obey(order))
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 (whatever it is, this process ends here and not as its parent)
        traceback.print_exc()
        return 1
    return 0


def _main(module: str) -> None:
    obey = importlib.import_module(module).obey
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any
        if "end" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["end"], 0)[1])
        else:
            answer = _forked(obey, request["order"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    from platemark_gateway import telemetry

    telemetry.configure(as_json=True, level="ERROR")
    _main(sys.argv[1])
