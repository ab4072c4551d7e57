"""Writes clients/platemark/protocol/abi/*.json, one artefact a contract, or compares with `--check`."""

import argparse
import json
import sys
from pathlib import Path

from platemark.auditor.rebuild import rebuild
from platemark.errors import PlatemarkError

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / "clients/platemark/protocol/abi"


def main() -> int:
    """Write or compare the artefacts; 0 when they are as the contracts say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    try:
        built = rebuild(ROOT)
    except PlatemarkError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    texts = {name: json.dumps(artifact, indent=1, ensure_ascii=False) + "\n" for name, artifact in built.items()}
    different = [name for name in texts if _written(name) != texts[name]]
    if check:
        for name in different:
            print(f"error: {name}.json is not what the contracts compile to", file=sys.stderr)
        if different:
            print("hint: run scripts/generate_abi and commit what it writes", file=sys.stderr)
        return 1 if different else 0
    for name in different:
        (TARGET / f"{name}.json").write_text(texts[name], "utf-8")
        print(f"wrote {name}.json", file=sys.stderr)
    return 0


def _written(name: str) -> str | None:
    path = TARGET / f"{name}.json"
    return path.read_text("utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
