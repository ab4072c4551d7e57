"""Many commands in one process: JSON lines in, JSON lines out.

in   {"argv": ["design", "list", "--json"], "stdin": "…"}
out  {"exitCode": 0, "stdout": "…", "stderr": "…"}
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import typer

from platemark.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MAX_LINE_BYTES: Final = 16 << 20


@app.command()
def session() -> None:
    """Run commands from stdin, one JSON object a line, until it ends."""
    from platemark.cli.main import run

    source, target = sys.stdin, sys.stdout
    while line := source.readline(_MAX_LINE_BYTES):
        if not line.strip():
            continue
        argv, text = _request(line)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _stdin(text):
            code = run(argv)
        answer = {"exitCode": int(code), "stdout": out.getvalue(), "stderr": err.getvalue()}
        target.write(json.dumps(answer, ensure_ascii=False) + "\n")
        target.flush()


def _request(line: str) -> tuple[list[str], str]:
    try:
        found: Any = json.loads(line)
    except ValueError as error:
        raise UsageError("a line is no JSON object") from error
    argv = found.get("argv") if isinstance(found, dict) else None
    text = found.get("stdin", "") if isinstance(found, dict) else None
    if not isinstance(argv, list) or not all(isinstance(item, str) for item in argv) or not isinstance(text, str):
        raise UsageError('a line is an object such as {"argv": ["design", "list"]}')
    if "session" in argv[:1]:
        raise UsageError("a session does not run a session")
    return argv, text


@contextlib.contextmanager
def _stdin(text: str) -> Iterator[None]:
    kept = sys.stdin
    sys.stdin = io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = kept
