import contextlib
import struct
import tracemalloc
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import meshes
from platemark.errors import MalformedError, RefusedError
from platemark.geometry.mesh import Limits, Mesh, check_fits, check_mesh, read_mesh, turned, turned_size
from platemark.geometry.stl import write_stl

POST_PROCESS = b"; post_process = /tmp/evil.sh\n; start_gcode = M112\n"


@pytest.mark.parametrize("name", meshes.HOSTILE)
def test_hostile_file_is_refused_with_its_own_code_and_a_hint(name: str) -> None:
    file_name, make, code = meshes.HOSTILE[name]
    with pytest.raises(MalformedError) as refused:
        check_mesh(read_mesh(make(), name=file_name))
    assert refused.value.code == code
    assert refused.value.hint


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.stl", write_stl(meshes.cube())),
        ("A.STL", meshes.text_stl(meshes.cube())),
        ("model/stl", write_stl(meshes.cube())),
        ("a.obj", meshes.obj(meshes.cube())),
        ("a.3mf", meshes.plain_threemf(meshes.cube())),
        ("a.3mf", meshes.plain_threemf(meshes.cube(), Metadata__Slic3r_PE_config=POST_PROCESS)),
    ],
)
def test_a_cube_measures_the_same_in_every_format(name: str, data: bytes) -> None:
    facts = check_mesh(read_mesh(data, name=name))
    assert facts.size_mm == (Decimal(10), Decimal(10), Decimal(10))
    assert facts.volume_mm3 == Decimal(1000)
    assert facts.faces == 12


def test_binary_stl_that_begins_with_solid_is_binary() -> None:
    data = b"solid of some program".ljust(80) + write_stl(meshes.cube())[80:]
    assert len(read_mesh(data, name="a.stl").faces) == 12


def test_settings_inside_a_3mf_do_not_travel_with_its_geometry() -> None:
    mesh = read_mesh(meshes.plain_threemf(meshes.cube(), Metadata__Slic3r_PE_config=POST_PROCESS), name="a.3mf")
    written = write_stl(mesh)
    assert written[:80] == bytes(80)
    assert b"evil" not in written


def test_items_and_components_of_a_3mf_stand_in_their_places() -> None:
    resources = (
        f'<object id="1">{meshes.mesh_xml(meshes.cube(1.0))}</object>'
        '<object id="2"><components><component objectid="1"/>'
        '<component objectid="1" transform="1 0 0 0 1 0 0 0 1 3 0 0"/></components></object>'
    )
    build = (
        '<item objectid="2" transform="0 1 0 -1 0 0 0 0 1 0 0 0"/>'
        '<item objectid="1" transform="-2 0 0 0 2 0 0 0 2 20 0 0"/>'
    )
    data = meshes.threemf(meshes.model_xml(resources, build, attributes='unit="centimeter"'))
    mesh = read_mesh(data, name="a.3mf")
    facts = check_mesh(mesh)
    assert facts.volume_mm3 == Decimal(1000 + 1000 + 8000)
    low, high = mesh.bounds()
    assert low.tolist() == [-10, 0, 0]
    assert high.tolist() == [200, 40, 20]


def test_two_bodies_apart_are_one_sound_mesh() -> None:
    facts = check_mesh(meshes.together(meshes.cube(), meshes.cube(at=(20.0, 0.0, 0.0))))
    assert facts.volume_mm3 == Decimal(2000)


def test_a_body_inside_a_hollow_one_is_sound() -> None:
    hollow = meshes.cube(30.0)
    void = meshes.cube(20.0, (5.0, 5.0, 5.0))
    nested = meshes.together(hollow, Mesh(void.vertices, void.faces[:, ::-1]), meshes.cube(5.0, (10.0, 10.0, 10.0)))
    assert check_mesh(nested).volume_mm3 == Decimal(27000 - 8000 + 125)


def test_size_is_refused_before_anything_is_parsed() -> None:
    with pytest.raises(MalformedError) as refused:
        read_mesh(bytes(101), name="a.stl", limits=Limits(file_bytes=100))
    assert refused.value.code == "mesh-too-large"


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.stl", write_stl(meshes.cube())),
        ("a.stl", meshes.text_stl(meshes.cube())),
        ("a.obj", meshes.obj(meshes.cube())),
        ("a.3mf", meshes.plain_threemf(meshes.cube())),
    ],
)
def test_faces_are_limited_in_every_format(name: str, data: bytes) -> None:
    with pytest.raises(MalformedError) as refused:
        read_mesh(data, name=name, limits=Limits(faces=11))
    assert refused.value.code == "mesh-too-large"


