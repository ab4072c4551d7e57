"""Ready terms in plain words: what a designer offers unless he says otherwise, choice by choice.

A template is a beginning, no kind of licence: what is offered is the terms document, which names no template. The
numbers are in docs/flows/licensing.md too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from platemark.errors import UsageError
from platemark.protocol.canonical import JsonValue
from platemark.protocol.license_terms import Protection


@dataclass(frozen=True, slots=True)
class Template:
    """Choices for a terms document; `cap` 0 is left to the designer, `price` is as a person writes it, in the coin."""

    name: str = ""
    purpose: str = ""
    cap: int = 0
    price: str = "0"
    payout: str = "purchase"
    spares_flat: int = 0
    spares_per_hundred: int = 0
    smallest_reservation: int = 1
    protection: str = Protection.STREAM
    transferable: bool = False
    materials: tuple[str, ...] = ()
    commercial: bool = True
    attribution: bool = False
    clauses: tuple[str, ...] = ()

    def choices(self) -> dict[str, JsonValue]:
        """Return what it chooses, by the names that the terms document has for it."""
        return {
            "protection": self.protection,
            "cap": self.cap,
            "price": self.price,
            "payout": self.payout,
            "sparesFlat": self.spares_flat,
            "sparesPerHundred": self.spares_per_hundred,
            "smallestReservation": self.smallest_reservation,
            "transferable": self.transferable,
            "materials": list(self.materials),
            "commercial": self.commercial,
            "attribution": self.attribution,
            "clauses": list(self.clauses),
        }


NONE: Final = Template()
"""What holds without a template."""

TEMPLATES: Final = {
    each.name: each
    for each in (
        Template(
            "personal",
            "A few prints for the holder's own use or as gifts; parts are not sold, the designer is named.",
            cap=5,
            spares_per_hundred=50,
            protection=Protection.DELETE_AFTER,
            commercial=False,
            attribution=True,
            clauses=("Parts are for the holder's own use or are given away.",),
        ),
        Template(
            "shop-batch",
            "Hundreds of prints for a shop that sells the parts, paid for each print, with spares for failed ones.",
            cap=500,
            price="0.001",
            spares_per_hundred=5,
            smallest_reservation=20,
            clauses=("Every part is inspected before it is sold; what fails is destroyed or recycled.",),
        ),
        Template(
            "repair",
            "Spare parts in load-bearing materials for whoever repairs, also for money; prints may be passed on.",
            cap=50,
            spares_per_hundred=50,
            transferable=True,
            materials=("PETG", "ABS", "ASA", "PA"),
            clauses=(
                "Parts are made to repair something that is there, not to sell it new.",
                "Whoever receives a part is told that it is a spare part that the maker of the thing did not make.",
            ),
        ),
    )
}


def chosen(template: str | None, given: Mapping[str, Any]) -> Template:
    """Return a template's choices, those of `NONE` without one, with what was given (not None) in their place.

    Errors: UsageError for an unknown template.
    """
    if template is not None and template not in TEMPLATES:
        raise UsageError(f"{template[:20]!r} is no template", hint=f"one of {', '.join(TEMPLATES)}")
    begun = NONE if template is None else TEMPLATES[template]
    return replace(begun, **{name: value for name, value in given.items() if value is not None})
