"""A recall names who is owed what, and says so again at any time."""

import csv
import json
from pathlib import Path

import pytest

from platemark.cli.exit_codes import ExitCode
from platemark.protocol import canonical
from stack import Stack, dead_url, licensed_cube, wait_for

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

    def says_why() -> bool:
        refused = centre.attempt("print", token, "--slicer", "basic", "--printer", "ada")
        assert refused.error_code == "revision-recalled"
        return "the reason in its owner's words: “the hook breaks”" in refused.stderr

    wait_for("the recall on chain", says_why)


def test_what_forbids_needs_no_chain_endpoint_with_a_gateway_that_was_met_before(stack: Stack, tmp_path: Path) -> None:
    designer, centre = stack.person("forbidding"), stack.person("stopping")
    license_id = licensed_cube(tmp_path, designer, centre)
    token = centre.run("token", "request", license_id, "--prints", "3")["tokenId"]
    design = designer.run("design", "list")["designs"][0]["designId"]
    away = dead_url()
    closing = centre.attempt("token", "close", token, rpc=away)
    assert (closing.exit_code, closing.error_code) == (ExitCode.TRY_LATER, "rpc-unreachable")
    assert "the gateway is checked against it" in closing.stderr
    stopping = centre.attempt("token", "stop", token, rpc=away)
    assert stopping.value == {"tokenId": token, "stopped": True}
    assert "was not looked up" in stopping.stderr
    assert centre.attempt("print", token, "--slicer", "basic", "--printer", "ada").error_code == "token-stopped"
    recalling = designer.attempt("design", "recall", design, "--revision", "1", "--reason", "it breaks", rpc=away)
    assert recalling.value["state"] == "recalled"
    assert "was not looked up" in recalling.stderr


def test_a_gateway_that_is_not_what_was_pinned_is_told_nothing_while_the_chain_endpoint_is_away(
    stack: Stack, tmp_path: Path
) -> None:
    designer, centre = stack.person("wary"), stack.person("wary-too")
    license_id = licensed_cube(tmp_path, designer, centre)
    token = centre.run("token", "request", license_id, "--prints", "3")["tokenId"]
    away = dead_url()
    (pin,) = (centre.home / "gateways").iterdir()
    pinned = json.loads(pin.read_text())
    pin.write_bytes(canonical.encode({**pinned, "profile": {**pinned["profile"], "mergeDelaySeconds": 7}}))
    changed = centre.attempt("token", "stop", token, rpc=away)
    assert (changed.exit_code, changed.error_code) == (ExitCode.VERIFICATION, "gateway-changed")
    pin.unlink()
    unknown = centre.attempt("token", "stop", token, rpc=away)
    assert (unknown.exit_code, unknown.error_code) == (ExitCode.TRY_LATER, "rpc-unreachable")
    assert not pin.exists()
