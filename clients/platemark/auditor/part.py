"""The audit of one part: by its passport, or by nothing but the serial on its label."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from platemark.auditor.evidence import Evidence
from platemark.auditor.recalls import reason_text
from platemark.auditor.replay import (
    OpenLog,
    anchoring,
    gateway_of,
    license_of,
    open_log,
    profile_reader,
    read_chain,
    tell_lost,
)
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import log_entry
from platemark.protocol.canonical import JsonValue
from platemark.protocol.log_entry import LogEntry, OutcomeEntry, RedeemedEntry, Result
from platemark.protocol.passport import LoggedEntry, Passport, Status
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.serial import grouped, parse_serial, serial_of
from platemark.protocol.units import Digest32, LicenseId, TokenId, address_text, digest_text, id_text
from platemark.verify.counts import LogReplay, TokenCounts
from platemark.verify.facts import AnchorFact, ChainFacts, DesignFact, GatewayFact, ReservationFact
from platemark.verify.inclusion import check_anchor, check_anchored_root, check_inclusion, covering_anchor
from platemark.verify.license import check_reservation
from platemark.verify.passport import contracts_of, outcome_facts, verify_passport
from platemark.verify.policy import ANYBODY, Policy
from platemark.verify.registration import check_revision
from platemark.verify.report import Finding, Report, Verdict
from platemark.verify.steps import Step, fail, require
from platemark.verify.voucher import check_permission

_CHAIN: Final = "chain"
_LOG: Final = "tiles"
_PASSPORT: Final = "passport"
HOLDS_BY_ITSELF: Final = "holds by itself"
"""What is told in place of "valid" where no chain was asked: a recall, for one, is not known then."""


@dataclass(frozen=True, slots=True)
class FoundPrint:
    """The entries of one print in a log, with their indices."""

    index: int
    entry: RedeemedEntry
    outcome_index: int | None
    outcome: OutcomeEntry | None


def audit_passport(
    passport: Passport,
    evidence: Evidence | None,
    *,
    policy: Policy = ANYBODY,
    with_log: bool = False,
    known_block: Digest32 | None = None,
) -> Report:
    """Return the report on a passport: offline without evidence, against the chain with it.

    With `with_log` the print is also looked up in the log that the evidence names, for an outcome that the passport
    does not show, and its token is replayed. Offline, storage proofs are checked against a `known_block`.

    Errors: UpstreamError when the chain cannot be reached.
    """
    if evidence is None:
        report = verify_passport(passport, known_block=known_block)
        _require_accepted(report, passport, policy)
        status = part_status(report, passport.outcome_entry(), is_anchored=not passport.provisional, is_over=False)
        report.facts["status"] = HOLDS_BY_ITSELF if status is Status.VALID else status
        return report
    stated = contracts_of(passport)
    try:
        contracts = evidence.contracts(stated.chain_id, stated.ledger)
        facts = evidence.facts(contracts)
    except (VerificationError, MalformedError) as error:
        report = verify_passport(passport)
        report.reject(Step.CONTRACTS, error, _CHAIN)
        report.facts["status"] = Status.UNKNOWN
        return report
    get_profile = profile_reader(evidence, passport.profile)
    report = verify_passport(passport, facts=facts, block_hash=evidence.block_hash, get_profile=get_profile)
    report.trusted.append(evidence.trusted())
    _tell_recall(report, evidence, facts.designs.get(passport.design_id), passport.revision)
    _require_accepted(report, passport, policy)
    report.skip(Step.ANCHOR, "checkpoint, other anchors and tiles are not checked here: needs audit log", _PASSPORT)
    outcome, is_anchored, is_over = passport.outcome_entry(), not passport.provisional, False
    if with_log:
        found = _passport_in_log(report, passport, evidence, facts)
        if found is not None:
            outcome = found.outcome
            is_anchored = is_anchored and _is_outcome_anchored(found, facts.gateways[passport.permission.gateway])
            is_over = _is_over(facts, facts.reservations[passport.token_id])
            report.facts |= _outcome_facts(outcome, is_over=is_over)
    else:
        report.skip(Step.COUNTS, "the token's other prints are not counted here: needs the log (--tiles)", _PASSPORT)
    report.facts["status"] = part_status(report, outcome, is_anchored=is_anchored, is_over=is_over)
    return report


def _tell_recall(report: Report, evidence: Evidence, design: DesignFact | None, number: int) -> None:
    """Report the owner's reason for a recall: its digest as the chain has it, and its text where that is at hand."""
    revision = None if design is None else design.revisions.get(number)
    if revision is None or revision.recall_reason is None:
        return
    text = reason_text(report, evidence, revision.recall_reason)
    report.facts |= {"recallReason": text, "recallReasonDigest": digest_text(revision.recall_reason)}


