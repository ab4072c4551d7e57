"""Which slicer makes a print: the first of a centre's that can keep what the licence demands.

What cannot keep it is refused, never weakened; this is asked before anything is redeemed.
"""

from collections.abc import Sequence
from typing import Final

from platemark.agent.printers.printing import Printer
from platemark.agent.slicers.basic import BasicSlicer
from platemark.agent.slicers.prusa import find_prusa
from platemark.agent.slicers.slicing import Slicer, supports_not_made
from platemark.errors import Kind, LocalError, RefusedError, UsageError
from platemark.protocol.license_terms import Protection

SLICERS: Final = ("auto", "prusa", "basic")
"""What a person may choose; `auto` prefers a real slicer where one is installed."""


def find_slicers(choice: str) -> Sequence[Slicer]:
    """Return the slicers of this machine that a choice allows, the preferred one first.

    Errors: UsageError `slicer-unknown`; LocalError `slicer-missing` for one that is not installed.
    """
    prusa = None if choice == "basic" else find_prusa()
    match choice:
        case "auto":
            return [slicer for slicer in (prusa, BasicSlicer()) if slicer is not None]
        case "basic":
            return [BasicSlicer()]
        case "prusa" if prusa is not None:
            return [prusa]
        case "prusa":
            raise LocalError(
                "PrusaSlicer is not installed", code="slicer-missing", hint="install prusa-slicer, or take basic"
            )
        case _:
            raise UsageError(
                f"{choice[:20]!r} is no slicer", code="slicer-unknown", hint=f"one of {', '.join(SLICERS)}"
            )


def choose_slicer(
    slicers: Sequence[Slicer], printer: Printer, protection: Protection, *, needs_supports: bool
) -> Slicer:
    """Return the first slicer that keeps `protection` and can do the job; the printer must keep it too.

    Errors: RefusedError `protection-not-kept` or `supports-not-made`.
    """
    if protection not in printer.keeps:
        raise RefusedError(
            f"the licence demands protection {protection.value!r}, which printer {printer.name} cannot keep",
            kind=Kind.FORBIDDEN,
            code="protection-not-kept",
            hint="choose another printer",
        )
    keeping = [slicer for slicer in slicers if protection in slicer.keeps]
    if not keeping:
        names = ", ".join(slicer.name for slicer in slicers) or "no slicer"
        raise RefusedError(
            f"the licence demands protection {protection.value!r}, which {names} cannot keep on this machine",
            kind=Kind.FORBIDDEN,
            code="protection-not-kept",
            hint="the basic slicer keeps it; PrusaSlicer needs memory-backed files (Linux, /dev/shm)",
        )
    able = [slicer for slicer in keeping if slicer.makes_supports or not needs_supports]
    if not able:
        raise supports_not_made()
    return able[0]
