import io
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version

import pytest
import typer

from platemark.cli import main
from platemark.cli.exit_codes import ExitCode, exit_code
from platemark.cli.main import hoisted
from platemark.cli.ui import Ui, plural, visible
from platemark.errors import (
    Kind,
    LocalError,
    MalformedError,
    PlatemarkError,
    RefusedError,
    TryLaterError,
    UpstreamError,
    UsageError,
    VerificationError,
)
from stack import command


@pytest.mark.parametrize(
    "argv,expected",
    [
        ([], []),
        (["design", "list"], ["design", "list"]),
        (["design", "list", "--json"], ["--json", "design", "list"]),
        (["design", "--home", "h", "list"], ["--home", "h", "design", "list"]),
        (["design", "--home=h", "list"], ["--home=h", "design", "list"]),
        (["a", "--rpc", "r", "--key", "k", "b"], ["--rpc", "r", "--key", "k", "a", "b"]),
        (["a", "--", "--json", "--home", "h"], ["a", "--", "--json", "--home", "h"]),
        (["a", "--home"], ["a", "--home"]),
        (["a", "--jsonish"], ["a", "--jsonish"]),
    ],
)
def test_global_options_go_first_wherever_they_stood(argv: Sequence[str], expected: Sequence[str]) -> None:
    assert hoisted(argv) == expected


ERRORS = [
    (MalformedError("m", code="c"), ExitCode.FAILED),
    (VerificationError("m", step="s", code="c", expected="e", found="f"), ExitCode.VERIFICATION),
    (RefusedError("m", kind=Kind.CONFLICT, code="c"), ExitCode.REFUSED),
    (RefusedError("m", kind=Kind.FORBIDDEN, code="c"), ExitCode.REFUSED),
    (RefusedError("m", kind=Kind.NOT_FOUND, code="c"), ExitCode.FAILED),
    (RefusedError("m", kind=Kind.FORBIDDEN, code="passphrase-wrong"), ExitCode.FAILED),
    (UpstreamError("m", code="c"), ExitCode.FAILED),
    (UpstreamError("m", code="gateway-unreachable"), ExitCode.TRY_LATER),
    (UpstreamError("m", code="gateway-timeout"), ExitCode.TRY_LATER),
    (UpstreamError("m", code="rpc-unreachable"), ExitCode.TRY_LATER),
    (TryLaterError("m", code="c", retry_after_seconds=1), ExitCode.TRY_LATER),
    (LocalError("m", code="c"), ExitCode.FAILED),
    (UsageError("m"), ExitCode.USAGE),
    (PlatemarkError("m", kind=Kind.INTERNAL, code="c"), ExitCode.FAILED),
]


@pytest.mark.parametrize("error,code", ERRORS, ids=lambda value: type(value).__name__)
def test_each_error_has_its_exit_code(error: PlatemarkError, code: ExitCode) -> None:
    assert exit_code(error) is code


def test_every_class_of_the_tree_is_in_the_table() -> None:
    def below(cls: type[PlatemarkError]) -> set[type[PlatemarkError]]:
        return {cls}.union(*(below(each) for each in cls.__subclasses__() if each.__module__ == "platemark.errors"))

    abstract = {"DataError", "ReachError"}
    tested = {type(error) for error, _ in ERRORS}
    assert {cls for cls in below(PlatemarkError) if cls.__name__ not in abstract} == tested


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None:
        pass

    monkeypatch.setattr(main, "app", app)


@pytest.mark.parametrize(
    "error,code,message",
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (EOFError(), 130, "interrupted"),
        (OSError(28, "no space", "/somewhere"), 1, "/somewhere: the disk is full [disk-full]"),
        (KeyError("secret-value"), 1, "internal error: KeyError [internal]"),
        (TryLaterError("not yet", code="later", retry_after_seconds=3), 75, "not yet [later]"),
    ],
)
def test_whatever_a_command_raises_the_process_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    monkeypatch.delenv("PLATEMARK_TRACEBACK", raising=False)
    _raising(monkeypatch, error)
    ended = command("fail")
    assert ended.exit_code == code
    assert next(line for line in ended.stderr.splitlines() if line) == f"platemark: {message}"
    assert "Traceback" not in ended.stderr
    assert "secret-value" not in ended.stderr


def test_a_traceback_is_shown_to_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATEMARK_TRACEBACK", "1")
    _raising(monkeypatch, KeyError("x"))
    assert "Traceback" in command("fail").stderr


