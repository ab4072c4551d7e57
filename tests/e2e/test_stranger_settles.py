"""With the gateway gone, a stranger settles from the log's tiles: from three days after expiry, once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from life import Life
from platemark.cli.values import moment_text
from stack import PASSPHRASE, Chain, Ended, Person, command

THREE_DAYS = 3 * 86_400


@pytest.fixture
def chain(life: Life, tmp_path: Path) -> Iterator[Chain]:
    """A copy of the chain, whose time a test may move."""
    found = life.stack.running_chain.copy(tmp_path / "chain")
    yield found
    found.stop()


@pytest.fixture
def stranger(life: Life, tmp_path: Path, chain: Chain) -> Person:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    found = Person(tmp_path / "home", passphrase, chain.url, None)
    chain.fund(found.run("keys", "new")["address"])
    return found


def settle(life: Life, stranger: Person, *options: str) -> Ended:
    return stranger.attempt("audit", "settle", "--tiles", str(life.log), *options)


def counted(life: Life, stranger: Person) -> Any:
    folders = ("--blocks", str(life.blocks), "--tiles", str(life.log))
    return stranger.run("audit", "log", *folders)["facts"]


def test_settlement_is_completed_by_a_stranger(life: Life, chain: Chain, stranger: Person) -> None:
    opens_at = life.unsettled.expires_at + THREE_DAYS
    before = settle(life, stranger)
    assert before.exit_code == 0, before.stderr
    assert before.value["toSettle"] == 0
    assert before.value["tooEarly"] == {life.unsettled.token_id: opens_at}
    assert before.value["settled"] == counted(life, stranger)["settled"] == 3
    told = command(
        *(f"--home={stranger.home}", f"--rpc={chain.url}", "audit", "settle", "--tiles", str(life.log), "--dry-run")
    )
    assert "counted on chain  3 prints of this gateway\n" in told.stdout
    assert f"can be settled by anybody from {moment_text(opens_at)} on\n" in told.stdout

    chain.travel_to(opens_at + 1)
    planned = settle(life, stranger, "--dry-run")
    assert (planned.value["toSettle"], planned.value["transactions"]) == (1, [])
    assert counted(life, stranger)["settled"] == 3

    done = settle(life, stranger)
    assert done.exit_code == 0, done.stderr
    assert len(done.value["transactions"]) == 1
    after = counted(life, stranger)
    assert (after["settled"], after["unsettled"]) == (6, 0)

    again = settle(life, stranger)
    assert (again.value["toSettle"], again.value["transactions"]) == (0, [])
    assert counted(life, stranger)["settled"] == 6
