"""The audit of a whole log: what is true holds in every step, and each lie fails in its own."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from platemark.auditor import replay
from platemark.auditor.replay import audit_log
from platemark.errors import Kind, UpstreamError
from platemark.protocol.checkpoint import KeyType, Note, NoteSigner
from platemark.protocol.cid import raw_block
from platemark.protocol.codes import CODES
from platemark.protocol.jws import SigningKey
from platemark.protocol.log_entry import Result
from platemark.protocol.units import DesignId, Digest32, LicenseId, TokenId, UnixSeconds, id_text
from platemark.verify.facts import AnchorFact, ChainFacts, DeclarationFact, MoveFact
from platemark.verify.policy import Policy
from platemark.verify.report import Report, Verdict
from sample_chain import (
    FACTS,
    GATEWAY_FACT,
    LICENSE_FACT,
    LOG,
    RESERVATION_FACT,
    REVISION,
    SampleLog,
    block,
    ended,
    redeemed,
)
from sample_documents import (
    DESIGNER,
    GATEWAY,
    HOLDER,
    LICENSE_ID,
    LOG_KEY,
    OUTCOME_ENTRY,
    PROFILE,
    REDEEMED,
    TERMS,
    TOKEN_ID,
    word,
)
from sample_evidence import (
    MANIFEST_BLOCK,
    PROFILE_BLOCK,
    TERMS_BLOCK,
    SampleEvidence,
    anchoring,
    balanced,
    evidence,
    failures,
    logged,
    with_design,
    with_gateway,
    with_license,
    with_reservation,
)
from simulators.lying_gateway import forged, signed_by

HOLDING = {0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13}


def verdicts(report: Report, verdict: Verdict) -> set[int]:
    return {finding.step.value for finding in report.findings if finding.verdict is verdict}


def test_true_log_holds_in_every_step() -> None:
    report = audit_log(evidence())
    assert report.failures == []
    assert verdicts(report, Verdict.HOLDS) == HOLDING
    assert verdicts(report, Verdict.NOT_CHECKED) == set()
    assert report.trusted == ["this RPC endpoint"]
    assert {name: report.facts[name] for name in ("entries", "released", "voided", "settled", "unsettled")} == {
        "entries": 2,
        "released": 1,
        "voided": 0,
        "settled": 0,
        "unsettled": 1,
    }


def test_log_without_entries_holds() -> None:
    facts = with_gateway(anchors=())
    report = audit_log(evidence(facts, logged()))
    assert report.failures == []
    assert report.facts["entries"] == 0


def test_entries_after_the_last_anchor_are_said_to_be_provisional() -> None:
    grown = logged(REDEEMED, OUTCOME_ENTRY, redeemed(2))
    found = evidence(log=grown)
    found.files.files |= LOG.files
    found.source.blocks[LOG.listing.cid.text] = LOG.listing.data
    report = audit_log(found)
    assert report.failures == []
    (pending,) = [finding for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED]
    assert pending.detail == "1 entries are not anchored yet: provisional"


def test_design_of_two_licences_is_checked_once() -> None:
    salted = replace(TERMS, salt=word("another salt"))
    second = replace(
        LICENSE_FACT, license_id=salted.license_id(FACTS.contracts.license_domain), terms=salted, minted=0, sold=0,
        minted_in_storage=0, balances={HOLDER.address: 0}, escrowed=0, paid=0, credited=0, refunded=0,
    )  # fmt: skip
    facts = replace(FACTS, licenses={LICENSE_ID: LICENSE_FACT, second.license_id: second})
    report = audit_log(evidence(facts))
    assert report.failures == []
    assert len([finding for finding in report.findings if finding.step.value == 2]) == 1


def test_licence_that_moved_away_is_checked_with_the_reservations_of_before() -> None:
    moved = with_license(moves=(MoveFact(DESIGNER.address, block(9)),))
    report = audit_log(evidence(moved))
    assert report.failures == []
    assert {finding.step.value for finding in report.findings} >= {5, 6, 7, 13}


def test_licences_of_other_gateways_are_not_this_ones() -> None:
    other = replace(LICENSE_FACT, license_id=LicenseId(7), terms=replace(TERMS, gateway=DESIGNER.address))
    facts = replace(FACTS, licenses={LICENSE_ID: LICENSE_FACT, LicenseId(7): other})
    assert audit_log(evidence(facts)).failures == []


def test_recalled_revision_is_told_and_is_no_lie() -> None:
    report = audit_log(evidence(with_design(revisions={1: replace(REVISION, recalled=block(20))})))
    assert report.failures == []
    assert any("recalled in block 20" in finding.detail for finding in report.findings)


def test_content_that_nobody_revealed_is_told_as_not_disclosed() -> None:
    report = audit_log(evidence(with_design(revisions={1: replace(REVISION, files_root=None, salt=None)})))
    assert report.failures == []
    assert any("content not disclosed" in finding.detail for finding in report.findings)


def test_reservations_with_other_gateways_are_not_this_ones() -> None:
    other = replace(RESERVATION_FACT, permission=replace(RESERVATION_FACT.permission, gateway=DESIGNER.address))
    facts = with_gateway(replace(FACTS, reservations={TokenId(7): other}), anchors=())
    assert failures(audit_log(evidence(facts, logged()))) == []


# --- lies of the chain's state ------------------------------------------------------------------------------------

REGISTERED_ANEW = replace(FACTS.designs[next(iter(FACTS.designs))].registration, edition=14)
STATES: Mapping[str, tuple[ChainFacts, list[tuple[int, str]]]] = {
    "another registration": (with_design(registration=replace(REGISTERED_ANEW, edition=99)), [(3, "design-digest")]),
    "beyond its edition": (
        with_design(registration=REGISTERED_ANEW),
        [(3, "design-digest"), (6, "edition-exceeded")],
    ),
    "a design that was never registered": (replace(FACTS, designs={}), [(3, "design-unknown")]),
    "another root revealed": (
        with_design(revisions={1: replace(REVISION, files_root=word("other root"))}),
        [(3, "commitment")],
    ),
    "a manifest of another registrant": (
        with_design(registration=replace(REGISTERED_ANEW, registrant=HOLDER.address, edition=0)),
        [(2, "registrant"), (3, "commitment"), (3, "design-digest")],
    ),
    "terms of another licence": (with_license(terms=replace(TERMS, cap=99)), [(5, "license-digest")]),
    "another key accepted": (with_license(accepted={1: (word("other key"),)}), [(5, "key-commitment")]),
    "more minted than told": (with_license(minted_in_storage=16), [(6, "minted-mismatch")]),
    "a licence that was never offered": (replace(FACTS, licenses={}), [(7, "license-unknown")]),
    "another agent": (with_reservation(agent_in_storage=DESIGNER.address), [(7, "agent-mismatch")]),
    "more prints": (with_reservation(prints_in_storage=11), [(7, "prints-mismatch")]),
    "more spares": (with_reservation(spares=9), [(7, "spares-mismatch")]),
    "no reservation": (balanced(replace(FACTS, reservations={})), [(7, "entry-without-reservation")]),
    "more burned": (with_reservation(burned=2), [(13, "burned-above-log")]),
    "closed on fewer": (with_reservation(closed=(0, 0), returned=10), [(13, "closing-counts")]),
    "another root anchored": (
        with_gateway(anchors=(replace(LOG.anchor(), stored=word("other")),)),
        [(12, "anchor-storage")],
    ),
    "another epoch": (
        with_gateway(declarations=(*GATEWAY_FACT.declarations, DeclarationFact(2, word("profile"), block(25)))),
        [(12, "epoch-behind")],
    ),
    "another gateway": (replace(FACTS, gateways={}), [(10, "gateway-not-accepted")]),
    "another profile": (
        with_gateway(declarations=(DeclarationFact(1, word("profile"), block(1)),)),
        [(10, "profile-withheld")],
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_lie_in_the_state_fails_in_its_step(name: str) -> None:
    facts, expected = STATES[name]
    assert failures(audit_log(evidence(facts))) == expected


def test_endpoint_that_contradicts_itself_ends_the_audit_in_step_0() -> None:
    found = evidence()
    found.endpoint.forget("Anchored")
    assert failures(audit_log(found)) == [(0, "endpoint-contradicts")]


def test_gateway_that_the_policy_does_not_accept_ends_the_audit_in_step_10() -> None:
    assert audit_log(evidence(policy=Policy(gateways=frozenset({GATEWAY.address})))).failures == []
    report = audit_log(evidence(policy=Policy(gateways=frozenset({DESIGNER.address}))))
    assert failures(report) == [(10, "gateway-not-accepted")]


# --- lies of the log ------------------------------------------------------------------------------------------------


LOGS: Mapping[str, tuple[SampleLog, list[tuple[int, str]]]] = {
    "an invented request": (logged(redeemed(1), forged(2)), [(8, "signature-invalid")]),
    "a gap": (logged(redeemed(1), redeemed(3)), [(8, "sequence-expected")]),
    "a print id twice": (logged(redeemed(1), redeemed(2, print_id=redeemed(1).print_id)), [(8, "print-id-twice")]),
    "a block that never was": (logged(redeemed(1, seen_block=31)), [(8, "seen-block")]),
    "two outcomes": (logged(redeemed(1), ended(1), ended(1)), [(13, "outcome-twice")]),
    "an outcome of nothing": (logged(ended(1)), [(13, "outcome-without-redemption")]),
    "bytes that are no entry": (logged(redeemed(1), b"\x01\x09"), [(11, "log-entry")]),
}


@pytest.mark.parametrize("name", LOGS)
def test_lie_in_the_log_fails_in_its_step_though_it_is_signed_and_anchored(name: str) -> None:
    log, expected = LOGS[name]
    assert failures(audit_log(evidence(anchoring(log), log))) == expected


def test_print_given_back_after_its_time_fails_in_step_13() -> None:
    log = logged(redeemed(1), ended(1, Result.FAILED, spare_used=True))
    late = UnixSeconds(RESERVATION_FACT.permission.expires_at + 4 * 86_400)
    anchor = replace(log.anchor(), block=replace(block(21), timestamp=late))
    found = evidence(with_gateway(anchors=(anchor,)), log)
    found.endpoint.blocks = {**found.endpoint.blocks, 21: anchor.block}
    assert failures(audit_log(found)) == [(13, "outcome-late")]


def test_log_in_which_nothing_is_right_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_MAX_FINDINGS", 3)
    log = logged(*(ended(number) for number in range(1, 9)))
    report = audit_log(evidence(anchoring(log), log))
    assert any(finding.detail.startswith("given up after entry 4") for finding in report.findings)
    assert not report.holds


def test_progress_is_told_every_thousand_entries() -> None:
    told: list[str] = []
    found = evidence(replace(with_gateway(anchors=()), reservations={}), logged(*[REDEEMED] * 1000))
    found.on_progress = told.append
    audit_log(found)
    assert "entry 1000 of 1000" in told


# --- lies about files -----------------------------------------------------------------------------------------------


def shortened(found: SampleEvidence) -> None:
    short = logged(REDEEMED)
    found.files.files = short.files | {"checkpoint": short.checkpoint}


def newest(found: SampleEvidence, prefix: str) -> str:
    return next(name for name in found.files.files if name.startswith(prefix))


FILES: Mapping[str, tuple[Callable[[SampleEvidence], object], list[tuple[int, str]]]] = {
    "another manifest": (lambda found: found.source.spoil(MANIFEST_BLOCK), [(2, "block-mismatch")]),
    "another terms document": (lambda found: found.source.spoil(TERMS_BLOCK), [(5, "block-mismatch")]),
    "another profile": (lambda found: found.source.spoil(PROFILE_BLOCK), [(10, "block-mismatch")]),
    "no profile": (lambda found: found.source.forget(PROFILE_BLOCK), [(10, "profile-withheld")]),
    "another list of tiles": (lambda found: found.source.spoil(LOG.listing), [(12, "block-mismatch")]),
    "no list of tiles": (lambda found: found.source.forget(LOG.listing), [(12, "tile-withheld")]),
    "no hash tile": (lambda found: found.files.files.pop(newest(found, "tile/0/")), [(11, "log-tile")]),
    "another hash tile": (
        lambda found: found.files.files.update({newest(found, "tile/0/"): bytes(64)}),
        [(11, "log-root")],
    ),
    "no entries": (
        lambda found: found.files.files.pop(newest(found, "tile/entries/")),
        [(11, "log-tile"), (12, "tile-withheld")],
    ),
    "an older log": (shortened, [(12, "anchor-root"), (12, "checkpoint-behind"), (12, "tile-withheld")]),
    "a checkpoint by somebody else": (
        lambda found: found.files.files.update(checkpoint=signed_by(bytes(32), LOG.growth.root)),
        [(12, "note-signature")],
    ),
    "a checkpoint of another root": (
        lambda found: found.files.files.update(checkpoint=signed_by(LOG_KEY.secret(), word("another root"))),
        [(11, "log-root")],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_altered_or_withheld_file_fails_in_its_step(name: str) -> None:
    change, expected = FILES[name]
    found = evidence()
    change(found)
    assert failures(audit_log(found)) == expected


def test_documents_that_are_not_at_hand_are_told_and_no_discrepancy() -> None:
    found = evidence()
    found.source.forget(MANIFEST_BLOCK)
    found.source.forget(TERMS_BLOCK)
    report = audit_log(found)
    assert report.failures == []
    assert verdicts(report, Verdict.NOT_CHECKED) == {2, 5}
    assert verdicts(report, Verdict.HOLDS) == HOLDING - {2}


def test_manifest_whose_form_is_wrong_fails_in_step_2() -> None:
    odd = raw_block(b"{}")
    facts = with_design(revisions={1: replace(REVISION, manifest_digest=odd.cid.digest)})
    found = evidence(facts)
    found.source.blocks[odd.cid.text] = odd.data
    step, code = failures(audit_log(found))[0]
    assert (step, CODES[str(code)].kind) == (2, Kind.MALFORMED)


def test_source_that_cannot_be_reached_ends_the_audit() -> None:
    class Away:
        def get(self, cid: object) -> bytes:
            raise UpstreamError("away", code="gateway-unreachable")

    found = evidence()
    found.blocks = Away()
    with pytest.raises(UpstreamError):
        audit_log(found)


# --- epochs ---------------------------------------------------------------------------------------------------------

OLD_EPOCH = DeclarationFact(0, word("old profile"), block(1))


def old_anchor(log: SampleLog) -> AnchorFact:
    return replace(log.anchor(), epoch=0, block=block(2))


def with_old_anchor(log: SampleLog) -> ChainFacts:
    return with_gateway(
        declarations=(OLD_EPOCH, *GATEWAY_FACT.declarations), anchors=(old_anchor(log), *GATEWAY_FACT.anchors)
    )


def test_log_that_continues_an_earlier_epoch_holds() -> None:
    assert audit_log(evidence(with_old_anchor(logged(REDEEMED)))).failures == []


@pytest.mark.parametrize(
    "old", [logged(redeemed(1)), logged(REDEEMED, OUTCOME_ENTRY, redeemed(2))], ids=["other entries", "more entries"]
)
def test_log_that_drops_what_an_earlier_epoch_anchored_fails_in_step_12(old: SampleLog) -> None:
    assert failures(audit_log(evidence(with_old_anchor(old)))) == [(12, "epoch-not-continued")]


# --- keys that were replaced ----------------------------------------------------------------------------------------

OLD_SEED = word("old log key")
OLD_PROFILE = replace(PROFILE, log_key=SigningKey(OLD_SEED).public_bytes)
OLD_BLOCK = raw_block(OLD_PROFILE.encode())
WITHDRAWN = Digest32(bytes(32))


def declaring(*declared: tuple[Digest32, int], anchored_in: int | None = 21) -> SampleEvidence:
    """Return evidence of a gateway that declared these profiles in these blocks, for one epoch."""
    anchors = () if anchored_in is None else (replace(LOG.anchor(), block=block(anchored_in)),)
    declarations = tuple(DeclarationFact(1, digest, block(number)) for digest, number in declared)
    found = evidence(with_gateway(declarations=declarations, anchors=anchors))
    found.source.blocks[OLD_BLOCK.cid.text] = OLD_BLOCK.data
    return found


def under_old_key(found: SampleEvidence) -> SampleEvidence:
    found.files.files["checkpoint"] = signed_by(OLD_SEED, LOG.growth.root)
    return found


NEW, OLD = PROFILE.digest(), OLD_PROFILE.digest()
KEYS: Mapping[str, tuple[SampleEvidence, list[tuple[int, str]]]] = {
    "the newest": (declaring((OLD, 1), (NEW, 25)), []),
    "the newest, with nothing anchored": (declaring((OLD, 1), (NEW, 25), anchored_in=None), []),
    "an old one, while it was in force": (under_old_key(declaring((OLD, 1), (NEW, 25))), []),
    "an old one, after it was replaced": (under_old_key(declaring((OLD, 1), (NEW, 20))), [(12, "note-signature")]),
    "an old one, for what is not anchored": (
        under_old_key(declaring((OLD, 1), (NEW, 25), anchored_in=None)),
        [(12, "note-signature")],
    ),
    "an old one, the newest being withheld": (
        under_old_key(declaring((OLD, 1), (word("withheld"), 25))),
        [(10, "profile-withheld")],
    ),
    "the last before the gateway withdrew": (declaring((NEW, 1), (WITHDRAWN, 25)), []),
    "the last before the gateway withdrew, anchored later": (
        declaring((NEW, 1), (WITHDRAWN, 20)),
        [(10, "profile-withheld")],
    ),
    "the last before the gateway withdrew, withheld": (
        declaring((word("withheld"), 1), (WITHDRAWN, 25)),
        [(10, "profile-withheld")],
    ),
    "the newest, an older one being withheld": (declaring((word("withheld"), 1), (NEW, 25)), []),
}


@pytest.mark.parametrize("name", KEYS)
def test_checkpoint_is_good_only_under_a_key_that_was_in_force(name: str) -> None:
    found, expected = KEYS[name]
    assert failures(audit_log(found)) == expected


def test_profile_that_names_another_log_is_not_this_ones() -> None:
    other = replace(PROFILE, log_origin=PROFILE.log_origin[:-1] + "2")
    found = declaring((other.digest(), 1))
    other_block = raw_block(other.encode())
    found.source.blocks[other_block.cid.text] = other_block.data
    assert failures(audit_log(found)) == [(10, "profile-withheld")]


# --- prints that nobody settled -------------------------------------------------------------------------------------


def test_prints_that_went_back_unsettled_are_named_by_their_token() -> None:
    log = logged(redeemed(1), redeemed(2))
    report = audit_log(evidence(anchoring(log, with_reservation(returned=10)), log))
    assert report.failures == []
    assert report.facts["unsettled"] == 0
    assert report.facts["returnedUnsettled"] == {id_text(TOKEN_ID): 2}
    told = [finding.detail for finding in report.findings if finding.step.value == 13]
    assert "2 released, 0 given back, 0 settled, 0 not settled yet, 2 returned to their holders unsettled" in told
    assert f"token {id_text(TOKEN_ID)}: 2 printed, returned to the holder unsettled" in told


def test_unknown_design_of_a_licence_is_told_by_its_id() -> None:
    report = audit_log(evidence(with_license(terms=replace(TERMS, design_id=DesignId(7)))))
    assert {code for _, code in failures(report)} >= {"design-unknown"}


WITNESSES = [NoteSigner.from_seed(f"witness.test/{name}", name.encode() * 32, KeyType.COSIGNATURE) for name in "abc"]


def cosigned(*witnesses: NoteSigner, wrong: NoteSigner | None = None, policy: Policy, time: int = 1000) -> Report:
    """Audit the sample log with these cosignatures, and one that is for another checkpoint."""
    note = Note.parse(LOG.checkpoint)
    lines = [each.cosign(note.text, UnixSeconds(time)) for each in witnesses]
    if wrong is not None:
        lines.append(wrong.cosign("another\n", UnixSeconds(1000)))
    found = evidence(policy=policy)
    found.files.files["checkpoint"] = note.with_signatures(*lines).to_bytes()
    return audit_log(found)


def test_a_report_says_which_witnesses_cosigned_and_lists_unknown_ones() -> None:
    one, two, three = WITNESSES
    report = cosigned(one, two, policy=Policy(witnesses=(one.key, three.key), witnesses_wanted=1))
    assert report.holds
    assert report.facts["cosigned"] == {"witness.test/a": 1000}
    assert report.facts["unknownCosigners"] == ["witness.test/b"]
    (listed,) = [each for each in report.findings if "witness.test/b" in each.detail]
    assert listed.verdict is Verdict.NOT_CHECKED
    told = "witness.test/a cosigned the checkpoint at 1970-01-01 00:16:40 UTC"
    assert told in [each.detail for each in report.findings]


def test_time_that_no_calendar_has_ends_no_audit() -> None:
    one, *_ = WITNESSES
    report = cosigned(one, policy=Policy(witnesses=(one.key,), witnesses_wanted=1), time=(1 << 63) - 1)
    assert any(each.detail.endswith(f"at the impossible time {(1 << 63) - 1}") for each in report.findings)


def test_too_few_cosignatures_and_a_wrong_one_are_discrepancies() -> None:
    one, two, _ = WITNESSES
    policy = Policy(witnesses=(one.key, two.key), witnesses_wanted=1)
    assert failures(cosigned(policy=policy)) == [(12, "witnesses-missing")]
    assert failures(cosigned(one, wrong=two, policy=policy)) == [(12, "note-signature")]
    assert failures(cosigned(one, wrong=two, policy=Policy())) == [], "of keys that nobody named nothing is known"


def test_a_log_without_witnesses_tells_nothing_of_them() -> None:
    assert not {"cosigned", "unknownCosigners"} & audit_log(evidence()).facts.keys()
