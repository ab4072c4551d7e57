"""A passport holds offline and on chain, and each altered part of it is named."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from platemark.protocol.accounts import AccountKey
from platemark.protocol.jws import SigningKey
from platemark.protocol.log_entry import leaf_hash
from platemark.protocol.outcome import Result
from platemark.protocol.passport import (
    Anchor,
    Content,
    LoggedEntry,
    Passport,
    PassportPartError,
    ReceiptPart,
    Statement,
    Status,
)
from platemark.protocol.receipt import sign_receipt
from platemark.protocol.units import Digest32, address_text
from platemark.verify.facts import ChainFacts, DeclarationFact, GatewayFact
from platemark.verify.passport import PART_STEPS, refused_passport, verify_passport
from platemark.verify.report import Report, Verdict
from platemark.verify.steps import Step
from sample_chain import (
    DESIGN,
    FACTS,
    GATEWAY_FACT,
    LICENSE_FACT,
    LOG,
    RESERVATION_FACT,
    REVISION,
    SampleLog,
    anchored,
    block,
    block_hash,
    of_second_revision,
    redeemed,
)
from sample_documents import (
    AGENT,
    CHAIN_ID,
    CONTENT_SALT,
    DESIGN_ID,
    DESIGNER,
    ENVELOPE,
    GATEWAY,
    LEDGER,
    LEDGER_DOMAIN,
    LICENSE_ID,
    MANIFEST,
    OUTCOME_ENTRY,
    PACKAGE,
    PROFILE,
    RECEIPT,
    RECEIPT_SALT,
    RELEASE,
    RELEASE_KEY,
    TOKEN_ID,
    contract,
    word,
)
from sample_documents import PASSPORT as SAMPLE

GOOD = anchored()


def codes(report: Report) -> set[str | None]:
    return {finding.code for finding in report.failures}


def on_chain(passport: Passport = GOOD, facts: ChainFacts = FACTS) -> Report:
    return verify_passport(passport, facts=facts, block_hash=block_hash)


def test_passport_holds_offline_and_says_what_was_not_checked() -> None:
    report = verify_passport(GOOD)
    assert report.failures == []
    assert report.holds
    skipped = [finding.detail for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED]
    assert skipped[0] == "chain facts not verified"
    steps = {finding.step for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED}
    assert steps == {Step.CONTRACTS, Step.REVISION, Step.MINT, Step.ANCHOR, Step.COUNTS}


def test_passport_holds_on_chain_in_every_step() -> None:
    report = on_chain()
    assert report.failures == []
    held = {finding.step for finding in report.findings if finding.verdict is Verdict.HOLDS}
    assert held == set(Step) - {Step.FILE}


def test_facts_without_a_way_to_look_up_blocks_are_not_used() -> None:
    assert any(finding.step is Step.CONTRACTS for finding in verify_passport(GOOD, facts=FACTS).findings)


def test_public_form_says_that_content_is_not_disclosed() -> None:
    report = on_chain(GOOD.public())
    assert report.failures == []
    assert any(finding.detail == "content not disclosed" for finding in report.findings)


@pytest.mark.parametrize("chosen", [{each} for each in Statement] + [set()], ids=str)
def test_single_statements_are_verified_and_told_with_those_that_are_closed(chosen: set[Statement]) -> None:
    report = on_chain(replace(GOOD, detail=SAMPLE_DETAIL).disclosing(chosen))
    assert report.failures == []
    assert report.facts["disclosed"] == [str(each) for each in Statement if each in chosen]
    assert report.facts["notDisclosed"] == [str(each) for each in Statement if each not in chosen]
    held = {finding.detail for finding in report.findings if finding.verdict is Verdict.HOLDS}
    opened = {
        Statement.RECEIPT: "agent and gateway signed the receipt",
        Statement.CONTENT: "the registrant committed to these files",
        Statement.DETAIL: "the opened detail is the one in the request",
    }
    assert {each for each, detail in opened.items() if detail in held} == chosen
    skipped = {finding.detail for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED}
    assert ("receipt not disclosed" in skipped) == (Statement.RECEIPT not in chosen)


def test_a_statement_of_another_part_is_no_disclosure_of_this_one() -> None:
    other = replace(SAMPLE_DETAIL, salt=bytes(32))
    assert codes(on_chain(replace(GOOD, detail=other).disclosing({Statement.DETAIL}))) == {"detail-mismatch"}
    receipt = ReceiptPart(ENVELOPE, bytes(32))
    assert codes(on_chain(replace(GOOD, receipt=receipt).disclosing({Statement.RECEIPT}))) == {"receipt-mismatch"}


def test_provisional_passport_holds_but_its_anchor_is_not_checked() -> None:
    report = on_chain(replace(GOOD, anchor=None))
    assert report.failures == []
    skipped = {finding.step for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED}
    assert skipped == {Step.INCLUSION, Step.ANCHOR}


def test_passport_without_outcome_and_receipt_says_that_the_outcome_is_not_shown() -> None:
    report = on_chain(replace(GOOD, outcome=None, receipt=None))
    assert report.failures == []
    assert report.facts["outcome"] == "not shown"
    assert any(finding.detail.startswith("outcome not shown") for finding in report.findings)
    assert (on_chain().facts["outcome"], on_chain().facts["givenBack"]) == ("completed", False)


def test_permission_of_a_contract_wallet_is_left_to_the_chain() -> None:
    report = verify_passport(replace(GOOD, permission_signature=bytes(70)))
    assert report.failures == []
    assert any("contract wallet" in finding.detail for finding in report.findings)


def test_later_revision_is_compared_with_the_chain_alone() -> None:
    manifest = replace(MANIFEST, title="Box, second revision")
    later = of_second_revision(manifest)
    published = replace(REVISION, revision=2, manifest_digest=manifest.digest())
    facts = replace(
        FACTS,
        designs={DESIGN_ID: replace(DESIGN, revisions={1: REVISION, 2: published})},
        licenses={LICENSE_ID: replace(LICENSE_FACT, accepted={2: (MANIFEST.key_commitment,)})},
        reservations={later.token_id: replace(RESERVATION_FACT, token_id=later.token_id, permission=later.permission)},
    )
    assert on_chain(later, facts).failures == []


def test_content_of_a_later_revision_is_not_held_without_the_chain() -> None:
    for private in (False, True):
        later = replace(
            of_second_revision(replace(MANIFEST, private=private)),
            content=Content(word("no such salt"), PACKAGE.files_root),
        )
        found = [each.verdict for each in verify_passport(later).findings if each.step is Step.REGISTRATION]
        assert Verdict.NOT_CHECKED in found
        assert (Verdict.HOLDS in found) == (not private)


def test_private_manifest_is_not_held_against_a_public_root() -> None:
    assert verify_passport(of_second_revision(replace(MANIFEST, private=True))).failures == []


def receipt_part(**changes: Any) -> ReceiptPart:
    envelope = sign_receipt(replace(RECEIPT, **changes), AGENT).countersign(RELEASE_KEY)
    return ReceiptPart(envelope, RECEIPT_SALT)


def resigned_outcome(digest: Digest32) -> LoggedEntry:
    entry = replace(OUTCOME_ENTRY, receipt_digest=digest)
    entry = replace(entry, signature=AGENT.sign(entry.outcome().digest(LEDGER_DOMAIN)))
    assert GOOD.outcome is not None
    return replace(GOOD.outcome, entry=entry.to_bytes())


assert SAMPLE.detail is not None
SAMPLE_DETAIL = SAMPLE.detail
OTHER_RELEASE_KEY = SigningKey(word("another release key"))
OTHER_PRINT = receipt_part(sequence=2)

ALTERED: Mapping[str, tuple[Callable[[], Passport], str]] = {
    "another manifest": (lambda: replace(GOOD, manifest=replace(MANIFEST, title="Else")), "manifest-digest"),
    "another registrant": (
        lambda: replace(GOOD, manifest=replace(MANIFEST, registrant=contract("somebody"))),
        "manifest-digest",
    ),
    "registrant of a later revision": (
        lambda: replace(GOOD, revision=2, manifest=replace(MANIFEST, registrant=contract("somebody"))),
        "registrant",
    ),
    "another salt": (lambda: replace(GOOD, content=Content(bytes(32), PACKAGE.files_root)), "commitment"),
    "another root": (lambda: replace(GOOD, revision=2, content=Content(CONTENT_SALT, word("root"))), "files-root"),
    "permission of another holder": (
        lambda: replace(GOOD, permission_signature=DESIGNER.sign(word("something"))),
        "not-holder",
    ),
    "release of another key": (lambda: replace(GOOD, release=RELEASE.sign(OTHER_RELEASE_KEY)), "signature-invalid"),
    "release for another print": (
        lambda: replace(GOOD, release=replace(RELEASE, leaf_hash=word("leaf")).sign(RELEASE_KEY)),
        "release-mismatch",
    ),
    "release for another manifest": (
        lambda: replace(GOOD, release=replace(RELEASE, manifest_digest=word("x")).sign(RELEASE_KEY)),
        "release-mismatch",
    ),
    "receipt of another agent": (
        lambda: replace(
            GOOD, receipt=ReceiptPart(sign_receipt(RECEIPT, DESIGNER).countersign(RELEASE_KEY), RECEIPT_SALT)
        ),
        "signature-invalid",
    ),
    "receipt with another salt": (
        lambda: replace(GOOD, receipt=ReceiptPart(ENVELOPE, bytes(32))),
        "receipt-mismatch",
    ),
    "receipt without an outcome": (lambda: replace(GOOD, outcome=None), "receipt-mismatch"),
    "receipt of another print": (
        lambda: replace(
            GOOD,
            receipt=OTHER_PRINT,
            outcome=resigned_outcome(replace(RECEIPT, sequence=2).digest(RECEIPT_SALT)),
        ),
        "receipt-mismatch",
    ),
    "another detail": (
        lambda: replace(GOOD, detail=replace(SAMPLE_DETAIL, salt=bytes(32))),
        "detail-mismatch",
    ),
    "another revision than was permitted": (lambda: replace(GOOD, revision=2), "revision-mismatch"),
    "anchor of another gateway": (lambda: anchor_with(gateway=DESIGNER.address), "gateway-mismatch"),
    "proof for another index": (
        lambda: replace(GOOD, redeemed=replace(GOOD.redeemed, index=1)),
        "merkle-proof",
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_passport_is_named_offline(name: str) -> None:
    make, code = ALTERED[name]
    assert code in codes(verify_passport(make()))


def test_receipt_of_another_result_is_named() -> None:
    part = receipt_part(result=Result.REJECTED)
    digest = replace(RECEIPT, result=Result.REJECTED).digest(RECEIPT_SALT)
    passport = replace(GOOD, receipt=part, outcome=resigned_outcome(digest))
    assert "receipt-mismatch" in codes(verify_passport(passport))


FACT_CHANGES: Mapping[str, tuple[dict[str, Any], str]] = {
    "other contracts": ({"contracts": replace(FACTS.contracts, registry=contract("else"))}, "wrong-chain"),
    "no such design": ({"designs": {}}, "design-unknown"),
    "recalled": (
        {"designs": {DESIGN_ID: replace(DESIGN, revisions={1: replace(REVISION, recalled=block(9))})}},
        "revision-recalled",
    ),
    "manifest of the chain": (
        {"designs": {DESIGN_ID: replace(DESIGN, revisions={1: replace(REVISION, manifest_digest=word("x"))})}},
        "manifest-digest",
    ),
    "no such licence": ({"licenses": {}}, "license-unknown"),
    "too few prints": (
        {"licenses": {LICENSE_ID: replace(LICENSE_FACT, minted=1, sold=1)}},
        "reserved-above-minted",
    ),
    "never reserved": ({"reservations": {}}, "entry-without-reservation"),
    "unknown gateway": ({"gateways": {}}, "gateway-not-accepted"),
    "never anchored": ({"gateways": {GATEWAY.address: replace(GATEWAY_FACT, anchors=())}}, "anchor-root"),
}


@pytest.mark.parametrize("name", FACT_CHANGES)
def test_passport_that_the_chain_contradicts_is_named(name: str) -> None:
    changes, code = FACT_CHANGES[name]
    assert code in codes(on_chain(facts=replace(FACTS, **changes)))


def test_sequence_above_the_reservation_is_named() -> None:
    reservation = FACTS.reservations[TOKEN_ID]
    none_left = replace(reservation, spares=-reservation.permission.prints)
    report = on_chain(facts=replace(FACTS, reservations={TOKEN_ID: none_left}))
    assert "count-exceeded" in codes(report)


def anchor_with(**changes: Any) -> Passport:
    anchor = GOOD.anchor
    assert isinstance(anchor, Anchor)
    return replace(GOOD, anchor=replace(anchor, **changes))


def test_anchor_that_differs_from_the_chains_is_named() -> None:
    assert "anchor-root" in codes(on_chain(anchor_with(tiles_digest=word("else"))))
    assert "anchor-block" in codes(on_chain(anchor_with(block_number=22)))
    assert "anchor-root" in codes(on_chain(anchor_with(epoch=2)))
    assert codes(on_chain(anchor_with(transaction=word("else")))) == {"anchor-transaction"}
    assert verify_passport(anchor_with(transaction=word("else"))).failures == []  # and says that it was not checked


def test_anchor_that_a_chain_does_not_have_fails_step_12_also_where_it_has_no_such_gateway() -> None:
    for facts, found in (
        (replace(FACTS, gateways={}), "none of this gateway"),
        (replace(FACTS, gateways={GATEWAY.address: replace(GATEWAY_FACT, anchors=())}), "none of that size"),
    ):
        (failed,) = [each for each in on_chain(facts=facts).failures if each.step is Step.ANCHOR]
        assert (failed.detail, failed.code) == ("this chain has no such anchor", "anchor-root")
        assert GOOD.anchor is not None
        assert (failed.expected, failed.found) == (f"an anchor of {GOOD.anchor.size} entries in epoch 1", found)


# --- another gateway, other keys ------------------------------------------------------------------------------------


def of_another_gateway() -> tuple[Passport, ChainFacts]:
    """Return a print of the sample token that another gateway logged, anchored and released, all by itself."""
    other = AccountKey(word("another gateway"))
    origin = f"{CHAIN_ID}/{address_text(LEDGER)}/{address_text(other.address)}/1"
    profile = replace(PROFILE, gateway=other.address, log_origin=origin, release_key=OTHER_RELEASE_KEY.public_bytes)
    entry = redeemed(4)
    log = SampleLog([entry.to_bytes()])
    release = replace(
        RELEASE,
        origin=origin,
        sequence=4,
        print_id=entry.print_id,
        leaf_hash=leaf_hash(entry),
        profile_digest=profile.digest(),
    )
    passport = replace(
        anchor_with(gateway=other.address, size=1, root=log.growth.root, tiles_digest=log.anchor().tiles_digest),
        profile=profile,
        sequence=4,
        redeemed=LoggedEntry(entry.to_bytes(), 0, ()),
        release=release.sign(OTHER_RELEASE_KEY),
        outcome=None,
        receipt=None,
        detail=None,
    )
    rogue = GatewayFact(other.address, (DeclarationFact(1, profile.digest(), block(2)),), (log.anchor(),))
    return passport, replace(FACTS, gateways={**FACTS.gateways, other.address: rogue})


@pytest.mark.parametrize("is_online", [True, False])
def test_print_that_the_permitted_gateway_never_counted_fails_in_step_10(is_online: bool) -> None:
    passport, facts = of_another_gateway()
    report = on_chain(passport, facts) if is_online else verify_passport(passport)
    assert [(found.step, found.code) for found in report.failures] == [(Step.RELEASE, "gateway-mismatch")]


def declaring(*declared: tuple[Digest32, int]) -> ChainFacts:
    """Return facts in which the gateway declared these profiles in these blocks; the log is anchored in block 21."""
    declarations = tuple(DeclarationFact(1, digest, block(number)) for digest, number in declared)
    return replace(FACTS, gateways={GATEWAY.address: replace(GATEWAY_FACT, declarations=declarations)})


OURS, OTHER = PROFILE.digest(), word("another profile")


@pytest.mark.parametrize(
    "facts, expected",
    [
        (declaring((OURS, 1), (OTHER, 25)), set()),
        (declaring((OTHER, 1), (OURS, 20)), set()),
        (declaring((OURS, 1), (OTHER, 20)), {"profile-replaced"}),
        (declaring((OTHER, 1), (OURS, 25)), {"profile-replaced"}),
    ],
    ids=["replaced later", "declared before", "replaced before", "declared later"],
)
def test_release_is_good_only_under_keys_that_were_in_force_when_it_was_anchored(
    facts: ChainFacts, expected: set[str]
) -> None:
    report = on_chain(facts=facts)
    assert codes(report) == expected
    assert {found.step for found in report.failures} <= {Step.RELEASE}


def test_release_is_as_old_as_the_first_anchor_of_its_entry() -> None:
    first = replace(LOG.anchor(), size=1, block=block(18))
    facts = declaring((OURS, 1), (OTHER, 20))
    gateway = replace(facts.gateways[GATEWAY.address], anchors=(first, LOG.anchor()))
    assert codes(on_chain(facts=replace(facts, gateways={GATEWAY.address: gateway}))) == set()
    later = replace(gateway, anchors=(replace(first, epoch=2), LOG.anchor()))
    assert codes(on_chain(facts=replace(facts, gateways={GATEWAY.address: later}))) == {"profile-replaced"}


def test_entry_that_only_a_later_epoch_anchored_needs_that_epochs_keys() -> None:
    gateway = replace(GATEWAY_FACT, anchors=(replace(LOG.anchor(), epoch=2),))
    gateway = replace(gateway, declarations=(*gateway.declarations, DeclarationFact(2, OTHER, block(20))))
    facts = replace(FACTS, gateways={GATEWAY.address: gateway})
    assert codes(on_chain(anchor_with(epoch=2), facts)) == {"profile-replaced"}


def test_provisional_passport_needs_the_present_keys() -> None:
    passport = replace(GOOD, anchor=None)
    assert codes(on_chain(passport, declaring((OTHER, 1), (OURS, 25)))) == set()
    assert codes(on_chain(passport, declaring((OURS, 1), (OTHER, 25)))) == {"profile-replaced"}


def test_profile_that_was_replaced_by_one_with_the_same_key_holds_where_that_is_at_hand() -> None:
    moved = replace(PROFILE, url="https://moved.example")
    facts = declaring((OURS, 1), (moved.digest(), 20))
    at_hand = {moved.digest(): moved}.get
    assert codes(verify_passport(GOOD, facts=facts, block_hash=block_hash, get_profile=at_hand)) == set()


# --- every value, one at a time -------------------------------------------------------------------------------------

UNCHECKED = {"material", "warnings", "responsible", "anchor.tilesDigest", "anchor.epoch", "anchor.transaction"}
"""What nobody can check offline, or at all: the last three are compared with the chain."""
UNCHECKED |= {"anchor.blockNumber", "anchor.blockHash"}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from leaves(one, (*path, name))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from leaves(one, (*path, at))
    else:
        yield path


def other_value(value: Any) -> Any:
    """Return another value of the same kind; of a text, with another digit or letter in its middle."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + 1
    at = len(value) // 2
    return value[:at] + ("b" if value[at : at + 1] != "b" else "c") + value[at + 1 :]


