"""The basic slicer's arithmetic: sections of a solid, walls, fill, moves. Pure, and the same bytes for the same input.

    1  cut the solid in the middle of every layer
    2  walls: the section's outline moved inwards by half a line, then by whole lines
    3  where the layers above and below do not cover, and in the bottom and top layers: solid fill
    4  elsewhere: sparse fill, lines whose direction alternates
    5  order by nearness, retract on long travels, count what is extruded

It does not make supports, bridges, skirts or walls thinner than a line; `overhangs` says when a part needs them.

Run as a program, it reads `u32 length ‖ profile (JSON) ‖ u32 length ‖ bed (JSON) ‖ binary STL` from its input and
writes G-code.
"""

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from platemark.agent.slicers.basic_profile import BasicProfile
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue
from platemark.protocol.decimals import parse_decimal

if TYPE_CHECKING:
    from manifold3d import CrossSection, Manifold

Path2 = NDArray[np.float64]
"""Points of a path on a layer, shape (n, 2), mm."""

_SIMPLIFY_MM: Final = 0.01
_SHORTEST_HATCH_MM: Final = 0.2
_MITER: Final = 2.0
_OVERLAP: Final = 0.25
_TRAVEL_WITHOUT_RETRACTION_MM: Final = 2.0
_CORNER_COSINE: Final = math.cos(math.radians(30))
_OVERHANG_MM2: Final = 4.0
_DATA_ERROR: Final = 65  # EX_DATAERR of sysexits.h


@dataclass(slots=True)
class _Layer:
    """A layer's regions: walls to follow, and areas to fill."""

    walls: list[Path2]
    solid: "CrossSection"
    sparse: "CrossSection"


@dataclass(slots=True)
class _Writer:
    """Writes moves and keeps count of filament (mm) and time (s)."""

    profile: BasicProfile
    lines: list[str] = field(default_factory=list)
    filament_mm: float = 0.0
    seconds: float = 0.0
    position: tuple[float, float] = (0.0, 0.0)

    def layer(self, number: int) -> None:
        """Go up to a layer, numbered from 0."""
        height = float(self.profile.layer_height_mm)
        self.lines += [f";LAYER:{number}", f"G1 Z{(number + 1) * height:.3f} F600"]
        self.seconds += height / 10

    def follow(self, path: Path2, speed: float) -> None:
        """Travel to a path's start and extrude along it at `speed` mm/s."""
        self._travel(float(path[0, 0]), float(path[0, 1]))
        steps = np.diff(path, axis=0)
        lengths = np.hypot(steps[:, 0], steps[:, 1])
        kept = lengths > 1e-3
        filament = lengths * self.profile.filament_per_mm()
        feed = round(speed * 60)
        for (x, y), amount, keep in zip(path[1:].tolist(), filament.tolist(), kept.tolist(), strict=True):
            if keep:
                self.lines.append(f"G1 X{x:.3f} Y{y:.3f} E{amount:.5f} F{feed}")
        self.filament_mm += float(filament[kept].sum())
        self.seconds += self._duration(steps[kept], lengths[kept], speed)
        self.position = (float(path[-1, 0]), float(path[-1, 1]))

    def _travel(self, x: float, y: float) -> None:
        distance = math.dist(self.position, (x, y))
        if distance < 1e-3:
            return
        speed = float(self.profile.travel_speed_mm_s)
        retracts = distance > _TRAVEL_WITHOUT_RETRACTION_MM
        back = float(self.profile.retraction_mm)
        if retracts:
            self.lines.append(f"G1 E-{back:.5f} F2100")
        self.lines.append(f"G0 X{x:.3f} Y{y:.3f} F{round(speed * 60)}")
        if retracts:
            self.lines.append(f"G1 E{back:.5f} F2100")
            self.seconds += 2 * back / 35
        self.seconds += distance / speed + speed / float(self.profile.acceleration_mm_s2)

    def _duration(self, steps: NDArray[np.float64], lengths: NDArray[np.float64], speed: float) -> float:
        """Return the time of moves that brake to a stop in corners sharper than 30°, and nowhere else."""
        if not len(lengths):
            return 0.0
        unit = steps / lengths[:, None]
        corners = (unit[:-1] * unit[1:]).sum(axis=1) < _CORNER_COSINE
        runs = np.add.reduceat(lengths, np.concatenate([[0], np.nonzero(corners)[0] + 1]))
        acceleration = float(self.profile.acceleration_mm_s2)
        reaches = runs >= speed * speed / acceleration
        return float(np.where(reaches, runs / speed + speed / acceleration, 2 * np.sqrt(runs / acceleration)).sum())


