"""Signed reports: what an auditor signs is what others read, and nothing else passes."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from platemark.auditor.signed import SignedReport, sign_report
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.accounts import AccountKey
from platemark.protocol.digests import sha256
from platemark.protocol.dsse import base64_text, parse_base64, pre_authentication
from platemark.protocol.units import UnixSeconds
from platemark.verify.report import Report
from platemark.verify.steps import Step
from sample_documents import DESIGNER, GATEWAY

AT = UnixSeconds(1_700_000_000)


def a_report() -> Report:
    report = Report("print log of a test", trusted=["nobody"], facts={"entries": 3, "months": [{"month": "2026-01"}]})
    report.hold(Step.ANCHOR, "the roots agree", "chain")
    report.reject(
        Step.COUNTS,
        VerificationError("counts differ", step="13 counts", code="counts", expected="2", found="3"),
        "tiles",
    )
    report.skip(Step.RECEIPT, "no receipt was given", "-")
    return report


def changed(data: bytes, change: Callable[[Any], object], key: AccountKey | None = None) -> bytes:
    """Return the envelope with a changed statement, signed anew when there is a key."""
    envelope = json.loads(data)
    statement = json.loads(parse_base64(envelope["payload"], max_bytes=1 << 20))
    change(statement)
    payload = canonical.encode(statement)
    envelope["payload"] = base64_text(payload)
    if key is not None:
        envelope["signatures"][0]["sig"] = base64_text(key.sign(sha256(pre_authentication(payload))))
    return canonical.encode(envelope)


def test_what_was_signed_is_what_is_read() -> None:
    opened = SignedReport.parse(sign_report(a_report(), DESIGNER, AT))
    assert opened == SignedReport(a_report(), DESIGNER.address, AT)
    assert not opened.report.holds
    opened.check_auditor([GATEWAY.address, DESIGNER.address])


def test_the_envelope_may_be_indented() -> None:
    data = json.dumps(json.loads(sign_report(a_report(), DESIGNER, AT)), indent=2).encode()
    assert SignedReport.parse(data).auditor == DESIGNER.address


def test_a_changed_report_is_refused() -> None:
    def hide(statement: Any) -> None:
        statement["predicate"]["report"]["findings"].pop(1)

    with pytest.raises(VerificationError, match="not signed by the account"):
        SignedReport.parse(changed(sign_report(a_report(), DESIGNER, AT), hide))


def test_another_auditor_than_the_named_is_refused() -> None:
    with pytest.raises(VerificationError) as refused:
        SignedReport.parse(sign_report(a_report(), DESIGNER, AT)).check_auditor([GATEWAY.address])
    assert refused.value.code == "signature-invalid"


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda each: each.update(predicateType="https://platemark.example/print-receipt/v1"), "report-type"),
        (lambda each: each["subject"][0].update(name="another log"), "report-subject"),
        (lambda each: each["predicate"]["report"].update(holds=True), "report"),
        (lambda each: each["predicate"].pop("madeAt"), "canonical-form"),
    ],
)
def test_a_statement_that_contradicts_itself_is_refused_whoever_signed(
    change: Callable[[Any], object], code: str
) -> None:
    with pytest.raises(MalformedError) as refused:
        SignedReport.parse(changed(sign_report(a_report(), DESIGNER, AT), change, DESIGNER))
    assert refused.value.code == code


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"payload":"","payloadType":"text/plain","signatures":[]}'])
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        SignedReport.parse(data)


def test_two_signatures_are_refused() -> None:
    envelope = json.loads(sign_report(a_report(), DESIGNER, AT))
    envelope["signatures"] *= 2
    with pytest.raises(MalformedError) as refused:
        SignedReport.parse(json.dumps(envelope).encode())
    assert refused.value.code == "count-limit"


def test_a_subject_that_nobody_could_read_is_not_signed() -> None:
    with pytest.raises(MalformedError):
        sign_report(replace(a_report(), subject="a\nb"), DESIGNER, AT)
