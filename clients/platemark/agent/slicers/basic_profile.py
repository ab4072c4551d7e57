"""The basic slicer's settings, with one byte form, so that their digest can stand in a receipt."""

import math
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final, Self

from platemark.errors import MalformedError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue
from platemark.protocol.decimals import decimal_text, parse_decimal
from platemark.protocol.digests import sha256
from platemark.protocol.units import Digest32

_MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class BasicProfile:
    """Settings for one printer and material; lengths in mm, speeds in mm/s, density in g/cm³."""

    layer_height_mm: Decimal = Decimal("0.2")
    line_width_mm: Decimal = Decimal("0.45")
    walls: int = 2
    bottom_layers: int = 4
    top_layers: int = 4
    fill_percent: int = 15
    filament_diameter_mm: Decimal = Decimal("1.75")
    filament_density: Decimal = Decimal("1.24")
    wall_speed_mm_s: Decimal = Decimal(50)
    fill_speed_mm_s: Decimal = Decimal(80)
    travel_speed_mm_s: Decimal = Decimal(150)
    acceleration_mm_s2: Decimal = Decimal(1000)
    retraction_mm: Decimal = Decimal("0.8")
    nozzle_celsius: int = 210
    bed_celsius: int = 60

    def __post_init__(self) -> None:
        """Errors: MalformedError `slicer-profile` for settings with which nothing can be printed."""
        height, width = self.layer_height_mm, self.line_width_mm
        sound = Decimal("0.02") <= height <= Decimal(2) and height < width <= Decimal(5)
        counts = (self.walls, self.bottom_layers, self.top_layers, self.fill_percent)
        positive = (
            *(self.filament_diameter_mm, self.filament_density, self.wall_speed_mm_s, self.fill_speed_mm_s),
            *(self.travel_speed_mm_s, self.acceleration_mm_s2),
        )
        if not sound or any(not 0 <= count <= 100 for count in counts) or any(value <= 0 for value in positive):
            raise MalformedError("the slicer's settings are impossible", code="slicer-profile")

    def spacing_mm(self) -> float:
        """Return how far apart neighbouring lines lie, so that their flat ovals fill the layer without gaps."""
        height, width = float(self.layer_height_mm), float(self.line_width_mm)
        return width - height * (1 - math.pi / 4)

    def filament_per_mm(self) -> float:
        """Return how many mm of filament a line of one mm takes: a flat oval, `line_width_mm` wide."""
        return float(self.layer_height_mm) * self.spacing_mm() / self._filament_area()

    def grams_per_mm(self) -> float:
        """Return what one mm of filament weighs, grams."""
        return self._filament_area() / 1000 * float(self.filament_density)

    def _filament_area(self) -> float:
        return math.pi * float(self.filament_diameter_mm) ** 2 / 4

    def to_bytes(self) -> bytes:
        """Return the settings as canonical JSON."""
        values: dict[str, JsonValue] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            values[item.name] = decimal_text(value) if isinstance(value, Decimal) else value
        return canonical.encode(values)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the settings that `to_bytes` wrote; errors: MalformedError."""
        names = frozenset(item.name for item in fields(cls))
        found = canonical.object_of(canonical.decode(data, max_bytes=_MAX_BYTES), fields=names)
        values: dict[str, Any] = {
            item.name: canonical.integer_of(found[item.name], high=1000)
            if item.type is int
            else parse_decimal(found[item.name])
            for item in fields(cls)
        }
        return cls(**values)

    def digest(self) -> Digest32:
        """Return the SHA-256 of the settings' bytes."""
        return sha256(self.to_bytes())
