"""What `platemark-gateway` says when a command cannot do its work: one line and a hint, whatever is wrong."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from platemark.errors import UsageError
from platemark_gateway import cli
from platemark_gateway.commands import settings_of

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
        (["backup", "new", "--data", "FOLDER"], "state-missing"),
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


def test_a_list_that_is_no_json_is_named_with_the_form_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATEMARK_GATEWAY_WITNESSES", "witness.example+1+AA http://127.0.0.1:1")
    with pytest.raises(UsageError) as raised:
        settings_of()
    assert raised.value.code == "settings"
    assert '"witnesses"' in raised.value.message
    assert raised.value.hint == 'a list is JSON: ["one", "two"]'


def test_commands_ask_the_chain_of_a_dev_folder_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_of(data=tmp_path).rpc_url == "http://127.0.0.1:8545"
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "chain.json").write_text('{"url":"http://127.0.0.1:4711"}')
    assert settings_of(data=tmp_path).rpc_url == "http://127.0.0.1:4711"
    assert settings_of(data=tmp_path, rpc_url="http://127.0.0.1:1").rpc_url == "http://127.0.0.1:1"
    monkeypatch.setenv("PLATEMARK_GATEWAY_RPC_URL", "http://127.0.0.1:2")
    assert settings_of(data=tmp_path).rpc_url == "http://127.0.0.1:2"
    monkeypatch.delenv("PLATEMARK_GATEWAY_RPC_URL")
    (tmp_path / "chain" / "chain.json").write_text("{")
    assert settings_of(data=tmp_path).rpc_url == "http://127.0.0.1:8545"
