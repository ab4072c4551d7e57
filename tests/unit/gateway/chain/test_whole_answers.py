"""An answer leaves in one piece; nothing of it is kept back when it ends, and nothing that is no answer."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from platemark_gateway.chain import listening

pytestmark = pytest.mark.anyio

Send = Callable[[dict[str, Any]], Awaitable[None]]
START = {"type": "http.response.start", "status": 200}
_HEAD = b"GET %s HTTP/1.1\r\nHost: gateway\r\n%s\r\n"


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    if scope["type"] != "http":
        return
    match scope["path"]:
        case "/short":
            await send({**START, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"short"})
        case "/empty":
            await send({"type": "http.response.start", "status": 204})
            await send({"type": "http.response.body"})
        case "/parts":
            await send({**START, "headers": [(b"content-length", b"18")]})
            for part in (b"HTTP/1.1 ", b"HTTP/1.1 "):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body"})
        case "/upload":
            await receive()
            await send({**START, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
        case _:
            await send({**START, "headers": [(b"content-length", b"5")]})
            raise RuntimeError("in the middle")


class Wire:
    """A connection to a server: what it sent, write by write."""

    def __init__(self) -> None:
        self.writes = list[bytes]()


@pytest.fixture
async def url(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, int, Wire]]:
    wire, stop, up = Wire(), asyncio.Event(), asyncio.Event()

    class Watched(listening.WholeAnswers):
        def __init__(self, transport: Any) -> None:
            class Written:
                def __getattr__(self, name: str) -> Any:
                    return getattr(transport, name)

                def write(self, data: bytes) -> None:
                    wire.writes.append(data)
                    transport.write(data)

            super().__init__(cast("asyncio.Transport", Written()))

    monkeypatch.setattr(listening, "WholeAnswers", Watched)
    with listening.listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(listening.run_server(app, listener, up.set, stop))
        await up.wait()
        yield "127.0.0.1", listener.getsockname()[1], wire
        stop.set()
        await serving


async def said(server: tuple[str, int, Wire], *requests: bytes) -> bytes:
    """Return all that the server says to these requests, sent at once; the last one closes."""
    reader, writer = await asyncio.open_connection(*server[:2])
    writer.write(b"".join(requests))
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


CLOSE = b"Connection: close\r\n"


async def test_a_short_answer_is_written_at_once(url: tuple[str, int, Wire]) -> None:
    assert (await said(url, _HEAD % (b"/short", CLOSE))).endswith(b"\r\n\r\nshort")
    assert len(url[2].writes) == 1


async def test_answers_that_are_asked_for_together_come_in_their_order_each_at_once(
    url: tuple[str, int, Wire],
) -> None:
    asked = [_HEAD % (b"/short", b""), _HEAD % (b"/empty", b""), _HEAD % (b"/short", CLOSE)]
    answer = await said(url, *asked)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"204", b"200"]
    assert len(url[2].writes) == 3


async def test_an_answer_without_a_body_is_not_kept_back(url: tuple[str, int, Wire]) -> None:
    assert (await said(url, _HEAD % (b"/empty", CLOSE))).startswith(b"HTTP/1.1 204 ")


async def test_parts_of_a_body_leave_as_they_come_whatever_they_begin_with(url: tuple[str, int, Wire]) -> None:
    assert (await said(url, _HEAD % (b"/parts", CLOSE))).endswith(b"\r\n\r\n" + b"HTTP/1.1 " * 2)
    assert [write[-9:] for write in url[2].writes if write] == [b"HTTP/1.1 "] * 2


async def test_who_asks_before_sending_is_told_to_go_on(url: tuple[str, int, Wire]) -> None:
    reader, writer = await asyncio.open_connection(*url[:2])
    writer.write(b"POST /upload HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nExpect: 100-continue\r\n" + CLOSE + b"\r\n")
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"ok")
    writer.close()


async def test_an_answer_that_breaks_shows_its_head_and_ends(url: tuple[str, int, Wire]) -> None:
    answer = await said(url, _HEAD % (b"/broken", b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
