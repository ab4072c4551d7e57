"""Reports list everything, and hold only when something was checked and nothing failed."""

from collections.abc import Callable
from typing import Any

import pytest

from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.verify.policy import Policy
from platemark.verify.report import Report, Verdict
from platemark.verify.steps import STATEMENTS, Step, fail, require
from sample_documents import GATEWAY, HOLDER


def test_steps_are_numbered_without_gaps_and_each_says_what_is_true() -> None:
    assert [step.value for step in Step] == list(range(len(Step)))
    assert {step.statement for step in Step} == set(STATEMENTS.values())
    assert Step.VOUCHER.label == "8 voucher"


def test_empty_report_does_not_hold() -> None:
    report = Report("nothing")
    assert not report.holds
    report.skip(Step.FILE, "not at hand", "file")
    assert not report.holds
    report.raise_if_failed()


def test_report_goes_on_after_a_discrepancy() -> None:
    report = Report("part")
    with report.step(Step.FILE, "first", "file"):
        fail(Step.FILE, "wrong file", code="file-unknown", expected=1, found=2)
    with report.step(Step.MANIFEST, "second", "block"):
        raise MalformedError("no manifest", code="manifest")
    with report.step(Step.TERMS, "third", "chain"):
        require(1 + 1 == 2, Step.TERMS, "arithmetic", code="arithmetic", expected=2, found=2)
    assert [finding.verdict for finding in report.findings] == [Verdict.FAILS, Verdict.FAILS, Verdict.HOLDS]
    assert not report.holds
    with pytest.raises(VerificationError, match="and 1 more") as raised:
        report.raise_if_failed()
    assert (raised.value.step, raised.value.expected, raised.value.found) == ("1 file", "1", "2")


def test_only_discrepancy_is_raised_with_the_steps_own_words() -> None:
    report = Report("part")
    report.reject(Step.TERMS, MalformedError("no terms", code="terms"), "block")
    with pytest.raises(VerificationError, match=r"^no terms$") as raised:
        report.raise_if_failed()
    assert raised.value.expected == Step.TERMS.statement


def test_what_is_no_discrepancy_is_not_swallowed() -> None:
    report = Report("part")
    with pytest.raises(UsageError), report.step(Step.FILE, "first", "file"):
        raise UsageError("called wrongly")
    assert report.findings == []


def test_report_as_json_leaves_out_what_is_absent() -> None:
    report = Report("part", trusted=["nobody"])
    with report.step(Step.FILE, "first", "file"):
        pass
    report.extend(list(report.findings))
    value = report.to_json()
    assert value["holds"] is True
    assert (
        value["findings"] == [{"step": 1, "name": "file", "verdict": "holds", "detail": "first", "source": "file"}] * 2
    )


def a_report() -> Report:
    report = Report("part", trusted=["nobody"], facts={"prints": 3})
    report.hold(Step.FILE, "first", "file")
    report.reject(Step.TERMS, MalformedError("no terms", code="terms"), "block")
    wrong = VerificationError("second", step="13 counts", code="counts", expected="1", found="2")
    report.reject(Step.COUNTS, wrong, "tiles")
    report.skip(Step.RECEIPT, "none was given", "-")
    return report


def test_report_is_what_its_json_says() -> None:
    assert Report.from_json(a_report().to_json()) == a_report()
    assert Report.from_json(Report("part").to_json()) == Report("part")


@pytest.mark.parametrize(
    "change, code",
    [
        (lambda each: each.update(holds=True), "report"),
        (lambda each: each.update(holds=0), "report"),
        (lambda each: each["findings"][0].update(step=99), "integer-range"),
        (lambda each: each["findings"][0].update(name="counts"), "report"),
        (lambda each: each["findings"][0].update(verdict="perhaps"), "report"),
        (lambda each: each["findings"][0].update(verdict=["holds"]), "report"),
        (lambda each: each["findings"][0].pop("source"), "canonical-form"),
        (lambda each: each["findings"][1].update(code=5), "canonical-form"),
        (lambda each: each.update(facts=[]), "canonical-form"),
    ],
)
def test_report_that_contradicts_itself_is_refused(change: Callable[[Any], object], code: str) -> None:
    value = a_report().to_json()
    change(value)
    with pytest.raises(MalformedError) as refused:
        Report.from_json(value)
    assert refused.value.code == code


def test_policy_without_names_accepts_all_and_with_names_only_those() -> None:
    assert Policy().accepts_gateway(GATEWAY.address)
    assert Policy().accepts_chain(5)
    strict = Policy(gateways=frozenset({GATEWAY.address}), chain_ids=frozenset({1}))
    assert strict.accepts_gateway(GATEWAY.address)
    assert not strict.accepts_gateway(HOLDER.address)
    assert strict.accepts_chain(1)
    assert not strict.accepts_chain(5)