def slice_solid(solid: "Manifold", profile: BasicProfile, bed_mm: tuple[float, float]) -> bytes:
    """Return the G-code of a solid, set on the middle of a bed of this width and depth.

    The estimates and warnings stand in comments at the end, as real slicers write them.
    """
    x0, y0, z0, x1, y1, z1 = solid.bounding_box()
    placed = solid.translate((bed_mm[0] / 2 - (x0 + x1) / 2, bed_mm[1] / 2 - (y0 + y1) / 2, -z0))
    height = float(profile.layer_height_mm)
    count = max(1, round((z1 - z0) / height))
    sections = [placed.slice((number + 0.5) * height) for number in range(count)]
    writer = _Writer(profile)
    writer.lines += _start(profile)
    for number, layer in enumerate(_layers(sections, profile)):
        writer.layer(number)
        _write_layer(writer, layer, number)
    grams = writer.filament_mm * profile.grams_per_mm()
    writer.lines += [
        *("M104 S0", "M140 S0", "M107", "G0 X0 Y0 F9000", "M84"),
        f"; filament used [mm] = {writer.filament_mm:.2f}",
        f"; total filament used [g] = {grams:.2f}",
        f"; estimated printing time [s] = {math.ceil(writer.seconds)}",
        f"; layers = {count}",
        f"; unsupported layers = {overhangs(sections, height)}",
        "",
    ]
    return "\n".join(writer.lines).encode("ascii")


def overhangs(sections: Sequence["CrossSection"], height: float) -> int:
    """Return how many layers reach further than 45° beyond the one below over more than 4 mm²."""
    from manifold3d import JoinType

    return sum(
        (above - below.offset(height, JoinType.Square)).area() > _OVERHANG_MM2
        for below, above in itertools.pairwise(sections)
    )


def _start(profile: BasicProfile) -> list[str]:
    return [
        "; generated by the basic slicer of Platemark",
        *("G21", "G90", "M83"),
        f"M140 S{profile.bed_celsius}",
        f"M104 S{profile.nozzle_celsius}",
        f"M190 S{profile.bed_celsius}",
        f"M109 S{profile.nozzle_celsius}",
        *("G28", "G92 E0", "M106 S255"),
    ]


def _layers(sections: Sequence["CrossSection"], profile: BasicProfile) -> Iterator[_Layer]:
    from manifold3d import CrossSection, JoinType

    half, spacing = float(profile.line_width_mm) / 2, profile.spacing_mm()
    top = len(sections) - profile.top_layers
    for number, section in enumerate(sections):
        walls: list[Path2] = []
        for wall in reversed(range(profile.walls)):  # inner walls first: the outer one leans on them
            outline = section.offset(-half - spacing * wall, JoinType.Miter, _MITER).simplify(_SIMPLIFY_MM)
            walls += [_closed(loop) for loop in outline.to_polygons()]
        area = section.offset(-spacing * profile.walls, JoinType.Miter, _MITER)
        if number < profile.bottom_layers or number >= top:
            solid = area
        else:
            around = range(number - profile.bottom_layers, number + profile.top_layers + 1)
            covered = _common([sections[near] for near in around if near != number])
            solid = (area - covered).offset(-0.1, JoinType.Miter, _MITER).offset(0.4, JoinType.Miter, _MITER) ^ area
        sparse = area - solid if profile.fill_percent else CrossSection()
        yield _Layer(walls, solid, sparse)


def _common(sections: Sequence["CrossSection"]) -> "CrossSection":
    from manifold3d import CrossSection, OpType

    return CrossSection.batch_boolean(list(sections), OpType.Intersect)


