"""How long the programs take to start, beside a bare Python that imports nothing."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from platemark.cli.demo.processes import Server, gateway_program
from stack import PASSPHRASE, SETTINGS, Chain

READY_BAR_SECONDS: Final = 2.0
HELP_BAR_SECONDS: Final = 0.3


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _run(*argv: str) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)


def _gateway(data: Path, rpc: str) -> float:
    """Return the seconds until a gateway with an existing data folder answers."""
    environment = {f"PLATEMARK_GATEWAY_{name}": value for name, value in SETTINGS.items()}
    environment["PLATEMARK_GATEWAY_PASSPHRASE"] = PASSPHRASE
    argv = [gateway_program(), "serve", "--data", str(data), "--rpc", rpc, "--port", "0"]
    started = time.perf_counter()
    server = Server("gateway", argv, log=data.with_suffix(".log"), environment={**os.environ, **environment})
    try:
        server.ready(60)
        return time.perf_counter() - started
    finally:
        server.stop()


def run(*, times: int) -> list[str]:
    """Return the lines of a table of medians, in seconds."""
    bare = [_seconds(partial(_run, sys.executable, "-c", "")) for _ in range(times)]
    lines = ["| what | seconds, median (range) | bar |", "| --- | --- | --- |", _row("a bare Python", bare, None)]
    program = str(Path(gateway_program()).with_name("platemark"))
    for name, argv in (("platemark", (program, "--help")), ("platemark-gateway", (gateway_program(), "--help"))):
        found = [_seconds(partial(_run, *argv)) for _ in range(times)]
        lines.append(_row(f"`{name} --help`", found, HELP_BAR_SECONDS))
    with tempfile.TemporaryDirectory() as folder:
        chain = Chain(Path(folder) / "chain", Path(folder) / "chain.log")
        try:
            _gateway(Path(folder) / "gateway", chain.url)  # the first start makes keys and deploys
            found = [_gateway(Path(folder) / "gateway", chain.url) for _ in range(times)]
        finally:
            chain.stop()
    lines.append(_row("the gateway, until it answers (SQLite, embedded chain)", found, READY_BAR_SECONDS))
    return lines


def _row(name: str, found: list[float], bar: float | None) -> str:
    want = "" if bar is None else f"≤ {json.dumps(bar)}"
    return f"| {name} | {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f}) | {want} |"
