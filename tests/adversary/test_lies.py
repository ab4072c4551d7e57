"""Each lie that a simulator tells is named by the audit that its declaration states, with nothing beside it."""

import re
from pathlib import Path

import pytest

from platemark.protocol.codes import CODES
from platemark.protocol.passport import Status
from sample_chain import anchored
from sample_evidence import evidence
from simulators.adversary import LOG, PART, PASSPORT, PASSPORT_AND_LOG, Lie, Shown, found_by, told_by
from simulators.every_lie import LIES

SHOWN = [lie for lie in LIES if lie.is_shown]
HIDDEN = [lie for lie in LIES if not lie.is_shown]
THREATS = Path(__file__).parents[2] / "docs" / "threat-model.md"


def name(lie: Lie) -> str:
    return f"{lie.who}: {lie.text}"


def not_claimed() -> list[str]:
    """Return the sentences of the threat model that say what is not claimed."""
    section = THREATS.read_text(encoding="utf-8").split("## What is not claimed\n")[1].split("\n## ")[0]
    return re.findall(r"^- (.+)$", section, re.MULTILINE)


def test_evidence_without_a_lie_holds_in_every_audit() -> None:
    shown = Shown(anchored(), evidence())
    reports = [LOG.run(evidence()), PART.run(evidence()), PASSPORT.run(shown), PASSPORT_AND_LOG.run(shown)]
    assert [found_by(report) for report in reports] == [[]] * 4
    assert {report.facts.get("status", Status.VALID) for report in reports} == {Status.VALID}


@pytest.mark.parametrize("lie", SHOWN, ids=name)
def test_lie_that_evidence_shows_is_named(lie: Lie) -> None:
    report = lie.audited()
    assert found_by(report) == list(lie.finds)
    told = told_by(report)
    assert {key: told[key] for key in lie.tells} == lie.tells


@pytest.mark.parametrize("lie", HIDDEN, ids=name)
def test_lie_that_no_evidence_shows_leaves_nothing_to_find_and_says_why(lie: Lie) -> None:
    assert found_by(lie.audited()) == []
    assert lie.why


def test_every_code_of_a_finding_is_public() -> None:
    assert {found.split()[1] for lie in LIES for found in lie.finds} <= CODES.keys()


def test_no_lie_is_declared_twice() -> None:
    names = [name(lie) for lie in LIES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie.claim], ids=name)
def test_what_no_evidence_shows_is_not_claimed(lie: Lie) -> None:
    assert [claim for claim in not_claimed() if claim.startswith(lie.claim)]


@pytest.mark.parametrize("claim", not_claimed())
def test_what_is_not_claimed_stands_in_the_table(claim: str) -> None:
    assert [lie for lie in LIES if lie.claim and claim.startswith(lie.claim)]
