"""Runs Slither over contracts/src and compares what it finds with the answers in contracts/slither.md.

Fails on a finding without an answer, on an answer without a finding, and when Slither understood less than all.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
ANSWERS = CONTRACTS / "slither.md"
ANSWER = re.compile(r"^\| `([0-9a-f]{12})` \|", re.MULTILINE)


def main() -> int:
    """Print what is unanswered or out of date; return 1 when there is any."""
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("slither"), "."),
            *("--foundry-out-directory", "cache/analysis/out"),
            *("--exclude-dependencies", "--filter-paths", "node_modules|test", "--json", "-"),
        ],
        cwd=CONTRACTS,
        env={**os.environ, "FOUNDRY_PROFILE": "analysis"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        result = json.loads(done.stdout)
    except ValueError:
        result = {"success": False}
    if not result["success"] or "Impossible to" in done.stderr:
        print(done.stderr[-4000:], file=sys.stderr)
        print("error: Slither did not get through", file=sys.stderr)
        return 1
    found = {_name(finding): finding for finding in result["results"].get("detectors", [])}
    answered = set(ANSWER.findall(ANSWERS.read_text()))
    for name in sorted(found.keys() - answered):
        finding = found[name]
        print(f"unanswered: {name} {finding['check']} ({finding['impact']})\n{finding['description']}")
    for name in sorted(answered - found.keys()):
        print(f"answered in {ANSWERS.name}, but not found: {name}")
    print(f"Slither: {len(found)} findings, {len(found.keys() & answered)} answered", file=sys.stderr)
    return 0 if found.keys() == answered else 1


def _name(finding: dict[str, Any]) -> str:
    """Return a finding's id, which stays when lines move: of its kind and description, line numbers left out."""
    description = re.sub(r"#\d+(-\d+)?", "", finding["description"])
    return hashlib.sha256(f"{finding['check']}\n{description}".encode()).hexdigest()[:12]


if __name__ == "__main__":
    raise SystemExit(main())
