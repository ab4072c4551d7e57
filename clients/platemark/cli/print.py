"""`platemark print`: redeeming one print of a token and making it, on the first printer that is free."""

import dataclasses
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platemark.cli import values
from platemark.cli.config import EVERYWHERE, Connection, Invocation, invocation
from platemark.cli.exit_codes import ExitCode
from platemark.cli.ui import plural
from platemark.errors import Kind, LocalError, RefusedError, UsageError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue
from platemark.protocol.receipt import Receipt
from platemark.protocol.units import TokenId, id_text

if TYPE_CHECKING:
    from types import FrameType

    from platemark.agent.printers.printing import Printer
    from platemark.agent.printing import Made, Note, PrintingAgent, Reported
    from platemark.agent.slicers.slicing import Slicer
    from platemark.protocol.receipt import Material
    from platemark.sdk.ipfs import BlockSource

app = typer.Typer(epilog=EVERYWHERE, add_completion=False, rich_markup_mode=None)

SlicerOption = Annotated[str, typer.Option("--slicer", help="auto, prusa or basic.")]
Ipfs = Annotated[
    list[str] | None,
    typer.Option("--ipfs", help="Blocks, asked for before the gateway: address or folder."),
]
OnlyIpfs = Annotated[bool, typer.Option("--only-ipfs", help="Ask no block of the gateway.")]


@app.command(epilog=EVERYWHERE)
def print_(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="A print token's id, or the beginning of one.")],
    printers: Annotated[list[str], typer.Option("--printer", help="Printers to try, in this order.")],
    material: Annotated[str | None, typer.Option(help="What is loaded, such as PLA.")] = None,
    lot: Annotated[str, typer.Option(help="The material's lot.")] = "",
    reference: Annotated[list[str] | None, typer.Option(help="Your own reference, kept secret.")] = None,
    attempts: Annotated[int, typer.Option(min=1, max=10, help="Runs with one release before it has failed.")] = 2,
    inspect: Annotated[bool, typer.Option("--inspect", help="Leave the outcome to `platemark outcome`.")] = False,
    slicer: SlicerOption = "auto",
    ipfs: Ipfs = None,
    speed: Annotated[float | None, typer.Option(min=0.001, help="Simulated printers: how much faster.")] = None,
    fail_at: Annotated[
        list[str] | None, typer.Option("--fail-at", help="Simulated printers: clog at NAME=0 to 1, or all at 0 to 1.")
    ] = None,
    receipt: Annotated[Path | None, typer.Option("-o", "--output", help="File for the receipt.")] = None,
    only_ipfs: OnlyIpfs = False,
    keep_gcode: Annotated[
        Path | None, typer.Option("--keep-gcode", help="Folder for the G-code; only where the terms allow a file.")
    ] = None,
) -> int:
    """Redeem one print of a token, slice it, print it and report how it ended; exit 1 when it failed for good."""
    from platemark.sdk.files import check_output

    run = invocation(context)
    token_id = values.token_id(run, token)
    machines = _printers(printers, speed, fail_at or [])
    if receipt is not None:
        check_output(receipt)
    keep = _keeper(keep_gcode)
    with agent(run, printers=machines, slicer=slicer, ipfs=ipfs or [], only_ipfs=only_ipfs) as (printing, connection):
        printing.keep_gcode = keep
        with resumable(run, printing, token_id), stoppable(run, printing):
            made, reported = printing.print_one(
                token_id,
                printers,
                material=loaded(material, lot),
                references=reference or [],
                attempts=attempts,
                inspect=inspect,
            )
            if made.cancelled:
                raise KeyboardInterrupt
        return _tell_outcome(run, connection, token_id, made, reported, receipt)


@contextmanager
def resumable(run: Invocation, printing: "PrintingAgent", token_id: TokenId) -> Iterator[None]:
    """Let an interruption of the block say how to go on with what the agent's records have open."""
    try:
        yield
    except KeyboardInterrupt:
        machine, begun = printing.spool.machine(token_id), id_text(token_id)[:14]
        if machine.unacknowledged:
            run.unfinished.hint = f"an outcome is recorded and not sent yet: platemark outcome {begun} --resend"
        elif machine.pending is not None or machine.open:
            run.unfinished.hint = (
                "run the same command again: it goes on with the print that was asked for, and counts no other"
            )
        raise


