"""Step 13: a whole log replayed against the chain; every discrepancy is named.

The replay reads entries in order and keeps counts per token, and one bit for each outcome; which print ids there were
is remembered by whoever calls it. It follows the rule of release in docs/formats.md and compares at the end with the
ledger's storage.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import log_entry
from platemark.protocol.log_entry import ClosedEntry, LogEntry, OutcomeEntry, RedeemedEntry
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.serial import serial_of
from platemark.protocol.units import Address, Digest32, TokenId, UnixSeconds, id_text
from platemark.protocol.voucher import LAST_SEQUENCE, burned
from platemark.verify.facts import ChainFacts, ReservationFact
from platemark.verify.report import Finding, Verdict
from platemark.verify.steps import Step, require
from platemark.verify.voucher import check_outcome, check_redeemed, check_seen_block

BlockHash = Callable[[int], Digest32 | None]
"""Returns the hash of a block of the chain (32 bytes), or None where there is none."""
AnchoredAt = Callable[[int], UnixSeconds | None]
"""Returns the timestamp of the first block that anchored an entry, by its index, or None while none did."""
NotePrint = Callable[[TokenId, bytes], bool]
"""Remembers a print id (16 bytes) of a token, and returns whether it is the first time."""

_LOG: Final = "print log"
_CHAIN: Final = "chain"


@dataclass(slots=True)
class Sequences:
    """A set of a token's sequences: a bit for each up to the last that is possible, at most 8 KiB.

    Those above, which only a log that lies has, are in a set.
    """

    bits: bytearray = field(default_factory=bytearray)
    beyond: set[int] = field(default_factory=set)

    @property
    def count(self) -> int:
        """How many were added."""
        return int.from_bytes(self.bits).bit_count() + len(self.beyond)

    def __contains__(self, sequence: int) -> bool:
        """Return whether a sequence was added."""
        place, bit = divmod(sequence, 8)
        if sequence > LAST_SEQUENCE:
            return sequence in self.beyond
        return place < len(self.bits) and bool(self.bits[place] & 1 << bit)

    def add(self, sequence: int) -> None:
        """Add a sequence."""
        place, bit = divmod(sequence, 8)
        if sequence > LAST_SEQUENCE:
            self.beyond.add(sequence)
            return
        if place >= len(self.bits):
            self.bits.extend(bytes(place + 1 - len(self.bits)))
        self.bits[place] |= 1 << bit


@dataclass(slots=True)
class TokenCounts:
    """What the log says of one token so far."""

    released: int = 0
    voided: int = 0
    outcomes: Sequences = field(default_factory=Sequences)
    closed: ClosedEntry | None = None


class PrintIds:
    """The print ids of a few tokens, in memory."""

    def __init__(self) -> None:
        self._known: set[tuple[TokenId, bytes]] = set()

    def note(self, token_id: TokenId, print_id: bytes) -> bool:
        """Remember a print id and return whether it is the first time."""
        known = len(self._known)
        self._known.add((token_id, print_id))
        return len(self._known) > known


@dataclass(slots=True)
class LogReplay:
    """Replays a gateway's log; `feed` each entry in order, or each of some tokens, then `finish`.

    Entries that no anchor covers are checked all the same, and said to be provisional by the caller. One that goes on
    where another stopped begins with the tokens and the entries of that one. `touched` are the tokens whose counts have
    changed since the caller cleared it.
    """

    facts: ChainFacts
    gateway: Address
    block_hash: BlockHash
    anchored_at: AnchoredAt = lambda _: None
    note_print: NotePrint = field(default_factory=lambda: PrintIds().note)
    tokens: dict[TokenId, TokenCounts] = field(default_factory=dict)
    entries: int = 0
    touched: set[TokenId] = field(default_factory=set)

    def feed(self, data: bytes, *, at: int | None = None) -> Iterator[Finding]:
        """Take an entry, the next one or the one `at` an index, and yield what is wrong with it."""
        index = self.entries if at is None else at
        self.entries = index + 1
        try:
            entry = log_entry.decode(data)
        except MalformedError as error:
            yield _finding(Step.INCLUSION, error, f"entry {index}")
            return
        reservation = self.facts.reservations.get(entry.token_id)
        if reservation is None or reservation.permission.gateway != self.gateway:
            error_text = VerificationError(
                "an entry for a token that was never reserved with this gateway",
                step=Step.PERMISSION.label,
                code="entry-without-reservation",
                expected="a reservation on chain",
                found=id_text(entry.token_id),
            )
            yield _finding(Step.PERMISSION, error_text, f"entry {index}")
            return
        counts = self.tokens.get(entry.token_id)
        if counts is None:
            counts = self.tokens[entry.token_id] = TokenCounts()
        self.touched.add(entry.token_id)
        for step, check in self._checks(index, entry, reservation, counts):
            try:
                check()
            except (VerificationError, MalformedError) as error:
                yield _finding(step, error, f"entry {index}, {_name(entry)}")
        _count(entry, counts)

    def finish(self) -> Iterator[Finding]:
        """Yield what is wrong between the log's counts and the chain's."""
        empty = TokenCounts()
        for token_id, reservation in self.facts.reservations.items():
            if reservation.permission.gateway != self.gateway:
                continue
            counts = self.tokens.get(token_id, empty)
            for check in (_check_settled, _check_burned, _check_voided, _check_closed):
                try:
                    check(reservation, counts)
                except VerificationError as error:
                    yield _finding(Step.COUNTS, error, f"token {id_text(token_id)[:12]}…", source=f"{_LOG}, {_CHAIN}")

    def unsettled(self) -> int:
        """Return how many prints the log counts that the chain does not count yet, and still can."""
        return sum(
            self._uncounted(reservation)
            for reservation in self.facts.reservations.values()
            if reservation.returned is None
        )

    def lost(self) -> dict[TokenId, int]:
        """Return by token how many prints the log counts that went back to the holder before anybody settled them."""
        found = {
            token_id: self._uncounted(reservation)
            for token_id, reservation in self.facts.reservations.items()
            if reservation.returned is not None
        }
        return {token_id: prints for token_id, prints in found.items() if prints}

    def _uncounted(self, reservation: ReservationFact) -> int:
        counts = self.tokens.get(reservation.token_id)
        return 0 if counts is None else max(0, _burned(reservation, counts) - reservation.burned)

    def _checks(
        self, index: int, entry: LogEntry, reservation: ReservationFact, counts: TokenCounts
    ) -> Iterator[tuple[Step, Callable[[], None]]]:
        domain = self.facts.contracts.ledger_domain
        agent = reservation.permission.agent
        yield Step.COUNTS, lambda: _check_open(counts, entry)
        match entry:
            case RedeemedEntry():
                yield Step.VOUCHER, lambda: check_redeemed(entry, agent, domain)
                is_new = self.note_print(entry.token_id, entry.print_id)
                yield Step.VOUCHER, lambda: _check_sequence(entry, counts, is_new=is_new)
                yield Step.VOUCHER, lambda: check_seen_block(entry, self.block_hash(entry.seen_block))
                yield Step.COUNTS, lambda: _check_allowed(reservation, counts)
            case OutcomeEntry():
                yield Step.VOUCHER, lambda: check_outcome(entry, agent, domain)
                yield Step.COUNTS, lambda: _check_outcome_counts(entry, reservation, counts)
                yield Step.COUNTS, lambda: _check_outcome_time(entry, reservation, self.anchored_at(index))
            case ClosedEntry():
                yield Step.COUNTS, lambda: _check_closing(entry, counts)


def _count(entry: LogEntry, counts: TokenCounts) -> None:
    match entry:
        case RedeemedEntry():
            counts.released += 1
        case OutcomeEntry():
            counts.outcomes.add(entry.sequence)
            counts.voided += entry.spare_used
        case ClosedEntry():
            counts.closed = counts.closed or entry


def _check_open(counts: TokenCounts, entry: LogEntry) -> None:
    late = counts.closed is not None and not isinstance(entry, OutcomeEntry)
    require(
        not late,
        Step.COUNTS,
        "an entry after the token was closed",
        code="entry-after-close",
        expected="no entry",
        found=_name(entry),
    )


def _check_sequence(entry: RedeemedEntry, counts: TokenCounts, *, is_new: bool) -> None:
    require(
        entry.sequence == counts.released + 1,
        Step.VOUCHER,
        "the requests of a token are not consecutive",
        code="sequence-expected",
        expected=counts.released + 1,
        found=entry.sequence,
    )
    require(
        is_new,
        Step.VOUCHER,
        "a print id stands twice",
        code="print-id-twice",
        expected="a new print id",
        found=entry.print_id.hex(),
    )


def _check_allowed(reservation: ReservationFact, counts: TokenCounts) -> None:
    prints = reservation.permission.prints
    require(
        counts.released - counts.voided < prints and counts.released < prints + reservation.spares,
        Step.COUNTS,
        "more prints were released than were reserved",
        code="count-exceeded",
        expected=f"at most {prints} prints and {reservation.spares} spares",
        found=f"{counts.released + 1} released, {counts.voided} given back",
    )


def _check_outcome_counts(entry: OutcomeEntry, reservation: ReservationFact, counts: TokenCounts) -> None:
    require(
        entry.sequence <= counts.released,
        Step.COUNTS,
        "an outcome of a print that was never released",
        code="outcome-without-redemption",
        expected=f"a sequence up to {counts.released}",
        found=entry.sequence,
    )
    require(
        entry.sequence not in counts.outcomes,
        Step.COUNTS,
        "a second outcome for one print",
        code="outcome-twice",
        expected="one outcome",
        found=f"sequence {entry.sequence} again",
    )
    if entry.spare_used:
        require(
            counts.voided < reservation.spares,
            Step.COUNTS,
            "more prints were given back than the terms allow",
            code="spares-exceeded",
            expected=f"at most {reservation.spares}",
            found=counts.voided + 1,
        )


def _check_outcome_time(entry: OutcomeEntry, reservation: ReservationFact, anchored_at: UnixSeconds | None) -> None:
    """Pass unless a print was given back after the time for outcomes, which the anchor's block tells."""
    latest = reservation.permission.expires_at + SETTLE_BY_ANYBODY_SECONDS
    require(
        not entry.spare_used or anchored_at is None or anchored_at <= latest,
        Step.COUNTS,
        "a print was given back after the time for outcomes",
        code="outcome-late",
        expected=f"anchored by {latest}",
        found=anchored_at,
    )


