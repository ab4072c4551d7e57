"""What every page's script ends with: write the page, or say whether it would change."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(name: str, text: str) -> int:
    """Write `docs/<name>.md`, or with `--check` only say whether it would change; return the exit code."""
    path = _ROOT / "docs" / f"{name}.md"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"docs/{name}.md would change: run scripts/generate_{name.replace('-', '_')}_page")
        return 1
    path.write_text(text, encoding="utf-8")
    return 0
