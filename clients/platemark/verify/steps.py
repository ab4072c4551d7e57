"""The numbered steps of verification; the numbers are those of docs/verification.md.

A step is a statement that is true when its check did not raise. Checks raise `VerificationError` with the step, what
was expected and what was found; nothing here returns a boolean that could be ignored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NoReturn

from platemark.errors import MalformedError, VerificationError


class Step(IntEnum):
    """What is established, in the order in which each rests on those before it."""

    CONTRACTS = 0
    FILE = 1
    MANIFEST = 2
    REGISTRATION = 3
    REVISION = 4
    TERMS = 5
    MINT = 6
    PERMISSION = 7
    VOUCHER = 8
    RECEIPT = 9
    RELEASE = 10
    INCLUSION = 11
    ANCHOR = 12
    COUNTS = 13

    @property
    def label(self) -> str:
        """Return the step as people read it: its number and its name."""
        return f"{self.value} {self.name.lower()}"

    @property
    def statement(self) -> str:
        """Return what is true when the step holds."""
        return STATEMENTS[self]


STATEMENTS = {
    Step.CONTRACTS: "the code at the contracts' addresses is Platemark's",
    Step.FILE: "the file is one that the manifest names",
    Step.MANIFEST: "the manifest is the one that was registered",
    Step.REGISTRATION: "the registrant committed to these files",
    Step.REVISION: "the revision was published by the owner and is not recalled",
    Step.TERMS: "the licence's terms are those that were offered, and a gateway accepted them",
    Step.MINT: "the prints of the licence were minted or bought",
    Step.PERMISSION: "the holder permitted this agent to request these prints",
    Step.VOUCHER: "the agent signed each request, in order",
    Step.RECEIPT: "the receipt is signed by the agent and the gateway",
    Step.RELEASE: "the gateway signed the release for this entry",
    Step.INCLUSION: "the entry is in the log",
    Step.ANCHOR: "the log's root is anchored on chain and its checkpoint is signed",
    Step.COUNTS: "what the log counts is what the chain counts, within the licence",
}


def fail(step: Step, message: str, *, code: str, expected: object, found: object, hint: str | None = None) -> NoReturn:
    """Raise the `VerificationError` of a step."""
    raise VerificationError(message, step=step.label, code=code, expected=str(expected), found=str(found), hint=hint)


def require(
    truth: bool, step: Step, message: str, *, code: str, expected: object, found: object, hint: str | None = None
) -> None:
    """Return if `truth` holds.

    Errors: VerificationError of `step` otherwise.
    """
    if not truth:
        fail(step, message, code=code, expected=expected, found=found, hint=hint)


@contextmanager
def evidence_of(step: Step, what: str, *, hint: str) -> Iterator[None]:
    """Make what is wrong with the form of evidence that is read inside a failure of `step`.

    Errors: VerificationError of `step` for a MalformedError, and for a VerificationError of a format, which knows no
        numbered step; its code stays.
    """
    try:
        yield
    except MalformedError as error:
        raise VerificationError(
            f"{what} cannot be read: {error.message}",
            step=step.label,
            code=error.code,
            expected="what a gateway published",
            found="other bytes",
            hint=hint,
        ) from error
    except VerificationError as error:
        if error.step in _LABELS:
            raise
        raise VerificationError(
            error.message,
            step=step.label,
            code=error.code,
            expected=error.expected,
            found=error.found,
            hint=error.hint or hint,
        ) from error


_LABELS = frozenset(step.label for step in Step)
