"""The audit of a whole print log: every entry against the chain, every root against its anchor.

Reads the chain, blocks and the log's static files, nothing of a running gateway. Findings carry the step numbers of
docs/verification.md; all discrepancies are listed, not only the first.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platemark.auditor.batches import BatchReplay
from platemark.auditor.entries import Entries, HashBundles, bundle_hasher
from platemark.auditor.evidence import Evidence, Origin
from platemark.auditor.replay_state import SAVED_ENTRIES, ReplayState, saved_up_to
from platemark.auditor.signers import Unsigned, unsigned
from platemark.errors import MalformedError, UpstreamError, VerificationError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.checkpoint import Checkpoint, Note, NoteKey
from platemark.protocol.manifest import Manifest
from platemark.protocol.moments import moment_text
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.tiles import TILE_WIDTH, LogReader
from platemark.protocol.units import (
    ZERO_ADDRESS,
    Address,
    DesignId,
    Digest32,
    UnixSeconds,
    address_text,
    digest_text,
    id_text,
)
from platemark.verify.counts import LogReplay
from platemark.verify.facts import (
    ChainFacts,
    DesignFact,
    GatewayFact,
    LicenseFact,
    ReservationFact,
    RevisionFact,
)
from platemark.verify.inclusion import (
    GetProfile,
    block_of,
    check_anchor,
    check_anchored_root,
    check_checkpoint,
    check_continued,
    check_epoch,
    check_not_behind,
    check_profile,
    check_tiles,
    covering_anchor,
    declarations_at,
)
from platemark.verify.license import (
    check_acceptance,
    check_held,
    check_minted,
    check_money,
    check_reservation,
    check_terms,
    check_terms_document,
)
from platemark.verify.policy import Policy
from platemark.verify.registration import (
    check_commitment,
    check_manifest,
    check_registrant,
    check_registration,
    check_root,
)
from platemark.verify.report import Finding, Report
from platemark.verify.steps import Step, fail, require
from platemark.verify.voucher import check_permission
from platemark.verify.witnesses import check_cosignature, check_wanted, unknown_cosigners

_CHAIN: Final = "chain"
_LOG: Final = "tiles"
_BLOCKS: Final = "blocks"
_MAX_FINDINGS: Final = 10_000
BATCH_BYTES: Final = 16 << 20
"""Entries that are larger together are no batch: those of a log that is right take a quarter, a lying one 1 GiB."""


@dataclass(frozen=True, slots=True)
class OpenLog:
    """A log whose tiles give the root of its checkpoint."""

    origin: Origin
    profile: GatewayProfile
    checkpoint: Checkpoint
    reader: LogReader


def audit_log(
    evidence: Evidence, state: Path | None = None, *, keep: bool = True, unsigned: Unsigned = unsigned
) -> Report:
    """Return the report on a whole log: who could have printed what, and whether the log and the chain agree.

    Args:
        evidence: What is read.
        state: File in which is saved how far the replay has come, and from which it goes on; else none is saved.
        keep: Whether the file stays when the log was replayed to its end, for a later audit of the same log.
        unsigned: What checks the agents' signatures; `Signers` does it on several processors.

    Errors: UpstreamError when chain, blocks or log cannot be reached at all; those of `ReplayState` for a state that
        cannot be used, or is not of this log as it is now.
    """
    origin = evidence.origin()
    report = Report(f"print log {origin.text}")
    facts = read_chain(report, evidence, origin.chain_id, origin.ledger)
    if facts is None:
        return report
    report.facts["gateway"] = address_text(origin.gateway)
    gateway = gateway_of(report, facts, origin.gateway, evidence)
    if gateway is None:
        return report
    designs_and_licenses(report, evidence, facts, origin.gateway)
    log = open_log(report, evidence, origin, gateway, facts)
    if log is not None:
        with ReplayState(state) as saved:
            if replay_log(report, evidence, facts, log, gateway, saved, unsigned) and not keep:
                saved.forget()
        anchors(report, evidence, log, gateway)
    return report


def read_chain(report: Report, evidence: Evidence, chain_id: int, ledger: Address) -> ChainFacts | None:
    """Return the chain's facts after step 0, or None with the reason in the report, which says whom it trusts."""
    try:
        contracts = evidence.contracts(chain_id, ledger)
        facts = evidence.facts(contracts)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.CONTRACTS, error, _CHAIN)
        report.trusted.append(evidence.trusted(has_facts=False))
        return None
    report.trusted.append(evidence.trusted())
    report.hold(
        Step.CONTRACTS,
        f"three contracts on chain {chain_id}, read at final block {facts.final.number}",
        _CHAIN,
    )
    report.facts |= {
        "chainId": chain_id,
        "ledger": address_text(ledger),
        "finalBlock": facts.final.number,
        "finalBlockHash": digest_text(facts.final.hash),
    }
    return facts


