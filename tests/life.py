"""One life of a design, told by real processes; then the gateway is gone and tests look at what is left.

Two tokens: of the first, three prints and one that failed, one of them moved to another printer, all anchored and
settled; of the second, prints that the gateway logged and never settled.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from platemark.cli.demo.processes import gateway_program
from stack import PASSPHRASE, Person, Stack, cube_stl, get, running_stack, wait_for

A_WEEK = str(7 * 86_400)


@dataclass(frozen=True)
class Token:
    """A print token and the prints that were made of it."""

    token_id: str
    expires_at: int
    prints: tuple[Mapping[str, Any], ...]

    def serial(self, index: int) -> str:
        return str(self.prints[index]["serial"])


@dataclass(frozen=True)
class Life:
    """What is left of it: the chain, two folders, and what the people have."""

    folder: Path
    stack: Stack
    design_file: Path
    design_id: str
    license_id: str
    holder_address: str
    settled: Token
    unsettled: Token
    passports: Mapping[str, Path]
    log_key: str

    @property
    def rpc(self) -> str:
        return self.stack.rpc

    @property
    def blocks(self) -> Path:
        return self.folder / "kept" / "blocks"

    @property
    def log(self) -> Path:
        return self.folder / "kept" / "log"

    @property
    def ledger(self) -> str:
        return str(self.stack.ready["ledger"])


def _made(stack: Stack, centre: Person, token: Mapping[str, Any], *prints: tuple[str, ...]) -> Token:
    made = tuple(centre.make_print(token["tokenId"], "--printer", *options) for options in prints)
    wait_for("an anchor of every entry", lambda: all(_anchored(stack, item["serial"]) for item in made))
    return Token(token["tokenId"], token["expiresAt"], made)


def _anchored(stack: Stack, serial: str) -> bool:
    return bool(_get(stack, f"/v1/parts/{serial}").json()["status"] != "provisional")


def _get(stack: Stack, path: str) -> httpx.Response:
    return get(stack.url + path).raise_for_status()


@contextmanager
def whole_life(folder: Path) -> Iterator[Life]:
    """Tell the life in an empty folder; the chain runs while the block lasts."""
    with running_stack(folder) as stack:
        designer, centre = stack.person("designer"), stack.person("centre", coins=True)
        holder = centre.run("keys", "list")["keys"][0]["address"]
        design_file = folder / "cube.stl"
        design_file.write_bytes(cube_stl())
        design = designer.run("design", "register", str(design_file), "--title", "Cube <b>10</b>")
        terms = ("--cap", "20", "--on-sale", "--price", "0.001", "--spares-flat", "1", "--smallest", "2")
        offered = designer.run("license", "offer", design["designId"], *terms)
        centre.run("license", "buy", offered["licenseId"], "--prints", "9")

        first = centre.run("token", "request", offered["licenseId"], "--prints", "3")
        settled = _made(
            stack,
            centre,
            first,
            ("ada",),
            ("ada", "--attempts", "1", "--fail-at", "ada=0.4"),
            ("ada", "--printer", "grace", "--attempts", "2", "--fail-at", "ada=0.4"),
            ("grace",),
        )
        wait_for("the settlement", lambda: centre.run("token", "show", first["tokenId"])["burned"] == 3)

        stack.stop_gateway()
        stack.start_gateway(SETTLE_SECONDS=A_WEEK)
        second = centre.run("token", "request", offered["licenseId"], "--prints", "3")
        unsettled = _made(
            stack, centre, second, ("grace",), ("grace", "--attempts", "1", "--fail-at", "grace=0.5"), ("ada",)
        )
        assert centre.run("token", "show", second["tokenId"])["burned"] == 0
        passports = {}
        for item in (*settled.prints, *unsettled.prints):
            path = folder / f"{item['serial']}.json"
            path.write_bytes(_get(stack, f"/v1/parts/{item['serial']}/passport").content)
            passports[item["serial"]] = path
        stack.stop_gateway()
        log_key = _log_key(stack)
        shutil.copytree(stack.data, folder / "saved")
        kept = folder / "kept"
        kept.mkdir()
        for name in ("blocks", "log"):
            shutil.move(stack.data / name, kept / name)
        shutil.rmtree(stack.data)
        yield Life(
            folder=folder,
            stack=stack,
            design_file=design_file,
            design_id=design["designId"],
            license_id=offered["licenseId"],
            holder_address=holder,
            settled=settled,
            unsettled=unsettled,
            passports=passports,
            log_key=log_key,
        )


def _log_key(stack: Stack) -> str:
    done = subprocess.run(
        [gateway_program(), "keys", "export-log-key", "--data", str(stack.data)],
        env={**os.environ, "PLATEMARK_GATEWAY_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()
