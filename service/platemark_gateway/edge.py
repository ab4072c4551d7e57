"""What every request passes: limits of bodies and headers that protect browsers. Pure ASGI."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platemark.errors import MalformedError

_SECURITY_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


_ALLOW: Final = b"access-control-allow-origin"
_ASKED: Final = frozenset({b"origin", b"access-control-request-method"})
_VARY: Final = (b"vary", b"Origin")
_EXPOSED: Final = (
    b"access-control-expose-headers",
    b"ETag, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id",
)
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
    (b"access-control-allow-headers", b"Accept, Authorization, Content-Type, Idempotency-Key, X-Request-Id"),
    (b"access-control-max-age", b"7200"),
)


class SecurityHeaders:
    """Adds headers that keep answers from being framed, sniffed or run; a route's own value is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in _SECURITY_HEADERS if name not in present),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Cors:
    """Says to browsers which pages may read an answer: what is public everybody's, the rest those of some origins.

    No cookie and no other credential comes by itself, so a page reads nothing that it could not ask for anyway.

    Source: Fetch standard, CORS protocol.
    """

    def __init__(self, app: ASGIApp, *, origins: Collection[str], public: Sequence[str]) -> None:
        """Take the origins that may do everything, or `*`, and the beginnings of the public paths."""
        self._app = app
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._public = tuple(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = {name: value for name, value in scope["headers"] if name in _ASKED}
        headers = self._headers(scope["path"], given.get(b"origin"))
        if scope["method"] == "OPTIONS" and len(given) == len(_ASKED) and _ALLOW in dict(headers):
            await send({"type": "http.response.start", "status": 204, "headers": [*headers, *_PREFLIGHT]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _headers(self, path: str, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        # A cache may keep an answer for the next page: it is the same for every origin, or says that it is not.
        if "*" in self._origins or path.startswith(self._public):
            return [(_ALLOW, b"*"), _EXPOSED]
        if not self._origins:
            return []
        if origin is None or origin.decode("latin-1").lower() not in self._origins:
            return [_VARY]
        return [(_ALLOW, origin), _EXPOSED, _VARY]


class BodyLimit:
    """Refuses bodies above the limit of their path, by Content-Length at once, else while they arrive."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit_bytes: int,
        path_limits: Mapping[str, int],
        refuse: Callable[[MalformedError], ASGIApp],
    ) -> None:
        self._app = app
        self._limit = limit_bytes
        self._path_limits = path_limits
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._path_limits.get(scope["path"], self._limit)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if declared is not None and (not declared.isdigit() or int(declared) > limit):
            await self._refuse(_too_large(limit))(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


class Direct:
    """Serves one endpoint that reads its request itself, past the router and what FastAPI does for the others."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        route: APIRoute,
        answered: tuple[type[Exception], ...],
        refuse: Callable[[Exception], ASGIApp],
    ) -> None:
        """Take the endpoint's route, and which of its errors are answered how."""
        self._app = app
        self._route = route
        self._methods = frozenset(route.methods or ())
        self._answered = answered
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        route = self._route
        if scope["type"] != "http" or scope["path"] != route.path or scope["method"] not in self._methods:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        try:
            answer: ASGIApp = await route.endpoint(Request(scope, receive))
        except ClientDisconnect:  # before all of it was there: nothing was done, nobody waits
            return
        except self._answered as error:
            answer = self._refuse(error)
        await answer(scope, receive, send)


def _too_large(limit: int) -> MalformedError:
    return MalformedError(f"the body is larger than {limit} bytes", code="too-large")
