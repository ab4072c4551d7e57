"""What a command writes is checked before anything is spent, and never costs an outcome."""

import json
import signal
from pathlib import Path

import pytest

from platemark.agent.printers.simulated import SimulatedPrinter
from platemark.protocol.passport import Passport
from stack import Person, Stack, command, cube_stl, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stack")]


@pytest.fixture(scope="module")
def centre(shared_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A centre that designs for itself."""
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "cube.stl").write_bytes(cube_stl())
    with shared_stack.asleep_afterwards():
        person = shared_stack.person("outputs")
        person.run("design", "register", str(folder / "cube.stl"), "--title", "A cube", "--no-previews")
    return person


@pytest.fixture
def token(centre: Person) -> str:
    """A token with two prints and a spare, from a licence that lets G-code be kept."""
    design = centre.run("design", "list")["designs"][0]["designId"]
    offer = centre.run(
        "license", "offer", design, "--cap", "2", "--protection", "file", "--smallest", "2", "--spares-flat", "1"
    )
    assert offer["smallestSpares"] == 1
    address = centre.run("keys", "show")["address"]
    centre.run("license", "mint", offer["licenseId"][:10], "--to", address, "--prints", "2")
    return str(centre.run("token", "request", offer["licenseId"][:18], "--prints", "2")["tokenId"])


def released(centre: Person, token: str) -> int:
    return int(centre.run("token", "show", token)["released"])


def test_a_place_that_cannot_be_written_costs_no_print(centre: Person, token: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for option, place, code in (
        ("-o", tmp_path / "none" / "r.json", "file-missing"),
        ("-o", tmp_path, "file-kind"),
        ("-o", tmp_path / "file", "file-exists"),
        ("--keep-gcode", tmp_path / "file", "file-kind"),
        ("--keep-gcode", Path("/proc/x"), "file-missing"),
    ):
        ended = centre.attempt("print", token, "--printer", "ada", "--slicer", "basic", option, str(place))
        assert (ended.exit_code, ended.error_code) == (1, code), (option, place)
    assert (tmp_path / "file").read_text() == "kept"
    assert released(centre, token) == 0


def test_a_receipt_that_cannot_be_written_after_all_changes_no_outcome(
    centre: Person, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    printed = SimulatedPrinter.print

    def losing(self: SimulatedPrinter, *arguments: object, **named: object) -> object:
        folder.rmdir()
        return printed(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(SimulatedPrinter, "print", losing)
    ended = centre.attempt("print", token, "--printer", "ada", "--slicer", "basic", "-o", str(folder / "r.json"))
    assert ended.exit_code == 1
    assert (ended.value["result"], ended.value["attempts"]) == ("completed", 1)
    assert ended.value["receiptError"]["code"] == "file-missing"
    assert "is kept in" in ended.stderr
    assert released(centre, token) == 1


def test_a_print_that_failed_for_good_ends_with_1_and_its_data(centre: Person, token: str) -> None:
    ended = centre.attempt(
        "print", token, "--printer", "ada", "--slicer", "basic", "--fail-at", "0.4", "--attempts", "1"
    )
    assert ended.exit_code == 1
    assert (ended.value["result"], ended.value["spareUsed"]) == ("failed", True)
    assert ended.complaints == ["platemark: the print failed for good [print-failed]"]


def test_a_label_of_a_part_that_failed_comes_with_a_warning(centre: Person, token: str, tmp_path: Path) -> None:
    failed = centre.attempt(
        "print", token, "--printer", "ada", "--slicer", "basic", "--fail-at", "0.4", "--attempts", "1"
    )
    serial, passport = failed.value["serial"], tmp_path / "passport.json"
    ended = centre.attempt("passport", serial, "-o", str(passport), "--label", str(tmp_path / "label.pdf"))
    assert (ended.exit_code, ended.value["outcome"]) == (0, "failed")
    warnings = [line for line in ended.stderr.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        "warning: this print is no good part: failed; its passport and code say so",
        "warning: the label does not say so: put it on no part that goes out",
    ]
    again = centre.attempt("passport", serial, "--from", str(passport), "-o", str(tmp_path / "again.json"))
    assert [line for line in again.stderr.splitlines() if line.startswith("warning: ")] == warnings[:1]
    good = str(centre.make_print(token, "--printer", "ada")["serial"])
    assert "warning" not in centre.attempt("passport", good, "--label", str(tmp_path / "good.pdf")).stderr


def test_ctrl_c_stops_the_printer_and_its_count_is_kept(
    centre: Person, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = SimulatedPrinter._wait
    pressed: list[float] = []

    def pressing(self: SimulatedPrinter, seconds: float, before: float) -> float:
        if not pressed and seconds > 0:
            pressed.append(seconds)
            signal.raise_signal(signal.SIGINT)
        return waited(self, seconds, before)

    monkeypatch.setattr(SimulatedPrinter, "_wait", pressing)
    ended = centre.attempt("print", token, "--printer", "ada", "--slicer", "basic")
    assert ended.exit_code == 130
    assert ended.stderr.splitlines()[-2:] == [
        "platemark: interrupted",
        "hint: run the same command again: it goes on with the print that was asked for, and counts no other",
    ]
    receipt = tmp_path / "r.json"
    made = centre.make_print(token, "--printer", "ada", "--attempts", "1", "-o", str(receipt))
    assert (made["sequence"], made["attempts"]) == (1, 2)
    assert {made["quantities"][name]["source"] for name in ("materialInPart", "materialFailed", "duration")} == {
        "printer"
    }
    assert json.loads(receipt.read_text())
    assert released(centre, token) == 1


def test_a_passport_replaces_no_other_file(centre: Person, token: str, tmp_path: Path) -> None:
    serial = str(centre.make_print(token, "--printer", "ada")["serial"])
    taken = tmp_path / "passport.json"
    taken.write_text("something else")
    ended = centre.attempt("passport", serial, "-o", str(taken), "--qr", str(tmp_path / "qr.svg"))
    assert (ended.exit_code, ended.error_code) == (1, "file-exists")
    assert (taken.read_text(), (tmp_path / "qr.svg").exists()) == ("something else", False)
    ended = centre.attempt("passport", serial, "--label", str(tmp_path / "none" / "label.pdf"))
    assert (ended.exit_code, ended.error_code) == (1, "file-missing")


def test_a_passport_takes_storage_proofs_along_which_hold_with_the_network_off(
    centre: Person, token: str, tmp_path: Path
) -> None:
    serial = str(centre.make_print(token, "--printer", "ada")["serial"])
    wait_for("the anchor", lambda: not centre.run("passport", serial)["provisional"])
    file = tmp_path / "passport.json"
    made = centre.run("passport", serial, "--proofs", "-o", str(file))
    assert Passport.parse(file.read_bytes()).chain_proof is not None
    ended = command("audit", "passport", str(file), "--block", made["blockHash"], "--json")
    assert ended.exit_code == 0, ended.stdout
    found = {each["detail"] for each in ended.value["findings"] if each["verdict"] == "holds"}
    assert found >= {"the storage proofs follow from the given block", "the prints were reserved for this agent"}
    ended = command("audit", "passport", str(file), "--block", "0x" + "ab" * 32, "--json")
    assert (ended.exit_code, [each["code"] for each in ended.value["findings"] if each["verdict"] == "fails"]) == (
        3,
        ["chain-proof"],
    )


def test_kept_gcode_replaces_no_other(centre: Person, token: str, tmp_path: Path) -> None:
    folder = tmp_path / "gcode"
    folder.mkdir()
    other = folder / "print-1-run-1-cube.stl.gcode"
    other.write_text("of another token")
    centre.make_print(token, "--printer", "ada", "--keep-gcode", str(folder))
    assert other.read_text() == "of another token"
    assert sorted(path.name for path in folder.iterdir()) == [
        "print-1-run-1-cube.stl.2.gcode",
        "print-1-run-1-cube.stl.gcode",
    ]
