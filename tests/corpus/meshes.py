"""Meshes for tests, sound and hostile, all made by code."""

import io
import struct
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from platemark.geometry.stl import write_stl
from platemark.geometry.triangles import Mesh

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
_RELS = (
    '<?xml version="1.0" encoding="UTF-8"?><Relationships '
    'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Target="/3D/3dmodel.model" '
    'Id="r" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)


def cube(side: float = 10.0, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=np.float64)
    faces = [
        *[(0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4)],
        *[(2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5)],
    ]
    return Mesh(corners * side + np.array(at), np.array(faces, dtype=np.int64))


def together(*meshes: Mesh) -> Mesh:
    shifts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + shift for mesh, shift in zip(meshes, shifts, strict=True)]),
    )


def text_stl(mesh: Mesh) -> bytes:
    lines = ["solid part"]
    for triangle in mesh.triangles():
        corners = "".join(f"      vertex {x!r} {y!r} {z!r}\n" for x, y, z in triangle.tolist())
        lines.append(f"  facet normal 0 0 0\n    outer loop\n{corners}    endloop\n  endfacet")
    return "\n".join([*lines, "endsolid part", ""]).encode()


def obj(mesh: Mesh) -> bytes:
    points = [f"v {x!r} {y!r} {z!r}" for x, y, z in mesh.vertices.tolist()]
    faces = [f"f {a + 1}/1 {b + 1}//2 {c + 1}" for a, b, c in mesh.faces.tolist()]
    return "\n".join(["mtllib evil.mtl", *points, "usemtl steel", *faces]).encode()


def threemf(
    model: str | bytes,
    *,
    extra: Mapping[str, bytes] | None = None,
    rels: str = _RELS,
    compression: int = zipfile.ZIP_DEFLATED,
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("_rels/.rels", rels)
        archive.writestr("3D/3dmodel.model", model)
        for name, data in (extra or {}).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def mesh_xml(mesh: Mesh) -> str:
    vertices = "".join(f'<vertex x="{x!r}" y="{y!r}" z="{z!r}"/>' for x, y, z in mesh.vertices.tolist())
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in mesh.faces.tolist())
    return f"<mesh><vertices>{vertices}</vertices><triangles>{triangles}</triangles></mesh>"


def model_xml(resources: str, build: str, *, attributes: str = 'unit="millimeter"', prolog: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<model {attributes} xmlns="{CORE}">'
        f"<resources>{resources}</resources><build>{build}</build></model>"
    )


def plain_threemf(mesh: Mesh, **more: bytes) -> bytes:
    model = model_xml(f'<object id="1" type="model">{mesh_xml(mesh)}</object>', '<item objectid="1"/>')
    return threemf(model, extra={name.replace("__", "/"): data for name, data in more.items()})


def _open() -> bytes:
    mesh = cube()
    return write_stl(Mesh(mesh.vertices, mesh.faces[:-1]))


def _not_finite(value: float) -> bytes:
    data = bytearray(write_stl(cube()))
    struct.pack_into("<f", data, 84 + 12, value)
    return bytes(data)


def _inside_out() -> bytes:
    mesh = cube()
    return write_stl(Mesh(mesh.vertices, mesh.faces[:, ::-1]))


def _flipped_face() -> bytes:
    mesh = cube()
    faces = mesh.faces.copy()
    faces[3] = faces[3][::-1]
    return write_stl(Mesh(mesh.vertices, faces))


def _flat() -> bytes:
    points = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [10, 10, 0]], dtype=np.float64)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], dtype=np.int64)
    return write_stl(Mesh(points, faces))


def _three_faces_at_an_edge() -> bytes:
    return write_stl(together(cube(), cube(at=(10.0, 10.0, 0.0))))


def _overlapping() -> bytes:
    return write_stl(together(cube(), cube(at=(5.0, 5.0, 5.0))))


def _collapsed() -> bytes:
    mesh = cube()
    return write_stl(Mesh(mesh.vertices, np.repeat(mesh.faces[:, :1], 3, axis=1)))


def _lying_header() -> bytes:
    return b"\0" * 80 + struct.pack("<I", 4_000_000_000) + b"\0" * 500


