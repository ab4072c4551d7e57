"""A recall names who is owed what, and says so again at any time."""

import csv
from pathlib import Path

import pytest

from stack import Stack, licensed_cube

pytestmark = [pytest.mark.slow]


def test_a_recall_names_the_print_to_replace_and_the_reserved_ones_that_return(stack: Stack, tmp_path: Path) -> None:
    designer, centre = stack.person("recalling"), stack.person("recalled")
    license_id = licensed_cube(tmp_path, designer, centre)
    token = centre.run("token", "request", license_id, "--prints", "3")["tokenId"]
    serial = centre.make_print(token, "--printer", "ada")["serial"]
    holder = centre.run("keys", "show")["address"]
    design = designer.run("design", "list")["designs"][0]["designId"]
    expected = [{"holder": holder, "replacements": 1, "pending": 0, "returns": 2}]
    before = designer.run("design", "affected", design, "--revision", "1")
    assert before["owed"] == expected
    recalled = designer.run("design", "recall", design, "--revision", "1", "--reason", "the hook breaks")
    assert (recalled["state"], recalled["owed"]) == ("recalled", expected)
    assert [each["licenseId"] for each in recalled["licenses"]] == [license_id]
    table = tmp_path / "affected.csv"
    again = designer.run("design", "affected", design, "--revision", "1", "--csv", str(table))
    assert again == before
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    told = [(row["serial"], row["holder"], row["outcome"], row["owed"], row["prints"]) for row in rows]
    assert told == [("", holder, "", "return", "2"), (serial, holder, "completed", "replacement", "1")]
