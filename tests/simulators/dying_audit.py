"""`platemark audit log` as a process: a log of truths and lies, a chain in memory, and a point at which it dies.

    python tests/simulators/dying_audit.py POINT NUMBER ARGUMENT…

The arguments are those of `platemark`. At the point for the so-many-eth time the process kills itself with SIGKILL, so
that nothing is cleaned up: `told`, when it has said how far it is; `saving`, when all of a save is written and not
committed yet; `saved`, when it is. Number 0 is never.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

from platemark.auditor import replay
from platemark.auditor.replay_state import ReplayState
from platemark.cli import audit
from platemark.cli.config import Invocation
from platemark.cli.main import run
from platemark.protocol.log_entry import LogEntry, Result
from platemark.protocol.tiles import TILE_WIDTH
from sample_chain import ended, redeemed
from sample_evidence import SampleEvidence, anchoring, evidence, logged

BEYOND: Final = 70_000
PATTERN: Final[list[LogEntry]] = [
    redeemed(1),
    ended(1),
    redeemed(2),
    ended(2, Result.FAILED, spare_used=True),
    ended(BEYOND),
    redeemed(3, print_id=redeemed(1).print_id),
    redeemed(3),
    ended(1),
    ended(BEYOND),
]
"""Some that are true and some that are lies; what they say of one another reaches over any boundary of tiles."""
ENTRIES_OF_LIES: Final[list[LogEntry]] = [PATTERN[place % len(PATTERN)] for place in range(4 * TILE_WIDTH + 10)]


def in_memory() -> Callable[..., SampleEvidence]:
    """Return what stands in for `cli.audit.evidence_of`: it reads the log of lies, whatever places are named."""
    log = logged(*ENTRIES_OF_LIES)
    facts = anchoring(log)

    def evidence_of(invocation: Invocation, *places: Any) -> SampleEvidence:
        found = evidence(facts, log, policy=audit._policy(places[-1]))
        found.on_progress = audit._progress(invocation)
        return found

    return evidence_of


def _main(point: str, number: int, argv: list[str]) -> int:
    passed = 0

    def pass_point(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def save(state: ReplayState, *arguments: Any) -> None:
        state._database.set_trace_callback(lambda statement: pass_point("saving") if statement == "COMMIT" else None)
        original(state, *arguments)
        pass_point("saved")

    def told(invocation: Invocation) -> Callable[[str], None]:
        def on_progress(what: str) -> None:
            if what.startswith("entry "):
                pass_point("told")

        return on_progress

    original = ReplayState.save
    with (
        mock.patch.object(ReplayState, "save", save),
        mock.patch.object(audit, "_progress", told),
        mock.patch.object(audit, "evidence_of", in_memory()),
        mock.patch.object(replay, "SAVED_ENTRIES", TILE_WIDTH),
    ):
        return int(run(argv))


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
