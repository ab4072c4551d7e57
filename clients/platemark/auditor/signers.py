"""Who signed the entries of a log, checked on several processors.

The processes start when the first batch comes that is worth it, and end with the `with` block, whatever ends that, or
with the process that started them. They say nothing of an entry but what `unsigned` says: a batch of which one
of them gives no answer is checked where it came from, and so are all that follow.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import log_entry
from platemark.protocol.log_entry import ClosedEntry, OutcomeEntry, RedeemedEntry
from platemark.protocol.typed_data import Domain
from platemark.protocol.units import Address
from platemark.verify.voucher import check_outcome, check_redeemed

Claim = tuple[bytes, Address]
"""An entry of a log, and the agent who is to have signed it."""
Unsigned = Callable[[Sequence[Claim], Domain], Collection[int]]
"""Returns the places of what is no request and no outcome that its agent signed."""

CHUNK: Final = 256
"""Signatures that a process checks at a time: some 30 ms, which is how long the end of a pool waits."""
FEWEST: Final = 4096
"""Signatures of a batch for which the processes are started: fewer take no longer than their start."""
_NO_ANSWER: Final = (BrokenExecutor, MemoryError, NotImplementedError, OSError)
"""What a pool raises whose processes were killed, found no memory, or cannot be started on this machine."""


def unsigned(claims: Sequence[Claim], domain: Domain) -> list[int]:
    """Implement `Unsigned`, one signature after the other."""
    found: list[int] = []
    for place, (data, agent) in enumerate(claims):
        try:
            match log_entry.decode(data):
                case RedeemedEntry() as entry:
                    check_redeemed(entry, agent, domain)
                case OutcomeEntry() as entry:
                    check_outcome(entry, agent, domain)
                case ClosedEntry():
                    found.append(place)
        except (VerificationError, MalformedError):
            found.append(place)
    return found


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Signers:
    """Implements `Unsigned` with so many processes; with one, and for small batches, in the one that asks.

    They import the program's main module, which must begin its work under `if __name__ == "__main__"`.
    """

    def __init__(
        self, processes: int, *, fewest: int = FEWEST, on_progress: Callable[[str], None] = lambda _: None
    ) -> None:
        """`fewest` is how many signatures of one batch start the processes."""
        self._processes = processes
        self._fewest = fewest
        self._on_progress = on_progress
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; they are awaited."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __call__(self, claims: Sequence[Claim], domain: Domain) -> list[int]:
        """Return the places of what is no request and no outcome that its agent signed."""
        if self._processes > 1 and len(claims) >= self._fewest:
            try:
                return self._in_pool(claims, domain)
            except _NO_ANSWER:
                self.close()
                self._processes = 1
                self._on_progress("a process that checked signatures was lost: they are checked in this one alone")
        return unsigned(claims, domain)

    def _in_pool(self, claims: Sequence[Claim], domain: Domain) -> list[int]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a fork copies the locks of threads that it has not
            self._pool = ProcessPoolExecutor(self._processes, context, _follow_parent)
        starts = range(0, len(claims), CHUNK)
        with _uninterrupted():  # a process starts when it is given something
            asked = [self._pool.submit(unsigned, claims[start : start + CHUNK], domain) for start in starts]
        return [start + place for start, found in zip(starts, asked, strict=True) for place in found.result()]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block, and never come to the processes that start in it."""
    is_main, came = threading.current_thread() is threading.main_thread(), threading.Event()
    # Where it is blocked in this thread, another takes it, and Python's own handler interrupts this one all the same.
    before = signal.signal(signal.SIGINT, lambda *_: came.set()) if is_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # is handed down
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, before)
        if came.is_set():
            signal.raise_signal(signal.SIGINT)


def _follow_parent() -> None:
    """Let this process end when the one that started it does, even if that was killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
