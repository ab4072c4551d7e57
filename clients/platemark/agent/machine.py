"""One print token's agent as a pure state machine: what it signed, what was answered, what it may sign next.

Rules, whatever a gateway says it expects (docs/formats.md, claims):

    1  a request is recorded before it is sent, and sent as the same bytes until it is answered
    2  there is never a second request for a sequence
    3  a sequence is signed only when all before it are answered: own last release + 1
    4  an answer is recorded before anything in it is opened
    5  an outcome is recorded before it is sent, and there is one for a sequence

The spool writes the records in the order in which this module hands them out; loading them again gives the same
state, so that a process may die at any point.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

from platemark.errors import Kind, LocalError, RefusedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import TokenId, id_text
from platemark.protocol.voucher import SignedRequest


@dataclass(frozen=True, slots=True)
class Request:
    """A signed redemption as it is sent: `body` is the very JSON, `detail_salt` opens the digest of `detail`.

    Once erased, the detail is None and its salt is zero.
    """

    signed: SignedRequest
    body: bytes
    detail_salt: bytes
    detail: JsonValue

    @property
    def sequence(self) -> int:
        """Its sequence, 1 and up."""
        return self.signed.request.sequence

    @classmethod
    def make(cls, signed: SignedRequest, recipient_public: bytes, detail_salt: bytes, detail: JsonValue) -> Self:
        """Return the request with its body: what is stored, and sent as often as it takes."""
        return cls(signed, canonical.encode(signed.to_body(recipient_public)), detail_salt, detail)

    @classmethod
    def load(cls, body: bytes, detail_salt: bytes, detail: JsonValue) -> Self:
        """Return the request whose body was stored; errors: MalformedError."""
        signed, _ = SignedRequest.from_body(canonical.decode(body))
        return cls(signed, body, detail_salt, detail)


@dataclass(frozen=True, slots=True)
class Answer:
    """A gateway's answer to a request, as it came: the release (compact JWS) and the sealed key package."""

    release: str
    sealed_key: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """An outcome as it is sent: `body` is the very JSON, empty when it was erased; `result` is 1 to 4."""

    result: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A gateway's answer to an outcome: its promise (compact JWS) and the countersigned receipt, JSON.

    Once erased, the receipt is empty.
    """

    promise: str
    receipt: bytes


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a token: its request and, as they come, the answer, the outcome and what acknowledges it."""

    request: Request
    answer: Answer | None = None
    report: Report | None = None
    acknowledgement: Acknowledgement | None = None

    @property
    def sequence(self) -> int:
        """Its sequence, 1 and up."""
        return self.request.sequence

    @property
    def can_report(self) -> bool:
        """Whether its outcome can be sent, again if it was acknowledged: its receipt was not erased here."""
        return self.report is not None and bool(self.report.body)


