"""Simulated printers: they run G-code line by line, as firmware does, and count what goes through the nozzle.

They know G0, G1, G4, G28, G90 to G92, M82, M83, temperatures and fans; other M codes are passed over, as firmware
does, and other G codes are a fault. They refuse to extrude cold and to leave their build volume. Their grams come
from the E moves that were really run, so a failed print weighs what it used until then.
"""

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from platemark.agent.printers.printing import PrintRun, Progress
from platemark.errors import UsageError
from platemark.protocol.license_terms import Protection

_COLDEST_EXTRUSION_CELSIUS: Final = 170
_PROGRESS_EVERY: Final = 500
_SLACK_MM: Final = 0.5
_HOMING_SECONDS: Final = 5.0
_ACCELERATION_MM_S2: Final = 1000.0
_CORNER_COSINE: Final = math.cos(math.radians(30))
_WORD: Final = re.compile(r"([A-Z])(-?(?:\d+\.?\d*|\.\d+))")


class _FaultError(Exception):
    """The firmware stops the job; the text is its message."""


@dataclass(slots=True)
class _Machine:
    """The state of the firmware: positions in mm, feed in mm/s, temperature in °C."""

    volume: tuple[float, float, float]
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    e: float = 0.0
    furthest_e: float = 0.0
    feed: float = 50.0
    absolute: bool = True
    absolute_e: bool = True
    nozzle: float = 20.0
    homed: bool = False
    layer: int = 0
    layer_z: float = 0.0
    heading: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def run(self, line: str) -> tuple[float, float]:
        """Run one line; return (filament that went through, mm; time, s).

        Errors: _FaultError.
        """
        code, _, rest = line.partition(" ")
        if code in {"G0", "G1"}:
            return self._move(_words(rest))
        if code == "G4":
            words = _words(rest)
            return 0.0, words.get("S", 0.0) + words.get("P", 0.0) / 1000
        if code == "G28":
            self.x = self.y = self.z = 0.0
            self.homed = True
            return 0.0, _HOMING_SECONDS
        self._change(code, rest)
        return 0.0, 0.0

    def _change(self, code: str, rest: str) -> None:
        match code:
            case "G90" | "G91":
                self.absolute = self.absolute_e = code == "G90"
            case "M82" | "M83":
                self.absolute_e = code == "M82"
            case "G92":
                self._set(_words(rest))
            case "M104" | "M109":
                self.nozzle = _words(rest).get("S", self.nozzle)
            case "G21" | "G80" | "T0":
                pass
            case _ if code[:1] in {"G", "T"}:
                raise _FaultError(f"unknown command {code[:16]!r}")
            case _:
                pass

    def _set(self, words: Mapping[str, float]) -> None:
        self.x, self.y = words.get("X", self.x), words.get("Y", self.y)
        self.z = words.get("Z", self.z)
        if "E" in words:
            self.furthest_e += words["E"] - self.e
            self.e = words["E"]

    def _move(self, words: Mapping[str, float]) -> tuple[float, float]:
        if "F" in words:
            self.feed = max(words["F"] / 60, 0.1)
        before = (self.x, self.y, self.z)
        base = (0.0, 0.0, 0.0) if self.absolute else before
        self.x, self.y, self.z = (
            words[axis] + offset if axis in words else at for axis, offset, at in zip("XYZ", base, before, strict=True)
        )
        if not self.homed:
            raise _FaultError("a move before homing")
        for axis, at, room in zip("XYZ", (self.x, self.y, self.z), self.volume, strict=True):
            if not -_SLACK_MM <= at <= room + _SLACK_MM:
                raise _FaultError(f"{axis}{at:.1f} is outside the build volume")
        pushed = self._push(words["E"]) if "E" in words else (0.0, 0.0)
        distance = math.dist(before, (self.x, self.y, self.z))
        if not distance:
            return pushed[0], pushed[1] / self.feed
        return pushed[0], distance / self.feed + self._braking(before, distance)

    def _braking(self, before: tuple[float, float, float], distance: float) -> float:
        """Return the time that a corner before this move costs: a stop when it is sharper than 30°."""
        x, y, z = self.heading
        at = (self.x, self.y, self.z)
        self.heading = ((at[0] - before[0]) / distance, (at[1] - before[1]) / distance, (at[2] - before[2]) / distance)
        cosine = x * self.heading[0] + y * self.heading[1] + z * self.heading[2]
        return 0.0 if cosine > _CORNER_COSINE else self.feed / _ACCELERATION_MM_S2

    def _push(self, word: float) -> tuple[float, float]:
        """Move the filament; return (new filament through the nozzle, distance moved), mm."""
        target = word if self.absolute_e else self.e + word
        moved = target - self.e
        if moved > 0 and self.nozzle < _COLDEST_EXTRUSION_CELSIUS:
            raise _FaultError("cold extrusion prevented")
        self.e = target
        through = max(0.0, target - self.furthest_e)
        self.furthest_e = max(self.furthest_e, target)
        if through and (self.z > self.layer_z or not self.layer):
            self.layer, self.layer_z = self.layer + 1, self.z
        return through, abs(moved)


