"""`platemark design`: checking, registering, revising and recalling designs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platemark.cli import license_money, values
from platemark.cli.config import EVERYWHERE, Connection, Invocation, invocation
from platemark.cli.ui import plural
from platemark.errors import UsageError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import DesignId, address_text, id_text

if TYPE_CHECKING:
    from platemark.designer.preparing import Description, Inspection
    from platemark.designer.recalling import Debt
    from platemark.designer.records import DesignRecord
    from platemark.designer.registering import Registrar
    from platemark.sdk.answers import Affected, DesignState, LicenseState, RevisionState

app = typer.Typer(
    help="Check, register, revise and recall designs.",
    epilog=EVERYWHERE,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Files = Annotated[list[Path], typer.Argument(help="Meshes (.stl .obj .3mf) and documents beside them.")]
Design = Annotated[str, typer.Argument(help="The design's id, or the beginning of one that is known here.")]
Quantities = Annotated[list[str] | None, typer.Option("--quantity", help="Bodies a product has: FILE=N.")]
Turns = Annotated[list[str] | None, typer.Option("--turn", help="How a body lies: FILE=X,Y,Z in whole degrees.")]
Materials = Annotated[list[str] | None, typer.Option("--material", help="An allowed material; none leaves it open.")]
ProcessOption = Annotated[str, typer.Option("--process", help="FDM, SLA, SLS, MJF or DMLS.")]
Layer = Annotated[str | None, typer.Option("--layer-height", help="In mm.")]
Infill = Annotated[str | None, typer.Option("--infill", help="In percent.")]
Nozzle = Annotated[str | None, typer.Option("--nozzle", help="Largest nozzle in mm.")]
Supports = Annotated[bool | None, typer.Option("--supports/--no-supports", help="Whether it needs supports.")]
Warnings = Annotated[list[str] | None, typer.Option("--warning", help="A sentence that each passport will show.")]
Previews = Annotated[bool, typer.Option("--previews/--no-previews", help="Publish pictures of a public design.")]


@app.command()
def check(context: typer.Context, files: Files) -> None:
    """Say whether files can become a design; nothing is sent."""
    from platemark.designer.preparing import inspect_file

    run = invocation(context)
    found = [inspect_file(path) for path in files]
    run.ui.table(
        "files",
        [_inspected(item) for item in found],
        ["file", "type", "bytes", "size in mm", "volume in mm³"],
        [
            [
                item.name,
                item.media_type,
                f"{item.size_bytes:,}",
                " x ".join(str(side) for side in item.facts.size_mm) if item.facts else "",
                str(item.facts.volume_mm3) if item.facts else "",
            ]
            for item in found
        ],
    )


@app.command()
def register(
    context: typer.Context,
    files: Files,
    title: Annotated[str, typer.Option(help="What the design is called.")],
    private: Annotated[bool, typer.Option("--private", help="Never reveal what the files hash to.")] = False,
    quantities: Quantities = None,
    turns: Turns = None,
    process: ProcessOption = "FDM",
    materials: Materials = None,
    layer_height: Layer = None,
    infill: Infill = None,
    nozzle: Nozzle = None,
    supports: Supports = None,
    warnings: Warnings = None,
    previews: Previews = True,
    edition: Annotated[int, typer.Option(min=0, help="Most prints of all licences together; 0 is open.")] = 0,
    resale_share: Annotated[str, typer.Option(metavar="PERCENT", help="Asked of resales of design and prints.")] = "0",
    derivative_share: Annotated[
        str, typer.Option(metavar="PERCENT", help="Of what designs derived from this one earn; 50 at most.")
    ] = "0",
    parent: Annotated[str | None, typer.Option(help="The design that this one declares to be derived from.")] = None,
) -> None:
    """Seal files, register them on chain and deposit their key with the gateway."""
    from platemark.designer.registering import Rights

    run = invocation(context)
    rights = Rights(values.percent(resale_share), values.percent(derivative_share), edition)
    description = _description(
        title, private, quantities, turns, process, materials, layer_height, infill, nozzle, supports, warnings,
        previews, None if parent is None else values.design_id(run, parent),
    )  # fmt: skip
    if description.parent_id is not None:
        run.ui.tell(f"declares that it is derived from {id_text(description.parent_id)}; that design's share is fixed")
    with run.connect(run.account) as connection, run.ui.progress("sealing") as on_bytes:
        registrar = _registrar(run, connection)
        record = registrar.register(
            files,
            description,
            rights,
            passphrase=run.passphrase,
            on_bytes=on_bytes,
        )
        run.unfinished.hint = _resume(record.design_id)
        run.ui.tell(f"design {id_text(record.design_id)} is sealed; its key is in {record.folder}")
        state = registrar.carry_on(record, 1, passphrase=run.passphrase)
    _registered(run, record, state)


@app.command()
def revise(
    context: typer.Context,
    design: Design,
    files: Files,
    title: Annotated[str | None, typer.Option(help="As before by default.")] = None,
    quantities: Quantities = None,
    turns: Turns = None,
    process: ProcessOption = "FDM",
    materials: Materials = None,
    layer_height: Layer = None,
    infill: Infill = None,
    nozzle: Nozzle = None,
    supports: Supports = None,
    warnings: Warnings = None,
    previews: Previews = True,
) -> None:
    """Publish a new revision of a design, with a new key."""
    run = invocation(context)
    record = _record(run, values.design_id(run, design))
    description = _description(
        title or record.title, record.registration.is_private, quantities, turns, process, materials, layer_height,
        infill, nozzle, supports, warnings, previews, DesignId(record.registration.parent_id) or None,
    )  # fmt: skip
    with run.connect(run.account) as connection, run.ui.progress("sealing") as on_bytes:
        registrar = _registrar(run, connection)
        revision = registrar.revise(record, files, description, passphrase=run.passphrase, on_bytes=on_bytes)
        run.unfinished.hint = _resume(record.design_id)
        state = registrar.carry_on(record, revision.number, passphrase=run.passphrase)
    _registered(run, record, state)


@app.command()
def resume(
    context: typer.Context,
    design: Design,
    revision: Annotated[int | None, typer.Option(min=1, help="The latest by default.")] = None,
) -> None:
    """Do whatever is still missing of a registration that was interrupted."""
    run = invocation(context)
    record = _record(run, values.design_id(run, design))
    run.unfinished.hint = _resume(record.design_id)
    with run.connect(run.account) as connection:
        state = _registrar(run, connection).carry_on(
            record, revision or max(record.revisions()), passphrase=run.passphrase
        )
    _registered(run, record, state)


@app.command()
def recall(
    context: typer.Context,
    design: Design,
    revision: Annotated[int, typer.Option(min=1, help="Which one.")],
    reason: Annotated[str, typer.Option(help="Why, for everybody to read; pages show 500 characters of it.")],
) -> None:
    """Withdraw a revision for good: no new reservations, no new releases; says who is owed what.

    Works while the chain endpoint is away, with a gateway that was met before and is the same.
    """
    from platemark.designer.recalling import bound_licenses, debts

    run = invocation(context)
    number = values.design_id(run, design)
    with run.connect(run.account, forbids=True) as connection:
        _registrar(run, connection).recall(number, revision, reason)
        owed = debts(connection.client.affected(number, revision))
        bound = bound_licenses(connection.client.licenses(number), revision)
    run.ui.result(
        {"designId": id_text(number), "revision": revision, "state": "recalled", **_owing(owed, bound)},
        [
            f"revision {revision} is recalled; pages and audits of its parts say so from now on",
            *_owing_lines(owed, bound),
        ],
    )
    run.ui.tell(f"each print and reservation: platemark design affected {id_text(number)[:14]} --revision {revision}")


@app.command()
def affected(
    context: typer.Context,
    design: Design,
    revision: Annotated[int, typer.Option(min=1, help="Which one; recalled, or not yet.")],
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Also write the list to this file, for a spreadsheet.")
    ] = None,
) -> None:
    """List the reservations and prints of a revision and who is owed what by its recall; for the design's owner."""
    from platemark.designer.recalling import bound_licenses, debts
    from platemark.sdk.files import check_output

    run = invocation(context)
    number = values.design_id(run, design)
    if csv is not None:
        check_output(csv, replace=True)
    with run.connect(run.account) as connection:
        items = list(connection.client.affected(number, revision))
        bound = bound_licenses(connection.client.licenses(number), revision)
        revisions = connection.client.design(number).revisions
        is_recalled = any(found.revision == revision and found.state == "recalled" for found in revisions)
    owed = debts(items)
    if csv is not None:
        from platemark.auditor.render import csv_text
        from platemark.sdk.files import write_whole

        write_whole(csv, csv_text(_AFFECTED_COLUMNS, map(_affected_row, items)).encode(), mode=0o644)
    if run.ui.as_json:
        listed: list[JsonValue] = [_affected_json(item) for item in items]
        run.ui.result({"designId": id_text(number), "revision": revision, "affected": listed, **_owing(owed, bound)})
        return
    run.ui.table(
        "reservations or prints",
        [],
        ["serial", "holder", "token", "since", "outcome", "owed"],
        [
            [
                item.serial or "(reservation)",
                address_text(item.holder),
                id_text(item.token_id)[:14],
                values.moment_text(item.at),
                item.outcome or ("not known" if item.serial else ""),
                f"{item.owed}, {plural(item.prints, 'print')}" if item.prints else item.owed,
            ]
            for item in items
        ],
    )
    if not is_recalled:
        run.ui.tell("the revision is not recalled; a recall now would have these consequences:")
    for line in _owing_lines(owed, bound):
        run.ui.tell(line)


