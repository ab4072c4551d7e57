"""A part passport, step by step: what holds by itself, and what the chain adds.

Without chain facts the passport is checked offline: every signature and every proof in it, and the report says "chain
facts not verified". With them, the registration, the licence, the reservation, the profile and the anchor are compared
with the chain. Steps as in docs/verification.md.
"""

from collections.abc import Callable, Mapping
from typing import Final

from platemark.protocol.canonical import JsonValue
from platemark.protocol.digests import commitment, receipt_digest
from platemark.protocol.log_entry import OutcomeEntry, leaf_hash
from platemark.protocol.passport import Anchor, ChainProof, Passport, PassportPartError, Status
from platemark.protocol.receipt import Receipt
from platemark.protocol.release import Release
from platemark.protocol.units import Digest32, address_text, digest32, digest_text, id_text
from platemark.verify.chain_proof import ReservationWord, Slots, anchor_slot, proven_slots, reservation_slot
from platemark.verify.facts import AnchorFact, BlockFact, ChainFacts, Contracts, GatewayFact, ReservationFact
from platemark.verify.inclusion import (
    GetProfile,
    check_anchor,
    check_in_force,
    check_inclusion,
    check_profile,
    check_release,
    covering_anchor,
)
from platemark.verify.license import check_acceptance, check_reservation, check_terms
from platemark.verify.registration import (
    check_commitment,
    check_registrant,
    check_registration,
    check_revision,
    check_root,
)
from platemark.verify.report import Report
from platemark.verify.steps import Step, fail, require
from platemark.verify.voucher import check_outcome, check_permission, check_redeemed, check_seen_block

BlockHash = Callable[[int], Digest32 | None]

_PASSPORT: Final = "passport"
_CHAIN: Final = "chain"
_PROOFS: Final = "storage proofs"


PART_STEPS: Final[Mapping[str, Step]] = {
    "version": Step.CONTRACTS,
    "chainId": Step.CONTRACTS,
    "contracts": Step.CONTRACTS,
    "manifest": Step.MANIFEST,
    "material": Step.MANIFEST,
    "warnings": Step.MANIFEST,
    "registration": Step.REGISTRATION,
    "designId": Step.REGISTRATION,
    "content": Step.REGISTRATION,
    "form": Step.REGISTRATION,
    "revision": Step.REVISION,
    "terms": Step.TERMS,
    "licenseId": Step.TERMS,
    "permission": Step.PERMISSION,
    "permissionSignature": Step.PERMISSION,
    "tokenId": Step.PERMISSION,
    "sequence": Step.VOUCHER,
    "serial": Step.VOUCHER,
    "tokenDigest": Step.VOUCHER,
    "redeemed": Step.VOUCHER,
    "outcome": Step.VOUCHER,
    "detail": Step.VOUCHER,
    "receipt": Step.RECEIPT,
    "responsible": Step.RECEIPT,
    "profile": Step.RELEASE,
    "release": Step.RELEASE,
    "anchor": Step.ANCHOR,
    "chainProof": Step.ANCHOR,
}
"""The step that fails when a member of a passport is missing, broken, or not what the others give."""


def refused_passport(error: PassportPartError) -> Report:
    """Return the report on a passport whose parts contradict each other: the first step that fails, and no more.

    A member that passports do not have fails step 0, as what is said about the file as a whole.
    """
    report = Report("part passport")
    report.facts["status"] = str(Status.UNKNOWN)
    report.reject(PART_STEPS.get(error.part, Step.CONTRACTS), error, f"{_PASSPORT}: {error.part[:40]}")
    return report


def outcome_facts(outcome: OutcomeEntry | None, *, otherwise: str) -> dict[str, JsonValue]:
    """Return how a print ended and whether it was given back; `otherwise` stands where nothing says so."""
    if outcome is None:
        return {"outcome": otherwise}
    return {"outcome": outcome.result.name.lower(), "givenBack": outcome.spare_used}


