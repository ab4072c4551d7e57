"""Receipts from what an agent recorded: attempts, bodies, and quantities with who measured them.

A printer's own count is the source of grams and minutes. The grams in the part are those of its bodies, each of which
some attempt finished; what failed and how long it took is the sum over all attempts, and is left unmeasured when one of
them was not seen to its end. No number is ever made up. Estimates of slicers stay with the attempts' records: they are
no measurement.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from platemark.agent.job import Body
from platemark.agent.machine import Report
from platemark.agent.printers.printing import Printer, PrintRun
from platemark.agent.slicers.slicing import Estimates, Slicer
from platemark.agent.spool import AttemptRecord
from platemark.errors import LocalError, MalformedError
from platemark.protocol import canonical, receipt
from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url, parse_base64url, parse_signature, signature_text
from platemark.protocol.canonical import JsonValue, integer_of, object_of, text_of
from platemark.protocol.decimals import decimal_text, parse_decimal, rounded
from platemark.protocol.outcome import Result, SignedOutcome, parse_result, result_text, sign_outcome
from platemark.protocol.receipt import (
    NOT_MEASURED,
    Attempt,
    Envelope,
    Material,
    ObjectOutcome,
    Quantities,
    Quantity,
    Receipt,
    Source,
    sign_receipt,
)
from platemark.protocol.token import PrintToken
from platemark.protocol.typed_data import Domain, Outcome
from platemark.protocol.units import Address, Digest32, UnixSeconds, digest_text, parse_digest

_MINUTE: Final = Decimal(60)


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of an attempt when it begins; `gcode_sha256` is of all its G-code, one body after the other.

    `inspect`: what comes of it is to be inspected before anything is reported.
    """

    printer: receipt.Printer
    slicer: str
    slicer_version: str
    profile_sha256: Digest32
    gcode_sha256: Digest32
    started_at: UnixSeconds
    bodies: tuple[Body, ...]
    estimate: Estimates
    inspect: bool = False

    @classmethod
    def of(
        cls,
        printer: Printer,
        slicer: Slicer,
        *,
        gcode_sha256: Digest32,
        started_at: UnixSeconds,
        bodies: Sequence[Body],
        estimate: Estimates,
        inspect: bool,
    ) -> Self:
        """Return the start of an attempt on this printer with this slicer."""
        return cls(
            receipt.Printer(printer.name, printer.model, printer.driver),
            slicer.name,
            slicer.version,
            slicer.profile_digest,
            gcode_sha256,
            started_at,
            tuple(bodies),
            estimate,
            inspect,
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Return the start as the spool keeps it."""
        return {
            "printer": self.printer.to_json(),
            "slicer": self.slicer,
            "slicerVersion": self.slicer_version,
            "profileSha256": digest_text(self.profile_sha256),
            "gcodeSha256": digest_text(self.gcode_sha256),
            "startedAt": self.started_at,
            "bodies": [[body.part, body.index] for body in self.bodies],
            "estimatedGrams": decimal_text(self.estimate.grams),
            "estimatedSeconds": self.estimate.duration_seconds,
            "inspect": self.inspect,
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the start that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_START_FIELDS, optional=frozenset({"inspect"}))
        return cls(
            printer=receipt.Printer.from_json(found["printer"]),
            slicer=text_of(found["slicer"]),
            slicer_version=text_of(found["slicerVersion"]),
            profile_sha256=parse_digest(found["profileSha256"]),
            gcode_sha256=parse_digest(found["gcodeSha256"]),
            started_at=UnixSeconds(integer_of(found["startedAt"])),
            bodies=tuple(_body(item) for item in canonical.list_of(found["bodies"], max_items=receipt.MAX_OBJECTS)),
            estimate=Estimates(parse_decimal(found["estimatedGrams"]), integer_of(found["estimatedSeconds"])),
            inspect=found.get("inspect") is True,
        )


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended: which bodies were finished, and what the printer counted; None where nobody counted."""

    finished_at: UnixSeconds
    result: Result
    reason: str
    finished: tuple[Body, ...]
    finished_grams: Decimal | None
    wasted_grams: Decimal | None
    duration_seconds: int | None

    @classmethod
    def of(cls, runs: Sequence[tuple[Body, PrintRun]], finished_at: UnixSeconds) -> Self:
        """Return the end of an attempt whose runs were these, in order; the last one may have stopped early."""
        done = [(body, run) for body, run in runs if run.finished]
        stopped = next((run for _, run in runs if not run.finished), None)
        result = Result.COMPLETED
        if stopped is not None:
            result = Result.CANCELLED if stopped.cancelled else Result.FAILED
        return cls(
            finished_at=finished_at,
            result=result,
            reason="" if stopped is None else (stopped.fault or "cancelled at the printer")[:200],
            finished=tuple(body for body, _ in done),
            finished_grams=sum((run.grams for _, run in done), Decimal(0)),
            wasted_grams=stopped.grams if stopped is not None else Decimal(0),
            duration_seconds=sum(run.duration_seconds for _, run in runs),
        )

    @classmethod
    def interrupted(cls, noticed_at: UnixSeconds, runs: Sequence[tuple[Body, PrintRun]] = ()) -> Self:
        """Return the end of an attempt that nobody saw to its end: only what its finished bodies took was counted."""
        done = [(body, run) for body, run in runs if run.finished]
        grams = sum((run.grams for _, run in done), Decimal(0)) if done else None
        return cls(noticed_at, Result.CANCELLED, "interrupted", tuple(body for body, _ in done), grams, None, None)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the end as the spool keeps it."""
        return {
            "finishedAt": self.finished_at,
            "result": result_text(self.result),
            "reason": self.reason,
            "finished": [[body.part, body.index] for body in self.finished],
            "finishedGrams": _maybe_text(self.finished_grams),
            "wastedGrams": _maybe_text(self.wasted_grams),
            "durationSeconds": self.duration_seconds,
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the end that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_END_FIELDS)
        seconds = found["durationSeconds"]
        return cls(
            finished_at=UnixSeconds(integer_of(found["finishedAt"])),
            result=parse_result(found["result"]),
            reason=text_of(found["reason"]),
            finished=tuple(_body(item) for item in canonical.list_of(found["finished"], max_items=receipt.MAX_OBJECTS)),
            finished_grams=_maybe_decimal(found["finishedGrams"]),
            wasted_grams=_maybe_decimal(found["wastedGrams"]),
            duration_seconds=None if seconds is None else integer_of(seconds),
        )


_START_FIELDS: Final = frozenset(
    {
        "printer",
        "slicer",
        "slicerVersion",
        "profileSha256",
        "gcodeSha256",
        "startedAt",
        "bodies",
        "estimatedGrams",
        "estimatedSeconds",
    }
)
_END_FIELDS: Final = frozenset(
    {"finishedAt", "result", "reason", "finished", "finishedGrams", "wastedGrams", "durationSeconds"}
)


@dataclass(frozen=True, slots=True)
class History:
    """The attempts of one use, in order."""

    attempts: tuple[tuple[Start, End], ...]

    @classmethod
    def of(cls, records: Iterable[AttemptRecord]) -> Self:
        """Return the attempts that the spool recorded.

        Errors: LocalError `spool-damaged` for records that nobody could have written.
        """
        try:
            pairs = [(Start.from_json(record.started), record.ended) for record in records]
            return cls(
                tuple(
                    (start, End.interrupted(start.started_at) if ended is None else End.from_json(ended))
                    for start, ended in pairs
                )
            )
        except MalformedError as error:
            raise LocalError("an attempt's record is damaged", code="spool-damaged") from error

    def finished(self) -> frozenset[Body]:
        """Return the bodies that some attempt finished."""
        return frozenset(body for _, end in self.attempts for body in end.finished)

    def quantities(self) -> Quantities:
        """Return what the printers counted.

        An attempt whose record names no finished body gave none to the part; what it wasted, and its time, are known
        only if they were counted.
        """
        seconds = [end.duration_seconds for _, end in self.attempts]
        known = [second for second in seconds if second is not None]
        duration = rounded(Decimal(sum(known)) / _MINUTE)
        return Quantities(
            in_part=_measured(
                [end.finished_grams for _, end in self.attempts if end.finished or end.finished_grams is not None]
            ),
            failed=_measured([end.wasted_grams for _, end in self.attempts]),
            duration=Quantity(duration, Source.PRINTER) if known and len(known) == len(seconds) else NOT_MEASURED,
        )


def make_receipt(
    token: PrintToken,
    sequence: int,
    result: Result,
    *,
    bodies: Sequence[Body],
    history: History,
    material: Material | None,
    rejected: frozenset[Body] = frozenset(),
) -> Receipt:
    """Return the receipt of a use that ended with `result`; `rejected` bodies failed inspection.

    Slicer and profile are those of the last attempt; a use that was given up before any attempt names none.
    """
    finished = history.finished()
    last = history.attempts[-1][0] if history.attempts else None
    return Receipt(
        design_id=token.design_id,
        revision=token.revision,
        license_id=token.license_id,
        token_id=token.token_id,
        sequence=sequence,
        result=result,
        slicer=last.slicer if last else "none",
        slicer_version=last.slicer_version if last else "none",
        profile_sha256=last.profile_sha256 if last else Digest32(bytes(32)),
        attempts=tuple(
            Attempt(start.printer, start.gcode_sha256, start.started_at, end.finished_at, end.result, end.reason)
            for start, end in history.attempts
        ),
        objects=tuple(
            ObjectOutcome(body.part, body.index, _body_result(body, result, finished, rejected)) for body in bodies
        ),
        quantities=history.quantities(),
        material=material,
    )


def make_report(made: Receipt, *, agent: AccountKey, domain: Domain, random_bytes: Callable[[int], bytes]) -> Report:
    """Return the outcome as it is sent: signed, with the receipt in its envelope and the salt that opens its digest."""
    salt = random_bytes(32)
    outcome = sign_outcome(made.token_id, made.sequence, made.result, made.digest(salt), agent=agent, domain=domain)
    envelope = sign_receipt(made, agent)
    body = canonical.encode(
        {
            **outcome.to_json(),
            "statement": base64url(envelope.statement),
            "salt": base64url(salt),
            "envelopeSignature": signature_text(envelope.agent_signature),
        }
    )
    return Report(int(made.result), body)


@dataclass(frozen=True, slots=True)
class SentReport:
    """A report read back: the outcome, the receipt's envelope with the agent's signature, and the salt."""

    outcome: SignedOutcome
    envelope: Envelope
    salt: bytes

    @classmethod
    def parse(cls, report: Report, agent: Address) -> Self:
        """Return what `make_report` made; errors: MalformedError."""
        names = frozenset({"outcome", "signature", "statement", "salt", "envelopeSignature"})
        found = object_of(canonical.decode(report.body), fields=names)
        outcome = SignedOutcome(Outcome.from_json(found["outcome"]), parse_signature(found["signature"]))
        statement = parse_base64url(found["statement"], max_bytes=receipt.MAX_BYTES)
        envelope = Envelope(statement, agent, parse_signature(found["envelopeSignature"]))
        return cls(outcome, envelope, parse_base64url(found["salt"], max_bytes=32, exact_bytes=32))


def _body_result(body: Body, result: Result, finished: frozenset[Body], rejected: frozenset[Body]) -> Result:
    if body in rejected or (result is Result.REJECTED and not rejected and body in finished):
        return Result.REJECTED
    if body in finished:
        return Result.COMPLETED
    return Result.CANCELLED if result is Result.CANCELLED else Result.FAILED


def _measured(grams: Sequence[Decimal | None]) -> Quantity:
    known = [amount for amount in grams if amount is not None]
    if not known or len(known) != len(grams):
        return NOT_MEASURED
    return Quantity(rounded(sum(known, Decimal(0))), Source.PRINTER)


def _body(value: JsonValue) -> Body:
    items = canonical.list_of(value, max_items=2)
    if len(items) != 2:
        raise MalformedError("a body is a part's name and a number", code="canonical-form")
    return Body(text_of(items[0]), integer_of(items[1]))


def _maybe_text(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)


def _maybe_decimal(value: JsonValue) -> Decimal | None:
    return None if value is None else parse_decimal(value)


def countersigned(receipt_json: Mapping[str, JsonValue], sent: SentReport, release_public: bytes) -> Envelope:
    """Return the receipt that a gateway sent back: the very one that was reported, signed by both.

    Errors: VerificationError `signature-invalid`; MalformedError `envelope`, `receipt-differs`.
    """
    envelope = Envelope.from_json(receipt_json)
    if envelope.statement != sent.envelope.statement:
        raise MalformedError("the gateway countersigned another receipt", code="receipt-differs")
    envelope.verify_agent(sent.envelope.agent)
    envelope.verify_gateway(release_public)
    return envelope
