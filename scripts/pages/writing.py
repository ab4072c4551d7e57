"""What every page's script ends with: write the page, or say whether it would change."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def write(name: str, text: str) -> int:
    """Write `docs/<name>.md`, or with `--check` only say whether it would change; return the exit code."""
    path = _ROOT / "docs" / f"{name}.md"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"docs/{name}.md would change: run scripts/generate_{name}_page")
        return 1
    path.write_text(text, encoding="utf-8")
    return 0
