"""A triangle mesh in millimetres, and the limits within which files of strangers are read."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from platemark.errors import MalformedError

Vertices = NDArray[np.float64]
"""Points, shape (n, 3), millimetres."""
Faces = NDArray[np.int64]
"""Corner indices of triangles, shape (m, 3), anticlockwise seen from outside."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may cost before and while it is read."""

    file_bytes: int = 256 << 20
    unpacked_bytes: int = 512 << 20
    faces: int = 2_000_000
    archive_entries: int = 1_000
    compression_ratio: int = 1_000
    nesting: int = 16


_MIXERS: Final = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)

LIMITS: Final = Limits()
"""The limits that every program of ours uses; tests pass smaller ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Vertices and faces as they were read; nothing is known of their soundness before `check_mesh`."""

    vertices: Vertices
    faces: Faces

    def bounds(self) -> tuple[Vertices, Vertices]:
        """Return the lowest and the highest corner of the box around the mesh, mm."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def triangles(self) -> NDArray[np.float64]:
        """Return the corners of every triangle, shape (m, 3, 3), mm."""
        corners: NDArray[np.float64] = self.vertices[self.faces]
        return corners


def check_face_count(count: int, limits: Limits) -> None:
    """Refuse more triangles than the limits allow, before memory is taken for them.

    Errors: MalformedError `mesh-too-large`.
    """
    if count > limits.faces:
        raise MalformedError(
            f"the mesh has {count:,} triangles, more than {limits.faces:,}",
            code="mesh-too-large",
            hint="simplify it in the program that made it",
        )


def welded(corners: NDArray[np.float64]) -> Mesh:
    """Return the mesh of a triangle soup: equal corners become one vertex, collapsed triangles go.

    Args:
        corners: Shape (m, 3, 3), mm. Corners are equal when their coordinates are, bit for bit (0 and -0 are).
    """
    points = np.ascontiguousarray(corners.reshape(-1, 3)) + 0.0  # turns -0.0 into 0.0
    words = points.view(np.uint64)
    folded = words ^ (words >> np.uint64(32))  # the low bits of what was single precision are all zero
    keys = (folded * _MIXERS).sum(axis=1, dtype=np.uint64)
    first, inverse = _unique(keys)
    if not np.array_equal(words[first][inverse], words):  # two different corners have one key: compare them whole
        first, inverse = _unique(points.view(np.dtype((np.void, 24))).ravel())
    order = np.argsort(first)  # vertices in the order in which the file names them
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Mesh(points[first[order]], without_collapsed(rank[inverse].reshape(-1, 3)))


def cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cross products of rows, shape (n, 3); numpy's own takes several times as long."""
    product = np.empty_like(a)
    product[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    product[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    product[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product


def _unique(keys: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each distinct key first stands, and for each key which distinct one it is."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first, inverse.ravel()


def without_collapsed(faces: NDArray[np.int64]) -> Faces:
    """Return the faces whose three corners differ; dropping the others leaves a closed mesh closed."""
    a, b, c = faces.T
    kept: Faces = np.ascontiguousarray(faces[(a != b) & (b != c) & (c != a)], dtype=np.int64)
    return kept
