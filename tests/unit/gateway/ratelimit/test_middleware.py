from collections.abc import Sequence

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Scope

from platemark_gateway.errors import LimitedError
from platemark_gateway.ratelimit.buckets import Buckets
from platemark_gateway.ratelimit.middleware import RateLimit
from simulators.clock import ManualClock

pytestmark = pytest.mark.anyio


def limited(per_minute: int = 1, trusted: Sequence[str] = ()) -> RateLimit:
    def refuse(error: LimitedError) -> ASGIApp:
        return PlainTextResponse(error.code, 429)

    buckets = Buckets(ManualClock(), per_minute=per_minute, tracked=16)
    return RateLimit(PlainTextResponse("served"), buckets=buckets, trusted_proxies=trusted, refuse=refuse)


async def ask(app: ASGIApp, client: str, *forwarded: str, path: str = "/v1/gateway") -> int:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    scope: Scope = {"type": "http", "path": path, "method": "GET", "headers": headers, "client": (client, 1)}
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


async def test_each_address_has_its_own_limit() -> None:
    app = limited()
    assert [await ask(app, "192.0.2.1"), await ask(app, "192.0.2.1"), await ask(app, "192.0.2.2")] == [200, 429, 200]


async def test_a_forwarded_address_is_believed_from_trusted_proxies_only() -> None:
    app = limited()
    assert await ask(app, "192.0.2.1", "198.51.100.1") == 200
    assert await ask(app, "192.0.2.1", "198.51.100.2") == 429
    app = limited(trusted=["192.0.2.1"])
    assert await ask(app, "192.0.2.1", "198.51.100.1") == 200
    assert await ask(app, "192.0.2.1", "198.51.100.2") == 200


async def test_a_caller_cannot_choose_the_address_that_a_proxy_reports() -> None:
    app = limited(trusted=["192.0.2.1"])
    assert await ask(app, "192.0.2.1", "203.0.113.1, 198.51.100.1") == 200
    assert await ask(app, "192.0.2.1", "203.0.113.2, 198.51.100.1") == 429


async def test_a_proxy_that_adds_a_line_of_its_own_is_believed_and_no_line_before_it() -> None:
    app = limited(trusted=["192.0.2.1"])
    assert await ask(app, "192.0.2.1", "203.0.113.1", "198.51.100.1") == 200
    assert await ask(app, "192.0.2.1", "203.0.113.2", "198.51.100.1") == 429


async def test_one_ipv6_network_is_one_caller() -> None:
    app = limited()
    assert await ask(app, "2001:db8::1") == 200
    assert await ask(app, "2001:db8::2") == 429
    assert await ask(app, "2001:db8:0:1::1") == 200


async def test_whether_the_process_runs_is_never_limited() -> None:
    app = limited()
    assert [await ask(app, "192.0.2.1", path="/livez") for _ in range(3)] == [200] * 3


async def test_whether_the_gateway_is_ready_has_a_limit_of_its_own() -> None:
    app = limited()
    assert [await ask(app, "192.0.2.1", path=path) for path in ("/v1/gateway", "/v1/gateway")] == [200, 429]
    assert [await ask(app, "192.0.2.1", path="/readyz") for _ in range(2)] == [200, 429]
