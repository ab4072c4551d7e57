"""A log replayed in batches: whatever its entries are, findings and counts are those of the replay one by one."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platemark.auditor import signers
from platemark.auditor.batches import BatchReplay
from platemark.auditor.entries import Entries
from platemark.auditor.replay_state import ReplayState
from platemark.auditor.signers import Signers, Unsigned, unsigned
from platemark.errors import VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.log_entry import ClosedEntry, CloseReason, Result
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.units import Digest32, TokenId, UnixSeconds
from platemark.verify.counts import LogReplay, TokenCounts
from platemark.verify.report import Finding
from sample_chain import FACTS, RESERVATION_FACT, block_hash, ended, redeemed
from sample_documents import AGENT, DESIGNER, GATEWAY, LEDGER_DOMAIN, RESERVATION, word

PRINTS, SPARES = 3, 1
OTHER = AccountKey(b"\x07" * 32)
IN_TIME = UnixSeconds(RESERVATION.expires_at + SETTLE_BY_ANYBODY_SECONDS)
NO_BLOCK, CONTESTED_BLOCK = 31, 32
OURS, ELSEWHERE, UNKNOWN = (TokenId(1), TokenId(2), TokenId(3)), TokenId(4), TokenId(5)
PERMISSION = replace(RESERVATION, prints=PRINTS)
KNOWN = {each: replace(RESERVATION_FACT, token_id=each, spares=SPARES, permission=PERMISSION) for each in OURS}
AWAY = replace(RESERVATION_FACT, token_id=ELSEWHERE, permission=replace(PERMISSION, gateway=DESIGNER.address))
CHAIN = replace(FACTS, reservations={**KNOWN, ELSEWHERE: AWAY})


def contested(number: int) -> Digest32 | None:
    if number == CONTESTED_BLOCK:
        raise VerificationError("two endpoints", step="contracts", code="endpoints-disagree", expected="a", found="b")
    return block_hash(number)


@cache
def request(token_id: TokenId, sequence: int, print_number: int, block: int = 17, signer: AccountKey = AGENT) -> bytes:
    entry = redeemed(
        sequence,
        token_id=token_id,
        print_id=word(f"print {print_number}")[:16],
        seen_block=block,
        seen_hash=word(f"block {block}"),
    )
    return replace(entry, signature=signer.sign(entry.redemption().digest(LEDGER_DOMAIN))).to_bytes()


@cache
def outcome(
    token_id: TokenId, sequence: int, result: Result, *, void: bool = False, signer: AccountKey = AGENT
) -> bytes:
    entry = replace(ended(sequence, result, spare_used=void), token_id=token_id)
    return replace(entry, signature=signer.sign(entry.outcome().digest(LEDGER_DOMAIN))).to_bytes()


def with_byte(data: bytes, at: int, value: int) -> bytes:
    changed = bytearray(data)
    changed[at] = value
    return bytes(changed)


@dataclass
class Token:
    """What a log says of one token, as far as the next entry depends on it."""

    token_id: TokenId
    released: int = 0
    ended: int = 0
    voided: int = 0
    is_closed: bool = False
    made: int = 0
    """Print ids that were made so far; they are not the token's alone."""

    def request(self, sequence: int | None = None, print_number: int | None = None, **changes: Any) -> bytes:
        self.released += 1
        self.made += print_number is None
        number = self.made if print_number is None else print_number
        return request(self.token_id, sequence or self.released, number, **changes)

    def outcome(self, result: Result = Result.COMPLETED, sequence: int | None = None, **changes: Any) -> bytes:
        self.ended += sequence is None
        self.voided += changes.get("void", False)
        return outcome(self.token_id, sequence or max(1, self.ended), result, **changes)

    def truth(self, choice: int) -> bytes | None:
        """Return an entry that is true now, if there is one of the kind that was chosen."""
        match choice:
            case 0 if not self.is_closed and self.released - self.voided < PRINTS:
                return self.request()
            case 1 if self.ended < self.released:
                return self.outcome()
            case 2 if self.ended < self.released:
                return self.outcome(Result.FAILED, void=self.voided < SPARES)
            case 3 if not self.is_closed:
                self.is_closed = True
                return self.closing(self.released, self.voided)
            case _:
                return None

    def closing(self, released: int, voided: int) -> bytes:
        entry = ClosedEntry(self.token_id, released, 0, CloseReason.AGREED).to_bytes()
        return entry[:-5] + voided.to_bytes(4, "big") + entry[-1:]