def _entity() -> bytes:
    prolog = '<!DOCTYPE model [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    return threemf(model_xml(f'<object id="1">{mesh_xml(cube())}</object>', '<item objectid="1"/>', prolog=prolog))


def _laughs() -> bytes:
    entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    return threemf(model_xml("<metadata>&a11;</metadata>", "", prolog=f"<!DOCTYPE model [{entities}]>"))


def _hidden_entity() -> bytes:
    text = model_xml(
        f'<object id="1">{mesh_xml(cube())}</object>', '<item objectid="1"/>', prolog='<!DOCTYPE m [<!ENTITY x "y">]>'
    )
    return threemf(text.replace("UTF-8", "UTF-16").encode("utf-16"))


def _bomb() -> bytes:
    return threemf(model_xml("", "").encode() + b" " * (64 << 20))


def _component_bomb() -> bytes:
    levels = "".join(
        f'<object id="{i}"><components>{f"<component objectid={chr(34)}{i - 1}{chr(34)}/>" * 10}</components></object>'
        for i in range(2, 16)
    )
    return threemf(model_xml(f'<object id="1">{mesh_xml(cube())}</object>{levels}', '<item objectid="15"/>'))


def _circle() -> bytes:
    circle = '<object id="1"><components><component objectid="1"/></components></object>'
    return threemf(model_xml(circle, '<item objectid="1"/>'))


def _encrypted_extension() -> bytes:
    attributes = 'xmlns:sc="http://schemas.microsoft.com/3dmanufacturing/securecontent/2019/04" requiredextensions="sc"'
    return threemf(
        model_xml(f'<object id="1">{mesh_xml(cube())}</object>', '<item objectid="1"/>', attributes=attributes)
    )


def _unknown_vertex() -> bytes:
    mesh = cube()
    faces = mesh.faces.copy()
    faces[0, 0] = 99
    return threemf(model_xml(f'<object id="1">{mesh_xml(Mesh(mesh.vertices, faces))}</object>', '<item objectid="1"/>'))


def _cube_model(*changes: tuple[str, str]) -> bytes:
    model = model_xml(f'<object id="1" type="model">{mesh_xml(cube())}</object>', '<item objectid="1"/>')
    for old, new in changes:
        assert old in model
        model = model.replace(old, new)
    return threemf(model)


def _indexed(index: str) -> bytes:
    return _cube_model(('v1="0"', f'v1="{index}"'))


