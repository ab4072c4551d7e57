"""`platemark-gateway`, forked from a process that has imported what the command imports: that takes seconds each time.

    with forked_programs():
        subprocess.Popen([gateway_program(), "serve", …])

A program that is forked is this process's child, with the arguments, the environment, the folder and the standard
streams that it was given; it ends, is killed and is waited for as one that was started. Started as ever are commands
that are not named here, and programs with open files, a session or libraries of their own. `chain_process.spawn` starts
every program anew, for the tests that are about that.
"""

import ctypes
import gc
import importlib
import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from platemark.cli.demo.processes import gateway_program

_GATEWAY: Final = (
    "platemark_gateway.rotation",
    "alembic.command",
    "aiosqlite",
    "eth_abi.abi",
    "anyio._backends._asyncio",
)
IMPORTS: Final = {
    "chain": ("platemark_gateway.chain.server",),
    **dict.fromkeys(("backup", "deploy", "doctor", "erase", "keys", "log", "migrate", "restore", "serve"), _GATEWAY),
}
"""What commands import, by which they are told apart: the chain's machine changes limits of its process."""

_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
_MAX_ORDER: Final = 1 << 20
_ORIGINAL: Final = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_SIGNATURE: Final = inspect.signature(_ORIGINAL)


class First:
    """The process that others are forked from; it lives until `close`, or until this process is gone."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *modules], pass_fds=(theirs.fileno(),)
            )

    def fork(self, argv: list[str], environment: Mapping[str, str], folder: str, streams: Iterable[int]) -> int:
        """Return the process id of a new child of this process."""
        order = json.dumps({"argv": argv, "environment": dict(environment), "folder": folder}).encode()
        # What the first process forks twice is nobody's child: it comes to this process, which collects such ones.
        _collect_orphans(is_collecting=True)
        try:
            socket.send_fds(self._socket, [order], list(streams))
            return int(self._socket.recv(32))
        finally:
            _collect_orphans(is_collecting=False)

    def close(self) -> None:
        """End the first process."""
        self._socket.close()
        self._process.wait()


@contextmanager
def forked_programs() -> Iterator[None]:
    """Fork the gateway's programs while the block lasts."""
    firsts: dict[Sequence[str], First] = {}

    def execute_child(process: Any, *args: Any, **kwargs: Any) -> None:
        asked = _SIGNATURE.bind(process, *args, **kwargs).arguments
        modules = _modules_of(asked)
        if modules is None:
            _ORIGINAL(process, *args, **kwargs)
            return
        if modules not in firsts:
            firsts[modules] = First(modules)
        pipes = [asked[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        streams = [number if pipes[at] == -1 else pipes[at] for number, at in enumerate((0, 3, 5))]
        process.pid = firsts[modules].fork(
            asked["args"],
            os.environ if asked["env"] is None else asked["env"],
            str(asked["cwd"] or Path.cwd()),
            streams,
        )
        process._child_created = True
        process._close_pipe_fds(*pipes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "_execute_child", execute_child)
        try:
            yield
        finally:
            for first in firsts.values():
                first.close()


def _modules_of(asked: Mapping[str, Any]) -> Sequence[str] | None:
    """Return what a program imports that may be forked, None for one that is to be started."""
    argv = asked["args"]
    if not isinstance(argv, list) or len(argv) < 2 or argv[0] != gateway_program():
        return None
    has_own = asked["pass_fds"] or asked["preexec_fn"] or asked["start_new_session"] or asked["process_group"] != -1
    environment = os.environ if asked["env"] is None else asked["env"]
    if has_own or "LD_PRELOAD" in environment:
        return None
    return IMPORTS.get(argv[1])


def _collect_orphans(*, is_collecting: bool) -> None:
    assert ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, int(is_collecting), 0, 0, 0) == 0, ctypes.get_errno()


# --- the first process --------------------------------------------------------------------------------------


def _obey(orders: socket.socket) -> Mapping[str, Any] | None:
    """Fork for each order; return the order in the forked process, None once no more will come."""
    while True:
        data, streams, _, _ = socket.recv_fds(orders, _MAX_ORDER, 3)
        if not data:
            return None
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            process = os.fork()
            if process:
                os.write(writing, str(process).encode())
                os._exit(0)
            os.close(reading)
            os.close(writing)
            return {**json.loads(data), "streams": streams}
        os.waitpid(between, 0)  # only now it is another's child
        orders.send(os.read(reading, 32))
        for opened in (reading, writing, *streams):
            os.close(opened)


def _become(order: Mapping[str, Any]) -> None:
    """Make this process what the order says, as if it had been started so."""
    for number, stream in enumerate(order["streams"]):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["argv"]


if __name__ == "__main__":
    sys.path[0] = str(Path(sys.executable).parent)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    from platemark_gateway.cli import main

    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        found = _obey(listening)
    if found is not None:
        _become(found)
        main()
