import os
import re
import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from corpus import meshes
from platemark.agent.printers.simulated import simulated_printers
from platemark.agent.slicers import memory
from platemark.agent.slicers.choice import choose_slicer, find_slicers
from platemark.agent.slicers.prusa import PROFILE, PrusaSlicer, find_prusa
from platemark.agent.slicers.sandbox import Bounds
from platemark.errors import LocalError, MalformedError, RefusedError, UsageError
from platemark.geometry.mesh import Mesh, read_mesh
from platemark.geometry.part import PART_NAME, load_part
from platemark.protocol.license_terms import Protection

BED = (Decimal(250), Decimal(210), Decimal(210))
TEMPORARY = Path("/dev/shm")


@pytest.fixture
def slicer() -> PrusaSlicer:
    found = find_prusa()
    assert found is not None, "tests marked prusaslicer need PrusaSlicer"
    return found


def _left_behind() -> set[str]:
    return {path.name for path in TEMPORARY.glob(f"platemark-{os.getpid()}-*")}


@pytest.mark.prusaslicer
def test_the_shipped_part_is_sliced_and_printed(slicer: PrusaSlicer) -> None:
    sliced = slicer.slice(read_mesh(load_part(), name=PART_NAME), BED)
    assert re.fullmatch(r"\d+\.\d+\.\d+", slicer.version)
    assert sliced.layers == 130
    run = simulated_printers()["ada"].print(sliced.gcode, on_progress=lambda _: None, stop=lambda: False)
    assert run.finished
    assert abs(run.grams - sliced.estimates.grams) < Decimal("0.01")
    assert 600 < sliced.estimates.duration_seconds < 6000
    assert not _left_behind()


@pytest.mark.prusaslicer
def test_a_part_lies_in_the_middle_of_the_printers_own_bed(slicer: PrusaSlicer) -> None:
    gcode = slicer.slice(meshes.cube(20.0), (Decimal(100), Decimal(80), Decimal(90))).gcode.decode()
    points = np.array(re.findall(r"^G1 X([\d.]+) Y([\d.]+) E\.?\d", gcode, re.MULTILINE), dtype=float)
    assert np.abs((points.min(axis=0) + points.max(axis=0)) / 2 - [50.0, 40.0]).max() < 0.5


@pytest.mark.prusaslicer
def test_supports_take_plastic(slicer: PrusaSlicer) -> None:
    table = meshes.together(meshes.cube(4.0), meshes.cube(20.0, (-8.0, -8.0, 4.5)))
    plain, supported = (slicer.slice(table, BED, supports=supports).estimates.grams for supports in (False, True))
    assert supported > plain


@pytest.mark.prusaslicer
def test_an_open_mesh_is_refused_before_the_slicer_guesses(slicer: PrusaSlicer) -> None:
    mesh = meshes.cube()
    with pytest.raises(MalformedError) as refused:
        slicer.slice(Mesh(mesh.vertices, mesh.faces[1:]), BED)
    assert refused.value.code == "mesh-open"


@pytest.mark.prusaslicer
def test_a_part_that_does_not_fit_is_refused(slicer: PrusaSlicer) -> None:
    with pytest.raises(RefusedError) as refused:
        slicer.slice(meshes.cube(211.0), BED)
    assert refused.value.code == "part-does-not-fit"


@pytest.mark.prusaslicer
def test_a_slicer_that_takes_too_long_is_ended_and_leaves_nothing(slicer: PrusaSlicer) -> None:
    hasty = PrusaSlicer(slicer._program, bounds=Bounds(wall_seconds=0.1))
    with pytest.raises(LocalError) as refused:
        hasty.slice(read_mesh(load_part(), name=PART_NAME), BED)
    assert refused.value.code == "slicer-timeout"
    assert not _left_behind()


@pytest.mark.prusaslicer
def test_a_slicer_that_crashes_is_an_error_of_this_machine(slicer: PrusaSlicer) -> None:
    small = PrusaSlicer(slicer._program, bounds=Bounds(memory_bytes=300 << 20, cpu_seconds=20))
    with pytest.raises((LocalError, MalformedError)) as refused:
        small.slice(meshes.cube(200.0), BED)
    assert refused.value.code in {"slicer-crashed", "slicer-refused"}


@pytest.mark.prusaslicer
def test_a_script_in_a_3mf_never_reaches_the_slicer(slicer: PrusaSlicer, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    tmp_path.chmod(0o777)
    config = f"; post_process = {script}\n; start_gcode = M112 ; evil\n".encode()
    data = meshes.plain_threemf(meshes.cube(), Metadata__Slic3r_PE_config=config)
    sliced = slicer.slice(read_mesh(data, name="a.3mf"), BED)
    assert not marker.exists()
    assert b"evil" not in sliced.gcode
    assert b"M112" not in sliced.gcode


@pytest.mark.prusaslicer
def test_the_slicer_is_preferred_where_it_is_installed(slicer: PrusaSlicer) -> None:
    assert [found.name for found in find_slicers("auto")] == ["prusa-slicer", "platemark-basic"]
    assert [found.name for found in find_slicers("prusa")] == ["prusa-slicer"]
    printer = simulated_printers()["ada"]
    assert choose_slicer(find_slicers("auto"), printer, Protection.STREAM, needs_supports=True).name == "prusa-slicer"


def test_without_it_the_basic_slicer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert [found.name for found in find_slicers("auto")] == ["platemark-basic"]
    with pytest.raises(LocalError) as refused:
        find_slicers("prusa")
    assert refused.value.code == "slicer-missing"
    with pytest.raises(UsageError):
        find_slicers("cura")


def test_without_memory_only_files_are_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_folder", lambda: None)
    poor = PrusaSlicer(Path("/usr/bin/prusa-slicer"))
    assert poor.keeps == {Protection.FILE}
    with pytest.raises(RefusedError) as refused:
        choose_slicer([poor], simulated_printers()["ada"], Protection.STREAM, needs_supports=False)
    assert refused.value.code == "protection-not-kept"
    assert choose_slicer([poor], simulated_printers()["ada"], Protection.FILE, needs_supports=False) is poor


@pytest.mark.parametrize(
    "change",
    [
        lambda profile: profile[: len(profile) // 2],
        lambda profile: profile.replace(b"post_process = ", b"post_process = /bin/sh"),
        lambda profile: profile + b"print_host = http://elsewhere\n",
        lambda _: b"layer_height = 0.2\n",
    ],
)
def test_a_profile_that_is_incomplete_or_runs_programs_is_refused(change) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    shipped = (Path(memory.__file__).parent / "data" / PROFILE).read_bytes()
    assert PrusaSlicer(Path("/none"), profile=shipped).profile_digest
    with pytest.raises(MalformedError) as refused:
        PrusaSlicer(Path("/none"), profile=change(shipped))
    assert refused.value.code == "slicer-profile"


def test_what_a_dead_process_left_in_memory_is_swept(tmp_path: Path) -> None:
    dead = tmp_path / "platemark-4194305-abc"
    mine = tmp_path / f"platemark-{os.getpid()}-abc"
    other = tmp_path / "platemark-notes"
    for folder in (dead, mine, other):
        folder.mkdir()
    with memory.private_folder(tmp_path) as made:
        assert made.is_dir()
        assert made.stat().st_mode & 0o077 == 0
    assert not made.exists()
    assert not dead.exists()
    assert mine.exists()
    assert other.exists()
    with pytest.raises(LocalError), memory.private_folder(None):
        pass
