"""One command for a whole installation: it starts, survives, stops in order and says in one line what is wrong."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain_process import running_chain, spawn
from trusted import authorities

START_SECONDS = 120


def start(data: Path, *options: str) -> "tuple[subprocess.Popen[str], dict[str, Any]]":
    process = spawn("dev", "--data", str(data), *options)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate(timeout=30)[1])
    return process, json.loads(line)


def stop(process: "subprocess.Popen[str]", number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


def gateway(ready: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(
        ready["url"] + "/v1/gateway", timeout=30, trust_env=False, verify=authorities()
    ).json()
    return answer


def is_free(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


def wait_until_free(*urls: str) -> None:
    deadline = time.monotonic() + 30
    while not all(is_free(url) for url in urls):
        assert time.monotonic() < deadline, "a process outlives its parent"
        time.sleep(0.1)


def test_restart_keeps_addresses_contracts_and_keys(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process, first = start(data)
    about = gateway(first)
    assert (data / "passphrase").stat().st_mode & 0o777 == 0o600
    assert stop(process) == 0
    wait_until_free(first["url"], first["rpcUrl"])
    process, second = start(data)
    try:
        assert second == first
        again = gateway(second)
        assert again["profileDigest"] == about["profileDigest"]
        assert again["state"] == "ready"
    finally:
        assert stop(process, signal.SIGINT) == 0


def test_killed_parent_takes_both_processes_along(tmp_path: Path) -> None:
    process, first = start(tmp_path / "data")
    process.kill()
    process.communicate(timeout=10)
    wait_until_free(first["url"], first["rpcUrl"])
    process, second = start(tmp_path / "data")
    stop(process)
    assert second["gateway"] == first["gateway"]


def test_end_of_one_process_ends_the_other(tmp_path: Path) -> None:
    process, ready = start(tmp_path / "data")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    os.kill(int(children[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the chain ended" in errors
    wait_until_free(ready["url"], ready["rpcUrl"])


def test_deploy_writes_where_the_contracts_stand_and_checks_them_afterwards(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("a passphrase for tests\n")

    def deploy(rpc: str) -> "subprocess.CompletedProcess[str]":
        options = ["--data", str(tmp_path / "data"), "--rpc", rpc, "--passphrase-file", str(tmp_path / "passphrase")]
        process = spawn("deploy", *options)
        output, errors = process.communicate(timeout=START_SECONDS)
        return subprocess.CompletedProcess(options, process.returncode, output, errors)

    with running_chain(tmp_path / "chain") as chain:
        first = deploy(chain.url)
        assert first.returncode == 0, first.stderr
        found = json.loads((tmp_path / "data" / "deployment.json").read_text())
        assert json.loads(first.stdout) == found
        head = chain.rpc("eth_blockNumber")
        assert deploy(chain.url).returncode == 0
        assert chain.rpc("eth_blockNumber") == head, "contracts that stand are not deployed again"
    with running_chain(tmp_path / "other") as other:
        refused = deploy(other.url)
        assert refused.returncode == 1
        assert "deployment-mismatch" in refused.stderr
    with running_chain(tmp_path / "foreign", "--chain-id", "77") as foreign:
        assert "chain-foreign" in deploy(foreign.url).stderr


def failure(*arguments: str) -> str:
    process = spawn("dev", *arguments)
    output, errors = process.communicate(timeout=START_SECONDS)
    assert process.returncode == 1
    assert output == ""
    assert "Traceback" not in errors
    return errors


@pytest.mark.parametrize("option", ["--port", "--chain-port"])
def test_port_in_use_is_named(tmp_path: Path, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        errors = failure("--data", str(tmp_path), option, port)
    assert f"cannot listen on 127.0.0.1 port {port}" in errors
    assert list(tmp_path.iterdir()) == [], "a start that fails leaves nothing behind"


def test_every_command_finds_the_passphrase_that_dev_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLATEMARK_GATEWAY_PASSPHRASE", raising=False)
    process, ready = start(tmp_path / "data")
    try:
        doctor = spawn("doctor", "--data", str(tmp_path / "data"), "--rpc", ready["rpcUrl"])
        output, errors = doctor.communicate(timeout=START_SECONDS)
        assert doctor.returncode == 0, output + errors
        assert "FAIL" not in output
        key = spawn("keys", "export-log-key", "--data", str(tmp_path / "data"))
        output, errors = key.communicate(timeout=START_SECONDS)
        assert output.startswith("PRIVATE+KEY+"), errors
    finally:
        stop(process)


def test_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "directory-unwritable" in failure("--data", str(tmp_path / "file" / "below"))


def test_damaged_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "chain.jsonl").write_text('{"kind":"genesis"}\n')
    assert "journal is damaged at line 1" in failure("--data", str(tmp_path))


def test_lost_passphrase_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "vault.json").write_text("{}")
    assert "passphrase-missing" in failure("--data", str(tmp_path))
    assert not (tmp_path / "passphrase").exists()
