"""What `platemark-gateway` says when a command cannot do its work: one line and a hint, whatever is wrong."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from platemark_gateway import cli

NOBODY = "postgresql+psycopg://user:secret@127.0.0.1:1/name"


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["platemark-gateway", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"platemark-gateway {version('platemark-gateway')}\n")


@pytest.mark.parametrize(
    "argv, code",
    [
        (["backup", "a" * 300, "--data", "FOLDER"], "file-kind"),
        (["backup", "new", "--data", "FILE"], "file-kind"),
        (["restore", "new", "--data", "FILE"], "file-exists"),
        (["support-bundle", "-o", "FILE/bundle.json", "--data", "FOLDER", "--rpc", "http://127.0.0.1:1"], "file-kind"),
        (["erase", "0x" + "ab" * 20, "--data", "FOLDER"], "usage"),
        (["erase", "somebody", "--yes", "--data", "FOLDER"], "usage"),
        (["erase", "0x" + "ab" * 20, "--yes", "--data", "FOLDER"], "vault-missing"),
        (["migrate", "--data", "FOLDER", "--database-url", NOBODY], "database-unreachable"),
        (["migrate", "--data", "FOLDER", "--database-url", "mysql://user:secret@host/name"], "settings"),
    ],
)
def test_what_is_wrong_is_one_line(
    argv: list[str],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PLATEMARK_GATEWAY_PASSPHRASE", "a passphrase for tests")
    (tmp_path / "file").touch()
    names = {"FOLDER": str(tmp_path), "FILE": str(tmp_path / "file")}
    told = [names.get(each, each.replace("FILE", names["FILE"])) for each in argv]
    monkeypatch.setattr(sys, "argv", ["platemark-gateway", *told])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    first, *rest = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert first.endswith(f"[{code}]")
    assert all(line.startswith("hint: ") for line in rest)
    assert "secret" not in first
