"""Scripts of commands with their expected output, in the manner of testscript.

    # a comment
    $ platemark keys list            a command; `NAME=$(platemark …)` keeps what it printed
    stdout, line by line             `[..]` stands for anything within a line, `[...]` alone for any lines
    ! stderr, line by line           `[?] ` before a line: it may be missing
    ? 2                              the exit code, when it is not 0

Nothing that a command prints may be missing from its script.
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack import Ended, command

_CAPTURE = re.compile(r"([A-Z_]+)=\$\((.*)\)")


@dataclass
class Step:
    """One command and what it is to do."""

    line: int
    text: str
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    exit_code: int = 0


def parse(script: str) -> Iterator[Step]:
    """Yield the steps of a script."""
    step: Step | None = None
    for number, line in enumerate(script.splitlines(), 1):
        if line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(number, line[2:])
        elif line.startswith("#") or (step is None and not line):
            continue
        elif step is None:
            raise AssertionError(f"line {number} belongs to no command")
        elif line.startswith("! "):
            step.stderr.append(line[2:])
        elif line.startswith("? "):
            step.exit_code = int(line[2:])
        elif line:
            step.stdout.append(line)
    if step is not None:
        yield step


def run_script(path: Path, variables: Mapping[str, str]) -> None:
    """Run a script; an AssertionError names the line and shows what was expected and found."""
    known = dict(variables)
    for step in parse(path.read_text()):
        capture = _CAPTURE.fullmatch(step.text)
        text = _filled(capture[2] if capture else step.text, known)
        words = shlex.split(text)
        changes = {}
        while "=" in words[0] and words[0].partition("=")[0].isupper():
            name, _, value = words.pop(0).partition("=")
            changes[name] = value
        assert words[0] == "platemark", f"{path.name}:{step.line}: {words[0]} is not run here"
        ended = _with_environment(changes, words[1:])
        where = f"{path.name}:{step.line}: {text}"
        found = f"stdout:\n{ended.stdout}\nstderr:\n{ended.stderr}\nexit code {ended.exit_code}"
        assert ended.exit_code == step.exit_code, f"{where}\nexpected exit code {step.exit_code}\n{found}"
        if capture:
            known[capture[1]] = ended.stdout.strip()
        else:
            _compare(where, "stdout", [_filled(line, known) for line in step.stdout], ended.stdout, found)
        _compare(where, "stderr", [_filled(line, known) for line in step.stderr], ended.stderr, found)


def _with_environment(changes: Mapping[str, str], argv: list[str]) -> Ended:
    kept = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        return command(*argv)
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$([A-Z_]+)(?::(\d+))?", lambda m: known[m[1]][: int(m[2]) if m[2] else None], text)


def _compare(where: str, what: str, expected: list[str], found: str, everything: str) -> None:
    pattern = "".join(_pattern(line) for line in expected)
    lines = "".join(f"{line}\n" for line in found.splitlines() if line)
    assert re.fullmatch(pattern, lines), f"{where}\nexpected {what}:\n" + "\n".join(expected) + f"\n\n{everything}"


def _pattern(line: str) -> str:
    if line == "[...]":
        return r"(?:.*\n)*?"
    if line.startswith("[?] "):
        return f"(?:{_pattern(line[4:])})?"
    return re.escape(line).replace(re.escape("[..]"), "[^\n]*") + r"[ ]*\n"
