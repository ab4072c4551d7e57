"""The gateway as processes: it starts from nothing, is the same after a restart or a kill, and shares one database."""

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain_process import ChainProcess, program, running_chain, spawn
from platemark.protocol.accounts import AccountKey
from platemark.protocol.checkpoint import NoteKey, NoteSigner, open_checkpoint
from platemark.protocol.digests import sha256
from platemark.protocol.typed_data import Registration, registry_domain
from platemark.protocol.units import DesignId, Digest32, digest_text, parse_address
from simulators.databases import DATABASES, database_of
from trusted import authorities

pytestmark = pytest.mark.slow

PASSPHRASE = "a long enough passphrase"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    with running_chain(tmp_path_factory.mktemp("chain")) as running:
        yield running


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATEMARK_GATEWAY_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("PLATEMARK_GATEWAY_POLL_SECONDS", "0.1")


Start = Callable[..., "subprocess.Popen[str]"]


class Served:
    """A running `platemark-gateway serve`."""

    def __init__(self, process: "subprocess.Popen[str]", ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self.url: str = ready["url"]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, trust_env=False, verify=authorities())

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=30, trust_env=False, verify=authorities())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@contextmanager
def serving(data: Path, chain: ChainProcess, *options: str, start: Start = program) -> Iterator[Served]:
    process = start("serve", "--data", str(data), "--rpc", chain.url, "--port", "0", *options)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate(timeout=30)[1])
    served = Served(process, json.loads(line))
    try:
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def failure(command: str, data: Path, *options: str) -> str:
    process = program(command, "--data", str(data), *options)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert '"ready"' not in output
    assert "Traceback" not in errors
    return errors


def registration(ready: dict[str, Any], name: str) -> tuple[dict[str, Any], DesignId]:
    account = AccountKey(sha256(name.encode()))
    made = Registration(
        registrant=account.address,
        commitment=sha256(b"commitment"),
        manifest_digest=sha256(b"manifest"),
        is_private=False,
        parent_id=DesignId(0),
        resale_share=0,
        derivative_share=0,
        edition=0,
    )
    digest = made.digest(registry_domain(ready["chainId"], parse_address(ready["registry"])))
    body = {"registration": made.to_json(), "signature": "0x" + account.sign(digest).hex()}
    return body, DesignId(int.from_bytes(digest, "big"))


def wait_until_final(served: Served, design_id: DesignId) -> dict[str, Any]:
    path = f"/v1/designs/{digest_text(Digest32(design_id.to_bytes(32, 'big')))}"
    deadline = time.monotonic() + 60
    while True:
        design: dict[str, Any] = served.get(path).json()
        if design["status"] == "final":
            return design
        assert design["status"] in {"pending", "seen", "confirmed"}, design
        assert time.monotonic() < deadline, design
        time.sleep(0.05)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", DATABASES)
async def test_a_gateway_starts_from_nothing_and_is_the_same_after_a_kill(
    tmp_path: Path, chain: ChainProcess, kind: str
) -> None:
    data = tmp_path / "gateway"
    options = ["--database-url", await database_of(kind, tmp_path)]
    with serving(data, chain, *options, start=spawn) as first:
        body, design_id = registration(first.ready, f"{kind} {tmp_path}")
        assert first.post("/v1/designs", body).status_code == 202
        first.stop(signal.SIGKILL)
    assert json.loads((data / "vault" / "vault.json").read_text())["scrypt"]["n"] == 1 << 17
    with serving(data, chain, *options, start=spawn) as second:
        assert second.ready == first.ready
        assert wait_until_final(second, design_id)["revisions"][0]["state"] == "registered"
        assert second.get("/v1/gateway").json()["state"] == "ready"
        assert second.get("/readyz").status_code == 200
        assert second.stop() == 0


@pytest.mark.anyio
@pytest.mark.parametrize("kind", DATABASES)
async def test_several_processes_serve_one_gateway(tmp_path: Path, chain: ChainProcess, kind: str) -> None:
    data = tmp_path / "gateway"
    options = ["--database-url", await database_of(kind, tmp_path), "--url", "http://127.0.0.1:9", "--no-worker"]
    with serving(data, chain, *options) as first, serving(data, chain, *options) as second:
        first.url, second.url = first.ready.pop("listening"), second.ready.pop("listening")
        assert first.url != second.url
        assert first.ready == second.ready
        body, design_id = registration(first.ready, f"several {kind} {tmp_path}")
        assert [each.post("/v1/designs", body).status_code for each in (first, second)] == [202, 202]
        path = f"/v1/designs/{digest_text(Digest32(design_id.to_bytes(32, 'big')))}"
        assert {each.get(path).json()["status"] for each in (first, second)} == {"pending"}
        worker = spawn("worker", "--data", str(data), "--rpc", chain.url, *options[:4])
        try:
            wait_until_final(first, design_id)
            wait_until_final(second, design_id)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
        assert worker.returncode == 0
        assert [first.stop(), second.stop()] == [0, 0]