def altered(path: tuple[Any, ...]) -> bytes:
    value = json.loads(GOOD.encode())
    part = value
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = other_value(part[path[-1]])
    return json.dumps(value).encode()


VALUES = [path for path in leaves(json.loads(GOOD.encode())) if path != ("version",)]


@pytest.mark.parametrize("path", VALUES, ids=lambda path: ".".join(map(str, path)))
def test_no_value_of_a_passport_can_be_another(path: tuple[Any, ...]) -> None:
    try:
        report = verify_passport(Passport.parse(altered(path)))
    except PassportPartError as error:
        report = refused_passport(error)
    is_unchecked = path[0] in UNCHECKED or ".".join(map(str, path[:2])) in UNCHECKED
    assert bool(report.failures) != is_unchecked


# --- parts that contradict each other -------------------------------------------------------------------------------


def test_each_part_of_a_passport_has_its_step() -> None:
    members = GOOD.to_json().keys() | replace(GOOD, chain_proof=SAMPLE.chain_proof).to_json().keys()
    assert members == PART_STEPS.keys()
    report = refused_passport(PassportPartError("wrong", part="terms"))
    assert [(found.step, found.code) for found in report.failures] == [(Step.TERMS, "passport")]
    assert report.facts["status"] == Status.UNKNOWN
    unknown = refused_passport(PassportPartError("unknown field: extra", part="extra"))
    assert [found.step for found in unknown.failures] == [Step.CONTRACTS]


def test_request_that_cites_an_unknown_block_is_named() -> None:
    report = verify_passport(GOOD, facts=FACTS, block_hash=lambda _: None)
    assert codes(report) == {"seen-block"}