def gateway_of(report: Report, facts: ChainFacts, address: Address, evidence: Evidence) -> GatewayFact | None:
    """Return the gateway's declarations, or None with the reason in the report."""
    try:
        return accepted_gateway(facts, address, evidence)
    except VerificationError as error:
        report.reject(Step.RELEASE, error, _CHAIN)
        return None


def accepted_gateway(facts: ChainFacts, address: Address, evidence: Evidence) -> GatewayFact:
    """Return the gateway's declarations; errors: VerificationError `gateway-not-accepted`."""
    gateway = facts.gateways.get(address)
    if gateway is None or not evidence.policy.accepts_gateway(address):
        fail(
            Step.RELEASE,
            "this gateway is unknown on chain, or not one that the policy accepts",
            code="gateway-not-accepted",
            expected="a gateway that declared its keys",
            found=address_text(address),
        )
    return gateway


def designs_and_licenses(report: Report, evidence: Evidence, facts: ChainFacts, gateway: Address) -> None:
    """Check steps 2 to 7 for every licence that the gateway serves, or served."""
    served = [found for found in facts.licenses.values() if found.served_by(gateway)]
    manifests: dict[DesignId, dict[int, Manifest]] = {}
    for license_fact in served:
        design_id = license_fact.terms.design_id
        design = facts.designs.get(design_id)
        with report.step(Step.REGISTRATION, "the licence's design is registered", _CHAIN):
            require(
                design is not None,
                Step.REGISTRATION,
                "a licence of a design that was never registered",
                code="design-unknown",
                expected="a registration",
                found=id_text(design_id),
            )
        if design is not None and design_id not in manifests:
            manifests[design_id] = _check_design(report, evidence, facts, design)
        _check_license(report, evidence, facts, license_fact, design, manifests.get(design_id, {}))
    for reservation in facts.reservations.values():
        if reservation.permission.gateway != gateway:
            continue
        token = f"{id_text(reservation.token_id)[:12]}…"
        prints = reservation.permission.prints
        detail = f"token {token} for one agent; prints: {prints}, spares: {reservation.spares}"
        with report.step(Step.PERMISSION, detail, _CHAIN):
            check_permission(reservation, facts.contracts)
            check_reservation(reservation, license_of(facts, reservation))


def license_of(facts: ChainFacts, reservation: ReservationFact) -> LicenseFact:
    """Return the licence of a reservation.

    Errors: VerificationError `license-unknown`.
    """
    found = facts.licenses.get(reservation.permission.license_id)
    if found is None:
        fail(
            Step.PERMISSION,
            "a reservation of a licence that was never offered",
            code="license-unknown",
            expected="an offered licence",
            found=id_text(reservation.permission.license_id),
        )
    return found


def _check_design(report: Report, evidence: Evidence, facts: ChainFacts, design: DesignFact) -> dict[int, Manifest]:
    name = f"design {id_text(design.design_id)[:12]}…"
    registrant = address_text(design.registration.registrant)
    with report.step(Step.REGISTRATION, f"{name} registered by {registrant}", _CHAIN):
        check_registration(design, facts.contracts)
    manifests: dict[int, Manifest] = {}
    for revision in design.revisions.values():
        manifest = _check_revision(report, evidence, design, revision)
        if manifest is not None:
            manifests[revision.revision] = manifest
    return manifests