@app.command("lower-edition")
def lower_edition(
    context: typer.Context,
    design: Design,
    to: Annotated[int, typer.Option("--to", min=1, help="Most prints of all licences together from now on.")],
) -> None:
    """Lower a design's edition, for good; prints that were minted stay."""
    run = invocation(context)
    number = values.design_id(run, design)
    with run.connect(run.account) as connection:
        state = _registrar(run, connection).lower_edition(number, to)
    run.ui.result(_state(state), [f"all licences together have at most {plural(state.edition, 'print')} from now on"])
    run.ui.tell("what was minted stays; minting and selling stop at the new edition")


@app.command("list")
def list_(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Another account's, as the gateway knows them.")] = None,
) -> None:
    """List the designs of this machine, or another owner's."""
    run = invocation(context)
    if owner is None:
        records = run.designs.all()
        run.ui.table(
            "designs",
            [
                {"designId": id_text(item.design_id), "title": item.title, "revisions": item.revisions()}
                for item in records
            ],
            ["design", "revisions", "title"],
            [[id_text(item.design_id), str(len(item.revisions())), item.title] for item in records],
        )
        return
    with run.connect() as connection:
        states = connection.client.designs(values.address(owner))
    run.ui.table(
        "designs",
        [_state(item) for item in states],
        ["design", "revisions", "status"],
        [[id_text(item.design_id), str(item.latest_revision), item.status] for item in states],
    )


