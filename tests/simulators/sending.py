"""Processes that send what an outbox holds and can be killed anywhere.

    with sending_processes() as take:
        killed = take(url=…, database=…, secret=…, now=…, die="rpc 3")

`die` names a point of `Submitter.run_once` at which the process kills itself with SIGKILL, so that nothing is cleaned
up: `statement N` before the Nth statement, `commit N` before the Nth commit, `rpc N` before the Nth request reaches the
node. Between an answer and the next of these nothing happens.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from sqlalchemy import event

from platemark.protocol.accounts import AccountKey
from platemark_gateway.chain.client import ChainClient, Rpc
from platemark_gateway.chain.submitter import Policy, Signer, Submitter
from platemark_gateway.db.session import Database
from platemark_gateway.models.registry import load_models
from simulators.clock import ManualClock
from simulators.counting import die
from simulators.forking import Processes
from trusted import authorities


@contextlib.contextmanager
def sending_processes() -> Iterator[Callable[..., bool]]:
    """Give a function that takes one step in a process of its own and returns whether that was killed."""
    processes = Processes("simulators.sending")

    def take(**order: Any) -> bool:
        status = processes.end(processes.start(order))
        assert status in {0, -signal.SIGKILL}, f"the step failed: {status}"
        return status != 0

    try:
        yield take
    finally:
        processes.close()


# --- the child's side ---------------------------------------------------------------------------------------


class _Counted(httpx.AsyncBaseTransport):
    """Carries requests to the node and dies at the one that was named."""

    def __init__(self, at: Callable[[str], None]) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=authorities())
        self._at = at

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._at("rpc")
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def obey(order: dict[str, Any]) -> None:
    """Take one step."""
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
