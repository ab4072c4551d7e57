"""Golden vectors are fixed: what scripts/generate_vectors would write is what stands in tests/vectors."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from golden import FOLDER, golden

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts" / "vectors"
MODULES = sorted(path for path in SCRIPTS.glob("*.py") if path.name != "run.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_generated_vectors_are_those_that_were_committed(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"vectors_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, content in module.build().items():
        assert json.loads(json.dumps(content)) == golden(name), name


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_tables_name_their_cases_and_each_once(path: Path) -> None:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for table in content.values():
        rows = [row for row in table if isinstance(row, dict) and "name" in row] if isinstance(table, list) else []
        names = [row["name"] for row in rows]
        assert len(names) == len(set(names))
