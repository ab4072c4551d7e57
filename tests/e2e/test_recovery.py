"""What an operator does after a disaster, with real processes and the commands of docs/recovery.md."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from evidence_copy import failures
from platemark.cli.demo.processes import gateway_program
from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.checkpoint import NoteSigner
from platemark.protocol.passport import Passport
from platemark.protocol.typed_data import Reservation
from platemark.protocol.units import Address, address_text, parse_address
from platemark.sdk.chain import ChainClient
from platemark_gateway.chain.contracts import AbiCalls
from platemark_gateway.chain.transactions import Fees, sign_transaction, transaction_hash
from platemark_gateway.ports import Contract
from stack import PASSPHRASE, Chain, Ended, Person, Stack, command, get, licensed_cube, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAY = 86_400
A_WEEK = str(7 * DAY)


@dataclass(frozen=True)
class Shop:
    """A gateway whose log is shipped, a designer and a centre with a licence."""

    stack: Stack
    designer: Person
    centre: Person
    license_id: str
    kit: Path
    copy: Path

    def operate(self, *argv: str, answer: int = 0) -> str:
        """Run a command of the operator and return what it wrote."""
        ended = subprocess.run(
            [gateway_program(), *argv, "--data", str(self.stack.data)],
            env={
                **os.environ,
                "PLATEMARK_GATEWAY_PASSPHRASE": PASSPHRASE,
                "PLATEMARK_GATEWAY_POLL_SECONDS": "0.1",
                "PLATEMARK_GATEWAY_RPC_URL": self.stack.rpc,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert ended.returncode == answer, (argv, ended.stdout, ended.stderr)
        return ended.stdout if answer == 0 else ended.stderr

    def token(self, prints: int) -> str:
        return str(self.centre.run("token", "request", self.license_id, "--prints", str(prints))["tokenId"])

    def holder(self) -> str:
        return str(self.centre.run("keys", "show")["address"])

    def make_print(self, token: str) -> Mapping[str, Any]:
        return self.centre.make_print(token, "--printer", "ada")

    def start(self) -> None:
        self.stack.start_gateway(SHIP_TO=str(self.copy), SHIP_SECONDS="0.2")

    def kill(self) -> None:
        """End the gateway as a power cut does."""
        assert self.stack.gateway is not None
        self.stack.gateway.process.send_signal(signal.SIGKILL)
        self.stack.gateway.process.wait(30)
        self.stack.stop_gateway()

    def audit(self, log: Path | None = None) -> Ended:
        tiles = str(log or self.stack.data / "log")
        folders = ("--blocks", str(self.stack.data / "blocks"), "--tiles", tiles)
        return self.centre.attempt("audit", "log", *folders)

    def audited(self) -> Any:
        """Return what an audit of the whole log found, once every entry is anchored."""
        wait_for("anchors", self.is_anchored)
        ended = self.audit()
        assert ended.exit_code == 0, ended.stdout
        return ended.value["facts"]

    def is_anchored(self) -> bool:
        grown, anchored = (self.gauge(f"platemark_log_{name}") for name in ("size", "anchored_size"))
        return (anchored, self.gauge("platemark_log_waiting_entries")) == (grown, 0)

    def is_shipped(self) -> bool:
        return self.gauge("platemark_ship_lag_entries") == 0

    def is_published_in_copy(self) -> bool:
        """Return whether every entry is under the copy's checkpoint."""
        if not self.is_shipped() or self.gauge("platemark_log_waiting_entries"):
            return False
        sizes = [path.read_text().splitlines()[1] for path in self._checkpoints() if path.exists()]
        return len(sizes) == 2 and len(set(sizes)) == 1

    def _checkpoints(self) -> tuple[Path, Path]:
        return self.copy / "checkpoint", self.stack.data / "log" / "checkpoint"

    def gauge(self, name: str) -> int:
        lines = self.get("/metrics").text.splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith(f"{name} "))

    def rotate(self, kind: str) -> Mapping[str, Any]:
        """Replace a key, and wait until the gateway has gone over to it."""
        told: Mapping[str, Any] = json.loads(self.operate("keys", "rotate", kind))
        self.wait_until_adopted(told)
        return told

    def wait_until_adopted(self, told: Mapping[str, Any]) -> None:
        """Wait until the gateway works under the profile that a rotation told."""

        def is_adopted() -> bool:
            found = self.get("/v1/gateway").json()
            return (found["profileDigest"], found["state"]) == (told["profileDigest"], "ready")

        wait_for("the new profile", is_adopted)

    def keys(self, state: str) -> Mapping[str, str]:
        """Return the keys in a state, by kind."""
        lines = [line.split() for line in self.operate("keys", "list").splitlines()]
        return {kind: name for kind, found, name in lines if found == state}

    def check_passport(self, printed: Mapping[str, Any], folder: Path) -> Passport:
        """Return a part's passport after it was verified against the chain alone."""
        path = folder / f"{printed['serial']}.json"
        self.centre.run("passport", printed["serial"], "--output", str(path))
        checked = command("audit", "passport", str(path), "--rpc", self.stack.rpc, "--json")
        assert checked.exit_code == 0, checked.stdout
        return Passport.parse(path.read_bytes())

    def at(self, stack: Stack) -> "Shop":
        """Return the same people at another gateway."""
        designer, centre = (
            Person(found.home, found.passphrase_file, stack.rpc, stack.url) for found in (self.designer, self.centre)
        )
        return replace(self, stack=stack, designer=designer, centre=centre)

    def get(self, path: str) -> httpx.Response:
        return get(self.stack.url + path)


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop of its own for each disaster: what one leaves is no place to start the next from."""
    folder = tmp_path_factory.mktemp("shop")
    chain = Chain(folder / "chain", folder / "chain.log")
    stack = Stack(folder, chain.url, chain=chain)
    copy = folder / "second place"
    copy.mkdir()
    try:
        stack.start_gateway(SHIP_TO=str(copy), SHIP_SECONDS="0.2")
        designer, centre = stack.person("designer"), stack.person("centre", coins=True)
        licence = licensed_cube(folder, designer, centre)
        kit = next(designer.home.rglob("recovery.kit"))
        yield Shop(stack, designer, centre, licence, kit, copy)
    finally:
        stack.close()


def test_a_lost_machine_comes_back_from_an_old_backup_and_the_shipped_copy(shop: Shop, tmp_path: Path) -> None:
    before = shop.audited()
    token = shop.token(4)
    shop.make_print(token)
    shop.operate("backup", str(tmp_path / "backup"))
    shop.make_print(token)
    wait_for("the copy", shop.is_published_in_copy)
    shop.kill()
    shutil.rmtree(shop.stack.data)
    said = shop.operate("restore", str(tmp_path / "backup"), "--tail", str(shop.copy))
    assert "from the shipped copy" in said
    again = shop.operate("restore", str(tmp_path / "backup"), answer=1)
    assert (again.count("\n"), "[restore-target]" in again) == (2, True)
    shop.start()
    wait_for("the copy's entries to be counted", lambda: shop.get("/v1/gateway").json()["state"] == "ready")
    shop.make_print(token)
    after = shop.audited()
    assert (after["released"] - before["released"], after["entries"] - before["entries"]) == (3, 6)


def test_keys_give_way_to_new_ones_while_the_gateway_serves(shop: Shop, tmp_path: Path) -> None:
    before, declared = shop.audited(), shop.keys("declared")
    token = shop.token(4)
    first = shop.make_print(token)
    told = shop.rotate("release")
    assert (told["releaseKey"] != declared["release"], told["logKey"]) == (True, declared["log"])
    held = shop.centre.make_print(token, "--printer", "ada", "--inspect")
    shop.rotate("release")
    second = shop.centre.run("outcome", token, "--print", str(held["sequence"]), "--material", "PLA")
    assert second["serial"] == held["serial"], "a print from between two rotations is reported"
    sender = json.loads(shop.operate("keys", "rotate", "sender"))["sender"]
    assert shop.keys("declared")["sender"] == sender
    shop.rotate("deposit")
    shop.designer.run("keys", "kit", "deposit", str(shop.kit))

    wait_for("anchors", shop.is_anchored)
    leaked = tmp_path / "leaked"
    shutil.copytree(shop.stack.data / "log", leaked)
    new = shop.rotate("log")
    assert (new["epoch"], new["logKey"] != declared["log"]) == (told["epoch"] + 1, True)
    exported = NoteSigner.parse(shop.operate("keys", "export-log-key").strip()).key
    assert (base64url(exported.public_key), exported.name[-2:]) == (new["logKey"], f"/{new['epoch']}")
    third = shop.make_print(token)
    after = shop.audited()
    assert after["entries"] - before["entries"] == 6
    assert shop.keys("old") == {**declared, "release": told["releaseKey"]}
    assert not shop.keys("waiting")
    old = shop.audit(leaked)
    assert old.exit_code == 3
    assert (12, "epoch-behind") in failures(old)
    for printed in (first, second, third):
        shop.check_passport(printed, tmp_path)


def test_a_lost_vault_is_healed_by_the_account_and_the_designers_kits(shop: Shop) -> None:
    before = shop.audited()
    lost = shop.token(4)
    serial = shop.make_print(lost)["serial"]
    wait_for("anchors", shop.is_anchored)  # what is in no log yet when its key is lost comes into the next one's
    account = shop.operate("keys", "export-account")
    shop.kill()
    shutil.rmtree(shop.stack.data / "vault")
    secret = shop.stack.folder / "account"
    secret.write_text(account)
    secret.chmod(0o600)
    shop.operate("keys", "import-account", str(secret))
    assert "[vault-key-missing]" in shop.operate("serve", "--port", "0", answer=1)
    told = json.loads(shop.operate("keys", "rotate", "all"))
    shop.start()
    shop.wait_until_adopted(told)
    refused = shop.centre.attempt("token", "request", shop.license_id, "--prints", "2")
    assert refused.error_code == "key-not-deposited"
    assert shop.centre.run("token", "show", lost)["lost"]
    asked = shop.centre.attempt("passport", serial, "-o", str(shop.stack.folder / "passport.json"))
    assert asked.error_code == "passport-incomplete", "what a lost key signed is not signed again"
    assert shop.centre.attempt("print", lost, "--printer", "ada", "--slicer", "basic").error_code == "token-lost"
    assert shop.centre.attempt("token", "renew").error_code == "key-not-deposited"
    assert not shop.centre.run("token", "show", lost)["closed"], "a token is kept until another can take its place"
    shop.designer.run("keys", "kit", "deposit", str(shop.kit))
    (renewed,) = shop.centre.run("token", "renew")["renewed"]
    assert (renewed["replaces"], renewed["prints"]) == (lost, 3), "what was not printed is not lost"
    assert shop.centre.run("token", "renew")["renewed"] == []
    for _ in range(3):
        shop.make_print(renewed["tokenId"])
    assert shop.centre.attempt("print", renewed["tokenId"], "--printer", "ada", "--slicer", "basic").exit_code != 0
    (resumed,) = shop.centre.run("token", "resume")["tokens"]
    shop.make_print(resumed["tokenId"])
    after = shop.audited()
    assert after["released"] - before["released"] == 5, "nothing is counted twice"
    assert shop.centre.run("license", "show", shop.license_id, "--holder", shop.holder())["balance"] == 30 - 4 - 2


def test_what_a_gateway_that_is_gone_leaves_is_finished_by_others(shop: Shop, tmp_path: Path) -> None:
    settled_before = shop.token(2)
    shop.make_print(settled_before)  # this gateway settles each second, the one that will be gone once a week
    wait_for("the settlement", lambda: shop.centre.run("token", "show", settled_before)["burned"] == 1)
    shop.stack.stop_gateway()
    chain = shop.stack.running_chain.copy(tmp_path / "chain")
    gone, new = (Stack(tmp_path / name, chain.url) for name in ("gone", "new"))
    second = tmp_path / "second"
    try:
        shutil.copytree(shop.stack.data, gone.data)
        shutil.copytree(shop.copy, second)
        shop.start()
        gone.start_gateway(SHIP_TO=str(second), SHIP_SECONDS="0.2", SETTLE_SECONDS=A_WEEK)
        there = shop.at(gone)
        token = there.centre.run("token", "request", shop.license_id, "--prints", "3")
        made = there.make_print(token["tokenId"])
        wait_for("anchors", there.is_anchored)
        own = gone.data / "log" / "checkpoint"
        wait_for("the copy", lambda: own.read_bytes() == (second / "checkpoint").read_bytes())
        permission = there.check_passport(made, tmp_path).permission
        there.kill()
        blocks = tmp_path / "blocks"
        shutil.move(gone.data / "blocks", blocks)
        new.data.mkdir(parents=True)
        shutil.move(gone.data / "deployment.json", new.data)
        shutil.rmtree(gone.data)

        new.start_gateway()
        moved = there.designer.run("license", "move", shop.license_id, "--to", new.url, "--blocks", str(blocks))
        assert moved["gateway"] == new.ready["gateway"]
        successor = shop.at(new)
        successor.make_print(successor.token(2))
        new.stop_gateway()

        tiles = ("--tiles", str(second))
        chain.travel_to(token["expiresAt"] + 3 * DAY + 1)
        settled = there.centre.run("audit", "settle", *tiles)
        assert (settled["toSettle"], len(settled["transactions"])) == (1, 1), settled
        chain.travel_to(token["expiresAt"] + 10 * DAY + 60)
        held = balance(chain, gone, permission.license_id, permission.holder)
        reclaim(chain, gone, permission)
        assert balance(chain, gone, permission.license_id, permission.holder) == held + 2
        assert there.centre.run("audit", "log", "--blocks", str(blocks), *tiles)["holds"] is True
    finally:
        gone.close()
        new.close()
        chain.stop()
        if shop.stack.gateway is None:
            shop.start()


def balance(chain: Chain, stack: Stack, license_id: int, holder: Address) -> int:
    contract = parse_address(stack.ready["license"])
    client = ChainClient(chain.url)
    try:
        return int(client.read("PrintLicense", contract, "balanceOf", address_text(holder), license_id))
    finally:
        client.close()


def reclaim(chain: Chain, stack: Stack, permission: Reservation) -> None:
    """Have a stranger bring the rest of a reservation back to its holder."""
    stranger = AccountKey(b"\x61" * 32)
    chain.fund(address_text(stranger.address))
    raw = sign_transaction(
        stranger.sign,
        chain_id=int(chain.rpc("eth_chainId"), 16),
        nonce=int(chain.rpc("eth_getTransactionCount", address_text(stranger.address), "latest"), 16),
        fees=Fees(10**11, 10**9),
        gas=1_000_000,
        to=parse_address(stack.ready["ledger"]),
        value=0,
        data=AbiCalls().encode(Contract.LEDGER, "reclaim", [permission.arguments()]),
    )
    chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    receipt = chain.rpc("eth_getTransactionReceipt", "0x" + transaction_hash(raw).hex())
    assert receipt["status"] == "0x1"
