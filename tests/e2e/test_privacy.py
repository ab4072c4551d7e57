"""A small life of a private design, told by real processes; then a customer and a centre are erased."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from platemark.cli.demo.processes import gateway_program
from simulators.databases import DATABASES, database_of
from stack import PASSPHRASE, Chain, Person, Stack, command, cube_stl, get, wait_for

ORDER = "order 17 of Anna Example"
LOT = "lot of a friend"


@dataclass(frozen=True)
class Small:
    """A designer with a private design, and a centre that made two parts of it for a customer."""

    stack: Stack
    designer: Person
    centre: Person
    holder: str
    design: str
    plain: bytes
    serials: tuple[str, str]

    def passport(self, serial: str) -> bytes:
        return get(f"{self.stack.url}/v1/parts/{serial}/passport").raise_for_status().content

    def spool(self) -> Path:
        return self.centre.home / "agent" / "spool" / "spool.sqlite3"

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


@pytest.fixture(params=DATABASES)
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Small]:
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
        designer.run("license", "mint", licence, "--to", holder, "--prints", "3")
        token = str(centre.run("token", "request", licence, "--prints", "3")["tokenId"])
        made = [
            centre.make_print(token, "--printer", "ada", "--reference", ORDER, "--lot", LOT)["serial"] for _ in range(2)
        ]

        def valid(serial: str) -> bool:
            return bool(get(f"{stack.url}/v1/parts/{serial}").json()["status"] == "valid")

        wait_for("anchors", lambda: all(map(valid, made)))
        wait_for("the settlement", lambda: centre.run("token", "show", token)["burned"] == 2)
        yield Small(stack, designer, centre, holder, design, plain, (made[0], made[1]))
    finally:
        stack.close()


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
    for serial in small.serials:
        assert centre.run("token", "erase", serial, "--yes")["erased"] is True
    assert centre.run("token", "erase", small.serials[0], "--yes")["erased"] is False
    for mark in (ORDER, LOT):
        found = [path for path in centre.home.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]
        assert found == []

    unsure = erase(small.stack, small.holder)
    assert (unsure.returncode, "--yes" in unsure.stderr) == (1, True)
    first = told(erase(small.stack, small.holder, "--yes"))
    assert first["erased"]["receipts"] == 2
    assert first["erased"]["acts"] > 0
    assert (first["stays"]["prints"], first["stays"]["reservations"], first["openTokens"]) == (2, 1, 1)
    again = told(erase(small.stack, small.holder, "--yes"))
    assert sum(again["erased"].values()) == 0
    for path in small.stack.data.rglob("*"):
        assert not path.is_file() or LOT.encode() not in path.read_bytes(), path

    small.check_proofs(tmp_path)
    made = centre.make_print(str(centre.run("token", "list")["tokens"][0]["tokenId"]), "--printer", "ada")
    assert made["result"] == "completed"
