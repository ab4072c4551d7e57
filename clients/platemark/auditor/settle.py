"""Finishes a settlement that a gateway left undone, from nothing but the chain and the log's tiles.

Whoever has the log can do it: the vouchers are in the entries, signed by the agents that the holders named. The
ledger takes a stranger's settlement from three days after a token's expiry. What the gateway gave back for failed
prints is its word alone, so a stranger cannot state it.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from platemark.auditor.evidence import ANOTHER_MIRROR, Evidence, LogFiles, Origin
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import log_entry
from platemark.protocol.accounts import AccountKey, to_compact
from platemark.protocol.checkpoint import Checkpoint, Note
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.tiles import LogReader
from platemark.protocol.units import Address, Digest32, LicenseId, TokenId, UnixSeconds, address_text
from platemark.protocol.voucher import VoucherUse, burned
from platemark.sdk.chain import Sent
from platemark.verify.facts import ChainFacts, ReservationFact
from platemark.verify.steps import Step, evidence_of
from platemark.verify.voucher import check_outcome, check_redeemed

USES_PER_TRANSACTION: Final = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stranger can settle now, what only later, how many tokens the chain has settled already, what is lost.

    `returned` are prints that were made and went back to the holder before anybody settled them, by token.
    `given_back` are failed prints that the log gives back and that count as made when a stranger settles, by token.
    """

    uses: Mapping[LicenseId, tuple[VoucherUse, ...]]
    settled: int
    too_early: Mapping[TokenId, UnixSeconds]
    returned: Mapping[TokenId, int] = field(default_factory=dict)
    given_back: Mapping[TokenId, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many tokens would be settled."""
        return sum(map(len, self.uses.values()))


def plan(facts: ChainFacts, origin: Origin, log: LogReader, *, now: UnixSeconds) -> Plan:
    """Return what the log proves and the chain does not count yet; `now` is at least the newest block's time.

    Nobody's word is taken: each voucher stands for itself. Entries that the ledger would pass over are left out, so
    that a gateway cannot hinder a settlement by what it writes into its log.

    Errors: VerificationError of step 11 for tiles that are missing, damaged or not of this log.
    """
    with evidence_of(Step.INCLUSION, "a tile of the log", hint=ANOTHER_MIRROR):
        highest, voided = _vouchers(facts, origin, log)
    uses: dict[LicenseId, list[VoucherUse]] = defaultdict(list)
    too_early: dict[TokenId, UnixSeconds] = {}
    returned: dict[TokenId, int] = {}
    given_back: dict[TokenId, int] = {}
    settled = 0
    for token_id, entry in highest.items():
        reservation = facts.reservations[token_id]
        permission = reservation.permission
        opens_at = UnixSeconds(permission.expires_at + SETTLE_BY_ANYBODY_SECONDS)
        logged = burned(entry.sequence, min(len(voided[token_id]), entry.sequence), permission.prints)
        if reservation.returned is not None:
            if logged > reservation.burned:
                returned[token_id] = logged - reservation.burned
            else:
                settled += 1
        elif _is_counted(reservation, entry.sequence):
            settled += 1
        elif now < opens_at:
            too_early[token_id] = opens_at
        else:
            r, vs = to_compact(entry.signature)
            use = VoucherUse(token_id, entry.sequence, 0, entry.request_digest(), r, vs)
            uses[permission.license_id].append(use)
            counted = burned(entry.sequence, min(reservation.voided, entry.sequence), permission.prints)
            if counted > logged:
                given_back[token_id] = counted - logged
    return Plan({key: tuple(found) for key, found in uses.items()}, settled, too_early, returned, given_back)


def open_unsigned(files: LogFiles) -> LogReader:
    """Return the log under the root that its checkpoint states, signed or not: vouchers need no gateway's word.

    Errors: VerificationError of step 12 for the checkpoint, of step 11 for tiles that are missing or not of its log.
    """
    with evidence_of(Step.ANCHOR, "the checkpoint", hint=ANOTHER_MIRROR):
        checkpoint = Checkpoint.parse(Note.parse(files.checkpoint()).text)
    with evidence_of(Step.INCLUSION, "a tile of the log", hint=ANOTHER_MIRROR):
        return LogReader(checkpoint.size, checkpoint.root, files.get)


def settled_prints(facts: ChainFacts, gateway: Address) -> int:
    """Return how many prints the chain counts of a gateway."""
    return sum(found.burned for found in facts.reservations.values() if found.permission.gateway == gateway)


def send(evidence: Evidence, facts: ChainFacts, origin: Origin, found: Plan, account: AccountKey) -> list[Sent]:
    """Send the plan's settlement with an account of anybody's and wait until it is final.

    Errors: RefusedError `coin-missing` and those of the contract; UpstreamError.
    """
    sent: list[Sent] = []
    for batches in _transactions(found):
        transaction: Digest32 = evidence.chain.transact(
            account,
            "PrintLedger",
            facts.contracts.ledger,
            "settle",
            address_text(origin.gateway),
            batches,
            chain_id=facts.contracts.chain_id,
        )
        sent.append(evidence.chain.wait(transaction))
    return sent


def _transactions(found: Plan) -> list[list[tuple[int, list[tuple[object, ...]]]]]:
    """Return the plan cut into transactions of at most 300 uses."""
    transactions: list[list[tuple[int, list[tuple[object, ...]]]]] = []
    room = 0
    for license_id, uses in found.uses.items():
        rest = list(uses)
        while rest:
            if room == 0:
                transactions.append([])
                room = USES_PER_TRANSACTION
            taken, rest = rest[:room], rest[room:]
            transactions[-1].append((license_id, [use.arguments() for use in taken]))
            room -= len(taken)
    return transactions


def _vouchers(
    facts: ChainFacts, origin: Origin, log: LogReader
) -> tuple[dict[TokenId, RedeemedEntry], dict[TokenId, set[int]]]:
    """Return each token's highest voucher, and the sequences that the log says were given back."""
    highest: dict[TokenId, RedeemedEntry] = {}
    voided: dict[TokenId, set[int]] = defaultdict(set)
    for data in log.entries():
        entry = _signed_by_agent(data)
        reservation = None if entry is None else facts.reservations.get(entry.token_id)
        if entry is None or reservation is None or reservation.permission.gateway != origin.gateway:
            continue
        if entry.sequence > reservation.prints_in_storage + reservation.spares:
            continue
        if not _is_agents(entry, reservation, facts):
            continue
        if isinstance(entry, OutcomeEntry):
            if entry.spare_used and len(voided[entry.token_id]) < reservation.spares:
                voided[entry.token_id].add(entry.sequence)
            continue
        known = highest.get(entry.token_id)
        if known is None or entry.sequence > known.sequence:
            highest[entry.token_id] = entry
    return highest, voided


def _is_agents(entry: RedeemedEntry | OutcomeEntry, reservation: ReservationFact, facts: ChainFacts) -> bool:
    agent, domain = reservation.permission.agent, facts.contracts.ledger_domain
    try:
        if isinstance(entry, OutcomeEntry):
            check_outcome(entry, agent, domain)
        else:
            check_redeemed(entry, agent, domain)
    except (VerificationError, MalformedError):
        return False
    return True


def _signed_by_agent(data: bytes) -> RedeemedEntry | OutcomeEntry | None:
    """Return an entry of a kind that agents sign; whether one did is still to be seen."""
    try:
        entry = log_entry.decode(data)
    except MalformedError:
        return None
    return entry if isinstance(entry, RedeemedEntry | OutcomeEntry) else None


def _is_counted(reservation: ReservationFact, sequence: int) -> bool:
    """Return whether a voucher would change nothing any more: storage counts as much."""
    proven = burned(sequence, min(reservation.voided, sequence), reservation.prints_in_storage)
    return proven <= reservation.burned
