"""A small life of a private design, told by real processes; then a customer and a centre are erased."""

import asyncio
import base64
import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from platemark.cli.demo.processes import gateway_program
from platemark.protocol.digests import commitment, sha256
from platemark.protocol.manifest import named_hash
from platemark.protocol.merkle import files_root
from platemark.protocol.passport import Passport
from platemark.protocol.units import parse_address, parse_digest
from simulators.databases import DATABASES, database_of
from stack import PASSPHRASE, Chain, Person, Stack, command, cube_stl, dead_url, get, wait_for

ORDER = "order 17 of Anna Example"
LOT = "lot of a friend"
KEPT = "order 18 of somebody else"


@dataclass(frozen=True)
class Small:
    """A designer with a private design, and a centre that made parts of it for customers."""

    stack: Stack
    designer: Person
    centre: Person
    holder: str
    design: str
    licence: str
    token: str
    plain: bytes
    serials: tuple[str, ...]
    """The last one is never erased at the centre."""

    def passport(self, serial: str) -> bytes:
        return get(f"{self.stack.url}/v1/parts/{serial}/passport").raise_for_status().content

    def spool(self) -> Path:
        return self.centre.home / "agent" / "spool" / "spool.sqlite3"

    def attempts(self) -> list[Mapping[str, Any]]:
        """Return what the agent recorded when it started to print."""
        with closing(sqlite3.connect(self.spool())) as database:
            return [json.loads(started) for (started,) in database.execute("SELECT started FROM attempts")]

    def public(self) -> Iterator[tuple[str, bytes]]:
        """Yield all that anybody may read: what the gateway answers to nobody, log, blocks, and the whole chain."""
        known = {
            "design_id": self.design,
            "number": "1",
            "license_id": self.licence,
            "token_id": self.token,
            "serial": self.serials[0],
            "holder": self.holder,
            "address": self.holder,
        }
        described = get(f"{self.stack.url}/v1/openapi.json").json()
        for path, methods in described["paths"].items():
            with suppress(KeyError):
                answer = get(self.stack.url + path.format_map(known)) if "get" in methods else None
                if answer is not None and answer.status_code == 200:
                    yield path, answer.content
        for folder in ("blocks", "log"):
            for file in (self.stack.data / folder).rglob("*"):
                if file.is_file():
                    yield str(file), file.read_bytes()
        for number in range(int(self.stack.running_chain.rpc("eth_blockNumber"), 16) + 1):
            yield (
                f"block {number}",
                json.dumps(self.stack.running_chain.rpc("eth_getBlockByNumber", hex(number), True)).encode(),
            )
        every = {"fromBlock": "0x0", "toBlock": "latest"}
        yield "events", json.dumps(self.stack.running_chain.rpc("eth_getLogs", every)).encode()

    def check_proofs(self, folder: Path) -> None:
        """Audit the whole log, the design and both parts; all of it holds."""
        rpc, log = self.stack.rpc, str(self.stack.data / "log")
        where = ("--rpc", rpc, "--blocks", self.stack.url)
        ledger = str(self.stack.ready["ledger"])
        audits = [
            ("log", "--tiles", log, *where),
            ("design", self.design, "--tiles", log, "--ledger", ledger, *where),
        ]
        for serial in self.serials:
            path = folder / f"{serial}.json"
            path.write_bytes(self.passport(serial))
            audits.append(("passport", str(path), "--rpc", rpc))
        for audit in audits:
            ended = command("audit", *audit, "--json")
            assert ended.exit_code == 0, (audit, ended.stdout)


@pytest.fixture(params=DATABASES, scope="module")
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    tmp_path = tmp_path_factory.mktemp("small")
    database = asyncio.run(database_of(request.param, tmp_path))
    chain = Chain(tmp_path / "chain", tmp_path / "chain.log")
    stack = Stack(tmp_path, chain.url, ("--database-url", database), chain=chain)
    try:
        stack.start_gateway()
        designer, centre = stack.person("designer"), stack.person("centre", coins=True)
        holder = str(centre.run("keys", "list")["keys"][0]["address"])
        (tmp_path / "cube.stl").write_bytes(plain := cube_stl())
        design = str(
            designer.run("design", "register", str(tmp_path / "cube.stl"), "--title", "Part", "--private")["designId"]
        )
        licence = str(designer.run("license", "offer", design, "--cap", "4")["licenseId"])
        designer.run("license", "mint", licence, "--to", holder, "--prints", "4")
        token = str(centre.run("token", "request", licence, "--prints", "4")["tokenId"])
        made = [
            str(centre.make_print(token, "--printer", "ada", "--reference", order, "--lot", lot)["serial"])
            for order, lot in ((ORDER, LOT), (ORDER, LOT), (KEPT, "a lot"))
        ]

        def valid(serial: str) -> bool:
            return bool(get(f"{stack.url}/v1/parts/{serial}").json()["status"] == "valid")

        wait_for("anchors", lambda: all(map(valid, made)))
        wait_for("the settlement", lambda: centre.run("token", "show", token)["burned"] == 3)
        yield Small(stack, designer, centre, holder, design, licence, token, plain, tuple(made))
    finally:
        stack.close()


_BASE64 = re.compile(rb"[A-Za-z0-9_+/-]{40,}")


