"""What goes with a part that bears no mark: a printable label and a QR code.

The label names the part's serial, design and maker, shows its picture, and says who answers for it. It can be
copied like any label; what it points to says so. The same inputs give the same bytes.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from platemark.errors import MalformedError
from platemark.protocol.passport import Passport, Responsible
from platemark.protocol.serial import grouped
from platemark.protocol.units import DesignId, UnixSeconds, id_text

if TYPE_CHECKING:
    import segno
    from fpdf import FPDF

PROVISIONAL: Final = "provisional"
WIDTH_MM: Final = 90.0
HEIGHT_MM: Final = 50.0

_MARGIN: Final = 4.0
_QR_MM: Final = 28.0
_PICTURE_MM: Final = 18.0
_LONGEST_LINK: Final = 512
_MAX_PICTURE_BYTES: Final = 2 << 20
_MAX_PICTURE_PIXELS: Final = 4096 * 4096
_SHORT_ID: Final = 14
_ADDRESS_AT: Final = 43.7
_SMALLEST: Final = 5.0
_EPOCH: Final = UnixSeconds(0)


@dataclass(frozen=True, slots=True)
class Label:
    """What a label says; `link` is where the part is looked up, `picture` a PNG or nothing."""

    serial: str
    title: str
    design_id: DesignId
    revision: int
    link: str
    responsible: Responsible | None
    material: str
    warnings: Sequence[str]
    picture: bytes | None
    provisional: bool = False
    """Whether the passport rests on the gateway's promise alone, because no root on chain covers its entry yet."""

    @classmethod
    def of(cls, passport: Passport, *, link: str, picture: bytes | None, material: str = "") -> "Label":
        """Return the label of the part that a passport is of."""
        return cls(
            serial=passport.serial,
            title=passport.manifest.title,
            design_id=passport.design_id,
            revision=passport.revision,
            link=link,
            responsible=passport.responsible,
            material=material,
            warnings=passport.manifest.warnings,
            picture=picture,
            provisional=passport.provisional,
        )


def qr_svg(link: str) -> bytes:
    """Return a QR code of an address as SVG, with its quiet zone.

    Errors: MalformedError `url` for an address that is too long or no http address.
    """
    buffer = io.BytesIO()
    _code(link).save(buffer, kind="svg", scale=4, border=4, xmldecl=True, nl=True)
    return buffer.getvalue()


def label_pdf(label: Label) -> bytes:
    """Return a label of 90 x 50 mm as PDF. Characters that its built-in font lacks are shown as question marks.

    Errors: MalformedError `url`, `picture`.
    """
    from fpdf import FPDF

    pdf = FPDF(orientation="L", unit="mm", format=(HEIGHT_MM, WIDTH_MM))
    pdf.set_creation_date(datetime.fromtimestamp(_EPOCH, UTC))
    pdf.set_title(f"Part {grouped(label.serial)}")
    pdf.set_producer("Platemark")
    pdf.set_auto_page_break(auto=False)
    pdf.set_margin(0)
    pdf.c_margin = 0
    pdf.add_page()
    _draw_code(pdf, label)
    _draw_text(pdf, label)
    if label.picture is not None:
        at = WIDTH_MM - _MARGIN - _PICTURE_MM
        pdf.image(io.BytesIO(_flat_picture(label.picture)), x=at, y=_MARGIN, w=_PICTURE_MM, h=_PICTURE_MM)
    return bytes(pdf.output())


def _code(link: str) -> "segno.QRCode":
    import segno

    if len(link) > _LONGEST_LINK or not link.startswith(("https://", "http://")) or not link.isprintable():
        raise MalformedError("a label's link is an http address", code="url")
    return segno.make(link, error="m", micro=False)


def _draw_code(pdf: "FPDF", label: Label) -> None:
    """Draw the code as squares: sharp at every resolution."""
    rows = [[bool(dark) for dark in row] for row in _code(label.link).matrix]
    side = _QR_MM / len(rows)
    pdf.set_fill_color(0)
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            run = x
            while run < len(row) and row[run]:
                run += 1
            if run > x:  # neighbours in one rectangle, so that no viewer shows seams
                pdf.rect(_MARGIN + x * side, _MARGIN + y * side, (run - x) * side, side, style="F")
            x = run + 1
    pdf.link(_MARGIN, _MARGIN, _QR_MM, _QR_MM, label.link)