def verify_passport(
    passport: Passport,
    *,
    facts: ChainFacts | None = None,
    block_hash: BlockHash | None = None,
    get_profile: GetProfile = lambda _: None,
    known_block: Digest32 | None = None,
) -> Report:
    """Return the report on one part: all that holds, all that does not, and what was not checked.

    Args:
        passport: As parsed; its ids are already those of its own parts.
        facts: The chain's, when it could be read.
        block_hash: Looks up a block of that chain; needed with `facts`.
        get_profile: Looks up a profile that the gateway declared later, which may have kept the release key.
        known_block: Hash of a block that is known to be the chain's; without `facts` the passport's storage proofs are
            checked against it.
    """
    report = Report(f"part {passport.serial}")
    report.facts |= {
        "serial": passport.serial,
        "designId": id_text(passport.design_id),
        "revision": passport.revision,
        "licenseId": id_text(passport.license_id),
        "sequence": passport.sequence,
        "title": passport.manifest.title,
        "disclosed": [str(each) for each in passport.disclosed],
        "notDisclosed": [str(each) for each in passport.undisclosed],
    }
    report.facts |= outcome_facts(passport.outcome_entry(), otherwise="not shown")
    _document_steps(report, passport, has_chain=facts is not None and block_hash is not None)
    detail = f"terms with a cap of {passport.terms.cap} give the licence's id, which the permission names"
    report.hold(Step.TERMS, detail, _PASSPORT)  # a passport of which this is not true cannot be read at all
    _signature_steps(report, passport)
    _log_steps(report, passport)
    if facts is None or block_hash is None:
        report.skip(Step.CONTRACTS, "chain facts not verified", _PASSPORT)
        report.skip(Step.REVISION, "whether the revision is recalled: needs the chain", _PASSPORT)
        report.skip(Step.MINT, "whether the prints exist: needs the chain", _PASSPORT)
        proof, anchor = passport.chain_proof, passport.anchor
        if known_block is None or proof is None or anchor is None:
            report.skip(Step.ANCHOR, "whether root, block and transaction are on chain: needs the chain", _PASSPORT)
            report.trusted.append("nobody for signatures and proofs; nobody answers for the chain")
        else:
            _storage_steps(report, passport, anchor, proof, known_block)
            report.trusted.append(f"the given block {digest_text(known_block)}, and nobody else")
        report.skip(Step.COUNTS, "what was reserved and counted: needs the chain", _PASSPORT)
    else:
        _chain_steps(report, passport, facts, block_hash, get_profile)
    return report


def _document_steps(report: Report, passport: Passport, *, has_chain: bool) -> None:
    """Steps 2 and 3 as far as the passport goes by itself; a later revision's commitment is on chain alone."""
    with report.step(Step.MANIFEST, f"manifest of “{passport.manifest.title}”", _PASSPORT):
        if passport.revision == 1:
            found = passport.manifest.digest()
            require(
                found == passport.registration.manifest_digest,
                Step.MANIFEST,
                "the manifest is not the one that was registered",
                code="manifest-digest",
                expected=digest_text(passport.registration.manifest_digest),
                found=digest_text(found),
            )
        require(
            passport.manifest.registrant == passport.registration.registrant,
            Step.MANIFEST,
            "the manifest names another registrant",
            code="registrant",
            expected=passport.registration.registrant.hex(),
            found=passport.manifest.registrant.hex(),
        )
    if passport.content is None:
        report.skip(Step.REGISTRATION, "content not disclosed", _PASSPORT)
        return
    content = passport.content
    if passport.revision == 1:
        with report.step(Step.REGISTRATION, "the registrant committed to these files", _PASSPORT):
            found = commitment(passport.registration.registrant, content.salt, content.files_root)
            require(
                found == passport.registration.commitment,
                Step.REGISTRATION,
                "the registrant committed to other files",
                code="commitment",
                expected=digest_text(passport.registration.commitment),
                found=digest_text(found),
            )
            if not passport.manifest.private:
                check_root(passport.manifest, content.files_root)
        return
    if not passport.manifest.private:
        with report.step(Step.REGISTRATION, "the files' root is that of the manifest", _PASSPORT):
            check_root(passport.manifest, content.files_root)
    if not has_chain:
        report.skip(Step.REGISTRATION, "a later revision's commitment is not in the passport", _PASSPORT)


