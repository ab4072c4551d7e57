"""`platemark demo`: the whole main job on this machine, told while it happens."""

import errno
import fcntl
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from platemark.cli.config import invocation
from platemark.cli.demo.processes import gateway_program
from platemark.cli.demo.story import Findings, Screen, Story
from platemark.cli.ui import visible
from platemark.errors import TryLaterError, UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MARKER: Final = "platemark-demo.json"
_LOCK: Final = ".lock"
_RETRY_SECONDS: Final = 60
_MESHES: Final = (".stl", ".obj", ".3mf")
_WIDTH: Final = 118
_FILES: Final = {
    "passport.json": "the passport of one part",
    "passport-qr.svg": "its QR code",
    "label.pdf": "its label",
    "preview.png": "the design's picture",
    "report.html": "the audit of the whole log, as a page",
}


@app.command()
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("demo"),
    design: Annotated[Path | None, typer.Option("--design", help="A mesh of your own: .stl, .obj or .3mf.")] = None,
    protection: Annotated[str, typer.Option(help="stream, delete-after or file.")] = "file",
    slicer: Annotated[str, typer.Option(help="auto, prusa or basic.")] = "auto",
    picture: Annotated[Path | None, typer.Option("--picture", help="Also save what is shown, SVG.")] = None,
) -> None:
    """Run the main job end to end: register, license, print, settle; then audit it with the gateway gone."""
    run = invocation(context)
    _check(protection, slicer, picture)
    mesh = _design(design)
    screen = _RichScreen(to_stderr=run.options.as_json)
    with _claimed_folder(out) as (folder, lock):
        story = Story(
            folder, mesh, title=_title(design), protection=protection, slicer=slicer, screen=screen, lock=lock
        )
        found = story.tell()
        found.files = sorted(str(path.relative_to(folder)) for path in _kept(folder))
        (folder / _MARKER).write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
        screen.end(found, out)
    if picture is not None:
        screen.save(picture)
    if run.options.as_json:
        run.ui.result(found.to_json())


def _check(protection: str, slicer: str, picture: Path | None) -> None:
    """Pass when this machine can run what was asked for, before anything is made.

    Errors: UsageError for a protection or a slicer that is none; RefusedError `protection-not-kept` for a slicer that
        cannot keep the protection; LocalError `slicer-missing`, `program-missing`, and those of the picture's file.
    """
    from platemark.agent.printers.simulated import simulated_printers
    from platemark.agent.slicers.choice import choose_slicer, find_slicers
    from platemark.protocol.license_terms import Protection
    from platemark.sdk.files import check_output

    if protection not in set(Protection):
        raise UsageError(f"{protection[:20]!r} is no protection", hint=f"one of {', '.join(Protection)}")
    slicers = find_slicers(slicer)
    for printer in simulated_printers().values():
        choose_slicer(slicers, printer, Protection(protection), needs_supports=False)
    gateway_program()
    if picture is not None:
        if picture.suffix != ".svg":
            raise UsageError("the picture is an SVG file", code="picture-format", hint="name it something.svg")
        check_output(picture, replace=True)


def _design(design: Path | None) -> Path:
    """Return the mesh to print, after a first look at it, before any process is started.

    Errors: those of `design check`.
    """
    from platemark.designer.preparing import inspect_file

    if design is None:
        from importlib import resources

        design = Path(str(resources.files("platemark.geometry") / "data" / "angle-bracket.stl"))
    inspect_file(design)
    return design.resolve()


def _title(design: Path | None) -> str:
    if design is None:
        return "Angle bracket"
    return visible(design.stem)[:80].strip() or "Design"


