"""`platemark audit` with nothing but files: what it prints, and its exit codes."""

import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from platemark.cli import audit
from platemark.cli.main import run
from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.cid import raw_block
from platemark.protocol.digests import sha256
from platemark.protocol.log_entry import Result, leaf_hash
from platemark.protocol.passport import LoggedEntry, Passport
from platemark.protocol.serial import serial_of
from platemark.protocol.units import address_text, digest_text
from sample_chain import LOG, REVISION, SampleLog, anchored, block, ended, redeemed
from sample_documents import DESIGNER, GATEWAY, OUTCOME_ENTRY, PASSPORT, REDEEMED, TOKEN_ID
from sample_evidence import anchoring, evidence, logged, with_design
from stack import Ended, command


@pytest.fixture
def passport(tmp_path: Path) -> Path:
    return written(tmp_path, anchored())


def written(folder: Path, found: Passport) -> Path:
    path = folder / "passport.json"
    path.write_bytes(found.encode())
    return path


def offline(path: Path, *options: str) -> Ended:
    return command("audit", "passport", str(path), "--offline", *options)


def test_passport_that_holds_ends_with_0(passport: Path) -> None:
    ended = offline(passport)
    assert ended.exit_code == 0
    assert "checks hold, none fails, 5 not made" in ended.stdout
    assert "nobody answers for the chain" in ended.stdout
    assert "counts key requests and part passports, not atoms" in ended.stderr


def rejected(folder: Path) -> Path:
    """Return the file of the passport of a print that was rejected."""
    entry = ended(1, Result.REJECTED)
    growth, found = logged(REDEEMED, entry).growth, anchored()
    assert found.anchor is not None
    redeemed = replace(found.redeemed, proof=(leaf_hash(entry),))
    outcome = LoggedEntry(entry.to_bytes(), 1, (leaf_hash(REDEEMED),))
    anchor = replace(found.anchor, root=growth.root)
    return written(folder, replace(found, redeemed=redeemed, outcome=outcome, receipt=None, anchor=anchor))


def test_status_of_a_passport_without_a_chain_is_told(passport: Path, tmp_path: Path) -> None:
    assert "status: holds by itself (outcome: completed)" in offline(passport).stdout
    page = tmp_path / "report.html"
    voided = offline(rejected(tmp_path), "--html", str(page))
    assert voided.exit_code == 0
    assert "status: voided (outcome: rejected)" in voided.stdout
    assert '<p class="result warns">status: voided (outcome: rejected)</p>' in page.read_text("utf-8")
    assert offline(rejected(tmp_path), "--json").value["facts"]["status"] == "voided"


def test_passport_that_does_not_hold_ends_with_3(tmp_path: Path) -> None:
    forged = AccountKey(b"\x01" * 32).sign(sha256(b"something"))
    ended = offline(written(tmp_path, replace(anchored(), permission_signature=forged)), "--json")
    assert ended.exit_code == 3
    assert ended.value["holds"] is False
    (failed,) = [item for item in ended.value["findings"] if item["verdict"] == "fails"]
    assert (failed["step"], failed["code"]) == (7, "not-holder")


def test_a_passport_against_a_block_that_its_storage_proofs_are_not_of_ends_with_3(tmp_path: Path) -> None:
    path = written(tmp_path, replace(anchored(), chain_proof=PASSPORT.chain_proof))
    ended = command("audit", "passport", str(path), "--block", "0x" + "11" * 32)
    assert ended.exit_code == 3
    assert "against another block than the given one" in ended.stdout
    assert offline(path).exit_code == 0  # nobody asked for them
    wrong = command("audit", "passport", str(path), "--block", "0x11")
    assert wrong.exit_code == 2
    assert "[digest-length]" in wrong.stderr


def test_passport_of_another_gateway_than_the_accepted_ends_with_3(passport: Path) -> None:
    assert offline(passport, "--accept-gateway", address_text(GATEWAY.address)).exit_code == 0
    ended = offline(passport, "--accept-gateway", address_text(DESIGNER.address), "--json")
    assert ended.exit_code == 3
    assert "gateway-not-accepted" in ended.stdout


def test_file_that_is_no_passport_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    ended = offline(tmp_path / "x.json", "--json")
    assert ended.exit_code == 1
    assert len(ended.complaints) == 1
    assert offline(tmp_path / "nothing.json").exit_code == 1