def _check_revision(report: Report, evidence: Evidence, design: DesignFact, revision: RevisionFact) -> Manifest | None:
    name = f"revision {revision.revision} of design {id_text(design.design_id)[:12]}…"
    manifest: Manifest | None = None
    try:
        data = evidence.block(revision.manifest_digest)
        if data is None:
            report.skip(Step.MANIFEST, f"{name}: its manifest is not at hand", _BLOCKS)
        else:
            manifest = check_manifest(data, revision)
            check_registrant(design, manifest)
            report.hold(Step.MANIFEST, f"{name}: “{manifest.title}”, {len(manifest.files)} file(s)", _BLOCKS)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.MANIFEST, error, _BLOCKS)
    if revision.files_root is None or revision.salt is None:
        report.skip(Step.REGISTRATION, f"{name}: content not disclosed", _CHAIN)
    else:
        with report.step(Step.REGISTRATION, f"{name}: its files were committed to by the registrant", _CHAIN):
            check_commitment(design, revision, revision.salt, revision.files_root)
            if manifest is not None:
                check_root(manifest, revision.files_root)
    if revision.recalled is None:
        report.hold(Step.REVISION, f"{name} is not recalled", _CHAIN)
    else:
        report.hold(Step.REVISION, f"{name} was recalled in block {revision.recalled.number}", _CHAIN)
    return manifest


def _check_license(
    report: Report,
    evidence: Evidence,
    facts: ChainFacts,
    license_fact: LicenseFact,
    design: DesignFact | None,
    manifests: dict[int, Manifest],
) -> None:
    name = f"licence {id_text(license_fact.license_id)[:12]}…"
    with report.step(Step.TERMS, f"{name}: terms as offered, cap {license_fact.terms.cap}", _CHAIN):
        check_terms(license_fact, facts.contracts)
        for revision in license_fact.accepted:
            check_acceptance(license_fact, revision, manifests.get(revision))
    try:
        document = evidence.block(license_fact.terms.terms_digest)
        if document is None:
            report.skip(Step.TERMS, f"{name}: its terms document is not at hand", _BLOCKS)
        else:
            check_terms_document(document, license_fact)
            report.hold(Step.TERMS, f"{name}: its terms document", _BLOCKS)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.TERMS, error, _BLOCKS)
    edition = 0 if design is None else design.registration.edition
    minted_of_design = sum(
        other.minted_in_storage
        for other in facts.licenses.values()
        if other.terms.design_id == license_fact.terms.design_id
    )
    check_prints(report, facts, license_fact, name, edition, minted_of_design)


def check_prints(
    report: Report, facts: ChainFacts, license_fact: LicenseFact, name: str, edition: int, minted_of_design: int
) -> None:
    """Check step 6: the licence's prints exist, each is with a holder, in escrow or used up, and its money is right.

    Money is what events tell, in the currency's smallest unit: a sale that is kept back shows in what was credited.
    """
    own = [found for found in facts.reservations.values() if found.permission.license_id == license_fact.license_id]
    reserved = sum(found.permission.prints - (found.returned or 0) for found in own)
    burned = burned_of(facts, license_fact)
    exist = f"{license_fact.minted} minted, {license_fact.sold} sold, {reserved} reserved"
    if license_fact.returned:
        exist += f", {license_fact.returned} returned"
    with report.step(Step.MINT, f"{name}: {exist}", _CHAIN):
        check_minted(license_fact, reserved, edition, minted_of_design)
        check_held(license_fact, reserved - burned, burned)
    payout = "at purchase" if license_fact.terms.payout == 0 else "as printed"
    currency = license_fact.terms.currency
    unit = "wei" if currency == ZERO_ADDRESS else f"units of {address_text(currency)}"
    money = (
        f"{license_fact.paid} {unit} paid, {license_fact.credited} credited {payout}, {license_fact.refunded} refunded"
    )
    with report.step(Step.MINT, f"{name}: {money}", _CHAIN):
        check_money(license_fact, burned)


