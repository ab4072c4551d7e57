"""The page of predicate types and the code that writes statements say the same."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

import sample_documents as sample
from platemark.auditor import signed
from platemark.auditor.signed import SignedReport, sign_report
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical, dsse, receipt
from platemark.protocol.digests import sha256
from platemark.protocol.dsse import base64_text, parse_base64, pre_authentication
from platemark.protocol.receipt import Receipt
from platemark.verify.report import Report
from platemark.verify.steps import Step

ROOT: Final = Path(__file__).resolve().parents[3]
PAGE: Final = (ROOT / "docs" / "predicates.md").read_text(encoding="utf-8")
ROW: Final = re.compile(r"^\| `([\w.\[\]]+)`(\?)? \| (.+?) \| (.+) \|$", re.MULTILINE)
WHOLE: Final = {"report.facts"}
"""What has no fixed members."""
QUANTITY: Final = "materialInPart"


def report() -> Report:
    found = Report("design 0xd177… of 31337", trusted=["this RPC endpoint"], facts={"minted": 100, "printed": 3})
    found.hold(Step.MINT, "100 prints were minted, at most 100 may be", "chain")
    found.reject(
        Step.COUNTS,
        VerificationError("counts differ", step="counts", code="burned-mismatch", expected="3", found="4"),
        "log and chain",
    )
    return found


def report_statement() -> Any:
    envelope: Any = json.loads(sign_report(report(), sample.DESIGNER, sample.NOW))
    return canonical.decode(parse_base64(envelope["payload"], max_bytes=1 << 20))


def read_report(statement: Any) -> None:
    payload = canonical.encode(statement)
    signature = sample.DESIGNER.sign(sha256(pre_authentication(payload)))
    envelope: Any = json.loads(sign_report(report(), sample.DESIGNER, sample.NOW))
    envelope |= {"payload": base64_text(payload)}
    envelope["signatures"][0]["sig"] = base64_text(signature)
    SignedReport.parse(canonical.encode(envelope))


@dataclass(frozen=True)
class Kind:
    """A predicate type: its section of the page, its URI in the code, a statement, and how statements are read."""

    heading: str
    uri: str
    statement: Any
    read: Callable[[Any], object]

    @property
    def section(self) -> str:
        found = re.search(rf"^## {self.heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
        assert found is not None
        return found[1]

    @property
    def fields(self) -> dict[str, bool]:
        """Return the page's fields, and whether they may be left out."""
        return {name: bool(optional) for name, optional, _, _ in ROW.findall(self.section)}


RECEIPT: Final = Kind(
    "Print receipt",
    receipt.PREDICATE_TYPE,
    canonical.decode(sample.RECEIPT.statement()),
    lambda statement: Receipt.parse(canonical.encode(statement)),
)
REPORT: Final = Kind("Audit report", signed.PREDICATE_TYPE, report_statement(), read_report)
KINDS: Final = pytest.mark.parametrize("kind", [RECEIPT, REPORT], ids=lambda kind: kind.heading)


def named(place: str) -> str:
    """Return a place as the page has it, which describes all quantities at once."""
    return re.sub(r"^quantities\.\w+", "quantities.NAME", place)


def paths(value: Any, place: str = "") -> Iterator[str]:
    """Give the place of each value that has no members, arrays marked `[]`."""
    if isinstance(value, dict) and place not in WHOLE:
        for name, inside in value.items():
            yield from paths(inside, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for inside in value:
            yield from paths(inside, f"{place}[]")
    else:
        yield place


def without(statement: Any, place: str) -> Any:
    """Return a copy of the statement whose predicate lacks a member (in arrays, of the first item)."""
    copy: Any = json.loads(json.dumps(statement))
    *outer, last = re.findall(r"\w+|\[\]", place.replace("NAME", QUANTITY))
    found = copy["predicate"]
    for step in outer:
        found = found[0] if step == "[]" else found[step]
    del found[last]
    return copy


@KINDS
def test_the_page_gives_the_uri_of_the_code(kind: Kind) -> None:
    assert f"Predicate type: `{kind.uri}`" in kind.section
    assert kind.statement["predicateType"] == kind.uri
    assert kind.uri.endswith("/v1")


def test_no_other_uri_is_on_the_page_or_in_the_second_reader() -> None:
    known = {RECEIPT.uri, REPORT.uri}
    assert set(re.findall(r"https://platemark\.example/[\w/-]+/v\d+", PAGE)) == known
    reader = (ROOT / "clients" / "web" / "src" / "verify" / "receipt.ts").read_text(encoding="utf-8")
    assert set(re.findall(r"https://platemark\.example/[\w/-]+", reader)) == {RECEIPT.uri}


def test_the_page_gives_the_types_of_statement_and_payload() -> None:
    assert f"`{dsse.STATEMENT_TYPE}`" in PAGE
    assert f"`{dsse.PAYLOAD_TYPE}`" in PAGE


@KINDS
def test_the_page_has_every_field_and_no_other(kind: Kind) -> None:
    assert set(map(named, paths(kind.statement["predicate"]))) == set(kind.fields)


def test_the_page_names_each_quantity_with_its_unit() -> None:
    quantities: Any = RECEIPT.statement["predicate"]["quantities"]
    for name, quantity in quantities.items():
        assert f"`{name}` ({quantity['unit']})" in RECEIPT.section


@KINDS
def test_a_field_that_is_not_marked_cannot_be_left_out(kind: Kind) -> None:
    kind.read(kind.statement)
    for place in (place for place, optional in kind.fields.items() if not optional and not place.endswith("[]")):
        with pytest.raises(MalformedError):
            kind.read(without(kind.statement, place))


@KINDS
def test_a_field_that_the_page_does_not_have_is_refused(kind: Kind) -> None:
    more: Any = json.loads(json.dumps(kind.statement))
    more["predicate"]["more"] = 1
    with pytest.raises(MalformedError):
        kind.read(more)


@KINDS
def test_the_example_is_what_is_written(kind: Kind) -> None:
    (example,) = re.findall(r"```json\n(.*?)```", kind.section, re.DOTALL)
    assert example == json.dumps(kind.statement, indent=2, ensure_ascii=False) + "\n"
