import dataclasses
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus import meshes
from platemark.agent.printers.printing import PrintRun, Progress
from platemark.agent.printers.simulated import SimulatedPrinter, simulated_printers
from platemark.agent.slicers.basic import BasicSlicer
from platemark.errors import UsageError

BED = (Decimal(250), Decimal(210), Decimal(210))
START = "G21\nG90\nM83\nM109 S210\nG28\nG92 E0\nG1 Z0.2\n"


def _print(printer: SimulatedPrinter, gcode: str | bytes) -> PrintRun:
    data = gcode.encode() if isinstance(gcode, str) else gcode
    return printer.print(data, on_progress=lambda _: None, stop=lambda: False)


@pytest.fixture
def printer() -> SimulatedPrinter:
    return simulated_printers()["ada"]


def test_grams_are_those_of_the_filament_that_was_pushed(printer: SimulatedPrinter) -> None:
    run = _print(printer, START + "G1 X10 E100 F600\n")
    assert run.finished
    assert run.filament_mm == Decimal(100)
    expected = 100 * math.pi * 1.75**2 / 4 / 1000 * 1.24
    assert float(run.grams) == pytest.approx(expected, abs=0.001)
    assert run.layers == 1


def test_retracted_filament_is_not_counted_twice(printer: SimulatedPrinter) -> None:
    run = _print(printer, START + "G1 X10 E10\nG1 E-5\nG0 X20\nG1 E5\nG1 X30 E10\n")
    assert run.filament_mm == Decimal(20)


@pytest.mark.parametrize(
    "moves, filament",
    [
        ("M82\nG1 X1 E5\nG1 X2 E8\n", 8),
        ("M82\nG1 X1 E5\nG92 E0\nG1 X2 E5\n", 10),
        ("M83\nG1 X1 E5\nG92 E100\nG1 X2 E5\n", 10),
        ("G91\nG1 X1 E5\nG1 X1 E5\n", 10),
        ("M82\nG1 X1 E5\nG1 E1\nG92 E0\nG1 E4\nG1 X2 E6\n", 7),
    ],
)
def test_extrusion_is_counted_in_every_mode(printer: SimulatedPrinter, moves: str, filament: int) -> None:
    assert _print(printer, START + moves).filament_mm == Decimal(filament)


def test_time_follows_feed_rates(printer: SimulatedPrinter) -> None:
    slow = _print(printer, START + "G1 X100 E5 F600\n").duration_seconds
    fast = _print(printer, START + "G1 X100 E5 F6000\n").duration_seconds
    assert 8 <= slow - fast <= 10


@pytest.mark.parametrize(
    "gcode, fault",
    [
        ("G28\nG1 X10 E1\n", "cold extrusion"),
        ("M109 S210\nG1 X10 E1\n", "before homing"),
        (START + "G1 X251 E1\n", "X251.0 is outside"),
        (START + "G1 Z-5\n", "Z-5.0 is outside"),
        (START + "G2 X1 Y1 I1 E1\n", "unknown command 'G2'"),
        ("", "extrudes nothing"),
        ("<html>not G-code</html>", "extrudes nothing"),
    ],
)
def test_firmware_stops_what_no_printer_could_do(printer: SimulatedPrinter, gcode: str, fault: str) -> None:
    run = _print(printer, gcode)
    assert not run.finished
    assert fault in (run.fault or "")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_clog_stops_the_print_at_its_part_of_the_filament(printer: SimulatedPrinter, part: float) -> None:
    gcode = BasicSlicer().slice(meshes.cube(), BED).gcode
    whole = _print(printer, gcode)
    failed = _print(dataclasses.replace(printer, fail_at=part), gcode)
    assert whole.finished
    assert failed.fault == "the nozzle is clogged"
    assert float(failed.grams) == pytest.approx(float(whole.grams) * part, abs=0.002)
    assert failed.duration_seconds <= whole.duration_seconds


def test_the_printer_weighs_what_the_slicer_estimates(printer: SimulatedPrinter) -> None:
    sliced = BasicSlicer().slice(meshes.cube(15.0), BED)
    run = _print(printer, sliced.gcode)
    assert run.layers == sliced.layers
    assert abs(run.grams - sliced.estimates.grams) < Decimal("0.01")
    assert abs(run.duration_seconds - sliced.estimates.duration_seconds) < 0.2 * sliced.estimates.duration_seconds


def test_a_print_can_be_stopped(printer: SimulatedPrinter) -> None:
    gcode = BasicSlicer().slice(meshes.cube(), BED).gcode
    seen: list[Progress] = []
    run = printer.print(gcode, on_progress=seen.append, stop=lambda: len(seen) >= 2)
    assert run.cancelled
    assert not run.finished
    assert run.grams < _print(printer, gcode).grams


def test_progress_grows_to_the_end(printer: SimulatedPrinter) -> None:
    seen: list[Progress] = []
    printer.print(BasicSlicer().slice(meshes.cube(), BED).gcode, on_progress=seen.append, stop=lambda: False)
    permille = [progress.permille for progress in seen]
    assert permille == sorted(permille)
    assert permille[-1] == 1000


def test_a_paced_printer_waits_as_long_as_the_print_takes() -> None:
    waited: list[float] = []
    printer = dataclasses.replace(simulated_printers(speed=60.0)["ada"], sleep=waited.append)
    run = _print(printer, BasicSlicer().slice(meshes.cube(), BED).gcode)
    assert sum(waited) == pytest.approx(run.duration_seconds / 60, abs=0.1)


def test_a_simulated_centre_has_two_printers() -> None:
    printers = simulated_printers()
    assert len(printers) == 2
    assert all(printer.name == name and printer.driver == "simulated" for name, printer in printers.items())


@pytest.mark.parametrize("change", [{"speed": 0.0}, {"fail_at": 1.5}])
def test_impossible_printers_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SimulatedPrinter("x", (Decimal(1), Decimal(1), Decimal(1)), **change)  # type: ignore[arg-type]


@given(st.text(alphabet="GM0123456789XYZEFS.- \n;T", max_size=300))
def test_any_text_runs_to_an_end(text: str) -> None:
    run = _print(simulated_printers()["ada"], START + text)
    assert run.grams >= 0
    assert run.duration_seconds >= 0
