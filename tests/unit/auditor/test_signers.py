"""Signatures checked by several processes: what is found is what one finds, whatever becomes of the processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import sample_chain
from platemark.auditor import replay, signers
from platemark.auditor.replay import audit_log
from platemark.auditor.signers import CHUNK, Claim, Signers, unsigned, usable_processors
from platemark.errors import UpstreamError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.log_entry import LogEntry
from platemark.protocol.tiles import TILE_WIDTH
from platemark.protocol.typed_data import Domain
from sample_chain import closed, ended, redeemed
from sample_documents import AGENT, DESIGNER, LEDGER_DOMAIN, RESERVATION
from sample_evidence import SampleEvidence, anchoring, evidence, failures, logged, with_reservation

OTHER: Final = AccountKey(b"\x07" * 32)
LOST: Final = "a process that checked signatures was lost: they are checked in this one alone"
SIZE: Final = 2 * CHUNK + 3
LIARS: Final = [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK - 1, 2 * CHUNK, SIZE - 1]


def forged(sequence: int) -> LogEntry:
    entry = redeemed(sequence)
    return replace(entry, signature=OTHER.sign(entry.redemption().digest(LEDGER_DOMAIN)))


def signed(size: int, liars: Sequence[int] = ()) -> Any:
    """Return what is asked of so many entries, some of which their agents did not sign."""
    truths, lies = (redeemed(1).to_bytes(), ended(1).to_bytes()), (forged(1).to_bytes(), closed(1, 0).to_bytes(), b"")
    entries = [lies[place % 3] if place in liars else truths[place % 2] for place in range(size)]
    return [(entry, AGENT.address) for entry in entries], LEDGER_DOMAIN


Started = Callable[[], list[int]]


@pytest.fixture
def started() -> Started:
    """What lists the processes that a test started and that still run."""
    before = multiprocessing.active_children()
    return lambda: [each.pid or 0 for each in multiprocessing.active_children() if each not in before]


@pytest.fixture(scope="module")
def two() -> Generator[Signers]:
    with Signers(2, fewest=1, on_progress=pytest.fail) as found:
        yield found


@pytest.fixture
def no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signers, "ProcessPoolExecutor", None)


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, SIZE])
def test_places_are_right_on_both_sides_of_each_border(two: Signers, size: int) -> None:
    liars = [place for place in LIARS if place < size]
    asked = signed(size, liars)
    assert two(*asked) == unsigned(*asked) == liars
    assert two(*signed(size)) == []


def test_places_are_of_the_agent_that_is_asked_about_at_each(two: Signers) -> None:
    claims, domain = signed(SIZE)
    for place in (CHUNK + 1, SIZE - 1):
        claims[place] = claims[place][0], DESIGNER.address
    assert two(claims, domain) == unsigned(claims, domain) == [CHUNK + 1, SIZE - 1]


@pytest.mark.usefixtures("no_pool")
@pytest.mark.parametrize("number,fewest,size", [(1, 1, SIZE), (2, SIZE + 1, SIZE), (2, 1, 0)])
def test_one_process_and_few_signatures_make_no_pool(number: int, fewest: int, size: int) -> None:
    asked = signed(size, LIARS)
    with Signers(number, fewest=fewest) as found:
        assert found(*asked) == unsigned(*asked)


class Deadly(list[Claim]):
    """Claims that kill a process when the last of their chunks is given away."""

    victim: int

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice) and at.start == 2 * CHUNK:
            os.kill(self.victim, signal.SIGKILL)
        return super().__getitem__(at)


def test_batch_of_a_process_that_is_killed_is_checked_again_and_no_process_is_left(started: Started) -> None:
    told: list[str] = []
    claims, domain = signed(SIZE, LIARS)
    deadly = Deadly(claims)
    with Signers(2, fewest=1, on_progress=told.append) as found:
        assert found(claims, domain) == LIARS
        assert (told, len(started())) == ([], 2)
        deadly.victim = started()[0]
        assert found(deadly, domain) == LIARS
        assert (told, started()) == ([LOST], [])
        assert found(claims, domain) == LIARS
        assert (told, started()) == ([LOST], [])


def test_processes_that_are_killed_between_batches_are_missed_by_the_next(started: Started) -> None:
    told: list[str] = []
    asked = signed(SIZE, LIARS)
    with Signers(2, fewest=1, on_progress=told.append) as found:
        found(*asked)
        for process_id in started():
            os.kill(process_id, signal.SIGKILL)
        assert found(*asked) == LIARS
        assert (told, started()) == ([LOST], [])


@pytest.mark.parametrize("error", [OSError(11, "no more processes"), NotImplementedError("no semaphores")])
def test_machine_that_starts_no_processes_checks_in_the_one_there_is(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    told: list[str] = []
    monkeypatch.setattr(signers, "ProcessPoolExecutor", refuse)
    with Signers(2, fewest=1, on_progress=told.append) as found:
        assert found(*signed(SIZE, LIARS)) == LIARS
    assert told == [LOST]


def test_no_process_is_left_when_the_audit_ends_with_an_error(started: Started) -> None:
    def fail() -> None:
        with Signers(2, fewest=1) as found:
            found(*signed(SIZE))
            assert len(started()) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert started() == []


def test_what_a_process_raises_is_raised(two: Signers) -> None:
    claims, domain = signed(SIZE)
    claims[-1] = claims[-1][:1]
    with pytest.raises(ValueError, match="unpack"):
        two(claims, domain)


PROGRAM: Final = """
import os, signal, sys, threading
from multiprocessing import resource_tracker, util
from platemark.auditor.signers import Signers
from sample_chain import redeemed
from sample_documents import AGENT, LEDGER_DOMAIN

