"""The socket on which a server listens, and the server on it: the gateway's, and the embedded chain's."""

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from typing import Any, Final, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from platemark.errors import LocalError

_COLLECT_AFTER: Final = 20_000
MOST_HEAD_BYTES: Final = 1 << 16
"""Of a request's head, and of what follows its body; a little more passes, as it arrived."""


_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class WholeAnswers:
    """A connection's transport that sends an answer's head with the beginning of its body, and not by itself.

    Half the system calls for a short answer, and who waits for it is woken once.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self._begins = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`, or keep it if it is an answer's head."""
        if self._head is not None:
            data, self._head = self._head + data, None
        elif self._begins and data != _CONTINUE:
            self._begins, self._head = False, data
            return
        self._transport.write(data)

    def end_answer(self) -> None:
        """Note that what is written next is another answer's head."""
        self._begins = True
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        """Send what is kept and close."""
        self.end_answer()
        self._transport.close()


class BoundedHttp(HttpToolsProtocol):
    """Serves one connection; refuses a request whose head never ends, which the parser would keep for ever."""

    _bytes_without_progress = 0

    def connection_made(self, transport: Any) -> None:
        """Take a connection."""
        self._answers = WholeAnswers(transport)
        super().connection_made(cast("asyncio.Transport", self._answers))

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
        self._bytes_without_progress = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a body goes on."""
        self._bytes_without_progress = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request has ended."""
        self._bytes_without_progress = 0
        super().on_message_complete()


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
            ws="none",
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