def _draw_text(pdf: "FPDF", label: Label) -> None:
    left = _MARGIN + _QR_MM + 4
    width = WIDTH_MM - left - _MARGIN - (_PICTURE_MM + 2 if label.picture is not None else 0)
    lines = [
        (label.title, "B", 9.0, 4.0),
        (f"design {id_text(label.design_id)[:_SHORT_ID]}", "", 6.5, 3.2),
        (f"revision {label.revision}", "", 6.5, 3.2),
    ]
    if label.material:
        lines.append((f"material {label.material}", "", 6.5, 3.2))
    if label.provisional:
        lines.insert(1, (PROVISIONAL, "B", 9.0, 4.0))
    lines += [(warning, "", 6.5, 3.2) for warning in label.warnings[:3]]
    at = _MARGIN
    for text, style, points, height in lines:
        _line(pdf, text, left, at, width, style=style, points=points)
        at += height
    _line(pdf, grouped(label.serial), _MARGIN, 35.0, WIDTH_MM - 2 * _MARGIN, style="B", points=13.0, font="Courier")
    answer = "nobody has said who answers for this part"
    if label.responsible is not None:
        answer = " - ".join(part for part in (label.responsible.name, label.responsible.contact) if part)
        answer = f"answers for it: {answer}"
    _line(pdf, answer, _MARGIN, 40.5, WIDTH_MM - 2 * _MARGIN, points=6.5)
    _draw_address(pdf, label.link, WIDTH_MM - 2 * _MARGIN)


def _draw_address(pdf: "FPDF", link: str, width: float) -> None:
    """Write the address so that it can be typed: whole but for its fragment, which nobody needs to find the page.

    One line, smaller where it is long, or two; of what is longer still the host, and where the rest is.
    """
    address = link.partition("#")[0]
    for points in (6.5, 6.0, 5.5, _SMALLEST):
        pdf.set_font("Helvetica", "", points)
        if pdf.get_string_width(address) <= width:
            _line(pdf, address, _MARGIN, _ADDRESS_AT, width, points=points)
            return
    first = _broken(pdf, address, width)
    second = address[len(first) :]
    if pdf.get_string_width(second) > width:
        _line(
            pdf, f"{urlsplit(link).netloc}: its whole address is in the code", _MARGIN, _ADDRESS_AT, width, points=6.5
        )
        return
    _line(pdf, first, _MARGIN, _ADDRESS_AT, width, points=_SMALLEST)
    _line(pdf, second, _MARGIN, _ADDRESS_AT + _SMALLEST * 0.4, width, points=_SMALLEST)


def _broken(pdf: "FPDF", address: str, width: float) -> str:
    """Return as much of an address as fits a line, to the last slash in its second half or else to any character."""
    fits = address
    while pdf.get_string_width(fits) > width:
        fits = fits[:-1]
    slash = fits.rfind("/") + 1
    return fits[:slash] if slash > len(fits) // 2 else fits


def _line(
    pdf: "FPDF", text: str, x: float, y: float, width: float, *, points: float, style: str = "", font: str = "Helvetica"
) -> None:
    """Write one line that ends in dots where it does not fit."""
    pdf.set_font(font, style, points)
    shown = text.encode("latin-1", "replace").decode("latin-1")
    if pdf.get_string_width(shown) > width:
        while shown and pdf.get_string_width(shown + "...") > width:
            shown = shown[:-1]
        shown += "..."
    pdf.set_xy(x, y)
    pdf.cell(width, points * 0.4, shown)


@contextmanager
def _bombs_are_errors() -> Iterator[None]:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _flat_picture(data: bytes) -> bytes:
    """Return a picture as a plain PNG of at most 512 pixels: nothing else of a stranger's file gets into the label.

    Errors: MalformedError `picture` for anything but a PNG of reasonable size.
    """
    from PIL import Image, UnidentifiedImageError

    if len(data) > _MAX_PICTURE_BYTES:
        raise MalformedError("the picture is too large", code="picture")
    try:
        with _bombs_are_errors(), Image.open(io.BytesIO(data), formats=["PNG"]) as found:
            if found.width * found.height > _MAX_PICTURE_PIXELS:
                raise MalformedError("the picture is too large", code="picture")
            flat = found.convert("RGB")
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise MalformedError("the picture is no PNG", code="picture") from error
    flat.thumbnail((512, 512))
    buffer = io.BytesIO()
    flat.save(buffer, "PNG")
    return buffer.getvalue()
