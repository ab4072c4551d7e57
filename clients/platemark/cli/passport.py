"""`platemark passport`: obtain a part's passport, verify it, and make what goes with the part: QR code and label."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from platemark.cli import values
from platemark.cli.config import EVERYWHERE, invocation
from platemark.protocol.canonical import JsonValue
from platemark.protocol.digests import sha256
from platemark.protocol.passport import Passport, Responsible
from platemark.protocol.serial import grouped

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
) -> None:
    """Obtain a part's passport from the gateway, verify it by itself, and write it with its QR code and label."""
    run = invocation(context)
    number = values.serial(serial)
    values.check_outputs(output, label, qr, preview)
    with run.connect() as connection:
        data = connection.client.passport(number)
        found = _verified(data, number)
        if responsible:
            found = replace(found, responsible=Responsible(responsible, contact))
        picture = _picture(found, connection.gateway.url) if label or preview else None
        address = f"{connection.gateway.url}/v1/parts/{number}"
    value: dict[str, JsonValue] = {
        "serial": found.serial,
        "title": found.manifest.title,
        "provisional": found.provisional,
        "form": str(found.form),
    }
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
        ],
    )
    if found.provisional:
        run.ui.tell("ask again after the next anchor for a passport that needs no gateway")


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
        "the gateway gave the passport of another part",
        code="serial-unknown",
        expected=grouped(serial),
        found=grouped(found.serial),
    )
    verify_passport(found).raise_if_failed()
    return found


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
