"""What commands say: data on stdout, talk on stderr, machine output with --json.

Texts of strangers are printed without anything that moves a cursor. Rich is imported when something is drawn.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from platemark.errors import PlatemarkError, VerificationError
from platemark.protocol.canonical import JsonValue

if TYPE_CHECKING:
    from rich.console import Console

Rows = Sequence[Sequence[str]]


class Ui:
    """How one command talks."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console: Console | None = None

    def tell(self, line: str) -> None:
        """Say in one line what happens, or happens next."""
        print(visible(line), file=sys.stderr, flush=True)  # noqa: T201 (talk)

    def result(self, value: Mapping[str, JsonValue], text: Sequence[str] = ()) -> None:
        """Give the command's result: `value` with --json, otherwise `text`, line by line."""
        if self.as_json:
            self._out(json.dumps(value, ensure_ascii=False, indent=2))
            return
        for line in text:
            self._out(visible(line))

    def table(self, name: str, values: Sequence[Mapping[str, JsonValue]], heads: Sequence[str], rows: Rows) -> None:
        """Give a list: an object with `name` with --json, otherwise aligned columns; nothing but a note when empty."""
        if self.as_json:
            self._out(json.dumps({name: list(values)}, ensure_ascii=False, indent=2))
            return
        if not rows:
            self.tell(f"no {name}")
            return
        shown = [[visible(cell) for cell in row] for row in (heads, *rows)]
        widths = [max(len(row[column]) for row in shown) for column in range(len(heads))]
        for row in shown:
            self._out("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def error(self, error: PlatemarkError, code: int) -> None:
        """Say what went wrong: one line that ends with its code, and perhaps a hint; with --json also on stdout."""
        if self.as_json:
            described: dict[str, JsonValue] = {"code": error.code, "kind": str(error.kind), "message": error.message}
            described |= _verified(error)
            if error.hint:
                described["hint"] = error.hint
            self._out(json.dumps({"error": described, "exitCode": code}, ensure_ascii=False, indent=2))
        self.complain(error)

    def complain(self, error: PlatemarkError) -> None:
        """Say on stderr what went wrong, and nothing on stdout: the command's result stands there already."""
        self.tell(f"platemark: {error.message} [{error.code}]")
        for name, detail in _verified(error).items():
            self.tell(f"{name}: {detail}")
        if error.hint:
            self.tell(f"hint: {error.hint}")

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[str, int, int], None]]:
        """Give a function that is told (name, done, total) and draws a bar, on a terminal only."""
        console = self._terminal()
        if self.as_json or not console.is_terminal:
            yield lambda *_: None
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            tasks = {"": bar.add_task(what, total=None)}

            def advance(name: str, done: int, total: int) -> None:
                if "" in tasks:
                    bar.remove_task(tasks.pop(""))
                if name not in tasks:
                    tasks[name] = bar.add_task(f"{what} {visible(name)}", total=total)
                bar.update(tasks[name], completed=done)

            yield advance

    def _terminal(self) -> "Console":
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=sys.stderr, highlight=False, markup=False)
        return self._console

    @staticmethod
    def _out(text: str) -> None:
        sys.stdout.write(text + "\n")


def _verified(error: PlatemarkError) -> dict[str, JsonValue]:
    """Return the step that failed, what was expected and what was found; nothing for other errors."""
    if not isinstance(error, VerificationError):
        return {}
    return {"step": error.step, "expected": error.expected, "found": error.found}


def visible(text: str) -> str:
    """Return text without characters that move a cursor, turn the reading order or begin a line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def plural(count: int, one: str) -> str:
    """Return a count with its noun: `1 print`, `2 prints`."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"