def _signature_steps(report: Report, passport: Passport) -> None:
    """Steps 7 to 10: permission, vouchers, receipt, release."""
    permission = passport.permission
    entry = passport.redeemed_entry()
    outcome = passport.outcome_entry()
    contracts = contracts_of(passport)
    domain = contracts.ledger_domain
    if len(passport.permission_signature) == 65:
        with report.step(Step.PERMISSION, "the holder signed the permission", _PASSPORT):
            check_permission(_stated(passport), contracts, signature=passport.permission_signature)
    else:
        report.skip(Step.PERMISSION, "a contract wallet signed: only the chain can tell", _PASSPORT)
    with report.step(Step.PERMISSION, f"the permission is for revision {passport.revision}", _PASSPORT):
        require(
            permission.revision == passport.revision,
            Step.PERMISSION,
            "the permission is for another revision than the passport states",
            code="revision-mismatch",
            expected=permission.revision,
            found=passport.revision,
        )
    with report.step(Step.VOUCHER, f"the agent signed request {entry.sequence}", _PASSPORT):
        check_redeemed(entry, permission.agent, domain)
    if passport.detail is not None:
        with report.step(Step.VOUCHER, "the opened detail is the one in the request", _PASSPORT):
            opened = passport.detail.intended.digest(passport.detail.salt)
            require(
                opened == entry.detail,
                Step.VOUCHER,
                "the opened detail is not the one that the agent committed to",
                code="detail-mismatch",
                expected=digest_text(entry.detail),
                found=digest_text(opened),
            )
    if outcome is None:
        hidden = "outcome not shown: the print may have failed, been rejected or given back"
        report.skip(Step.VOUCHER, hidden, _PASSPORT)
    else:
        with report.step(Step.VOUCHER, f"the agent signed the outcome: {outcome.result.name.lower()}", _PASSPORT):
            check_outcome(outcome, permission.agent, domain)
    if passport.receipt is None:
        report.skip(Step.RECEIPT, "no receipt yet" if outcome is None else "receipt not disclosed", _PASSPORT)
    else:
        with report.step(Step.RECEIPT, "agent and gateway signed the receipt", _PASSPORT):
            _check_receipt(passport)
    with report.step(Step.RELEASE, "the gateway that the holder permitted released and anchored", _PASSPORT):
        _check_gateway(passport)
    with report.step(Step.RELEASE, "the gateway's release is for this entry", _PASSPORT):
        release = Release.verify(passport.release, passport.profile.release_key)
        check_release(release, entry, passport.profile)
        require(
            release.key_commitment == passport.manifest.key_commitment
            and release.manifest_digest == passport.manifest.digest(),
            Step.RELEASE,
            "the release is for another manifest",
            code="release-mismatch",
            expected=digest_text(passport.manifest.digest()),
            found=digest_text(release.manifest_digest),
        )


def _check_gateway(passport: Passport) -> None:
    """Pass when profile (whose log the release names) and anchor are of the gateway that the permission names."""
    permitted = passport.permission.gateway
    stated = {"profile": passport.profile.gateway}
    if passport.anchor is not None:
        stated["anchor"] = passport.anchor.gateway
    for what, gateway in stated.items():
        require(
            gateway == permitted,
            Step.RELEASE,
            f"the {what} is of another gateway than the holder permitted: that one never counted the print",
            code="gateway-mismatch",
            expected=address_text(permitted),
            found=address_text(gateway),
        )


