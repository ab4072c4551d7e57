"""Meshes of strangers: read within limits, and checked before anybody relies on them.

`read_mesh` says only that bytes follow a format; `check_mesh` says that the result bounds a solid that a
slicer can print. Open or inverted meshes pass many slicers silently and lose material, so they are refused.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from platemark.errors import Kind, MalformedError, RefusedError
from platemark.geometry.obj import read_obj
from platemark.geometry.stl import read_stl
from platemark.geometry.threemf import read_3mf
from platemark.geometry.triangles import LIMITS, Limits, Mesh, check_face_count, cross

if TYPE_CHECKING:
    from manifold3d import Manifold

__all__ = [
    "LIMITS",
    "MEDIA_TYPES",
    "Limits",
    "Mesh",
    "MeshFacts",
    "check_fits",
    "check_mesh",
    "mesh_of",
    "read_mesh",
    "solid_of",
    "turned",
    "turned_size",
]

MEDIA_TYPES: Final = {".stl": "model/stl", ".obj": "model/obj", ".3mf": "model/3mf"}
"""The endings that can be read, and what a manifest calls them."""

_MAX_COORDINATE_MM: Final = 100_000.0
_SMALLEST_VOLUME_MM3: Final = 1e-3
_SECTIONS: Final = 61
_REPAIR: Final = "repair it in the program that made it"


@dataclass(frozen=True, slots=True)
class MeshFacts:
    """What a sound mesh measures; rounded to micrometres and thousandths of mm³, so that they can be hashed."""

    size_mm: tuple[Decimal, Decimal, Decimal]
    volume_mm3: Decimal
    faces: int


def read_mesh(data: bytes, *, name: str, limits: Limits = LIMITS) -> Mesh:
    """Return the mesh in a file; its ending or media type says which format it must follow.

    Args:
        data: The whole file.
        name: A file name, or one of `MEDIA_TYPES`' values.
        limits: What reading may cost.

    Errors: MalformedError `mesh-format` for an unknown ending, `mesh-too-large`, and those of the formats.
    """
    if len(data) > limits.file_bytes:
        raise MalformedError(
            f"the file has {len(data):,} bytes, more than {limits.file_bytes:,}",
            code="mesh-too-large",
            hint="simplify it in the program that made it",
        )
    ending = PurePosixPath(name).suffix.lower()
    media_type = MEDIA_TYPES.get(ending, name)
    match media_type:
        case "model/stl":
            mesh = read_stl(data, limits=limits)
        case "model/obj":
            mesh = read_obj(data, limits=limits)
        case "model/3mf":
            mesh = read_3mf(data, limits=limits)
        case _:
            raise MalformedError(
                f"{name[:80]!r} is no mesh that can be read", code="mesh-format", hint="use STL, OBJ or 3MF"
            )
    check_face_count(len(mesh.faces), limits)
    return mesh


def check_mesh(mesh: Mesh) -> MeshFacts:
    """Return a mesh's measures; afterwards it is known to bound a solid of positive volume.

    Checked in this order: it has triangles, finite coordinates within 100 m, every edge belongs to exactly
    two faces of one sense, no vertex pinches (Manifold's own test), the volume is positive, and at 61 heights
    no region is covered twice or inside out (overlaps thinner than a sixtieth of the height may be missed).

    Errors: MalformedError `mesh-empty`, `mesh-not-finite`, `mesh-extent`, `mesh-open`, `mesh-not-manifold`,
        `mesh-winding`, `mesh-inside-out`, `mesh-no-volume`, `mesh-self-intersecting`.
    """
    if not len(mesh.faces):
        raise MalformedError("the mesh has no triangles", code="mesh-empty", hint="export the part again")
    if not np.isfinite(mesh.vertices).all():
        raise MalformedError("a coordinate of the mesh is not a number", code="mesh-not-finite", hint=_REPAIR)
    if float(np.abs(mesh.vertices).max()) > _MAX_COORDINATE_MM:
        raise MalformedError(
            "the mesh reaches beyond 100 m", code="mesh-extent", hint="export it in millimetres, near the origin"
        )
    _check_edges(mesh.faces)
    volume = _signed_volume(mesh)
    if volume < -_SMALLEST_VOLUME_MM3:
        raise MalformedError("the mesh is inside out", code="mesh-inside-out", hint="flip its normals")
    if volume < _SMALLEST_VOLUME_MM3:
        raise MalformedError("the mesh encloses no volume", code="mesh-no-volume", hint=_REPAIR)
    _check_sections(mesh, solid_of(mesh))
    low, high = mesh.bounds()
    x, y, z = (_rounded(length) for length in high - low)
    return MeshFacts((x, y, z), _rounded(volume), len(mesh.faces))


def check_fits(size_mm: Sequence[Decimal], volume_mm: Sequence[Decimal], *, printer: str) -> None:
    """Refuse a part that is larger than a printer's build volume, as it stands (x, y, z in mm).

    Errors: RefusedError `part-does-not-fit`.
    """
    if any(part > room for part, room in zip(size_mm, volume_mm, strict=True)):
        raise RefusedError(
            f"the part is {_times(size_mm)} mm, {printer} builds {_times(volume_mm)} mm",
            kind=Kind.CONFLICT,
            code="part-does-not-fit",
            hint="choose a larger printer",
        )


def turned(mesh: Mesh, degrees: tuple[int, int, int]) -> Mesh:
    """Return a mesh turned by whole degrees about the fixed axes x, then y, then z; right angles are exact."""
    return Mesh(mesh.vertices @ _turn(degrees).T, mesh.faces) if any(degrees) else mesh


def turned_size(
    size_mm: tuple[Decimal, Decimal, Decimal], degrees: tuple[int, int, int]
) -> tuple[Decimal, Decimal, Decimal]:
    """Return the size of the box around a turned box: exact for right angles, else what a part needs at most."""
    needed = np.abs(_turn(degrees)) @ np.array([float(side) for side in size_mm])
    x, y, z = (_rounded(float(side)) for side in needed)
    return x, y, z


def solid_of(mesh: Mesh) -> "Manifold":
    """Return the mesh as a Manifold solid.

    Errors: MalformedError `mesh-not-manifold` when it bounds none.
    """
    from manifold3d import Error, Manifold
    from manifold3d import Mesh as ManifoldMesh

    solid = Manifold(
        ManifoldMesh(
            vert_properties=np.ascontiguousarray(mesh.vertices, dtype=np.float32),
            tri_verts=np.ascontiguousarray(mesh.faces, dtype=np.uint32),
        )
    )
    if solid.status() != Error.NoError or solid.is_empty():
        raise MalformedError("the mesh does not bound a solid", code="mesh-not-manifold", hint=_REPAIR)
    return solid


def mesh_of(solid: "Manifold") -> Mesh:
    """Return a Manifold solid as a mesh, mm."""
    made = solid.to_mesh()
    return Mesh(made.vert_properties[:, :3].astype(np.float64), made.tri_verts.astype(np.int64))


def _check_edges(faces: NDArray[np.int64]) -> None:
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    low, high = directed.min(axis=1), directed.max(axis=1)
    key = low * (int(faces.max()) + 1) + high
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    if (open_edges := int((counts % 2).sum())) > 0:
        raise MalformedError(f"the mesh is open: {open_edges:,} edges have one face", code="mesh-open", hint=_REPAIR)
    if (counts > 2).any():
        raise MalformedError(
            f"{int((counts > 2).sum()):,} edges of the mesh have more than two faces",
            code="mesh-not-manifold",
            hint=_REPAIR,
        )
    sense = np.where(directed[:, 0] < directed[:, 1], 1, -1)
    if np.bincount(inverse.ravel(), weights=sense).any():
        raise MalformedError("neighbouring faces of the mesh disagree on outside", code="mesh-winding", hint=_REPAIR)


def _signed_volume(mesh: Mesh) -> float:
    corners = mesh.triangles() - mesh.bounds()[0]
    return float(np.einsum("ij,ij->i", corners[:, 0], cross(corners[:, 1], corners[:, 2])).sum() / 6)


def _check_sections(mesh: Mesh, solid: "Manifold") -> None:
    """Compare, at many heights, the area as the faces wind around it with the area that is really covered."""
    corners = mesh.triangles()
    lowest, highest = corners[:, :, 2].min(axis=1), corners[:, :, 2].max(axis=1)
    bottom, top = float(lowest.min()), float(highest.max())
    for step in range(_SECTIONS):
        height = bottom + (top - bottom) * (step + 0.4142) / _SECTIONS
        wound = _wound_area(corners[(lowest <= height) & (highest > height)], height)
        covered = solid.slice(height).area()
        if abs(wound - covered) > 0.01 + 1e-3 * covered:
            raise MalformedError(
                f"the mesh overlaps itself {height - bottom:.2f} mm above its lowest point",
                code="mesh-self-intersecting",
                hint="unite its bodies in the program that made it",
            )


def _wound_area(crossing: NDArray[np.float64], height: float) -> float:
    """Return the area inside the section of triangles that cross a height, each region as often as it is wound."""
    over = crossing[:, :, 2] > height
    start = np.zeros((len(crossing), 2))
    end = np.zeros((len(crossing), 2))
    for side in range(3):
        a, b = crossing[:, side], crossing[:, (side + 1) % 3]
        up = ~over[:, side] & over[:, (side + 1) % 3]
        down = over[:, side] & ~over[:, (side + 1) % 3]
        for hits, target in ((up, end), (down, start)):
            part = (height - a[hits, 2]) / (b[hits, 2] - a[hits, 2])
            target[hits] = a[hits, :2] + part[:, None] * (b[hits, :2] - a[hits, :2])
    return float((start[:, 0] * end[:, 1] - start[:, 1] * end[:, 0]).sum() / 2)


def _rounded(value: float) -> Decimal:
    return Decimal(f"{value:.3f}")


def _turn(degrees: tuple[int, int, int]) -> NDArray[np.float64]:
    turn = np.eye(3)
    for axis, angle in enumerate(degrees):
        cosine, sine = (float(round(f, 15)) for f in (math.cos(math.radians(angle)), math.sin(math.radians(angle))))
        about = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        about[i, i] = about[j, j] = cosine
        about[j, i], about[i, j] = sine, -sine
        turn = about @ turn
    return turn


def _times(lengths: Sequence[Decimal]) -> str:
    return " x ".join(f"{length:f}" for length in lengths)
