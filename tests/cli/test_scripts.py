import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from script_runner import run_script
from stack import Stack, command, dead_url

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.txt")))
def test_a_script_says_exactly_this(name: str, desk: Path) -> None:
    run_script(SCRIPTS / f"{name}.txt", {"DESK": str(desk), "NOBODY": dead_url()})


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (SCRIPTS / "gateway").glob("*.txt")))
def test_a_script_with_a_gateway_says_exactly_this(
    name: str, desk: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATEMARK_GATEWAY", stack.url)
    monkeypatch.setenv("PLATEMARK_RPC", stack.rpc)
    rich = stack.person(f"rich-{name}", coins=True)
    run_script(
        SCRIPTS / "gateway" / f"{name}.txt",
        {"DESK": str(desk), "NOBODY": dead_url(), "URL": stack.url, "RICH": str(rich.home)},
    )


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from platemark.cli.main import run; run(['--help']);"
        "heavy = {'web3', 'eth_account', 'trimesh', 'numpy', 'manifold3d', 'httpx', 'cryptography', 'rich.progress'};"
        "sys.exit(bool(heavy & set(sys.modules)) and str(heavy & set(sys.modules)))"
    )
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    took = time.monotonic() - started
    assert ended.returncode == 0, ended.stderr
    assert "Commands:" in ended.stdout
    assert took < 3, took  # 0.3 s alone; this machine may be busy


def test_every_command_is_importable_and_has_help() -> None:
    from platemark.cli.main import COMMANDS

    for name in COMMANDS:
        ended = command(name, "--help")
        assert ended.exit_code == 0, ended.stderr
        assert "Usage: platemark" in ended.stdout


def test_a_session_runs_many_commands_and_survives_what_fails(desk: Path) -> None:
    requests: list[dict[str, object]] = [
        {"argv": ["keys", "new", "one", "--json"]},
        {"argv": ["keys", "nonsense"]},
        {"argv": ["keys", "list", "--json"], "stdin": "unread"},
        {"argv": ["design", "check", "torn.stl", "--json"]},
    ]
    ended = _session("\n".join(json.dumps(request) for request in requests) + "\n\n")
    assert ended.returncode == 0, ended.stderr
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["exitCode"] for answer in answers] == [0, 2, 0, 1]
    assert json.loads(answers[2]["stdout"])["keys"][0]["name"] == "one"
    assert json.loads(answers[3]["stdout"])["error"]["code"] == "stl-length"


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"argv": "keys list"}', '{"argv": ["session"]}', '{"argv": [1]}'])
def test_a_session_ends_on_what_is_no_request(desk: Path, line: str) -> None:
    ended = _session(f"{line}\n")
    assert ended.returncode == 2
    assert ended.stderr.startswith("platemark: ")
    assert not ended.stdout


def _session(lines: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "platemark.cli", "session"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_reader_that_goes_away_is_no_traceback(desk: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "platemark.cli", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert not process.stderr.read()
        assert process.wait(60) in {0, 1}
