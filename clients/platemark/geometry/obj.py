"""Wavefront OBJ: vertices and faces only; materials, groups and textures are passed over."""

from typing import Final

import numpy as np

from platemark.errors import MalformedError
from platemark.geometry.triangles import LIMITS, Limits, Mesh, check_face_count, without_collapsed

_MAX_CORNERS: Final = 64
_EXPORT_AGAIN: Final = "export it again as STL"


def read_obj(data: bytes, *, limits: Limits = LIMITS) -> Mesh:
    """Return the mesh of an OBJ file; faces of up to 64 corners become fans of triangles. The unit is mm.

    Errors: MalformedError `obj-text` for broken lines or indices out of range, `mesh-too-large`.
    """
    points: list[tuple[float, float, float]] = []
    faces: list[tuple[int, int, int]] = []
    for number, line in enumerate(data.splitlines(), 1):
        words = line.split()
        if not words or words[0] not in {b"v", b"f"}:
            continue
        try:
            if words[0] == b"v":
                points.append((float(words[1]), float(words[2]), float(words[3])))
            else:
                faces.extend(_fan(words[1:], len(points)))
        except (ValueError, IndexError) as error:
            raise MalformedError(f"line {number} of the OBJ is broken", code="obj-text", hint=_EXPORT_AGAIN) from error
        check_face_count(len(faces), limits)
        if len(points) > 3 * limits.faces:
            check_face_count(len(points) // 3 + 1, limits)
    corners = np.array(faces, dtype=np.int64).reshape(-1, 3)
    if corners.size and int(corners.max()) >= len(points):
        raise MalformedError("a face of the OBJ names an unknown vertex", code="obj-text", hint=_EXPORT_AGAIN)
    return Mesh(np.array(points, dtype=np.float64).reshape(-1, 3), without_collapsed(corners))


def _fan(words: list[bytes], known: int) -> list[tuple[int, int, int]]:
    if not 3 <= len(words) <= _MAX_CORNERS:
        raise ValueError(len(words))
    corners = [_index(int(word.split(b"/")[0]), known) for word in words]
    return [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]


def _index(value: int, known: int) -> int:
    """Return a zero-based index: 1 is the first vertex, -1 the last one read so far."""
    index = value - 1 if value > 0 else known + value
    if value == 0 or not 0 <= index < 1 << 31:
        raise ValueError(value)
    return index