def _check_receipt(passport: Passport) -> None:
    part = passport.receipt
    outcome = passport.outcome_entry()
    if part is None or outcome is None:
        fail(
            Step.RECEIPT,
            "a receipt without an outcome in the log",
            code="receipt-mismatch",
            expected="an outcome",
            found="none",
        )
    part.envelope.verify_agent(passport.permission.agent)
    part.envelope.verify_gateway(passport.profile.release_key)
    found = receipt_digest(part.salt, part.envelope.statement)
    require(
        found == outcome.receipt_digest,
        Step.RECEIPT,
        "the receipt is not the one that the outcome signed",
        code="receipt-mismatch",
        expected=digest_text(outcome.receipt_digest),
        found=digest_text(found),
    )
    receipt = Receipt.parse(part.envelope.statement)
    stated = (receipt.design_id, receipt.revision, receipt.license_id, receipt.token_id, receipt.sequence)
    expected = (
        passport.design_id,
        passport.revision,
        passport.license_id,
        passport.token_id,
        passport.sequence,
    )
    require(
        stated == expected and int(receipt.result) == int(outcome.result),
        Step.RECEIPT,
        "the receipt is for another print or tells another result",
        code="receipt-mismatch",
        expected=f"{passport.serial}, {outcome.result.name.lower()}",
        found=f"{receipt.serial}, {receipt.result.name.lower()}",
    )


def _log_steps(report: Report, passport: Passport) -> None:
    """Step 11: the entries are under the root that the passport states."""
    anchor = passport.anchor
    if anchor is None:
        report.skip(Step.INCLUSION, "provisional: the log was not anchored yet", _PASSPORT)
        return
    fact = _anchor_fact(passport, anchor, Digest32(bytes(32)))
    entry = passport.redeemed_entry()
    redeemed = passport.redeemed
    with report.step(Step.INCLUSION, f"the print is entry {redeemed.index} of {anchor.size}", _PASSPORT):
        check_inclusion(leaf_hash(entry), redeemed.index, anchor.size, redeemed.proof, fact)
    outcome = passport.outcome_entry()
    if outcome is not None and passport.outcome is not None:
        logged = passport.outcome
        with report.step(Step.INCLUSION, f"its outcome is entry {logged.index} of {anchor.size}", _PASSPORT):
            check_inclusion(leaf_hash(outcome), logged.index, anchor.size, logged.proof, fact)


def _storage_steps(
    report: Report, passport: Passport, anchor: Anchor, proof: ChainProof, known_block: Digest32
) -> None:
    """Steps 7 and 12 by storage proofs against a block that is known; nothing is asked."""
    slots: Slots | None = None
    with report.step(Step.ANCHOR, "the storage proofs follow from the given block", _PROOFS):
        slots = proven_slots(proof, known_block)
    if slots is None:
        return
    ledger, gateway = passport.profile.ledger, passport.permission.gateway
    stored = slots.get((ledger, anchor_slot(gateway, anchor.epoch, anchor.size)))
    if stored is None:
        report.skip(Step.ANCHOR, "whether the root is on chain: no storage proof of it", _PROOFS)
    else:
        with report.step(Step.ANCHOR, f"the root of {anchor.size} entries is in the ledger", _PROOFS):
            check_anchor(_anchor_fact(passport, anchor, digest32(stored.to_bytes(32, "big"))))
    word = slots.get((ledger, reservation_slot(gateway, passport.license_id, passport.token_id)))
    if word is None:
        report.skip(Step.PERMISSION, "whether the prints were reserved: no storage proof of it", _PROOFS)
        return
    with report.step(Step.PERMISSION, "the prints were reserved for this agent", _PROOFS):
        found, permission = ReservationWord.parse(word), passport.permission
        expected = (permission.agent, permission.prints, passport.terms.spares(permission.prints))
        require(
            (found.agent, found.prints, found.spares) == expected and found.expires_at in {0, permission.expires_at},
            Step.PERMISSION,
            "the ledger holds another reservation under this token",
            code="reservation-storage",
            expected=f"{permission.prints} prints for {address_text(permission.agent)}",
            found=f"{found.prints} prints for {address_text(found.agent)}",
        )