def _is_outcome_anchored(found: FoundPrint, gateway: GatewayFact) -> bool:
    index = found.outcome_index
    return index is None or covering_anchor(gateway, gateway.declarations[-1].epoch, index) is not None


def _passport_in_log(report: Report, passport: Passport, evidence: Evidence, facts: ChainFacts) -> FoundPrint | None:
    """Return the passport's print as the log has it, after its token was replayed; None with the reason reported."""
    permitted = passport.permission.gateway
    try:
        origin = evidence.origin()
        require(
            (origin.chain_id, origin.ledger, origin.gateway)
            == (facts.contracts.chain_id, facts.contracts.ledger, permitted),
            Step.ANCHOR,
            "the log is not that of the gateway which the holder permitted",
            code="checkpoint-origin",
            expected=f"{facts.contracts.chain_id}/{address_text(facts.contracts.ledger)}/{address_text(permitted)}",
            found=origin.text,
        )
    except VerificationError as error:
        report.reject(Step.ANCHOR, error, _LOG)
        return None
    gateway = facts.gateways.get(permitted)
    reservation = facts.reservations.get(passport.token_id)
    if gateway is None or reservation is None:
        return None  # steps 7 and 10 have said so
    log = open_log(report, evidence, origin, gateway, facts, known=passport.profile)
    if log is None:
        return None
    found: FoundPrint | None = None
    with report.step(Step.INCLUSION, "the log has the passport's entries", _LOG):
        found = find_print(log, passport.serial)
        _check_same("print", passport.redeemed, found.entry)
        if passport.outcome is not None:
            _check_same("outcome", passport.outcome, found.outcome)
    if found is not None:
        try:
            replayed = replay_tokens(evidence, facts, log, gateway, [reservation])
        except (VerificationError, MalformedError) as error:
            report.reject(Step.INCLUSION, error, _LOG)
            return found
        tell_token(report, reservation, replayed[reservation.token_id])
    return found


def _check_same(what: str, stated: LoggedEntry, found: LogEntry | None) -> None:
    logged = b"" if found is None else found.to_bytes()
    require(
        stated.entry == logged,
        Step.INCLUSION,
        f"the log has another entry for the {what} than the passport",
        code="entry-mismatch",
        expected=digest_text(log_entry.leaf_hash(log_entry.decode(stated.entry))),
        found="none" if found is None else digest_text(log_entry.leaf_hash(found)),
    )


def _require_accepted(report: Report, passport: Passport, policy: Policy) -> None:
    """Add a discrepancy when the policy does not accept the passport's gateway."""
    gateway = passport.profile.gateway
    if not policy.accepts_gateway(gateway):
        error = VerificationError(
            "the policy does not accept this gateway",
            step=Step.RELEASE.label,
            code="gateway-not-accepted",
            expected=" or ".join(map(address_text, sorted(policy.gateways))),
            found=address_text(gateway),
        )
        report.reject(Step.RELEASE, error, _PASSPORT)


def part_status(report: Report, outcome: OutcomeEntry | None, *, is_anchored: bool, is_over: bool) -> Status:
    """Return what a look-up says of a part: valid, recalled, voided, provisional, or unknown when checks failed.

    Whatever did not complete is voided, also where no spare was left and the print stays counted. A print of which no
    outcome is known is provisional until the time for outcomes `is_over`, as the log shows; then it counts as printed.
    """
    failed = {finding.code for finding in report.findings if finding.verdict is Verdict.FAILS}
    if "revision-recalled" in failed:
        return Status.RECALLED
    if failed:
        return Status.UNKNOWN
    if outcome is not None and (outcome.spare_used or outcome.result is not Result.COMPLETED):
        return Status.VOIDED
    if not is_anchored or (outcome is None and not is_over):
        return Status.PROVISIONAL
    return Status.VALID


