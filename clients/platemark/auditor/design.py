"""The audit of one design, or of a file: who registered it, who else claims it, and how many prints exist."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from platemark.auditor.evidence import Evidence
from platemark.auditor.months import Share, by_month
from platemark.auditor.recalls import reason_text
from platemark.auditor.replay import anchoring, check_prints, gateway_of, open_log, read_chain
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.manifest import Manifest
from platemark.protocol.merkle import files_root
from platemark.protocol.units import Address, DesignId, Digest32, address_text, digest_text, id_text
from platemark.sdk.files import disk_errors
from platemark.verify.facts import ChainFacts, DesignFact, RevisionFact
from platemark.verify.registration import (
    check_commitment,
    check_file,
    check_manifest,
    check_registrant,
    check_registration,
    check_root,
    claims,
)
from platemark.verify.report import Report
from platemark.verify.steps import Step, fail

_CHAIN: Final = "chain"
_FILE: Final = "file"
_BLOCKS: Final = "blocks"
_LOG: Final = "tiles"


def audit_file(evidence: Evidence, chain_id: int, ledger: Address, path: Path) -> Report:
    """Return the report on a file: whose design it is, and who else says so.

    Errors: LocalError when the file cannot be read; UpstreamError.
    """
    digest = _sha256_of(path)
    report = Report(f"file {path.name}")
    facts = read_chain(report, evidence, chain_id, ledger)
    if facts is None:
        return report
    report.facts["sha256"] = digest_text(digest)
    found = claims(files_root([digest]), facts.designs) or _by_manifest(evidence, facts, digest)
    with report.step(Step.FILE, "the file is one of a registered design", f"{_FILE}, {_CHAIN}"):
        if not found:
            fail(
                Step.FILE,
                "nobody revealed this file as a design",
                code="file-unknown",
                expected=f"a revealed design with {digest_text(digest)}",
                found=f"none among {len(facts.designs)} designs",
                hint="it may be private, or saved again, or registered elsewhere",
            )
    for rank, (design, revision) in enumerate(found):
        _claim_steps(report, evidence, facts, design, revision, digest, first=rank == 0)
    report.facts["claims"] = [
        {
            "designId": id_text(design.design_id),
            "revision": revision.revision,
            "registrant": address_text(design.registration.registrant),
            "committedInBlock": revision.block.number,
            "recalled": revision.recalled is not None,
        }
        for design, revision in found
    ]
    return report


def _sha256_of(path: Path) -> Digest32:
    with disk_errors(path), path.open("rb") as file:
        return Digest32(hashlib.file_digest(file, "sha256").digest())


def _by_manifest(evidence: Evidence, facts: ChainFacts, digest: Digest32) -> list[tuple[DesignFact, RevisionFact]]:
    """Return the revealed revisions of several files whose manifest names this one, the earliest first."""
    found: list[tuple[DesignFact, RevisionFact]] = []
    for design in facts.designs.values():
        for revision in design.revisions.values():
            manifest = _manifest(evidence, revision) if revision.files_root is not None else None
            if manifest is not None and any(file.sha256 == digest for file in manifest.files):
                found.append((design, revision))
    return sorted(found, key=lambda claim: (claim[1].block.number, claim[0].design_id))


def _manifest(evidence: Evidence, revision: RevisionFact) -> Manifest | None:
    """Return a revision's manifest where it is at hand and right; `_manifest_step` says what is wrong with another."""
    try:
        data = evidence.block(revision.manifest_digest)
        return None if data is None else check_manifest(data, revision)
    except (VerificationError, MalformedError):
        return None


