"""The demonstration: checked before it makes anything, alone in its folder, and repeatable from what it leaves."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from platemark.agent.slicers.basic import BasicSlicer
from platemark.cli.demo.processes import Server, gateway_program
from platemark.protocol.license_terms import Protection
from stack import Ended, command


def _demo(*options: str) -> Ended:
    return command("demo", "--json", *options)


@pytest.mark.parametrize(
    "options,exit_code,code",
    [
        (("--protection", "foo"), 2, "usage"),
        (("--slicer", "foo"), 2, "slicer-unknown"),
        (("--picture", "picture.png"), 2, "picture-format"),
        (("--picture", "none/picture.svg"), 1, "file-missing"),
        (("--design", "none.stl"), 1, "file-missing"),
    ],
)
def test_what_cannot_be_is_found_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], exit_code: int, code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = _demo(*options)
    assert (ended.exit_code, ended.error_code) == (exit_code, code)
    assert list(tmp_path.iterdir()) == []


def test_a_slicer_that_cannot_keep_the_protection_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BasicSlicer, "keeps", frozenset({Protection.FILE}))
    ended = _demo("--out", str(tmp_path / "out"), "--slicer", "basic", "--protection", "stream")
    assert (ended.exit_code, ended.error_code) == (4, "protection-not-kept")
    assert not (tmp_path / "out").exists()


def test_a_file_and_a_folder_of_somebody_else_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "thing").write_text("mine")
    for place in (tmp_path, tmp_path / "thing"):
        ended = _demo("--out", str(place), "--slicer", "basic")
        assert (ended.exit_code, ended.error_code) == (2, "folder-not-empty")
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_a_folder_in_which_one_runs_is_not_touched_by_another(tmp_path: Path) -> None:
    (tmp_path / "platemark-demo.json").write_text("{}")
    (tmp_path / "gateway").mkdir()
    holder = (
        "import fcntl, os, sys; lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT);"
        "fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        ended = _demo("--out", str(tmp_path), "--slicer", "basic")
        assert other.stdin is not None
        other.stdin.close()
    assert (ended.exit_code, ended.error_code) == (75, "demo-running")
    assert f"another demonstration runs in {tmp_path}" in ended.stderr
    assert (tmp_path / "gateway").is_dir(), "nothing was deleted"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Mapping[str, Any]]:
    """A demonstration's folder, what it showed, and what it found."""
    out = tmp_path_factory.mktemp("demo") / "out"
    ended = subprocess.run(
        [sys.executable, "-m", "platemark.cli", "demo", "--out", str(out), "--slicer", "basic"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PLATEMARK_")},
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    return out, ended.stdout, json.loads((out / "platemark-demo.json").read_text())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_that_remains_is_listed(told: tuple[Path, str, Mapping[str, Any]]) -> None:
    out, shown, found = told
    assert shown.count("--home homes/NAME, --gateway and --rpc are left out") == 1
    listed = {f"{name}/" for name in found["folders"]} | {name for name in found["files"] if "/" not in name}
    there = {path.name + ("/" if path.is_dir() else "") for path in out.iterdir()}
    assert there == listed | {"platemark-demo.json", ".lock"}
    for name in listed:
        assert f"   {name} " in shown, name
    for argv in found["again"]:
        assert f"   $ {shlex.join(argv)}\n" in shown
    assert [made["result"] for made in found["prints"]].count("failed") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_audit_is_repeated_by_the_commands_that_are_shown(
    told: tuple[Path, str, Mapping[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _, found = told
    monkeypatch.chdir(out)
    chain, *audits = found["again"]
    assert chain[0] == "platemark-gateway"
    server = Server("chain", [gateway_program(), *chain[1:]], log=tmp_path / "chain.log", environment=os.environ)
    try:
        server.ready(120)
        ends = [command(*argv[1:], "--home", str(tmp_path / "home")).exit_code for argv in audits]
        beginning = found["designId"][:14]
        shared = [*audits[0][3:], "--home", str(tmp_path / "home"), "--json"]
        design = command("audit", "design", beginning, *shared)
        unknown = command("audit", "design", "0x0000000000", *shared)
    finally:
        server.stop()
    assert ends == [0, 0, 3], "the log and the part hold, the lie is found out"
    assert (design.exit_code, design.value["facts"]["designId"]) == (0, found["designId"])
    assert (unknown.exit_code, unknown.error_code) == (2, "design-unknown")
