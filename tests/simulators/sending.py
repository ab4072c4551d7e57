"""Processes that send what an outbox holds and can be killed anywhere; forked from one that has imported everything.

    with sending_processes() as take:
        killed = take(url=…, database=…, secret=…, now=…, die="rpc 3")

`die` names a point of `Submitter.run_once` at which the process kills itself with SIGKILL, so that nothing is cleaned
up: `statement N` before the Nth statement, `commit N` before the Nth commit, `rpc N` before the Nth request reaches the
node. Between an answer and the next of these nothing happens.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from sqlalchemy import event

from platemark.protocol.accounts import AccountKey
from platemark_gateway import telemetry
from platemark_gateway.chain.client import ChainClient, Rpc
from platemark_gateway.chain.submitter import Policy, Signer, Submitter
from platemark_gateway.db.session import Database
from platemark_gateway.models.registry import load_models
from simulators.clock import ManualClock
from simulators.counting import TESTS, die


@contextlib.contextmanager
def sending_processes() -> Iterator[Callable[..., bool]]:
    """Give a function that takes one step in a process of its own and returns whether that was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators.sending"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "default"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def take(**order: Any) -> bool:
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        status = int(stdout.readline())
        assert status in {0, -signal.SIGKILL}, f"the step failed: {status}"
        return status != 0

    try:
        yield take
    finally:
        stdin.close()
        stdout.close()
        process.wait(20)


# --- the child's side ---------------------------------------------------------------------------------------


class _Counted(httpx.AsyncBaseTransport):
    """Carries requests to the node and dies at the one that was named."""

    def __init__(self, at: Callable[[str], None]) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self._at = at

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._at("rpc")
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _send(order: dict[str, Any]) -> None:
    load_models()
    kind, _, number = order["die"].partition(" ")
    left = {kind: int(number)}

    def at(point: str) -> None:
        if point in left:
            left[point] -= 1
            if left[point] == 0:
                die()

    key = AccountKey(bytes.fromhex(order["secret"]))
    database = Database(order["database"])
    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *_: at("statement"))
    event.listen(engine, "commit", lambda _: at("commit"))
    rpc = Rpc(order["url"], transport=_Counted(at))
    client = ChainClient(rpc)
    signer = Signer(key.address, key.sign)
    clock = ManualClock(order["now"])
    await Submitter(database, client, order["chain"], signer, clock, Policy(wei_per_day=10**18)).run_once()
    await rpc.close()
    await database.close()


def _main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(_send(json.loads(line)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    telemetry.configure(as_json=True, level="ERROR")
    _main()
