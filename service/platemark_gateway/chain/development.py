"""A whole installation on one machine: the embedded chain and a gateway, two processes, one folder.

The folder survives restarts. SIGTERM and SIGINT end the gateway first, then the chain; when one process ends by
itself, the other is ended too. Should this process be killed, the system ends both (Linux).
"""

import contextlib
import ctypes
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final

from platemark.errors import LocalError
from platemark_gateway.chain.files import write_atomically
from platemark_gateway.chain.listening import listen

_PROGRAM: Final = (sys.executable, "-c", "from platemark_gateway.cli import main; main()")
_CHAIN_HOST: Final = "127.0.0.1"
_BLOCKS_ARE_FINAL: Final = {"PLATEMARK_GATEWAY_FINALITY_SECONDS": "1"}
"""The embedded chain's blocks are final as soon as they stand; whoever sets another value is obeyed."""
_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 15
_PR_SET_PDEATHSIG: Final = 1


class StoppedError(Exception):
    """A signal asked for the end."""


class ChildFailedError(LocalError):
    """A process of the installation ended; it said why on stderr itself."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the {name} ended; see above", code="process-ended", hint="start again when that is solved")


def run(
    data: Path, *, host: str, port: int, chain_port: int, time_travel: bool, announce: Callable[[str], None]
) -> None:
    """Run chain and gateway until a signal, or until one of them ends.

    `announce` gets one line of JSON when both answer.

    Errors: LocalError `port-in-use` before anything is made, `directory-unwritable`; ChildFailedError.
    """
    for where, number in ((_CHAIN_HOST, chain_port), (host, port)):
        listen(where, number).close()
    passphrase = _prepare(data)
    children: list[tuple[str, subprocess.Popen[str]]] = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise StoppedError

    with contextlib.suppress(StoppedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        try:
            travel = ["--time-travel"] if time_travel else []
            chain_options = ["--data", str(data / "chain"), "--port", str(chain_port), *travel]
            chain = _start(children, "chain", ["chain", *chain_options])
            gateway_options = ["--data", str(data), "--rpc", str(chain["url"]), "--passphrase-file", str(passphrase)]
            gateway = _start(children, "gateway", ["serve", *gateway_options, "--host", host, "--port", str(port)])
            announce(json.dumps({**gateway, "ready": True, "rpcUrl": chain["url"], "chainId": chain["chainId"]}))
            _watch(children)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # the end is under way
            for _, child in reversed(children):
                _end(child)


def _prepare(data: Path) -> Path:
    passphrase = data / "passphrase"
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not passphrase.exists():
            if (data / "vault" / "vault.json").exists():
                raise LocalError(
                    "the vault's passphrase file is gone",
                    code="passphrase-missing",
                    hint=f"put {passphrase} back, or use `serve` with the passphrase you know",
                )
            write_atomically(passphrase, secrets.token_urlsafe(32) + "\n", mode=0o600)
    except OSError as error:
        raise LocalError(
            f"the folder {data} cannot be used: {error.strerror}",
            code="directory-unwritable",
            hint="choose another with --data",
        ) from error
    return passphrase


def _start(
    children: list[tuple[str, "subprocess.Popen[str]"]], name: str, arguments: Sequence[str]
) -> Mapping[str, Any]:
    """Start a process, wait until it says that it answers, and return what it says."""
    child = subprocess.Popen(
        [*_PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=_BLOCKS_ARE_FINAL | dict(os.environ),
        start_new_session=True,  # a Ctrl-C in the terminal reaches this process only, which ends them in order
        preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 (no thread runs yet that could hold a lock)
    )
    children.append((name, child))
    if child.stdout is None:
        raise AssertionError("unreachable: stdout is a pipe")
    line = _first_line(child.stdout)
    if not line:
        _watch_end(child)
        raise ChildFailedError(name)
    threading.Thread(target=_drain, args=(child.stdout,), daemon=True).start()
    said: Mapping[str, Any] = json.loads(line)
    return said


def _first_line(stream: IO[str]) -> str:
    ready, _, _ = select.select([stream], [], [], _START_SECONDS)
    return stream.readline() if ready else ""


def _watch(children: Sequence[tuple[str, "subprocess.Popen[str]"]]) -> None:
    while True:
        for name, child in children:
            if child.poll() is not None:
                raise ChildFailedError(name)
        time.sleep(0.2)


def _watch_end(child: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1)


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _drain(stream: IO[str]) -> None:
    for line in stream:
        sys.stderr.write(line)


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what lets a child be ended by the system when its parent dies; None where there is no such call."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before this was armed
            os._exit(1)

    return arm