def _claim_steps(
    report: Report,
    evidence: Evidence,
    facts: ChainFacts,
    design: DesignFact,
    revision: RevisionFact,
    digest: Digest32,
    *,
    first: bool,
) -> None:
    registrant = address_text(design.registration.registrant)
    claim = "the earliest claim" if first else "a later claim"
    detail = f"{claim}: {registrant}, committed in block {revision.block.number}"
    manifest = _manifest_step(report, evidence, design, revision)
    if manifest is not None:
        with report.step(Step.FILE, f"“{manifest.title}” names the file", _BLOCKS):
            check_file(digest, manifest)
    with report.step(Step.REGISTRATION, detail, _CHAIN):
        check_registration(design, facts.contracts)
        if revision.salt is not None and revision.files_root is not None:
            check_commitment(design, revision, revision.salt, revision.files_root)
            if manifest is not None:
                check_root(manifest, revision.files_root)
    _standing_step(report, evidence, revision)


def audit_design(
    evidence: Evidence,
    chain_id: int,
    ledger: Address,
    which: DesignId | Callable[[Iterable[DesignId]], DesignId],
    *,
    with_log: bool = False,
) -> Report:
    """Return the report on a design's life as the chain tells it: offered, minted, sold, reserved, settled, recalled.

    Args:
        evidence: What may be read.
        chain_id: The ledger's chain.
        ledger: The PrintLedger's address.
        which: The design, or what chooses it from those that the chain knows.
        with_log: Whether the log that the evidence names is read too, for what was printed in which month.

    Errors: UpstreamError; those of `which`.
    """
    report = Report("a design")
    facts = read_chain(report, evidence, chain_id, ledger)
    if facts is None:
        return report
    design_id = which(facts.designs) if callable(which) else which
    report.subject = f"design {id_text(design_id)}"
    design = facts.designs.get(design_id)
    with report.step(Step.REGISTRATION, "the design is registered", _CHAIN):
        if design is None:
            fail(
                Step.REGISTRATION,
                "this design was never registered here",
                code="design-unknown",
                expected="a registration",
                found=id_text(design_id),
            )
        check_registration(design, facts.contracts)
    if design is None:
        return report
    for revision in design.revisions.values():
        _revision_steps(report, evidence, design, revision)
    own = [found for found in facts.licenses.values() if found.terms.design_id == design_id]
    minted_of_design = sum(found.minted_in_storage for found in own)
    for found in own:
        name = f"licence {id_text(found.license_id)[:12]}…"
        check_prints(report, facts, found, name, design.registration.edition, minted_of_design)
    report.facts |= {
        "designId": id_text(design_id),
        "registrant": address_text(design.registration.registrant),
        "owner": address_text(design.owner),
        "edition": design.edition,
        "registeredEdition": design.registration.edition,
        "parent": id_text(design.registration.parent_id) if design.registration.parent_id else None,
        "resaleShare": design.registration.resale_share,
        "derivativeShare": design.registration.derivative_share,
        "licenses": _licenses(facts, design_id),
        "holders": _holders(facts, design_id),
        "months": [share.to_json() for share in _months(report, evidence, facts, design_id, with_log=with_log)],
    }
    return report


def _months(
    report: Report, evidence: Evidence, facts: ChainFacts, design_id: DesignId, *, with_log: bool
) -> list[Share]:
    """Return the design's life by month; prints are known where the log can be believed, else none is."""
    if not with_log:
        report.skip(Step.COUNTS, "what was printed in which month is not told: needs the log (--tiles)", _LOG)
        return by_month(facts, design_id)
    origin = evidence.origin()
    gateway = gateway_of(report, facts, origin.gateway, evidence)
    log = None if gateway is None else open_log(report, evidence, origin, gateway, facts)
    if gateway is None or log is None:
        return by_month(facts, design_id)
    for found in facts.licenses.values():
        others = {move.gateway for move in found.moves} | {found.terms.gateway, found.gateway}
        if found.terms.design_id == design_id and others != {origin.gateway}:
            name = f"licence {id_text(found.license_id)[:12]}…"
            report.skip(Step.COUNTS, f"{name} was served by other gateways too: their logs are not read here", _LOG)
    anchored_at = anchoring(gateway, origin.epoch)
    try:
        return by_month(facts, design_id, log.reader.entries(), anchored_at)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.INCLUSION, error, _LOG)
        return by_month(facts, design_id)


