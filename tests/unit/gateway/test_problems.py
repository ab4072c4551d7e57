"""Every error has a problem document: codes are read from the sources, so none can be forgotten."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import platemark
import platemark_gateway
from platemark.errors import Kind, MalformedError, PlatemarkError, TryLaterError, VerificationError
from platemark.protocol.codes import CODES
from platemark_gateway import problems
from platemark_gateway.errors import ConflictError, GatewayError, UnavailableError, VaultError

ROOTS = [
    Path(platemark_gateway.__path__[0]),
    Path(platemark.__path__[0]) / "protocol",
    Path(platemark.__path__[0]) / "verify",
]


def codes_in_sources() -> Iterator[tuple[str, str]]:
    for root in ROOTS:
        for path in sorted(root.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.keyword(arg="code", value=ast.Constant(value=str() as code, lineno=line)):
                        yield code, f"{path.relative_to(root.parent)}:{line}"
                    case _:
                        continue


def test_every_code_of_the_sources_is_registered() -> None:
    found = list(codes_in_sources())
    assert len(found) > 150
    missing = sorted({f"{code} ({place})" for code, place in found if code not in CODES})
    assert missing == []


def test_codes_are_kebab_case_and_have_a_title() -> None:
    for code, info in CODES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code), code
        assert info.title
        assert not info.title.endswith(".")


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_status(kind: Kind) -> None:
    document = problems.document(GatewayError("message", kind=kind, code="internal"), "id")
    assert document["status"] == problems.STATUS[kind]


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_a_problem_document(code: str) -> None:
    info = CODES[code]
    document = problems.document(GatewayError("message", kind=info.kind, code=code), "id")
    assert 400 <= document["status"] < 600
    if info.kind is not Kind.INTERNAL:
        assert document["type"] == f"/problems/{code}"
        assert document["title"] == info.title
        assert document.get("hint") == info.hint


def test_an_internal_error_says_nothing_but_its_correlation() -> None:
    document = problems.document(VaultError("the secret is 42", code="vault-unwrap", hint="look in the vault"), "abc")
    assert set(document) == {"type", "title", "status", "code", "correlationId"}
    assert (document["code"], document["status"], document["correlationId"]) == ("internal", 500, "abc")


@pytest.mark.parametrize(
    "error, seconds",
    [
        (UnavailableError("away", code="rpc-unreachable", retry_after_seconds=7), 7),
        (UnavailableError("away", code="rpc-unreachable", retry_after_seconds=0), 1),
        (TryLaterError("later", code="awaiting-finality", retry_after_seconds=9), 9),
        (PlatemarkError("away", kind=Kind.UPSTREAM, code="rpc-nonsense"), 5),
        (ConflictError("no", code="count-spent"), None),
        (MalformedError("no", code="cid"), None),
    ],
)
def test_what_can_be_retried_says_when(error: PlatemarkError, seconds: int | None) -> None:
    response = problems.response(error)
    assert response.headers.get("retry-after") == (None if seconds is None else str(seconds))
    assert problems.document(error, "id").get("retryAfter") == seconds
    assert response.media_type == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"


def test_a_failed_check_says_what_was_expected_and_found() -> None:
    error = VerificationError("differs", step="file", code="file-mismatch", expected="a", found="b")
    document = problems.document(error, "id")
    assert (document["step"], document["expected"], document["found"]) == ("file", "a", "b")


def test_a_conflict_says_what_would_fit() -> None:
    document = problems.document(ConflictError("no", code="sequence-expected", expected=0), "id")
    assert document["expected"] == 0


def test_only_problems_knows_status_codes() -> None:
    allowed = {"problems.py", "endpoints.py", "part_page.py", "idempotency.py", "telemetry.py"}
    for path in sorted(ROOTS[0].rglob("*.py")):
        if path.name in allowed or "chain" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "status_code":
                pytest.fail(f"{path.name}:{node.value.lineno} names an HTTP status")