def _write_layer(writer: _Writer, layer: _Layer, number: int) -> None:
    from manifold3d import JoinType

    profile = writer.profile
    spacing = profile.spacing_mm()
    slowly = 0.5 if number == 0 else 1.0
    angle = math.pi / 4 if number % 2 else -math.pi / 4
    for wall in _nearest(layer.walls, writer.position):
        writer.follow(wall, float(profile.wall_speed_mm_s) * slowly)
    speed = float(profile.fill_speed_mm_s) * slowly
    solid = layer.solid.offset(spacing * _OVERLAP, JoinType.Miter, _MITER)
    for path in hatch(solid.to_polygons(), spacing, angle):
        writer.follow(path, speed)
    if profile.fill_percent:
        for path in hatch(layer.sparse.to_polygons(), spacing * 100 / profile.fill_percent, angle):
            writer.follow(path, speed)


def hatch(outlines: Sequence[Path2], spacing: float, angle: float) -> Iterator[Path2]:
    """Yield lines of one direction that fill outlines (even-odd), `spacing` mm apart, back and forth."""
    loops = [loop for loop in outlines if len(loop) > 2]
    if not loops:
        return
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]]).T  # row vectors; its transpose turns back
    turned = [loop @ turn for loop in loops]
    edges = np.concatenate([np.hstack([loop, np.roll(loop, -1, axis=0)]) for loop in turned])
    first = math.ceil(float(edges[:, 1].min()) / spacing)
    last = math.floor(float(edges[:, 1].max()) / spacing)
    forward = True
    for step in range(first, last + 1):
        y = step * spacing + 1e-7
        crossed = edges[(edges[:, 1] <= y) != (edges[:, 3] <= y)]
        x = np.sort(
            crossed[:, 0] + (y - crossed[:, 1]) * (crossed[:, 2] - crossed[:, 0]) / (crossed[:, 3] - crossed[:, 1])
        )
        pairs = [(a, b) for a, b in zip(x[::2].tolist(), x[1::2].tolist(), strict=False) if b - a > _SHORTEST_HATCH_MM]
        for a, b in pairs if forward else [(b, a) for a, b in reversed(pairs)]:
            yield np.array([[a, y], [b, y]]) @ turn.T
        forward = not forward


def _nearest(loops: Iterable[Path2], start: tuple[float, float]) -> Iterator[Path2]:
    """Yield closed loops, each time the one with the nearest corner, begun at that corner."""
    left = list(loops)
    here = np.array(start)
    while left:
        distances = [np.square(loop[:-1] - here).sum(axis=1) for loop in left]
        chosen = min(range(len(left)), key=lambda index: (float(distances[index].min()), index))
        loop = left.pop(chosen)
        corner = int(distances[chosen].argmin())
        yield np.concatenate([loop[corner:-1], loop[: corner + 1]])
        here = loop[corner]


def _closed(loop: Path2) -> Path2:
    closed: Path2 = np.concatenate([loop, loop[:1]])
    return closed


def _sides(data: bytes) -> Sequence[JsonValue]:
    return canonical.list_of(canonical.decode(data), max_items=2)


def main() -> None:
    """Read a job from standard input, write its G-code to standard output; exit code 65 says that it is none.

    The settings are ours; only what follows them is a stranger's. Before that is read, the program slices a cube,
    so that all code it needs is loaded while it can still be read, and gives up its privileges.
    """
    from manifold3d import Manifold

    from platemark.agent.slicers.confine import drop_privileges
    from platemark.errors import DataError
    from platemark.geometry.mesh import mesh_of, solid_of
    from platemark.geometry.stl import read_stl, write_stl

    pipe = sys.stdin.buffer
    profile = BasicProfile.from_bytes(pipe.read(int.from_bytes(pipe.read(4), "big")))
    width, depth = (float(parse_decimal(side)) for side in _sides(pipe.read(int.from_bytes(pipe.read(4), "big"))))
    slice_solid(solid_of(read_stl(write_stl(mesh_of(Manifold.cube((1.0, 1.0, 1.0)))))), profile, (width, depth))
    drop_privileges()
    try:
        solid = solid_of(read_stl(pipe.read()))
    except DataError:
        sys.exit(_DATA_ERROR)
    sys.stdout.buffer.write(slice_solid(solid, profile, (width, depth)))


if __name__ == "__main__":
    main()
