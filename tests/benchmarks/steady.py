"""Latency under a load of fixed rate: a request that is late because others are slow counts from when it was due.

    python -m benchmarks.steady FILE RATE SECONDS URL [URL…]

FILE has one body a line, by turns for each URL; the answer is a line of JSON: how many were sent, and percentiles of
their latencies in milliseconds.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import uvloop

CONNECTIONS: Final = 64
"""At once to each URL, so that a slow answer holds up no other request."""


class _Connection(asyncio.Protocol):
    """A connection that posts one body at a time; as little work as can be, beside what is measured."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[None] | None = None
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError())

    def post(self, body: bytes) -> asyncio.Future[None]:
        """Send a body and return what is done when it is answered."""
        assert self._transport is not None
        self._answer = b""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(
            b"POST /v1/prints HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        return self._answered

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        if not end or length is None or len(body) < int(length[1]) or self._answered is None:
            return
        if head.startswith(b"HTTP/1.1 200 "):
            self._answered.set_result(None)
        else:
            self._answered.set_exception(AssertionError(self._answer))


async def steady(bodies: Sequence[bytes], urls: Sequence[str], *, rate: float, seconds: float) -> list[float]:
    """Return the latencies, in seconds, of `rate` requests a second."""
    loop = asyncio.get_running_loop()
    addresses = [url.removeprefix("http://").split(":") for url in urls]
    pools: list[asyncio.Queue[_Connection]] = []
    for host, port in addresses:
        pool: asyncio.Queue[_Connection] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(_Connection, host, int(port))
            pool.put_nowait(connection)
        pools.append(pool)

    async def one(number: int, due: float) -> float:
        pool = pools[number % len(urls)]
        connection = await pool.get()
        await connection.post(bodies[number])
        pool.put_nowait(connection)
        return time.perf_counter() - due

    sent: list[asyncio.Task[float]] = []
    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        sent.append(asyncio.create_task(one(number, due)))
    return await asyncio.gather(*sent)


def percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the worst, in milliseconds."""
    ordered = sorted(latencies)
    places = {"50": len(ordered) // 2, "99": len(ordered) * 99 // 100, "100": len(ordered) - 1}
    return {name: 1000 * ordered[place] for name, place in places.items()}


def _main(file: str, rate: str, seconds: str, *urls: str) -> None:
    bodies = Path(file).read_bytes().splitlines()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(steady(bodies, urls, rate=float(rate), seconds=float(seconds)))
    sys.stdout.write(json.dumps({"sent": len(found), **percentiles(found)}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
