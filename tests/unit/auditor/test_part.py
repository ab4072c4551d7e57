"""The audit of one part, by its passport or by nothing but its serial."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from platemark.auditor.part import HOLDS_BY_ITSELF, audit_part, audit_parts, audit_passport
from platemark.errors import MalformedError
from platemark.protocol.cid import raw_block
from platemark.protocol.log_entry import LogEntry, Result, leaf_hash
from platemark.protocol.passport import LoggedEntry, Passport, Status
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.serial import serial_of
from platemark.protocol.units import TokenId, UnixSeconds, address_text, digest_text, id_text
from platemark.verify.facts import ChainFacts
from platemark.verify.policy import Policy
from platemark.verify.report import Report, Verdict
from sample_chain import FACTS, LOG, RESERVATION_FACT, REVISION, SampleLog, anchored, block, ended, redeemed
from sample_documents import (
    DESIGN_ID,
    DESIGNER,
    GATEWAY,
    HOLDER,
    OUTCOME_ENTRY,
    REDEEMED,
    TOKEN_ID,
    word,
)
from sample_evidence import (
    PROFILE_BLOCK,
    REASON,
    RECALLED,
    MemoryLog,
    SampleEvidence,
    anchoring,
    evidence,
    failures,
    logged,
    with_design,
    with_gateway,
    with_reservation,
)

SERIAL = serial_of(TOKEN_ID, 1)


def holding(report: Report) -> set[int]:
    return {finding.step.value for finding in report.findings if finding.verdict is Verdict.HOLDS}


def test_part_is_established_from_its_serial_alone() -> None:
    report = audit_part(evidence(), SERIAL)
    assert report.failures == []
    assert holding(report) == {0, 4, 7, 8, 10, 11, 12, 13}
    assert report.facts["status"] == Status.VALID
    expected = {
        "serial": SERIAL,
        "sequence": 1,
        "designId": id_text(DESIGN_ID),
        "registrant": address_text(DESIGNER.address),
        "holder": address_text(HOLDER.address),
        "outcome": "completed",
        "madeAfterBlock": 17,
        "anchoredInBlock": 21,
        "revision": 1,
    }
    assert expected.items() <= report.facts.items()


def test_counts_of_one_are_told_in_words_that_fit_any_number() -> None:
    (told,) = [each.detail for each in audit_part(evidence(), SERIAL).findings if "released" in each.detail]
    assert told.startswith("the token (prints: ")


def test_serial_may_be_written_in_groups_and_in_small_letters() -> None:
    grouped = "-".join(SERIAL[at : at + 4] for at in range(0, 16, 4)).lower()
    assert audit_part(evidence(), grouped).facts["serial"] == SERIAL
    with pytest.raises(MalformedError) as raised:
        audit_part(evidence(), "no serial")
    assert raised.value.code == "serial"


@pytest.mark.parametrize("bundle", [(), (b"\x01\x09",)], ids=["true entries", "and one that is none"])
def test_serial_that_is_not_in_the_log_fails_in_step_11(bundle: tuple[bytes, ...]) -> None:
    log = logged(REDEEMED, *bundle)
    report = audit_part(evidence(anchoring(log), log), serial_of(TOKEN_ID, 2))
    assert failures(report) == [(11, "serial-unknown")]
    assert "status" not in report.facts


def test_first_entries_of_a_serial_are_the_ones_that_count_and_others_are_named() -> None:
    log = logged(REDEEMED, OUTCOME_ENTRY, redeemed(1, detail=word("again")), ended(1, Result.FAILED, spare_used=True))
    report = audit_part(evidence(anchoring(log), log), SERIAL)
    assert report.facts["outcome"] == "completed"
    assert failures(report) == [(8, "sequence-expected"), (13, "outcome-twice")]
    assert report.facts["status"] == Status.UNKNOWN


GIVEN_BACK = logged(REDEEMED, ended(1, Result.FAILED, spare_used=True))
FAILED = logged(REDEEMED, ended(1, Result.FAILED))
REJECTED = logged(REDEEMED, ended(1, Result.REJECTED))
OPEN = logged(REDEEMED)


def over(facts: ChainFacts) -> ChainFacts:
    """Return the facts three days and a second after the token's expiry, when no outcome can come any more."""
    moment = UnixSeconds(RESERVATION_FACT.permission.expires_at + SETTLE_BY_ANYBODY_SECONDS + 1)
    return replace(facts, final=replace(facts.final, timestamp=moment))