LIES: Mapping[str, Callable[[Token], bytes]] = {
    "a sequence left out": lambda token: token.request(token.released + 2),
    "a sequence again": lambda token: token.request(max(1, token.released)),
    "a print id again": lambda token: token.request(print_number=1),
    "a request of another's": lambda token: token.request(signer=OTHER),
    "a block that is none": lambda token: token.request(block=NO_BLOCK),
    "a block of which endpoints disagree": lambda token: token.request(block=CONTESTED_BLOCK),
    "an outcome of another's": lambda token: token.outcome(signer=OTHER),
    "an outcome before its request": lambda token: token.outcome(sequence=token.released + 1),
    "an outcome again": lambda token: token.outcome(sequence=max(1, token.ended)),
    "an outcome of the first again": lambda token: token.outcome(sequence=1),
    "one more print given back": lambda token: token.outcome(Result.REJECTED, void=True),
    "one more request": Token.request,
    "one more closing": lambda token: token.closing(token.released, token.voided),
    "an outcome beyond all": lambda token: token.outcome(sequence=70_000),
    "an outcome of sequence 0": lambda token: outcome(token.token_id, 1, Result.FAILED)[:34] + bytes(4) + bytes(99),
    "an unknown result": lambda token: with_byte(token.outcome(), 38, 5),
    "no result": lambda token: with_byte(token.outcome(), 38, 0),
    "two spares": lambda token: with_byte(token.outcome(Result.FAILED), 39, 2),
    "a completed print given back": lambda token: with_byte(token.outcome(), 39, 1),
    "a signature that none makes": lambda token: with_byte(token.request(), -1, 26),
    "other counts at the closing": lambda token: token.closing(token.released + 1, 0),
    "other voids at the closing": lambda token: token.closing(token.released + 1, token.released + 1),
    "an unknown reason": lambda token: with_byte(token.closing(token.released, 0), -1, 9),
    "more voids than requests": lambda token: token.closing(token.released, token.released + 1),
    "a closing of another version": lambda token: with_byte(token.closing(token.released, token.voided), 0, 2),
    "a closing of another kind": lambda token: with_byte(token.closing(token.released, token.voided), 1, 2),
    "another version": lambda token: with_byte(token.request(), 0, 2),
    "another kind": lambda token: with_byte(token.request(), 1, 2),
    "an unknown kind": lambda token: with_byte(token.outcome(), 1, 4),
    "half an entry": lambda token: token.request()[:100],
    "a byte too many": lambda token: token.request() + b"\0",
    "nothing": lambda _: b"",
    "a token that nobody reserved": lambda _: request(UNKNOWN, 1, 1),
    "a token of another gateway": lambda _: outcome(ELSEWHERE, 1, Result.FAILED),
}


def told(replay: LogReplay, findings: Sequence[Finding]) -> Any:
    return list(findings), replay.entries, replay.tokens, replay.touched, list(replay.finish())


def one_by_one(entries: Sequence[bytes], late_from: int) -> Any:
    replay = LogReplay(CHAIN, GATEWAY.address, contested, lambda at: anchored(at, late_from))
    findings = [finding for data in entries for finding in replay.feed(data)]
    return told(replay, findings)


def in_batches(entries: Sequence[bytes], late_from: int, cuts: Sequence[int], unsigned: Unsigned = unsigned) -> Any:
    with ReplayState() as state:
        replay = LogReplay(
            CHAIN, GATEWAY.address, contested, lambda at: anchored(at, late_from), note_print=state.note_print
        )
        batches = BatchReplay(replay, state.note_prints, unsigned)
        findings: list[Finding] = []
        bounds = [0, *sorted(cut for cut in cuts if cut < len(entries)), len(entries)]
        for low, high in pairwise(bounds):
            for found in batches.feed(Entries.of(entries[low:high])):
                assert found
                findings += found
        return told(replay, findings)


def anchored(index: int, late_from: int) -> UnixSeconds | None:
    return None if index % 5 == 4 else UnixSeconds(IN_TIME + (index >= late_from))


def written(moves: Sequence[tuple[int, int | str]]) -> list[bytes]:
    """Return the entries of moves, each a token's: a truth, or a lie by its name."""
    tokens = [Token(each) for each in OURS]
    found = [
        LIES[choice](tokens[place]) if isinstance(choice, str) else tokens[place].truth(choice)
        for place, choice in moves
    ]
    return [data for data in found if data is not None]


@pytest.fixture(scope="module")
def in_processes() -> Generator[Signers]:
    """Two processes, each of which checks three signatures at a time."""
    with pytest.MonkeyPatch.context() as patched, Signers(2, fewest=1, on_progress=pytest.fail) as found:
        patched.setattr(signers, "CHUNK", 3)
        yield found


PLACES = st.integers(0, 2)
TRUTHS = st.lists(st.tuples(PLACES, st.sampled_from([0, 0, 0, 1, 1, 2, 3])), max_size=16)
A_LIE = st.lists(st.tuples(PLACES, st.sampled_from(sorted(LIES))), max_size=2)
CUTS = st.lists(st.integers(0, 36), max_size=4)


