"""Parts that have something in common with one, by the log and by passports."""

from dataclasses import replace

import pytest

from platemark.auditor import related
from platemark.auditor.part import audit_parts
from platemark.auditor.related import Relation, find_related
from platemark.errors import MalformedError
from platemark.protocol.log_entry import Result
from platemark.protocol.serial import serial_of
from platemark.protocol.units import LicenseId, TokenId
from platemark.verify.facts import ChainFacts
from sample_chain import FACTS, RESERVATION_FACT, anchored, ended, redeemed
from sample_documents import DESIGNER, TOKEN_ID, word
from sample_evidence import anchoring, evidence, failures, logged

SERIAL, SECOND = serial_of(TOKEN_ID, 1), serial_of(TOKEN_ID, 2)
ELSEWHERE, STRANGE = TokenId(7), TokenId(8)


def with_others() -> ChainFacts:
    """Return the sample's facts with a reservation of the same holder, and a stranger's of no known licence."""
    same = replace(RESERVATION_FACT, token_id=ELSEWHERE)
    strange = replace(
        RESERVATION_FACT,
        token_id=STRANGE,
        permission=replace(RESERVATION_FACT.permission, holder=DESIGNER.address, license_id=LicenseId(9)),
    )
    return replace(FACTS, reservations={TOKEN_ID: RESERVATION_FACT, ELSEWHERE: same, STRANGE: strange})


LOG = logged(
    redeemed(1),
    redeemed(2),
    ended(2, Result.FAILED),
    redeemed(1, token_id=ELSEWHERE),
    redeemed(1, token_id=STRANGE),
)


def test_what_log_and_chain_tell_is_listed_in_the_order_of_the_log() -> None:
    report, found = find_related(evidence(anchoring(LOG, with_others()), LOG), SERIAL.lower())
    assert failures(report) == []
    assert [(part.serial, part.relations, part.result) for part in found] == [
        (SECOND, (Relation.RESERVATION, Relation.HOLDER, Relation.REVISION), Result.FAILED),
        (serial_of(ELSEWHERE, 1), (Relation.HOLDER, Relation.REVISION), None),
    ]
    assert report.facts["related"] == {"lot": 0, "printer": 0, "reservation": 1, "holder": 2, "revision": 2}


def test_printer_and_lot_are_compared_where_both_receipts_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    press, other = frozenset({("bay 4", "X")}), frozenset({("bay 5", "X")})
    makings = {
        SERIAL: related._Making(press, ("PLA", "17")),
        SECOND: related._Making(press | other, ("PLA", "17")),
        serial_of(ELSEWHERE, 1): related._Making(other, None),
        serial_of(STRANGE, 1): related._Making(press, ("PLA", "17")),
    }
    monkeypatch.setattr(related, "_makings", lambda *_: iter(makings.items()))
    _, found = find_related(evidence(anchoring(LOG, with_others()), LOG), SERIAL)
    by_receipt = [(part.serial, {Relation.LOT, Relation.PRINTER} & set(part.relations)) for part in found]
    assert by_receipt == [
        (SECOND, {Relation.LOT, Relation.PRINTER}),
        (serial_of(ELSEWHERE, 1), set()),
        (serial_of(STRANGE, 1), {Relation.LOT}),  # a stranger's bay 4 is another machine
    ]


def test_a_passport_that_does_not_verify_is_no_evidence_and_is_named() -> None:
    good = anchored()
    bad = replace(good, permission_signature=DESIGNER.sign(word("something else")))
    report, _ = find_related(evidence(anchoring(LOG, with_others()), LOG), SERIAL, [bad])
    assert failures(report) != []
    assert any(finding.detail.startswith("printers and lots are not compared") for finding in report.findings)
    report, _ = find_related(evidence(anchoring(LOG, with_others()), LOG), SERIAL, [good])
    assert failures(report) == []


def test_a_part_that_the_log_lacks_has_no_relations() -> None:
    report, found = find_related(evidence(), serial_of(TOKEN_ID, 9))
    assert (failures(report), found) == ([(11, "serial-unknown")], [])


def test_many_parts_are_audited_in_one_reading_and_each_is_listed_once() -> None:
    common, parts = audit_parts(evidence(anchoring(LOG, with_others()), LOG), [SERIAL, SECOND, SERIAL.lower()])
    assert failures(common) == []
    assert [part.facts["serial"] for part in parts] == [SERIAL, SECOND]
    assert [part.facts["status"] for part in parts] == ["provisional", "voided"]


def test_no_part_is_looked_at_when_the_chain_cannot_be_believed() -> None:
    common, parts = audit_parts(evidence(replace(FACTS, gateways={})), [SERIAL])
    assert (failures(common), parts) == ([(10, "gateway-not-accepted")], [])
    with pytest.raises(MalformedError):
        audit_parts(evidence(), ["no serial"])
