"""Entries of a log in batches: what is plainly right is counted at once, all else is replayed one by one.

A token is plain in a batch when each of its entries there passes every check that `LogReplay.feed` makes of it. The
checks are made here on whole columns, so that an entry that is right costs little; that a token is plain may be said
only when it is, and need not be said whenever it is. The entries of other tokens, and those of none, go through
`LogReplay.feed` in their order: what is wrong is found and named there alone.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import reduce
from itertools import pairwise, repeat
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from platemark.auditor.entries import Entries
from platemark.auditor.print_filter import PRINT_ID_BYTES
from platemark.auditor.signers import Claim, Unsigned, unsigned
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import log_entry
from platemark.protocol.log_entry import VERSION, ClosedEntry, CloseReason, OutcomeEntry, RedeemedEntry
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.units import Address, TokenId
from platemark.protocol.voucher import LAST_SEQUENCE
from platemark.verify.counts import LogReplay, TokenCounts
from platemark.verify.facts import ReservationFact
from platemark.verify.report import Finding

NotePrints = Callable[[Sequence[tuple[TokenId, bytes]]], Collection[TokenId]]
"""Remembers print ids (16 bytes each, one after the other) by token; returns the tokens that have one twice, of which
it remembers none."""

_Numbers = NDArray[np.int64]
_Flags = NDArray[np.bool_]
_HEAD: Final = [("version", "u1"), ("kind", "u1"), ("token", "V32")]
_REQUEST: Final = np.dtype(
    [*_HEAD, ("sequence", ">u4"), ("digest", "V32"), ("print", "V16"), ("to", "V32"), ("seen", "V40")]
)
_OUTCOME: Final = np.dtype([*_HEAD, ("sequence", ">u4"), ("result", "u1"), ("spare", "u1")])
_CLOSING: Final = np.dtype([*_HEAD, ("released", ">u4"), ("voided", ">u4"), ("reason", "u1")])


class BatchReplay:
    """Feeds a replay with many entries at a time."""

    def __init__(self, replay: LogReplay, note_prints: NotePrints, unsigned: Unsigned = unsigned) -> None:
        """Both ways of remembering print ids, this one's and the replay's, must be of one memory."""
        self._replay = replay
        self._note_prints = note_prints
        self._unsigned = unsigned
        own = [found for found in replay.facts.reservations.values() if found.permission.gateway == replay.gateway]
        self._reservations: list[ReservationFact] = own
        self._numbers = {found.token_id.to_bytes(32, "big"): number for number, found in enumerate(own)}

    def feed(self, entries: Entries) -> Iterator[list[Finding]]:
        """Take the next entries, and yield what is wrong with each with which something is, in their order."""
        replay, first = self._replay, self._replay.entries
        for place in self._count_plain(first, entries):
            found = list(replay.feed(entries[place], at=first + place))
            if found:
                yield found
        replay.entries = first + len(entries)

    def _count_plain(self, first: int, entries: Entries) -> list[int]:
        """Count the entries of all tokens that are plain in this batch, and return the places of the others."""
        batch = _Batch(entries, self._numbers)
        groups = _Groups(batch, self._reservations, self._replay)
        groups.check_counts()
        groups.check_times(lambda place: self._replay.anchored_at(first + place))
        groups.check_blocks(self._is_block)
        groups.check_outcomes()
        groups.check_signers(entries, self._unsigned)
        groups.check_prints(self._note_prints)
        groups.count(entries)
        return groups.others()

    def _is_block(self, seen: bytes) -> bool:
        try:
            return self._replay.block_hash(int.from_bytes(seen[:8], "big")) == seen[8:]
        except (VerificationError, MalformedError):
            return False


class _Batch:
    """The columns of a batch, by place; `number` is that of the token, -1 for what is no entry of a known one."""

    def __init__(self, entries: Entries, numbers: dict[bytes, int]) -> None:
        size = self.size = len(entries)
        lengths = entries.ends - entries.starts
        self.number = np.full(size, -1, np.int64)
        self.sequence = np.zeros(size, np.int64)
        self.requests_at, self.requests = self._rows(entries, lengths, RedeemedEntry, _REQUEST, numbers)
        self.outcomes_at, self.outcomes = self._rows(entries, lengths, OutcomeEntry, _OUTCOME, numbers)
        self.closings_at, self.closings = self._rows(entries, lengths, ClosedEntry, _CLOSING, numbers)
        self.sequence[self.requests_at] = self.requests["sequence"]
        self.sequence[self.outcomes_at] = self.outcomes["sequence"]
        self.is_void = np.zeros(size, np.bool_)
        self.is_void[self.outcomes_at] = self.outcomes["spare"] == 1

    def _rows(
        self,
        entries: Entries,
        lengths: _Numbers,
        kind: type[RedeemedEntry | OutcomeEntry | ClosedEntry],
        layout: np.dtype[np.void],
        numbers: dict[bytes, int],
    ) -> tuple[_Numbers, NDArray[np.void]]:
        """Return the places and the rows of a kind's entries that are of a known token."""
        at = np.flatnonzero(lengths == kind.SIZE_BYTES)
        rows = entries.rows(at, layout)
        firsts, run = _runs(rows["token"])
        found = np.fromiter(map(numbers.get, rows["token"][firsts].tolist(), repeat(-1)), np.int64, len(firsts))[run]
        found[(rows["version"] != VERSION) | (rows["kind"] != kind.KIND)] = -1
        self.number[at] = found
        known = found >= 0
        return (at, rows) if known.all() else (at[known], rows[known])


