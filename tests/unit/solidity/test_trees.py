"""The branching specifications beside the contracts' tests name tests that exist."""

import re
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).parents[3] / "contracts"
TREES = sorted(CONTRACTS.glob("test/unit/*.tree"))
LEAF = re.compile(r"^[│ ]+[├└]── .+  · (test\w+)$")
BRANCH = re.compile(r"^[├└]── when .+$")


def written_tests() -> set[str]:
    found: set[str] = set()
    for path in CONTRACTS.glob("test/unit/*.t.sol"):
        found.update(re.findall(r"function (test\w+)", path.read_text(encoding="utf-8")))
    return found


def test_there_are_trees() -> None:
    assert {path.stem.partition(".")[2] for path in TREES} >= {
        "offer", "purchase", "returnPrints", "setGateway", "reserve", "settle", "close", "reclaim",
    }  # fmt: skip


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.stem)
def test_each_leaf_is_a_test(path: Path) -> None:
    _, *lines = path.read_text(encoding="utf-8").splitlines()
    leaves = [match[1] for line in lines if (match := LEAF.match(line))]
    assert leaves
    assert len(leaves) + sum(BRANCH.match(line) is not None for line in lines) == len(lines)
    assert set(leaves) - written_tests() == set()