class TokenMachine:
    """What one token's agent has done. Methods change the state and return what must be recorded first."""

    def __init__(self, token_id: TokenId, *, prints: int, spares: int, uses: Iterable[Use] = ()) -> None:
        """Take up where the records end.

        Errors: LocalError `spool-damaged` when they break a rule: whoever goes on then might sign twice.
        """
        self.token_id = token_id
        self.prints = prints
        self.spares = spares
        self._uses: dict[int, Use] = {}
        for use in uses:
            self._load(use)

    def __iter__(self) -> Iterator[Use]:
        return iter(self._uses.values())

    def use(self, sequence: int) -> Use:
        """Return a use.

        Errors: RefusedError `sequence-unknown`.
        """
        if sequence not in self._uses:
            raise RefusedError(
                f"this agent never asked for print {sequence} of the token",
                kind=Kind.NOT_FOUND,
                code="sequence-unknown",
            )
        return self._uses[sequence]

    @property
    def released(self) -> int:
        """How many requests were answered; sequences 1 to this number."""
        return len(self._uses) - (self.pending is not None)

    @property
    def pending(self) -> Request | None:
        """The request that was signed and not answered yet; there is at most one."""
        if not self._uses:
            return None
        last = self._uses[len(self._uses)]
        return last.request if last.answer is None else None

    @property
    def open(self) -> tuple[Use, ...]:
        """Uses whose key was released and whose outcome is not recorded: they may be printed, or tried again."""
        return tuple(use for use in self if use.answer is not None and use.report is None)

    @property
    def unacknowledged(self) -> tuple[Use, ...]:
        """Uses whose outcome was recorded and not acknowledged: it is sent again."""
        return tuple(use for use in self if use.report is not None and use.acknowledgement is None)

    def next_sequence(self) -> int:
        """Return the sequence that may be signed now.

        Errors: RefusedError `count-spent` when the token has none left; LocalError `request-pending` while one
            is unanswered, because that one is sent again first.
        """
        if self.pending is not None:
            raise LocalError(
                f"print {self.pending.sequence} was asked for and not answered yet",
                code="request-pending",
                hint="run the same command again",
            )
        if self.released >= self.prints + self.spares:
            raise RefusedError(
                f"all {self.prints} prints and {self.spares} spares of this token are used",
                kind=Kind.CONFLICT,
                code="count-spent",
            )
        return self.released + 1

    def sign(self, request: Request) -> Use:
        """Take a signed request into the state and return what must be recorded before it is sent.

        Errors: as `next_sequence`; LocalError `spool-damaged` for another token or sequence.
        """
        if request.signed.request.token_id != self.token_id or request.sequence != self.next_sequence():
            raise _damaged(f"a request for sequence {request.sequence} does not follow")
        use = Use(request)
        self._uses[use.sequence] = use
        return use

    def answered(self, sequence: int, answer: Answer) -> Use:
        """Take an answer to the pending request and return what must be recorded before it is opened.

        The same release again changes nothing; another one convicts its gateway.

        Errors: VerificationError `release-differs`; RefusedError `sequence-unknown`.
        """
        use = self.use(sequence)
        if use.answer is not None:
            if use.answer.release != answer.release:
                raise VerificationError(
                    f"the gateway answered print {sequence} in two ways",
                    step="release",
                    code="release-differs",
                    expected=use.answer.release,
                    found=answer.release,
                    hint="keep this agent's files: both releases together convict the gateway",
                )
            return use
        return self._put(replace(use, answer=answer))

    def reported(self, sequence: int, report: Report) -> Use:
        """Take an outcome and return what must be recorded before it is sent.

        Errors: RefusedError `outcome-final` for a second, other outcome; `sequence-unknown`; `not-released`.
        """
        use = self.use(sequence)
        if use.answer is None:
            raise RefusedError(f"print {sequence} was never released", kind=Kind.CONFLICT, code="not-released")
        if use.report is not None:
            if use.report.body == report.body:
                return use
            raise RefusedError(
                f"the outcome of print {sequence} is final already", kind=Kind.CONFLICT, code="outcome-final"
            )
        return self._put(replace(use, report=report))

    def acknowledged(self, sequence: int, acknowledgement: Acknowledgement) -> Use:
        """Take the answer to an outcome and return what must be recorded.

        Errors: RefusedError `sequence-unknown`; LocalError `spool-damaged` when nothing was reported.
        """
        use = self.use(sequence)
        if use.report is None:
            raise _damaged(f"an acknowledgement without an outcome for sequence {sequence}")
        return use if use.acknowledgement is not None else self._put(replace(use, acknowledgement=acknowledgement))

    @property
    def reports(self) -> tuple[Use, ...]:
        """Uses whose outcome can be sent."""
        return tuple(use for use in self if use.can_report)

    def resend_from(self, expected: int) -> tuple[Use, ...]:
        """Return the uses to send again, in order, to a gateway that says which sequence it expects.

        A gateway that lost its latest rows (restored from a backup) expects less than it answered: it is given
        the stored bytes again and nothing new. One that expects more than this agent ever asked for gets nothing.

        Errors: VerificationError `sequence-ahead`.
        """
        last = len(self._uses)
        if not 1 <= expected <= last:
            raise VerificationError(
                f"the gateway expects print {expected}, this agent asked for {last} so far",
                step="voucher",
                code="sequence-ahead",
                expected=f"at most {last}",
                found=str(expected),
                hint="another agent has used this token, or the gateway miscounts; audit the token before going on",
            )
        return tuple(self._uses[sequence] for sequence in range(expected, last + 1))

    def _load(self, use: Use) -> None:
        answered = use.answer is not None
        if use.request.signed.request.token_id != self.token_id or use.sequence != len(self._uses) + 1:
            raise _damaged(f"sequence {use.sequence} is out of order")
        if self.pending is not None or (use.report and not answered) or (use.acknowledgement and not use.report):
            raise _damaged(f"the records of sequence {use.sequence} contradict each other")
        self._uses[use.sequence] = use

    def _put(self, use: Use) -> Use:
        self._uses[use.sequence] = use
        return use

    def __repr__(self) -> str:
        return f"TokenMachine({id_text(self.token_id)}, released {self.released}, pending {self.pending is not None})"


def summary(machine: TokenMachine) -> Mapping[str, int]:
    """Return the counts of a token as this agent knows them."""
    reports = [use.report for use in machine if use.report is not None]
    return {
        "released": machine.released,
        "open": len(machine.open),
        "reported": len(reports),
        "completed": sum(report.result == 1 for report in reports),
    }


def _damaged(what: str) -> LocalError:
    return LocalError(
        f"the agent's records are damaged: {what}",
        code="spool-damaged",
        hint="restore the agent's folder; without it, let the token expire rather than sign twice",
    )
