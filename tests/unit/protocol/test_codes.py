import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from platemark.errors import Kind
from platemark.protocol import abi
from platemark.protocol.codes import CODES

ROOT = Path(__file__).parents[3]
SOURCES = ("clients/platemark", "service/platemark_gateway")
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
WORDS = re.compile(r"[A-Z]+[0-9]*(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def raised() -> dict[str, str]:
    """Return every code that stands in a source as `code="…"`, and where."""
    found: dict[str, str] = {}
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found.setdefault(str(node.value.value), f"{path.relative_to(ROOT)}:{node.value.lineno}")
    return found


def contract_errors() -> dict[str, str]:
    """Return the codes of the contracts' custom errors, by the rule that gateway and clients share."""
    return {
        "-".join(word.lower() for word in WORDS.findall(entry["name"])): entry["name"]
        for name in abi.NAMES
        for entry in abi.load(name).errors().values()
    }


def test_every_code_that_is_raised_is_registered() -> None:
    found = raised()
    assert len(found) > 200
    assert {code: place for code, place in found.items() if code not in CODES} == {}


def test_every_error_of_the_contracts_is_registered() -> None:
    found = contract_errors()
    assert "cap-exceeded" in found
    assert {code: name for code, name in found.items() if code not in CODES} == {}


def test_no_code_is_registered_for_nothing() -> None:
    texts = {
        node.value
        for path, tree in trees()
        if path.name != "codes.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(CODES) - texts - contract_errors().keys() == set()


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_has_a_kind_a_title_and_perhaps_a_hint(code: str) -> None:
    info = CODES[code]
    assert KEBAB.fullmatch(code)
    assert info.kind in set(Kind)
    assert info.title[0].isupper()
    assert info.title[-1] != "."
    assert info.hint is None or (info.hint[0].islower() and info.hint[-1] != ".")


def test_a_code_is_registered_once() -> None:
    tree = ast.parse((ROOT / "clients/platemark/protocol/codes.py").read_text(encoding="utf-8"))
    (registry,) = (node for node in ast.walk(tree) if isinstance(node, ast.Dict))
    keys = [key.value for key in registry.keys if isinstance(key, ast.Constant)]
    assert len(keys) == len(set(keys)) == len(CODES)


def test_the_page_of_errors_lists_exactly_these() -> None:
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r'^\| <a id="[^"]+"></a>`([^`]+)` \| (.+) \|$', page, re.MULTILINE))
    assert rows == {code: f"{info.kind} | {info.title} | {info.hint or ''}" for code, info in CODES.items()}
