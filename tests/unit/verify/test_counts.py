"""A whole log replayed: what is true holds, and each lie is named by its code."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from platemark.protocol.accounts import AccountKey
from platemark.protocol.log_entry import LogEntry, Result
from platemark.protocol.units import TokenId, UnixSeconds
from platemark.protocol.voucher import LAST_SEQUENCE
from platemark.verify.counts import LogReplay, Sequences, TokenCounts
from platemark.verify.facts import ChainFacts
from platemark.verify.steps import Step
from sample_chain import FACTS, RESERVATION_FACT, block_hash, closed, ended, redeemed
from sample_documents import DESIGNER, GATEWAY, LEDGER_DOMAIN, TOKEN_ID, word


def facts_with(**changes: Any) -> ChainFacts:
    return replace(FACTS, reservations={TOKEN_ID: replace(RESERVATION_FACT, **changes)})


def replayed(entries: Iterable[LogEntry | bytes], facts: ChainFacts = FACTS) -> tuple[LogReplay, list[str | None]]:
    replay = LogReplay(facts, GATEWAY.address, block_hash)
    codes: list[str | None] = []
    for entry in entries:
        data = entry if isinstance(entry, bytes) else entry.to_bytes()
        codes.extend(finding.code for finding in replay.feed(data))
    codes.extend(finding.code for finding in replay.finish())
    return replay, codes


def test_true_log_has_no_findings_and_true_counts() -> None:
    entries: list[LogEntry] = [
        redeemed(1),
        ended(1),
        redeemed(2),
        ended(2, Result.FAILED, spare_used=True),
        redeemed(3),
        closed(3, 1),
    ]
    replay, codes = replayed(entries, facts_with(burned=1, settled_sequence=1))
    assert codes == []
    counts = replay.tokens[TOKEN_ID]
    assert (counts.released, counts.voided, replay.entries) == (3, 1, 6)
    assert [sequence in counts.outcomes for sequence in (1, 2, 3)] == [True, True, False]
    assert replay.unsettled() == 1


def test_prints_that_went_back_unsettled_are_lost_and_named() -> None:
    entries: list[LogEntry] = [redeemed(1), redeemed(2), ended(2, Result.FAILED, spare_used=True), redeemed(3)]
    replay, codes = replayed(entries, facts_with(returned=10))
    assert (codes, replay.unsettled(), replay.lost()) == ([], 0, {TOKEN_ID: 2})
    replay, _ = replayed(entries, facts_with(returned=9, burned=1, settled_sequence=1))
    assert replay.lost() == {TOKEN_ID: 1}
    replay, _ = replayed(entries, facts_with(returned=8, burned=2, voided=1, settled_sequence=3))
    assert (replay.unsettled(), replay.lost()) == (0, {})
    assert replayed([], facts_with(returned=10))[0].lost() == {}


def test_entries_that_are_passed_over_keep_their_place() -> None:
    times: list[int] = []
    replay = LogReplay(FACTS, GATEWAY.address, block_hash, anchored_at=times.append)
    assert list(replay.feed(redeemed(1).to_bytes())) == []
    assert list(replay.feed(ended(1).to_bytes(), at=2)) == []
    assert (times, replay.entries) == ([2], 3)


def test_a_full_reservation_with_its_spare_holds() -> None:
    prints = RESERVATION_FACT.permission.prints
    entries: list[LogEntry] = [redeemed(1), ended(1, Result.FAILED, spare_used=True)]
    entries += [redeemed(sequence) for sequence in range(2, prints + 2)]
    assert RESERVATION_FACT.spares == 1
    assert replayed(entries)[1] == []


def test_each_print_beyond_the_reservation_is_named() -> None:
    prints = RESERVATION_FACT.permission.prints
    assert replayed([redeemed(sequence) for sequence in range(1, prints + 2)])[1] == ["count-exceeded"]


STRANGER = AccountKey(word("stranger"))


def forged() -> LogEntry:
    entry = redeemed(1)
    return replace(entry, signature=STRANGER.sign(entry.redemption().digest(LEDGER_DOMAIN)))


def forged_outcome() -> LogEntry:
    entry = ended(1)
    return replace(entry, signature=STRANGER.sign(entry.outcome().digest(LEDGER_DOMAIN)))


LIES: Mapping[str, tuple[list[LogEntry | bytes], str]] = {
    "an entry that is none": ([b"\x01\x09"], "log-entry"),
    "a token that was never reserved": ([redeemed(1, token_id=TokenId(5))], "entry-without-reservation"),
    "a request of another key": ([forged()], "signature-invalid"),
    "a sequence left out": ([redeemed(2)], "sequence-expected"),
    "a print id twice": ([redeemed(1), redeemed(2, print_id=redeemed(1).print_id)], "print-id-twice"),
    "a block that the chain does not have": ([redeemed(1, seen_block=99)], "seen-block"),
    "a block under another hash": ([redeemed(1, seen_hash=word("fork"))], "seen-block"),
    "an outcome of another key": ([redeemed(1), forged_outcome()], "signature-invalid"),
    "an outcome without a print": ([ended(1)], "outcome-without-redemption"),
    "a second outcome": ([redeemed(1), ended(1), ended(1, Result.FAILED)], "outcome-twice"),
    "more voids than spares": (
        [
            redeemed(1),
            ended(1, Result.FAILED, spare_used=True),
            redeemed(2),
            ended(2, Result.REJECTED, spare_used=True),
        ],
        "spares-exceeded",
    ),
    "closing counts of its own": ([redeemed(1), closed(2, 0)], "closing-counts"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lie_in_the_log_is_named(lie: str) -> None:
    entries, code = LIES[lie]
    assert code in replayed(entries)[1]


def test_redemption_after_closing_is_named_and_an_outcome_is_not() -> None:
    entries: list[LogEntry] = [redeemed(1), closed(1, 0), ended(1)]
    assert replayed(entries)[1] == []
    assert replayed([*entries, redeemed(2)])[1] == ["entry-after-close"]


def test_log_of_another_gateway_counts_nothing() -> None:
    replay = LogReplay(FACTS, DESIGNER.address, block_hash)
    assert [finding.code for finding in replay.feed(redeemed(1).to_bytes())] == ["entry-without-reservation"]
    assert list(replay.finish()) == []
    assert replay.unsettled() == 0


CONTRADICTIONS: Mapping[str, tuple[dict[str, Any], str]] = {
    "settled beyond the log": ({"settled_sequence": 2}, "settled-without-entry"),
    "burned beyond the log": ({"burned": 2}, "burned-above-log"),
    "voided without outcome": ({"voided": 1}, "voided-without-outcome"),
    "closed beyond the log": ({"closed": (2, 0)}, "closing-counts"),
    "closed on fewer prints than the log has": ({"closed": (0, 0)}, "closing-counts"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_chain_that_contradicts_the_log_is_named(name: str) -> None:
    changes, code = CONTRADICTIONS[name]
    replay, codes = replayed([redeemed(1)], facts_with(**changes))
    assert codes == [code]
    assert next(iter(replay.finish())).step is Step.COUNTS


def test_closed_reservation_that_agrees_holds() -> None:
    assert replayed([redeemed(1), closed(1, 0)], facts_with(closed=(1, 0), burned=1, settled_sequence=1))[1] == []


@pytest.mark.parametrize(
    "days, spare_used, codes",
    [(3, True, []), (4, True, ["outcome-late"]), (4, False, []), (None, True, [])],
)
def test_print_is_given_back_no_later_than_three_days_after_expiry(
    days: int | None, spare_used: bool, codes: list[str]
) -> None:
    expires_at = RESERVATION_FACT.permission.expires_at
    moment = None if days is None else UnixSeconds(expires_at + days * 86_400)
    replay = LogReplay(FACTS, GATEWAY.address, block_hash, anchored_at=lambda index: moment if index == 1 else None)
    entries: list[LogEntry] = [redeemed(1), ended(1, Result.FAILED, spare_used=spare_used)]
    found = [finding.code for entry in entries for finding in replay.feed(entry.to_bytes())]
    assert found == codes


def test_strangers_settlement_may_burn_what_the_gateway_had_given_back() -> None:
    entries: list[LogEntry] = [redeemed(1), ended(1, Result.FAILED, spare_used=True)]
    assert replayed(entries, facts_with(burned=1, settled_sequence=1))[1] == []
    assert replayed(entries, facts_with(burned=1, settled_sequence=1, voided=1))[1] == ["burned-above-log"]


def test_counts_of_a_token_without_entries_are_zero() -> None:
    counts = TokenCounts()
    assert (counts.released, counts.voided, 1 in counts.outcomes) == (0, 0, False)


def test_log_with_more_than_all_sequences_is_counted_without_failing() -> None:
    replay = LogReplay(FACTS, GATEWAY.address, block_hash)
    replay.tokens[TOKEN_ID] = TokenCounts(released=70_000)
    assert list(replay.finish()) == []
    assert replay.unsettled() == RESERVATION_FACT.permission.prints


def test_set_of_sequences_holds_what_was_added_and_nothing_else() -> None:
    added = {1, 7, 8, 4096, LAST_SEQUENCE, LAST_SEQUENCE + 1, 2**32 - 1}
    found = Sequences()
    for sequence in (*added, 7):
        found.add(sequence)
    assert found.count == len(added)
    asked = {*range(64), 4095, 4097, LAST_SEQUENCE - 1, *added, LAST_SEQUENCE + 2}
    assert {sequence for sequence in asked if sequence in found} == added
    assert len(found.bits) == LAST_SEQUENCE // 8 + 1
