"""What every request passes: limits, headers, ids, problem documents, the description of the interface."""

import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from platemark.protocol.accounts import AccountKey
from platemark.protocol.cid import raw_block
from platemark.protocol.codes import CODES
from platemark.protocol.units import UnixSeconds, address_text
from platemark_gateway import designs
from platemark_gateway.errors import UnavailableError
from platemark_gateway.files import keeping
from platemark_gateway.info import health
from platemark_gateway.main import TAGS, create_app
from platemark_gateway.models.blocks import Purpose
from platemark_gateway.worker import counting
from platemark_gateway.worker.loop import StepState
from platemark_gateway.worker.reporting import report
from simulators.databases import database_of
from simulators.gateway import URL, SimulatedGateway, simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_the_gateway_says_what_it_is(gateway: SimulatedGateway) -> None:
    answer = (await gateway.client.get("/v1/gateway")).json()
    profile = gateway.container.profile
    assert answer["profile"] == profile.to_json()
    assert answer["profileDigest"] == "0x" + profile.digest().hex()
    assert answer["logOrigin"] == profile.log_origin
    assert answer["state"] == "ready"
    assert answer["finality"] == {"tag": "finalized", "secondsTypical": gateway.container.settings.finality_seconds}


@pytest.fixture(autouse=True)
def _room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))


async def test_health_names_the_part_that_is_away(gateway: SimulatedGateway) -> None:
    assert (await gateway.client.get("/livez")).json() == {"status": "ok"}
    well = await gateway.client.get("/readyz")
    parts = {
        "blocks-primary": "ok",
        "blocks-replica": "ok",
        "chain": "ok",
        "clock": "ok",
        "database": "ok",
        "disk": "ok",
        "endpoints": "trusted",
        "index": "ok",
        "log": "ok",
        "spending": "ok",
        "worker": "silent",
    }
    assert (well.status_code, well.json()["parts"]) == (200, parts)
    gateway.chain.is_away = True
    ill = await gateway.client.get("/readyz")
    assert (ill.status_code, ill.json()["parts"]) == (503, parts | {"chain": "rpc-unreachable"})
    assert (await gateway.client.get("/livez")).status_code == 200


async def test_nobody_is_sent_where_the_caller_says(gateway: SimulatedGateway) -> None:
    for path in ("/v1/gateway/", "/v1/blobs/"):
        assert problem(await gateway.client.get(path, headers={"Host": "evil.example"})) == (404, "route-unknown")


async def test_unknown_addresses_and_methods_have_problem_documents(gateway: SimulatedGateway) -> None:
    assert problem(await gateway.client.get("/v2/nothing")) == (404, "route-unknown")
    assert problem(await gateway.client.delete("/v1/designs")) == (405, "method")