@app.command()
def show(context: typer.Context, design: Design) -> None:
    """Show how far a design and its revisions have come."""
    run = invocation(context)
    number = values.design_id(run, design)
    with run.connect() as connection:
        state = connection.client.design(number)
    record = run.designs.find(number)
    value = _state(state)
    lines = [f"design      {id_text(number)}"]
    if record is not None:
        value["title"] = record.title
        lines.append(f"title       {record.title}")
    lines += [f"registrant  {address_text(state.registrant)}", f"status      {state.status}"]
    lines += _rights(state)
    lines += [
        f"revision {item.revision}  {item.state}{', revealed' if item.revealed else ''}" for item in state.revisions
    ]
    run.ui.result(value, lines)


def _rights(state: "DesignState") -> list[str]:
    """Return the lines of a design's edition, shares and parent; what is nothing is left out."""
    lines = []
    if state.edition:
        lowered = "" if state.edition == state.registered_edition else f", lowered from {state.registered_edition}"
        lines.append(f"edition     {state.edition}{lowered}")
    if state.resale_share:
        lines.append(f"resale      {values.percent_text(state.resale_share)} asked of resales")
    if state.derivative_share:
        lines.append(f"derived     {values.percent_text(state.derivative_share)} of what derived designs earn")
    if state.parent_id:
        lines.append(f"parent      declares to be derived from {id_text(state.parent_id)}")
    return lines


_AFFECTED_COLUMNS = (
    "serial", "holder", "agent", "licenseId", "tokenId", "sequence", "at", "outcome", "owed", "prints", "reclaimableAt",
)  # fmt: skip


def _affected_json(item: "Affected") -> dict[str, JsonValue]:
    return {
        "serial": item.serial,
        "holder": address_text(item.holder),
        "agent": address_text(item.agent),
        "licenseId": id_text(item.license_id),
        "tokenId": id_text(item.token_id),
        "sequence": item.sequence,
        "at": item.at,
        "outcome": item.outcome,
        "owed": item.owed,
        "prints": item.prints,
        "reclaimableAt": item.reclaimable_at,
    }


def _affected_row(item: "Affected") -> list[str]:
    value = _affected_json(item)
    return ["" if value[name] is None else str(value[name]) for name in _AFFECTED_COLUMNS]


def _owing(owed: "Sequence[Debt]", bound: "Sequence[LicenseState]") -> dict[str, JsonValue]:
    """Return what is owed by holder, and the licences that nobody can reserve until they are raised."""
    return {
        "owed": [debt.to_json() for debt in owed],
        "licenses": [
            {
                "licenseId": id_text(each.license_id),
                "minted": each.minted,
                "price": str(each.terms.price),
                "currency": address_text(each.terms.currency),
                "returnable": each.terms.payout == 1,
            }
            for each in bound
        ],
    }


