import io
import re
import zlib
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
import segno
from PIL import Image

import sample_documents as sample
from corpus import meshes
from platemark.agent.label import Label, label_pdf, qr_svg
from platemark.errors import MalformedError
from platemark.geometry.preview import render_png
from platemark.protocol.passport import Responsible
from platemark.protocol.serial import grouped

LINK = f"https://prints.example/p/{sample.PASSPORT.serial}"
PICTURE = render_png(meshes.cube(), size_pixels=64)


def _label(**changes: object) -> Label:
    made = Label.of(sample.PASSPORT, link=LINK, picture=PICTURE, material="PLA")
    return replace(made, **changes)  # type: ignore[arg-type]


def _content(pdf: bytes) -> str:
    """Return the page's drawing commands."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    texts = []
    for stream in streams:
        try:
            texts.append(zlib.decompress(stream).decode("latin-1"))
        except zlib.error:
            continue
    return "\n".join(texts)


def test_a_label_names_serial_design_maker_and_warnings() -> None:
    responsible = Responsible("Werkstatt Süd", "hello@werkstatt.example")
    page = _content(label_pdf(_label(responsible=responsible)))
    for text in (
        *(grouped(sample.PASSPORT.serial), "Box with two lids", f"0x{sample.DESIGN_ID:064x}"[:14], "Not for food."),
        *("material PLA", "answers for it: Werkstatt Süd - hello@werkstatt.example", LINK),
    ):
        assert text in page, text


@pytest.mark.parametrize(
    "base",
    [
        "https://prints.example",
        "https://prints-of-the-north.workshops.a-rather-long-name.example",
        "https://prints.example/" + "one-of-many/" * 9 + "gateways",
        "https://prints.example/" + "o" * 120,
    ],
    ids=["short", "long host", "long path", "one long name"],
)
def test_the_address_on_a_label_can_be_typed_whole(base: str) -> None:
    address = f"{base}/v1/parts/{sample.PASSPORT.serial}"
    page = _content(label_pdf(_label(link=f"{address}#{'0' * 32}")))
    texts = re.findall(r"\((.*?)\) Tj", page)
    begin = next(at for at, text in enumerate(texts) if text.startswith("https://"))
    assert "".join(texts[begin:]) == address
    assert len(texts[begin:]) <= 2


def test_an_address_that_no_label_has_room_for_names_the_host_and_the_code() -> None:
    page = _content(label_pdf(_label(link=f"https://prints.example/{'o' * 400}/v1/parts/{sample.PASSPORT.serial}")))
    assert "prints.example: its whole address is in the code" in page


def test_a_label_that_nobody_answers_for_says_so() -> None:
    assert "nobody has said who answers for this part" in _content(label_pdf(_label(responsible=None)))


def test_a_label_of_a_passport_that_is_not_anchored_says_provisional() -> None:
    assert not _label(provisional=False).provisional
    assert "provisional" not in _content(label_pdf(_label(provisional=False)))
    assert "provisional" in _content(label_pdf(_label(provisional=True)))
    assert _label().provisional is sample.PASSPORT.provisional


def test_equal_labels_have_equal_bytes() -> None:
    assert label_pdf(_label()) == label_pdf(_label())
    assert label_pdf(_label()) != label_pdf(_label(revision=2))
    assert b"CreationDate (D:19700101000000Z)" in label_pdf(_label())


def test_the_code_on_the_label_is_the_link() -> None:
    page = _content(label_pdf(_label(picture=None)))
    rectangles = [tuple(map(float, m)) for m in re.findall(r"([\d.]+) ([\d.]+) ([\d.]+) -([\d.]+) re f", page)]
    matrix = [[bool(dark) for dark in row] for row in segno.make(LINK, error="m", micro=False).matrix]
    side = 28.0 / len(matrix) * 72 / 25.4
    drawn = sum(round(width / side) for _, _, width, _ in rectangles)
    assert drawn == sum(map(sum, matrix))


def test_the_code_as_svg_shows_the_modules_of_the_link() -> None:
    root = ET.fromstring(qr_svg(LINK))  # noqa: S314
    size = len(segno.make(LINK, error="m", micro=False).matrix) + 8
    assert root.attrib["width"] == str(size * 4)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "file:///etc/passwd", "https://x/" + "a" * 600, "https://x/\n"]
)
def test_a_link_that_is_none_is_refused(link: str) -> None:
    with pytest.raises(MalformedError) as refused:
        qr_svg(link)
    assert refused.value.code == "url"


def test_long_and_foreign_texts_stay_on_the_label() -> None:
    page = _content(label_pdf(_label(title="部品 " * 200, warnings=("x" * 500,) * 20)))
    assert "..." in page
    assert "部" not in page


def _gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "GIF")
    return buffer.getvalue()


def _huge(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("picture", [b"", b"%PDF-1.4", _gif(), PICTURE[:200], bytes(3 << 20), _huge(4097), _huge(9600)])
def test_a_picture_that_is_no_reasonable_png_is_refused(picture: bytes) -> None:
    with pytest.raises(MalformedError) as refused:
        label_pdf(_label(picture=picture))
    assert refused.value.code == "picture"