def burned_of(facts: ChainFacts, license_fact: LicenseFact) -> int:
    """Return how many prints of a licence are used up, by the ledger's storage."""
    return sum(
        found.burned for found in facts.reservations.values() if found.permission.license_id == license_fact.license_id
    )


def open_log(
    report: Report,
    evidence: Evidence,
    origin: Origin,
    gateway: GatewayFact,
    facts: ChainFacts,
    *,
    known: GatewayProfile | None = None,
) -> OpenLog | None:
    """Return the log after its profile, checkpoint and root were checked, or None with the reason in the report.

    `known` is a profile that need not be among the blocks, a passport's for example.
    """
    try:
        profiles = find_profiles(profile_reader(evidence, known), gateway, origin, evidence.stated()[1])
        for profile in profiles:
            check_profile(profile, gateway, facts.contracts)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.RELEASE, error, f"{_BLOCKS}, {_CHAIN}")
        return None
    report.hold(Step.RELEASE, "the gateway's keys are those that it declared on chain", f"{_BLOCKS}, {_CHAIN}")
    with report.step(Step.ANCHOR, f"the log is that of epoch {origin.epoch}, the gateway's last", _CHAIN):
        check_epoch(gateway, origin.epoch)
    try:
        data = evidence.log.checkpoint()
        profile, checkpoint = _signed(data, profiles)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.ANCHOR, error, _LOG)
        return None
    report.hold(Step.ANCHOR, f"the checkpoint of {checkpoint.size} entries is signed by the log's key", _LOG)
    tell_witnesses(report, evidence.policy, Note.parse(data), NoteKey(profile.log_origin, profile.log_key))
    anchored = max((found.size for found in gateway.anchors if found.epoch == origin.epoch), default=0)
    with report.step(Step.ANCHOR, f"the log has all {anchored} entries that were anchored", f"{_LOG}, {_CHAIN}"):
        check_not_behind(checkpoint, anchored)
    try:
        reader = LogReader(checkpoint.size, checkpoint.root, evidence.get_tile)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.INCLUSION, error, _LOG)
        return None
    return OpenLog(origin, profile, checkpoint, reader)


def tell_witnesses(report: Report, policy: Policy, note: Note, log_key: NoteKey) -> None:
    """Tell who cosigned the checkpoint: each witness of the policy, checked, and names of which nothing is known."""
    cosigned: dict[NoteKey, UnixSeconds] = {}
    for witness in policy.witnesses:
        try:
            time = check_cosignature(note, witness)
        except VerificationError as error:
            report.reject(Step.ANCHOR, error, _LOG)
            continue
        if time is not None:
            cosigned[witness] = time
            report.hold(Step.ANCHOR, f"{witness.name} cosigned the checkpoint at {moment_text(time)}", _LOG)
    unknown = unknown_cosigners(note, [log_key, *policy.witnesses])
    if unknown:
        report.skip(Step.ANCHOR, f"signatures of keys that nobody named: {', '.join(unknown)}", _LOG)
    if policy.witnesses:
        detail = f"{len(cosigned)} of {len(policy.witnesses)} witnesses cosigned, {policy.witnesses_wanted} are wanted"
        with report.step(Step.ANCHOR, detail, _LOG):
            check_wanted(policy, list(cosigned))
    if policy.witnesses or unknown:
        times: dict[str, JsonValue] = {witness.name: time for witness, time in cosigned.items()}
        report.facts |= {"cosigned": times, "unknownCosigners": list(unknown)}


