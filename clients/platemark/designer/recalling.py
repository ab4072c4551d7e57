"""What a recall leaves a designer owing: to whom, how many prints, and by which licences they were had.

docs/flows/recall.md says who is owed what, and why.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import Address, address_text
from platemark.sdk.answers import Affected, LicenseState


@dataclass(slots=True)
class Debt:
    """What one holder is owed, in prints.

    `replacements` for parts that were good, `pending` for prints whose outcome may still come, `returns` for reserved
    prints that nobody can release any more.
    """

    holder: Address
    replacements: int = 0
    pending: int = 0
    returns: int = 0

    def add(self, item: Affected) -> None:
        """Count what a reservation or a print adds."""
        match item.owed:
            case "replacement":
                self.replacements += item.prints
            case "pending":
                self.pending += item.prints
            case "return":
                self.returns += item.prints
            case _:
                pass

    def to_json(self) -> dict[str, JsonValue]:
        """Return the debt as commands give it."""
        return {
            "holder": address_text(self.holder),
            "replacements": self.replacements,
            "pending": self.pending,
            "returns": self.returns,
        }


def debts(items: Iterable[Affected]) -> list[Debt]:
    """Return each holder's debt, by address; whoever is owed nothing is there too. Only holders are in memory."""
    found: dict[Address, Debt] = {}
    for item in items:
        found.setdefault(item.holder, Debt(item.holder)).add(item)
    return [found[holder] for holder in sorted(found)]


def bound_licenses(licenses: Iterable[LicenseState], revision: int) -> list[LicenseState]:
    """Return the licences whose prints are of a revision now: nobody reserves them until they are raised."""
    return [each for each in licenses if each.revision == revision]
