"""Reads the golden vectors and tables of invalid inputs in tests/vectors."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "vectors"


def golden(name: str) -> Any:
    """Return the content of tests/vectors/<name>.json."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def cases(name: str, table: str) -> list[Any]:
    """Return a table of a vector file as pytest parameters, named by each case's `name`."""
    import pytest

    return [pytest.param(case, id=case["name"]) for case in golden(name)[table]]
