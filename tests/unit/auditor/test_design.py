"""The audit of a file and of a design: who registered it, who else claims it, and what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from platemark.auditor.design import audit_design, audit_file
from platemark.errors import LocalError
from platemark.protocol.cid import Block, raw_block
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.digests import sha256
from platemark.protocol.manifest import Manifest
from platemark.protocol.merkle import files_root
from platemark.protocol.sealed_file import sealed_bytes
from platemark.protocol.typed_data import Registration
from platemark.protocol.units import Address, DesignId, address_text, digest_text, id_text
from platemark.verify.facts import ChainFacts, DesignFact, RevisionFact
from platemark.verify.report import Report, Verdict
from platemark.verify.steps import Step
from sample_chain import DESIGN, FACTS, REVISION, block
from sample_documents import (
    CHAIN_ID,
    DESIGN_ID,
    DESIGNER,
    GATEWAY,
    HOLDER,
    LEDGER,
    LICENSE_ID,
    MANIFEST,
    PLAINTEXTS,
    REGISTRATION,
    REGISTRY_DOMAIN,
    word,
)
from sample_evidence import (
    MANIFEST_BLOCK,
    REASON,
    RECALLED,
    SampleEvidence,
    evidence,
    failures,
    with_design,
    with_license,
    with_reservation,
)

SINGLE = b"one solid"


def single(
    registrant: Address, number: int, *, recalled: bool = False, other_manifest: Manifest | None = None
) -> tuple[DesignFact, Block]:
    """Return a design of one file, registered by somebody in a block, and its manifest, or another that they name."""
    digest = sha256(SINGLE)
    part = replace(MANIFEST.parts[0], quantity=1)
    size = len(SINGLE)
    file = replace(MANIFEST.files[0], size_bytes=size, sha256=digest, sealed_bytes=sealed_bytes(size))
    own: Manifest = replace(MANIFEST, title="One", registrant=registrant, files=(file,), parts=(part,))
    manifest = other_manifest or own
    package = KeyPackage(ContentKey(word("key")), word("salt"), files_root([digest]))
    registration: Registration = replace(
        REGISTRATION,
        registrant=registrant,
        commitment=package.commitment(registrant),
        manifest_digest=manifest.digest(),
    )
    design_id = DesignId(int.from_bytes(registration.digest(REGISTRY_DOMAIN), "big"))
    revision = RevisionFact(
        1,
        registration.commitment,
        registration.manifest_digest,
        block(number),
        package.files_root,
        word("salt"),
        block(29) if recalled else None,
    )
    fact = DesignFact(design_id, registration, registrant, {1: revision}, registration.edition)
    return fact, raw_block(manifest.encode())


def of(*designs: tuple[DesignFact, Block]) -> SampleEvidence:
    """Return evidence of a chain with these designs."""
    found = evidence(replace(FACTS, designs={design.design_id: design for design, _ in designs}, licenses={}))
    for _, manifest in designs:
        found.source.blocks[manifest.cid.text] = manifest.data
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "one.stl"
    path.write_bytes(SINGLE)
    return path


def holding(report: Report) -> set[int]:
    return {finding.step.value for finding in report.findings if finding.verdict is Verdict.HOLDS}


def test_file_is_found_with_all_who_claim_it_the_earliest_first(path: Path) -> None:
    late, early = single(HOLDER.address, 9), single(DESIGNER.address, 4)
    report = audit_file(of(late, early), CHAIN_ID, LEDGER, path)
    assert report.failures == []
    assert holding(report) == {0, 1, 2, 3, 4}
    assert report.facts["sha256"] == digest_text(sha256(SINGLE))
    assert report.facts["claims"] == [
        {
            "designId": id_text(design.design_id),
            "revision": 1,
            "registrant": address_text(design.registration.registrant),
            "committedInBlock": number,
            "recalled": False,
        }
        for (design, _), number in ((early, 4), (late, 9))
    ]
    details = [finding.detail for finding in report.findings if finding.step.value == 3]
    assert details[0].startswith("the earliest claim")
    assert details[1].startswith("a later claim")


def test_recalled_claim_is_told(path: Path) -> None:
    report = audit_file(of(single(DESIGNER.address, 4, recalled=True)), CHAIN_ID, LEDGER, path)
    assert report.failures == []
    assert any(finding.detail.endswith("is recalled in block 29") for finding in report.findings)


def test_recall_of_a_design_is_told_in_its_owners_words_where_they_are_at_hand() -> None:
    recalled = evidence(RECALLED)
    told = f"revision 1 was published and is recalled in block {block(20).number}"

    def details() -> list[str]:
        report = audit_design(recalled, CHAIN_ID, LEDGER, DESIGN_ID)
        return [finding.detail for finding in report.findings if finding.step is Step.REVISION]

    assert details() == [told]
    recalled.source.blocks[REASON.cid.text] = REASON.data
    assert details() == [f"{told}, in the owner's words: “Pinches fingers at the hinge”"]
    recalled.source.spoil(REASON)
    assert details()[-1] == told
    assert len(details()) == 2


@pytest.mark.parametrize("index", [0, 1])
def test_each_file_of_a_design_of_several_is_found_by_its_manifest(tmp_path: Path, index: int) -> None:
    (tmp_path / "part").write_bytes(PLAINTEXTS[index])
    report = audit_file(evidence(), CHAIN_ID, LEDGER, tmp_path / "part")
    assert report.failures == []
    assert holding(report) == {0, 1, 2, 3, 4}


HIDING: Mapping[str, ChainFacts] = {
    "nothing registered": replace(FACTS, designs={}),
    "another file registered": FACTS,
    "the file not revealed": with_design(revisions={1: replace(REVISION, files_root=None, salt=None)}),
}


@pytest.mark.parametrize("name", HIDING)
def test_file_that_nobody_revealed_fails_in_step_1(path: Path, name: str) -> None:
    assert failures(audit_file(evidence(HIDING[name]), CHAIN_ID, LEDGER, path)) == [(1, "file-unknown")]


def test_file_of_several_is_not_found_without_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(PLAINTEXTS[0])
    found = evidence()
    found.source.spoil(MANIFEST_BLOCK)
    assert failures(audit_file(found, CHAIN_ID, LEDGER, tmp_path / "part")) == [(1, "file-unknown")]
    found.source.forget(MANIFEST_BLOCK)
    assert failures(audit_file(found, CHAIN_ID, LEDGER, tmp_path / "part")) == [(1, "file-unknown")]


def test_claim_whose_manifest_names_other_files_fails_in_steps_1_and_3(path: Path) -> None:
    found = of(single(DESIGNER.address, 4, other_manifest=MANIFEST))
    assert failures(audit_file(found, CHAIN_ID, LEDGER, path)) == [(1, "file-unknown"), (3, "files-root")]


def test_claim_whose_manifest_is_another_persons_fails_in_step_2(path: Path) -> None:
    _, others = single(HOLDER.address, 4)
    found = of(single(DESIGNER.address, 4, other_manifest=Manifest.parse(others.data)))
    assert failures(audit_file(found, CHAIN_ID, LEDGER, path)) == [(2, "registrant")]


def test_claim_without_its_manifest_is_told_and_holds_for_the_rest(path: Path) -> None:
    design, manifest = single(DESIGNER.address, 4)
    found = of((design, manifest))
    found.source.forget(manifest)
    report = audit_file(found, CHAIN_ID, LEDGER, path)
    assert report.failures == []
    assert holding(report) == {0, 1, 3, 4}
    found.source.spoil(manifest)
    assert failures(audit_file(found, CHAIN_ID, LEDGER, path)) == [(2, "block-mismatch")]


def test_claim_that_its_registrant_never_committed_to_fails_in_step_3(path: Path) -> None:
    design, manifest = single(DESIGNER.address, 4)
    forged = replace(design, revisions={1: replace(design.revisions[1], salt=word("other salt"))})
    assert failures(audit_file(of((forged, manifest)), CHAIN_ID, LEDGER, path)) == [(3, "commitment")]


def test_chain_that_cannot_be_believed_ends_the_audit_in_step_0(path: Path) -> None:
    found = evidence()
    found.endpoint.foreign_code.add(LEDGER)
    assert failures(audit_file(found, CHAIN_ID, LEDGER, path)) == [(0, "contract-code")]
    assert failures(audit_design(found, CHAIN_ID, LEDGER, DESIGN_ID)) == [(0, "contract-code")]


def test_file_that_cannot_be_read_is_an_error_of_this_machine(tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        audit_file(evidence(), CHAIN_ID, LEDGER, tmp_path / "nothing")


# --- designs --------------------------------------------------------------------------------------------------------


def test_design_is_told_with_its_licences_and_holders() -> None:
    report = audit_design(evidence(with_reservation(burned=3, settled_sequence=3)), CHAIN_ID, LEDGER, DESIGN_ID)
    assert report.failures == []
    assert holding(report) == {0, 2, 3, 4, 6}
    assert report.facts["registrant"] == address_text(DESIGNER.address)
    assert report.facts["licenses"] == [
        {
            "licenseId": id_text(LICENSE_ID),
            "cap": 100,
            "gateway": address_text(GATEWAY.address),
            "movedInBlocks": [],
            "minted": 10,
            "sold": 5,
            "returned": 0,
            "held": 5,
            "escrowed": 7,
            "currency": "0x0000000000000000000000000000000000000000",
            "paid": "61500000000000000",
            "earned": "61500000000000000",
            "refunded": "0",
            "reserved": 10,
            "settled": 3,
        }
    ]
    assert report.facts["holders"] == [
        {"holder": address_text(HOLDER.address), "settled": 3, "unreserved": {id_text(LICENSE_ID): 5}}
    ]


def test_design_without_licences_is_told_without_them() -> None:
    report = audit_design(evidence(replace(FACTS, licenses={})), CHAIN_ID, LEDGER, DESIGN_ID)
    assert (report.facts["licenses"], report.facts["holders"]) == ([], [])


def test_unknown_design_fails_in_step_3() -> None:
    assert failures(audit_design(evidence(), CHAIN_ID, LEDGER, DesignId(7))) == [(3, "design-unknown")]


def _spoiled() -> SampleEvidence:
    found = evidence()
    found.source.spoil(MANIFEST_BLOCK)
    return found


DESIGNS: Mapping[str, tuple[Callable[[], SampleEvidence], list[tuple[int, str]]]] = {
    "another registration": (
        lambda: evidence(with_design(registration=replace(REGISTRATION, edition=7))),
        [(3, "design-digest"), (6, "edition-exceeded")],
    ),
    "another root": (
        lambda: evidence(with_design(revisions={1: replace(REVISION, files_root=word("root"))})),
        [(3, "commitment")],
    ),
    "another manifest": (_spoiled, [(2, "block-mismatch")]),
}


MONEY: Mapping[str, tuple[ChainFacts, list[tuple[int, str]]]] = {
    "sold for less": (with_license(paid=1), [(6, "paid-mismatch")]),
    "credited too little": (with_license(credited=1), [(6, "credited-mismatch")]),
    "refunded for nothing": (with_license(refunded=1), [(6, "refunded-mismatch")]),
    "a print out of nowhere": (with_license(balances={HOLDER.address: 6}), [(6, "balance-mismatch")]),
    "a print gone from escrow": (with_license(balances={HOLDER.address: 6}, escrowed=9), [(6, "escrow-mismatch")]),
    "returned and still counted": (with_license(returned=1), [(6, "minted-mismatch"), (6, "refunded-mismatch")]),
}


@pytest.mark.parametrize("name", MONEY)
def test_prints_or_money_that_do_not_add_up_fail_in_step_6(name: str) -> None:
    facts, expected = MONEY[name]
    assert failures(audit_design(evidence(facts), CHAIN_ID, LEDGER, DESIGN_ID)) == expected


def test_design_tells_its_parent_shares_and_lowered_edition() -> None:
    report = audit_design(evidence(with_design(edition=20)), CHAIN_ID, LEDGER, DESIGN_ID)
    told = {name: report.facts[name] for name in ("edition", "registeredEdition", "parent", "resaleShare")}
    assert told == {"edition": 20, "registeredEdition": 0, "parent": None, "resaleShare": 500}


@pytest.mark.parametrize("name", DESIGNS)
def test_lie_about_a_design_fails_in_its_step(name: str) -> None:
    make, expected = DESIGNS[name]
    assert failures(audit_design(make(), CHAIN_ID, LEDGER, DESIGN_ID)) == expected


def test_design_that_is_not_disclosed_is_told_and_holds() -> None:
    found = evidence(with_design(revisions={1: replace(REVISION, files_root=None, salt=None)}))
    found.source.forget(MANIFEST_BLOCK)
    report = audit_design(found, CHAIN_ID, LEDGER, DESIGN_ID)
    assert report.failures == []
    skipped = [finding.detail for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED]
    assert skipped == [
        "revision 1: its manifest is not at hand",
        "revision 1: content not disclosed",
        "what was printed in which month is not told: needs the log (--tiles)",
    ]


def test_licences_of_other_designs_are_left_out() -> None:
    other = with_license(terms=replace(FACTS.licenses[LICENSE_ID].terms, design_id=DesignId(7)))
    report = audit_design(evidence(other), CHAIN_ID, LEDGER, DESIGN_ID)
    assert report.facts["licenses"] == []
    assert DESIGN.design_id == DESIGN_ID