@contextmanager
def agent(
    run: Invocation, *, printers: Mapping[str, "Printer"], slicer: str, ipfs: Sequence[str], only_ipfs: bool = False
) -> Iterator[tuple["PrintingAgent", Connection]]:
    """Give this machine's agent, connected to the gateway and a chain endpoint."""
    from platemark.agent.printing import PrintingAgent
    from platemark.agent.registered import RegistryView

    seed, chain = run.agent_seed, run.required_chain
    with run.connect() as connection, run.spool() as spool:
        deployment = connection.gateway.deployment
        progress = _Teller(run)
        yield (
            PrintingAgent(
                spool=spool,
                seed=seed,
                desk=connection.client,
                blocks=_blocks(run, connection, ipfs, only_ipfs=only_ipfs),
                chain=RegistryView(chain, chain_id=deployment.chain_id, registry=deployment.registry),
                profiles=[connection.gateway.profile],
                printers=printers,
                slicers=_slicers(slicer),
                clock=connection.clock,
                tell=progress.tell,
            ),
            connection,
        )


@contextmanager
def stoppable(run: Invocation, printing: "PrintingAgent") -> Iterator[None]:
    """Let the first Ctrl-C while a printer runs stop the printer, which then says what it used."""
    from platemark.agent.printing import Stage

    running, asked = False, False
    tell = printing.tell

    def note(told: "Note") -> None:
        nonlocal running
        running = told.stage is Stage.PRINTING
        tell(told)

    def on_interrupt(_number: int, _frame: "FrameType | None") -> None:
        nonlocal asked
        if asked or not running:
            raise KeyboardInterrupt
        asked = True
        run.ui.tell("stopping the printer; once more ends at once")

    printing.tell, printing.stop = note, lambda: asked
    try:
        before = signal.signal(signal.SIGINT, on_interrupt)
    except ValueError:  # not the main thread: nobody's Ctrl-C comes here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def outcome_of(
    connection: Connection, token_id: TokenId, sequence: int, reported: "Reported | None"
) -> tuple[dict[str, JsonValue], list[str]]:
    """Return what to say of a use: for machines and for people."""
    from platemark.protocol.serial import grouped, serial_of

    state = connection.client.reservation(token_id)
    serial = serial_of(token_id, sequence)
    result = None if reported is None else reported.result.name.lower()
    value: dict[str, JsonValue] = {
        "tokenId": id_text(token_id),
        "sequence": sequence,
        "serial": serial,
        "result": result,
        "spareUsed": False if reported is None else reported.spare_used,
        "printsLeft": state.prints_left,
        "sparesLeft": state.spares_left,
    }
    lines = [
        f"print   {sequence}",
        f"serial  {grouped(serial)}",
        f"result  {result or 'not reported yet'}",
        f"left    {plural(state.prints_left, 'print')}, {plural(state.spares_left, 'spare')}",
    ]
    return value, lines


def _tell_outcome(
    run: Invocation,
    connection: Connection,
    token_id: TokenId,
    made: "Made",
    reported: "Reported | None",
    receipt: Path | None,
) -> ExitCode:
    """Say how a print ended, then write its receipt: a file that cannot be written changes no outcome."""
    value, lines = outcome_of(connection, token_id, made.sequence, reported)
    value["complete"] = made.complete
    value["attempts"] = len(made.history.attempts)
    if reported is not None:
        value["quantities"] = Receipt.parse(reported.receipt.statement).quantities.to_json()
    unwritten: LocalError | None = None
    try:
        if reported is not None and values.write_out(receipt, canonical.encode(reported.receipt.to_json())):
            value["receipt"] = str(receipt)
    except LocalError as error:
        unwritten = error
        value["receiptError"] = {"code": error.code, "message": error.message}
    run.ui.result(value, lines)
    short = id_text(token_id)[:14]
    if reported is None:
        run.ui.tell(f"next: inspect it, then platemark outcome {short} --print {made.sequence} --result completed")
    elif reported.spare_used:
        run.ui.tell(f"the failed print was given back; spares left: {value['sparesLeft']}")
    if reported is not None:
        run.ui.tell("the gateway promised to log this; it is provisional until its log is anchored")
    if unwritten is not None:
        kept = run.settings.home.agent / "spool"
        run.ui.complain(
            LocalError(
                f"the receipt was not written: {unwritten.message}",
                code=unwritten.code,
                hint=f"the print is reported all the same, and its receipt is kept in {kept}",
            )
        )
        return ExitCode.FAILED
    if made.complete:
        return ExitCode.OK
    run.ui.complain(RefusedError("the print failed for good", kind=Kind.CONFLICT, code="print-failed"))
    return ExitCode.FAILED