def profile_reader(evidence: Evidence, known: GatewayProfile | None = None) -> GetProfile:
    """Return what looks up a profile by its digest: the one that is known, else among the blocks.

    What is returned raises VerificationError `block-mismatch`, MalformedError for blocks that are no profile.
    """

    def get_profile(digest: Digest32) -> GatewayProfile | None:
        if known is not None and known.digest() == digest:
            return known
        data = evidence.block(digest)
        return None if data is None else GatewayProfile.parse(data)

    return get_profile


def find_profiles(get_profile: GetProfile, gateway: GatewayFact, origin: Origin, size: int) -> list[GatewayProfile]:
    """Return the profiles whose log key may have signed a checkpoint of this log at this size, the newest first.

    That is the one declared last for the log's epoch, and what was declared in the block of the anchor that covers the
    checkpoint. Entries that no anchor covers yet are under the newest profile alone. No older one stands in for the
    newest when that is withheld; a gateway that withdrew its profile has none that is newest.

    Errors: VerificationError `profile-withheld`, `block-mismatch`; MalformedError.
    """
    declared = [found.profile_digest for found in gateway.declarations if found.epoch == origin.epoch]
    anchor = covering_anchor(gateway, origin.epoch, size - 1) if size else None
    covered = [] if anchor is None else [found.profile_digest for found in declarations_at(gateway, anchor)]
    newest = [digest for digest in declared[-1:] if any(digest)]
    profiles: list[GatewayProfile] = []
    for digest in dict.fromkeys([*newest, *filter(any, reversed(covered))]):
        profile = get_profile(digest)
        if profile is not None and profile.log_origin == origin.text:
            profiles.append(profile)
        elif digest in newest or not profiles:
            fail(
                Step.RELEASE,
                "the profile that the gateway declared for this log lies neither with the log nor at --blocks: "
                "its keys are unknown",
                code="profile-withheld",
                expected=block_of(digest).text,
                found="no such block" if profile is None else f"the profile of {profile.log_origin}",
            )
    if not profiles:
        fail(
            Step.RELEASE,
            "the gateway declares no keys for this log, or none any more for entries that are not anchored",
            code="profile-withheld",
            expected="a declaration",
            found="none",
        )
    return profiles


def _signed(data: bytes, profiles: list[GatewayProfile]) -> tuple[GatewayProfile, Checkpoint]:
    """Return the first of the profiles whose key signed the checkpoint; errors: those of the first."""
    errors: list[VerificationError] = []
    for profile in profiles:
        try:
            return profile, check_checkpoint(data, profile)
        except VerificationError as error:
            errors.append(error)
    raise errors[0]


def replay_log(
    report: Report,
    evidence: Evidence,
    facts: ChainFacts,
    log: OpenLog,
    gateway: GatewayFact,
    state: ReplayState,
    unsigned: Unsigned,
) -> bool:
    """Replay every entry that the state does not have yet, and return whether none is left; steps 8, 11 and 13.

    Memory grows with the tokens and with the findings, which have a limit; not with the entries.
    """
    origin, size = log.origin.text, log.checkpoint.size
    earlier = state.earlier(origin, log.reader, facts, evidence.policy, evidence.block_hash)
    replay = LogReplay(
        facts,
        log.origin.gateway,
        evidence.block_hash,
        anchoring(gateway, log.origin.epoch),
        state.note_print,
        earlier.tokens,
        earlier.entries,
    )
    findings = earlier.findings
    if earlier.entries:
        evidence.on_progress(f"on from entry {earlier.entries} of {size}")
        report.trusted.append(
            f"for {earlier.entries} entries an earlier run, which trusted {' and '.join(earlier.trusted)}"
        )
    anchored = max((found.size for found in gateway.anchors if found.epoch == log.origin.epoch), default=0)
    last = saved_up_to(min(anchored, size))
    trusted = list(dict.fromkeys([*earlier.trusted, evidence.trusted()]))

    def save() -> None:
        if replay.entries <= last:
            state.save(origin, log.reader, evidence.policy, trusted, replay, findings)

    batches = BatchReplay(replay, state.note_prints, unsigned)
    try:
        hash_bundles = bundle_hasher(size - replay.entries, evidence.on_progress)
        for batch in _told(evidence, batches_of(log.reader, replay.entries, last, hash_bundles), replay, size):
            for found in batches.feed(batch):
                findings.extend(found)
                if len(findings) > _MAX_FINDINGS:
                    report.extend(findings)
                    given_up = f"given up after entry {replay.entries}: nothing in this log is right"
                    report.skip(Step.COUNTS, given_up, _LOG)
                    return True
            save()
    except (VerificationError, MalformedError) as error:
        report.extend(findings)
        report.reject(Step.INCLUSION, error, _LOG)
        return False
    report.hold(Step.INCLUSION, f"{replay.entries} entries give the checkpoint's root", _LOG)
    findings.extend(replay.finish())
    report.extend(findings)
    _tell_counts(report, replay, findings)
    return True


