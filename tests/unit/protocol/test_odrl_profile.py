"""Policies use terms of ODRL 2.2 and of our profile, each where it may stand; the profile has no others."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from typing import Any, Final

import pytest

import sample_documents as sample
from platemark.protocol import license_terms
from platemark.protocol.license_terms import NAMESPACE, PREFIX, PROFILE, TABLE, Enforcer, Protection
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.typed_data import Terms
from platemark.protocol.units import DesignId, Wei

GRAPH: Final[list[dict[str, Any]]] = json.loads(
    resources.files(license_terms.__package__ or "").joinpath("odrl_profile.jsonld").read_text("utf-8")
)["@graph"]
HEAD: Final = GRAPH[0]
OURS: Final = {each["@id"]: each for each in GRAPH[1:]}
BARE: Final = TermsDocument("Plain", DesignId(7), sample.GATEWAY.address, Protection.FILE, 50)
DOCUMENTS: Final = (
    sample.TERMS_DOCUMENT,
    BARE,
    replace(BARE, price=Wei(5), payout=1, transferable=True, protection=Protection.DELETE_AFTER),
    replace(BARE, price=Wei(5), currency=sample.LEDGER),
)
ODRL: Final = {  # not deprecated in ODRL 2.2
    "action": {"print", "grantUse", "distribute", "derive", "reproduce", "compensate", "delete", "attribute"},
    "leftOperand": {"count", "dateTime", "payAmount", "unitOfCount", "purpose"},
    "operator": {"eq", "gteq", "lteq", "isAnyOf", "isAllOf"},
}
CLASS: Final = {"action": "odrl:Action", "leftOperand": "odrl:LeftOperand", "rightOperand": "odrl:RightOperand"}
DATATYPES: Final = {"dateTime": "xsd:dateTime", "payAmount": "xsd:decimal"}
"""What ODRL 2.2 says that these operands must be compared with."""


def places(value: Any) -> Iterator[tuple[str, Any]]:
    """Give each member of a policy with its value, wherever it stands."""
    if isinstance(value, dict):
        for name, inside in value.items():
            yield name, inside
            yield from places(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from places(inside)


def constraints(policy: Any) -> list[dict[str, Any]]:
    return [each for name, found in places(policy) if name == "constraint" for each in found]


def used(document: TermsDocument) -> set[tuple[str, str]]:
    """Return the vocabulary's terms in a policy, each with the member in which it stands."""
    found = set()
    for name, value in places(document.policy()):
        if name in ODRL:
            found.add((name, value))
        elif name in {"rightOperand", "unit"} and isinstance(value, dict) and "@id" in value:
            found.add((name, value["@id"]))
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_policy_is_an_offer_that_declares_the_profile(document: TermsDocument) -> None:
    policy: Any = document.policy()
    assert policy["@type"] == "Offer"
    assert policy["profile"] == PROFILE == HEAD["@id"]
    assert policy["@context"] == ["http://www.w3.org/ns/odrl.jsonld", {"platemark": NAMESPACE}]
    assert policy["assigner"]
    assert all(rule["target"] and rule["action"] for rule in (*policy["permission"], *policy["prohibition"]))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_policy_says_nothing_that_neither_odrl_nor_the_profile_defines(document: TermsDocument) -> None:
    for place, term in used(document):
        if term.startswith(PREFIX):
            assert place == "unit" or CLASS[place] in OURS[term]["@type"]
        elif not term.startswith(("urn:platemark:gateway:0x", "urn:platemark:token:0x")):
            assert term in ODRL[place]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_operands_have_the_types_that_odrl_asks_for(document: TermsDocument) -> None:
    for each in constraints(document.policy()):
        assert {"leftOperand", "operator", "rightOperand"} <= each.keys() <= {*each, "unit"}
        right, kind = each["rightOperand"], DATATYPES.get(each["leftOperand"])
        if kind is not None:
            assert right["@type"] == kind
        elif each["operator"] in {"isAnyOf", "isAllOf"}:
            assert right
            assert all(isinstance(item, str) for item in right)
        elif each["operator"] == "eq":
            assert right.keys() == {"@id"}
        else:
            assert type(right) is int


def test_the_profile_has_the_terms_that_policies_use_and_no_others() -> None:
    names = {term for document in DOCUMENTS for _, term in used(document) if not term.startswith("urn:")}
    members = {name if name.startswith(PREFIX) else f"odrl:{name}" for name in names}
    assert members == set(HEAD["member"])
    assert HEAD["member"] == sorted(members)
    assert OURS.keys() == {name for name in members if name.startswith(PREFIX)}


@pytest.mark.parametrize("name", OURS)
def test_each_of_our_terms_says_what_it_is(name: str) -> None:
    found = OURS[name]
    assert found["isDefinedBy"] == PROFILE
    assert found["label"]
    assert found["definition"].endswith(".")
    assert "skos:Concept" in found["@type"]
    assert ("includedIn" in found) is ("odrl:Action" in found["@type"])


def test_each_member_of_the_terms_on_chain_is_in_one_row_held_by_the_contract() -> None:
    arguments = [name for term in TABLE for name in term.arguments]
    assert sorted([*arguments, "design_id", "terms_digest", "salt"]) == sorted(Terms.__slots__)
    assert all(term.enforcer is Enforcer.CONTRACT for term in TABLE if term.arguments)


def test_each_choice_is_in_one_row() -> None:
    choices = [name for term in TABLE for name in term.choices]
    assert sorted([*choices, "title", "design_id"]) == sorted(TermsDocument.__slots__)


def test_paper_refuses_nothing_and_nobody_else_holds_without_refusing() -> None:
    for term in TABLE:
        assert bool(term.refused) is (term.enforcer is not Enforcer.PAPER)


def test_those_who_refuse_come_first() -> None:
    order = [list(Enforcer).index(term.enforcer) for term in TABLE]
    assert order == sorted(order)
