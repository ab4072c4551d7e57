"""Structured logs to standard error, and one correlation id a request or run of the worker.

No secret, body or header is logged.
"""

import contextlib
import contextvars
import logging
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TextIO, cast

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platemark_gateway.metrics import Metrics

_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_HEADER: Final = b"x-request-id"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(slots=True)
class _Request:
    """The request that is being served: its id, and the code with which it was refused."""

    id: str
    reason: str | None = None


_REQUEST: Final[contextvars.ContextVar[_Request | None]] = contextvars.ContextVar("request", default=None)
_RUN: Final[contextvars.ContextVar[str | None]] = contextvars.ContextVar("run", default=None)


class _Unfailing:
    """A text stream whose writes never fail: what cannot be logged (a full disk, a closed pipe) is lost, no more."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def configure(*, as_json: bool, level: str) -> None:
    """Send structlog's and the standard library's records to standard error, as JSON lines or for people."""
    stream = _Unfailing(sys.stderr)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", stream)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.getLevelName(level), logging.WARNING))


def log() -> Any:
    """Return the logger; event names are static and dotted (`print.redeem.refused`)."""
    return structlog.get_logger("platemark_gateway")


def correlation_id() -> str:
    """Return the id of the request that is being served, or of the run of a worker's step; `none` outside of both."""
    request = _REQUEST.get()
    return (_RUN.get() or "none") if request is None else request.id


@contextlib.contextmanager
def run_of(step: str) -> Iterator[None]:
    """Give one run of a worker's step an id, for its log lines and for the acts in it."""
    run = secrets.token_hex(8)
    token = _RUN.set(run)
    try:
        with structlog.contextvars.bound_contextvars(step=step, run=run):
            yield
    finally:
        _RUN.reset(token)


def note_refusal(code: str) -> None:
    """Let the request's log line and the metrics say with which code it was refused."""
    request = _REQUEST.get()
    if request is not None:
        request.reason = code


class RequestContext:
    """Outermost middleware: gives each request its id, logs its end, answers what nobody caught."""

    def __init__(self, app: ASGIApp, unknown: Callable[[], ASGIApp], metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._unknown = unknown
        self._log = log().bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        request_id = given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)
        request = _Request(request_id)
        token = _REQUEST.set(request)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.monotonic()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_HEADER, request_id.encode())]
            await send(message)

        try:
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:  # the last boundary: whatever was not foreseen becomes a 500 without a word
                log().exception("gateway.unknown_error", method=_method(scope), route=_route(scope))
                if status:
                    raise
                await self._unknown()(scope, receive, send_with_id)
        finally:
            seconds, route = time.monotonic() - started, _route(scope)
            self._metrics.requests.add(_method(scope), route, str(status))
            self._metrics.request_seconds.observe(seconds, route)
            if request.reason is not None:
                self._metrics.refusals.add(route, request.reason)
            self._log.info(
                "http.request",
                method=_method(scope),
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 1),
                **({} if request.reason is None else {"reason": request.reason}),
            )
            structlog.contextvars.unbind_contextvars("request_id")
            _REQUEST.reset(token)


def _method(scope: Scope) -> str:
    """Return the request's method; what is none of HTTP's is the sender's invention and fills no series."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def _route(scope: Scope) -> str:
    """Return the route's template, so that identifiers do not fill the logs."""
    return getattr(scope.get("route"), "path", None) or "unrouted"
