"""Which other parts have something in common with one: its reservation, holder and revision, its printer and lot.

The log and the chain tell the first three of every part. Printers and lots are in receipts, which a log holds as salted
digests only: they are known of parts whose passports are at hand.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from platemark.auditor.evidence import Evidence
from platemark.auditor.part import Opened, find_print, open_evidence
from platemark.errors import MalformedError
from platemark.protocol import log_entry
from platemark.protocol.canonical import JsonValue
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry, Result
from platemark.protocol.outcome import result_text
from platemark.protocol.passport import Passport
from platemark.protocol.receipt import Receipt
from platemark.protocol.serial import grouped, parse_serial, serial_of
from platemark.protocol.units import Address, DesignId, TokenId, id_text
from platemark.verify.passport import verify_passport
from platemark.verify.report import Report
from platemark.verify.steps import Step

_LOG: Final = "tiles"
_PASSPORTS: Final = "passports"


class Relation(StrEnum):
    """What two parts have in common, the closest first."""

    LOT = "lot"
    PRINTER = "printer"
    RESERVATION = "reservation"
    HOLDER = "holder"
    REVISION = "revision"


@dataclass(frozen=True, slots=True)
class Related:
    """A part, what it has in common with the one that is asked about, and how its print ended (None: not known)."""

    serial: str
    relations: tuple[Relation, ...]
    token_id: TokenId
    sequence: int
    result: Result | None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the part as reports hold it."""
        return {
            "serial": self.serial,
            "relations": [str(each) for each in self.relations],
            "tokenId": id_text(self.token_id),
            "sequence": self.sequence,
            "result": "not known" if self.result is None else result_text(self.result),
        }


@dataclass(frozen=True, slots=True)
class _Making:
    """How a part was made, by its receipt: the printers that took part in it, and the material's name and lot."""

    printers: frozenset[tuple[str, str]]
    lot: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class _Side:
    """What is known of one of two parts that are compared; `making` where its receipt is at hand."""

    serial: str
    token_id: TokenId
    holder: Address | None
    revision: tuple[DesignId, int] | None
    making: _Making | None


def find_related(
    evidence: Evidence, serial_text: str, passports: Iterable[Passport] = ()
) -> tuple[Report, list[Related]]:
    """Return the report on the part's evidence, and the parts of this log that are related to it, in its order.

    Each of `passports` must verify by itself, else it is no evidence and is named as such. None of the related parts is
    audited here.

    Errors: MalformedError `serial`; UpstreamError when chain, blocks or log cannot be reached.
    """
    serial = parse_serial(serial_text)
    report = Report(f"parts related to {grouped(serial)}")
    opened = open_evidence(report, evidence)
    if opened is None:
        return report, []
    makings = dict(_makings(report, passports))
    found: list[Related] = []
    with report.step(Step.INCLUSION, "the serial is in the log", _LOG):
        found = _related(opened, find_print(opened.log, serial).entry, makings)
    if serial not in makings:
        report.skip(
            Step.RECEIPT, "printers and lots are not compared: needs the part's passport (--passports)", _PASSPORTS
        )
    report.facts |= {
        "serial": serial,
        "related": {str(each): sum(each in part.relations for part in found) for each in Relation},
    }
    return report, found


def _makings(report: Report, passports: Iterable[Passport]) -> Iterator[tuple[str, _Making]]:
    for passport in passports:
        checked = verify_passport(passport)
        if not checked.holds:
            report.extend(checked.failures)
            continue
        if passport.receipt is None:
            continue
        receipt = Receipt.parse(passport.receipt.envelope.statement)
        printers = frozenset((each.printer.name, each.printer.model) for each in receipt.attempts)
        material = receipt.material
        yield passport.serial, _Making(printers, (material.name, material.lot) if material and material.lot else None)


def _related(opened: Opened, part: RedeemedEntry, makings: Mapping[str, _Making]) -> list[Related]:
    """Return the related parts; only they are held in memory, however long the log is."""
    own = _side(opened, part, makings)
    found: dict[tuple[TokenId, int], Related] = {}
    for data in opened.log.reader.entries():
        try:
            entry = log_entry.decode(data)
        except MalformedError:
            continue  # `audit log` names it
        key = (entry.token_id, entry.sequence) if isinstance(entry, RedeemedEntry | OutcomeEntry) else None
        if isinstance(entry, RedeemedEntry) and key != (part.token_id, part.sequence):
            other = _side(opened, entry, makings)
            relations = tuple(_relations(own, other))
            if relations:
                found[entry.token_id, entry.sequence] = Related(
                    other.serial, relations, entry.token_id, entry.sequence, None
                )
        elif isinstance(entry, OutcomeEntry) and key in found:
            found[key] = replace(found[key], result=entry.result)
    return list(found.values())


def _relations(own: _Side, other: _Side) -> Iterator[Relation]:
    if own.making is not None and other.making is not None:
        if own.making.lot is not None and own.making.lot == other.making.lot:
            yield Relation.LOT
        # A printer's name is its centre's own: two centres may have one of the same name.
        if own.holder == other.holder and own.making.printers & other.making.printers:
            yield Relation.PRINTER
    if own.token_id == other.token_id:
        yield Relation.RESERVATION
    if own.holder is not None and own.holder == other.holder:
        yield Relation.HOLDER
    if own.revision is not None and own.revision == other.revision:
        yield Relation.REVISION


def _side(opened: Opened, part: RedeemedEntry, makings: Mapping[str, _Making]) -> _Side:
    serial = serial_of(part.token_id, part.sequence)
    reservation = opened.facts.reservations.get(part.token_id)
    if reservation is None:
        return _Side(serial, part.token_id, None, None, makings.get(serial))
    permission = reservation.permission
    found = opened.facts.licenses.get(permission.license_id)
    revision = None if found is None else (found.terms.design_id, permission.revision)
    return _Side(serial, part.token_id, permission.holder, revision, makings.get(serial))
