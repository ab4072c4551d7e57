import contextlib
import hashlib
import json
import re
import sys
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from corpus import meshes
from platemark.agent.slicers import sandbox
from platemark.agent.slicers.basic import BasicSlicer
from platemark.agent.slicers.basic_profile import BasicProfile
from platemark.agent.slicers.sandbox import Bounds
from platemark.agent.slicers.toolpaths import hatch
from platemark.errors import LocalError, MalformedError, RefusedError
from platemark.geometry.mesh import read_mesh
from platemark.geometry.part import PART_NAME, load_part
from platemark.protocol.license_terms import Protection

BED = (Decimal(250), Decimal(210), Decimal(210))
SOLID = BasicProfile(fill_percent=100)


def test_the_shipped_part_is_sliced_to_the_same_bytes_again() -> None:
    mesh = read_mesh(load_part(), name=PART_NAME)
    first = BasicSlicer().slice(mesh, BED)
    again = BasicSlicer().slice(mesh, BED)
    assert hashlib.sha256(first.gcode).digest() == hashlib.sha256(again.gcode).digest()
    assert first.layers == 130
    assert Decimal(2) < first.estimates.grams < Decimal(5)


def test_a_full_cube_takes_the_plastic_of_its_volume() -> None:
    sliced = BasicSlicer(SOLID).slice(meshes.cube(), BED)
    assert abs(sliced.estimates.grams - Decimal("1.24")) < Decimal("0.08")


def test_more_fill_takes_more_plastic_and_time() -> None:
    mesh = meshes.cube(20.0)
    thin, thick = (BasicSlicer(BasicProfile(fill_percent=percent)).slice(mesh, BED).estimates for percent in (10, 40))
    assert thin.grams < thick.grams
    assert thin.duration_seconds < thick.duration_seconds


def test_every_move_stays_on_the_part_in_the_middle_of_the_bed() -> None:
    gcode = BasicSlicer().slice(meshes.cube(20.0, at=(500.0, -300.0, 40.0)), BED).gcode.decode()
    points = np.array(re.findall(r"^G1 X([\d.]+) Y([\d.]+) E", gcode, re.MULTILINE), dtype=float)
    assert np.abs(points.min(axis=0) - [115.0, 95.0]).max() < 0.5
    assert np.abs(points.max(axis=0) - [135.0, 115.0]).max() < 0.5
    heights = [float(z) for z in re.findall(r"^G1 Z([\d.]+)", gcode, re.MULTILINE)]
    assert heights == [pytest.approx(0.2 * layer) for layer in range(1, 101)]


def test_a_hollow_stays_hollow() -> None:
    void = meshes.cube(20.0, (5.0, 5.0, 5.0))
    hollow = meshes.together(meshes.cube(30.0), type(void)(void.vertices, void.faces[:, ::-1]))
    gcode = BasicSlicer(SOLID).slice(hollow, BED).gcode.decode()
    middle = gcode.partition(";LAYER:75\n")[2].partition(";LAYER:76\n")[0]
    points = np.array(re.findall(r"^G1 X([\d.]+) Y([\d.]+) E", middle, re.MULTILINE), dtype=float) - [125.0, 105.0]
    assert len(points)
    assert (np.abs(points).max(axis=1) > 10.1).all()


def test_overhangs_are_warned_of() -> None:
    table = meshes.together(meshes.cube(4.0), meshes.cube(20.0, (-8.0, -8.0, 4.5)))
    assert BasicSlicer().slice(table, BED).warnings
    assert not BasicSlicer().slice(meshes.cube(), BED).warnings


def test_a_part_larger_than_the_bed_is_refused() -> None:
    with pytest.raises(RefusedError) as refused:
        BasicSlicer().slice(meshes.cube(211.0), BED)
    assert refused.value.code == "part-does-not-fit"


def test_an_unsound_mesh_is_refused() -> None:
    mesh = meshes.cube()
    with pytest.raises(MalformedError) as refused:
        BasicSlicer().slice(type(mesh)(mesh.vertices, mesh.faces[1:]), BED)
    assert refused.value.code == "mesh-open"


def test_a_slicer_that_takes_too_long_is_ended() -> None:
    with pytest.raises(LocalError) as refused:
        sandbox.run(
            [sys.executable, "-c", "import time; time.sleep(300)"],
            bounds=Bounds(wall_seconds=0.001),
            drop_privileges=False,
        )
    assert refused.value.code == "slicer-timeout"


def test_a_slicer_that_needs_too_much_memory_fails_alone() -> None:
    with pytest.raises(LocalError) as refused:
        BasicSlicer(bounds=Bounds(memory_bytes=64 << 20)).slice(meshes.cube(), BED)
    assert refused.value.code == "slicer-crashed"


def test_a_program_that_talks_too_much_is_refused() -> None:
    with pytest.raises(LocalError) as refused:
        sandbox.run(
            [sys.executable, "-c", "print('x' * 100_000)"], bounds=Bounds(output_bytes=50_000), drop_privileges=False
        )
    assert refused.value.code == "slicer-crashed"


def test_a_program_in_the_sandbox_ends_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(LocalError):
        sandbox.run([sys.executable, "-c", script], bounds=Bounds(wall_seconds=3), drop_privileges=False)
    stat = Path(f"/proc/{pid_file.read_text()}/stat")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is gone
        while stat.read_text().split()[2] != "Z":
            time.sleep(0.01)  # it was told to end, and dies


def test_a_program_in_the_sandbox_sees_no_secrets_and_dumps_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATEMARK_PASSPHRASE", "secret")
    script = (
        "import json, os, resource\n"
        "print(json.dumps([sorted(os.environ), resource.getrlimit(resource.RLIMIT_CORE), os.getcwd()]))"
    )
    finished = sandbox.run([sys.executable, "-S", "-c", script], bounds=Bounds(), drop_privileges=False)
    names, core, folder = json.loads(finished.output)
    assert "PLATEMARK_PASSPHRASE" not in names
    assert core == [0, 0]
    assert folder == "/"


def test_a_profile_is_what_its_bytes_say() -> None:
    profile = BasicProfile(layer_height_mm=Decimal("0.28"), nozzle_celsius=230)
    assert BasicProfile.from_bytes(profile.to_bytes()) == profile
    assert profile.digest() != BasicProfile().digest()


@pytest.mark.parametrize(
    "change", [{"layer_height_mm": Decimal(0)}, {"fill_percent": 101}, {"filament_density": Decimal(0)}]
)
def test_impossible_settings_are_refused(change: dict[str, Decimal]) -> None:
    with pytest.raises(MalformedError) as refused:
        BasicProfile(**change)  # type: ignore[arg-type]
    assert refused.value.code == "slicer-profile"


def test_the_basic_slicer_keeps_every_protection() -> None:
    assert BasicSlicer().keeps == set(Protection)


@pytest.mark.parametrize("angle", [0.0, 0.785, -0.785])
def test_hatching_covers_an_outline_evenly(angle: float) -> None:
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    hole = np.array([[4.0, 4.0], [4.0, 6.0], [6.0, 6.0], [6.0, 4.0]])
    paths = list(hatch([square, hole], 0.5, angle))
    length = sum(float(np.linalg.norm(path[1] - path[0])) for path in paths)
    assert abs(length * 0.5 - 96.0) < 3
    for path in paths:
        assert (path >= -1e-6).all()
        assert (path <= 10 + 1e-6).all()
        middle = path.mean(axis=0)
        assert not (np.abs(middle - 5) < 0.999).all()