def _check_closing(entry: ClosedEntry, counts: TokenCounts) -> None:
    require(
        (entry.released, entry.voided) == (counts.released, counts.voided),
        Step.COUNTS,
        "the closing counts are not those of the log",
        code="closing-counts",
        expected=f"{counts.released} released, {counts.voided} given back",
        found=f"{entry.released} released, {entry.voided} given back",
    )


def _check_settled(reservation: ReservationFact, counts: TokenCounts) -> None:
    require(
        reservation.settled_sequence <= counts.released,
        Step.COUNTS,
        "the chain settled requests that the log does not have",
        code="settled-without-entry",
        expected=f"at most {counts.released}",
        found=reservation.settled_sequence,
    )


def _check_burned(reservation: ReservationFact, counts: TokenCounts) -> None:
    logged = _burned(reservation, counts)
    open_voids = _possible_voids(reservation, counts)
    require(
        reservation.burned <= logged + open_voids,
        Step.COUNTS,
        "the chain burned more prints than the log counts",
        code="burned-above-log",
        expected=f"at most {logged + open_voids}",
        found=reservation.burned,
    )


def _possible_voids(reservation: ReservationFact, counts: TokenCounts) -> int:
    """Return the voids that a stranger's settlement does not carry: it burns them, within the terms."""
    return counts.voided - min(counts.voided, reservation.voided)


