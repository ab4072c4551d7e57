"""The command `platemark`: groups are imported when they are used, so that `--help` is quick.

`run` may be called any number of times in one process; global options may stand anywhere before `--`.
"""

import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from platemark.cli.config import EVERYWHERE, GlobalOptions, Invocation, Unfinished, environment
from platemark.cli.exit_codes import ExitCode, exit_code
from platemark.cli.ui import Ui, visible
from platemark.errors import Kind, PlatemarkError, UsageError, local_error

COMMANDS: Final[Mapping[str, str]] = {
    "keys": "Make, list and keep account keys and recovery kits.",
    "gateway": "Choose a gateway and see what it is found to be.",
    "design": "Check, register, revise and recall designs.",
    "license": "Offer licences, mint or buy prints.",
    "token": "Request print tokens and see what is left of them.",
    "print": "Redeem one print and make it.",
    "outcome": "Report how a print ended.",
    "passport": "Obtain and verify a part's passport, with QR code and label.",
    "audit": "Check files, parts, designs and whole logs against the chain.",
    "demo": "Run the whole main job on this machine.",
}
"""Each is a module of its own beside this one, with an `app`."""

_HIDDEN: Final = frozenset({"session"})
_VALUED: Final = frozenset({"--home", "--gateway", "--rpc", "--key", "--passphrase-file", "--patience"})
_FLAGS: Final = frozenset({"--json"})


class _LazyGroup(TyperGroup):
    """A group whose members are imported when one of them is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (the signature is typer's)
        """Return the names in their order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (as above)
        """Return a command's name and help only; see `resolve_command`."""
        if cmd_name in COMMANDS:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name])
        return TyperCommand(cmd_name, hidden=True) if cmd_name in _HIDDEN else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command itself, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            command = load(name)
        return name, command, rest


def load(name: str) -> Any:
    """Return the command of a module beside this one."""
    module = importlib.import_module(f"platemark.cli.{name}")
    command = typer.main.get_command(module.app)
    command.name = name
    _say_everywhere(command)
    return command


def _say_everywhere(command: Any) -> None:
    """Let the help of a command, and of those below it, name the options that go with every command."""
    command.epilog = EVERYWHERE
    for below in getattr(command, "commands", {}).values():
        _say_everywhere(below)


app = typer.Typer(cls=_LazyGroup, add_completion=False, no_args_is_help=True, rich_markup_mode=None)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"platemark {version('platemark')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Machine output on stdout.")] = False,
    home: Annotated[str | None, typer.Option(help="Folder of keys and records [PLATEMARK_HOME].")] = None,
    gateway: Annotated[str | None, typer.Option(help="Address of the gateway [PLATEMARK_GATEWAY].")] = None,
    rpc: Annotated[str | None, typer.Option(help="Address of a chain endpoint [PLATEMARK_RPC].")] = None,
    key: Annotated[str | None, typer.Option(help="Name or address of the key to sign with.")] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase [or PLATEMARK_PASSPHRASE].")
    ] = None,
    patience: Annotated[int, typer.Option(min=0, help="Seconds to wait until something is final.")] = 1800,
    version: Annotated[  # noqa: ARG001 (its callback answers)
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """License, count, print and audit 3D designs. These options go with every command, in any place."""
    options = GlobalOptions(as_json, home, gateway, rpc, key, passphrase_file, patience)
    context.obj = Invocation(options, environment(), unfinished=context.obj)
    context.call_on_close(context.obj.close)


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing is left behind that a next one would see."""
    arguments = hoisted(argv)
    ui = Ui(as_json="--json" in arguments[: _first_word(arguments)])
    unfinished = Unfinished()
    command = typer.main.get_command(app)
    try:
        code = command.main(list(arguments), prog_name="platemark", standalone_mode=False, obj=unfinished)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (one command must not end a process that runs many)
        return _failed(ui, error, unfinished)
    if code == ExitCode.INTERRUPTED:  # Typer answers so for Ctrl-C
        return _failed(ui, KeyboardInterrupt(), unfinished)
    return code if isinstance(code, int) else ExitCode.OK


def main() -> None:
    """Run the command line of this process and end it with the exit code."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None
    sys.exit(code)


def hoisted(argv: Sequence[str]) -> list[str]:
    """Return the arguments with global options first, wherever they stood before `--`."""
    front: list[str] = []
    rest: list[str] = []
    position = 0
    while position < len(argv):
        argument = argv[position]
        if argument == "--":
            rest.extend(argv[position:])
            break
        name = argument.partition("=")[0]
        if argument in _FLAGS or (name in _VALUED and "=" in argument):
            front.append(argument)
        elif argument in _VALUED and position + 1 < len(argv):
            front.extend(argv[position : position + 2])
            position += 1
        else:
            rest.append(argument)
        position += 1
    return front + rest


def _failed(ui: Ui, error: BaseException, unfinished: Unfinished) -> ExitCode:
    """Say what went wrong and return the exit code."""
    told: PlatemarkError
    match error:
        case PlatemarkError():
            told = error
        case typer.TyperException():
            misuse = _usage(ui, error)
            if misuse is None:
                return ExitCode.USAGE
            told = misuse
        case KeyboardInterrupt() | EOFError() | typer.Abort():
            ui.tell("platemark: interrupted")
            if unfinished.hint is not None:
                ui.tell(f"hint: {unfinished.hint}")
            return ExitCode.INTERRUPTED
        case BrokenPipeError():
            return ExitCode.FAILED
        case OSError():
            told = local_error(error, str(error.filename or "this machine"))
        case _:
            told = _internal(error)
    code = exit_code(told)
    ui.error(told, code)
    return code


def _usage(ui: Ui, error: Any) -> UsageError | None:
    """Return how a command was called wrongly, or None when its help, which is shown then, says all of it."""
    context = getattr(error, "ctx", None)
    asked_for = f"{'platemark' if context is None else context.command_path} --help"
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        if not ui.as_json:
            sys.stderr.write(context.get_help().rstrip() + "\n")
            return None
        return UsageError("a command is missing", hint=asked_for)
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return UsageError(_lowered(_plain(message)), hint=asked_for)


_LIBRARY_TEXTS: Final = (
    (re.compile(r"Input should be greater than or equal to (\S+)"), r"at least \1"),
    (re.compile(r"Input should be less than or equal to (\S+)"), r"at most \1"),
    (re.compile(r"Input should be a valid integer.*"), "no whole number"),
    (re.compile(r"Input should be a valid number.*"), "no number"),
)


def _plain(message: str) -> str:
    """Return a message of the option parser with the sentences of its checks as we say them."""
    for pattern, text in _LIBRARY_TEXTS:
        message = pattern.sub(text, message)
    return message


def _first_word(arguments: Sequence[str]) -> int:
    """Return where the hoisted options end: the position of the command's name."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in _VALUED else 1
    return position


def _internal(error: BaseException) -> PlatemarkError:
    if environment().get("PLATEMARK_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    return PlatemarkError(
        f"internal error: {type(error).__name__}",
        kind=Kind.INTERNAL,
        code="internal",
        hint="this is a fault of the program; set PLATEMARK_TRACEBACK=1 to see where",
    )


def _lowered(message: str) -> str:
    text = visible(message).strip().rstrip(".")
    return text[:1].lower() + text[1:]
