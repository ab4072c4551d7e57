"""`platemark outcome`: how a print ended, after somebody inspected it; sending again what a gateway lacks."""

from typing import Annotated

import typer

from platemark.cli import values
from platemark.cli.config import EVERYWHERE, invocation
from platemark.cli.print import Ipfs, agent, loaded, outcome_of, resumable
from platemark.errors import UsageError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import id_text

app = typer.Typer(epilog=EVERYWHERE, add_completion=False, rich_markup_mode=None)


@app.command(epilog=EVERYWHERE)
def outcome(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="A print token's id, or the beginning of one.")],
    number: Annotated[int | None, typer.Option("--print", min=1, help="Which print of the token.")] = None,
    result: Annotated[str, typer.Option(help="completed, failed, cancelled or rejected.")] = "completed",
    rejected: Annotated[
        list[str] | None, typer.Option("--reject", help="A body that did not pass, PART:N; all by default.")
    ] = None,
    material: Annotated[str | None, typer.Option(help="What it was made of; by default what `print` was told.")] = None,
    lot: Annotated[str, typer.Option(help="The material's lot.")] = "",
    resend: Annotated[
        bool,
        typer.Option("--resend", help="Send permission and all outcomes again: a gateway that lost some records them."),
    ] = False,
    ipfs: Ipfs = None,
) -> None:
    """Report how a print ended; the first report is final."""
    from platemark.agent.job import Body
    from platemark.protocol.outcome import Result

    run = invocation(context)
    token_id = values.token_id(run, token)
    if resend == (number is not None):
        raise UsageError("name a print, or send again what was recorded", hint="--print N or --resend")
    if result.upper() not in Result.__members__:
        raise UsageError(f"{result[:20]!r} is no result", hint="completed, failed, cancelled or rejected")
    with (
        agent(run, printers={}, slicer="auto", ipfs=ipfs or []) as (printing, connection),
        resumable(run, printing, token_id),
    ):
        if number is None:
            sent = printing.resend(token_id)
            value: dict[str, JsonValue] = {
                "tokenId": id_text(token_id),
                "sent": [{"serial": item.serial, "result": item.result.name.lower()} for item in sent],
            }
            lines = [f"{item.serial}  {item.result.name.lower()}" for item in sent]
        else:
            bodies = frozenset(Body(*_body(item)) for item in rejected or [])
            reported = printing.report(
                token_id,
                number,
                Result[result.upper()],
                job=printing.product(token_id, material=loaded(material, lot)),
                rejected=bodies,
            )
            value, lines = outcome_of(connection, token_id, number, reported)
    run.ui.result(value, lines)


def _body(text: str) -> tuple[str, int]:
    name, colon, index = text.rpartition(":")
    if not colon or not index.isdigit():
        raise UsageError(f"{text[:40]!r} names no body", hint="PART:N, the first one is 0")
    return name, int(index)