@pytest.mark.parametrize(
    "content, status",
    [
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"address": 5}', 400),
        (b"\xff", 422),
        (b'{"address": "0x"}', 400),
        (b'{"address": null}', 400),
    ],
)
async def test_bodies_that_do_not_fit_are_refused(gateway: SimulatedGateway, content: bytes, status: int) -> None:
    answer = await gateway.client.post(
        "/v1/sign-in/challenges", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_unknown_fields_are_refused_and_values_are_not_echoed(gateway: SimulatedGateway) -> None:
    body = {"address": "0x" + "11" * 20, "passphrase": "do not repeat this"}
    answer = await gateway.client.post("/v1/sign-in/challenges", json=body)
    assert problem(answer) == (422, "request-schema")
    assert "do not repeat this" not in answer.text
    assert "passphrase" in answer.json()["detail"]


async def test_bodies_above_the_limit_are_refused_declared_or_not(gateway: SimulatedGateway) -> None:
    size = gateway.container.settings.body_bytes + 1

    async def stream() -> Any:
        for _ in range(size // 65_536 + 1):
            yield b" " * 65_536

    for content in (b" " * size, stream()):
        answer = await gateway.client.post(
            "/v1/sign-in/challenges", content=content, headers={"Content-Type": "application/json"}
        )
        assert problem(answer) == (413, "too-large")


async def test_every_answer_has_an_id_and_keeps_a_good_one(gateway: SimulatedGateway) -> None:
    made = await gateway.client.get("/v2/nothing")
    assert made.headers["x-request-id"] == made.json()["correlationId"]
    kept = await gateway.client.get("/v2/nothing", headers={"X-Request-Id": "order-2026.11"})
    assert kept.headers["x-request-id"] == kept.json()["correlationId"] == "order-2026.11"
    forged = await gateway.client.get("/v2/nothing", headers={"X-Request-Id": 'x" injected'})
    assert "injected" not in forged.headers["x-request-id"]


async def test_answers_protect_browsers(gateway: SimulatedGateway) -> None:
    for path in ("/v1/gateway", "/v2/nothing", "/livez"):
        headers = (await gateway.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "no-referrer"


async def test_an_error_that_nobody_foresaw_says_nothing(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(designs.service, "page", broken)
    answer = await gateway.client.get("/v1/designs")
    assert problem(answer) == (500, "internal")
    assert set(answer.json()) == {"type", "title", "status", "code", "correlationId"}
    assert "hunter2" not in answer.text


async def test_requests_above_the_limit_are_told_when_to_come_back(gateway: SimulatedGateway) -> None:
    gateway.choose(requests_per_minute=3)
    transport = httpx.ASGITransport(create_app(gateway.container), client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
        answers = [await client.get("/v1/gateway") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert problem(answers[3]) == (429, "limit-requests")
        assert int(answers[3].headers["retry-after"]) == 20
        assert answers[3].headers["ratelimit-policy"] == '"requests";q=3;w=60'
        assert answers[3].headers["ratelimit"] == '"requests";r=0;t=20'
        gateway.clock.forward(20)
        assert (await client.get("/v1/gateway")).status_code == 200


@pytest.mark.parametrize(
    "client, headers, inside",
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("172.18.0.7", {}, True),
        ("::ffff:10.0.0.3", {}, True),
        ("192.0.2.1", {}, False),
        ("2001:db8::1", {}, False),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.1"}, False),  # through a proxy that nobody vouches for
        ("127.0.0.1", {"Forwarded": "for=10.0.0.1"}, False),
        ("10.9.9.9", {"X-Forwarded-For": "192.0.2.1"}, False),  # through ours, from outside
        ("10.9.9.9", {"X-Forwarded-For": "10.0.0.1, 192.0.2.1"}, False),
        ("10.9.9.9", {"X-Forwarded-For": "10.0.0.1"}, True),
        ("not an address", {}, False),
    ],
)
async def test_metrics_are_for_the_operators_own_networks(
    gateway: SimulatedGateway, client: str, headers: dict[str, str], inside: bool
) -> None:
    gateway.choose(trusted_proxies=("10.9.9.9",))
    transport = httpx.ASGITransport(create_app(gateway.container), client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers=headers) as asking:
        answer = await asking.get("/metrics")
        nowhere = await asking.get("/nowhere")
    if inside:
        assert answer.status_code == 200
    else:
        told, expected = answer.json(), nowhere.json()
        for each in (told, expected):
            del each["correlationId"]
        assert (answer.status_code, told) == (nowhere.status_code, expected)


async def test_metrics_of_a_gateway_without_its_database_say_so(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise UnavailableError("the database cannot be reached", code="database-unreachable")

    monkeypatch.setattr(gateway.container.database, "read", away)
    found = await gateway.client.get("/metrics")
    assert found.status_code == 200
    assert "platemark_database_up 0" in found.text.splitlines()
    assert "platemark_log_size" not in found.text


async def test_refusals_are_counted_by_their_code(gateway: SimulatedGateway) -> None:
    await gateway.client.get("/v1/designs/0x" + "00" * 32)
    await gateway.client.get("/v1/api-keys")
    await gateway.client.get("/nowhere")
    lines = (await gateway.client.get("/metrics")).text.splitlines()
    for route, reason in (
        ("/v1/designs/{design_id}", "design-unknown"),
        ("/v1/api-keys", "sign-in-needed"),
        ("unrouted", "route-unknown"),
    ):
        assert f'platemark_refusals_total{{route="{route}",reason="{reason}"}} 1' in lines


async def test_every_metric_is_on_the_page_for_operators(gateway: SimulatedGateway, tmp_path: Path) -> None:
    gateway.choose(ship_to=tmp_path / "second place")
    gateway.witnessed("one.test")
    exposed = (await gateway.client.get("/metrics")).text
    names = set(re.findall(r"^# TYPE (\S+) ", exposed, re.MULTILINE))
    page = (ROOT / "docs" / "operations.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("| `platemark_")]
    documented = {name for line in table for name in re.findall(r"`([^`]+)`", line.split("|")[1])}
    assert names - documented == set()
    assert documented - names <= {
        "platemark_log_anchor_age_seconds",  # no anchor yet
        "platemark_worker_step_success_timestamp_seconds",  # no worker yet
        "platemark_worker_step_failing",
        "platemark_ship_failing",  # no second place for the log's tail
        "platemark_ship_lag_entries",
        "platemark_ship_lag_seconds",
    }


async def test_every_step_of_the_worker_is_on_the_page_for_operators(gateway: SimulatedGateway) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    named = re.findall("`([a-z]+)`", page.partition("The worker's steps are ")[2].partition("\n\n")[0])
    others = ["indexing", "reserving", "outbox", "reporting"]
    assert sorted(named) == sorted([*counting.steps(gateway.container), *others])


async def test_metrics_count_requests_by_route_and_show_the_gateways_state(gateway: SimulatedGateway) -> None:
    for _ in range(3):
        await gateway.client.get("/v1/designs/0x" + "00" * 32)
    found = await gateway.client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = found.text.splitlines()
    assert 'platemark_http_requests_total{method="GET",route="/v1/designs/{design_id}",status="404"} 3' in lines
    assert 'platemark_http_request_seconds_count{route="/v1/designs/{design_id}"} 3' in lines
    assert "platemark_quarantine 0" in lines
    assert f"platemark_chain_head_block {len(gateway.chain.blocks) - 1}" in lines


async def test_an_account_is_limited_wherever_it_calls_from(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(gateway.operator())
    gateway.choose(requests_per_minute=3)
    app = create_app(gateway.container)
    statuses = []
    for number in range(4):
        transport = httpx.ASGITransport(app, client=(f"192.0.2.{number}", 1))
        async with httpx.AsyncClient(transport=transport, base_url=URL, headers=headers) as client:
            statuses.append((await client.get("/v1/api-keys")).status_code)
    assert statuses == [200, 200, 200, 429]


async def test_the_interface_is_described(gateway: SimulatedGateway) -> None:
    described = (await gateway.client.get("/v1/openapi.json")).json()
    tags = {name for name, _ in TAGS}
    operations = [
        (method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 30
    for method, path, operation in operations:
        assert operation.get("tags"), (method, path)
        assert set(operation["tags"]) <= tags, (method, path)
        assert operation["responses"]["4XX"]["content"].keys() == {"application/problem+json"}
        assert operation.get("description") or operation.get("summary"), (method, path)
    registration = described["components"]["schemas"]["RegisterRequest"]["properties"]["registration"]
    assert registration["properties"]["commitment"]["pattern"] == "^0x[0-9a-f]{64}$"
    assert "Registration(address registrant," in registration["description"]


@pytest.mark.postgresql
async def test_a_server_that_takes_no_writes_is_away(tmp_path: Path) -> None:
    """As a standby after a failover."""
    url = await database_of("postgresql", tmp_path)
    async with simulated_gateway(tmp_path, database_url=url) as gateway:
        database = gateway.container.database
        async with read_only(url):
            await database.engine.dispose()
            answer = await gateway.client.post(
                "/v1/sign-in/challenges", json={"address": address_text(AccountKey(b"\x0a" * 32).address)}
            )
            assert problem(answer) == (503, "database-unreachable")
            assert int(answer.headers["retry-after"]) > 0
            ready = await gateway.client.get("/readyz")
            assert (ready.status_code, ready.json()["parts"]["database"]) == (503, "read-only")
        await database.engine.dispose()
        assert (await gateway.client.get("/readyz")).status_code == 200


@contextlib.asynccontextmanager
async def read_only(url: str) -> AsyncIterator[None]:
    """Let a PostgreSQL database take no writes in new sessions while the block lasts."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            name = await connection.scalar(text("SELECT current_database()"))
            await connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
            try:
                yield
            finally:
                await connection.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
    finally:
        await engine.dispose()


@pytest.mark.parametrize("own, status", [("ok", 200), ("failing", 200), ("stopped", 503)])
async def test_health_says_how_the_worker_is(gateway: SimulatedGateway, own: str, status: int) -> None:
    app = create_app(gateway.container)
    app.state.worker_health = lambda: own
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["worker"]) == (status, own)


async def test_health_says_whether_another_process_works(gateway: SimulatedGateway) -> None:
    async def worker() -> str:
        found: str = (await gateway.client.get("/readyz")).json()["parts"]["worker"]
        return found

    await report(gateway.container.database, {"outbox": StepState(succeeded_at=gateway.clock.now())})
    assert await worker() == "ok"
    gateway.clock.forward(health.SILENT_SECONDS + 1)
    assert await worker() == "silent"
    await report(gateway.container.database, {"outbox": StepState(failed_at=gateway.clock.now(), failures=1, code="x")})
    assert await worker() == "silent"
    lines = (await gateway.client.get("/metrics")).text.splitlines()
    earlier = gateway.clock.now() - health.SILENT_SECONDS - 1
    assert f'platemark_worker_step_success_timestamp_seconds{{step="outbox"}} {earlier}' in lines
    assert 'platemark_worker_step_failing{step="outbox"} 1' in lines


async def test_of_two_workers_the_latest_success_stands(gateway: SimulatedGateway) -> None:
    now = gateway.clock.now()
    for succeeded_at in (None, now, UnixSeconds(now - 10), None):
        await report(gateway.container.database, {"outbox": StepState(succeeded_at=succeeded_at)})
    lines = (await gateway.client.get("/metrics")).text.splitlines()
    assert f'platemark_worker_step_success_timestamp_seconds{{step="outbox"}} {now}' in lines


@pytest.mark.parametrize("free, state, status", [(1 << 31, "ok", 200), (1 << 29, "low", 200), (1 << 20, "full", 503)])
async def test_health_says_how_full_the_disk_is(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch, free: int, state: str, status: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(1 << 40, 0, free))
    answer = await gateway.client.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["disk"]) == (status, state)


async def test_health_says_how_each_block_node_is(gateway: SimulatedGateway) -> None:
    async def parts() -> tuple[int, str, str, int]:
        answer = await gateway.client.get("/readyz")
        found = answer.json()
        states = found["parts"]
        return (
            answer.status_code,
            states["blocks-primary"],
            states["blocks-replica"],
            found["replicaBehindRoots"],
        )

    gateway.replica.is_away = True
    block = raw_block(b"a file")
    await gateway.container.blocks.put(block.cid, block.data)
    async with gateway.container.database.begin() as session:
        await keeping.note(session, gateway.container, block.cid, Purpose.UPLOAD)
    assert await parts() == (200, "ok", "ipfs-unreachable", 1)
    gateway.replica.is_away = False
    gateway.clock.forward(60)
    assert await parts() == (200, "ok", "behind", 1)
    while await keeping.keep_once(gateway.container):
        pass
    gateway.blocks.is_away = True
    assert await parts() == (200, "ipfs-unreachable", "ok", 0)  # redemptions need no blocks


async def test_health_says_no_word_that_is_not_public(gateway: SimulatedGateway) -> None:
    """States are fixed words or codes, whatever the parts say of themselves."""
    gateway.chain.is_away = gateway.blocks.is_away = True
    words = {
        "ok",
        "silent",
        "behind",
        "empty",
        "low",
        "full",
        "quarantine",
        "read-only",
        "timeout",
        "failing",
        "stopped",
        "trusted",
        "alone",
        "disputed",
        "capped",
    }
    found = (await gateway.client.get("/readyz")).json()
    assert set(found) == {"status", "parts", "replicaBehindRoots"}
    assert set(found["parts"].values()) <= words | set(CODES)


ORIGIN = "https://console.example"


async def test_pages_of_other_origins_read_what_is_public_and_nothing_else(gateway: SimulatedGateway) -> None:
    headers = {"Origin": ORIGIN}
    for path in ("/v1/gateway", "/log/checkpoint", "/v1/parts/GYHA-HVSX-FSSQ-FA4B"):
        assert (await gateway.client.get(path, headers=headers)).headers["access-control-allow-origin"] == "*"
    for path in ("/v1/designs", "/v1/api-keys", "/readyz", "/metrics"):
        assert "access-control-allow-origin" not in (await gateway.client.get(path, headers=headers)).headers
    asked = await gateway.client.options("/v1/designs", headers=headers | {"Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in asked.headers


async def test_pages_of_an_origin_that_the_operator_named_may_do_everything(gateway: SimulatedGateway) -> None:
    gateway.choose(cors_origins=(ORIGIN,), requests_per_minute=1)
    transport = httpx.ASGITransport(create_app(gateway.container), client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url=URL, headers={"Origin": ORIGIN}) as client:
        asked = await client.options("/v1/designs", headers={"Access-Control-Request-Method": "POST"})
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == ORIGIN
        assert "Authorization" in asked.headers["access-control-allow-headers"]
        assert (await client.get("/v1/designs")).headers["access-control-allow-origin"] == ORIGIN
        refused = await client.get("/v1/designs")
        assert refused.status_code == 429
        assert refused.headers["access-control-allow-origin"] == ORIGIN
        assert "Retry-After" in refused.headers["access-control-expose-headers"]
        other = await client.get("/v1/designs", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers
        assert other.headers["vary"] == "Origin"


async def test_a_caller_sees_its_quotas_and_what_a_refusal_was_about(gateway: SimulatedGateway) -> None:
    gateway.choose(relays_per_day=1, blob_bytes_per_day=10_000)
    alice = Designer(gateway)
    headers = await gateway.sign_in(alice.account)
    assert (await gateway.client.get("/v1/quotas")).status_code == 401
    assert (await alice.upload()).status_code == 200
    assert (await alice.register()).status_code == 202

    async def quotas(headers: dict[str, str]) -> dict[str, tuple[int, int, int]]:
        items = (await gateway.client.get("/v1/quotas", headers=headers)).json()["items"]
        return {item["name"]: (item["most"], item["windowSeconds"], item["left"]) for item in items}

    found = await quotas(headers)
    assert found["gas"] == (1, 86_400, 0)
    assert found["uploads"] == (10_000, 86_400, 10_000 - len(alice.sealed))
    per_minute = gateway.container.settings.requests_per_minute
    assert found["requests"][:2] == (per_minute, 60)
    assert 0 < found["requests"][2] < per_minute
    refused = await gateway.client.post("/v1/blobs", content=b"x" * 9_999, headers=headers)
    assert problem(refused) == (429, "limit-uploads")
    seconds = refused.headers["retry-after"]
    assert refused.headers["ratelimit-policy"] == '"uploads";q=10000;w=86400'
    assert refused.headers["ratelimit"] == f'"uploads";r=0;t={seconds}'
    assert 0 < int(seconds) <= 86_400
    assert (await quotas(await gateway.sign_in(gateway.operator())))["gas"][0] == 50_000