when, start = sys.argv[1], util.spawnv_passfds
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
claims = [(redeemed(1).to_bytes(), AGENT.address)] * 600
threading.Thread(target=signal.pause, daemon=True).start()


def interrupted(*arguments):
    found = start(*arguments)
    os.kill(0, signal.SIGINT)
    return found


if when == "new":
    resource_tracker.ensure_running()
    util.spawnv_passfds = interrupted
with Signers(2, fewest=1) as found:
    try:
        found(claims, LEDGER_DOMAIN)
        print("started", flush=True)
        if when == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "idle":
            signal.pause()
        while True:
            found(claims, LEDGER_DOMAIN)
    except KeyboardInterrupt:
        print("interrupted")
"""


@contextmanager
def program(when: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(Path(sample_chain.__file__).parent)}
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", PROGRAM, when]
    with subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True) as found:
        try:
            yield found
        finally:
            found.kill()


@pytest.mark.parametrize("when", ["busy", "idle"])
def test_interruption_ends_all_processes_and_is_told_by_the_one_that_began(when: str) -> None:
    with program(when) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        os.killpg(running.pid, signal.SIGINT)
        output, errors = running.communicate(timeout=60)
    assert (running.returncode, output, errors) == (0, "interrupted\n", "")


def test_interruption_while_a_process_starts_waits_until_it_can_be_ended() -> None:
    with program("new") as running:
        output, errors = running.communicate(timeout=60)
    assert (running.returncode, output, errors) == (0, "interrupted\n", "")


def test_processes_end_when_the_one_that_they_work_for_is_killed() -> None:
    with program("killed") as running:
        output, _ = running.communicate(timeout=60)  # ends when the last that could write has ended
    assert (running.returncode, output) == (-signal.SIGKILL, "started\n")


def test_processors_that_may_be_used_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
        assert usable_processors() == 3
        monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_processors() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors() == 1


PRINTS: Final = 400
FORGED: Final = 321


@pytest.fixture(scope="module")
def mostly_true() -> SampleEvidence:
    """The evidence of a log in which one request is another's."""
    entries: list[LogEntry] = [entry for number in range(1, PRINTS + 1) for entry in (redeemed(number), ended(number))]
    entries[2 * FORGED - 2] = forged(FORGED)
    facts = with_reservation(permission=replace(RESERVATION, prints=PRINTS), prints_in_storage=PRINTS)
    log = logged(*entries)
    return evidence(anchoring(log, facts), log)


def test_audit_that_was_interrupted_goes_on_in_processes_and_reports_the_same(
    mostly_true: SampleEvidence, two: Signers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SAVED_ENTRIES", TILE_WIDTH)
    whole = audit_log(mostly_true)
    assert (8, "signature-invalid") in failures(whole)
    asked: list[int] = []

    def away_at_the_third(claims: Sequence[Claim], domain: Domain) -> list[int]:
        asked.append(len(claims))
        if len(asked) == 3:
            raise UpstreamError("away", code="gateway-unreachable")
        return two(claims, domain)

    with pytest.raises(UpstreamError):
        audit_log(mostly_true, tmp_path / "state", unsigned=away_at_the_third)
    assert asked == [TILE_WIDTH] * 3
    report = audit_log(mostly_true, tmp_path / "state", unsigned=two)
    assert (report.findings, report.facts) == (whole.findings, whole.facts)
    assert report.trusted[-1] == f"for {2 * TILE_WIDTH} entries an earlier run, which trusted this RPC endpoint"
