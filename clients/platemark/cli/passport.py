"""`platemark passport`: obtain a part's passport, verify it, and make what goes with the part: QR code and label."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platemark.cli import values
from platemark.cli.config import EVERYWHERE, Invocation, invocation
from platemark.errors import Kind, RefusedError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.digests import sha256
from platemark.protocol.log_entry import Result
from platemark.protocol.passport import MAX_BYTES, Content, Passport, Responsible, Statement
from platemark.protocol.serial import grouped
from platemark.protocol.units import digest_text
from platemark.sdk.files import read_limited

if TYPE_CHECKING:
    from platemark.sdk.chain import BlockFacts

app = typer.Typer(epilog=EVERYWHERE, add_completion=False, rich_markup_mode=None)


@app.command(epilog=EVERYWHERE)
def passport(
    context: typer.Context,
    serial: Annotated[str, typer.Argument(help="The part's serial.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File for the passport.")] = None,
    label: Annotated[Path | None, typer.Option("--label", help="File for a printable label, PDF.")] = None,
    qr: Annotated[Path | None, typer.Option("--qr", help="File for the QR code, SVG.")] = None,
    preview: Annotated[Path | None, typer.Option("--preview", help="Also save the design's picture, PNG.")] = None,
    responsible: Annotated[str, typer.Option("--responsible", help="Who answers for the part.")] = "",
    contact: Annotated[str, typer.Option("--contact", help="How to reach them.")] = "",
    disclose: Annotated[
        list[Statement] | None,
        typer.Option("--disclose", help="Open only this; may be repeated. Else what the gateway shows."),
    ] = None,
    proofs: Annotated[
        bool, typer.Option("--proofs", help="Add storage proofs of the newest final block: `audit passport --block`.")
    ] = False,
    source: Annotated[
        Path | None, typer.Option("--from", help="A passport of the part to take, in place of the gateway's.")
    ] = None,
) -> None:
    """Obtain a part's passport from the gateway, verify it by itself, and write it with its QR code and label.

    With --disclose it opens exactly what is named: what the passport has, what your agent keeps (receipt, detail), what
    your recovery kit holds (content).
    """
    run = invocation(context)
    number = values.serial(serial)
    values.check_outputs(output, label, qr, preview)
    data = None if source is None else read_limited(source, max_bytes=MAX_BYTES)
    picture, address = None, ""
    if data is None or label or qr or preview:
        with run.connect() as connection:
            found = _verified(connection.client.passport(number) if data is None else data, number)
            if data is None and connection.client.part(number).status == "recalled":
                run.ui.tell("warning: the revision was recalled; a passport does not say so, an audit with --rpc does")
            picture = _picture(found, connection.gateway.url) if label or preview else None
            address = f"{connection.gateway.url}/v1/parts/{number}"
    else:
        found = _verified(data, number)
    outcome = _told_outcome(run, found, has_label=label is not None)
    if disclose is not None:
        found = _verified(_opened(run, found, disclose).disclosing(disclose).encode(), number)
    if responsible:
        found = replace(found, responsible=Responsible(responsible, contact))
    block = None
    if proofs:
        found, block = _proven(run, found)
    value: dict[str, JsonValue] = {
        "serial": found.serial,
        "title": found.manifest.title,
        "provisional": found.provisional,
        "outcome": outcome,
        "form": str(found.form),
        "disclosed": [str(each) for each in found.disclosed],
        "notDisclosed": [str(each) for each in found.undisclosed],
    }
    if block is not None:
        value |= {"block": block.number, "blockHash": digest_text(block.hash)}
    encoded = found.encode()
    link = f"{address}#{sha256(encoded).hex()[:32]}"
    if preview is not None and picture is None:
        run.ui.tell("the design has no published picture")
    files = {
        "passport": (output, encoded),
        "preview": (preview, picture),
        "qr": (qr, _qr(link) if qr else None),
        "label": (label, _label(found, link, picture) if label else None),
    }
    values.write_all([(path, data) for path, data in files.values()])
    value |= {name: str(path) for name, (path, data) in files.items() if path is not None and data is not None}
    run.ui.result(
        value,
        [
            f"serial  {grouped(found.serial)}",
            f"title   {found.manifest.title}",
            f"state   {'provisional: its log is not anchored yet' if found.provisional else 'anchored'}",
            f"opens   {', '.join(found.disclosed) or 'nothing'}",
        ],
    )
    if block is not None:
        run.ui.tell(f"with the network off: platemark audit passport FILE --block {digest_text(block.hash)}")
    if found.provisional:
        run.ui.tell("ask again after the next anchor for a passport that needs no gateway")


def _told_outcome(run: Invocation, found: Passport, *, has_label: bool) -> str | None:
    """Return how the print ended, None where the passport does not show it, after a warning if it did not complete."""
    outcome = found.outcome_entry()
    if outcome is None:
        return None
    result = outcome.result.name.lower()
    if outcome.result is not Result.COMPLETED:
        run.ui.tell(f"warning: this print is no good part: {result}; its passport and code say so")
        if has_label:
            run.ui.tell("warning: the label does not say so: put it on no part that goes out")
    return result


def _verified(data: bytes, serial: str) -> Passport:
    """Return the passport after its own signatures and proofs were checked, and that it is for this serial.

    Errors: VerificationError of the first step that fails, `serial-unknown` for another part's passport.
    """
    from platemark.verify.passport import verify_passport
    from platemark.verify.steps import Step, require

    found = Passport.parse(data)
    require(
        found.serial == serial,
        Step.INCLUSION,
        "that is the passport of another part",
        code="serial-unknown",
        expected=grouped(serial),
        found=grouped(found.serial),
    )
    verify_passport(found).raise_if_failed()
    return found


def _opened(run: Invocation, found: Passport, wanted: Collection[Statement]) -> Passport:
    """Return the passport with what is wanted and not open in it, as far as this machine's records open it.

    Errors: RefusedError `not-kept`; those of spool and recovery kit.
    """
    from platemark.agent import disclosing

    missing = [each for each in found.undisclosed if each in wanted]
    if Statement.CONTENT in missing:
        record = run.designs.find(found.design_id)
        if record is None:
            raise disclosing.not_kept("content")
        package = record.revision(found.revision).kit(run.passphrase).package
        found = replace(found, content=Content(package.salt, package.files_root))
    if {Statement.RECEIPT, Statement.DETAIL} & set(missing):
        with run.spool() as spool:
            try:
                use = spool.machine(found.token_id).use(found.sequence)
            except RefusedError as error:
                raise disclosing.not_kept(missing[0]) from error
        if Statement.RECEIPT in missing:
            receipt = disclosing.receipt_of(use, found.permission.agent)
            found = replace(found, receipt=receipt)
        if Statement.DETAIL in missing:
            found = replace(found, detail=disclosing.detail_of(use))
    return found


def _proven(run: Invocation, found: Passport) -> "tuple[Passport, BlockFacts]":
    """Return the passport with storage proofs of its anchor and reservation, after they were verified, and their block.

    Errors: RefusedError `passport-incomplete` without an anchor; UpstreamError `proof-unavailable`;
        VerificationError.
    """
    from platemark.sdk.storage_proofs import storage_proof
    from platemark.verify.chain_proof import anchor_slot, reservation_slot
    from platemark.verify.passport import verify_passport

    if found.anchor is None:
        raise RefusedError(
            "a provisional passport has no storage to prove",
            kind=Kind.CONFLICT,
            code="passport-incomplete",
            hint="ask again after the next anchor",
        )
    run.required_chain.check_chain(found.profile.chain_id)
    gateway = found.permission.gateway
    slots = [
        anchor_slot(gateway, found.anchor.epoch, found.anchor.size),
        reservation_slot(gateway, found.license_id, found.token_id),
    ]
    block = run.required_chain.final_block()
    proven = replace(found, chain_proof=storage_proof(run.required_chain, found.profile.ledger, slots, block.number))
    verify_passport(proven, known_block=block.hash).raise_if_failed()
    return proven, block


def _picture(found: Passport, gateway_url: str) -> bytes | None:
    """Return the design's published picture, checked against its identifier, or None where there is none."""
    from contextlib import closing

    from platemark.errors import PlatemarkError
    from platemark.sdk.ipfs import GatewaySource

    if not found.manifest.previews:
        return None
    try:
        with closing(GatewaySource(gateway_url)) as source:
            return source.get(found.manifest.previews[0])
    except PlatemarkError:
        return None  # a label without a picture is a label all the same


def _qr(link: str) -> bytes:
    from platemark.agent.label import qr_svg

    return qr_svg(link)


def _label(found: Passport, link: str, picture: bytes | None) -> bytes:
    from platemark.agent.label import Label, label_pdf

    return label_pdf(Label.of(found, link=link, picture=picture, material=found.material))