def _check_voided(reservation: ReservationFact, counts: TokenCounts) -> None:
    require(
        reservation.voided <= counts.voided,
        Step.COUNTS,
        "the gateway gave back more prints on chain than its log has failed outcomes for",
        code="voided-without-outcome",
        expected=f"at most {counts.voided}",
        found=reservation.voided,
    )


def _check_closed(reservation: ReservationFact, counts: TokenCounts) -> None:
    if reservation.closed is None:
        return
    require(
        reservation.closed[0] == counts.released,
        Step.COUNTS,
        "gateway and holder closed the token on another number of prints than the log has",
        code="closing-counts",
        expected=f"{counts.released} released",
        found=reservation.closed[0],
    )


def _burned(reservation: ReservationFact, counts: TokenCounts) -> int:
    released = min(counts.released, LAST_SEQUENCE)  # a log that lies may hold more; that is named by then
    return burned(released, min(counts.voided, released), reservation.permission.prints)


def _name(entry: LogEntry) -> str:
    match entry:
        case RedeemedEntry():
            return f"print {entry.sequence} ({serial_of(entry.token_id, entry.sequence)})"
        case OutcomeEntry():
            return f"outcome of print {entry.sequence}: {entry.result.name.lower()}"
        case ClosedEntry():
            return "closed"


def _finding(step: Step, error: VerificationError | MalformedError, where: str, *, source: str = _LOG) -> Finding:
    detail = f"{where}: {error.message}"
    if isinstance(error, VerificationError):
        return Finding(step, Verdict.FAILS, detail, source, error.code, error.expected, error.found)
    return Finding(step, Verdict.FAILS, detail, source, error.code)
