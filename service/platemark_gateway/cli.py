"""The command line `platemark-gateway`: names the commands; each one's code and imports live elsewhere."""

import sys
from typing import Annotated, NoReturn

import typer

from platemark.errors import PlatemarkError, local_error
from platemark_gateway import commands, erase_commands, key_commands, log_commands, recovery_commands
from platemark_gateway.chain import commands as chain_commands

# Plain help: rich takes longer to import than everything else here together.
app = typer.Typer(
    name="platemark-gateway",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(no_args_is_help=True, help="The vault's keys.", rich_markup_mode=None)
log = typer.Typer(no_args_is_help=True, help="The print log.", rich_markup_mode=None)
app.command("chain")(chain_commands.chain)
app.command("dev")(chain_commands.dev)
app.command("deploy")(commands.deploy)
app.command("serve")(commands.serve)
app.command("worker")(commands.worker)
app.command("migrate")(commands.migrate)
app.command("doctor")(commands.doctor)
app.command("support-bundle")(commands.support_bundle)
app.command("backup")(recovery_commands.backup)
app.command("restore")(recovery_commands.restore)
app.command("erase")(erase_commands.erase)
app.add_typer(log, name="log")
log.command("export")(log_commands.export)
app.add_typer(keys, name="keys")
keys.command("list")(key_commands.list_keys)
keys.command("rotate")(key_commands.rotate)
keys.command("export-log-key")(key_commands.export_log_key)
keys.command("export-account")(key_commands.export_account)
keys.command("import-account")(key_commands.import_account)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"platemark-gateway {version('platemark-gateway')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """Count prints, release keys, keep the print log."""


def main() -> None:
    """Run a command; an error of ours, or of this machine, is one line on stderr and exit code 1."""
    try:
        app()
    except OSError as error:
        _end(local_error(error, str(error.filename or "this machine")))
    except PlatemarkError as error:
        _end(error)


def _end(error: PlatemarkError) -> NoReturn:
    sys.stderr.write(f"platemark-gateway: {error.message} [{error.code}]\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
