"""A real gateway whose machine's clock jumps, while the chain's time goes on as it is."""

import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import faketime_library
from platemark.cli.demo.processes import gateway_program
from stack import PASSPHRASE, Chain, Person, Stack, get, licensed_cube, wait_for

pytestmark = [pytest.mark.faketime, pytest.mark.slow]
A_DAY = 86_400


@dataclass(frozen=True)
class Shop:
    """A gateway whose clock can be set, and people whose clocks are right."""

    stack: Stack
    centre: Person
    token: str
    offset: Path

    def set_clock(self, seconds: int) -> None:
        """Set the gateway's clock so far ahead (negative: back), as an operator's mistake would."""
        written = self.offset.with_suffix(".new")
        written.write_text(f"{seconds:+d}s\n")
        written.replace(self.offset)

    def parts(self) -> dict[str, str]:
        """Return how each part of the gateway is."""
        found: dict[str, str] = get(self.stack.url + "/readyz").json()["parts"]
        return found

    def make_print(self) -> None:
        """Print once; it is released and counted."""
        self.centre.make_print(self.token, "--printer", "ada")

    def until_refused(self, code: str) -> None:
        """Wait until a print is refused so: by this clock, what is not anchored yet may have waited too long first."""
        argv = ("print", self.token, "--printer", "ada", "--slicer", "basic", "--material", "PLA")
        wait_for(f"the refusal {code}", lambda: self.centre.attempt(*argv).error_code == code, seconds=180)

    def row(self) -> tuple[int, bool]:
        """Return how many prints of the token were released, and whether its last log entry is written."""
        with closing(sqlite3.connect(self.stack.data / "gateway.sqlite3", timeout=30)) as database:
            released, is_over = database.execute("SELECT released, ended_at IS NOT NULL FROM tokens").fetchone()
        return released, bool(is_over)

    def until_clock_is(self, state: str) -> None:
        """Wait until the gateway says so of its clock; a block arrives each time that it is asked."""

        def holds() -> bool:
            self.stack.running_chain.rpc("evm_mine")
            time.sleep(1)
            return self.parts()["clock"] == state

        wait_for(f"a clock that is {state}", holds, seconds=180)

    def doctor(self) -> list[str]:
        """Return what the doctor says on a machine with the gateway's clock, line by line."""
        stack = self.stack
        argv = [gateway_program(), "doctor", "--data", str(stack.data), "--rpc", stack.rpc]
        environment = {**os.environ, "PLATEMARK_GATEWAY_PASSPHRASE": PASSPHRASE}
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as process:

            def ended() -> bool:
                stack.running_chain.rpc("evm_mine")
                time.sleep(1)
                return process.poll() is not None

            wait_for("the doctor", ended, seconds=180)
            assert process.stdout is not None
            return process.stdout.read().splitlines()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    chain = Chain(tmp_path / "chain", tmp_path / "chain.log")  # its clock is the machine's
    offset = tmp_path / "offset"
    offset.write_text("+0s\n")
    for name, value in {
        "LD_PRELOAD": str(faketime_library()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        # Without it libfaketime takes the deadlines that Python's threads wait for as passed: each wait spins.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }.items():
        monkeypatch.setenv(name, value)
    stack = Stack(tmp_path, chain.url, chain=chain)
    try:
        stack.start_gateway()
        designer, centre = stack.person("designer"), stack.person("centre", coins=True)
        licence = licensed_cube(tmp_path, designer, centre)
        token = centre.run("token", "request", licence, "--prints", "4", "--expires", "+1d")
        yield Shop(stack, centre, str(token["tokenId"]), offset)
    finally:
        stack.close()


@pytest.mark.timeout(900)
def test_a_clock_that_jumps_ahead_ends_nothing_for_good_and_one_that_goes_back_reopens_nothing(shop: Shop) -> None:
    shop.make_print()
    shop.set_clock(A_DAY + 3600)
    shop.until_clock_is("ahead")
    shop.until_refused("token-expired")
    told = [line for line in shop.doctor() if "ahead of blocks that arrive" in line]
    assert [line.split()[0] for line in told] == ["FAIL"]
    assert shop.row() == (1, False)

    shop.set_clock(0)
    shop.until_clock_is("ok")
    shop.make_print()
    assert shop.row() == (2, False)

    shop.set_clock(-A_DAY)
    shop.make_print()
    chain = shop.stack.running_chain
    chain.travel_to(chain.timestamp() + A_DAY + 60)
    wait_for("the token's end", lambda: shop.row() == (3, True), seconds=180)
    shop.until_refused("token-expired")
    assert shop.row() == (3, True)