@dataclass(frozen=True, slots=True)
class SimulatedPrinter:
    """A printer that exists only here.

    `speed` is how many printer seconds pass in one (infinite: no waiting); `fail_at` is the part of the job's
    filament (0 to 1) after which the nozzle clogs; density in g/cm³ and diameter in mm are the loaded filament's.
    """

    name: str
    volume_mm: tuple[Decimal, Decimal, Decimal]
    speed: float = math.inf
    fail_at: float | None = None
    density: Decimal = Decimal("1.24")
    diameter_mm: Decimal = Decimal("1.75")
    sleep: Callable[[float], None] = time.sleep

    driver = "simulated"
    nozzle_mm = Decimal("0.4")
    keeps = frozenset(Protection)

    @property
    def model(self) -> str:
        """What kind of machine it is; where its minutes are not those of the wall's clock, the name says so."""
        return "Simulated FDM" if self.speed == 1 else "Simulated FDM, minutes of simulated time"

    def __post_init__(self) -> None:
        """Errors: UsageError for a speed or a failure that cannot be."""
        if self.speed <= 0 or (self.fail_at is not None and not 0 <= self.fail_at <= 1):
            raise UsageError("a speed is above 0, a failure is from 0 to 1")

    def print(self, gcode: bytes, *, on_progress: Callable[[Progress], None], stop: Callable[[], bool]) -> PrintRun:
        """Run a job; see `Printer.print`. G-code that no firmware would finish ends with its fault."""
        lines = list(_lines(gcode))
        total = self._filament(lines)
        clogs_after = math.inf if self.fail_at is None else self.fail_at * total
        machine = self._machine()
        used = seconds = waited = 0.0
        fault: str | None = None
        cancelled = False
        for number, line in enumerate(lines):
            try:
                through, taken = machine.run(line)
            except _FaultError as error:
                fault = str(error)
                break
            used += through
            seconds += taken
            if used > clogs_after:
                used, fault = clogs_after, "the nozzle is clogged"
                break
            if number % _PROGRESS_EVERY == 0:
                on_progress(Progress(round(1000 * used / total) if total else 0, machine.layer))
                waited = self._wait(seconds, waited)
                if cancelled := stop():
                    break
        else:
            on_progress(Progress(1000, machine.layer))
            self._wait(seconds, waited)
        if fault is None and not cancelled and not used:
            fault = "the job extrudes nothing"
        return PrintRun(
            fault, cancelled, _rounded(used), _rounded(self._grams(used)), machine.layer, math.ceil(seconds)
        )

    def _machine(self) -> _Machine:
        x, y, z = (float(length) for length in self.volume_mm)
        return _Machine((x, y, z))

    def _filament(self, lines: list[str]) -> float:
        """Return how much filament the whole job would take, or what it takes until its fault, mm."""
        machine = self._machine()
        total = 0.0
        with contextlib.suppress(_FaultError):
            for line in lines:
                total += machine.run(line)[0]
        return total

    def _wait(self, seconds: float, waited: float) -> float:
        if math.isfinite(self.speed):
            self.sleep((seconds - waited) / self.speed)
        return seconds

    def _grams(self, filament_mm: float) -> float:
        area = math.pi * float(self.diameter_mm) ** 2 / 4
        return filament_mm * area / 1000 * float(self.density)


def simulated_printers(*, speed: float = math.inf) -> Mapping[str, SimulatedPrinter]:
    """Return the two printers of a simulated print centre, by name."""
    large = (Decimal(250), Decimal(210), Decimal(210))
    return {name: SimulatedPrinter(name, large, speed) for name in ("ada", "grace")}


def _words(text: str) -> dict[str, float]:
    return {letter: float(value) for letter, value in _WORD.findall(text)}


def _lines(gcode: bytes) -> Iterator[str]:
    for line in gcode.decode("latin-1").splitlines():
        command = line.partition(";")[0].strip()
        if command:
            yield command


def _rounded(value: float) -> Decimal:
    return Decimal(f"{value:.3f}")
