"""Altered evidence is found, and the step that it belongs to fails; planted lies bear the gateway's own signature."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from life import Life
from platemark.cli.demo.lies import LIES, Lie, plant
from platemark.protocol.checkpoint import NoteSigner
from platemark.protocol.typed_data import ledger_domain
from platemark.protocol.units import parse_address
from stack import Ended, command, dead_url


def audited(life: Life, *, blocks: Path | None = None, log: Path | None = None, rpc: str | None = None) -> Ended:
    folders = ("--blocks", str(blocks or life.blocks), "--tiles", str(log or life.log))
    return command("audit", "log", *folders, "--rpc", rpc or life.rpc, "--json")


def failures(ended: Ended) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in ended.value["findings"]:
        if finding["verdict"] == "fails":
            found.setdefault(finding["name"], set()).add(finding["code"])
    return found


EXPECTED = {
    "hidden": {"anchor": {"checkpoint-behind", "anchor-root"}},
    "voided": {"voucher": {"signature-invalid"}, "counts": {"spares-exceeded"}, "anchor": {"anchor-root"}},
    "invented": {"voucher": {"signature-invalid"}},
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_lie_under_the_gateways_own_signature_is_named(life: Life, tmp_path: Path, lie: Lie) -> None:
    signer = NoteSigner.parse(life.log_key)
    chain_id, ledger = signer.key.name.split("/")[:2]
    copy = tmp_path / "log"
    plant(lie, life.log, copy, signer, ledger_domain(int(chain_id), parse_address(ledger)))
    ended = audited(life, log=copy)
    assert ended.exit_code == 3
    found = failures(ended)
    for step, codes in EXPECTED[lie.name].items():
        assert codes <= found[step], found


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def newest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: int(path.name))


ALTERED: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "a hash tile": (lambda log: flip(newest(log / "tile" / "0")), {"inclusion"}),
    "a bundle of entries": (lambda log: flip(newest(log / "tile" / "entries")), {"inclusion"}),
    "a tile that is gone": (lambda log: newest(log / "tile" / "entries").unlink(), {"inclusion"}),
    "the checkpoint's signature": (lambda log: flip(log / "checkpoint"), {"anchor"}),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_log_fails_in_its_step(life: Life, tmp_path: Path, name: str) -> None:
    alter, steps = ALTERED[name]
    copy = tmp_path / "log"
    shutil.copytree(life.log, copy)
    alter(copy)
    ended = audited(life, log=copy)
    assert ended.exit_code == 3, ended.stdout
    assert steps <= failures(ended).keys(), failures(ended)


def test_withheld_or_altered_blocks_are_named(life: Life, tmp_path: Path) -> None:
    copy = tmp_path / "blocks"
    shutil.copytree(life.blocks, copy)
    for path in copy.rglob("bafkrei*"):
        flip(path)
    found = failures(audited(life, blocks=copy))
    assert found["manifest"] == {"block-mismatch"}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert failures(audited(life, blocks=empty))["release"] == {"profile-withheld"}


def test_log_that_is_not_there_and_a_chain_that_is_dead_are_said_in_a_line(life: Life, tmp_path: Path) -> None:
    ended = audited(life, log=tmp_path)
    assert (ended.exit_code, ended.error_code) == (3, "checkpoint-missing")
    ended = audited(life, rpc=dead_url())
    assert (ended.exit_code, ended.error_code) == (75, "rpc-unreachable")
    assert len(ended.complaints) == 1


@pytest.mark.parametrize("note", [b"", b"\xff\xfe", b"a/b/c/d\n1\nAAAA\n\nno signature\n"])
def test_checkpoint_that_is_none_fails_the_audit(life: Life, tmp_path: Path, note: bytes) -> None:
    (tmp_path / "checkpoint").write_bytes(note)
    ended = audited(life, log=tmp_path)
    assert ended.exit_code == 3, ended.stdout
    assert len(ended.complaints) == 1


def test_two_endpoints_that_disagree_are_named(life: Life, tmp_path: Path) -> None:
    other = life.stack.running_chain.copy(tmp_path / "chain")
    try:
        folders = ("--blocks", str(life.blocks), "--tiles", str(life.log))
        agreeing = command("audit", "log", *folders, "--rpc", life.rpc, "--also-rpc", other.url, "--json")
        assert agreeing.exit_code == 0, agreeing.stdout
        other.rpc("evm_increaseTime", 60)
        other.rpc("evm_mine")
        ended = command("audit", "log", *folders, "--rpc", other.url, "--also-rpc", life.rpc, "--json")
    finally:
        other.stop()
    assert (ended.exit_code, ended.error_code) == (1, "block-unknown"), ended.stdout
