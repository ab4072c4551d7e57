"""What a verification found: every step with its evidence, every discrepancy, whom it trusted.

Reports never stop at the first discrepancy: `Report.step` runs a check, records what held or what did not, and goes on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol.canonical import JsonValue, integer_of, list_of, object_of, text_of
from platemark.verify.steps import Step

_FINDING: Final = frozenset({"step", "name", "verdict", "detail", "source"})
_LONGEST: Final = 1 << 16
_MOST: Final = 1 << 20


class Verdict(StrEnum):
    """How a step ended."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report: a step, what was read from where, and how it ended."""

    step: Step
    verdict: Verdict
    detail: str
    source: str
    code: str | None = None
    expected: str | None = None
    found: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the finding as JSON; absent members are left out."""
        values: dict[str, JsonValue] = {
            "step": self.step.value,
            "name": self.step.name.lower(),
            "verdict": self.verdict.value,
            "detail": self.detail,
            "source": self.source,
        }
        optional = {"code": self.code, "expected": self.expected, "found": self.found}
        return values | {name: value for name, value in optional.items() if value is not None}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the finding that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_FINDING, optional=frozenset({"code", "expected", "found"}))
        step = Step(integer_of(found["step"], low=min(Step), high=max(Step)))
        if found["name"] != step.name.lower() or found["verdict"] not in tuple(Verdict):
            raise MalformedError("a finding with a known step and verdict was expected", code="report")
        texts = {
            name: text_of(found[name], max_length=_LONGEST) for name in ("code", "expected", "found") if name in found
        }
        return cls(
            step,
            Verdict(text_of(found["verdict"])),
            text_of(found["detail"], max_length=_LONGEST),
            text_of(found["source"], max_length=_LONGEST),
            **texts,
        )


@dataclass(slots=True)
class Report:
    """The findings of one verification, in order, and the parties whose word was taken."""

    subject: str
    findings: list[Finding] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    facts: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def failures(self) -> list[Finding]:
        """Return every discrepancy."""
        return [finding for finding in self.findings if finding.verdict is Verdict.FAILS]

    @property
    def holds(self) -> bool:
        """Return whether something was checked and nothing failed."""
        return not self.failures and any(finding.verdict is Verdict.HOLDS for finding in self.findings)

    def hold(self, step: Step, detail: str, source: str) -> None:
        """Record that a step holds."""
        self.findings.append(Finding(step, Verdict.HOLDS, detail, source))

    def skip(self, step: Step, detail: str, source: str) -> None:
        """Record that a step was not checked, and why."""
        self.findings.append(Finding(step, Verdict.NOT_CHECKED, detail, source))

    def reject(self, step: Step, error: VerificationError | MalformedError, source: str) -> None:
        """Record a discrepancy."""
        if isinstance(error, VerificationError):
            finding = Finding(step, Verdict.FAILS, error.message, source, error.code, error.expected, error.found)
        else:
            finding = Finding(step, Verdict.FAILS, error.message, source, error.code)
        self.findings.append(finding)

    def step(self, step: Step, detail: str, source: str) -> "StepRun":
        """Run a check in a `with` block: when it raises, the discrepancy is recorded; otherwise the step holds."""
        return StepRun(self, step, detail, source)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Take over findings of another check."""
        self.findings.extend(findings)

    def raise_if_failed(self) -> None:
        """Raise the first discrepancy, saying how many there are.

        Errors: VerificationError of the first failed step.
        """
        failures = self.failures
        if failures:
            first = failures[0]
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise VerificationError(
                f"{first.detail}{more}",
                step=first.step.label,
                code=first.code or "verification-failed",
                expected=first.expected or first.step.statement,
                found=first.found or "something else",
            )

    def to_json(self) -> dict[str, JsonValue]:
        """Return the report as JSON."""
        return {
            "subject": self.subject,
            "holds": self.holds,
            "findings": [finding.to_json() for finding in self.findings],
            "trusted": list(self.trusted),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the report that `to_json` wrote.

        Errors: MalformedError; `report` when it says of itself what its findings do not say.
        """
        found = object_of(value, fields=frozenset({"subject", "holds", "findings", "trusted", "facts"}))
        if not isinstance(found["facts"], Mapping):
            raise MalformedError("an object was expected", code="canonical-form")
        report = cls(
            text_of(found["subject"]),
            [Finding.from_json(each) for each in list_of(found["findings"], max_items=_MOST)],
            [text_of(each, max_length=_LONGEST) for each in list_of(found["trusted"], max_items=_MOST)],
            dict(found["facts"]),
        )
        if found["holds"] is not report.holds:
            raise MalformedError("the report holds exactly when its findings do", code="report")
        return report


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step while its check runs; what the check raises about their data ends here, anything else goes on."""

    report: Report
    step: Step
    detail: str
    source: str

    def __enter__(self) -> None:
        """Begin; nothing is recorded yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Record how the check ended."""
        if error is None:
            self.report.hold(self.step, self.detail, self.source)
            return False
        if isinstance(error, VerificationError | MalformedError):
            self.report.reject(self.step, error, self.source)
            return True
        return False
