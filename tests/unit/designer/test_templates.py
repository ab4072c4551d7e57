"""Each template is sound, says in the documents' page what it says in the code, and gives way to single choices."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

import sample_documents as sample
from platemark.designer.licensing import check_materials
from platemark.designer.templates import NONE, TEMPLATES, Template, chosen
from platemark.errors import UsageError
from platemark.protocol.license_terms import Protection
from platemark.protocol.manifest import Constraints, Process
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.units import Wei

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "flows" / "licensing.md"


def document_of(template: Template, price: int = 10**15) -> TermsDocument:
    return TermsDocument(
        title="A part",
        design_id=sample.DESIGN_ID,
        gateway=sample.GATEWAY.address,
        protection=Protection(template.protection),
        cap=template.cap,
        price=Wei(0 if template.price == "0" else price),
        spares_flat=template.spares_flat,
        spares_per_hundred=template.spares_per_hundred,
        smallest_reservation=template.smallest_reservation,
        transferable=template.transferable,
        materials=template.materials,
        commercial=template.commercial,
        attribution=template.attribution,
        clauses=template.clauses,
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_makes_a_document(name: str) -> None:
    template = TEMPLATES[name]
    assert template.name == name
    assert template.purpose.endswith(".")
    document = document_of(template)
    assert TermsDocument.parse(document.encode()) == document
    assert document.terms(sample.word("salt")).spares(20) >= 1


def test_the_three_differ_where_their_uses_do() -> None:
    personal, shop, repair = TEMPLATES.values()
    assert [each.commercial for each in (personal, shop, repair)] == [False, True, True]
    assert [each.transferable for each in (personal, shop, repair)] == [False, False, True]
    assert personal.cap < repair.cap < shop.cap
    assert personal.attribution
    assert shop.price != "0"
    assert repair.materials


def test_what_is_said_decides_and_the_rest_is_the_templates() -> None:
    given = {"cap": 7, "commercial": True, "attribution": False, "clauses": (), "price": None}
    assert chosen("personal", given) == replace(
        TEMPLATES["personal"], cap=7, commercial=True, attribution=False, clauses=()
    )
    assert chosen("repair", {}) == TEMPLATES["repair"]
    assert chosen(None, {"cap": 3, "materials": None}) == replace(NONE, cap=3)


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        chosen("gift", {})
    assert refused.value.hint == "one of personal, shop-batch, repair"


def test_the_page_says_the_templates_numbers() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in PAGE.read_text(encoding="utf-8").partition("## Templates")[2].partition("\n## ")[0].splitlines()
        if line.startswith("| ")
    ]
    assert [cell.strip("`") for cell in rows[0][1:4]] == list(TEMPLATES)
    found = dict(zip((row[0] for row in rows), (row[1:] for row in rows), strict=True))
    word = {True: "yes", False: "no"}
    for column, template in enumerate([*TEMPLATES.values(), NONE]):
        assert {label: cells[column] for label, cells in found.items() if label not in {"", "---", "for"}} == {
            "prints (`--cap`)": str(template.cap or "you say it"),
            "price of a print, in the chain's coin": template.price,
            "paid": template.payout,
            "spares of a reservation, per hundred prints": f"{template.spares_flat}, {template.spares_per_hundred}",
            "smallest reservation": str(template.smallest_reservation),
            "protection": template.protection,
            "prints may be passed on": word[template.transferable],
            "materials": ", ".join(template.materials) or "open",
            "parts may be sold": word[template.commercial],
            "the designer is named": word[template.attribution],
            "clauses": str(len(template.clauses)),
        }


@pytest.mark.parametrize(
    "ours, theirs, fits",
    [
        (("PETG", "ABS"), ("petg",), True),
        (("PETG",), (), True),
        ((), ("PLA",), True),
        (("PETG", "ABS"), ("PLA",), False),
    ],
)
def test_terms_without_a_material_of_the_design_are_not_offered(
    ours: tuple[str, ...], theirs: tuple[str, ...], fits: bool
) -> None:
    document = replace(sample.TERMS_DOCUMENT, materials=ours)
    manifest = replace(sample.MANIFEST, constraints=Constraints(Process.FDM, materials=theirs))
    if fits:
        check_materials(document, manifest)
        return
    with pytest.raises(UsageError) as refused:
        check_materials(document, manifest)
    assert refused.value.code == "materials-exclusive"