def _tell_counts(report: Report, replay: LogReplay, findings: list[Finding]) -> None:
    failed = {finding.step for finding in findings}
    released = sum(counts.released for counts in replay.tokens.values())
    voided = sum(counts.voided for counts in replay.tokens.values())
    burned = sum(
        found.burned for found in replay.facts.reservations.values() if found.permission.gateway == replay.gateway
    )
    if Step.VOUCHER not in failed:
        ended = sum(counts.outcomes.count for counts in replay.tokens.values())
        report.hold(Step.VOUCHER, f"{released} requests and {ended} outcomes, each signed by its agent", _LOG)
    if Step.COUNTS not in failed:
        detail = f"{released} released, {voided} given back, {burned} settled, {replay.unsettled()} not settled yet"
        if lost := sum(replay.lost().values()):
            detail += f", {lost} returned to their holders unsettled"
        report.hold(Step.COUNTS, detail, f"{_LOG}, {_CHAIN}")
    tell_lost(report, replay)
    report.facts |= {
        "entries": replay.entries,
        "released": released,
        "voided": voided,
        "settled": burned,
        "unsettled": replay.unsettled(),
    }


def _told(evidence: Evidence, batches: Iterable[Entries], replay: LogReplay, size: int) -> Iterator[Entries]:
    """Yield the batches, and tell after each hundredth of the log how far the replay has come."""
    told = 0
    for batch in batches:
        yield batch
        if replay.entries * 100 // size > told:
            told = replay.entries * 100 // size
            evidence.on_progress(f"entry {replay.entries} of {size}")


