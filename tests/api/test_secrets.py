"""No secret leaves by a side door: logs, metrics, health, problem documents, the doctor's findings, support bundles."""

import base64
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from platemark_gateway import designs, support, telemetry
from platemark_gateway.settings import Settings, without_credentials
from platemark_gateway.vault.files import FileVault
from simulators.agent import Agent
from simulators.gateway import PASSPHRASE, SimulatedGateway

pytestmark = pytest.mark.anyio

PLANTED = "planted-in-an-address"


@pytest.fixture(params=[True, False], ids=["json", "console"])
def logged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Everything that is logged, in either form."""
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    telemetry.configure(as_json=request.param, level="DEBUG")
    yield stream
    root.handlers, level = before
    root.setLevel(level)
    structlog.reset_defaults()


def forms(secret: bytes) -> set[str]:
    """Return the ways in which somebody might have written bytes."""
    return {
        secret.hex(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        repr(secret)[2:-1],
        str(list(secret)),
    }


def secrets_of(gateway: SimulatedGateway, agent: Agent) -> set[str]:
    vault = gateway.container.vault
    assert isinstance(vault, FileVault)
    kept = [
        vault._key,
        vault._wrapping_secret,
        vault._account.secret(),
        *(key.secret() for key in (*vault._log, *vault._release)),
        *(key._seed for key in vault._deposit),
        agent.designer.key.secret(),
        agent.designer.package.to_bytes(),
        agent.key.secret(),
    ]
    found = {PASSPHRASE, PLANTED, agent.token_text}
    for secret in kept:
        found |= forms(bytes(secret))
    return found


def assert_without(text: str, secrets: set[str]) -> None:
    assert text
    assert {secret for secret in secrets if secret in text} == set()


async def test_nothing_that_is_told_holds_a_secret(
    logged: io.StringIO, agent: Agent, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await gateway.sign_in(gateway.operator())
    made = await gateway.client.post("/v1/api-keys", json={"name": "ci", "scopes": ["auditor"]}, headers=headers)
    session, api_key = headers["Authorization"].removeprefix("Bearer "), made.json()["key"]
    released = await agent.redeem(1)
    await agent.finish(1)
    secrets = secrets_of(gateway, agent) | {session, api_key, released["sealedKey"]}

    async def broken(*_: Any, **__: Any) -> None:
        kept = gateway.container.vault, PASSPHRASE, api_key
        raise RuntimeError("a fault that nobody foresaw" + str(len(kept)))

    monkeypatch.setattr(designs.service, "page", broken)
    answers = [
        await gateway.client.get("/v1/designs", headers=headers),
        await gateway.client.get("/v1/api-keys", headers={"Authorization": f"Bearer {api_key}x"}),
        await gateway.client.post("/v1/sign-in", json={"message": api_key, "signature": session}),
        await gateway.client.post("/v1/sign-in/challenges", json={"address": api_key, session: PASSPHRASE}),
        await gateway.client.get(f"/v1/designs/{api_key}"),
        await gateway.client.get("/v1/api-keys", headers={"X-Request-Id": f"{session} {api_key}"}),
        await gateway.client.get("/readyz"),
        await gateway.client.get("/metrics"),
        await gateway.client.get("/v1/gateway"),
        await gateway.client.get("/v1/openapi.json"),
    ]
    for answer in answers:
        assert_without(answer.text + str(answer.headers), secrets - {session} if answer.status_code == 422 else secrets)
    told = logged.getvalue()
    assert "a fault that nobody foresaw3" in told
    assert "http.request" in told
    assert_without(told, secrets)


def hostile(gateway: SimulatedGateway, **changes: Any) -> Settings:
    """Return settings of the gateway's folder in which every address carries a secret."""
    return Settings(
        data=gateway.container.settings.data,
        passphrase=SecretStr(PASSPHRASE),
        rpc_url=f"http://user:{PLANTED}@127.0.0.1:1/v3/{PLANTED}?key={PLANTED}",
        url=f"https://user:{PLANTED}@gateway.example/{PLANTED}",
        ipfs_api="/ip4/127.0.0.1/tcp/1",
        ipfs_timeout_seconds=1,
        **changes,
    )


async def test_a_support_bundle_tells_much_and_no_secret(
    agent: Agent, gateway: SimulatedGateway, database_url: str
) -> None:
    await agent.redeem(1)
    bundle = await support.bundle(hostile(gateway, database_url=SecretStr(database_url)), gateway.clock)
    assert_without(json.dumps(bundle), secrets_of(gateway, agent))
    assert bundle["settings"]["passphrase"] == "set"
    assert bundle["settings"]["rpc_url"] == "http://127.0.0.1:1/…"
    assert bundle["settings"]["url"] == "https://gateway.example/…"
    assert bundle["settings"]["database_url"].startswith(database_url.split("://", maxsplit=1)[0])
    assert bundle["settings"]["poll_seconds"] == 0.5
    assert "127.0.0.0/8" in bundle["settings"]["metrics_networks"]
    assert bundle["database"]["rows"]["prints"] == 1
    assert ["print.release", 1] in bundle["database"]["actsOfTheLastDay"]
    wrong = {each["part"] for each in bundle["findings"] if each["level"] == "FAIL"}
    assert {"chain", "blocks", "account"} <= wrong


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://user:{PLANTED}@127.0.0.1:1/platemark?password={PLANTED}",
        f"sqlite+aiosqlite:////nowhere/{PLANTED}/gateway.sqlite3",
    ],
)
async def test_a_bundle_of_a_gateway_on_which_nothing_works_holds_no_secret(
    gateway: SimulatedGateway, tmp_path: Path, url: str
) -> None:
    settings = hostile(gateway, database_url=SecretStr(url))
    told = json.dumps(await support.bundle(settings))
    assert_without(told, {PLANTED, PASSPHRASE})
    assert '"unreadable"' in told


def test_settings_that_sound_secret_are_of_a_type_that_is_never_shown() -> None:
    shown = support.shown(Settings(passphrase=SecretStr(PASSPHRASE), passphrase_file=Path("passphrase")))
    for name in Settings.model_fields:
        if any(word in name for word in ("passphrase", "password", "secret", "pin", "key", "credential")):
            assert shown[name] in {None, "set"}, name


@pytest.mark.parametrize(
    "given, expected",
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("http://[::1]:8545/", "http://[::1]:8545"),
        (f"https://rpc.example/v3/{PLANTED}", "https://rpc.example/…"),
        (f"https://{PLANTED}@rpc.example", "https://rpc.example"),
        (f"wss://a:{PLANTED}@rpc.example?k={PLANTED}", "wss://rpc.example/…"),
        ("/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001"),
    ],
)
def test_addresses_are_shown_without_what_may_be_a_credential(given: str, expected: str) -> None:
    assert without_credentials(given) == expected
