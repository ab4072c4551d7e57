"""The replay of a log that is interrupted goes on where it stopped, and never on another log or chain."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from platemark.auditor import replay, replay_state
from platemark.auditor.print_filter import PrintFilter
from platemark.auditor.replay import audit_log
from platemark.auditor.replay_state import ReplayState
from platemark.errors import LocalError, PlatemarkError, UpstreamError, UsageError
from platemark.protocol.checkpoint import KeyType, NoteKey
from platemark.protocol.codes import CODES
from platemark.protocol.tiles import ENTRIES, TILE_WIDTH, LogReader, Tile
from platemark.protocol.units import TokenId
from platemark.verify.counts import LogReplay, Sequences
from platemark.verify.facts import ChainFacts
from platemark.verify.policy import ANYBODY, Policy
from platemark.verify.report import Report
from sample_chain import SampleLog, block, ended, redeemed
from sample_documents import CHAIN_ID, GATEWAY, PROFILE, TOKEN_ID, word
from sample_evidence import MemoryLog, SampleEvidence, anchoring, evidence, failures, logged, with_reservation
from simulators.dying_audit import ENTRIES_OF_LIES, PATTERN


@pytest.fixture(scope="module")
def lies() -> SampleLog:
    return logged(*ENTRIES_OF_LIES)


@pytest.fixture(autouse=True)
def saved_at_each_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SAVED_ENTRIES", TILE_WIDTH)


def of(log: SampleLog, *, facts: ChainFacts | None = None) -> SampleEvidence:
    return evidence(anchoring(log) if facts is None else facts, log)


def interrupted(found: SampleEvidence, bundle: int, state: Path) -> None:
    """Audit until a bundle of entries, which cannot be had now."""
    path = Tile(ENTRIES, bundle, min(TILE_WIDTH, LOG_SIZE - bundle * TILE_WIDTH)).path
    read = found.files._read

    def away(_: MemoryLog, name: str, max_bytes: int) -> bytes | None:
        if name == path:
            raise UpstreamError("away", code="gateway-unreachable")
        return read(name, max_bytes)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(MemoryLog, "_read", away)
        with pytest.raises(UpstreamError):
            audit_log(found, state)


LOG_SIZE = len(ENTRIES_OF_LIES)


def named(report: Report) -> Any:
    return report.findings, report.facts


@pytest.mark.parametrize("bundle", range(5))
def test_replay_that_is_interrupted_goes_on_and_reports_the_same(lies: SampleLog, bundle: int, tmp_path: Path) -> None:
    whole = audit_log(of(lies))
    assert len(whole.failures) > LOG_SIZE / 3
    found, state, told = of(lies), tmp_path / "state", list[str]()
    interrupted(found, bundle, state)
    found.on_progress = told.append
    report = audit_log(found, state)
    assert named(report) == named(whole)
    going_on = f"on from entry {bundle * TILE_WIDTH} of {LOG_SIZE}"
    assert (going_on in told) == (bundle > 0)
    assert any("an earlier run, which trusted this RPC endpoint" in word for word in report.trusted) == (bundle > 0)


def test_replay_that_is_interrupted_twice_goes_on_and_reports_the_same(lies: SampleLog, tmp_path: Path) -> None:
    found, state = of(lies), tmp_path / "state"
    interrupted(found, 1, state)
    interrupted(found, 3, state)
    report = audit_log(found, state)
    assert named(report) == named(audit_log(of(lies)))
    assert report.trusted[-1] == "for 768 entries an earlier run, which trusted this RPC endpoint"


def test_process_that_is_killed_while_it_saves_leaves_the_save_before(
    lies: SampleLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(state: ReplayState, *arguments: Any) -> None:
        if arguments[-2].entries == 2 * TILE_WIDTH:
            state._database.execute("DELETE FROM tokens")
            raise Killed
        save(state, *arguments)

    save, state, told = ReplayState.save, tmp_path / "state", list[str]()
    with monkeypatch.context() as patched:
        patched.setattr(ReplayState, "save", kill)
        with pytest.raises(Killed):
            audit_log(of(lies), state)
    found = of(lies)
    found.on_progress = told.append
    assert named(audit_log(found, state)) == named(audit_log(of(lies)))
    assert f"on from entry {TILE_WIDTH} of {LOG_SIZE}" in told


def test_kept_state_of_a_log_that_grew_goes_on(lies: SampleLog, tmp_path: Path) -> None:
    grown = logged(*ENTRIES_OF_LIES, *PATTERN)
    audit_log(of(lies), tmp_path / "state")
    told: list[str] = []
    found = of(grown)
    found.on_progress = told.append
    report = audit_log(found, tmp_path / "state")
    assert f"on from entry {4 * TILE_WIDTH} of {LOG_SIZE + len(PATTERN)}" in told
    assert named(report) == named(audit_log(of(grown)))


def test_what_no_anchor_covers_is_replayed_anew(lies: SampleLog, tmp_path: Path) -> None:
    told: list[str] = []
    found = of(lies, facts=anchoring(logged(*ENTRIES_OF_LIES[: TILE_WIDTH + 1])))
    audit_log(found, tmp_path / "state")
    found.on_progress = told.append
    audit_log(found, tmp_path / "state")
    assert f"on from entry {TILE_WIDTH} of {LOG_SIZE}" in told


def test_state_goes_when_it_is_not_kept_and_the_end_was_reached(lies: SampleLog, tmp_path: Path) -> None:
    audit_log(of(lies), tmp_path / "state", keep=False)
    assert list(tmp_path.iterdir()) == []


def test_state_stays_when_a_tile_is_withheld(lies: SampleLog, tmp_path: Path) -> None:
    found = of(lies)
    found.files.files.pop(Tile(ENTRIES, 2).path)
    assert (11, "log-tile") in failures(audit_log(found, tmp_path / "state", keep=False))
    assert named(audit_log(of(lies), tmp_path / "state", keep=False)) == named(audit_log(of(lies)))


@pytest.mark.parametrize("saved", [TILE_WIDTH, 64 * TILE_WIDTH])
@pytest.mark.parametrize("bundle", range(5))
def test_what_was_found_before_a_tile_that_is_withheld_is_reported_with_it(
    lies: SampleLog, saved: int, bundle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SAVED_ENTRIES", saved)
    found = of(lies)
    withheld = Tile(ENTRIES, bundle, min(TILE_WIDTH, LOG_SIZE - bundle * TILE_WIDTH)).path
    del found.files.files[withheld]
    report = audit_log(found)
    before = LogReplay(anchoring(lies), GATEWAY.address, found.block_hash)
    expected = [
        finding for entry in ENTRIES_OF_LIES[: bundle * TILE_WIDTH] for finding in before.feed(entry.to_bytes())
    ]
    of_entries = [finding for finding in report.findings if finding.detail.startswith("entry ")]
    assert of_entries == expected
    assert bool(expected) == (bundle > 0)
    assert [(finding.step.value, finding.code) for finding in report.failures][len(expected)] == (11, "log-tile")


def test_whom_earlier_runs_trusted_is_kept_word_for_word(
    lies: SampleLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bundle, trusted in ((1, "Ann and Bob"), (3, "Carl"), (4, "Ann and Bob")):
        monkeypatch.setattr(SampleEvidence, "trusted", lambda _, trusted=trusted: trusted)
        interrupted(of(lies), bundle, tmp_path / "state")
    report = audit_log(of(lies), tmp_path / "state")
    assert report.trusted[-1] == "for 1024 entries an earlier run, which trusted Ann and Bob and Carl"
    (row,) = sqlite3.connect(tmp_path / "state").execute("SELECT trusted FROM log")
    assert json.loads(row[0]) == ["Ann and Bob", "Carl"]


# --- states that are refused ----------------------------------------------------------------------------------------


def refused(found: SampleEvidence, state: Path) -> tuple[str, str]:
    with pytest.raises(PlatemarkError) as caught:
        audit_log(found, state)
    assert CODES[caught.value.code].kind is caught.value.kind
    return caught.value.code, caught.value.message


def test_state_of_a_history_that_was_rewritten_since_is_refused(lies: SampleLog, tmp_path: Path) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    forked = logged(redeemed(1, seen_block=3), *ENTRIES_OF_LIES[1:])
    code, message = refused(of(forked), tmp_path / "state")
    assert (code, f"its first {LOG_SIZE} entries" in message) == ("log-rewritten", True)


def change(path: Path, what: str) -> None:
    """Change a state as whoever writes states can."""
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE {what}")
        for table in ("log", "tokens", "prints", "findings"):
            for row, *values, _ in database.execute(f"SELECT rowid, * FROM {table}").fetchall():  # noqa: S608
                sealed = (replay_state._sealed(*values)[-1], row)
                database.execute(f"UPDATE {table} SET seal = ? WHERE rowid = ?", sealed)  # noqa: S608
    database.close()


def test_state_of_a_longer_log_is_refused(lies: SampleLog, tmp_path: Path) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    code, _ = refused(of(logged(*ENTRIES_OF_LIES[: 3 * TILE_WIDTH])), tmp_path / "state")
    assert code == "log-rewritten"


def test_state_of_another_log_is_refused(lies: SampleLog, tmp_path: Path) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    change(tmp_path / "state", "log SET origin = CAST('1/0xledger/0xgateway/1' AS BLOB)")
    code, message = refused(of(lies), tmp_path / "state")
    assert (code, "1/0xledger/0xgateway/1" in message) == ("audit-state-log", True)


def test_state_of_a_chain_with_another_final_block_is_refused(lies: SampleLog, tmp_path: Path) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    change(tmp_path / "state", f"log SET block_hash = x'{block(29).hash.hex()}'")
    assert refused(of(lies), tmp_path / "state")[0] == "endpoints-disagree"


WITNESS = NoteKey("witness.example/w1", bytes(32), KeyType.COSIGNATURE)
POLICIES: Mapping[str, tuple[Policy, str]] = {
    "a gateway": (Policy(gateways=frozenset({GATEWAY.address})), "accepted gateways"),
    "a chain": (Policy(chain_ids=frozenset({CHAIN_ID})), "accepted chains"),
    "a witness": (Policy(witnesses=(WITNESS,)), "witnesses"),
    "a witness that is wanted": (Policy(witnesses=(WITNESS,), witnesses_wanted=1), "witnesses, witnesses wanted"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_state_of_another_policy_is_refused_and_goes_on_under_its_own(
    lies: SampleLog, tmp_path: Path, name: str
) -> None:
    policy, differing = POLICIES[name]
    interrupted(of(lies), 3, tmp_path / "state")
    named = evidence(anchoring(lies), lies, policy=policy)
    code, message = refused(named, tmp_path / "state")
    assert (code, message.endswith(f"had another policy: {differing}")) == ("audit-state-policy", True)
    interrupted(named, 3, tmp_path / "other")
    assert refused(of(lies), tmp_path / "other") == (code, message.replace("/state ", "/other "))
    assert any("an earlier run" in each for each in audit_log(named, tmp_path / "other").trusted)


def test_state_of_other_contracts_is_refused(lies: SampleLog, tmp_path: Path) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    facts = anchoring(lies)
    elsewhere = replace(facts, contracts=replace(facts.contracts, registry=GATEWAY.address))
    reader = LogReader(LOG_SIZE, lies.growth.root, lies.get)
    with ReplayState(tmp_path / "state") as state, pytest.raises(UsageError) as caught:
        state.earlier(PROFILE.log_origin, reader, elsewhere, ANYBODY, lambda _: None)
    assert (caught.value.code, caught.value.message.endswith("policy: contracts")) == ("audit-state-policy", True)


@pytest.mark.parametrize(
    "spoiled",
    [
        "findings SET finding = x'5b5d'",
        "log SET trusted = x'7b7d'",
        "log SET policy = x'5b5d'",
        "tokens SET closed = x'00'",
    ],
)
def test_state_with_something_else_in_it_is_refused(lies: SampleLog, tmp_path: Path, spoiled: str) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    change(tmp_path / "state", spoiled)
    assert refused(of(lies), tmp_path / "state")[0] == "audit-state"


@pytest.mark.parametrize(
    "damaged",
    [
        "log SET entries = 256",
        "log SET root = 1",
        "tokens SET released = released - 1",
        "tokens SET outcomes = x'00'",
        "tokens SET voided = 'two'",
        "prints SET ids = x'00'",
        "prints SET number = number + 1",
        "findings SET place = -1 - place",
    ],
)
def test_state_in_which_a_row_is_not_what_was_saved_is_refused(lies: SampleLog, tmp_path: Path, damaged: str) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    with sqlite3.connect(tmp_path / "state") as database:
        database.execute(f"UPDATE {damaged}")
    database.close()
    assert refused(of(lies), tmp_path / "state")[0] == "audit-state"


def test_state_that_lost_what_it_is_of_is_refused(lies: SampleLog, tmp_path: Path) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    with sqlite3.connect(tmp_path / "state") as database:
        database.execute("DELETE FROM log")
    database.close()
    assert refused(of(lies), tmp_path / "state")[0] == "audit-state"


@pytest.mark.parametrize("part", range(0, 64, 3))
def test_state_of_which_a_byte_is_another_is_refused_or_says_the_same(
    lies: SampleLog, tmp_path: Path, part: int
) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    data = bytearray((tmp_path / "state").read_bytes())
    data[part * len(data) // 64 + 77] ^= 1
    (tmp_path / "state").write_bytes(data)
    found = outcome(lambda: audit_log(of(lies), tmp_path / "state"))
    assert found in ("audit-state", named(audit_log(of(lies))))


def outcome(audited: Callable[[], Report]) -> Any:
    """Return the code of the error that ends an audit, or what its report says."""
    try:
        return named(audited())
    except LocalError as error:
        return error.code


@pytest.mark.parametrize("changes", [{"spares": 9}, None])
def test_state_of_a_chain_that_said_otherwise_of_a_token_is_refused(
    lies: SampleLog, changes: dict[str, Any] | None, tmp_path: Path
) -> None:
    interrupted(of(lies), 3, tmp_path / "state")
    facts = anchoring(lies)
    facts = replace(facts, reservations={}) if changes is None else with_reservation(facts, **changes)
    assert refused(of(lies, facts=facts), tmp_path / "state")[0] == "endpoints-disagree"


def test_file_that_is_no_state_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"a letter, and no database" * 100)
    assert refused(evidence(), path)[0] == "audit-state"
    assert path.read_bytes().startswith(b"a letter")
    with sqlite3.connect(tmp_path / "other") as database:
        database.execute("CREATE TABLE others (number INTEGER)")
    database.close()
    assert refused(evidence(), tmp_path / "other")[0] == "audit-state"


def test_state_that_another_audit_works_with_is_refused(tmp_path: Path) -> None:
    with ReplayState(tmp_path / "state"):
        code, message = refused(evidence(), tmp_path / "state")
    assert (code, "another audit works with it" in message) == ("audit-state", True)


def test_folder_as_a_state_is_refused(tmp_path: Path) -> None:
    assert refused(evidence(), tmp_path)[0] == "disk-error"


# --- memory ---------------------------------------------------------------------------------------------------------


def memory_of(replayed: LogReplay) -> int:
    """Return how many things a replay remembers: tokens, and bytes of bits."""
    return sum(1 + len(counts.outcomes.bits) + len(counts.outcomes.beyond) for counts in replayed.tokens.values())


def test_replay_remembers_a_bit_for_each_print_and_nothing_else() -> None:
    facts = with_reservation()
    with ReplayState() as state:
        replayed = LogReplay(facts, GATEWAY.address, lambda _: None, note_print=state.note_print)
        for number in range(1, 201):
            for entry in (redeemed(number), ended(number)):
                list(replayed.feed(entry.to_bytes()))
        assert replayed.tokens[TOKEN_ID].released == 200
        assert memory_of(replayed) == 1 + 200 // 8 + 1
        (prints,) = state._database.execute("SELECT sum(length(ids)) FROM prints").fetchone()
        assert prints == 200 * 16


def print_ids(*numbers: int) -> bytes:
    return b"".join(word(f"print {number}")[:16] for number in numbers)


def test_print_ids_of_a_token_that_stand_twice_are_found_and_none_of_its_call_is_remembered() -> None:
    first, second = TokenId(1), TokenId(2)
    with ReplayState() as state:
        assert state.note_prints([]) == set()
        assert state.note_prints([(first, print_ids(1, 2)), (second, print_ids(1))]) == set()
        assert state.note_prints([(first, print_ids(3, 3)), (second, print_ids(3, 4))]) == {first}
        assert state.note_prints([(first, print_ids(3)), (second, print_ids(5, 4))]) == {second}
        assert state.note_prints([(first, print_ids(4, 2)), (second, print_ids(5))]) == {first}
        assert [state.note_print(first, print_ids(number)) for number in (4, 4, 1)] == [True, False, False]


def test_print_ids_that_the_filter_takes_for_known_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrintFilter, "add", lambda _, numbers, ids: numbers >= 0)
    with ReplayState() as state:
        assert state.note_prints([(TokenId(1), print_ids(1, 2))]) == set()
        assert state.note_prints([(TokenId(1), print_ids(3)), (TokenId(2), print_ids(1))]) == set()
        assert state.note_prints([(TokenId(1), print_ids(4, 3))]) == {TokenId(1)}


def test_filter_knows_every_pair_that_was_added_and_few_others() -> None:
    found, numbers = PrintFilter(), np.arange(5000)
    ids = print_ids(*range(5000))
    assert not found.add(numbers, ids).any()
    assert found.add(numbers, ids).all()
    assert np.count_nonzero(found.add(numbers + 1, ids)) < 5


def test_nobody_makes_print_ids_that_meet_in_the_filter() -> None:
    """A product by an odd factor keeps a difference in its highest bit, which nothing else is to cancel."""
    found, numbers = PrintFilter(), np.arange(500)
    halves = np.frombuffer(print_ids(*range(500)), "<u8").reshape(-1, 2)
    assert not found.add(numbers, halves.tobytes()).any()
    assert not found.add(numbers, (halves ^ np.uint64(1 << 63)).tobytes()).any()


def test_filter_tells_pairs_that_stand_twice_in_one_call() -> None:
    found = PrintFilter().add(np.array([1, 1, 2, 1, 1]), print_ids(5, 6, 5, 5, 7))
    assert found.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("size", [1, 4])
def test_size_of_what_is_kept_in_memory_is_that_of_one_tile(size: int, tmp_path: Path) -> None:
    """The database's own cache has a limit, and what changed is forgotten with each save."""
    most = [0]

    class Watched(ReplayState):
        def save(self, *arguments: Any) -> None:
            super().save(*arguments)
            replayed = arguments[-2]
            most[0] = max(most[0], len(replayed.touched) + memory_of(replayed))

    log = logged(*[PATTERN[0]] * (size * TILE_WIDTH))
    found = of(log)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(replay, "ReplayState", Watched)
        audit_log(found, tmp_path / "state")
    assert most[0] == 1


def test_hashes_of_blocks_that_are_remembered_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platemark.auditor.evidence._MAX_HASHES", 3)
    found = evidence()
    assert [found.block_hash(number) for number in range(9)] == [block(number).hash for number in range(9)]
    assert sorted(found._hashes) == [6, 7, 8]


def test_sequences_have_a_limit_of_bits() -> None:
    found = Sequences()
    for sequence in (1, 65_535, 65_536, 2**32 - 1):
        assert sequence not in found
        found.add(sequence)
        assert sequence in found
    assert (len(found.bits), found.beyond) == (8192, {65_536, 2**32 - 1})
    assert [sequence in found for sequence in (2, 8, 65_534, 65_537)] == [False] * 4