def batches_of(reader: LogReader, start: int, saved: int, hash_bundles: HashBundles | None = None) -> Iterator[Entries]:
    """Yield the entries from `start` on, which is a boundary of bundles, in batches that end where a state is saved.

    When a bundle cannot be had, or is not of the log, those before it are yielded first. With `hash_bundles`, batches
    of full bundles are checked at once; only those in which something is not right are checked bundle by bundle. Of
    entries too large for one batch there are several, which end with bundles.
    """
    at = start
    while at < reader.size:
        end = min(reader.size, at - at % SAVED_ENTRIES + SAVED_ENTRIES)
        end = saved if at < saved < end else end
        numbers = range(at // TILE_WIDTH, -(-end // TILE_WIDTH))
        entries: Entries | None = None
        if hash_bundles is not None and end % TILE_WIDTH == 0:
            entries = _checked_at_once(reader, numbers, hash_bundles)
        if entries is None:
            yield from _checked_one_by_one(reader, numbers)
        else:
            yield entries
        at = end


def _checked_at_once(reader: LogReader, bundles: Sequence[int], hash_bundles: HashBundles) -> Entries | None:
    """Return the entries of full bundles; None when one is not plainly right, or they are too large together."""
    found: list[tuple[bytes, Digest32]] = []
    total_bytes = 0
    try:
        for number in bundles:
            found.append(reader.unchecked_bundle(number))
            total_bytes += len(found[-1][0])
            if total_bytes > BATCH_BYTES:
                return None
    except (VerificationError, MalformedError):
        return None
    hashed = hash_bundles([data for data, _ in found])
    if hashed is None or hashed[1] != [head for _, head in found]:
        return None
    return hashed[0]


def _checked_one_by_one(reader: LogReader, bundles: Sequence[int]) -> Iterator[Entries]:
    """Yield the entries of bundles, and before an error those up to the bundle that it is of."""
    entries: list[bytes] = []
    total_bytes = 0
    try:
        for number in bundles:
            if total_bytes > BATCH_BYTES:
                yield Entries.of(entries)
                entries, total_bytes = [], 0
            entries += (bundle := reader.bundle(number))
            total_bytes += sum(map(len, bundle))
    except (VerificationError, MalformedError):
        if entries:
            yield Entries.of(entries)
        raise
    yield Entries.of(entries)


def anchoring(gateway: GatewayFact, epoch: int) -> Callable[[int], UnixSeconds | None]:
    """Return what tells when an entry of an epoch's log was first anchored, by its index."""
    found = sorted((anchor for anchor in gateway.anchors if anchor.epoch == epoch), key=lambda anchor: anchor.size)
    sizes = [anchor.size for anchor in found]

    def anchored_at(index: int) -> UnixSeconds | None:
        place = bisect_right(sizes, index)
        return found[place].block.timestamp if place < len(found) else None

    return anchored_at


def tell_lost(report: Report, replay: LogReplay) -> None:
    """Name each token of which prints were made that nobody settled before they went back to the holder.

    No discrepancy: nobody lied, and what was lost so is not claimed (docs/threat-model.md). But it is told.
    """
    for token_id, prints in replay.lost().items():
        detail = f"token {id_text(token_id)}: {prints} printed, returned to the holder unsettled"
        report.hold(Step.COUNTS, detail, f"{_LOG}, {_CHAIN}")
    report.facts["returnedUnsettled"] = {id_text(token_id): prints for token_id, prints in replay.lost().items()}


def anchors(report: Report, evidence: Evidence, log: OpenLog, gateway: GatewayFact) -> None:
    """Check step 12 for every anchor of the epoch, and that earlier epochs' anchors are continued."""
    for anchor in gateway.anchors:
        if anchor.epoch < log.origin.epoch:
            detail = f"the log begins with the {anchor.size} entries that epoch {anchor.epoch} anchored"
            with report.step(Step.ANCHOR, detail, f"{_CHAIN}, {_LOG}"):
                check_anchor(anchor)
                check_continued(anchor, log.reader)
    previous = 0
    found = [anchor for anchor in gateway.anchors if anchor.epoch == log.origin.epoch]
    for anchor in found:
        detail = f"root of {anchor.size} entries, anchored in block {anchor.block.number}"
        with report.step(Step.ANCHOR, detail, f"{_CHAIN}, {_LOG}"):
            check_anchor(anchor)
            check_anchored_root(anchor, log.reader)
        try:
            count = check_tiles(anchor, previous, log.origin.text, evidence.blocks.get, evidence.get_tile)
        except (VerificationError, MalformedError) as error:
            report.reject(Step.ANCHOR, error, f"{_BLOCKS}, {_LOG}")
        except UpstreamError as error:
            report.reject(
                Step.ANCHOR,
                VerificationError(
                    "the list of tiles of an anchor is withheld",
                    step=Step.ANCHOR.label,
                    code="tile-withheld",
                    expected=f"the block {block_of(anchor.tiles_digest)}",
                    found=error.message,
                ),
                _BLOCKS,
            )
        else:
            report.hold(Step.ANCHOR, f"all {count} tiles of that anchor are there", f"{_BLOCKS}, {_LOG}")
        previous = anchor.size
    if previous < log.checkpoint.size:
        pending = log.checkpoint.size - previous
        report.skip(Step.ANCHOR, f"{pending} entries are not anchored yet: provisional", _LOG)
