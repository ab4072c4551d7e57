"""STL, the two forms of it: binary (84 + 50 n bytes) and text.

The binary form is told by its length, never by its first word: many programs begin binary files with `solid`.
Attribute bytes and stored normals are ignored when reading and zero or computed when writing.
"""

import re
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from platemark.errors import MalformedError
from platemark.geometry.triangles import LIMITS, Limits, Mesh, check_face_count, cross, welded

_HEADER_BYTES: Final = 84
_RECORD: Final = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VERTEX: Final = re.compile(rb"\bvertex\s+(\S{1,40})\s+(\S{1,40})\s+(\S{1,40})")
_EXPORT_AGAIN: Final = "export it again as binary STL"


def read_stl(data: bytes, *, limits: Limits = LIMITS) -> Mesh:
    """Return the mesh of an STL file, corners welded.

    Errors: MalformedError `stl-length` when header and length disagree, `stl-text` for broken text,
        `mesh-too-large` above the limits.
    """
    if len(data) >= _HEADER_BYTES:
        (count,) = struct.unpack_from("<I", data, 80)
        if len(data) == _HEADER_BYTES + _RECORD.itemsize * count:
            check_face_count(count, limits)
            records = np.frombuffer(data, _RECORD, count, _HEADER_BYTES)
            return welded(records["corners"].astype(np.float64))
        if not _is_text(data):
            fits = (len(data) - _HEADER_BYTES) // _RECORD.itemsize
            raise MalformedError(
                f"the STL header says {count:,} triangles, the file has room for {fits:,}",
                code="stl-length",
                hint=_EXPORT_AGAIN,
            )
    if not _is_text(data):
        raise MalformedError("this is no STL file", code="stl-length", hint=_EXPORT_AGAIN)
    return _read_text(data, limits)


def write_stl(mesh: Mesh) -> bytes:
    """Return the mesh as binary STL, 84 + 50 n bytes, a function of the mesh alone.

    Coordinates are rounded to single precision, as the format demands; the header is all zeros, so that
    nothing of the source file travels along.
    """
    corners = mesh.triangles().astype("<f4")
    records = np.zeros(len(corners), _RECORD)
    records["corners"] = corners
    records["normal"] = _normals(corners)
    return bytes(80) + struct.pack("<I", len(records)) + records.tobytes()


def _normals(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    wide = corners.astype(np.float64)
    normals = cross(wide[:, 1] - wide[:, 0], wide[:, 2] - wide[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0).astype("<f4")
    return unit + np.float32(0)


def _is_text(data: bytes) -> bool:
    head = data[:4096].lstrip()
    return head.startswith(b"solid") and b"\0" not in head


def _read_text(data: bytes, limits: Limits) -> Mesh:
    count = data.count(b"endfacet")
    check_face_count(count, limits)
    if b"endsolid" not in data:
        raise MalformedError("the STL text ends early", code="stl-text", hint=_EXPORT_AGAIN)
    found = _VERTEX.findall(data)
    if len(found) != 3 * count:
        raise MalformedError(
            f"the STL text has {len(found):,} corners for {count:,} triangles", code="stl-text", hint=_EXPORT_AGAIN
        )
    try:
        corners = np.array(found, dtype="S40").astype(np.float64)
    except ValueError as error:
        raise MalformedError("a corner of the STL text is not a number", code="stl-text", hint=_EXPORT_AGAIN) from error
    return welded(corners.reshape(-1, 3, 3).astype(np.float32).astype(np.float64))
