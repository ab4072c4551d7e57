"""Writes docs/odrl-profile.md: each term of a licence, what it is in ODRL, and who holds it."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from writing import table, write

import sample_documents as sample
from platemark.protocol import license_terms
from platemark.protocol.license_terms import TABLE, Enforcer, Rules, Term
from platemark.protocol.terms_document import TermsDocument

HEAD = """# ODRL profile

`https://platemark.example/odrl/v1` is the profile of [ODRL 2.2](https://www.w3.org/TR/odrl-vocab/) that the policy in
each [terms document](formats.md#terms-document) declares. It says which of ODRL's terms a policy of ours uses, which it
adds under the namespace `https://platemark.example/odrl/v1#` (prefix `platemark:`), and who holds each: the contract,
the print centre's agent, or paper. The same for machines is
[`odrl_profile.jsonld`](../clients/platemark/protocol/odrl_profile.jsonld), which is part of the package. Both addresses
are names that stay as they are, not places to fetch from: the domain is reserved by RFC 2606 and belongs to nobody.

A policy is an `Offer` with one permission to `print` the design, which carries all constraints and duties, and with
prohibitions. In this profile `print` is to make one product: all parts of the design, each in its quantity. Whoever
reads a policy without knowing the profile has not understood it. Terms may be added to the profile; what is there keeps
its meaning, and another meaning is another profile, `…/v2`.

This page is written by `scripts/generate_odrl_profile_page` from `TABLE` of `platemark.protocol.license_terms`, from
which contract arguments, an agent's demands, sentences and policies are compiled too.

## Terms
"""
HELD = """
"Held by" names the member of the terms on chain or the demand on the agent, and with what the contract or the agent
refuses whoever breaks it. A test breaks each of them at its limit, on an EVM and at an agent, and wants that refusal.

- **contract**: the chain refuses otherwise, whoever sends it.
- **agent**: the print centre's program refuses otherwise. A centre that changes its program can break it, and what it
  signs in its receipts then either says so or is a lie.
- **paper**: nothing but the agreement. No program checks it, and none says that it does.

`SoldOnly` refuses to mint, `NotReturnable` to take prints back, each under the other payout. `UseSkipped` is an event:
a use above prints and spares is not counted, and a settlement goes on without it.

## Our own terms
"""
FULL: TermsDocument = replace(sample.TERMS_DOCUMENT, protection=license_terms.Protection.STREAM)
CLASSES: Mapping[str, str] = {
    "odrl:Action": "action",
    "odrl:LeftOperand": "left operand",
    "odrl:RightOperand": "right operand",
    "skos:Concept": "unit",
}


def camel(name: str) -> str:
    """Return a member's name as JSON and Solidity write it."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def operands(constraints: Iterable[Any]) -> list[str]:
    """Return constraints as the page shows them."""
    return [f"`{each['leftOperand']}` {each['operator']}" for each in constraints]


def in_odrl(rules: Rules) -> str:
    """Return what a term is in ODRL."""
    duties: list[Any] = list(rules.duties)
    texts = [f"constraint {each}" for each in operands(rules.constraints)]
    for duty in duties:
        inside = operands(duty.get("constraint", []))
        texts.append(f"duty `{duty['action']}`" + (f" with {', '.join(inside)}" if inside else ""))
    texts += [f"permission `{action}`" for action in rules.permitted]
    texts += [f"prohibition `{action}`" for action in rules.prohibited]
    return "; ".join(texts)


def held_by(term: Term) -> str:
    """Return who holds a term, with which member, and how he refuses."""
    if term.enforcer is Enforcer.PAPER:
        return "paper"
    members = ", ".join(f"`{camel(name)}`" for name in term.choices)
    refusals = [
        f"[`{name}`](errors.md#{name})" if term.enforcer is Enforcer.AGENT else f"`{name}`" for name in term.refused
    ]
    return f"{term.enforcer}: {members}; refuses with {', '.join(refusals)}"


def page() -> str:
    """Return the page's text."""
    terms = [
        (
            f"**{term.name}**",
            term.meaning,
            in_odrl(term.rules(FULL))
            + (f", or {in_odrl(term.rules(replace(FULL, transferable=True)))}" if term.name == "transfer" else ""),
            held_by(term),
        )
        for term in TABLE
    ]
    text = resources.files(license_terms.__package__ or "").joinpath("odrl_profile.jsonld").read_text("utf-8")
    ours = [
        (
            f"`{each['@id']}`",
            next(name for kind, name in CLASSES.items() if kind in each["@type"]),
            " ".join(filter(None, (each["definition"], each.get("note")))),
        )
        for each in json.loads(text)["@graph"]
        if each["@id"].startswith(license_terms.PREFIX)
    ]
    return "".join(
        [
            HEAD,
            "\n",
            table(("term", "is", "in ODRL", "held by"), terms),
            HELD,
            "\n",
            table(("term", "is a", "means"), ours),
        ]
    )


if __name__ == "__main__":
    sys.exit(write("odrl-profile", page()))
