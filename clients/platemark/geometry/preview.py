"""A picture of a part, drawn without a display or a graphics card.

A small z-buffer in numpy: parallel projection, two lights, dark lines where depth jumps. It is good enough to
recognise a part by; manifests carry such pictures and never a mesh.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from platemark.geometry.triangles import Mesh, cross

_Array = NDArray[np.float64]
_Indices = NDArray[np.int64]

_AZIMUTH: Final = np.radians(-40.0)
_ELEVATION: Final = np.radians(28.0)
_SUPERSAMPLING: Final = 2
_FILL: Final = 0.86
_COLOR: Final = np.array([74.0, 144.0, 217.0])
_BACKGROUND: Final = 255.0
_AMBIENT: Final = 0.28
_HEAD_LIGHT: Final = 0.30
_KEY_LIGHT: Final = 0.55
_KEY_DIRECTION: Final = np.array([0.35, -0.6, 0.72]) / np.linalg.norm([0.35, -0.6, 0.72])
_EDGE_SHADE: Final = 0.55
_PIXELS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class _Projected:
    """A mesh seen by the camera: pixel coordinates and depth per corner, brightness per face, front faces only."""

    x: _Array
    y: _Array
    depth: _Array
    light: _Array


def render_png(mesh: Mesh, *, size_pixels: int = 512) -> bytes:
    """Return a square picture of a mesh as PNG; equal meshes give equal bytes on one version of Pillow."""
    from PIL import Image

    side = size_pixels * _SUPERSAMPLING
    scene = _project(mesh, side)
    nearest, owner = _rasterize(scene, side)
    shaded = np.full((side * side, 3), _BACKGROUND)
    hit = owner >= 0
    shaded[hit] = _COLOR * scene.light[owner[hit], None]
    shaded[_edges(nearest, scene, side)] *= _EDGE_SHADE
    pixels = shaded.reshape(size_pixels, _SUPERSAMPLING, size_pixels, _SUPERSAMPLING, 3).mean(axis=(1, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _project(mesh: Mesh, side: int) -> _Projected:
    toward = np.array(
        [np.cos(_ELEVATION) * np.cos(_AZIMUTH), np.cos(_ELEVATION) * np.sin(_AZIMUTH), np.sin(_ELEVATION)]
    )
    right = np.cross([0.0, 0.0, 1.0], toward)
    right /= np.linalg.norm(right)
    up = np.cross(toward, right)
    seen = mesh.vertices @ np.stack([right, up, toward], axis=1)
    low, high = seen.min(axis=0), seen.max(axis=0)
    scale = _FILL * side / max(float((high - low)[:2].max()), 1e-9)
    middle = (low + high) / 2
    x = (seen[:, 0] - middle[0]) * scale + side / 2
    y = side / 2 - (seen[:, 1] - middle[1]) * scale

    corners = mesh.triangles()
    normals = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    front = normals @ toward > 0
    faces, normals = mesh.faces[front], normals[front]
    light = _AMBIENT + _HEAD_LIGHT * (normals @ toward) + _KEY_LIGHT * (normals @ _KEY_DIRECTION).clip(0)
    return _Projected(x[faces], y[faces], seen[:, 2][faces], light.clip(0, 1))


def _rasterize(scene: _Projected, side: int) -> tuple[_Array, _Indices]:
    """Return, for every pixel, the depth of the nearest face and that face's index (-1: none)."""
    nearest = np.full(side * side, -np.inf)
    owner = np.full(side * side, -1, dtype=np.int64)
    left = np.floor(scene.x.min(axis=1)).astype(np.int64).clip(0, side - 1)
    top = np.floor(scene.y.min(axis=1)).astype(np.int64).clip(0, side - 1)
    width = np.ceil(scene.x.max(axis=1)).astype(np.int64).clip(0, side - 1) - left + 1
    height = np.ceil(scene.y.max(axis=1)).astype(np.int64).clip(0, side - 1) - top + 1
    extent = np.maximum(width, height)
    smaller = 0
    while smaller < side:  # faces of about one size together: each is tested on the same small square of pixels
        larger = max(4, smaller * 2)
        group = np.nonzero((extent > smaller) & (extent <= larger))[0]
        batch = max(1, _PIXELS_AT_ONCE // larger**2)
        for start in range(0, len(group), batch):
            faces = group[start : start + batch]
            _draw(scene, faces, (left, top), int(extent[faces].max()), nearest, owner)
        smaller = larger
    return nearest, owner


def _draw(
    scene: _Projected,
    faces: _Indices,
    origin: tuple[_Indices, _Indices],
    square: int,
    nearest: _Array,
    owner: _Indices,
) -> None:
    side = int(np.sqrt(len(nearest)))
    step = np.arange(square)
    column = origin[0][faces][:, None, None] + step[None, None, :]
    row = origin[1][faces][:, None, None] + step[None, :, None]
    middle_x: _Array = column.astype(np.float64) + 0.5
    middle_y: _Array = row.astype(np.float64) + 0.5
    weights = _barycentric(scene.x[faces], scene.y[faces], middle_x, middle_y)
    inside = (weights >= -1e-9).all(axis=0) & (column < side) & (row < side)
    depth = np.einsum("knij,nk->nij", weights, scene.depth[faces])
    which = np.nonzero(inside)[0]
    pixel = (row * side + column)[inside]
    found = depth[inside]
    order = np.argsort(found, kind="stable")  # far first: of several writes to a pixel the last, nearest one stays
    pixel, found, which = pixel[order], found[order], which[order]
    wins = found > nearest[pixel]
    nearest[pixel[wins]] = found[wins]
    owner[pixel[wins]] = faces[which[wins]]


def _barycentric(x: _Array, y: _Array, px: _Array, py: _Array) -> _Array:
    """Return the three weights of points in their triangles, shape (3, n, rows, columns); all ≥ 0 is inside."""
    ax, bx, cx = (x[:, corner, None, None] for corner in range(3))
    ay, by, cy = (y[:, corner, None, None] for corner in range(3))
    area = (by - cy) * (ax - cx) + (cx - bx) * (ay - cy)
    area = np.where(np.abs(area) < 1e-12, 1e-12, area)
    first = ((by - cy) * (px - cx) + (cx - bx) * (py - cy)) / area
    second = ((cy - ay) * (px - cx) + (ax - cx) * (py - cy)) / area
    return np.stack([first, second, 1 - first - second])


def _edges(nearest: _Array, scene: _Projected, side: int) -> NDArray[np.bool_]:
    """Return the pixels where depth jumps by more than three hundredths of the part's depth."""
    known = np.isfinite(nearest)
    if not known.any():
        return np.zeros(side * side, dtype=np.bool_)
    depth = np.where(known, nearest, nearest[known].min() - 20).reshape(side, side)
    jump = max(float(np.ptp(scene.depth)) * 0.03, 0.5)
    edge = np.zeros((side, side), dtype=np.bool_)
    edge[:, 1:] |= np.abs(np.diff(depth, axis=1)) > jump
    edge[1:] |= np.abs(np.diff(depth, axis=0)) > jump
    return edge.ravel()