def _manifest_step(report: Report, evidence: Evidence, design: DesignFact, revision: RevisionFact) -> Manifest | None:
    """Record step 2 and return the manifest, or None when it is not at hand or wrong."""
    name = f"revision {revision.revision}"
    try:
        data = evidence.block(revision.manifest_digest)
        if data is None:
            report.skip(Step.MANIFEST, f"{name}: its manifest is not at hand", _BLOCKS)
            return None
        manifest = check_manifest(data, revision)
        check_registrant(design, manifest)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.MANIFEST, error, _BLOCKS)
        return None
    report.hold(Step.MANIFEST, f"{name}: “{manifest.title}”", _BLOCKS)
    return manifest


def _standing_step(report: Report, evidence: Evidence, revision: RevisionFact) -> None:
    """Record step 4: a recall is no discrepancy here, it is what the chain tells of the design."""
    state, source = "not recalled", _CHAIN
    if revision.recalled is not None:
        state = f"recalled in block {revision.recalled.number}"
        digest = revision.recall_reason
        reason = None if digest is None else reason_text(report, evidence, digest)
        if reason:
            state, source = f"{state}, in the owner's words: “{reason}”", f"{_CHAIN}, {_BLOCKS}"
    report.hold(Step.REVISION, f"revision {revision.revision} was published and is {state}", source)


def _revision_steps(report: Report, evidence: Evidence, design: DesignFact, revision: RevisionFact) -> None:
    manifest = _manifest_step(report, evidence, design, revision)
    if revision.salt is None or revision.files_root is None:
        report.skip(Step.REGISTRATION, f"revision {revision.revision}: content not disclosed", _CHAIN)
    else:
        with report.step(Step.REGISTRATION, f"revision {revision.revision}: committed to and revealed", _CHAIN):
            check_commitment(design, revision, revision.salt, revision.files_root)
            if manifest is not None:
                check_root(manifest, revision.files_root)
    _standing_step(report, evidence, revision)


def _licenses(facts: ChainFacts, design_id: DesignId) -> list[JsonValue]:
    return [
        {
            "licenseId": id_text(found.license_id),
            "cap": found.terms.cap,
            "gateway": address_text(found.gateway),
            "movedInBlocks": [move.block.number for move in found.moves],
            "minted": found.minted,
            "sold": found.sold,
            "returned": found.returned,
            "held": found.held,
            "escrowed": found.escrowed,
            "currency": address_text(found.terms.currency),
            "paid": str(found.paid),
            "earned": str(found.credited),
            "refunded": str(found.refunded),
            "reserved": sum(
                reservation.permission.prints
                for reservation in facts.reservations.values()
                if reservation.permission.license_id == found.license_id
            ),
            "settled": sum(
                reservation.burned
                for reservation in facts.reservations.values()
                if reservation.permission.license_id == found.license_id
            ),
        }
        for found in facts.licenses.values()
        if found.terms.design_id == design_id
    ]


def _holders(facts: ChainFacts, design_id: DesignId) -> list[JsonValue]:
    """Return how many prints each account had counted, and holds of each licence without a reservation."""
    own = {license_id: found for license_id, found in facts.licenses.items() if found.terms.design_id == design_id}
    settled: dict[Address, int] = defaultdict(int)
    for reservation in facts.reservations.values():
        if reservation.permission.license_id in own:
            settled[reservation.permission.holder] += reservation.burned
    unreserved: dict[Address, dict[str, JsonValue]] = defaultdict(dict)
    for license_id, found in own.items():
        for holder, prints in found.balances.items():
            if prints:
                unreserved[holder][id_text(license_id)] = prints
    return [
        {"holder": address_text(holder), "settled": settled[holder], "unreserved": unreserved[holder]}
        for holder in sorted(settled.keys() | unreserved.keys())
    ]
