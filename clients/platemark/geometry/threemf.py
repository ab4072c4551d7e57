"""3MF: the geometry of its core specification and nothing else.

A 3MF is an archive that may carry settings, scripts and thumbnails of slicers; only the model part is opened.
Its XML may have no document type, so no entities either; every size is counted while it is unpacked, never
believed; nested components are counted before they are built.

Source: 3MF Core Specification 1.3.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from platemark.errors import MalformedError
from platemark.geometry.triangles import LIMITS, Limits, Mesh, check_face_count, without_collapsed

_CORE: Final = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
_RELATIONSHIPS: Final = "{http://schemas.openxmlformats.org/package/2006/relationships}"
_MODEL_RELATION: Final = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
_PRODUCTION: Final = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
_UNITS_MM: Final = {
    "micron": 0.001,
    "millimeter": 1.0,
    "centimeter": 10.0,
    "inch": 25.4,
    "foot": 304.8,
    "meter": 1000.0,
}
_EXPORT_AGAIN: Final = "export it again as STL, or as 3MF with the core specification only"

_BROKEN_ARCHIVE: Final = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, OSError, OverflowError, RuntimeError, ValueError),
)
"""What zipfile raises for archives that are damaged, encrypted or packed in ways that it does not know."""

Transform = NDArray[np.float64]
"""Shape (4, 3): a row vector (x, y, z, 1) times it is the moved point."""


@dataclass(slots=True)
class _Object:
    """A resource: a mesh, or other resources with their places."""

    kind: str
    points: list[tuple[float, float, float]] = field(default_factory=list)
    corners: list[tuple[int, int, int]] = field(default_factory=list)
    components: list[tuple[str, Transform]] = field(default_factory=list)


@dataclass(slots=True)
class _Model:
    scale: float
    objects: dict[str, _Object]
    items: list[tuple[str, Transform]]


def read_3mf(data: bytes, *, limits: Limits = LIMITS) -> Mesh:
    """Return all build items of a 3MF as one mesh, each in its place, mm.

    Errors: MalformedError `threemf-archive`, `threemf-bomb`, `threemf-document-type`, `threemf-xml`,
        `threemf-model`, `threemf-extension`, `mesh-too-large`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            xml = _unpack_model(archive, limits)
    except _BROKEN_ARCHIVE as error:
        raise MalformedError(
            "the 3MF's archive is broken or encrypted", code="threemf-archive", hint=_EXPORT_AGAIN
        ) from error
    return _assembled(_parse_model(xml, limits), limits)


def _unpack_model(archive: zipfile.ZipFile, limits: Limits) -> bytes:
    entries = archive.infolist()
    if len(entries) > limits.archive_entries:
        raise MalformedError(f"the 3MF has {len(entries)} entries", code="threemf-bomb", hint=_EXPORT_AGAIN)
    if len({entry.filename for entry in entries}) != len(entries):
        raise MalformedError("the 3MF has an entry twice", code="threemf-archive", hint=_EXPORT_AGAIN)
    relations = _unpack(archive, "_rels/.rels", limits)
    for _, element in _events(relations):
        if element.tag == _RELATIONSHIPS + "Relationship" and element.get("Type") == _MODEL_RELATION:
            return _unpack(archive, (element.get("Target") or "").lstrip("/"), limits)
    raise MalformedError("the 3MF names no model", code="threemf-model", hint=_EXPORT_AGAIN)


def _unpack(archive: zipfile.ZipFile, name: str, limits: Limits) -> bytes:
    try:
        entry = archive.getinfo(name)
    except KeyError as error:
        raise MalformedError(
            "the 3MF lacks a part that it names", code="threemf-archive", hint=_EXPORT_AGAIN
        ) from error
    most = min(limits.unpacked_bytes, limits.compression_ratio * max(entry.compress_size, 1))
    with archive.open(entry) as stream:
        unpacked = stream.read(most + 1)
    if len(unpacked) > most:
        raise MalformedError("the 3MF unpacks to far more than its size", code="threemf-bomb", hint=_EXPORT_AGAIN)
    return unpacked


