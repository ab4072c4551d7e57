"""Latency under a load of fixed rate: a request that is late because others are slow counts from when it was due.

    python -m benchmarks.steady FILE RATE SECONDS URL [URL…]

FILE has one body a line, by turns for each URL; the answer is a line of JSON: how many were sent, and percentiles of
their latencies in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop

CONNECTIONS: Final = 64
"""At once to each URL, so that a slow answer holds up no other request."""

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def steady(bodies: Sequence[bytes], urls: Sequence[str], *, rate: float, seconds: float) -> list[float]:
    """Return the latencies, in seconds, of `rate` requests a second."""
    addresses = [url.removeprefix("http://").split(":") for url in urls]
    pools: list[asyncio.Queue[_Streams]] = []
    for host, port in addresses:
        pool: asyncio.Queue[_Streams] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            pool.put_nowait(await asyncio.open_connection(host, int(port)))
        pools.append(pool)

    async def one(number: int, due: float) -> float:
        pool = pools[number % len(urls)]
        reader, writer = await pool.get()
        await _post(reader, writer, bodies[number])
        pool.put_nowait((reader, writer))
        return time.perf_counter() - due

    sent: list[asyncio.Task[float]] = []
    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        sent.append(asyncio.create_task(one(number, due)))
    return await asyncio.gather(*sent)


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(
        b"POST /v1/prints HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    answer = await reader.readexactly(length)
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise AssertionError(answer)


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
