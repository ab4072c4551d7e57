"""A design's life by month and holder: what was reserved, printed, given back and left unused.

A log has no times: a print is of the month of the block that anchored its entry first, which is hours at most after it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from platemark.errors import MalformedError
from platemark.protocol import log_entry
from platemark.protocol.canonical import JsonValue
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry
from platemark.protocol.units import Address, DesignId, TokenId, UnixSeconds, address_text
from platemark.verify.facts import ChainFacts, ReservationFact

UNDATED: Final = "not anchored"
"""Where a month stands: of prints that no anchor covers yet."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one holder did with a design in one month; all are numbers of prints.

    `month` is `YYYY-MM` in UTC, or UNDATED. `reserved` by the reservation's block, `printed` and `voided` by the log,
    `unused` by the end of the reservation: what came back to the holder.
    """

    month: str
    holder: Address
    reserved: int
    printed: int
    voided: int
    unused: int

    def to_json(self) -> dict[str, JsonValue]:
        """Return the share as reports hold it."""
        return {
            "month": self.month,
            "holder": address_text(self.holder),
            "reserved": self.reserved,
            "printed": self.printed,
            "voided": self.voided,
            "unused": self.unused,
        }


def by_month(
    facts: ChainFacts,
    design_id: DesignId,
    entries: Iterable[bytes] = (),
    anchored_at: Callable[[int], UnixSeconds | None] = lambda _: None,
) -> list[Share]:
    """Return the shares of a design, by month and holder.

    Args:
        facts: What the chain says.
        design_id: The design.
        entries: Of a log, all in order; without them nothing is known to be printed.
        anchored_at: The time of the block that first anchored the entry at an index; None while none did.

    Errors: those of `entries`.
    """
    own = _reservations(facts, design_id)
    counts: Counter[tuple[str, Address, str]] = Counter()
    for reservation in own.values():
        holder = reservation.permission.holder
        counts[_month(reservation.block.timestamp), holder, "reserved"] += reservation.permission.prints
        if reservation.returned:
            counts[_month(reservation.permission.expires_at), holder, "unused"] += reservation.returned
    for index, data in enumerate(entries):
        try:
            entry = log_entry.decode(data)
        except MalformedError:
            continue  # `audit log` names it
        found = own.get(entry.token_id)
        if found is None or not isinstance(entry, RedeemedEntry | OutcomeEntry):
            continue
        holder, at = found.permission.holder, anchored_at(index)
        month = UNDATED if at is None else _month(at)
        if isinstance(entry, RedeemedEntry):
            counts[month, holder, "printed"] += 1
        elif entry.spare_used:
            counts[month, holder, "voided"] += 1
    keys = sorted({(month, holder) for month, holder, _ in counts})
    return [
        Share(month, holder, *(counts[month, holder, what] for what in ("reserved", "printed", "voided", "unused")))
        for month, holder in keys
    ]


def _reservations(facts: ChainFacts, design_id: DesignId) -> dict[TokenId, ReservationFact]:
    licenses = {found.license_id for found in facts.licenses.values() if found.terms.design_id == design_id}
    return {
        token_id: found for token_id, found in facts.reservations.items() if found.permission.license_id in licenses
    }


def _month(at: UnixSeconds) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")