def _events(xml: bytes) -> Iterator[tuple[str, Any]]:
    """Yield (event, element) while parsing; elements are emptied behind the reader, memory stays small."""
    from lxml import etree

    try:
        events = etree.iterparse(
            io.BytesIO(xml),
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        first = True
        for event, element in events:
            if first and element.getroottree().docinfo.doctype:
                raise MalformedError(
                    "the 3MF's XML has a document type", code="threemf-document-type", hint=_EXPORT_AGAIN
                )
            first = False
            yield event, element
            if event == "end":
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise MalformedError("the 3MF's XML is broken", code="threemf-xml", hint=_EXPORT_AGAIN) from error


def _parse_model(xml: bytes, limits: Limits) -> _Model:
    model = _Model(1.0, {}, [])
    current: _Object | None = None
    faces = 0
    try:
        for event, element in _events(xml):
            if not isinstance(element.tag, str) or not element.tag.startswith(_CORE):
                continue
            match event, element.tag[len(_CORE) :]:
                case "start", "model":
                    _check_extensions(element)
                    model.scale = _UNITS_MM[element.get("unit", "millimeter")]
                case "start", "object":
                    current = _Object(element.get("type", "model"))
                    if model.objects.setdefault(element.attrib["id"], current) is not current:
                        raise _broken("has an object twice")
                case "end", "item":
                    model.items.append(_placed(element))
                    check_face_count(len(model.items), limits)
                case "end", name if current is not None:
                    faces += _add_to_object(current, name, element.attrib, element)
                    placed = len(model.objects) + len(model.items) + len(current.components)
                    check_face_count(max(faces, len(current.points) // 3, placed), limits)
                case _:
                    pass
    except (KeyError, ValueError) as error:
        raise _broken("has an attribute that is missing or no number") from error
    return model


def _add_to_object(current: _Object, name: str, attributes: Mapping[str, str], element: Any) -> int:
    """Add a finished element to the object that it stands in; return how many triangles it added."""
    match name:
        case "vertex":
            current.points.append((float(attributes["x"]), float(attributes["y"]), float(attributes["z"])))
        case "triangle":
            current.corners.append((_index(attributes["v1"]), _index(attributes["v2"]), _index(attributes["v3"])))
            return 1
        case "component":
            current.components.append(_placed(element))
        case _:
            pass
    return 0


def _index(text: str) -> int:
    index = int(text)
    if not 0 <= index < 1 << 31:
        raise ValueError(text)
    return index


def _check_extensions(element: Any) -> None:
    for prefix in element.get("requiredextensions", "").split():
        if element.nsmap.get(prefix) != _PRODUCTION:
            raise MalformedError(
                "the 3MF demands an extension that is not read here", code="threemf-extension", hint=_EXPORT_AGAIN
            )


def _placed(element: Any) -> tuple[str, Transform]:
    if element.get(f"{{{_PRODUCTION}}}path") is not None:
        raise MalformedError("the 3MF is spread over several parts", code="threemf-extension", hint=_EXPORT_AGAIN)
    words = element.get("transform", "1 0 0 0 1 0 0 0 1 0 0 0").split()
    transform = np.array([float(word) for word in words], dtype=np.float64)
    if transform.size != 12 or not np.isfinite(transform).all():
        raise _broken("has a transform that is not twelve numbers")
    transform = transform.reshape(4, 3)
    if abs(float(np.linalg.det(transform[:3]))) < 1e-12:
        raise _broken("has a transform that flattens the part")
    return element.attrib["objectid"], transform


def _assembled(model: _Model, limits: Limits) -> Mesh:
    if not model.items:
        raise _broken("builds nothing")
    counts: dict[str, int] = {}
    check_face_count(sum(_count(model.objects, name, counts, limits, 0) for name, _ in model.items), limits)
    points: list[NDArray[np.float64]] = [np.zeros((0, 3))]
    faces: list[NDArray[np.int64]] = [np.zeros((0, 3), dtype=np.int64)]
    shift = 0
    for name, transform in model.items:
        for vertices, corners in _parts(model.objects, name, transform):
            points.append(vertices)
            faces.append(corners + shift)
            shift += len(vertices)
    with np.errstate(invalid="ignore", over="ignore"):
        vertices = np.concatenate(points) * model.scale
    return Mesh(vertices, without_collapsed(np.concatenate(faces)))


def _count(objects: Mapping[str, _Object], name: str, counts: dict[str, int], limits: Limits, depth: int) -> int:
    """Return how many triangles an object comes to with all it contains, without building any."""
    if depth > limits.nesting:
        raise _broken("nests its components too deeply, or in a circle")
    if name not in objects:
        raise _broken("names an unknown object")
    if name not in counts:
        found = objects[name]
        if found.kind != "model":
            raise _broken(f"builds an object of type {found.kind[:20]!r}")
        inner = sum(_count(objects, inner, counts, limits, depth + 1) for inner, _ in found.components)
        counts[name] = len(found.corners) + inner + 1  # an empty object costs a step too
    return counts[name]


def _parts(
    objects: Mapping[str, _Object], name: str, transform: Transform
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    found = objects[name]
    if found.corners:
        vertices = np.array(found.points, dtype=np.float64).reshape(-1, 3)
        faces = np.array(found.corners, dtype=np.int64)
        if int(faces.max()) >= len(vertices):
            raise _broken("has a triangle that names an unknown vertex")
        mirrored = float(np.linalg.det(transform[:3])) < 0
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite then is refused when checked
            moved = vertices @ transform[:3] + transform[3]
        yield moved, faces[:, ::-1] if mirrored else faces
    for inner, place in found.components:
        combined = place @ transform[:3]
        combined[3] += transform[3]
        yield from _parts(objects, inner, combined)


def _broken(what: str) -> MalformedError:
    return MalformedError(f"the 3MF {what}", code="threemf-model", hint=_EXPORT_AGAIN)
