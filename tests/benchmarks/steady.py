"""Latency under a load of fixed rate: a request that is late because others are slow counts from when it was due.

    python -m benchmarks.steady FILE RATE SECONDS URL [URL…]

FILE has one body a line, by turns for each URL, RATE of them for each of SECONDS and for the one before, which is not
counted; the answer is a line of JSON: how many were counted, and percentiles of their latencies in milliseconds.
"""

import json
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CONNECTIONS: Final = 64
"""At once to each URL, so that a slow answer holds up no other request."""
WARM_SECONDS: Final = 1
"""Not counted: a gateway that nobody asked for a while, and connections that were never used."""
_STALLED_SECONDS: Final = 30
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")


class _Connection:
    """A connection that posts one body at a time; as little work as can be, beside what is measured."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._answer = b""

    def post(self, body: bytes, due: float) -> None:
        """Send a body that was due then."""
        self.due = due
        self._answer = b""
        self.socket.sendall(
            b"POST /v1/prints HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    def is_answered(self) -> bool:
        """Read what came; return whether that is all of the answer."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        length = _LENGTH.search(self._answer, 0, end + 2)
        if length is None or len(self._answer) < end + 4 + int(length[1]):
            return False
        if not self._answer.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(self._answer)
        return True


class _Target:
    """One URL: the connections to it that are free, used by turns, and the requests that found none."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.free = deque(_Connection(host, int(port)) for _ in range(CONNECTIONS))
        self._waiting: deque[tuple[bytes, float]] = deque()

    def post(self, body: bytes, due: float) -> None:
        """Send a body on a free connection, or on the next that is."""
        if self.free:
            self.free.popleft().post(body, due)
        else:
            self._waiting.append((body, due))

    def answered(self, connection: _Connection) -> None:
        """Use a connection for what waits, or keep it."""
        if self._waiting:
            connection.post(*self._waiting.popleft())
        else:
            self.free.append(connection)


def steady(bodies: Sequence[bytes], urls: Sequence[str], *, rate: float, seconds: float) -> list[float]:
    """Return the latencies, in seconds, of `rate` requests a second, but for those of the first `WARM_SECONDS`.

    A loop of its own rather than asyncio's, which takes a tenth of a processor more from what is measured.
    """
    targets = [_Target(url) for url in urls]
    of_socket = {each.socket.fileno(): (target, each) for target in targets for each in target.free}
    poll = select.epoll()
    for number in of_socket:
        poll.register(number, select.EPOLLIN)
    count, sent, answered = int(rate * (WARM_SECONDS + seconds)), 0, 0
    latencies: list[float] = []
    started = time.perf_counter()
    while answered < count:
        while sent < count and (due := started + sent / rate) <= time.perf_counter():
            targets[sent % len(targets)].post(bodies[sent], due)
            sent += 1
        ready = poll.poll(max(0.0, due - time.perf_counter()) if sent < count else _STALLED_SECONDS)
        if not ready and sent == count:
            raise TimeoutError(f"{count - answered} requests have no answer")
        for number, _ in ready:
            target, connection = of_socket[number]
            if connection.is_answered():
                answered += 1
                if connection.due >= started + WARM_SECONDS:
                    latencies.append(time.perf_counter() - connection.due)
                target.answered(connection)
    return latencies


def percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """Return the median, the 99th percentile and the worst, in milliseconds."""
    ordered = sorted(latencies)
    places = {"50": len(ordered) // 2, "99": len(ordered) * 99 // 100, "100": len(ordered) - 1}
    return {name: 1000 * ordered[place] for name, place in places.items()}


def _main(file: str, rate: str, seconds: str, *urls: str) -> None:
    bodies = Path(file).read_bytes().splitlines()
    found = steady(bodies, urls, rate=float(rate), seconds=float(seconds))
    sys.stdout.write(json.dumps({"sent": len(found), **percentiles(found)}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
