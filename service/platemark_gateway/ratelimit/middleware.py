"""Spends a token of the caller's network address before a request is served. Pure ASGI."""

import functools
import ipaddress
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from pydantic import IPvAnyNetwork
from starlette.types import ASGIApp, Receive, Scope, Send

from platemark_gateway.errors import LimitedError
from platemark_gateway.ratelimit.buckets import Buckets

_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})


class RateLimit:
    """Refuses requests above the limit of their network address."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        buckets: Buckets,
        trusted_proxies: Sequence[str],
        refuse: Callable[[LimitedError], ASGIApp],
    ) -> None:
        self._app = app
        self._buckets = buckets
        self._trusted = frozenset(trusted_proxies)
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"] != "/livez":
            # Whether the gateway is ready asks database, chain and nodes. Who asks is not held to account for what
            # else comes from its address: a load balancer's checks go on while its callers are refused.
            which = "health " if scope["path"] == "/readyz" else ""
            try:
                self._buckets.spend(which + self._caller(scope))
            except LimitedError as error:
                await self._refuse(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> str:
        """Return the address that counts; an IPv6 host counts as its /64, which one customer holds whole."""
        address = _address(scope, self._trusted)
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((address, 64), strict=False))
        return "unknown" if address is None else str(address)


def is_inside(scope: Scope, trusted_proxies: Collection[str], networks: Iterable[IPvAnyNetwork]) -> bool:
    """Return whether a request comes from one of the networks, and through no proxy that is not trusted."""
    client = scope.get("client")
    direct = client is not None and client[0] not in trusted_proxies
    if direct and any(name in _FORWARDED for name, _ in scope["headers"]):
        return False
    address = _address(scope, trusted_proxies)
    return address is not None and any(address in network for network in networks)


def _address(scope: Scope, trusted_proxies: Collection[str]) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return who asks, as far as it can be believed; None when that is no address."""
    client = scope.get("client")
    address = client[0] if client else ""
    if address in trusted_proxies:
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        # The last entry is the one that our own proxy wrote, in a line of its own or not; earlier ones are the
        # caller's claims.
        address = b",".join(forwarded).decode("latin-1").rpartition(",")[2].strip() or address
    return _parsed(address)


@functools.lru_cache(maxsize=4096)
def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
