"""The basic slicer: our own, on manifold3d, for machines without a real one.

It runs as a process of its own, fed by a pipe, so that it writes nothing anywhere and takes nobody along when it
crashes. The same mesh and profile give the same G-code. It makes no supports; receipts name it `platemark-basic`,
so that nobody takes its print for that of a real slicer.
"""

import sys
from decimal import Decimal
from typing import Final

from platemark.agent.slicers import sandbox
from platemark.agent.slicers.basic_profile import BasicProfile
from platemark.agent.slicers.gcode_comments import estimates_of, number_of
from platemark.agent.slicers.sandbox import Bounds
from platemark.agent.slicers.slicing import Sliced, supports_not_made
from platemark.errors import LocalError, MalformedError
from platemark.geometry.mesh import check_fits, check_mesh
from platemark.geometry.stl import write_stl
from platemark.geometry.triangles import Mesh
from platemark.protocol import canonical
from platemark.protocol.decimals import decimal_text
from platemark.protocol.license_terms import Protection
from platemark.protocol.units import Digest32

_VERSION: Final = "1.0"  # rises whenever the same input gives other G-code
_DATA_ERROR: Final = 65  # EX_DATAERR of sysexits.h


class BasicSlicer:
    """Slices in memory; keeps every protection."""

    name = "platemark-basic"
    version = _VERSION
    keeps = frozenset(Protection)
    makes_supports = False

    def __init__(self, profile: BasicProfile | None = None, *, bounds: Bounds | None = None) -> None:
        self._profile = profile or BasicProfile()
        self._bounds = bounds or Bounds()

    @property
    def profile_digest(self) -> Digest32:
        """SHA-256 of the settings' bytes."""
        return self._profile.digest()

    def slice(self, mesh: Mesh, volume_mm: tuple[Decimal, Decimal, Decimal], *, supports: bool = False) -> Sliced:
        """Return the G-code of a mesh; see `Slicer.slice`."""
        if supports:
            raise supports_not_made()
        check_fits(check_mesh(mesh).size_mm, volume_mm, printer="the printer")
        job = b"".join((*(_counted(part) for part in (self._profile.to_bytes(), _bed(volume_mm))), write_stl(mesh)))
        finished = sandbox.run(
            [sys.executable, "-I", "-m", "platemark.agent.slicers.toolpaths"],
            bounds=self._bounds,
            stdin=job,
            environment={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            drop_privileges=False,  # the program does so itself, once its libraries are loaded
        )
        if finished.code == _DATA_ERROR:
            raise MalformedError("the slicer refused the mesh", code="slicer-refused", hint="repair the mesh")
        if finished.code != 0:
            raise LocalError(f"the slicer ended with code {finished.code}", code="slicer-crashed")
        unsupported = number_of(finished.output, "unsupported layers")
        warnings = (f"{unsupported} layers overhang and have no supports",) if unsupported else ()
        return Sliced(finished.output, estimates_of(finished.output), number_of(finished.output, "layers"), warnings)


def _counted(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _bed(volume_mm: tuple[Decimal, Decimal, Decimal]) -> bytes:
    return canonical.encode([decimal_text(side) for side in volume_mm[:2]])
