"""Breaks a running gateway in every way it must survive, reconciles after each, and prints a table.

scripts/faults                 every case once, under three minutes on two idle cores
scripts/faults --soak 600      every case again and again for ten minutes, with longer faults
scripts/faults --only "RPC down" --only "Kubo down"
"""

import argparse
import asyncio
import itertools
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from faults.cases import CASES, NotRunError, Stage
from faults.load import Centre, open_centres
from faults.reconcile import Sums, reconcile, require_notice, settled
from faults.site import running_site

_FAULT_SECONDS: Final = 4.0
_SOAK_FAULT_SECONDS: Final = 12.0
_CENTRES: Final = 12
_SOAK_CENTRES: Final = 24


@dataclass
class Line:
    """One row of the table: a case, as often as it was tried."""

    case: str
    tried: str = ""
    times: int = 0
    prints: int = 0
    told: Counter[str] = field(default_factory=Counter)
    """What agents were told instead of an answer, after which they asked again."""
    slowest_seconds: float = 0
    lost: list[str] = field(default_factory=list)

    def add(self, tried: str, prints: int, centres: Sequence[Centre], differences: Sequence[str]) -> None:
        """Take in one trial; what centres met begins anew."""
        self.tried = tried
        self.times += 1
        self.prints += prints
        self.lost += differences
        for centre in centres:
            self.told += centre.met
            self.slowest_seconds = max(self.slowest_seconds, centre.slowest_seconds)
            centre.met.clear()
            centre.slowest_seconds = 0


async def suite(folder: Path, names: Sequence[str], soak_seconds: int) -> tuple[list[Line], Sums]:
    """Return a line for each case, and the sums of the whole when the chain has caught up.

    Errors: AssertionError when a case does not go as it must, or the gateway does not come to rest after it.
    """
    lines = {name: Line(name) for name in names}
    async with running_site(folder) as site:
        centres = await open_centres(site, _SOAK_CENTRES if soak_seconds else _CENTRES)
        stage = Stage(site, centres, _SOAK_FAULT_SECONDS if soak_seconds else _FAULT_SECONDS)
        say(f"{len(centres)} centres have their tokens")
        ends_at = time.monotonic() + soak_seconds
        before = 0
        for round_number in itertools.count():
            for name in names:
                if round_number and time.monotonic() >= ends_at:
                    break
                await site.chain.follow()
                try:
                    tried = await CASES[name](stage)
                except NotRunError as reason:
                    lines[name].tried = f"not run: {reason}"
                    say(f"{name}: {lines[name].tried}")
                    continue
                sums = await reconcile(site, stage.centres)
                lines[name].add(tried, sums.released - before, stage.centres, sums.differences)
                before = sums.released
                say(f"{name}: {tried}; {sums.released} prints in all, {len(sums.differences)} differences")
            if time.monotonic() >= ends_at:
                break
        await require_notice(site, stage.centres)
        await settled(site, stage.centres)
        return list(lines.values()), await reconcile(site, stage.centres)


def table(lines: Sequence[Line], sums: Sums) -> str:
    """Return the table in Markdown, and what the sums of all parts are in the end."""
    head = "| case | what was done | times | prints | agents were told, and asked again | longest wait | lost |\n"
    rows = "".join(
        f"| {line.case} | {line.tried} | {line.times} | {line.prints} | {_told(line.told)} "
        f"| {line.slowest_seconds:.1f} s | {len(line.lost)} |\n"
        for line in lines
    )
    end = (
        f"\nIn the end: {sums.released} prints and {sums.outcomes} outcomes in the database, {sums.log_size} entries "
        f"in the log, {sums.burned} prints on the chain (all but those that were given back), {len(sums.differences)} "
        "differences between database, log, chain and what agents hold.\n"
    )
    return head + "| --- | --- | --- | --- | --- | --- | --- |\n" + rows + end


def _told(told: Counter[str]) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(told.items())) or "nothing"


def say(text: str) -> None:
    """Write a line to standard error at once."""
    sys.stderr.write(f"{time.monotonic() - _BEGAN:6.1f} s  {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Return 0 when nothing was lost."""
    parser = argparse.ArgumentParser(prog="scripts/faults")
    parser.add_argument("--soak", type=int, default=0, metavar="SECONDS", help="go on for so long")
    parser.add_argument("--only", action="append", choices=CASES, help="a case; repeatable")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines, sums = asyncio.run(suite(Path(folder), given.only or list(CASES), given.soak))
    sys.stdout.write(f"{platform.system()}, {os.cpu_count()} processors, Python {platform.python_version()}\n\n")
    sys.stdout.write(table(lines, sums))
    lost = [*(each for line in lines for each in line.lost), *sums.differences]
    sys.stdout.write("".join(f"\n{each}" for each in lost))
    return 1 if lost else 0


_BEGAN: Final = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
