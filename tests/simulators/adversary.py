"""Lies that somebody plants in the sample evidence, each with what an audit says of it.

    @adversary("gateway", "writes entries after it closed a token", audit=LOG, finds=["13 entry-after-close"])
    def entry_after_close() -> Evidence: ...

A function tells one lie: it returns what the audit reads. `finds` is the whole of the audit's findings, in order;
`tells` are facts of the report that show what no finding names. A lie without either is one that no evidence shows: it
says `why`. tests/adversary/ holds every lie to its declaration, and docs/adversaries.md is written from them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from platemark.auditor.evidence import Evidence
from platemark.auditor.part import audit_part, audit_passport
from platemark.auditor.replay import audit_log
from platemark.protocol.passport import Passport
from platemark.protocol.serial import serial_of
from platemark.verify.report import Report, Verdict
from sample_documents import TOKEN_ID

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Audit(Generic[_Read]):
    """A command of the auditor, and the function behind it."""

    command: str
    run: Callable[[_Read], Report]


@dataclass(frozen=True, slots=True)
class Shown:
    """A passport that somebody shows, and the evidence that it is held against."""

    passport: Passport
    evidence: Evidence


LOG: Final = Audit("audit log", audit_log)
PART: Final[Audit[Evidence]] = Audit("audit part", lambda found: audit_part(found, serial_of(TOKEN_ID, 1)))
PASSPORT: Final[Audit[Shown]] = Audit("audit passport", lambda shown: audit_passport(shown.passport, shown.evidence))
PASSPORT_AND_LOG: Final[Audit[Shown]] = Audit(
    "audit passport --tiles", lambda shown: audit_passport(shown.passport, shown.evidence, with_log=True)
)


@dataclass(frozen=True, slots=True)
class Lie:
    """A lie that was declared."""

    who: str
    text: str
    command: str
    audited: Callable[[], Report]
    finds: Sequence[str] = ()
    tells: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    claim: str = ""

    @property
    def is_shown(self) -> bool:
        """Whether evidence shows the lie."""
        return bool(self.finds or self.tells)


LIES: Final[list[Lie]] = []


def adversary(
    who: str,
    text: str,
    *,
    audit: Audit[_Read],
    finds: Sequence[str] = (),
    tells: Mapping[str, Any] | None = None,
    why: str = "",
    claim: str = "",
) -> Callable[[Callable[[], _Read]], Callable[[], _Read]]:
    """Declare what a lie is, who tells it, and what the audit finds or tells.

    `claim` begins a sentence of docs/threat-model.md under "What is not claimed".
    """

    def declare(plant: Callable[[], _Read]) -> Callable[[], _Read]:
        LIES.append(Lie(who, text, audit.command, lambda: audit.run(plant()), finds, tells or {}, why=why, claim=claim))
        return plant

    return declare


def told_by(report: Report) -> dict[str, Any]:
    """Return a report's facts and, as `notChecked`, the steps of which something could not be read."""
    skipped = {found.step for found in report.findings if found.verdict is Verdict.NOT_CHECKED}
    return report.facts | {"notChecked": [step.label for step in sorted(skipped)]}


def found_by(report: Report) -> list[str]:
    """Return step and code of every discrepancy, each once, as `finds` writes them."""
    return [f"{step} {code}" for step, code in sorted({(found.step.value, found.code) for found in report.failures})]
