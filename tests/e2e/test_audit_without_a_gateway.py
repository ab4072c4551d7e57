"""Every audit holds when nothing runs but the chain, and two folders are left."""

import base64
import csv
import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evidence_copy import Kept, checked_steps, failures, flip
from kubo_process import running_kubo
from life import Life
from lying_rpc import lying_rpc
from platemark.cli.demo.processes import gateway_program
from stack import Ended, command


def holds(ended: Ended, *steps: int) -> None:
    assert ended.exit_code == 0, json.dumps(ended.value, indent=1)
    assert failures(ended) == []
    assert checked_steps(ended) == set(steps)


def test_nothing_of_the_gateway_is_left_but_two_folders(life: Life) -> None:
    assert life.stack.gateway is None
    assert not life.stack.data.exists()


def test_the_log_holds_and_its_counts_are_told(life: Life) -> None:
    ended = Kept.of(life).audit_log()
    holds(ended, 0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
    facts = ended.value["facts"]
    assert (facts["released"], facts["voided"], facts["settled"], facts["unsettled"]) == (7, 2, 3, 2)
    assert ended.value["trusted"] == ["this RPC endpoint"]


@pytest.fixture
def exported(life: Life, tmp_path: Path) -> Path:
    """What a gateway that does not run exports from its data folder."""
    export(tmp_path / "export", life)
    return tmp_path / "export"


def export(folder: Path, life: Life, *options: str) -> "subprocess.CompletedProcess[str]":
    argv = [gateway_program(), "log", "export", str(folder), "--data", str(life.folder / "saved"), *options]
    done = subprocess.run(argv, env=os.environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done


def test_an_exported_log_holds_as_a_folder_and_on_a_static_host(life: Life, exported: Path) -> None:
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(exported))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            for place in (str(exported), f"http://127.0.0.1:{server.server_address[1]}"):
                ended = command("audit", "log", "--tiles", place, "--rpc", life.rpc, "--json")
                holds(ended, 0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
                assert ended.value["facts"] == Kept.of(life).audit_log().value["facts"]
            part = command("audit", "part", life.settled.serial(0), "--tiles", place, "--rpc", life.rpc, "--json")
            holds(part, 0, 4, 7, 8, 10, 11, 12, 13)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.kubo
def test_a_log_on_ipfs_is_audited_from_there_alone(life: Life, tmp_path: Path) -> None:
    car = tmp_path / "log.car"
    told = export(tmp_path / "export", life, "--car", str(car)).stdout
    root = told.strip().rpartition("/ipfs/")[2]
    with running_kubo(tmp_path / "kubo") as kubo:
        kubo.add_car(car)
        where = ("--tiles", f"ipfs://{root}", "--rpc", life.rpc, "--json")
        ended = command("audit", "log", *where, "--blocks", kubo.gateway)
        holds(ended, 0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
        assert ended.value["facts"] == Kept.of(life).audit_log().value["facts"]
        part = command("audit", "part", life.settled.serial(0), *where, "--blocks", kubo.gateway)
        holds(part, 0, 4, 7, 8, 10, 11, 12, 13)
    refused = command("audit", "log", *where)
    assert (refused.exit_code, refused.error_code) == (2, "usage")


def test_two_endpoints_that_agree_are_trusted_together(life: Life) -> None:
    with lying_rpc(life.rpc) as second:
        ended = Kept.of(life).audit_log("--also-rpc", second)
    holds(ended, 0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
    assert ended.value["trusted"] == ["2 chain endpoints that agree on the chain's facts"]


def test_each_part_holds_and_has_its_status(life: Life) -> None:
    statuses = []
    for item in life.settled.prints:
        ended = Kept.of(life).audit_part(item["serial"])
        holds(ended, 0, 4, 7, 8, 10, 11, 12, 13)
        statuses.append((ended.value["facts"]["outcome"], ended.value["facts"]["status"]))
    made, voided = ("completed", "valid"), ("failed", "voided")
    assert statuses == [made, voided, made, made]


def test_part_is_told_with_its_holder_and_design(life: Life) -> None:
    facts = Kept.of(life).audit_part(life.unsettled.serial(0)).value["facts"]
    assert facts["holder"] == life.holder_address
    assert facts["designId"] == life.design_id
    assert facts["tokenId"] == life.unsettled.token_id
    assert facts["madeAfterBlock"] < facts["anchoredInBlock"]


def test_unknown_serial_is_a_failed_inclusion(life: Life) -> None:
    ended = Kept.of(life).audit_part("AAAA-AAAA-AAAA-AAAA")
    assert ended.exit_code == 3
    assert failures(ended) == [(11, "serial-unknown")]


def test_an_archive_is_audited_as_the_log_that_it_was_made_of(life: Life, tmp_path: Path) -> None:
    kept, folder = Kept.of(life), tmp_path / "archive"
    ended = kept.audit_archive(folder)
    holds(ended, 0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
    assert json.loads((folder / "report.json").read_text()) == ended.value
    alone = Kept(life, folder / "blocks", folder / "log", kept.rpc)
    assert alone.audit_log().value["facts"] == ended.value["facts"]
    assert alone.audit_part(life.settled.serial(0)).exit_code == 0
    for damaged in (*(folder / "log").rglob("000*"), *(folder / "blocks").glob("*/*")):
        if damaged.is_file():
            flip(damaged)
    assert alone.audit_log().exit_code == 3
    assert kept.audit_archive(folder).exit_code == 0
    assert alone.audit_log().value["facts"] == ended.value["facts"]


def test_a_list_of_serials_is_audited_as_each_of_them_is(life: Life, tmp_path: Path) -> None:
    kept, serials = Kept.of(life), [item["serial"] for item in (*life.settled.prints, *life.unsettled.prints)]
    listed, table = tmp_path / "serials.txt", tmp_path / "parts.csv"
    listed.write_text("\n".join([serials[0].lower(), "", *serials]))
    ended = kept.audit_parts(listed, "--csv", str(table))
    assert ended.exit_code == 0, ended.stdout
    assert [part["facts"]["serial"] for part in ended.value["parts"]] == serials
    for part in ended.value["parts"]:
        alone = kept.audit_part(part["facts"]["serial"]).value
        assert {name: part["facts"][name] for name in part["facts"]} == {
            name: alone["facts"][name] for name in part["facts"]
        }
        assert [each for each in alone["findings"] if each["step"] in {4, 7, 8, 13}] == [
            each for each in part["findings"] if each["step"] in {4, 7, 8, 13}
        ]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["serial"], row["status"]) for row in rows] == [
        (part["facts"]["serial"], part["facts"]["status"]) for part in ended.value["parts"]
    ]
    listed.write_text(f"{serials[0]}\nAAAAAAAAAAAAAAAA\n")
    ended = kept.audit_parts(listed)
    assert (ended.exit_code, [part["holds"] for part in ended.value["parts"]]) == (3, [True, False])


def printers(path: Path) -> set[str]:
    receipt = json.loads(path.read_bytes())["receipt"]
    statement = json.loads(base64.b64decode(receipt["envelope"]["payload"] + "=="))
    return {attempt["printer"]["name"] for attempt in statement["predicate"]["attempts"]}


def test_parts_that_have_something_in_common_are_listed(life: Life, tmp_path: Path) -> None:
    serial, *others = (item["serial"] for item in life.settled.prints)
    elsewhere = {item["serial"] for item in life.unsettled.prints}
    folder, table = tmp_path / "passports", tmp_path / "related.csv"
    folder.mkdir()
    for path in life.passports.values():
        shutil.copy(path, folder)
    ended = Kept.of(life).audit_related(serial, "--passports", str(folder), "--csv", str(table))
    assert ended.exit_code == 0, ended.stdout
    relations = {part["serial"]: set(part["relations"]) for part in ended.value["parts"]}
    assert relations.keys() == {*others, *elsewhere}
    for other in others:
        assert relations[other] >= {"reservation", "holder", "revision"}
    for other in elsewhere:
        assert relations[other] >= {"holder", "revision"}
        assert "reservation" not in relations[other]
    made_on = {each: printers(path) for each, path in life.passports.items()}
    expected = {each for each in relations if made_on[each] & made_on[serial]}
    assert {each for each in relations if "printer" in relations[each]} == expected
    assert set() < expected < relations.keys()
    assert table.read_text().startswith("serial,relations,result,tokenId,sequence")
    ended = Kept.of(life).audit_related(serial)
    without = {each for part in ended.value["parts"] for each in part["relations"]}
    assert without == {"reservation", "holder", "revision"}
    assert Kept.of(life).audit_related("AAAA-AAAA-AAAA-AAAA").exit_code == 3


def test_each_passport_holds_against_the_chain(life: Life) -> None:
    for serial, path in life.passports.items():
        ended = Kept.of(life).audit_passport(path)
        holds(ended, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
        assert ended.value["facts"]["serial"] == serial


def test_passport_holds_offline_and_says_what_it_cannot_know(life: Life) -> None:
    path = life.passports[life.settled.serial(0)]
    ended = command("audit", "passport", str(path), "--offline", "--json")
    holds(ended, 2, 5, 7, 8, 9, 10, 11)
    skipped = [item["detail"] for item in ended.value["findings"] if item["verdict"] == "not checked"]
    assert "chain facts not verified" in skipped


def test_the_file_is_found_with_its_registrant(life: Life) -> None:
    ended = Kept.of(life).audit_file(life.design_file)
    holds(ended, 0, 1, 2, 3, 4)
    assert [claim["designId"] for claim in ended.value["facts"]["claims"]] == [life.design_id]


def test_a_designs_months_are_told_from_the_log_and_drawn(life: Life, tmp_path: Path) -> None:
    kept, table, drawn = Kept.of(life), tmp_path / "months.csv", tmp_path / "design.html"
    ended = kept.audit_design("--tiles", str(kept.log), "--csv", str(table), "--html", str(drawn))
    assert ended.exit_code == 0, ended.stdout
    shares = ended.value["facts"]["months"]
    assert {share["holder"] for share in shares} == {life.holder_address}
    sums = {what: sum(share[what] for share in shares) for what in ("reserved", "printed", "voided", "unused")}
    made = len(life.settled.prints) + len(life.unsettled.prints)
    assert sums == {"reserved": 6, "printed": made, "voided": 2, "unused": 0}
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{name: str(value) for name, value in share.items()} for share in shares] == rows
    assert drawn.read_text().count("<rect ") == 4 * len({share["month"] for share in shares})


def test_the_design_is_told_with_its_counts(life: Life) -> None:
    ended = Kept.of(life).audit_design()
    holds(ended, 0, 2, 3, 4, 6)
    (offered,) = ended.value["facts"]["licenses"]
    assert {name: offered[name] for name in ("cap", "minted", "sold", "reserved", "settled")} == {
        "cap": 20,
        "minted": 0,
        "sold": 9,
        "reserved": 6,
        "settled": 3,
    }
    assert offered["earned"] == str(9 * 10**15)


def test_only_accepted_gateways_count(life: Life) -> None:
    kept = Kept.of(life)
    gateway, stranger = life.stack.ready["gateway"], life.holder_address
    assert kept.audit_log("--accept-gateway", gateway).exit_code == 0
    for ended in (
        kept.audit_log("--accept-gateway", stranger),
        kept.audit_part(life.settled.serial(0), "--accept-gateway", stranger),
        kept.audit_passport(life.passports[life.settled.serial(0)], "--accept-gateway", stranger),
        kept.audit_passport(life.passports[life.settled.serial(0)], "--accept-gateway", stranger, "--offline"),
    ):
        assert ended.exit_code == 3
        assert failures(ended) == [(10, "gateway-not-accepted")]


def test_page_of_the_report_escapes_what_strangers_wrote(life: Life, tmp_path_factory: object) -> None:
    page = life.folder / "report.html"
    Kept.of(life).audit_log("--html", str(page))
    text = page.read_text("utf-8")
    assert "Cube &lt;b&gt;10&lt;/b&gt;" in text
    assert "<b>" not in text