def tampered(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return the file of a passport whose JSON was changed."""
    value = json.loads(anchored().encode())
    change(value)
    path = folder / "tampered.json"
    path.write_text(json.dumps(value))
    return path


def digit(value: dict[str, Any], name: str) -> None:
    last = "0" if value[name][-1] != "0" else "1"
    value[name] = value[name][:-1] + last


OTHER_PRINT = base64url(redeemed(2).to_bytes())
TAMPERED: Mapping[str, tuple[Callable[[dict[str, Any]], object], int, str]] = {
    "0 no version": (lambda value: value.pop("version"), 0, "canonical-form"),
    "0 another chain": (lambda value: value.update(chainId=1), 0, "passport"),
    "0 a member that passports do not have": (lambda value: value.update(extra=1), 0, "canonical-form"),
    "2 no manifest": (lambda value: value.pop("manifest"), 2, "canonical-form"),
    "3 another design's id": (lambda value: digit(value, "designId"), 3, "passport"),
    "3 another registrant": (lambda value: digit(value["registration"], "registrant"), 3, "address"),
    "3 another edition": (lambda value: value["registration"].update(edition=9), 3, "passport"),
    "3 another form": (lambda value: value.update(form="public"), 3, "passport"),
    "4 no revision": (lambda value: value.pop("revision"), 4, "canonical-form"),
    "5 another licence's id": (lambda value: digit(value, "licenseId"), 5, "passport"),
    "5 another cap": (lambda value: value["terms"].update(cap=101), 5, "passport"),
    "7 another token's id": (lambda value: digit(value, "tokenId"), 7, "passport"),
    "7 another permission": (lambda value: value["permission"].update(prints=9), 7, "passport"),
    "7 no signature of the holder": (lambda value: value.pop("permissionSignature"), 7, "canonical-form"),
    "8 another sequence": (lambda value: value.update(sequence=2), 8, "passport"),
    "8 another serial": (lambda value: value.update(serial="A" * 16), 8, "passport"),
    "8 another token": (lambda value: digit(value, "tokenDigest"), 8, "passport"),
    "8 another print's entry": (lambda value: value["redeemed"].update(entry=OTHER_PRINT), 8, "passport"),
    "8 an entry that is none": (lambda value: value["redeemed"].update(entry="AAAA"), 8, "log-entry"),
    "8 an outcome that is none": (lambda value: value["outcome"].update(entry=OTHER_PRINT), 8, "passport"),
    "9 half a receipt": (lambda value: value["receipt"].pop("salt"), 9, "canonical-form"),
    "10 no release": (lambda value: value.pop("release"), 10, "canonical-form"),
    "12 an anchor of epoch 0": (lambda value: value["anchor"].update(epoch=0), 12, "integer-range"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_passport_whose_parts_contradict_each_other_ends_with_3_and_its_first_step(tmp_path: Path, name: str) -> None:
    change, step, code = TAMPERED[name]
    ended = offline(tampered(tmp_path, change), "--json")
    assert ended.exit_code == 3
    assert [(item["step"], item["code"]) for item in ended.value["findings"]] == [(step, code)]
    assert ended.value["facts"]["status"] == "unknown"


def test_passport_lacks_no_part_but_those_that_may_come_later(tmp_path: Path) -> None:
    passing = set()
    for name in json.loads(anchored().encode()):
        ended = offline(tampered(tmp_path, operator.methodcaller("pop", name)), "--json")
        assert ended.exit_code in {0, 3}, name
        if ended.exit_code == 0:
            passing.add(name)
    assert passing == {"receipt", "anchor", "responsible", "content", "detail"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "serial": "A"}', "x", "1e5"])
def test_what_is_no_passport_at_all_ends_with_1(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    ended = offline(tmp_path / "x.json", "--json")
    assert (ended.exit_code, len(ended.complaints)) == (1, 1)


def test_passport_of_a_later_version_ends_with_1(tmp_path: Path) -> None:
    ended = offline(tampered(tmp_path, lambda value: value.update(version=2)), "--json")
    assert (ended.exit_code, ended.error_code) == (1, "integer-range")


def test_status_and_outcome_are_told_in_words(tmp_path: Path) -> None:
    ended = offline(tampered(tmp_path, lambda value: value.update(sequence=2)))
    assert "status: unknown (outcome: not known)" in ended.stdout


def test_log_without_the_chain_is_wrong_usage(passport: Path) -> None:
    assert offline(passport, "--tiles", ".").exit_code == 2


def test_page_is_written_whole(passport: Path, tmp_path: Path) -> None:
    assert offline(passport, "--html", str(tmp_path / "report.html")).exit_code == 0
    assert (tmp_path / "report.html").read_text("utf-8").endswith("</html>\n")


@pytest.mark.parametrize(
    "argv",
    [
        ("audit",),
        ("audit", "log"),
        ("audit", "log", "--blocks", "/nowhere", "--tiles", "/nowhere", "--rpc", "http://127.0.0.1:1"),
        ("audit", "file", __file__, "--blocks", ".", "--rpc", "http://127.0.0.1:1"),
        ("audit", "passport"),
    ],
)
def test_wrong_usage_ends_with_2(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) in {0, 2} if argv == ("audit",) else run(argv) == 2
    assert "Traceback" not in capsys.readouterr().err


def with_a_key(tmp_path: Path) -> list[str]:
    """Return options that name a home with a new account key."""
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    options = [f"--home={tmp_path / 'home'}", f"--passphrase-file={secret}"]
    assert command(*options, "keys", "new").exit_code == 0
    return options


def test_a_report_is_signed_and_read_again(tmp_path: Path, passport: Path) -> None:
    options, signed = with_a_key(tmp_path), tmp_path / "report.dsse.json"
    ended = command(*options, "--json", "audit", "passport", str(passport), "--offline", "--sign", str(signed))
    assert ended.exit_code == 0
    auditor = command(*options, "--json", "keys", "show").value["address"]
    shown = command("--json", "audit", "report", str(signed), "--by", auditor)
    assert shown.exit_code == 0
    assert shown.value == {**ended.value, "auditor": auditor, "madeAt": shown.value["madeAt"]}
    assert command("audit", "report", str(signed), "--by", address_text(GATEWAY.address)).exit_code == 3


def test_a_signed_report_of_discrepancies_ends_with_3(tmp_path: Path) -> None:
    forged = AccountKey(b"\x01" * 32).sign(sha256(b"something"))
    path, signed = written(tmp_path, replace(anchored(), permission_signature=forged)), tmp_path / "report"
    argv = ("audit", "passport", str(path), "--offline", "--sign", str(signed))
    assert command(*with_a_key(tmp_path), *argv).exit_code == 3
    shown = command("audit", "report", str(signed))
    assert shown.exit_code == 3
    assert "7 permission" in shown.stdout
    assert "FAIL" in shown.stdout


def test_a_report_is_not_begun_when_nobody_can_sign_it(tmp_path: Path, passport: Path) -> None:
    signed = tmp_path / "report"
    argv = ("audit", "passport", str(passport), "--offline", "--sign", str(signed))
    assert command(f"--home={tmp_path / 'empty'}", *argv).exit_code != 0
    assert not signed.exists()


SERIAL = serial_of(TOKEN_ID, 1)
NO_SERIAL = serial_of(TOKEN_ID, 9)


def signed_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *argv: str, log: SampleLog = LOG
) -> tuple[Ended, Ended]:
    """Return an audit of the sample log in memory that was signed, and what the signed report shows."""
    monkeypatch.setattr(audit, "evidence_of", lambda *_: evidence(anchoring(log), log))
    signed = tmp_path / "report"
    places = ("--tiles", "memory", "--blocks", "memory", "--sign", str(signed))
    ended = command(*with_a_key(tmp_path), "--json", "audit", *argv, *places)
    return ended, command("--json", "audit", "report", str(signed))


@pytest.mark.parametrize("at_hand", [True, False])
def test_audit_of_a_recalled_part_gives_the_reason_in_the_owners_words(
    monkeypatch: pytest.MonkeyPatch, *, at_hand: bool
) -> None:
    reason = raw_block(b"the hook breaks")
    found = evidence(with_design(revisions={1: replace(REVISION, recalled=block(20), recall_reason=reason.cid.digest)}))
    if at_hand:
        found.source.blocks[reason.cid.text] = reason.data
    monkeypatch.setattr(audit, "evidence_of", lambda *_: found)
    ended = command("audit", "part", SERIAL, "--tiles", "memory", "--blocks", "memory")
    assert ended.exit_code == 3
    assert "status: recalled" in ended.stdout
    told = "in the owner's words: “the hook breaks”" if at_hand else digest_text(reason.cid.digest)
    assert told in ended.stdout


def test_files_that_are_no_passports_are_skipped_by_name(
    tmp_path: Path, passport: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package.json").write_text('{"name": "something else"}')
    (tmp_path / "scan.json").write_bytes(b"\x89PNG" + b"[" * 500)
    (tmp_path / "folder.json").mkdir()
    tampered(tmp_path, operator.methodcaller("pop", "terms"))
    grown = logged(REDEEMED, OUTCOME_ENTRY, redeemed(2))
    monkeypatch.setattr(audit, "evidence_of", lambda *_: evidence(anchoring(grown), grown))
    options = ("audit", "related", SERIAL, "--tiles", "memory", "--passports", str(tmp_path))
    ended = command("--json", *options)
    assert ended.exit_code == 0
    assert ended.value["facts"]["skippedFiles"] == ["package.json", "scan.json", "tampered.json"]
    assert [line.split(" is skipped: ")[0] for line in ended.stderr.splitlines()] == [
        "warning: package.json", "warning: scan.json", "warning: tampered.json"
    ]  # fmt: skip
    assert "not compared" not in command(*options).stderr


def test_what_is_not_compared_without_passports_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "evidence_of", lambda *_: evidence())
    ended = command("audit", "related", SERIAL, "--tiles", "memory")
    told = "9 receipt: printers and lots are not compared: needs the part's passport (--passports)"
    assert told in ended.stderr.splitlines()


def test_copy_that_is_older_than_the_newest_anchor_is_told_to_be_perhaps_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, old, page = evidence(), logged(REDEEMED), tmp_path / "report.html"
    found.files.files = old.files | {"checkpoint": old.checkpoint}
    monkeypatch.setattr(audit, "evidence_of", lambda *_: found)
    ended = command(f"--home={tmp_path}", "audit", "log", "--tiles", "memory", "--html", str(page))
    assert ended.exit_code == 3
    told = "this copy has 1 of the 2 entries that the newest anchor covers: if it is an old copy, get a newer one"
    assert f"FAIL  {told} (expected 2 entries or more; found 1)" in ended.stdout
    hint = f"hint: {told}; other failures of steps 12 and 13 may come of that"
    assert hint in ended.stdout.splitlines()
    assert hint in page.read_text("utf-8")


def test_audit_of_parts_is_signed_as_one_report_with_the_findings_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serials").write_text(f"{SERIAL}\n{NO_SERIAL}\n")
    ended, shown = signed_audit(tmp_path, monkeypatch, "parts", str(tmp_path / "serials"))
    assert (ended.exit_code, shown.exit_code) == (3, 3)
    parts = ended.value["parts"]
    named = [each | {"detail": f"{part['subject']}: {each['detail']}"} for part in parts for each in part["findings"]]
    assert shown.value["findings"] == [*ended.value["common"]["findings"], *named]
    assert shown.value["facts"]["parts"] == {part["subject"]: part["facts"] for part in parts}
    assert (shown.value["subject"], shown.value["trusted"]) == ("2 parts", ["this RPC endpoint"])


def test_audit_of_parts_that_hold_is_signed_as_a_report_that_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serials").write_text(f"{SERIAL}\n")
    ended, shown = signed_audit(tmp_path, monkeypatch, "parts", str(tmp_path / "serials"))
    assert (ended.exit_code, shown.exit_code, shown.value["holds"]) == (0, 0, True)


def test_list_of_related_parts_is_signed_with_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = logged(REDEEMED, OUTCOME_ENTRY, redeemed(2))
    ended, shown = signed_audit(tmp_path, monkeypatch, "related", SERIAL, log=grown)
    assert [part["sequence"] for part in ended.value["parts"]] == [2]
    assert (ended.exit_code, shown.exit_code) == (0, 0)
    assert shown.value["findings"] == ended.value["findings"]
    assert shown.value["facts"] == ended.value["facts"] | {"parts": ended.value["parts"]}


@pytest.mark.parametrize("argv", [("parts", "serials"), ("related", SERIAL)])
def test_audit_of_several_parts_is_not_begun_when_nobody_can_sign_it(tmp_path: Path, argv: tuple[str, str]) -> None:
    (tmp_path / "serials").write_text(f"{SERIAL}\n")
    signed = tmp_path / "report"
    name, what = argv
    given = str(tmp_path / what) if name == "parts" else what
    places = ("--tiles", "memory", "--blocks", str(tmp_path), "--sign", str(signed))
    ended = command(f"--home={tmp_path / 'empty'}", "audit", name, given, *places)
    assert (ended.exit_code != 0, signed.exists()) == (True, False)
    assert "key" in ended.stderr
