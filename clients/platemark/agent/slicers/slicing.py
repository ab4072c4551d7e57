"""What every slicer of ours does: a checked mesh in, G-code in memory out.

A slicer says which protections of a licence it can keep; `choice` asks before anything is redeemed. G-code is
bytes in memory; whether and where it is ever written is the printer's matter, under the same protection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from platemark.errors import Kind, RefusedError
from platemark.geometry.triangles import Mesh
from platemark.protocol.license_terms import Protection
from platemark.protocol.units import Digest32


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a slicer expects of a print, from its own arithmetic; a printer reports what it really did."""

    grams: Decimal
    duration_seconds: int


@dataclass(frozen=True, slots=True)
class Sliced:
    """G-code and what is known of it; the digest of two runs of a real slicer may differ."""

    gcode: bytes
    estimates: Estimates
    layers: int
    warnings: Sequence[str]

    def __repr__(self) -> str:
        return f"Sliced({len(self.gcode)} bytes, {self.estimates})"


class Slicer(Protocol):
    """A program that turns a mesh into G-code."""

    @property
    def name(self) -> str:
        """What receipts call it, such as `prusa-slicer`."""
        ...

    @property
    def version(self) -> str:
        """Its version, as it says itself."""
        ...

    @property
    def profile_digest(self) -> Digest32:
        """SHA-256 of the settings' bytes."""
        ...

    @property
    def keeps(self) -> frozenset[Protection]:
        """The protections that it can keep on this machine."""
        ...

    @property
    def makes_supports(self) -> bool:
        """Whether it can support overhangs."""
        ...

    def slice(self, mesh: Mesh, volume_mm: tuple[Decimal, Decimal, Decimal], *, supports: bool = False) -> Sliced:
        """Return the G-code of a mesh in the middle of a printer's bed; orientation is the mesh's.

        Args:
            mesh: Checked and turned as it shall lie.
            volume_mm: The printer's build volume: x, y, z in mm.
            supports: Whether overhangs shall be supported.

        Errors: RefusedError `part-does-not-fit`, `supports-not-made`; MalformedError `slicer-refused`; LocalError
            `slicer-timeout`, `slicer-crashed`, `slicer-missing`.
        """
        ...


def supports_not_made() -> RefusedError:
    """Return the refusal of a slicer that makes no supports."""
    return RefusedError(
        "the design needs supports, which the basic slicer does not make",
        kind=Kind.FORBIDDEN,
        code="supports-not-made",
        hint="install PrusaSlicer",
    )
