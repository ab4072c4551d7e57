"""What a rebuild says when it cannot be made; a build that works is in tests/integration/test_deploy.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from platemark.auditor.rebuild import rebuild
from platemark.errors import LocalError


def checkout(folder: Path, forge: str | None) -> Path:
    """Make what looks like a checkout; `forge` is a shell script's body."""
    (folder / "contracts/node_modules/.bin").mkdir(parents=True)
    (folder / "contracts/foundry.toml").write_text("")
    if forge is not None:
        program = folder / "contracts/node_modules/.bin/forge"
        program.write_text(f"#!/bin/sh\n{forge}\n")
        program.chmod(0o755)
    return folder


def refusal(source: Path, **options: Any) -> LocalError:
    with pytest.raises(LocalError) as caught:
        rebuild(source, **options)
    assert caught.value.code == "source-unbuildable"
    return caught.value


def test_folder_that_is_no_checkout_is_named(tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(tmp_path).message


def test_missing_forge_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in refusal(checkout(tmp_path, None)).message


def test_what_the_compiler_says_is_told(tmp_path: Path) -> None:
    error = refusal(checkout(tmp_path, "echo 'Error: no such import' >&2; exit 1"))
    assert error.hint == "forge says: Error: no such import"


def test_compiler_that_hangs_is_ended(tmp_path: Path) -> None:
    assert "within 0.3 seconds" in refusal(checkout(tmp_path, "exec sleep 60"), seconds=0.3).message


def test_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    source = checkout(tmp_path, "")
    (source / "contracts/node_modules/.bin/forge").chmod(0o644)
    assert "cannot be run" in refusal(source).message


@pytest.mark.parametrize("built", [None, "{", json.dumps({"abi": []})])
def test_build_without_the_contracts_is_refused(tmp_path: Path, built: str | None) -> None:
    lines = "exit 0"
    if built is not None:
        lines = (
            'while [ "$1" != --out ]; do shift; done\n'
            'for name in DesignRegistry PrintLicense PrintLedger; do mkdir -p "$2/$name.sol"\n'
            f"""printf '%s' '{built}' > "$2/$name.sol/$name.json"; done"""
        )
    assert "something else than the three contracts" in refusal(checkout(tmp_path, lines)).message