def opened(data: bytes) -> Iterator[bytes]:
    """Yield data and, again and again, what stands in it in base64 of either alphabet."""
    yield data
    for text in _BASE64.findall(data):
        with suppress(ValueError):
            inner = base64.urlsafe_b64decode(text.replace(b"+", b"-").replace(b"/", b"_") + b"=" * (-len(text) % 4))
            yield from opened(inner)


def holds(data: bytes, digest: bytes) -> bool:
    """Whether a digest stands in data, as bytes, in hexadecimal digits or in base64."""
    return any(digest in each or digest.hex().encode() in each.lower() for each in opened(data))


def test_nothing_that_is_public_confirms_a_guess_of_a_private_file(small: Small) -> None:
    sha = sha256(small.plain)
    record = json.loads((small.designer.home / "designs" / small.design / "design.json").read_bytes())
    registrant = parse_address(record["registration"]["registrant"])
    root = files_root([sha])
    gcode = {parse_digest(started["gcodeSha256"]) for started in small.attempts()}
    assert len(gcode) >= 1, "whoever has the file and the same slicer computes this too"
    guesses = {sha, root, sha256(sha), named_hash(sha, private=True, salt=bytes(32)), *gcode}
    guesses.add(commitment(registrant, bytes(32), root))
    spool = small.spool().read_bytes()
    assert any(holds(spool, each) for each in gcode), "the search finds what is there"
    places = 0
    for where, data in small.public():
        assert [each.hex() for each in guesses if holds(data, each)] == [], where
        places += 1
    assert places > 30
    shown = Passport.parse(small.passport(small.serials[0]))
    assert (shown.manifest.private, shown.content, shown.receipt) == (True, None, None)


def test_single_statements_are_disclosed_by_whoever_can_open_them(small: Small, tmp_path: Path) -> None:
    serial = small.serials[-1]

    def disclosed(by: Person, name: str, *options: str) -> Mapping[str, Any]:
        """Write a passport, have it audited, and return its JSON."""
        path = tmp_path / name
        written = by.run("passport", serial, "-o", str(path), *options)
        report = command("audit", "passport", str(path), "--rpc", small.stack.rpc, "--json")
        assert report.exit_code == 0, report.stdout
        facts = report.value["facts"]
        assert (facts["disclosed"], facts["notDisclosed"]) == (written["disclosed"], written["notDisclosed"])
        found = json.loads(path.read_bytes())
        assert [each for each in ("receipt", "content", "detail") if each in found] == facts["disclosed"]
        return dict(found)

    detail = disclosed(small.centre, "detail.json", "--disclose", "detail")["detail"]
    assert detail["intended"]["references"] == [KEPT]
    receipt = disclosed(small.centre, "receipt.json", "--disclose", "receipt")["receipt"]
    content = disclosed(small.designer, "content.json", "--disclose", "content")["content"]
    assert parse_digest(content["filesRoot"]) == files_root([sha256(small.plain)])
    both = disclosed(small.centre, "both.json", "--disclose", "receipt", "--disclose", "detail")
    assert (both["receipt"], both["detail"]) == (receipt, detail)

    stranger = Person(tmp_path / "stranger", small.centre.passphrase_file, small.stack.rpc, dead_url())
    source = ("--from", str(tmp_path / "both.json"))
    assert disclosed(stranger, "one.json", *source, "--disclose", "detail")["detail"] == detail
    for statement in ("content", "receipt"):
        refused = stranger.attempt(
            "passport", serial, "--from", str(tmp_path / "one.json"), "--disclose", statement, "-o", str(tmp_path / "x")
        )
        assert (refused.exit_code, refused.error_code) == (1, "not-kept")
    assert not (tmp_path / "x").exists()


def erase(stack: Stack, subject: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [gateway_program(), "erase", subject, "--data", str(stack.data), *stack.options, *options]
    return subprocess.run(
        argv,
        env={**os.environ, "PLATEMARK_GATEWAY_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def told(done: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_customer_and_centre_are_erased_and_every_proof_holds(small: Small, tmp_path: Path) -> None:
    centre, spool = small.centre, small.spool()
    assert ORDER.encode() in spool.read_bytes()
    small.check_proofs(tmp_path)

    refused = centre.attempt("token", "erase", small.serials[0])
    assert (refused.exit_code, refused.error_code) == (2, "usage")
    for serial in small.serials[:2]:
        assert centre.run("token", "erase", serial, "--yes")["erased"] is True
    assert centre.run("token", "erase", small.serials[0], "--yes")["erased"] is False
    for mark in (ORDER, LOT):
        found = [path for path in centre.home.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]
        assert found == []

    unsure = erase(small.stack, small.holder)
    assert (unsure.returncode, "--yes" in unsure.stderr) == (1, True)
    first = told(erase(small.stack, small.holder, "--yes"))
    assert first["erased"]["receipts"] == 3
    assert first["erased"]["acts"] > 0
    assert (first["stays"]["prints"], first["stays"]["reservations"], first["openTokens"]) == (3, 1, 1)
    again = told(erase(small.stack, small.holder, "--yes"))
    assert sum(again["erased"].values()) == 0
    for path in small.stack.data.rglob("*"):
        assert not path.is_file() or LOT.encode() not in path.read_bytes(), path

    small.check_proofs(tmp_path)
    made = centre.make_print(small.token, "--printer", "ada")
    assert made["result"] == "completed"