def _anchor_fact(passport: Passport, anchor: Anchor, stored: Digest32) -> AnchorFact:
    """Return the anchor as the passport states it, over what the ledger stores."""
    return AnchorFact(
        anchor.epoch,
        anchor.size,
        anchor.root,
        anchor.tiles_digest,
        stored,
        BlockFact(anchor.block_number, anchor.block_hash, passport.permission.deadline),
        anchor.transaction,
    )


def _chain_steps(
    report: Report, passport: Passport, facts: ChainFacts, block_hash: BlockHash, get_profile: GetProfile
) -> None:
    """Steps 0 to 7, 10, 12 and 13 against the chain."""
    contracts = contracts_of(passport)
    with report.step(Step.CONTRACTS, "the passport is of these contracts", _CHAIN):
        require(
            contracts == facts.contracts,
            Step.CONTRACTS,
            "the passport is of other contracts",
            code="wrong-chain",
            expected=f"chain {facts.contracts.chain_id}, ledger {facts.contracts.ledger.hex()}",
            found=f"chain {contracts.chain_id}, ledger {contracts.ledger.hex()}",
        )
    _design_on_chain(report, passport, facts)
    _license_on_chain(report, passport, facts)
    _token_on_chain(report, passport, facts, block_hash)
    _anchor_on_chain(report, passport, facts, get_profile)


def _design_on_chain(report: Report, passport: Passport, facts: ChainFacts) -> None:
    design = facts.designs.get(passport.design_id)
    with report.step(Step.REGISTRATION, "the design is registered", _CHAIN):
        if design is None:
            fail(
                Step.REGISTRATION,
                "this design was never registered here",
                code="design-unknown",
                expected="a registration",
                found=id_text(passport.design_id),
            )
        check_registration(design, facts.contracts)
        check_registrant(design, passport.manifest)
    if design is None:
        return
    with report.step(Step.REVISION, f"revision {passport.revision} was published and is not recalled", _CHAIN):
        revision = check_revision(design, passport.revision)
        require(
            passport.manifest.digest() == revision.manifest_digest,
            Step.MANIFEST,
            "the manifest is not the one that was registered",
            code="manifest-digest",
            expected=digest_text(revision.manifest_digest),
            found=digest_text(passport.manifest.digest()),
        )
        if passport.content is not None:
            check_commitment(design, revision, passport.content.salt, passport.content.files_root)


def _license_on_chain(report: Report, passport: Passport, facts: ChainFacts) -> None:
    license_fact = facts.licenses.get(passport.license_id)
    with report.step(Step.TERMS, "the licence was offered and accepted on these terms", _CHAIN):
        if license_fact is None:
            fail(
                Step.TERMS,
                "this licence was never offered",
                code="license-unknown",
                expected="an offer",
                found=id_text(passport.license_id),
            )
        check_terms(license_fact, facts.contracts)
        check_acceptance(license_fact, passport.revision, passport.manifest)
    if license_fact is None:
        return
    with report.step(Step.MINT, f"{license_fact.minted + license_fact.sold} prints were minted or sold", _CHAIN):
        require(
            passport.permission.prints <= license_fact.minted + license_fact.sold <= license_fact.terms.cap,
            Step.MINT,
            "the token is for more prints than exist",
            code="reserved-above-minted",
            expected=f"at most {license_fact.minted + license_fact.sold}",
            found=passport.permission.prints,
        )


def _token_on_chain(report: Report, passport: Passport, facts: ChainFacts, block_hash: BlockHash) -> None:
    reservation = facts.reservations.get(passport.token_id)
    with report.step(Step.PERMISSION, "the prints were reserved for this agent", _CHAIN):
        if reservation is None:
            fail(
                Step.PERMISSION,
                "these prints were never reserved",
                code="entry-without-reservation",
                expected="a reservation",
                found=id_text(passport.token_id),
            )
        check_permission(reservation, facts.contracts)
        license_fact = facts.licenses.get(passport.license_id)
        if license_fact is not None:
            check_reservation(reservation, license_fact)
    entry = passport.redeemed_entry()
    with report.step(Step.VOUCHER, f"the agent had seen block {entry.seen_block}", _CHAIN):
        check_seen_block(entry, block_hash(entry.seen_block))
    if reservation is None:
        return
    limit = passport.permission.prints + reservation.spares
    counted = f"print {passport.sequence} of at most {limit}; {reservation.burned} settled"
    with report.step(Step.COUNTS, counted, _CHAIN):
        require(
            passport.sequence <= limit,
            Step.COUNTS,
            "the sequence is above what was reserved",
            code="count-exceeded",
            expected=f"at most {limit}",
            found=passport.sequence,
        )


