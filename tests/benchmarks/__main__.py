"""What `scripts/bench` runs: ratios against a baseline of the same run, as tables."""

import argparse
import asyncio
import os
import shutil
import sys

from benchmarks import auditing, redemptions, sealing, starting

PARTS = ("auditing", "redemptions", "sealing", "starting")


def main() -> None:
    """Run the named benchmarks and write their tables."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"which: {', '.join(PARTS)}; all by default")
    parser.add_argument("--pairs", type=int, default=5, help="how often baseline and subject alternate")
    parser.add_argument("--seconds", type=int, default=6, help="how long each load runs")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], help="how many send redemptions at once")
    parser.add_argument(
        "--grow", type=int, nargs="*", default=[], help="prints to put into a database, compared with one of few"
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the file that is sealed")
    parser.add_argument("--entries", type=int, default=1_638_400, help="entries of the log that is replayed")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for part in chosen.parts:
        lines = _table(part, chosen)
        sys.stdout.write(f"\n## {part}\n" + "\n".join(lines) + "\n")
        sys.stdout.flush()


def _table(part: str, chosen: argparse.Namespace) -> list[str]:
    if part == "auditing":
        return asyncio.run(auditing.run(pairs=chosen.pairs, entries=chosen.entries))
    if part == "sealing":
        return asyncio.run(sealing.run(pairs=chosen.pairs, mib=chosen.mib))
    if part == "starting":
        return starting.run(times=chosen.pairs)
    missing = [name for name in ("wrk", "pgbench", "psql") if shutil.which(name) is None]
    if "PLATEMARK_TEST_POSTGRESQL_URL" not in os.environ:
        missing.append("PLATEMARK_TEST_POSTGRESQL_URL")
    if missing:
        return [f"not run: needs {', '.join(missing)} (Debian: apt-get install postgresql wrk)"]
    return asyncio.run(
        redemptions.run(
            pairs=chosen.pairs, seconds=chosen.seconds, clients=tuple(chosen.clients), grow=tuple(chosen.grow)
        )
    )


if __name__ == "__main__":
    main()