def test_an_error_is_json_on_stdout_when_that_was_asked_for() -> None:
    ended = command("gateway", "show", "--gateway", "nonsense", "--json")
    assert ended.exit_code == 2
    assert ended.value["exitCode"] == 2
    assert ended.error_code == "gateway-url"


def test_json_after_two_dashes_is_an_argument() -> None:
    ended = command("keys", "show", "--", "--json")
    assert not ended.stdout


def test_a_verification_error_says_what_was_expected_and_found(capsys: pytest.CaptureFixture[str]) -> None:
    error = VerificationError("it differs", step="s", code="c", expected="this", found="that\x1b[2J")
    Ui(as_json=False).error(error, 3)
    told = capsys.readouterr()
    assert told.err.splitlines() == ["platemark: it differs [c]", "step: s", "expected: this", "found: that [2J"]
    assert not told.out
    Ui(as_json=True).error(error, 3)
    told_json = json.loads(capsys.readouterr().out)["error"]
    assert (told_json["step"], told_json["expected"], told_json["code"]) == ("s", "this", "c")


def test_texts_of_strangers_move_no_cursor() -> None:
    assert visible("a\nb\x1b[1;31mred\u202eright\x07") == "a b [1;31mred right "


def test_a_table_is_aligned_and_json_is_the_values(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["1", "a title"], ["22", "b"]]
    Ui(as_json=False).table("things", [{"n": 1}, {"n": 22}], ["number", "title"], rows)
    assert capsys.readouterr().out == "number  title\n1       a title\n22      b\n"
    Ui(as_json=True).table("things", [{"n": 1}], ["number", "title"], rows)
    assert json.loads(capsys.readouterr().out) == {"things": [{"n": 1}]}


def test_an_empty_list_is_a_note_and_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    Ui(as_json=False).table("things", [], ["number"], [])
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "no things\n")


def test_progress_is_drawn_on_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with Ui(as_json=False).progress("sealing") as advance:
        advance("a.stl", 1, 2)
    assert not stream.getvalue()


def test_counts_have_their_nouns() -> None:
    assert [plural(n, "spare") for n in (0, 1, 2)] == ["0 spares", "1 spare", "2 spares"]


def test_an_interruption_says_how_to_go_on_only_where_something_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = typer.Typer()

    @begun.command()
    def fail(context: typer.Context) -> None:
        context.obj.hint = "go on with: platemark token resume"
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", begun)
    ended = command()
    assert ended.exit_code == 130
    assert ended.stderr.splitlines() == ["platemark: interrupted", "hint: go on with: platemark token resume"]
    _raising(monkeypatch, KeyboardInterrupt())
    assert command("fail").stderr.splitlines() == ["platemark: interrupted"]


@pytest.mark.parametrize("argv", [(), ("keys",), ("keys", "kit"), ("license",), ("audit",)])
def test_a_group_without_a_command_shows_its_help(argv: Sequence[str]) -> None:
    ended = command(*argv)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"Usage: {' '.join(('platemark', *argv))} ")
    assert "\nCommands:\n" in ended.stderr
    told = command("--json", *argv)
    assert (told.exit_code, told.error_code) == (2, "usage")


@pytest.mark.parametrize(
    "argv", [("keys",), ("keys", "kit", "open"), ("license", "offer"), ("audit", "part"), ("print",), ("demo",)]
)
def test_every_help_names_the_options_that_go_everywhere(argv: Sequence[str]) -> None:
    ended = command(*argv, "--help")
    assert ended.exit_code == 0
    for option in ("--rpc", "--passphrase-file", "--home", "--gateway", "--key", "--json"):
        assert option in ended.stdout
    assert "--install-completion" not in ended.stdout


def test_the_version_is_told() -> None:
    ended = command("--version")
    assert (ended.exit_code, ended.stdout.strip()) == (0, f"platemark {version('platemark')}")


@pytest.mark.parametrize("command_line", ["passport nonsense", "audit part nonsense --tiles . --blocks ."])
def test_a_malformed_serial_is_wrong_usage(command_line: str) -> None:
    ended = command(*command_line.split(), "--json")
    assert (ended.exit_code, ended.error_code) == (2, "serial")


def test_a_malformed_design_is_wrong_usage_before_anything_is_read() -> None:
    ended = command("audit", "design", "0x12", "--blocks", "/nowhere", "--rpc", "http://127.0.0.1:1", "--json")
    assert (ended.exit_code, ended.error_code) == (2, "digest-length")
