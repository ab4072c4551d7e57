"""Writes docs/adversaries.md: every lie that a simulator tells, and what names it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from writing import table, write

from platemark.verify.steps import Step
from simulators.adversary import Lie
from simulators.every_lie import LIES

HEAD = """# Adversaries

Who lies, how, and what names the lie. Each row is a lie that a simulator in `tests/simulators/` plants in evidence that
is otherwise true, signed, anchored and settled as the liar could have it. Lies that the contracts forbid, about terms,
editions, spares or escrow, are planted in what the chain is read to hold, as if it had let them pass.

A test in `tests/adversary/` audits that evidence and wants exactly the findings of the row, no fewer and no more;
evidence without a lie holds in every audit. Each step is that of [verification](verification.md), each code stands in
[errors](errors.md). Which parties may lie about what, in words, is in the [threat model](threat-model.md).

This page is written by `scripts/generate_adversaries_page` from the declarations of those tests.
"""
SHOWN = """## What evidence shows

`platemark` with this command ends with 3, and its report has these findings. Where no code stands, the report holds and
tells as a fact, or as not checked, what became of it.
"""
HIDDEN = """## What no evidence shows

The audit of these finds nothing, which the tests state too. See what is
[not claimed](threat-model.md#what-is-not-claimed).
"""


def finding(text: str) -> str:
    """Return a finding as the page shows it, its code linked."""
    number, code = text.split()
    return f"{Step(int(number)).label}: [`{code}`](errors.md#{code})"


def fact(name: str, value: object) -> str:
    """Return a fact as the page shows it: tokens by their number, all else as it is."""
    if isinstance(value, dict):
        return f"`{name}`, by token"
    if isinstance(value, list):
        return f"`{name}`: {', '.join(value)}"
    return f"`{name}`: {value}"


def named_by(lie: Lie) -> str:
    """Return what the report says of a lie."""
    return "<br>".join([*map(finding, lie.finds), *(fact(*each) for each in lie.tells.items())])


def page() -> str:
    """Return the page's text."""
    shown = [(lie.who, lie.text, f"`{lie.command}`", named_by(lie)) for lie in LIES if lie.is_shown]
    hidden = [(lie.who, lie.text, lie.why) for lie in LIES if not lie.is_shown]
    return "\n".join(
        [
            HEAD,
            SHOWN,
            table(("who", "lie", "audited by", "says"), shown),
            HIDDEN,
            table(("who", "lie", "why nothing shows it"), hidden),
        ]
    )


if __name__ == "__main__":
    sys.exit(write("adversaries", page()))
