"""A step's failure names the step, whatever read the evidence."""

import pytest

from platemark.errors import MalformedError, VerificationError
from platemark.verify.steps import Step, evidence_of, fail


def failure(error: Exception) -> VerificationError:
    with pytest.raises(VerificationError) as raised, evidence_of(Step.INCLUSION, "a tile", hint="ask another mirror"):
        raise error
    return raised.value


def test_broken_form_is_a_failure_of_the_step() -> None:
    found = failure(MalformedError("it ends early", code="log-tile"))
    assert (found.step, found.code, found.message) == (
        "11 inclusion",
        "log-tile",
        "a tile cannot be read: it ends early",
    )
    assert (found.expected, found.found, found.hint) == (
        "what a gateway published",
        "other bytes",
        "ask another mirror",
    )


def test_failure_of_a_format_gets_the_steps_number() -> None:
    found = failure(VerificationError("it differs", step="log-root", code="log-root", expected="a", found="b"))
    assert (found.step, found.code, found.message) == ("11 inclusion", "log-root", "it differs")
    assert (found.expected, found.found, found.hint) == ("a", "b", "ask another mirror")


def test_failure_of_another_step_stays_as_it_is() -> None:
    def other() -> None:
        fail(Step.ANCHOR, "there is none", code="checkpoint-missing", expected="one", found="nothing", hint="look")

    with pytest.raises(VerificationError) as raised, evidence_of(Step.INCLUSION, "a tile", hint="ask another mirror"):
        other()
    assert (raised.value.step, raised.value.code, raised.value.hint) == ("12 anchor", "checkpoint-missing", "look")
