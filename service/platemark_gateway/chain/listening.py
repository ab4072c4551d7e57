"""The socket on which a server listens, and the server on it: the gateway's, and the embedded chain's."""

import asyncio
import gc
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from platemark.errors import LocalError

_COLLECT_AFTER: Final = 20_000
MOST_HEAD_BYTES: Final = 1 << 16
"""Of a request's head, and of what follows its body; a little more passes, as it arrived."""
MOST_SILENT_SECONDS: Final = 30
"""How long the server waits for the rest of a head, or for more of a body."""
LEAST_READ_BYTES: Final = 1 << 14
"""Of an answer that waits for its reader: so much is taken in `MOST_SILENT_SECONDS`."""
SPARED_FILES: Final = 128
"""Open files that connections leave to the database, the chain, the log and the blocks."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class WholeAnswers:
    """A connection's transport that sends an answer's head with the beginning of its body, and not by itself.

    Half the system calls for a short answer, and who waits for it is woken once.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._begins = True
        self._written = 0

    @property
    def taken_bytes(self) -> int:
        """How much of all answers the other side, or the system for it, has taken."""
        return self._written - self._transport.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`, or keep it if it is an answer's head."""
        if self._head is not None:
            data, self._head = self._head + data, None
        elif self._begins and data != _CONTINUE:
            self._begins, self._head = False, data
            return
        self._send(data)

    def end_answer(self) -> None:
        """Note that what is written next is another answer's head."""
        self._begins = True
        if self._head is not None:
            head, self._head = self._head, None
            self._send(head)

    def _send(self, data: bytes) -> None:
        self._written += len(data)
        self._transport.write(data)

    def close(self) -> None:
        """Send what is kept and close."""
        self.end_answer()
        self._transport.close()


class BoundedHttp(HttpToolsProtocol):
    """Serves one connection, which takes neither memory nor an open file for ever.

    A request whose head never ends is refused; who owes the rest of one and says nothing is not waited for, nor who
    leaves an answer unread; and there are only so many connections that the process has files left for its work.
    """

    _bytes_without_progress = 0
    _progress_at = 0.0
    _watch: asyncio.TimerHandle | None = None
    _unread: tuple[float, int] | None = None
    """Since when an answer waits for its reader, and how much was taken by then."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or close it when there are too many."""
        self._answers = WholeAnswers(cast("asyncio.Transport", transport))
        super().connection_made(cast("asyncio.Transport", self._answers))
        if len(self.connections) > _most_connections():
            transport.close()
            return
        self._note_progress()
        self._watch = self.loop.call_later(MOST_SILENT_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close when the server waits for too long, for what comes or for what is taken; look again later otherwise."""
        now, due = self.loop.time(), self._progress_at + MOST_SILENT_SECONDS
        if due <= now and not self.flow.read_paused and not self._is_served():
            self.transport.close()
            return
        if self._is_left_unread(now):
            self.transport.abort()
            return
        self._watch = self.loop.call_at(due if now < due else now + MOST_SILENT_SECONDS, self._look)

    def _is_left_unread(self, now: float) -> bool:
        """Return whether an answer waits for its reader, who takes next to nothing of it."""
        if not self.flow.write_paused:
            self._unread = None
            return False
        taken = self._answers.taken_bytes
        since, before = self._unread or (now, taken)
        if now - since >= MOST_SILENT_SECONDS:
            if taken - before < LEAST_READ_BYTES:
                return True
            since, before = now, taken
        self._unread = (since, before)
        return False

    def _is_served(self) -> bool:
        """Return whether a whole request has come and is not answered yet."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _note_progress(self) -> None:
        self._bytes_without_progress = 0
        self._progress_at = self.loop.time()

    def on_response_complete(self) -> None:
        """Note that an answer has ended."""
        self._answers.end_answer()
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        self._bytes_without_progress += len(data)
        super().data_received(data)
        if self._bytes_without_progress > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_headers_complete(self) -> None:
        """Note that a head has ended."""
        self._note_progress()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a body goes on."""
        self._note_progress()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request has ended."""
        self._note_progress()
        super().on_message_complete()


def _most_connections() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else max(1, limit - SPARED_FILES)


def listen(host: str, port: int, preferred: int | None = None) -> socket.socket:
    """Return a socket bound to `host` and `port`; port 0 takes `preferred` when free, else any free port.

    Errors: LocalError `port-in-use`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [preferred, port] if preferred else [port]:
        # Naming TCP matters: asyncio switches Nagle's delay (40 ms an answer) off only for sockets that do.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate or 0))
            listener.listen(1024)
        except OSError as error:
            listener.close()
            if candidate != port:
                continue
            raise LocalError(
                f"cannot listen on {host} port {port}: {error.strerror}",
                code="port-in-use",
                hint="choose another port, or 0 for any free one",
            ) from error
        return listener
    raise AssertionError("unreachable: the last candidate returns or raises")


async def run_server(
    app: Any, listener: socket.socket, announce: Callable[[], None], stop: asyncio.Event | None = None
) -> None:
    """Serve `app` on a bound socket until SIGTERM, SIGINT or `stop`; `announce` is called when it answers."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises what it caught once more after it has ended
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedHttp,
            ws="none",  # nothing here speaks it, and its handshake would pass every limit by
            log_config=None,
            access_log=False,
            lifespan="auto",
            timeout_graceful_shutdown=5,
            proxy_headers=False,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn tells its start by a flag only)
        await asyncio.sleep(0.005)
    if server.started:
        _set_aside()
        announce()
    stopped = asyncio.create_task((stop or asyncio.Event()).wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    stopped.cancel()
    await serving


def _set_aside() -> None:
    """Spare the garbage collector what lives as long as the process, and let it look at the rest less often.

    Requests make many objects and few cycles; the default looks through all of them after every 700.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)
