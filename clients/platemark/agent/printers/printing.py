"""What every printer of ours does: it takes G-code from memory, and reports what it really did."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from platemark.protocol.license_terms import Protection


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a print stands: thousandths of its filament, and the layer it is on (from 1)."""

    permille: int
    layer: int


@dataclass(frozen=True, slots=True)
class PrintRun:
    """What a printer did with a job, by its own counters.

    `fault` says why it stopped early, in the printer's words; None means that it finished. `grams` is what went
    through the nozzle; a failed run has used some too.
    """

    fault: str | None
    cancelled: bool
    filament_mm: Decimal
    grams: Decimal
    layers: int
    duration_seconds: int

    @property
    def finished(self) -> bool:
        """Whether the job ran to its end."""
        return self.fault is None and not self.cancelled


class Printer(Protocol):
    """A machine that runs G-code."""

    @property
    def name(self) -> str:
        """What the centre calls it."""
        ...

    @property
    def model(self) -> str:
        """What kind of machine it is."""
        ...

    @property
    def driver(self) -> str:
        """How it is driven, as receipts say it: simulated, octoprint, moonraker, file."""
        ...

    @property
    def nozzle_mm(self) -> Decimal:
        """The nozzle's diameter."""
        ...

    @property
    def volume_mm(self) -> tuple[Decimal, Decimal, Decimal]:
        """Its build volume: x, y, z in mm."""
        ...

    @property
    def keeps(self) -> frozenset[Protection]:
        """The protections that it can keep."""
        ...

    def print(self, gcode: bytes, *, on_progress: Callable[[Progress], None], stop: Callable[[], bool]) -> PrintRun:
        """Run a job to its end, to a fault, or until `stop` says so, and return what was done.

        Errors: UpstreamError `printer-unreachable`.
        """
        ...
