"""docs/gas.md says what the contracts' tests measured."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/gas.md").read_text(encoding="utf-8")
MEASURED = {
    act: int(gas)
    for act, gas in json.loads((ROOT / "contracts/snapshots/gas.json").read_text(encoding="utf-8")).items()
}
BARS = {
    act: 5_000_000 if bar == "MOST" else int(bar.replace("_", ""))
    for act, bar in re.findall(
        r'_measured\("([^"]+)", (MOST|[\d_]+)\)', (ROOT / "contracts/test/gas/Gas.t.sol").read_text(encoding="utf-8")
    )
}
ROWS = re.findall(r"^\| ([^|]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_every_act_has_a_bar() -> None:
    assert MEASURED.keys() == BARS.keys()


@pytest.mark.parametrize("act, gas, bar", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_is_what_was_measured(act: str, gas: str, bar: str) -> None:
    assert number(gas) == MEASURED[act]
    assert number(bar) == BARS[act]


def test_the_totals_follow_from_the_rows() -> None:
    single, batched = MEASURED["reserve, a later one"], MEASURED["reserveBatch of 100"] / 100
    alone = MEASURED["settle, 1,000 prints of one token"]
    together = MEASURED["settle, 1,000 prints of 100 tokens"] / 100
    naive = MEASURED["naive: one burn for one print"]
    expected = {
        "a token of 1,000 prints, settled alone": ((single + alone) / 1000, (batched + alone) / 1000),
        "tokens of 10 prints, settled 100 at a time": ((single + together) / 10, (batched + together) / 10),
        "tokens of one print, settled 100 at a time": (single + together, batched + together),
    }
    for name, (first, second) in expected.items():
        assert f"| {name} | {round(first):,} | {round(second):,} | {naive:,} |" in PAGE
    assert f"from {int((single + together) // naive) + 1} prints a token" in PAGE
    assert f"from {int((batched + together) // naive) + 1} when" in PAGE