def _runs(column: NDArray[np.void]) -> tuple[_Numbers, _Numbers]:
    """Return the places at which a value follows that is another than the one before, and by place the run it is in.

    The values are a multiple of eight bytes long.
    """
    words = np.ascontiguousarray(column).view(np.uint64).reshape(len(column), column.itemsize // 8)
    begins = np.ones(len(column), np.bool_)
    begins[1:] = reduce(np.bitwise_or, (words[1:] ^ words[:-1]).T) != 0
    return np.flatnonzero(begins), np.cumsum(begins) - 1


class _Bits:
    """The bits of some tokens' outcomes side by side, as `Sequences` has them, and more of each added."""

    def __init__(self, known: Sequence[bytes], added: _Numbers, sequences: _Numbers) -> None:
        """To each known one so many of the sequences are added, which ascend; `twice` says which of them it has."""
        lasts = np.cumsum(added) - 1
        sizes = np.maximum(np.fromiter(map(len, known), np.int64, len(known)), (sequences[lasts] >> 3) + 1)
        self._bounds = [0, *np.cumsum(sizes).tolist()]
        self._bits = bytearray(self._bounds[-1])
        for start, bits in zip(self._bounds, known, strict=False):
            self._bits[start : start + len(bits)] = bits
        view = np.frombuffer(self._bits, np.uint8)
        places = np.repeat(np.array(self._bounds[:-1], np.int64), added) + (sequences >> 3)
        masks = np.left_shift(1, sequences & 7).astype(np.uint8)
        self.twice: _Flags = (view[places] & masks) != 0
        np.bitwise_or.at(view, places, masks)

    def __iter__(self) -> Iterator[bytearray]:
        for start, end in pairwise(self._bounds):
            yield self._bits[start:end]


class _Claims(Sequence[Claim]):
    """Entries at some places, each with the agent of its group; they are taken out when they are asked for."""

    def __init__(self, entries: Entries, places: _Numbers, agents: Sequence[Address], groups: _Numbers) -> None:
        self._entries = entries
        self._places = places
        self._agents = agents
        self._groups = groups

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> Claim: ...

    @overload
    def __getitem__(self, at: slice) -> list[Claim]: ...

    def __getitem__(self, at: int | slice) -> Claim | list[Claim]:
        if isinstance(at, slice):
            found = zip(self._places[at].tolist(), self._groups[at].tolist(), strict=True)
            return [(self._entries[place], self._agents[group]) for place, group in found]
        return self._entries[self._places[at]], self._agents[self._groups[at]]


class _Groups:
    """The entries of a batch by token, each token's in their order; `plain` says of which nothing was found so far."""

    def __init__(self, batch: _Batch, reservations: Sequence[ReservationFact], replay: LogReplay) -> None:
        self._batch = batch
        self._replay = replay
        order = np.argsort(batch.number, kind="stable")
        self._order = order = order[np.searchsorted(batch.number[order], 0) :]
        numbers = batch.number[order]
        self._starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        lengths = np.diff(self._starts, append=len(order))
        self._group = np.repeat(np.arange(len(self._starts)), lengths)
        self._group_at = np.full(batch.size, -1, np.int64)
        self._group_at[order] = self._group
        self._reservations = [reservations[number] for number in numbers[self._starts].tolist()]
        self._counts = [replay.tokens.get(found.token_id) or TokenCounts() for found in self._reservations]
        self.plain = np.ones(len(self._starts), np.bool_)
        self._released = self._running(self._flags(batch.requests_at), [each.released for each in self._counts])
        self._voided = self._running(batch.is_void, [each.voided for each in self._counts])
        self._outcomes: dict[int, bytearray] = {}
        is_closed = [each.closed is not None for each in self._counts]
        self._closed = self._running(self._flags(batch.closings_at), is_closed)

    def _flags(self, places: _Numbers) -> _Flags:
        flags = np.zeros(self._batch.size, np.bool_)
        flags[places] = True
        return flags

    def _running(self, flags: _Flags, before: Sequence[int]) -> _Numbers:
        """Return by place how many flags its token has up to there, with those that it had before the batch."""
        ordered = flags[self._order]
        total = np.cumsum(ordered)
        base = np.array(before, np.int64) - total[self._starts] + ordered[self._starts]
        found = np.zeros(self._batch.size, np.int64)
        found[self._order] = total + base[self._group]
        return found

    def _of_group(self, values: Sequence[int], places: _Numbers) -> _Numbers:
        return np.array(values, np.int64)[self._group_at[places]]

    def _fail(self, places: _Numbers) -> None:
        self.plain[self._group_at[places]] = False

    def check_counts(self) -> None:
        """Requests are consecutive and allowed, outcomes are of requests, and nothing comes after a closing."""
        batch = self._batch
        at = batch.requests_at
        released, voided = self._released[at], self._voided[at]
        prints = self._of_group([found.permission.prints for found in self._reservations], at)
        spares = self._of_group([found.spares for found in self._reservations], at)
        holds = (batch.sequence[at] == released) & (self._closed[at] == 0)
        self._fail(at[~(holds & (released - voided <= prints) & (released <= prints + spares))])
        at = batch.outcomes_at
        spares = self._of_group([found.spares for found in self._reservations], at)
        holds = ~batch.is_void[at] | (self._voided[at] <= spares)
        self._fail(at[~(holds & (batch.sequence[at] <= self._released[at]))])
        at = batch.closings_at
        reason = batch.closings["reason"]
        holds = (reason >= min(CloseReason)) & (reason <= max(CloseReason)) & (self._closed[at] == 1)
        holds &= batch.closings["voided"] <= batch.closings["released"]
        holds &= (batch.closings["released"] == self._released[at]) & (batch.closings["voided"] == self._voided[at])
        self._fail(at[~holds])

    def check_times(self, anchored_at: Callable[[int], int | None]) -> None:
        """No print was given back after the time for outcomes."""
        for place in np.flatnonzero(self._batch.is_void & (self._group_at >= 0)).tolist():
            group = self._group_at[place]
            moment = anchored_at(place)
            latest = self._reservations[group].permission.expires_at + SETTLE_BY_ANYBODY_SECONDS
            if moment is not None and moment > latest:
                self.plain[group] = False

    def check_blocks(self, is_block: Callable[[bytes], bool]) -> None:
        """Requests cite blocks of this chain."""
        firsts, run = _runs(self._batch.requests["seen"])
        seen = self._batch.requests["seen"][firsts].tolist()
        wrong = {each for each in set(seen) if not is_block(each)}
        if wrong:
            self._fail(self._batch.requests_at[np.array([each in wrong for each in seen])[run]])

    def check_outcomes(self) -> None:
        """No request has two outcomes; `self._outcomes` are by group all that its token would have then."""
        at = self._batch.outcomes_at
        keys = np.sort(self._group_at[at] << 32 | self._batch.sequence[at])
        groups, sequences = keys >> 32, keys & 0xFFFFFFFF
        self.plain[groups[1:][keys[1:] == keys[:-1]]] = False
        self.plain[groups[sequences > LAST_SEQUENCE]] = False
        is_plain = self.plain[groups]
        groups, sequences = groups[is_plain], sequences[is_plain]
        firsts = np.flatnonzero(np.diff(groups, prepend=-1))
        known = [self._counts[group].outcomes.bits for group in groups[firsts].tolist()]
        bits = _Bits(known, np.diff(firsts, append=len(groups)), sequences)
        self._outcomes = dict(zip(groups[firsts].tolist(), bits, strict=True))
        self.plain[groups[bits.twice]] = False

    def check_signers(self, entries: Entries, unsigned: Unsigned) -> None:
        """Requests and outcomes are signed by the token's agent; asked of those of which nothing was found so far."""
        at = np.concatenate([self._batch.requests_at, self._batch.outcomes_at])
        at = at[self.plain[self._group_at[at]]]
        agents = [found.permission.agent for found in self._reservations]
        claims = _Claims(entries, at, agents, self._group_at[at])
        self._fail(at[list(unsigned(claims, self._replay.facts.contracts.ledger_domain))])

    def check_prints(self, note: NotePrints) -> None:
        """No print id of a token stands twice; those of tokens that are plain to the end are noted."""
        groups = self._group_at[self._batch.requests_at]
        order = np.argsort(groups, kind="stable")
        order = order[self.plain[groups[order]]]
        groups = groups[order]
        print_ids = self._batch.requests["print"][order].tobytes()
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        noted = groups[starts].tolist()
        bounds = pairwise((PRINT_ID_BYTES * np.append(starts, len(order))).tolist())
        found = [print_ids[start:end] for start, end in bounds]
        tokens = [self._reservations[group].token_id for group in noted]
        again = note(list(zip(tokens, found, strict=True)))
        self.plain[[group for group, token_id in zip(noted, tokens, strict=True) if token_id in again]] = False

    def count(self, entries: Entries) -> None:
        """Count the entries of those that are plain."""
        replay, plain = self._replay, self.plain.tolist()
        ends = self._order[np.append(self._starts, len(self._order))[1:] - 1]
        finals = zip(self._released[ends].tolist(), self._voided[ends].tolist(), strict=True)
        for group, (released, voided) in enumerate(finals):
            if plain[group]:
                token_id, counts = self._reservations[group].token_id, self._counts[group]
                replay.tokens[token_id] = counts
                replay.touched.add(token_id)
                counts.released, counts.voided = released, voided
        for group, bits in self._outcomes.items():
            if plain[group]:
                self._counts[group].outcomes.bits = bits
        for place in self._batch.closings_at.tolist():
            group = self._group_at[place]
            entry = log_entry.decode(entries[place]) if plain[group] else None
            if isinstance(entry, ClosedEntry):
                self._counts[group].closed = entry

    def others(self) -> list[int]:
        """Return the places of the entries that were not counted."""
        counted = np.zeros(self._batch.size, np.bool_)
        counted[self._order] = self.plain[self._group]
        return list(np.flatnonzero(~counted).tolist())