LIVES = st.tuples(TRUTHS, A_LIE, TRUTHS, A_LIE, TRUTHS)


@settings(max_examples=200)
@given(LIVES, CUTS, st.integers(0, 60))
def test_batches_find_and_count_what_the_replay_of_each_entry_does(
    lives: tuple[list[tuple[int, int | str]], ...], cuts: list[int], late_from: int
) -> None:
    entries = written([move for life in lives for move in life])
    assert in_batches(entries, late_from, cuts) == one_by_one(entries, late_from)


@given(LIVES, CUTS, st.integers(0, 60))
def test_batches_whose_signatures_several_processes_check_find_and_count_the_same(
    in_processes: Signers, lives: tuple[list[tuple[int, int | str]], ...], cuts: list[int], late_from: int
) -> None:
    entries = written([move for life in lives for move in life])
    assert in_batches(entries, late_from, cuts, in_processes) == one_by_one(entries, late_from)


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("cuts", [[], [6], [9], [6, 9]])
def test_each_lie_in_a_true_log_is_found_as_it_is_one_by_one(name: str, cuts: list[int]) -> None:
    entries = written([(0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 0), (0, name), (1, 2), (0, name), (0, 0), (1, 0)])
    assert in_batches(entries, 60, cuts) == one_by_one(entries, 60)
    assert one_by_one(entries, 60)[0] or name in {"one more request", "one more print given back"}


def test_closing_with_more_given_back_than_was_released_is_found_though_the_log_counts_the_same() -> None:
    entries = written([(0, "one more print given back"), (0, "one more closing")])
    findings, *_ = found = one_by_one(entries, 60)
    assert [finding.code for finding in findings] == ["outcome-without-redemption", "log-entry"]
    assert in_batches(entries, 60, [1]) == found


@pytest.mark.parametrize("cut", range(1, 7))
def test_prints_above_what_may_be_given_back_are_found_in_whatever_batch(cut: int) -> None:
    back = "one more print given back"
    entries = written([(0, 0), (0, 0), (0, back), (0, back), (0, 0), (0, 0), (0, 0)])
    findings, *_ = found = one_by_one(entries, 60)
    assert [finding.code for finding in findings] == ["spares-exceeded", "count-exceeded"]
    assert in_batches(entries, 60, [cut]) == found


def test_what_is_no_request_and_no_outcome_of_the_agent_is_unsigned() -> None:
    token = Token(OURS[0])
    entries = [token.request(), token.closing(1, 0), token.outcome(), token.request(signer=OTHER), b""]
    assert unsigned([(entry, AGENT.address) for entry in entries], LEDGER_DOMAIN) == [1, 3, 4]


def test_sequences_above_the_last_that_is_possible_are_left_to_the_replay_of_each() -> None:
    many = replace(PERMISSION, prints=80_000)
    chain = replace(CHAIN, reservations={OURS[0]: replace(KNOWN[OURS[0]], permission=many)})
    replay = LogReplay(chain, GATEWAY.address, block_hash, tokens={OURS[0]: TokenCounts(released=70_000)})
    batches = BatchReplay(replay, lambda _: set())
    assert list(batches.feed(Entries.of([outcome(OURS[0], 66_000, Result.COMPLETED)]))) == []
    assert replay.tokens[OURS[0]].outcomes.beyond == {66_000}


def life(prints: int) -> list[bytes]:
    """Return the true life of each token: requests and outcomes, the second given back, and a closing."""
    choices = [choice for number in range(prints) for choice in (0, 2 if number == 1 else 1)]
    return written([(place, choice) for choice in [*choices, 3] for place in range(3)])


def exact(entries: Sequence[bytes], cuts: Sequence[int]) -> list[bytes]:
    """Return the entries that were replayed one by one."""
    found: list[bytes] = []

    class Watched(LogReplay):
        def feed(self, data: bytes, *, at: int | None = None) -> Any:
            found.append(data)
            return super().feed(data, at=at)

    with ReplayState() as state:
        batches = BatchReplay(
            Watched(CHAIN, GATEWAY.address, block_hash, note_print=state.note_print), state.note_prints
        )
        for low, high in zip([0, *cuts], [*cuts, len(entries)], strict=True):
            list(batches.feed(Entries.of(entries[low:high])))
    return found


@given(st.lists(st.integers(0, 27), max_size=3).map(sorted))
def test_true_log_is_counted_without_a_look_at_single_entries(cuts: list[int]) -> None:
    assert exact(life(4), cuts) == []


def test_lie_of_one_token_leaves_the_others_plain() -> None:
    entries = life(4)
    entries[3] = with_byte(entries[3], -1, 26)
    found = exact(entries, [])
    assert {data[2:34] for data in found} == {OURS[0].to_bytes(32, "big")}
    assert len(found) == len(entries) / 3
