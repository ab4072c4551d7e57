"""Every audit holds when nothing runs but the chain, and two folders are left."""

import json
import os
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evidence_copy import Kept, checked_steps, failures
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
    folder = tmp_path / "export"
    argv = [gateway_program(), "log", "export", str(folder), "--data", str(life.folder / "saved")]
    done = subprocess.run(argv, env=os.environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


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


def test_two_endpoints_that_agree_are_trusted_together(life: Life) -> None:
    with lying_rpc(life.rpc) as second:
        ended = Kept.of(life).audit_log("--also-rpc", second)
    holds(ended, 0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)
    assert ended.value["trusted"] == ["2 chain endpoints that agree"]


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