def _keeper(folder: Path | None) -> "Callable[[str, bytes], None] | None":
    """Return what keeps G-code in a folder, which is there and can be written; errors of `check_folder`."""
    if folder is None:
        return None
    from platemark.sdk.files import check_folder, write_new

    check_folder(folder)

    def keep(name: str, gcode: bytes) -> None:
        path, number = folder / _file_name(name), 1
        while path.exists() and path.read_bytes() != gcode:  # of another token, or of a try that was aborted
            number += 1
            path = folder / _file_name(name.replace(".gcode", f".{number}.gcode"))
        write_new(path, gcode)

    return keep


def _file_name(name: str) -> str:
    """Return a name that stays in its folder, whatever a manifest calls its parts."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return kept.lstrip(".")[-120:]


class _Teller:
    """Says what the agent does; a printer's progress once every tenth."""

    def __init__(self, run: Invocation) -> None:
        self._run = run
        self._told: dict[str, int] = {}

    def tell(self, note: "Note") -> None:
        """Say one thing that happened."""
        if note.progress is None:
            self._run.ui.tell(note.text)
            return
        tenth = note.progress.permille // 100
        if self._told.get(note.text) != tenth:
            self._told[note.text] = tenth
            self._run.ui.tell(f"{note.text}: {note.progress.permille // 10} %, layer {note.progress.layer}")


def _printers(names: Sequence[str], speed: float | None, fail_at: Sequence[str]) -> Mapping[str, "Printer"]:
    from platemark.agent.printers.simulated import simulated_printers

    found = simulated_printers() if speed is None else simulated_printers(speed=speed)
    clogs: dict[str, float] = {}
    for item in fail_at:
        name, _, fraction = item.rpartition("=")
        clogs |= dict.fromkeys([name] if name else found, _fraction(fraction))
    for name in (*names, *clogs):
        if name not in found:
            raise UsageError(
                f"there is no printer {name[:40]!r}", code="printer-unknown", hint=f"there are: {', '.join(found)}"
            )
    return {name: dataclasses.replace(printer, fail_at=clogs.get(name)) for name, printer in found.items()}


def _fraction(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise UsageError(f"{text[:20]!r} is no fraction of a print", hint="such as --fail-at ada=0.4")
    return found


def _slicers(choice: str) -> Sequence["Slicer"]:
    from platemark.agent.slicers.choice import find_slicers

    return find_slicers(choice)


def _blocks(run: Invocation, connection: Connection, ipfs: Sequence[str], *, only_ipfs: bool) -> "BlockSource":
    from platemark.sdk.ipfs import FolderSource, GatewaySource, SeveralSources

    sources: list[BlockSource] = []
    for item in ipfs if only_ipfs else (*ipfs, connection.gateway.url):
        if "://" not in item:
            sources.append(FolderSource(Path(item)))
            continue
        gateway = GatewaySource(item)
        run.opened.callback(gateway.close)
        sources.append(gateway)
    return SeveralSources(sources)


def loaded(name: str | None, lot: str) -> "Material | None":
    """Return the material that somebody named, or None; errors: UsageError for the lot of none."""
    from platemark.protocol.receipt import Material

    if lot and name is None:
        raise UsageError("a lot is that of a material", hint="give --material too")
    return None if name is None else Material(name, lot)