@contextmanager
def _claimed_folder(out: Path) -> Iterator[tuple[Path, int]]:
    """Give the folder, new or emptied of an earlier demonstration, and the open file whose lock claims it.

    Errors: UsageError `folder-not-empty` when something else is in it, or when it is a file; TryLaterError
        `demo-running` while another demonstration, or a server that one left running, works there; LocalError when
        the folder cannot be made. Nothing is deleted then.
    """
    from platemark.sdk.files import disk_errors

    folder = out.resolve()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{out} is a file, a folder is needed", code="folder-not-empty", hint="name one: --out DIR")
    with disk_errors(folder):
        there = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if there - {_LOCK} and _MARKER not in there:
            raise UsageError(
                f"{out} is not empty and not of an earlier demonstration",
                code="folder-not-empty",
                hint="name another folder: --out DIR",
            )
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            raise TryLaterError(
                f"another demonstration runs in {out}",
                code="demo-running",
                retry_after_seconds=_RETRY_SECONDS,
                hint="wait until it has ended, or name another folder: --out DIR",
            ) from error
        with disk_errors(folder):
            for path in folder.iterdir():
                if path.name == _LOCK:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            (folder / _MARKER).write_text("{}\n", encoding="utf-8")
        yield folder, lock
    finally:
        os.close(lock)


def _kept(folder: Path) -> list[Path]:
    """Return what a person would look at: design, passport, label, report, G-code, receipts, picture."""
    own = (folder / name for name in _FILES)
    made = (path for path in folder.iterdir() if path.name.endswith(_MESHES))
    return [path for path in (*own, *made, *(folder / "prints").rglob("*.*")) if path.is_file()]


class _RichScreen(Screen):
    """Tells the story on a terminal, in columns; plain text when the output is no terminal."""

    def __init__(self, *, to_stderr: bool) -> None:
        from rich.console import Console

        stream = sys.stderr if to_stderr else sys.stdout
        width = None if stream.isatty() else _WIDTH
        self._console: Console = Console(file=stream, width=width, record=True, highlight=False, soft_wrap=False)

    def chapter(self, number: int, title: str) -> None:
        """Begin a chapter."""
        from rich.text import Text

        self._console.print()
        self._console.print(Text(f"{number}  {title}", style="bold"))

    def command(self, who: str, argv: Sequence[str]) -> None:
        """Show a command that a role runs."""
        from rich.text import Text

        shown = shlex.join(["platemark", *(_short(item) for item in argv)])
        self._console.print(Text(f"   {who} $ {shown}", style="dim"), overflow="fold")

    def shown(self, command: str) -> None:
        """Show a command for the reader to run, in one piece: what is copied must work."""
        from rich.text import Text

        self._console.print(Text(f"   $ {command}", style="dim"), soft_wrap=True)

    def line(self, text: str) -> None:
        """Say one thing that was found."""
        from rich.text import Text

        self._console.print(Text(f"   {visible(text)}"))

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*(Text(visible(cell), style=_style(cell)) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, 3)))

    def end(self, found: Findings, folder: Path) -> None:
        """Say where everything lies, how long it took, and what is not claimed."""
        from platemark.auditor.render import NOT_CLAIMED

        self.chapter(10, f"What remains, in {folder}")
        rows = [[f"{name}/", what] for name, what in found.folders.items()]
        rows += [[name, what] for name, what in _FILES.items() if name in found.files]
        rows += [[name, "the design that was registered"] for name in found.files if name.endswith(_MESHES)]
        self.table(("name", "is"), [*rows, [_MARKER, "all that was found, for programs"]])
        self.line(f"{found.seconds:.0f} seconds, measured here")
        self.line(
            "To audit again, in this folder: start the chain in one terminal, then ask in another (programs: .venv/bin)"
        )
        for argv in found.again:
            self.shown(shlex.join(argv))
        self._console.print()
        self._console.print(NOT_CLAIMED, style="italic")

    def save(self, path: Path) -> None:
        """Save what was shown as a picture.

        Errors: LocalError when it cannot be written.
        """
        from platemark.sdk.files import write_whole

        svg = self._console.export_svg(title="platemark demo", code_format=_svg_format())
        write_whole(path, svg.encode(), mode=0o644)


def _svg_format() -> str:
    """Return Rich's picture without its fonts from elsewhere: the picture needs nothing but itself."""
    from rich._export_format import CONSOLE_SVG_FORMAT

    return re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def _short(argument: str) -> str:
    """Return an argument as it is worth showing: ids by their beginning, which every command understands."""
    return argument[:14] if argument.startswith("0x") and len(argument) > 60 else argument


def _style(cell: Any) -> str:
    return {"ok": "green", "FAIL": "bold red", "—": "dim"}.get(str(cell), "")
