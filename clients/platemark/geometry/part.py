"""The part that ships with Platemark: a stiffened angle bracket, made by this script.

Two plates of 4 mm at a right angle with a filleted inner corner and rounded outer corners; two screw holes of
4.3 mm in the base, countersunk for M4; a slot and a hole of 5.3 mm in the upright; a gusset between them.
32 x 24 x 26 mm. `python -m platemark.geometry.part FILE` writes it; `load_part` reads the shipped copy.
"""

import importlib.resources
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from platemark.geometry.mesh import mesh_of
from platemark.geometry.stl import write_stl
from platemark.geometry.triangles import Mesh

if TYPE_CHECKING:
    from manifold3d import CrossSection, Manifold

PART_NAME: Final = "angle-bracket.stl"

_LENGTH, _WIDTH, _HEIGHT = 32.0, 24.0, 26.0
_PLATE: Final = 4.0
_FILLET: Final = 3.0
_CORNER: Final = 4.0
_SEGMENTS: Final = 48
_M4_CLEARANCE: Final = 4.3
_M4_HEAD: Final = 8.4
_M5_CLEARANCE: Final = 5.3


def load_part() -> bytes:
    """Return the shipped STL file's bytes."""
    return (importlib.resources.files("platemark.geometry") / "data" / PART_NAME).read_bytes()


def make_part() -> Mesh:
    """Return the bracket, standing on its base: x from 0 to 32, y from 0 to 24, z from 0 to 26 mm."""
    body = (_angle() + _gusset()) ^ _rounded_block()
    for y in (_WIDTH / 2 - 7, _WIDTH / 2 + 7):
        body -= _countersunk_hole(22.0, y)
    return mesh_of(body - _slot(17.0) - _pin_hole(17.0))


def _angle() -> "Manifold":
    """Return the two plates; closing the profile with a round offset leaves a fillet in the inner corner."""
    from manifold3d import CrossSection, JoinType

    base = CrossSection.square((_LENGTH, _PLATE))
    upright = CrossSection.square((_PLATE, _HEIGHT))
    profile = (
        (base + upright)
        .offset(_FILLET, JoinType.Miter, 4.0)
        .offset(-_FILLET, JoinType.Round, circular_segments=_SEGMENTS)
    )
    return _standing(profile, _WIDTH, 0.0)


def _gusset() -> "Manifold":
    from manifold3d import CrossSection

    triangle = CrossSection([np.array([[_PLATE - 1, _PLATE - 1], [17.0, _PLATE - 1], [_PLATE - 1, 16.0]])])
    return _standing(triangle, 3.0, (_WIDTH - 3.0) / 2)


def _rounded_block() -> "Manifold":
    """Return the outline that rounds the far corners of both plates."""
    from manifold3d import CrossSection, Manifold

    floor = _rounded(_LENGTH, _WIDTH)
    wall = _rounded(_HEIGHT, _WIDTH)
    across = Manifold.extrude(wall, _LENGTH).rotate((0.0, -90.0, 0.0)).translate((_LENGTH, 0.0, 0.0))
    square_half = CrossSection.square((_LENGTH - _CORNER, _WIDTH))
    return Manifold.extrude(floor + square_half, _HEIGHT) ^ (
        across + Manifold.extrude(CrossSection.square((_LENGTH, _WIDTH)), _HEIGHT - _CORNER)
    )


def _rounded(length: float, width: float) -> "CrossSection":
    from manifold3d import CrossSection, JoinType

    inner = CrossSection.square((length - 2 * _CORNER, width - 2 * _CORNER)).translate((_CORNER, _CORNER))
    return inner.offset(_CORNER, JoinType.Round, circular_segments=_SEGMENTS)


def _countersunk_hole(x: float, y: float) -> "Manifold":
    from manifold3d import Manifold

    depth = (_M4_HEAD - _M4_CLEARANCE) / 2
    bore = Manifold.cylinder(_PLATE + 2, _M4_CLEARANCE / 2, circular_segments=_SEGMENTS).translate((0.0, 0.0, -1.0))
    sink = Manifold.cylinder(depth + 0.01, _M4_CLEARANCE / 2, _M4_HEAD / 2, _SEGMENTS)
    return (bore + sink.translate((0.0, 0.0, _PLATE - depth))).translate((x, y, 0.0))


def _slot(z: float) -> "Manifold":
    """Return an upright slot of 6 mm travel on the left of the gusset."""
    from manifold3d import CrossSection

    end = CrossSection.circle(_M5_CLEARANCE / 2, _SEGMENTS)
    outline = CrossSection.batch_hull([end.translate((z - 2.0, 0.0)), end.translate((z + 3.0, 0.0))])
    return _through_upright(outline, _WIDTH / 2 - 6.5)


def _pin_hole(z: float) -> "Manifold":
    from manifold3d import CrossSection

    return _through_upright(CrossSection.circle(_M5_CLEARANCE / 2, _SEGMENTS).translate((z, 0.0)), _WIDTH / 2 + 6.5)


def _through_upright(outline: "CrossSection", y: float) -> "Manifold":
    """Return an outline drawn in (z, y) as a prism through the upright plate."""
    from manifold3d import Manifold

    return Manifold.extrude(outline, _PLATE + 2).rotate((0.0, -90.0, 0.0)).translate((_PLATE + 1, y, 0.0))


def _standing(profile: "CrossSection", thickness: float, y: float) -> "Manifold":
    """Return a profile drawn in (x, z), `thickness` mm deep along y from `y` on."""
    from manifold3d import Manifold

    return Manifold.extrude(profile, thickness).rotate((90.0, 0.0, 0.0)).translate((0.0, y + thickness, 0.0))


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(write_stl(make_part()))
