"""What a connection may keep of the server: nothing for ever."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from platemark_gateway.chain import listening
from platemark_gateway.chain.listening import listen, run_server

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
END = b"\r\n"
PIECE = 1 << 16
LARGE = bytes(1 << 25)
"""More than the system keeps of an answer for those who do not read it."""
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served:
    """A server whose answers wait until they may be given."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()
        self.body = b""
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 to a whole request."""
        if scope["type"] != "http":
            return
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
        self.asked.set()
        await self.may_answer.wait()
        length = str(len(self.body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for start in range(0, len(self.body), PIECE):
            await send({"type": "http.response.body", "body": self.body[start : start + PIECE], "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.ended.set()

    async def connect(self, *pieces: bytes) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for piece in pieces:
            writer.write(piece)
        return reader, writer


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as found:
        yield found


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    with listen("127.0.0.1", 0) as listener:
        found, ready, stop = Served(listener.getsockname()[1]), asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(run_server(found, listener, ready.set, stop))
        await ready.wait()
        yield found
        found.may_answer.set()
        stop.set()
        await running


async def ended(connection: Connection) -> bytes:
    """Return what the server said before it closed a connection."""
    reader, writer = connection
    found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize(
    "pieces, answers",
    [([], 0), ([GET], 0), ([POST], 0), ([POST, b"ab"], 0), ([GET, END, GET], 1), ([GET, END, POST, b"ab"], 1)],
    ids=["nothing", "half a head", "no body", "half a body", "half a second head", "half a second body"],
)
async def test_who_owes_the_rest_of_a_request_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], answers: int
) -> None:
    monkeypatch.setattr(listening, "MOST_SILENT_SECONDS", 0.05)
    assert (await ended(await served.connect(*pieces))).count(b" 200 OK") == answers


async def test_who_waits_for_an_answer_may_be_silent(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_SILENT_SECONDS", 0.05)
    served.may_answer.clear()
    patient = await served.connect(GET, b"Connection: close\r\n", END)
    await served.asked.wait()
    for _ in range(3):
        await ended(await served.connect())
    served.may_answer.set()
    assert b" 200 OK" in await ended(patient)


async def test_who_leaves_an_answer_unread_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_SILENT_SECONDS", 0.05)
    served.body = LARGE
    reader, writer = await served.connect(GET, END)
    await served.ended.wait()
    read = 0
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            read += len(piece)
    assert read < len(LARGE)
    writer.close()


async def test_who_reads_slowly_gets_all_of_an_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_SILENT_SECONDS", 0.4)
    served.body = LARGE
    reader, writer = await served.connect(GET, b"Connection: close\r\n", END)
    read = 0
    while piece := await reader.read(1 << 20):
        read += len(piece)
        await asyncio.sleep(0.02)
    assert read > len(LARGE)
    writer.close()


async def test_connections_leave_files_to_the_work(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(listening, "SPARED_FILES", files - 2)
    kept = [await served.connect(GET, END) for _ in range(2)]
    for reader, _ in kept:
        assert b" 200 OK" in await reader.readuntil(END)
    assert await ended(await served.connect()) == b""
    kept[0][1].close()
    await ended(kept[0])
    while not (answer := await ended(await served.connect(GET, b"Connection: close\r\n", END))):
        pass  # the server has not noticed yet that one is gone
    assert b" 200 OK" in answer
    await ended(kept[1])


async def test_an_upgrade_that_is_offered_is_passed_over(served: Served) -> None:
    upgrade: Any = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    assert b" 200 OK" in await ended(await served.connect(GET, upgrade, key, END))
