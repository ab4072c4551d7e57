"""`platemark audit witness`: cosign the checkpoints of logs for everybody who asks."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platemark.cli.config import EVERYWHERE, invocation
from platemark.errors import UsageError
from platemark.protocol.canonical import JsonValue

if TYPE_CHECKING:
    from platemark.auditor.witness import Witness
    from platemark.cli.config import Invocation

app = typer.Typer(
    help="Cosign the checkpoints of print logs, each of which continues the one before (C2SP tlog-witness).",
    epilog=EVERYWHERE,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[
    Path | None, typer.Option("--folder", help="Where its key and what it cosigned lie; the home's by default.")
]


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name in cosignatures, such as witness.example.org/w1.")],
    folder: Folder = None,
) -> None:
    """Make a witness's key; what is told is the key that verifies its cosignatures."""
    from platemark.auditor.witness import Witness

    run = invocation(context)
    key = Witness.create(_folder(run, folder), name)
    run.ui.result({"key": key.text}, [key.text])


@app.command()
def add(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="The log's key (vkey), whose name is the log's origin.")] = None,
    tiles: Annotated[
        str | None, typer.Option("--tiles", help="A gateway's log instead, whose key is read from the chain.")
    ] = None,
    blocks: Annotated[
        str | None, typer.Option("--blocks", help="Where the gateway's profile is read; else beside the log.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Know a log from now on: by its key, or by the profile that its gateway declared on chain."""
    from platemark.auditor.witness import declared_log_key
    from platemark.cli.audit import evidence_of
    from platemark.protocol.checkpoint import NoteKey

    run = invocation(context)
    if (key is None) == (tiles is None) or (tiles is None and blocks is not None):
        raise UsageError("name the log's key, or where its gateway's log is", hint="KEY, or --tiles")
    witness = _opened(run, folder)
    found = NoteKey.parse(key) if key is not None else declared_log_key(evidence_of(run, blocks, tiles, None, None))
    witness.logs.add(found)
    run.ui.result({"origin": found.name, "key": found.text}, [found.name])


@app.command("list")
def list_(context: typer.Context, folder: Folder = None) -> None:
    """List the logs that are known, with the size that was cosigned last."""
    run = invocation(context)
    logs = _opened(run, folder).logs.all()
    values: list[dict[str, JsonValue]] = [
        {"origin": log.origin, "keys": [key.text for key in log.keys], "size": log.size, "root": f"0x{log.root.hex()}"}
        for log in logs
    ]
    run.ui.table("logs", values, ["entries", "log"], [[str(log.size), log.origin] for log in logs])


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 7380,
    folder: Folder = None,
) -> None:
    """Answer logs until Ctrl-C; one line of JSON on stdout says that it does."""
    from platemark.auditor.witness import WitnessServer

    run = invocation(context)
    witness = _opened(run, folder)
    with WitnessServer(witness, host, port) as server:
        typer.echo(json.dumps({"ready": True, "url": server.url, "key": witness.key.text}))
        stop = signal.signal(signal.SIGTERM, _interrupt)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            run.ui.tell("the witness has ended")
        finally:
            signal.signal(signal.SIGTERM, stop)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _folder(run: "Invocation", folder: Path | None) -> Path:
    return folder or run.settings.home.witness


def _opened(run: "Invocation", folder: Path | None) -> "Witness":
    from platemark.auditor.witness import Witness
    from platemark.sdk.clock import WallClock

    witness = Witness.open(_folder(run, folder), WallClock())
    run.opened.callback(witness.close)
    return witness
