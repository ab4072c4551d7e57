"""What slicers write at the end of their G-code: grams, time, layers."""

import re
from decimal import Decimal
from typing import Final

from platemark.agent.slicers.slicing import Estimates
from platemark.errors import LocalError

_TAIL_BYTES: Final = 64 << 10
_GRAMS: Final = re.compile(rb"^; total filament used \[g\] = (\d{1,9}(?:\.\d{1,6})?)\s*$", re.MULTILINE)
_SECONDS: Final = re.compile(rb"^; estimated printing time \[s\] = (\d{1,9})\s*$", re.MULTILINE)
_SPOKEN: Final = re.compile(
    rb"^; estimated printing time \(normal mode\) = (?:(\d+)d ?)?(?:(\d+)h ?)?(?:(\d+)m ?)?(?:(\d+)s)?\s*$",
    re.MULTILINE,
)


def estimates_of(gcode: bytes) -> Estimates:
    """Return the estimates in the comments at the end of G-code.

    Errors: LocalError `slicer-crashed` when there are none, since then the G-code is incomplete.
    """
    tail = gcode[-_TAIL_BYTES:]
    grams = _GRAMS.search(tail)
    if grams is None:
        raise _incomplete()
    return Estimates(Decimal(grams[1].decode()), _seconds(tail))


def number_of(gcode: bytes, name: str) -> int:
    """Return the whole number that a comment `; name = number` at the end of G-code gives; errors as above."""
    found = re.search(rb"^; " + re.escape(name.encode()) + rb" = (\d{1,9})\s*$", gcode[-_TAIL_BYTES:], re.MULTILINE)
    if found is None:
        raise _incomplete()
    return int(found[1])


def _seconds(tail: bytes) -> int:
    if plain := _SECONDS.search(tail):
        return int(plain[1])
    spoken = _SPOKEN.search(tail)
    if spoken is None or not any(spoken.groups()):
        raise _incomplete()
    days, hours, minutes, seconds = (int(part or 0) for part in spoken.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _incomplete() -> LocalError:
    return LocalError("the slicer's G-code lacks its estimates", code="slicer-crashed", hint="slice again")