def _owing_lines(owed: "Sequence[Debt]", bound: "Sequence[LicenseState]") -> list[str]:
    lines = [
        f"{address_text(debt.holder)} is owed {plural(debt.replacements, 'replacement')}"
        f" ({debt.pending} more may come) and may take {plural(debt.returns, 'reserved print')} back"
        for debt in owed
        if debt.replacements or debt.pending or debt.returns
    ] or ["nobody is owed a part or has reserved prints left"]
    for each in bound:
        price = license_money.price_with_currency(each.terms)
        found = (
            f"licence {id_text(each.license_id)[:14]}, with {plural(each.minted, 'print')} in all, is of this revision"
        )
        if each.terms.payout:
            lines.append(f"{found}: raise it, or holders return what is not reserved for {price} each")
        elif each.terms.price:
            lines.append(f"{found}: raise it, or pay back yourself {price} for each print paid and not made")
        else:
            lines.append(f"{found}: raise it")
    return lines


def _registrar(run: Invocation, connection: Connection) -> "Registrar":
    from platemark.designer.registering import Registrar

    return Registrar(
        connection.client,
        connection.gateway,
        run.account,
        run.designs,
        clock=connection.clock,
        tell=run.ui.tell,
        patience=run.patience,
    )


def _resume(number: DesignId) -> str:
    return f"the design is sealed and kept here; go on with: platemark design resume {id_text(number)[:14]}"


def _record(run: Invocation, number: DesignId) -> "DesignRecord":
    record = run.designs.find(number)
    if record is None:
        raise UsageError(
            "this machine did not register that design",
            code="design-unknown",
            hint="work where it was registered, or with its recovery kit: platemark keys kit --help",
        )
    return record


def _description(
    title: str,
    private: bool,
    quantities: list[str] | None,
    turns: list[str] | None,
    process: str,
    materials: list[str] | None,
    layer_height: str | None,
    infill: str | None,
    nozzle: str | None,
    supports: bool | None,
    warnings: list[str] | None,
    previews: bool,
    parent: DesignId | None,
) -> "Description":
    from platemark.designer.preparing import Description
    from platemark.protocol.manifest import Constraints, Process

    if process.upper() not in set(Process):
        raise UsageError(f"{process[:20]!r} is no process", hint=f"one of {', '.join(Process)}")
    return Description(
        title=title,
        constraints=Constraints(
            process=Process(process.upper()),
            materials=tuple(materials or ()),
            infill_percent=None if infill is None else values.decimal(infill),
            resolution_mm=None if layer_height is None else values.decimal(layer_height),
            supports=supports,
            nozzle_mm=None if nozzle is None else values.decimal(nozzle),
        ),
        private=private,
        quantities={name: values.quantity(text) for name, text in values.by_name(quantities or [], "quantity").items()},
        turns={name: values.turn(text) for name, text in values.by_name(turns or [], "turn").items()},
        warnings=tuple(warnings or ()),
        parent_id=parent,
        previews=previews,
    )


def _registered(run: Invocation, record: "DesignRecord", state: "RevisionState") -> None:
    number = id_text(record.design_id)
    revision = record.revision(state.revision)
    run.ui.result(
        {
            "designId": number,
            "revision": state.revision,
            "state": state.state,
            "manifest": revision.manifest.cid().text,
            "recoveryKit": str(revision.kit_path),
        },
        [number],
    )
    run.ui.tell(f"revision {state.revision} with {plural(len(revision.manifest.files), 'file')} is {state.state}")
    run.ui.tell(f"keep a copy of {revision.kit_path}: it heals a lost gateway")
    if state.revision == 1:
        run.ui.tell(f"next: platemark license offer {number[:14]} --cap N")
    else:
        run.ui.tell("next, for each licence whose prints are to be of this revision: platemark license raise LICENSE")


def _inspected(item: "Inspection") -> dict[str, JsonValue]:
    value: dict[str, JsonValue] = {"name": item.name, "mediaType": item.media_type, "bytes": item.size_bytes}
    if item.facts is not None:
        value["sizeMm"] = [str(side) for side in item.facts.size_mm]
        value["volumeMm3"] = str(item.facts.volume_mm3)
        value["faces"] = item.facts.faces
    return value


def _state(state: "DesignState") -> dict[str, JsonValue]:
    return {
        "designId": id_text(state.design_id),
        "registrant": address_text(state.registrant),
        "owner": address_text(state.owner),
        "status": state.status,
        "private": state.is_private,
        "latestRevision": state.latest_revision,
        "edition": state.edition,
        "registeredEdition": state.registered_edition,
        "resaleShare": state.resale_share,
        "derivativeShare": state.derivative_share,
        "parent": id_text(state.parent_id) if state.parent_id else None,
        "revisions": [
            {
                "revision": item.revision,
                "state": item.state,
                "revealed": item.revealed,
                "manifest": None if item.manifest_cid is None else item.manifest_cid.text,
            }
            for item in state.revisions
        ],
    }
