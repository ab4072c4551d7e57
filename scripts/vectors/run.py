"""Runs each module beside it: `build()` returns the vector files by name, without `.json`."""

import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent.parent / "tests" / "vectors"


def main() -> int:
    """Write the files, or with `--check` say which of them would change."""
    check = "--check" in sys.argv[1:]
    sys.path.append(str(FOLDER.parent))  # the sample documents of the tests
    changed = []
    for module in sorted(HERE.glob("*.py")):
        if module.name == "run.py":
            continue
        for name, content in importlib.import_module(module.stem).build().items():
            path = FOLDER / f"{name}.json"
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                changed.append(path.name)
                if not check:
                    path.write_text(text, encoding="utf-8")
    if changed:
        print("would change:" if check else "written:", ", ".join(changed))
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