def _anchor_on_chain(report: Report, passport: Passport, facts: ChainFacts, get_profile: GetProfile) -> None:
    gateway = facts.gateways.get(passport.profile.gateway)
    with report.step(Step.RELEASE, "the gateway declared these keys on chain, and they were in force", _CHAIN):
        if gateway is None:
            fail(
                Step.RELEASE,
                "this gateway never declared keys here",
                code="gateway-not-accepted",
                expected="a declaration",
                found=passport.profile.gateway.hex(),
            )
        check_profile(passport.profile, gateway, facts.contracts)
        check_in_force(passport.profile, gateway, _first_anchor(passport, gateway), get_profile)
    stated = passport.anchor
    if stated is None:
        report.skip(Step.ANCHOR, "provisional: no anchor in the passport", _PASSPORT)
        return
    with report.step(Step.ANCHOR, f"the root of {stated.size} entries is on chain", _CHAIN):
        found = None if gateway is None else _stated_anchor(passport, gateway)
        if found is None:
            fail(
                Step.ANCHOR,
                "this chain has no such anchor",
                code="anchor-root",
                expected=f"an anchor of {stated.size} entries in epoch {stated.epoch}",
                found="none of this gateway" if gateway is None else "none of that size",
            )
        check_anchor(found)
        require(
            (found.root, found.tiles_digest) == (stated.root, stated.tiles_digest),
            Step.ANCHOR,
            "the passport states another root than the chain",
            code="anchor-root",
            expected=digest_text(found.root),
            found=digest_text(stated.root),
        )
        require(
            (found.block.number, found.block.hash) == (stated.block_number, stated.block_hash),
            Step.ANCHOR,
            "the passport states another block than the chain",
            code="anchor-block",
            expected=f"block {found.block.number}",
            found=f"block {stated.block_number}",
        )
        require(
            found.transaction == stated.transaction,
            Step.ANCHOR,
            "the passport states another transaction than the chain",
            code="anchor-transaction",
            expected=digest_text(found.transaction),
            found=digest_text(stated.transaction),
        )


def _stated_anchor(passport: Passport, gateway: GatewayFact) -> AnchorFact | None:
    """Return the anchor on chain that the passport states, if there is one."""
    stated = passport.anchor
    if stated is None:
        return None
    return next((one for one in gateway.anchors if (one.epoch, one.size) == (stated.epoch, stated.size)), None)


def _first_anchor(passport: Passport, gateway: GatewayFact) -> AnchorFact | None:
    """Return the anchor that covered the print first, in the profile's epoch or else as stated; None for provisional.

    A passport states the newest anchor of its day; the release is as old as the first.
    """
    stated = _stated_anchor(passport, gateway)
    if stated is None:
        return None
    return covering_anchor(gateway, passport.profile.epoch, passport.redeemed.index) or stated


def contracts_of(passport: Passport) -> Contracts:
    """Return the chain and contracts that a passport names."""
    profile = passport.profile
    return Contracts(profile.chain_id, profile.registry, profile.license, profile.ledger)


def _stated(passport: Passport) -> ReservationFact:
    """Return the reservation as the passport states it, for the checks that need no chain."""
    permission = passport.permission
    return ReservationFact(
        token_id=passport.token_id,
        permission=permission,
        spares=passport.terms.spares(permission.prints),
        block=BlockFact(0, Digest32(bytes(32)), permission.deadline),
        agent_in_storage=permission.agent,
        prints_in_storage=permission.prints,
        burned=0,
        voided=0,
        settled_sequence=0,
    )