def test_a_zip_bomb_is_not_unpacked() -> None:
    _, make, _ = meshes.HOSTILE["zip bomb"]
    bomb = make()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError):
            read_mesh(bomb, name="a.3mf", limits=Limits(unpacked_bytes=1 << 20))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_part_that_is_too_large_is_refused() -> None:
    check_fits((Decimal(250), Decimal(1), Decimal(1)), (Decimal(250), Decimal(210), Decimal(210)), printer="left")
    with pytest.raises(RefusedError) as refused:
        check_fits((Decimal(1), Decimal(1), Decimal(211)), (Decimal(250), Decimal(210), Decimal(210)), printer="left")
    assert refused.value.code == "part-does-not-fit"
    assert "left" in refused.value.message


_coordinates = st.floats(-1e4, 1e4, width=32)


@given(st.lists(st.tuples(*[_coordinates] * 9), min_size=1, max_size=20))
def test_written_stl_is_read_back_as_it_was(triangles: list[tuple[float, ...]]) -> None:
    soup = np.array(triangles).reshape(-1, 3, 3)
    count = len(soup)
    data = (
        bytes(80)
        + struct.pack("<I", count)
        + b"".join(bytes(12) + struct.pack("<9f", *triangle) + bytes(2) for triangle in triangles)
    )
    mesh = read_mesh(data, name="a.stl")
    kept = [t for t in soup if len({tuple(c + 0.0) for c in t}) == 3]
    assert np.array_equal(mesh.triangles(), np.array(kept).reshape(-1, 3, 3))
    again = read_mesh(write_stl(mesh), name="a.stl")
    assert np.array_equal(again.triangles(), mesh.triangles())


@given(st.binary(max_size=600), st.sampled_from(["a.stl", "a.obj", "a.3mf"]))
def test_junk_is_refused_and_nothing_else_is_raised(data: bytes, name: str) -> None:
    with contextlib.suppress(MalformedError):
        check_mesh(read_mesh(data, name=name))


_MODEL = meshes.model_xml(f'<object id="1">{meshes.mesh_xml(meshes.cube())}</object>', '<item objectid="1"/>')
_PIECES = st.sampled_from(["<", ">", '"', "0", "-1", "1e9", "NaN", "&x;", "<!DOCTYPE a>", "</mesh>", "v1", "id", "\n"])


@given(st.integers(0, len(_MODEL)), st.integers(0, 40), _PIECES)
def test_a_changed_model_is_read_or_refused_and_nothing_else(at: int, removed: int, piece: str) -> None:
    with contextlib.suppress(MalformedError):
        check_mesh(read_mesh(meshes.threemf(_MODEL[:at] + piece + _MODEL[at + removed :]), name="a.3mf"))


_TEXTS = [("a.obj", meshes.obj(meshes.cube())), ("a.stl", meshes.text_stl(meshes.cube()))]


@given(st.sampled_from(_TEXTS), st.integers(0, 2000), st.integers(0, 30), st.binary(max_size=8))
def test_a_changed_text_is_read_or_refused_and_nothing_else(
    text: tuple[str, bytes], at: int, removed: int, piece: bytes
) -> None:
    name, data = text
    place = at % len(data)
    with contextlib.suppress(MalformedError):
        check_mesh(read_mesh(data[:place] + piece + data[place + removed :], name=name))


@pytest.mark.parametrize(
    "degrees, size",
    [((0, 0, 0), (10, 20, 30)), ((90, 0, 0), (10, 30, 20)), ((0, 90, 0), (30, 20, 10)), ((0, 0, 270), (20, 10, 30))],
)
def test_right_angles_turn_exactly(degrees: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    box = meshes.cube(1.0)
    mesh = turned(Mesh(box.vertices * [10, 20, 30], box.faces), degrees)
    assert check_mesh(mesh).size_mm == tuple(map(Decimal, size))
    assert turned_size((Decimal(10), Decimal(20), Decimal(30)), degrees) == tuple(map(Decimal, size))


def test_axes_are_fixed_and_turned_about_in_their_order() -> None:
    point = Mesh(np.array([[0.0, 0.0, 1.0]]), np.zeros((0, 3), dtype=np.int64))
    assert np.allclose(turned(point, (90, 0, 0)).vertices, [[0, -1, 0]])
    assert np.allclose(turned(point, (90, 0, 90)).vertices, [[1, 0, 0]])


@given(st.tuples(*[st.integers(0, 359)] * 3))
def test_a_turned_part_needs_no_more_room_than_its_turned_box(degrees: tuple[int, int, int]) -> None:
    mesh = meshes.cube(10.0)
    low, high = turned(mesh, degrees).bounds()
    room = turned_size((Decimal(10), Decimal(10), Decimal(10)), degrees)
    assert ((high - low) <= np.array([float(side) for side in room]) + 0.001).all()


@given(st.integers(0, 5000), st.integers(1, 255))
def test_a_changed_3mf_is_read_or_refused_and_nothing_else(position: int, change: int) -> None:
    data = bytearray(meshes.plain_threemf(meshes.cube()))
    data[position % len(data)] ^= change
    with contextlib.suppress(MalformedError):
        check_mesh(read_mesh(bytes(data), name="a.3mf"))
