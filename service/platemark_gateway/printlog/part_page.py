"""The page at a label's code: three fixed files, built from `clients/web`, that verify a passport in the browser.

The gateway only hands them out, beside the passport: what the page says was established where it is read.
"""

import functools
import hashlib
from collections.abc import Callable, Coroutine
from importlib.resources import files
from typing import Any, Final

from fastapi import Request, Response, status
from fastapi.routing import APIRoute

_MEDIA_TYPES: Final = {
    "part.html": "text/html; charset=utf-8",
    "part.js": "text/javascript; charset=utf-8",
    "part.css": "text/css; charset=utf-8",
}
# Pictures are the design's, shown after their digest was compared; besides this gateway, only the chain endpoints that
# a visitor names are asked.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob:; "
    "connect-src 'self' https: http://127.0.0.1:* http://localhost:*; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def is_wanted(request: Request) -> bool:
    """Whether a browser asks for something to show; programs ask for JSON, or for anything."""
    return "text/html" in request.headers.get("accept", "")


class PageRoute(APIRoute):
    """A route that answers a browser with the page whatever the address says of a part: the page says what is wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's own handler for programs, the page for browsers."""
        handle = super().get_route_handler()

        async def page_or_part(request: Request) -> Response:
            return answer(request, "part.html") if is_wanted(request) else await handle(request)

        return page_or_part


def answer(request: Request, name: str) -> Response:
    """Return one of the page's files, `part.html`, `part.js` or `part.css`."""
    data, etag = _file(name)
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "ETag": etag,
        "Vary": "Accept",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(data, headers=headers, media_type=_MEDIA_TYPES[name])


@functools.cache
def _file(name: str) -> tuple[bytes, str]:
    data = (files("platemark_gateway.printlog") / "page" / name).read_bytes()
    return data, f'"{hashlib.sha256(data).hexdigest()[:32]}"'