STATUSES: Mapping[str, tuple[SampleLog, ChainFacts, Status]] = {
    "recalled": (LOG, RECALLED, Status.RECALLED),
    "given back": (GIVEN_BACK, anchoring(GIVEN_BACK), Status.VOIDED),
    "failed when no spare was left": (FAILED, anchoring(FAILED), Status.VOIDED),
    "rejected when no spare was left": (REJECTED, anchoring(REJECTED), Status.VOIDED),
    "not reported": (OPEN, anchoring(OPEN), Status.PROVISIONAL),
    "not reported in time": (OPEN, over(anchoring(OPEN)), Status.VALID),
    "reported and not anchored": (LOG, anchoring(OPEN), Status.PROVISIONAL),
    "not anchored": (LOG, with_gateway(anchors=()), Status.PROVISIONAL),
    "with another root in storage": (
        LOG,
        with_gateway(anchors=(replace(LOG.anchor(), stored=word("other")),)),
        Status.UNKNOWN,
    ),
}


@pytest.mark.parametrize("name", STATUSES)
def test_status_of_a_part(name: str) -> None:
    log, facts, status = STATUSES[name]
    assert audit_part(evidence(facts, log), SERIAL).facts["status"] == status


OUTCOMES: Mapping[str, tuple[SampleLog, ChainFacts, dict[str, object]]] = {
    "completed": (LOG, FACTS, {"outcome": "completed", "givenBack": False}),
    "given back": (GIVEN_BACK, anchoring(GIVEN_BACK), {"outcome": "failed", "givenBack": True}),
    "counted": (REJECTED, anchoring(REJECTED), {"outcome": "rejected", "givenBack": False}),
    "not reported": (OPEN, anchoring(OPEN), {"outcome": "none in the log yet"}),
    "not reported in time": (OPEN, over(anchoring(OPEN)), {"outcome": "none in time: counts as printed"}),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome_of_a_part_is_told(name: str) -> None:
    log, facts, expected = OUTCOMES[name]
    told = audit_part(evidence(facts, log), SERIAL).facts
    assert {key: told[key] for key in ("outcome", "givenBack") if key in told} == expected


PART_LIES: Mapping[str, tuple[ChainFacts, list[tuple[int, str]]]] = {
    "recalled": (RECALLED, [(4, "revision-recalled")]),
    "another revision": (with_design(revisions={2: replace(REVISION, revision=2)}), [(0, "endpoint-contradicts")]),
    "no reservation": (replace(FACTS, reservations={}), [(7, "entry-without-reservation")]),
    "a licence that was never offered": (replace(FACTS, licenses={}), [(7, "license-unknown")]),
    "another agent": (with_reservation(agent_in_storage=DESIGNER.address), [(7, "agent-mismatch")]),
    "another root in storage": (
        with_gateway(anchors=(replace(LOG.anchor(), stored=word("other")),)),
        [(12, "anchor-storage")],
    ),
    "another root": (
        with_gateway(anchors=(replace(LOG.anchor(), root=word("other")),)),
        [(11, "merkle-proof"), (12, "anchor-storage")],
    ),
    "another gateway": (replace(FACTS, gateways={}), [(10, "gateway-not-accepted")]),
}


@pytest.mark.parametrize("name", PART_LIES)
def test_lie_in_the_state_fails_in_its_step(name: str) -> None:
    facts, expected = PART_LIES[name]
    assert failures(audit_part(evidence(facts), SERIAL)) == expected


def test_request_beyond_the_reservation_fails_in_step_13() -> None:
    last = RESERVATION_FACT.permission.prints + RESERVATION_FACT.spares
    entries: list[LogEntry] = [redeemed(1), ended(1, Result.FAILED, spare_used=True)]
    entries += [redeemed(number) for number in range(2, last + 2)]
    for sequence, expected in ((last, []), (last + 1, [(13, "count-exceeded")])):
        log = logged(*entries[: sequence + 1])
        assert failures(audit_part(evidence(anchoring(log), log), serial_of(TOKEN_ID, sequence))) == expected


OTHER_TOKEN = replace(redeemed(1), token_id=TokenId(7))
TOKENS: Mapping[str, tuple[SampleLog, ChainFacts, list[tuple[int, str]]]] = {
    "as it should be, among others and bytes that are none": (
        logged(OTHER_TOKEN, b"\x01\x09", REDEEMED, OTHER_TOKEN, OUTCOME_ENTRY, redeemed(2)),
        FACTS,
        [],
    ),
    "a gap before the print": (logged(redeemed(2), redeemed(1)), FACTS, [(8, "sequence-expected")]),
    "a gap after the print": (logged(redeemed(1), redeemed(3)), FACTS, [(8, "sequence-expected")]),
    "a block that never was": (logged(redeemed(1, seen_block=31)), FACTS, [(8, "seen-block")]),
    "more settled than logged": (LOG, with_reservation(settled_sequence=2), [(13, "settled-without-entry")]),
    "more burned than logged": (LOG, with_reservation(burned=2), [(13, "burned-above-log")]),
}


@pytest.mark.parametrize("name", TOKENS)
def test_whole_token_is_replayed_for_one_of_its_prints(name: str) -> None:
    log, facts, expected = TOKENS[name]
    report = audit_part(evidence(anchoring(log, facts), log), SERIAL)
    assert failures(report) == expected


def test_prints_of_the_token_that_went_back_unsettled_are_told() -> None:
    report = audit_part(evidence(with_reservation(returned=10)), SERIAL)
    assert report.failures == []
    assert report.facts["returnedUnsettled"] == {id_text(TOKEN_ID): 1}


def test_print_that_another_gateway_than_the_permitted_logged_fails_in_step_7() -> None:
    permission = replace(RESERVATION_FACT.permission, gateway=DESIGNER.address)
    token_id = permission.token_id(FACTS.contracts.ledger_domain)
    entry = redeemed(1, token_id=token_id)
    log = logged(entry)
    facts = with_reservation(token_id=token_id, permission=permission)
    report = audit_part(evidence(anchoring(log, facts), log), serial_of(token_id, 1))
    assert failures(report) == [(7, "gateway-mismatch")]
    assert report.facts["status"] == Status.UNKNOWN


def test_bundle_of_entries_that_is_altered_while_it_is_read_fails_in_step_11() -> None:
    found = evidence()
    name = next(path for path in found.files.files if path.startswith("tile/entries/"))
    reads = iter([found.files.files[name], b""])

    class Altering(MemoryLog):
        def _read(self, path: str, max_bytes: int) -> bytes | None:
            return next(reads) if path == name else self.files.get(path)

    found.log = Altering(LOG)
    assert [step for step, _ in failures(audit_part(found, SERIAL))] == [11]


def test_design_that_the_chain_does_not_know_is_left_out() -> None:
    report = audit_part(evidence(replace(FACTS, designs={})), SERIAL)
    assert "designId" not in report.facts


def test_keys_that_are_not_at_hand_end_the_audit_of_a_part() -> None:
    found = evidence()
    found.source.forget(PROFILE_BLOCK)
    assert failures(audit_part(found, SERIAL)) == [(10, "profile-withheld")]
    found = evidence()
    found.endpoint.forget("Anchored")
    assert failures(audit_part(found, SERIAL)) == [(0, "endpoint-contradicts")]


# --- passports ------------------------------------------------------------------------------------------------------

PASSPORT = anchored()
assert PASSPORT.anchor is not None
LOG_ANCHOR = PASSPORT.anchor


def test_passport_holds_with_and_without_a_chain() -> None:
    offline = audit_passport(PASSPORT, None)
    assert offline.failures == []
    assert holding(offline) == {2, 3, 5, 7, 8, 9, 10, 11}
    online = audit_passport(PASSPORT, evidence())
    assert online.failures == []
    assert holding(online) == {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}
    assert online.facts["status"] == Status.VALID
    assert online.trusted == ["this RPC endpoint"]


def test_chain_that_cannot_be_believed_fails_in_step_0_and_the_rest_is_told() -> None:
    found = evidence()
    found.endpoint.foreign_code.add(FACTS.contracts.ledger)
    report = audit_passport(PASSPORT, found)
    assert failures(report) == [(0, "contract-code")]
    assert holding(report) == {2, 3, 5, 7, 8, 9, 10, 11}
    assert report.facts["status"] == Status.UNKNOWN


@pytest.mark.parametrize("is_online", [True, False])
def test_policy_names_the_gateways_that_count(is_online: bool) -> None:
    found = evidence() if is_online else None
    accepted = Policy(gateways=frozenset({GATEWAY.address}))
    assert audit_passport(PASSPORT, found, policy=accepted).failures == []
    report = audit_passport(PASSPORT, found, policy=Policy(gateways=frozenset({DESIGNER.address})))
    assert failures(report) == [(10, "gateway-not-accepted")]


def stripped(passport: Passport) -> Passport:
    """Return the passport without how the print ended."""
    return replace(passport, outcome=None, receipt=None)


def ended_with(result: Result, *, spare_used: bool = False) -> tuple[Passport, ChainFacts]:
    """Return the passport of a print that ended so, and what the chain says of its log."""
    outcome = ended(1, result, spare_used=spare_used)
    log = logged(REDEEMED, outcome)
    assert PASSPORT.anchor is not None
    passport = replace(
        PASSPORT,
        redeemed=replace(PASSPORT.redeemed, proof=(leaf_hash(outcome),)),
        outcome=LoggedEntry(outcome.to_bytes(), 1, (leaf_hash(REDEEMED),)),
        receipt=None,
        anchor=replace(PASSPORT.anchor, root=log.growth.root, tiles_digest=log.listing.cid.digest),
    )
    return passport, anchoring(log)


PASSPORTS: Mapping[str, tuple[Passport, ChainFacts, Status]] = {
    "valid": (PASSPORT, FACTS, Status.VALID),
    "recalled": (PASSPORT, RECALLED, Status.RECALLED),
    "given back": (*ended_with(Result.FAILED, spare_used=True), Status.VOIDED),
    "failed when no spare was left": (*ended_with(Result.FAILED), Status.VOIDED),
    "rejected when no spare was left": (*ended_with(Result.REJECTED), Status.VOIDED),
    "without the outcome that it had": (stripped(PASSPORT), FACTS, Status.PROVISIONAL),
    "without the outcome, long after": (stripped(PASSPORT), over(FACTS), Status.PROVISIONAL),
    "not anchored": (replace(PASSPORT, anchor=None), FACTS, Status.PROVISIONAL),
    "of another chain's state": (PASSPORT, replace(FACTS, designs={}), Status.UNKNOWN),
    "not reported": (replace(PASSPORT, anchor=None, outcome=None, receipt=None), FACTS, Status.PROVISIONAL),
}


@pytest.mark.parametrize("name", PASSPORTS)
def test_status_of_a_passport(name: str) -> None:
    passport, facts, status = PASSPORTS[name]
    report = audit_passport(passport, evidence(facts))
    assert report.facts["status"] == status
    assert any(finding.step.value == 13 and finding.verdict is Verdict.NOT_CHECKED for finding in report.findings)


OFFLINE: Mapping[str, str] = {
    "valid": HOLDS_BY_ITSELF,
    "recalled": HOLDS_BY_ITSELF,
    "given back": "voided",
    "failed when no spare was left": "voided",
    "rejected when no spare was left": "voided",
    "without the outcome that it had": "provisional",
    "not anchored": "provisional",
}


@pytest.mark.parametrize("name", OFFLINE)
def test_passport_without_a_chain_is_never_told_to_be_valid(name: str) -> None:
    report = audit_passport(PASSPORTS[name][0], None)
    assert report.holds
    assert report.facts["status"] == OFFLINE[name]


def test_passport_that_does_not_hold_is_unknown_without_a_chain() -> None:
    strangers = Policy(gateways=frozenset({DESIGNER.address}))
    assert audit_passport(PASSPORT, None, policy=strangers).facts["status"] == Status.UNKNOWN


def looked_up(passport: Passport, log: SampleLog, facts: ChainFacts) -> Report:
    found = evidence(facts, log)
    found.source.forget(PROFILE_BLOCK)  # the passport has it
    return audit_passport(passport, found, with_log=True)


REJECTED_PASSPORT, REJECTED_FACTS = ended_with(Result.REJECTED)
REJECTED_LOG = logged(REDEEMED, ended(1, Result.REJECTED))
OF_OPEN = replace(
    stripped(PASSPORT),
    redeemed=replace(PASSPORT.redeemed, proof=()),
    anchor=replace(LOG_ANCHOR, size=1, root=OPEN.growth.root, tiles_digest=OPEN.listing.cid.digest),
)
LOOKED_UP: Mapping[str, tuple[Passport, SampleLog, ChainFacts, Status, str]] = {
    "whole": (PASSPORT, LOG, FACTS, Status.VALID, "completed"),
    "without its outcome": (stripped(PASSPORT), LOG, FACTS, Status.VALID, "completed"),
    "without its bad outcome": (
        stripped(REJECTED_PASSPORT),
        REJECTED_LOG,
        REJECTED_FACTS,
        Status.VOIDED,
        "rejected",
    ),
    "taken before inspection": (OF_OPEN, REJECTED_LOG, anchoring(OPEN), Status.VOIDED, "rejected"),
    "taken before its outcome was anchored": (OF_OPEN, LOG, anchoring(OPEN), Status.PROVISIONAL, "completed"),
    "not reported": (OF_OPEN, OPEN, anchoring(OPEN), Status.PROVISIONAL, "none in the log yet"),
    "not reported in time": (OF_OPEN, OPEN, over(anchoring(OPEN)), Status.VALID, "none in time: counts as printed"),
}


@pytest.mark.parametrize("name", LOOKED_UP)
def test_outcome_that_a_passport_does_not_show_is_looked_up_in_the_log(name: str) -> None:
    passport, log, facts, status, outcome = LOOKED_UP[name]
    report = looked_up(passport, log, facts)
    assert report.failures == []
    assert (report.facts["status"], report.facts["outcome"]) == (status, outcome)


AUDITS: Mapping[str, Callable[[SampleEvidence], Report]] = {
    "passport": lambda found: audit_passport(PASSPORT, found),
    "part": lambda found: audit_part(found, SERIAL),
    "parts": lambda found: audit_parts(found, [SERIAL])[1][0],
}


@pytest.mark.parametrize("audit", AUDITS)
def test_reason_of_a_recall_is_told_in_one_line_where_its_block_is_at_hand(audit: str) -> None:
    found = evidence(RECALLED)
    named = {"recallReasonDigest": digest_text(REASON.cid.digest)}
    assert {"recallReason": None, **named}.items() <= AUDITS[audit](found).facts.items()
    found.source.blocks[REASON.cid.text] = REASON.data
    report = AUDITS[audit](found)
    assert {"recallReason": "Pinches fingers at the hinge", **named}.items() <= report.facts.items()
    assert failures(report) == [(4, "revision-recalled")]
    empty = raw_block(b" ")
    wordless = evidence(
        with_design(revisions={1: replace(REVISION, recalled=block(20), recall_reason=empty.cid.digest)})
    )
    wordless.source.blocks[empty.cid.text] = empty.data
    assert AUDITS[audit](wordless).facts["recallReason"] == ""
    found.source.spoil(REASON)
    report = AUDITS[audit](found)
    assert report.facts["recallReason"] is None
    assert failures(report) == [(4, "block-mismatch"), (4, "revision-recalled")]
    assert not report.facts.keys().isdisjoint(named)
    assert AUDITS[audit](evidence()).facts.keys().isdisjoint(named), "a revision that stands has no reason"


FOREIGN = replace(RESERVATION_FACT.permission, gateway=DESIGNER.address)
NOT_OF_THE_LOG: Mapping[str, tuple[Passport, SampleLog, ChainFacts, set[tuple[int, str]]]] = {
    "another request": (
        PASSPORT,
        logged(redeemed(1, detail=word("other")), OUTCOME_ENTRY),
        FACTS,
        {(11, "entry-mismatch")},
    ),
    "another outcome": (PASSPORT, REJECTED_LOG, FACTS, {(11, "entry-mismatch")}),
    "no outcome": (PASSPORT, OPEN, FACTS, {(11, "entry-mismatch"), (12, "checkpoint-behind")}),
    "no such print": (PASSPORT, logged(redeemed(2)), FACTS, {(11, "serial-unknown")}),
    "another token": (PASSPORT, LOG, replace(FACTS, reservations={}), {(7, "entry-without-reservation")}),
    "another gateway": (PASSPORT, LOG, replace(FACTS, gateways={}), {(10, "gateway-not-accepted")}),
}


@pytest.mark.parametrize("name", NOT_OF_THE_LOG)
def test_passport_that_the_log_contradicts_is_named(name: str) -> None:
    passport, log, facts, expected = NOT_OF_THE_LOG[name]
    report = looked_up(passport, log, facts)
    assert expected <= set(failures(report))
    assert report.facts["status"] == Status.UNKNOWN


def test_log_of_another_gateway_says_nothing_of_a_passport() -> None:
    found = evidence()
    found.files.files["checkpoint"] = found.files.files["checkpoint"].replace(
        address_text(GATEWAY.address).encode(), address_text(DESIGNER.address).encode()
    )
    assert failures(audit_passport(PASSPORT, found, with_log=True)) == [(12, "checkpoint-origin")]
    found.files.files["checkpoint"] = b"none"
    assert failures(audit_passport(PASSPORT, found, with_log=True)) == [(12, "note")]
    found = evidence()
    found.files.files["checkpoint"] = found.files.files["checkpoint"][:-6] + b"AAAA=\n"
    assert failures(audit_passport(PASSPORT, found, with_log=True))[0][0] == 12
