"""PrusaSlicer as a process of its own, kept away from disk, network and privileges.

It gets a mesh that we exported ourselves (a customer's 3MF can carry scripts that it would run) and a full, pinned
profile of all its keys (a partial one could be completed by what a file says). The mesh goes in by an anonymous
memory file, its G-code comes out in a private folder in memory, its own files lie there too. Where a system has
no such folder it works in a temporary one on disk, and then keeps only the protection `file`.

Its output differs from run to run, so receipts name the digest of the G-code that was really printed.
"""

import contextlib
import functools
import importlib.resources
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

from platemark.agent.slicers import memory, sandbox
from platemark.agent.slicers.gcode_comments import estimates_of
from platemark.agent.slicers.sandbox import Bounds, Finished
from platemark.agent.slicers.slicing import Sliced
from platemark.errors import Kind, LocalError, MalformedError, RefusedError
from platemark.geometry.mesh import check_fits, check_mesh
from platemark.geometry.stl import write_stl
from platemark.geometry.triangles import Mesh
from platemark.protocol.digests import sha256
from platemark.protocol.license_terms import Protection
from platemark.protocol.units import Digest32

PROGRAM: Final = "prusa-slicer"
PROFILE: Final = "prusa-pla-0.2mm.ini"

_NOBODY: Final = 65534
_KEYS: Final = 250
_MAX_GCODE_BYTES: Final = 512 << 20
_VERSION: Final = re.compile(rb"PrusaSlicer-(\d+\.\d+\.\d+)")
_DANGEROUS: Final = re.compile(rb"^(?:post_process|printhost_\w+|print_host)[ \t]*=[ \t]*\S", re.MULTILINE)
_UNFIT: Final = (b"could not fit on the bed", b"exceeds the maximum build volume", b"outside of the print volume")


def find_prusa() -> "PrusaSlicer | None":
    """Return PrusaSlicer as it is installed here, or None."""
    found = shutil.which(PROGRAM)
    return None if found is None else PrusaSlicer(Path(found))


class PrusaSlicer:
    """Slices with PrusaSlicer 2.5 or later."""

    name = PROGRAM
    makes_supports = True

    def __init__(self, program: Path, *, profile: bytes | None = None, bounds: Bounds | None = None) -> None:
        """Use the program at `program` with `profile`: the bytes of an ini with all keys.

        Errors: MalformedError `slicer-profile` for a profile that is not complete, or would run programs.
        """
        shipped = importlib.resources.files("platemark.agent.slicers") / "data" / PROFILE
        self._program = program
        self._profile = shipped.read_bytes() if profile is None else profile
        self._bounds = bounds or Bounds()
        self._memory = memory.memory_folder()
        if self._profile.count(b"\n") < _KEYS:
            raise MalformedError(
                "the slicer's profile does not have all keys",
                code="slicer-profile",
                hint="save a full one: prusa-slicer --load mine.ini --save full.ini",
            )
        if _DANGEROUS.search(self._profile):
            raise MalformedError(
                "the slicer's profile would run programs or send G-code elsewhere",
                code="slicer-profile",
                hint="remove post_process and print_host from it",
            )

    @functools.cached_property
    def version(self) -> str:
        """Its version, as it says itself."""
        finished = sandbox.run([str(self._program), "--help"], bounds=self._bounds, drop_privileges=False)
        found = _VERSION.search(finished.output + finished.messages)
        return found[1].decode() if found else "unknown"

    @property
    def profile_digest(self) -> Digest32:
        """SHA-256 of the profile's bytes."""
        return sha256(self._profile)

    @property
    def keeps(self) -> frozenset[Protection]:
        """Every protection where there is a folder in memory; else only `file`."""
        return frozenset(Protection) if self._memory is not None else frozenset({Protection.FILE})

    def slice(self, mesh: Mesh, volume_mm: tuple[Decimal, Decimal, Decimal], *, supports: bool = False) -> Sliced:
        """Return the G-code of a mesh; see `Slicer.slice`."""
        check_fits(check_mesh(mesh).size_mm, volume_mm, printer="the printer")
        with self._folder() as folder, _anonymous(write_stl(mesh)) as descriptor:
            (folder / "part.stl").symlink_to(f"/proc/self/fd/{descriptor}")
            (folder / "profile.ini").write_bytes(self._profile)
            _give_away(folder)
            finished = self._run(folder, descriptor, volume_mm, supports=supports)
            gcode = _result(finished, folder / "part.gcode")
        return Sliced(gcode, estimates_of(gcode), gcode.count(b"\n;LAYER_CHANGE"), ())

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        if self._memory is not None:
            with memory.private_folder(self._memory) as folder:
                yield folder
        else:
            with tempfile.TemporaryDirectory(prefix="platemark-") as made:
                yield Path(made)

    def _run(
        self, folder: Path, descriptor: int, volume_mm: tuple[Decimal, Decimal, Decimal], *, supports: bool
    ) -> Finished:
        width, depth, height = volume_mm
        return sandbox.run(
            [
                str(self._program),
                *("--datadir", str(folder / "data"), "--loglevel", "1", "--load", str(folder / "profile.ini")),
                *("--bed-shape", f"0x0,{width}x0,{width}x{depth},0x{depth}", "--max-print-height", str(height)),
                *("--center", f"{width / 2},{depth / 2}"),
                *(["--support-material"] if supports else []),
                *("-o", str(folder / "part.gcode"), "-g", str(folder / "part.stl")),
            ],
            bounds=self._bounds,
            environment={"HOME": str(folder), "TMPDIR": str(folder)},
            pass_fds=[descriptor],
            drop_privileges=True,
        )


@contextlib.contextmanager
def _anonymous(data: bytes) -> Iterator[int]:
    """Give a descriptor of a file that has no name anywhere, in memory where the system has that."""
    with contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("part")
            stack.callback(os.close, descriptor)
        else:
            descriptor = stack.enter_context(tempfile.TemporaryFile()).fileno()
        with open(descriptor, "wb", closefd=False) as stream:
            stream.write(data)
        yield descriptor


def _give_away(folder: Path) -> None:
    """Let the unprivileged user, as whom the program will run, work in its folder."""
    if os.geteuid() == 0:
        for path in (folder, folder / "profile.ini"):
            os.chown(path, _NOBODY, _NOBODY)


def _result(finished: Finished, path: Path) -> bytes:
    said = finished.output + finished.messages
    if any(sentence in said for sentence in _UNFIT):
        raise RefusedError(
            "the slicer finds no place for the part on the bed",
            kind=Kind.CONFLICT,
            code="part-does-not-fit",
            hint="choose a larger printer",
        )
    if finished.code > 0:
        raise MalformedError("the slicer refused the mesh", code="slicer-refused", hint="repair the mesh")
    try:
        with path.open("rb") as stream:
            gcode = stream.read(_MAX_GCODE_BYTES + 1)
    except FileNotFoundError as error:
        raise LocalError(f"the slicer ended with code {finished.code}", code="slicer-crashed") from error
    if finished.code != 0 or len(gcode) > _MAX_GCODE_BYTES:
        raise LocalError(f"the slicer ended with code {finished.code}", code="slicer-crashed")
    return gcode