def _is_over(facts: ChainFacts, reservation: ReservationFact) -> bool:
    """Return whether no outcome can come any more: three days after expiry, by the final block's time."""
    return facts.final.timestamp > reservation.permission.expires_at + SETTLE_BY_ANYBODY_SECONDS


def _outcome_facts(outcome: OutcomeEntry | None, *, is_over: bool) -> dict[str, JsonValue]:
    none = "none in time: counts as printed" if is_over else "none in the log yet"
    return outcome_facts(outcome, otherwise=none)


def audit_part(evidence: Evidence, serial_text: str) -> Report:
    """Return the report on the part with this serial, from the log and the chain alone.

    Errors: MalformedError `serial`; UpstreamError when chain, blocks or log cannot be reached.
    """
    serial = parse_serial(serial_text)
    report = Report(f"part {grouped(serial)}")
    report.facts["serial"] = serial
    opened = open_evidence(report, evidence)
    known = None if opened is None else prints_in(report, evidence, opened, [serial])
    if opened is not None and known is not None:
        _part_steps(report, evidence, opened, serial, known)
    return report


def audit_parts(evidence: Evidence, serials: Iterable[str]) -> tuple[Report, list[Report]]:
    """Return the report on chain and log, and one on each part, as `audit_part` gives it; the log is read twice in all.

    No part is looked at when chain or log cannot be believed.

    Errors: MalformedError `serial`; UpstreamError when chain, blocks or log cannot be reached.
    """
    wanted = list(dict.fromkeys(parse_serial(each) for each in serials))
    common = Report(f"{len(wanted)} {'part' if len(wanted) == 1 else 'parts'}")
    opened = open_evidence(common, evidence)
    known = None if opened is None else prints_in(common, evidence, opened, wanted)
    if opened is None or known is None:
        return common, []
    parts = []
    for serial in wanted:
        report = Report(f"part {grouped(serial)}", trusted=list(common.trusted))
        report.facts["serial"] = serial
        _part_steps(report, evidence, opened, serial, known)
        parts.append(report)
    return common, parts


def in_one_report(common: Report, parts: Iterable[Report]) -> Report:
    """Return what `audit_parts` gave as one report: each part's findings under its name, its facts by its subject."""
    whole = Report(common.subject, list(common.findings), list(common.trusted), dict(common.facts))
    facts: dict[str, JsonValue] = {}
    for part in parts:
        whole.extend(replace(finding, detail=f"{part.subject}: {finding.detail}") for finding in part.findings)
        facts[part.subject] = part.facts
    whole.facts["parts"] = facts
    return whole


@dataclass(frozen=True, slots=True)
class Opened:
    """The chain's facts, and a log whose keys, checkpoint and root were checked."""

    facts: ChainFacts
    gateway: GatewayFact
    log: OpenLog


@dataclass(frozen=True, slots=True)
class TokenReplay:
    """One token's counts by its entries, and what is wrong with them."""

    replay: LogReplay
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class _Known:
    prints: Mapping[str, FoundPrint]
    replays: Mapping[TokenId, TokenReplay]


def open_evidence(report: Report, evidence: Evidence) -> Opened | None:
    """Return chain and log, or None with the reason in the report."""
    origin = evidence.origin()
    facts = read_chain(report, evidence, origin.chain_id, origin.ledger)
    gateway = None if facts is None else gateway_of(report, facts, origin.gateway, evidence)
    if facts is None or gateway is None:
        return None
    log = open_log(report, evidence, origin, gateway, facts)
    return None if log is None else Opened(facts, gateway, log)


def prints_in(report: Report, evidence: Evidence, opened: Opened, serials: Collection[str]) -> _Known | None:
    """Return the prints with these serials and their tokens, replayed; None with the reason in the report."""
    facts, log = opened.facts, opened.log
    try:
        prints = find_prints(log, serials)
        tokens = {found.entry.token_id for found in prints.values()}
        own = [each for token_id in tokens if (each := _reserved_here(facts, log, token_id)) is not None]
        return _Known(prints, replay_tokens(evidence, facts, log, opened.gateway, own))
    except (VerificationError, MalformedError) as error:
        report.reject(Step.INCLUSION, error, _LOG)
        return None


