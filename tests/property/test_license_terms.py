"""Arguments of the contract, demands on the agent, sentences and policies say the same, whatever a designer chooses."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from platemark.protocol.license_terms import OPEN_END, TABLE, Enforcer, Protection
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.units import ZERO_ADDRESS, Digest32, parse_address
from terms_choices import documents

SALT: Final = Digest32(bytes(32))
SAID: Final = (
    r"At most (?P<cap>\d+) prints? may be made under this licence\.",
    r"A reservation has at least (?P<smallest_reservation>\d+) prints?\.",
    (
        r"Failed prints returned: (?P<spares_flat>\d+) a reservation and (?P<spares_per_hundred>\d+) per hundred of "
        r"its prints, rounded down\."
    ),
    r"Prints are reserved with the gateway (?P<gateway>0x\w{40}), or where the owner moves it\.",
    r"Prints may (?P<transferable>not )?be passed on to other accounts\.",
    r"A print costs nothing\.",
    r"One print costs (?P<price>[\d.]+) (?:of the chain's coin|smallest units of the token (?P<currency>0x\w{40}))\.",
    r"It is paid (?P<payout>at purchase|as prints are counted).*",
    r"Prints may be reserved from (?P<not_before>.* UTC)\.",
    r"Prints may be reserved until (?P<not_after>.* UTC); no reservation outlasts it\.",
)
PROTECTIONS: Final = {
    "Nothing readable is written": Protection.STREAM,
    "G-code may lie": Protection.DELETE_AFTER,
    "The design may be written": Protection.FILE,
}


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text.replace(" UTC", "+00:00")).timestamp())


def said(document: TermsDocument) -> dict[str, Any]:
    """Return the arguments as a person reads them in the sentences that the contract holds."""
    found: dict[str, str | None] = {}
    for sentence in document.sentences():
        if sentence.enforced_by is Enforcer.CONTRACT:
            (match,) = filter(None, (re.fullmatch(pattern, sentence.text) for pattern in SAID))
            found |= match.groupdict()
    currency, price = found.get("currency"), found.get("price") or "0"
    whole, _, part = price.partition(".")
    return {
        "cap": int(found["cap"] or ""),
        "smallest_reservation": int(found["smallest_reservation"] or ""),
        "spares_flat": int(found["spares_flat"] or ""),
        "spares_per_hundred": int(found["spares_per_hundred"] or ""),
        "gateway": parse_address(found["gateway"]),
        "transferable": found["transferable"] is None,
        "price": int(price) if currency else int(whole) * 10**18 + int(part.ljust(18, "0") or "0"),
        "currency": parse_address(currency) if currency else ZERO_ADDRESS,
        "payout": int(found.get("payout") == "as prints are counted"),
        "not_before": moment(found["not_before"] or "") if "not_before" in found else 0,
        "not_after": moment(found["not_after"] or "") if "not_after" in found else OPEN_END,
    }


def written(document: TermsDocument) -> dict[str, Any]:
    """Return the arguments as a program reads them in the policy."""
    policy: Any = document.policy()
    (permission, *others) = policy["permission"]
    limits = {(each["leftOperand"], each["operator"]): each["rightOperand"] for each in permission["constraint"]}
    duties = {each["action"]: each.get("constraint", []) for each in permission.get("duty", [])}
    pay = {each["leftOperand"]: each for each in duties.get("compensate", [])}
    prohibited = {each["action"] for each in policy["prohibition"]}
    permitted = {each["action"] for each in others}
    assert ("grantUse" in prohibited) is not ("grantUse" in permitted)
    unit = pay["payAmount"]["unit"]["@id"] if pay else "platemark:coin"
    times = {operator: moment(value["@value"]) for (left, operator), value in limits.items() if left == "dateTime"}
    return {
        "cap": limits["count", "lteq"],
        "smallest_reservation": limits["platemark:reservedPrints", "gteq"],
        "spares_flat": limits["platemark:sparesPerReservation", "lteq"],
        "spares_per_hundred": limits["platemark:sparesPerHundredPrints", "lteq"],
        "gateway": parse_address(limits["platemark:gateway", "eq"]["@id"].removeprefix("urn:platemark:gateway:")),
        "transferable": "grantUse" in permitted,
        "price": int(pay["payAmount"]["rightOperand"]["@value"]) if pay else 0,
        "currency": ZERO_ADDRESS
        if unit == "platemark:coin"
        else parse_address(unit.removeprefix("urn:platemark:token:")),
        "payout": int(bool(pay) and pay["platemark:payout"]["rightOperand"] == {"@id": "platemark:as-printed"}),
        "not_before": times.get("gteq", 0),
        "not_after": times.get("lteq", OPEN_END),
    }


@given(drawn=documents())
def test_sentences_policy_and_contract_state_the_same_numbers(drawn: TermsDocument) -> None:
    document = drawn if drawn.price else replace(drawn, currency=ZERO_ADDRESS)  # nobody says the currency of nothing
    terms = document.terms(SALT)
    arguments = {name: getattr(terms, name) for term in TABLE for name in term.arguments}
    assert said(document) == arguments
    assert written(document) == arguments


@given(document=documents())
def test_sentences_policy_and_agent_state_the_same_demands(document: TermsDocument) -> None:
    demands, policy = document.demands(), document.policy()
    texts = [each.text for each in document.sentences() if each.enforced_by is Enforcer.AGENT]
    protections = [found for text in texts for words, found in PROTECTIONS.items() if text.startswith(words)]
    assert protections == [demands.protection]
    allowed = [f"Allowed materials: {', '.join(demands.materials)}."] if demands.materials else []
    assert texts[1:] == allowed
    rules: Any = policy["permission"]
    limits = {each["leftOperand"]: each["rightOperand"] for each in rules[0]["constraint"]}
    assert limits["platemark:protection"] == {"@id": f"platemark:{demands.protection}"}
    assert limits.get("platemark:material", []) == list(demands.materials)


@given(first=documents(), paper=st.tuples(st.booleans(), st.booleans(), st.lists(st.just("Nicely."), max_size=1)))
def test_what_paper_holds_reaches_neither_contract_nor_agent(
    first: TermsDocument, paper: tuple[bool, bool, list[str]]
) -> None:
    second = replace(first, commercial=paper[0], attribution=paper[1], clauses=tuple(paper[2]))
    held = {term.name for term in TABLE if term.enforcer is Enforcer.PAPER}
    assert held == {"secrecy", "sale of parts", "attribution", "clauses"}
    assert replace(second.terms(SALT), terms_digest=first.digest()) == first.terms(SALT)
    assert second.demands() == first.demands()
    for document in (first, second):
        promised = [each.text for each in document.sentences() if each.enforced_by is Enforcer.PAPER]
        assert promised[0].startswith("Keys and files")
        assert ("Printed parts are not sold." in promised) is not document.commercial
        assert ("The designer is named with the part." in promised) is document.attribution
        assert tuple(promised[len(promised) - len(document.clauses) :]) == document.clauses
