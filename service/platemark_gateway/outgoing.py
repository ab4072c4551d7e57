"""Connections of the gateway to servers that its settings name."""

import httpx


def client(url: str, *, timeout_seconds: float, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return a client for one server, which goes through no proxy of the environment and follows no redirect."""
    return httpx.AsyncClient(
        timeout=timeout_seconds,
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        # Reading whom to trust takes a fifth of a second, in vain where nothing is encrypted.
        verify=not url.lower().startswith("http:"),
        limits=httpx.Limits(max_connections=32, max_keepalive_connections=8),
    )