def _reserved_here(facts: ChainFacts, log: OpenLog, token_id: TokenId) -> ReservationFact | None:
    found = facts.reservations.get(token_id)
    return found if found is not None and found.permission.gateway == log.origin.gateway else None


def _part_steps(report: Report, evidence: Evidence, opened: Opened, serial: str, known: _Known) -> None:
    with report.step(Step.INCLUSION, "the serial is in the log", _LOG):
        found = known.prints.get(serial)
        if found is None:
            fail_unknown(opened.log, serial)
    if found is not None:
        _print_steps(report, evidence, opened, found, known.replays.get(found.entry.token_id))


def find_prints(log: OpenLog, serials: Collection[str]) -> dict[str, FoundPrint]:
    """Return the entries of the prints that have these serials, where there are any.

    Errors: those of the log's tiles.
    """
    wanted = frozenset(serials)
    prints: dict[str, tuple[int, RedeemedEntry]] = {}
    outcomes: dict[str, tuple[int, OutcomeEntry]] = {}
    for index, data in enumerate(log.reader.entries()):
        try:
            entry = log_entry.decode(data)
        except MalformedError:
            continue  # `audit log` names it; here some parts are looked for
        if isinstance(entry, RedeemedEntry | OutcomeEntry):
            serial = serial_of(entry.token_id, entry.sequence)
            if serial not in wanted:
                continue
            if isinstance(entry, RedeemedEntry):
                prints.setdefault(serial, (index, entry))
            else:
                outcomes.setdefault(serial, (index, entry))
    return {serial: FoundPrint(*found, *outcomes.get(serial, (None, None))) for serial, found in prints.items()}


def find_print(log: OpenLog, serial: str) -> FoundPrint:
    """Return the entries of the print that has this serial.

    Errors: VerificationError `serial-unknown`, or those of the log's tiles.
    """
    return find_prints(log, [serial]).get(serial) or fail_unknown(log, serial)


def fail_unknown(log: OpenLog, serial: str) -> NoReturn:
    """Raise `serial-unknown`."""
    fail(
        Step.INCLUSION,
        "no print in this log has this serial",
        code="serial-unknown",
        expected=f"an entry with serial {grouped(serial)}",
        found=f"none in {log.checkpoint.size} entries",
        hint="another gateway's log may have it",
    )


def replay_tokens(
    evidence: Evidence,
    facts: ChainFacts,
    log: OpenLog,
    gateway: GatewayFact,
    reservations: Iterable[ReservationFact],
) -> dict[TokenId, TokenReplay]:
    """Replay every entry of some tokens in one pass: steps 8 and 13 for each, as `audit log` makes them for all.

    Errors: those of the log's tiles.
    """
    anchored_at = anchoring(gateway, log.origin.epoch)
    found = {
        each.token_id: TokenReplay(
            LogReplay(
                replace(facts, reservations={each.token_id: each}), log.origin.gateway, evidence.block_hash, anchored_at
            ),
            [],
        )
        for each in reservations
    }
    for index, data in enumerate(log.reader.entries()):
        token = found.get(_token_of(data))
        if token is not None:
            token.findings.extend(token.replay.feed(data, at=index))
    for token in found.values():
        token.findings.extend(token.replay.finish())
    return found


def tell_token(report: Report, reservation: ReservationFact, token: TokenReplay) -> None:
    """Report what replaying a token has shown."""
    report.extend(token.findings)
    failed = {finding.step for finding in token.findings}
    counts = token.replay.tokens.get(reservation.token_id, TokenCounts())
    if Step.VOUCHER not in failed:
        detail = f"the agent signed all {counts.released} requests of the token, in order, and their outcomes"
        report.hold(Step.VOUCHER, detail, f"{_LOG}, {_CHAIN}")
    if Step.COUNTS not in failed:
        limit = f"prints: {reservation.permission.prints}, spares: {reservation.spares}"
        done = f"{counts.released} released, {counts.voided} given back, {reservation.burned} settled"
        report.hold(Step.COUNTS, f"the token ({limit}): {done}", f"{_LOG}, {_CHAIN}")
    tell_lost(report, token.replay)