def answer_to(url: str, *pieces: bytes) -> bytes:
    """Return what is answered to these bytes before the connection is closed."""
    address = httpx.URL(url)
    found = b""
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        with suppress(ConnectionError):  # closed while more was to come
            for piece in pieces:
                connection.sendall(piece)
        with suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                found += part
    return found


def test_a_head_that_does_not_end_is_refused_before_it_is_kept(tmp_path: Path, chain: ChainProcess) -> None:
    get, end = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", b"\r\n\r\n"
    post = b"POST /v1/designs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    endless = [b"X: ", *[b"a" * (1 << 20)] * 64]
    with serving(tmp_path / "gateway", chain) as served:
        assert b" 200 OK" in answer_to(served.url, get, b"X: " + b"a" * 30_000, end)
        assert b" 400 Bad Request" in answer_to(served.url, get, *endless)
        assert b" 400 Bad Request" in answer_to(served.url, get, *[b"X: a\r\n" * 10_000] * 100)
        chunked = [post, b"Transfer-Encoding: chunked" + end]
        assert b" 422 " in answer_to(served.url, *chunked, *[chunk] * 32, b"0" + end)
        assert answer_to(served.url, *chunked, chunk, b"0\r\n", *endless).count(b"HTTP/1.1 ") == 1
        assert served.get("/livez").status_code == 200


def test_the_exported_log_key_signs_as_the_gateway_does(tmp_path: Path, chain: ChainProcess) -> None:
    data = tmp_path / "gateway"
    with serving(data, chain) as served:
        deadline = time.monotonic() + 30
        while (answer := served.get("/log/checkpoint")).status_code != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        process = program("keys", "export-log-key", "--data", str(data))
        output, _ = process.communicate(timeout=60)
    signer = NoteSigner.parse(output.strip())
    assert signer.key == NoteKey(served.ready["logOrigin"], signer.key.public_key)
    assert open_checkpoint(answer.content, signer.key).origin == served.ready["logOrigin"]


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, chain: ChainProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "gateway"
    with serving(data, chain) as served:
        served.stop()
    rpc = ["--rpc", chain.url, "--port", "0"]
    assert "rpc-unreachable" in failure("serve", data, "--rpc", "http://127.0.0.1:1", "--port", "0")
    monkeypatch.setenv("PLATEMARK_GATEWAY_PASSPHRASE", "not the passphrase")
    assert "vault-passphrase" in failure("serve", data, *rpc)
    monkeypatch.delenv("PLATEMARK_GATEWAY_PASSPHRASE")
    assert "vault-passphrase" in failure("serve", data, *rpc)
    monkeypatch.setenv("PLATEMARK_GATEWAY_PASSPHRASE", PASSPHRASE)
    shutil.move(data / "vault", data / "moved")
    assert "vault-missing" in failure("serve", data, *rpc)
    shutil.move(data / "moved", data / "vault")
    (data / "vault" / "vault.json").chmod(0o644)
    assert "vault-permissions" in failure("serve", data, *rpc)
    (data / "vault" / "vault.json").chmod(0o600)
    deployment = json.loads((data / "deployment.json").read_text())
    (data / "deployment.json").write_text(json.dumps(deployment | {"ledger": deployment["license"]}))
    assert "deployment-mismatch" in failure("serve", data, *rpc)
    assert "settings" in failure("serve", data, "--port", "70000")


def test_doctor_says_what_is_well_and_what_is_not(
    tmp_path: Path, chain: ChainProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "gateway"
    with serving(data, chain) as served:
        served.stop()
    process = program("doctor", "--data", str(data), "--rpc", chain.url)
    output, _ = process.communicate(timeout=60)
    well = {line.split(":")[0].removeprefix("ok").strip() for line in output.splitlines() if line.startswith("ok")}
    parts = {
        "settings",
        "data folder",
        "vault",
        "database",
        "log",
        "outbox",
        "chain",
        "index",
        "account",
        "keys",
        "blocks",
    }
    assert (process.returncode, parts - well) == (0, set()), output
    monkeypatch.setenv("PLATEMARK_GATEWAY_PASSPHRASE", "not the passphrase")
    process = program("doctor", "--data", str(data), "--rpc", "http://127.0.0.1:1")
    output, _ = process.communicate(timeout=60)
    failed = {line.split()[1].rstrip(":") for line in output.splitlines() if line.startswith("FAIL")}
    assert (process.returncode, failed) == (1, {"vault", "chain", "account"}), output