HOSTILE: Mapping[str, tuple[str, Callable[[], bytes], str]] = {
    "not a mesh": ("a.stl", lambda: bytes(range(256)) * 20, "stl-length"),
    "empty file": ("a.stl", lambda: b"", "stl-length"),
    "no triangles": ("a.stl", lambda: bytes(84), "mesh-empty"),
    "collapsed triangles": ("a.stl", _collapsed, "mesh-empty"),
    "lying header": ("a.stl", _lying_header, "stl-length"),
    "truncated": ("a.stl", lambda: write_stl(cube())[:-1], "stl-length"),
    "truncated text": ("a.stl", lambda: text_stl(cube())[:-40], "stl-text"),
    "text without numbers": ("a.stl", lambda: text_stl(cube()).replace(b"10.0", b"ten"), "stl-text"),
    "open": ("a.stl", _open, "mesh-open"),
    "NaN": ("a.stl", lambda: _not_finite(float("nan")), "mesh-not-finite"),
    "infinity": ("a.stl", lambda: _not_finite(float("inf")), "mesh-not-finite"),
    "far away": ("a.stl", lambda: write_stl(cube(at=(1e7, 0.0, 0.0))), "mesh-extent"),
    "inside out": ("a.stl", _inside_out, "mesh-inside-out"),
    "a flipped face": ("a.stl", _flipped_face, "mesh-winding"),
    "flat": ("a.stl", _flat, "mesh-no-volume"),
    "cubes that share an edge": ("a.stl", _three_faces_at_an_edge, "mesh-not-manifold"),
    "overlapping": ("a.stl", _overlapping, "mesh-self-intersecting"),
    "OBJ without sense": ("a.obj", lambda: b"v 1 2\nf 1 2 3\n", "obj-text"),
    "OBJ with unknown vertices": ("a.obj", lambda: b"v 1 2 3\nf 1 2 3\n", "obj-text"),
    "OBJ before the first vertex": ("a.obj", lambda: b"v 1 2 3\nf -1 -2 -3\n", "obj-text"),
    "OBJ with a huge index": ("a.obj", lambda: b"v 1 2 3\nf 1 2 99999999999999999999999\n", "obj-text"),
    "OBJ with a face of one corner": ("a.obj", lambda: b"v 1 2 3\nf 1\n", "obj-text"),
    "no archive": ("a.3mf", lambda: write_stl(cube()), "threemf-archive"),
    "truncated archive": ("a.3mf", lambda: plain_threemf(cube())[:-30], "threemf-archive"),
    "external entity": ("a.3mf", _entity, "threemf-document-type"),
    "billion laughs": ("a.3mf", _laughs, "threemf-document-type"),
    "entity in UTF-16": ("a.3mf", _hidden_entity, "threemf-document-type"),
    "broken XML": ("a.3mf", lambda: threemf("<model"), "threemf-xml"),
    "zip bomb": ("a.3mf", _bomb, "threemf-bomb"),
    "bomb of components": ("a.3mf", _component_bomb, "mesh-too-large"),
    "component of itself": ("a.3mf", _circle, "threemf-model"),
    "encrypted content": ("a.3mf", _encrypted_extension, "threemf-extension"),
    "3MF with unknown vertex": ("a.3mf", _unknown_vertex, "threemf-model"),
    "3MF with a huge index": ("a.3mf", lambda: _indexed("99999999999999999999999"), "threemf-model"),
    "3MF with a negative index": ("a.3mf", lambda: _indexed("-1"), "threemf-model"),
    "3MF with a coordinate that is none": ("a.3mf", lambda: _cube_model(('x="10.0"', 'x="ten"')), "threemf-model"),
    "3MF with an infinite coordinate": ("a.3mf", lambda: _cube_model(('x="10.0"', 'x="1e999"')), "mesh-not-finite"),
    "3MF in an unknown unit": ("a.3mf", lambda: _cube_model(("millimeter", "furlong")), "threemf-model"),
    "3MF with a flat transform": (
        "a.3mf",
        lambda: _cube_model(('<item objectid="1"', '<item objectid="1" transform="1 0 0 0 1 0 0 0 0 0 0 0"')),
        "threemf-model",
    ),
    "3MF with a short transform": (
        "a.3mf",
        lambda: _cube_model(('<item objectid="1"', '<item objectid="1" transform="1 0 0"')),
        "threemf-model",
    ),
    "3MF with an object twice": (
        "a.3mf",
        lambda: threemf(model_xml('<object id="1"/><object id="1"/>', '<item objectid="1"/>')),
        "threemf-model",
    ),
    "3MF that builds a support": ("a.3mf", lambda: _cube_model(('type="model"', 'type="support"')), "threemf-model"),
    "3MF spread over parts": (
        "a.3mf",
        lambda: _cube_model(('<item objectid="1"', f'<item xmlns:p="{PRODUCTION}" p:path="/3D/b.model" objectid="1"')),
        "threemf-extension",
    ),
    "3MF whose model is missing": (
        "a.3mf",
        lambda: threemf("", rels=_RELS.replace("3dmodel.model", "other.model")),
        "threemf-archive",
    ),
    "3MF that names no model": ("a.3mf", lambda: threemf("", rels="<Relationships/>"), "threemf-model"),
    "3MF with many entries": (
        "a.3mf",
        lambda: plain_threemf(cube(), **{f"e{n}": b"" for n in range(1001)}),
        "threemf-bomb",
    ),
    "3MF with an empty object": (
        "a.3mf",
        lambda: threemf(model_xml('<object id="1"/>', '<item objectid="1"/>')),
        "mesh-empty",
    ),
    "3MF without items": ("a.3mf", lambda: threemf(model_xml("", "")), "threemf-model"),
    "unknown ending": ("a.step", lambda: b"ISO-10303-21;", "mesh-format"),
}
"""Name, file name, bytes, and the code with which they must be refused by reading or checking."""