def _token_of(data: bytes) -> TokenId:
    try:
        return log_entry.decode(data).token_id
    except MalformedError:
        return TokenId(0)  # no token's; `audit log` names the entry


def _print_steps(
    report: Report, evidence: Evidence, opened: Opened, found: FoundPrint, token: TokenReplay | None
) -> None:
    facts, log, gateway, entry = opened.facts, opened.log, opened.gateway, found.entry
    reservation = facts.reservations.get(entry.token_id)
    with report.step(Step.PERMISSION, f"print {entry.sequence} of a token that a holder permitted", _CHAIN):
        if reservation is None:
            fail(
                Step.PERMISSION,
                "the print is of a token that was never reserved",
                code="entry-without-reservation",
                expected="a reservation",
                found=id_text(entry.token_id),
            )
        require(
            reservation.permission.gateway == log.origin.gateway,
            Step.PERMISSION,
            "the log is of another gateway than the holder permitted: that one never counted the print",
            code="gateway-mismatch",
            expected=address_text(reservation.permission.gateway),
            found=address_text(log.origin.gateway),
        )
        check_permission(reservation, facts.contracts)
        check_reservation(reservation, license_of(facts, reservation))
    if reservation is None:
        return
    _design_steps(report, evidence, facts, reservation.permission.license_id, reservation.permission.revision)
    entries = [(found.index, log_entry.leaf_hash(entry), "the print")]
    if found.outcome is not None and found.outcome_index is not None:
        entries.append((found.outcome_index, log_entry.leaf_hash(found.outcome), "its outcome"))
    anchors = [_anchored(report, log, gateway, *logged) for logged in entries]
    report.skip(Step.ANCHOR, "other anchors and the tiles that they list are not checked here: needs audit log", _LOG)
    if token is not None:
        tell_token(report, reservation, token)
    is_over = _is_over(facts, reservation)
    report.facts |= {
        "tokenId": id_text(entry.token_id),
        "sequence": entry.sequence,
        "holder": address_text(reservation.permission.holder),
        "madeAfterBlock": entry.seen_block,
        "anchoredInBlock": None if anchors[0] is None else anchors[0].block.number,
        "status": part_status(report, found.outcome, is_anchored=None not in anchors, is_over=is_over),
    }
    report.facts |= _outcome_facts(found.outcome, is_over=is_over)


def _anchored(
    report: Report, log: OpenLog, gateway: GatewayFact, index: int, leaf: Digest32, what: str
) -> AnchorFact | None:
    """Return the first anchor that covers an entry, after steps 11 and 12 for it; None while there is none."""
    anchor = covering_anchor(gateway, log.origin.epoch, index)
    if anchor is None:
        report.skip(Step.ANCHOR, f"provisional: no anchored root covers {what} yet", _CHAIN)
        return None
    with report.step(Step.INCLUSION, f"{what} is entry {index} under the root of {anchor.size} entries", _LOG):
        check_inclusion(leaf, index, anchor.size, log.reader.inclusion_proof(index, anchor.size), anchor)
    with report.step(Step.ANCHOR, f"that root was anchored in block {anchor.block.number}", _CHAIN):
        check_anchor(anchor)
        check_anchored_root(anchor, log.reader)
    return anchor


def _design_steps(report: Report, evidence: Evidence, facts: ChainFacts, license_id: LicenseId, revision: int) -> None:
    license_fact = facts.licenses.get(license_id)
    design = None if license_fact is None else facts.designs.get(license_fact.terms.design_id)
    if design is None:
        return
    registrant = address_text(design.registration.registrant)
    report.facts |= {"designId": id_text(design.design_id), "registrant": registrant, "revision": revision}
    with report.step(Step.REVISION, f"revision {revision} of the design by {registrant} is not recalled", _CHAIN):
        check_revision(design, revision)
    _tell_recall(report, evidence, design, revision)
