"""`platemark audit log` goes on where it stopped, however it stopped, and begins anew when it is told to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import simulators.dying_audit
from platemark.auditor import replay, signers
from platemark.cli import audit
from platemark.protocol.tiles import TILE_WIDTH
from platemark.protocol.units import address_text
from sample_documents import GATEWAY
from simulators.dying_audit import ENTRIES_OF_LIES, in_memory
from stack import Ended, command

SAVED = len(ENTRIES_OF_LIES) // TILE_WIDTH * TILE_WIDTH
GOING_ON = f"on from entry {SAVED} of {len(ENTRIES_OF_LIES)}"


def dying(home: Path, point: str = "told", number: int = 0, *options: str) -> tuple[int, str]:
    argv = [sys.executable, simulators.dying_audit.__file__, point, str(number)]
    argv += [f"--home={home}", "--json", "audit", "log", "--tiles", "memory", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(simulators.dying_audit.__file__).parents[1])}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in {3, -signal.SIGKILL}, done.stderr
    return done.returncode, done.stdout


def told(output: str) -> Mapping[str, Any]:
    value = json.loads(output)
    return {name: value[name] for name in ("subject", "holds", "findings", "facts")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    code, output = dying(tmp_path_factory.mktemp("undisturbed"))
    assert code == 3
    found = told(output)
    assert len(found["findings"]) > len(ENTRIES_OF_LIES) / 3
    return found


@pytest.mark.parametrize("point,number,saves", [("told", 2, 2), ("saving", 1, 0), ("saving", 3, 2), ("saved", 1, 1)])
def test_audit_that_was_killed_goes_on_and_reports_what_an_undisturbed_one_does(
    undisturbed: Mapping[str, Any], tmp_path: Path, point: str, number: int, saves: int
) -> None:
    assert dying(tmp_path, point, number) == (-signal.SIGKILL, "")
    code, output = dying(tmp_path)
    assert (code, told(output)) == (3, undisturbed)
    going_on = [f"for {saves * TILE_WIDTH} entries an earlier run, which trusted this RPC endpoint"] if saves else []
    assert json.loads(output)["trusted"] == ["this RPC endpoint", *going_on]


def test_audit_that_is_killed_again_and_again_comes_to_its_end(undisturbed: Mapping[str, Any], tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    for point in ("saved", "saving", "told", "saved"):
        assert dying(tmp_path, point, 1, "--state", state)[0] == -signal.SIGKILL
    code, output = dying(tmp_path, "told", 0, "--state", state)
    assert (code, told(output)) == (3, undisturbed)


@pytest.fixture
def of_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "evidence_of", in_memory())
    monkeypatch.setattr(replay, "SAVED_ENTRIES", TILE_WIDTH)


def audited(home: Path, *options: str) -> Ended:
    return command(f"--home={home}", "audit", "log", "--tiles", "memory", *options)


@pytest.mark.usefixtures("of_lies")
def test_state_is_removed_at_the_end_unless_it_is_named(tmp_path: Path) -> None:
    assert audited(tmp_path).exit_code == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert audited(tmp_path, "--state", str(tmp_path / "kept")).exit_code == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "kept"]


@pytest.mark.usefixtures("of_lies")
def test_later_audit_goes_on_from_the_named_state_and_afresh_begins_anew(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state")]
    first, second, afresh = (audited(tmp_path, *state, *more) for more in ([], [], ["--afresh"]))
    assert [GOING_ON in each.stderr for each in (first, second, afresh)] == [False, True, False]
    assert [f"for {SAVED} entries an earlier run" in each.stdout for each in (first, second, afresh)] == [
        False,
        True,
        False,
    ]
    assert first.stdout == afresh.stdout
    assert GOING_ON in audited(tmp_path, *state).stderr


@pytest.mark.usefixtures("of_lies")
def test_state_that_cannot_be_used_ends_the_audit_and_afresh_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"a letter, and no database" * 100)
    state = ["--state", str(tmp_path / "state")]
    refused = audited(tmp_path, *state)
    assert (refused.exit_code, "[audit-state]" in refused.stderr, "--afresh" in refused.stderr) == (1, True, True)
    assert audited(tmp_path, *state, "--afresh").exit_code == 3
    assert GOING_ON in audited(tmp_path, *state).stderr


@pytest.mark.usefixtures("of_lies")
def test_state_of_another_policy_is_wrong_usage_and_afresh_replaces_it(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state")]
    narrower = [*state, "--accept-gateway", address_text(GATEWAY.address)]
    audited(tmp_path, *state)
    refused = audited(tmp_path, *narrower)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "had another policy: accepted gateways [audit-state-policy]" in refused.stderr
    assert "--afresh" in refused.stderr
    assert GOING_ON in audited(tmp_path, *state).stderr
    assert GOING_ON not in audited(tmp_path, *narrower, "--afresh").stderr
    assert GOING_ON in audited(tmp_path, *narrower).stderr


@pytest.mark.usefixtures("of_lies")
@pytest.mark.parametrize("options,processes", [((), signers.usable_processors()), (("--processes", "3"), 3)])
def test_signatures_are_checked_by_as_many_processes_as_are_named_or_there_are_processors(
    options: tuple[str, ...], processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int | str] = []

    class Watched(signers.Signers):
        def __init__(self, processes: int, *, on_progress: Callable[[str], None]) -> None:
            super().__init__(processes, on_progress=on_progress)
            passed.append(processes)

        def close(self) -> None:
            super().close()
            passed.append("closed")

    monkeypatch.setattr(signers, "Signers", Watched)
    assert audited(tmp_path, *options).exit_code == 3
    assert passed == [processes, "closed"]


@pytest.mark.parametrize("command_name", [["log"], ["archive", "copy"]])
def test_less_than_one_process_is_wrong_usage(command_name: list[str]) -> None:
    ended = command("audit", *command_name, "--tiles", "log", "--processes", "0")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "invalid value for '--processes': at least 1" in ended.stderr
