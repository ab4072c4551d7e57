"""The terms of a licence, one row each: what holds it, how people read it, how ODRL says it.

`TABLE` is compiled once into four things that therefore agree: the arguments of the contract, what an agent is asked
to keep, sentences in plain words, and rules of an ODRL policy. Who holds a term follows from what it becomes: with
arguments it is the contract, with demands the agent, with neither paper.

Source: ODRL 2.2; docs/odrl-profile.md, which is written from this table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from platemark.protocol.canonical import JsonValue
from platemark.protocol.moments import moment_text, rfc3339
from platemark.protocol.units import ZERO_ADDRESS, Address, UnixSeconds, Wei, address_text, id_text

if TYPE_CHECKING:
    from platemark.protocol.terms_document import TermsDocument

OPEN_END: Final = UnixSeconds((1 << 40) - 1)
"""A licence that ends then never does."""
PROFILE: Final = "https://platemark.example/odrl/v1"
PREFIX: Final = "platemark:"
NAMESPACE: Final = f"{PROFILE}#"
CONTEXT: Final = "http://www.w3.org/ns/odrl.jsonld"

_WEI_DIGITS: Final = 18
_AT_PURCHASE: Final = "at-purchase"
_AS_PRINTED: Final = "as-printed"


class Enforcer(StrEnum):
    """Who holds a term."""

    CONTRACT = "contract"
    AGENT = "agent"
    PAPER = "paper"


class Protection(StrEnum):
    """What may lie readable at the print centre: nothing, G-code while it prints, or the file."""

    STREAM = "stream"
    DELETE_AFTER = "delete-after"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One rule in plain words, and who holds it."""

    text: str
    enforced_by: Enforcer

    def to_json(self) -> dict[str, JsonValue]:
        """Return the sentence as the document holds it."""
        return {"text": self.text, "enforcedBy": str(self.enforced_by)}


@dataclass(frozen=True, slots=True)
class Demands:
    """What an agent is asked to keep: a protection, and the allowed materials, none of which leaves them open."""

    protection: Protection
    materials: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a term adds to a policy: to the permission to print, or beside it.

    `constraints` and `duties` are of that permission; `permitted` and `prohibited` are other actions on the design.
    """

    constraints: Sequence[JsonValue] = ()
    duties: Sequence[JsonValue] = ()
    permitted: Sequence[str] = ()
    prohibited: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """A row of the table.

    `name` is the term's in the profile's page; `arguments` are members of `Terms` on chain, `demands` of `Demands`,
    `chosen` of the document, each the choice of the same name; `refused` are the errors with which who holds the term
    refuses what breaks it: names of the contract's, codes of the agent's.
    """

    name: str
    meaning: str
    says: Callable[["TermsDocument"], Sequence[str]]
    rules: Callable[["TermsDocument"], Rules]
    arguments: tuple[str, ...] = ()
    demands: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def enforcer(self) -> Enforcer:
        """Who holds it."""
        if self.arguments:
            return Enforcer.CONTRACT
        return Enforcer.AGENT if self.demands else Enforcer.PAPER

    @property
    def choices(self) -> tuple[str, ...]:
        """The members of the document that it is made of."""
        return self.arguments or self.demands or self.chosen


def compile_arguments(document: "TermsDocument") -> Mapping[str, Any]:
    """Return the members of `Terms` on chain that the table's terms are."""
    return {name: getattr(document, name) for term in TABLE for name in term.arguments}


def compile_demands(document: "TermsDocument") -> Demands:
    """Return what an agent is asked to keep."""
    return Demands(**{name: getattr(document, name) for term in TABLE for name in term.demands})


def compile_sentences(document: "TermsDocument") -> tuple[Sentence, ...]:
    """Return the terms in plain words, in the table's order."""
    return tuple(Sentence(text, term.enforcer) for term in TABLE for text in term.says(document))


def compile_policy(document: "TermsDocument", uid: str) -> dict[str, JsonValue]:
    """Return the terms as an ODRL offer that declares our profile."""
    rules = [term.rules(document) for term in TABLE]
    target = f"urn:platemark:design:{id_text(document.design_id)}"
    permission: dict[str, JsonValue] = {
        "target": target,
        "action": "print",
        "constraint": [constraint for each in rules for constraint in each.constraints],
    }
    if duties := [duty for each in rules for duty in each.duties]:
        permission["duty"] = duties
    return {
        "@context": [CONTEXT, {PREFIX.rstrip(":"): NAMESPACE}],
        "@type": "Offer",
        "uid": uid,
        "profile": PROFILE,
        "assigner": f"urn:platemark:owner:{id_text(document.design_id)}",
        "permission": [
            permission,
            *({"target": target, "action": action} for each in rules for action in each.permitted),
        ],
        "prohibition": [{"target": target, "action": action} for each in rules for action in each.prohibited],
    }


# --- words and rules, term by term ---------------------------------------------------------------------------


def _constraint(left: str, operator: str, right: JsonValue) -> dict[str, JsonValue]:
    return {"leftOperand": left, "operator": operator, "rightOperand": right}


def _ours(name: str) -> dict[str, JsonValue]:
    """Return an IRI of the profile as an operand; a bare text there would be a text."""
    return {"@id": f"{PREFIX}{name}"}


def _moment(seconds: UnixSeconds) -> Mapping[str, JsonValue]:
    return {"@value": rfc3339(seconds), "@type": "xsd:dateTime"}


def _amount(price: Wei, currency: Address) -> str:
    """Return a price as people read it: the coin with its 18 decimal places, a token in its smallest unit."""
    if currency != ZERO_ADDRESS:
        return f"{price} smallest units of the token {address_text(currency)}"
    whole, part = divmod(price, 10**_WEI_DIGITS)
    return f"{whole}.{part:018d}".rstrip("0").rstrip(".") + " of the chain's coin"


def _prints(count: int) -> str:
    return "1 print" if count == 1 else f"{count} prints"


def _says_spares(document: "TermsDocument") -> Sequence[str]:
    flat, per_hundred = document.spares_flat, document.spares_per_hundred
    return (f"Failed prints returned: {flat} a reservation and {per_hundred} per hundred of its prints, rounded down.",)


def _says_price(document: "TermsDocument") -> Sequence[str]:
    if not document.price:
        return ("A print costs nothing.",)
    return (
        f"One print costs {_amount(document.price, document.currency)}.",
        "It is paid at purchase."
        if document.payout == 0
        else "It is paid as prints are counted; prints that are not reserved are returned for it.",
    )


def _price_rules(document: "TermsDocument") -> Rules:
    if not document.price:
        return Rules()
    unit = (
        _ours("coin")
        if document.currency == ZERO_ADDRESS
        else {"@id": f"urn:platemark:token:{address_text(document.currency)}"}
    )
    amount = {"@value": str(document.price), "@type": "xsd:decimal"}
    duty: JsonValue = {
        "action": "compensate",
        "constraint": [
            {**_constraint("payAmount", "eq", amount), "unit": unit},
            _constraint("unitOfCount", "eq", _ours("product")),
            _constraint(f"{PREFIX}payout", "eq", _ours(_AS_PRINTED if document.payout else _AT_PURCHASE)),
        ],
    }
    return Rules(duties=(duty,))


def _says_end(document: "TermsDocument") -> Sequence[str]:
    if document.not_after == OPEN_END:
        return ()
    return (f"Prints may be reserved until {moment_text(document.not_after)}; no reservation outlasts it.",)


_PROTECTIONS: Final = {
    Protection.STREAM: "Nothing readable is written to a disk: the design is decrypted in memory and streamed to the "
    "printer.",
    Protection.DELETE_AFTER: "G-code may lie on the printer's host while it prints and is deleted afterwards.",
    Protection.FILE: "The design may be written to a file at the print centre.",
}


def _protection_rules(document: "TermsDocument") -> Rules:
    constraint = _constraint(f"{PREFIX}protection", "eq", _ours(str(document.protection)))
    return Rules((constraint,), () if document.protection is Protection.FILE else ({"action": "delete"},))


def _material_rules(document: "TermsDocument") -> Rules:
    if not document.materials:
        return Rules()
    return Rules((_constraint(f"{PREFIX}material", "isAnyOf", list(document.materials)),))


def _clause_rules(document: "TermsDocument") -> Rules:
    if not document.clauses:
        return Rules()
    clauses = _constraint(f"{PREFIX}clause", "isAllOf", list(document.clauses))
    return Rules(duties=({"action": f"{PREFIX}observe", "constraint": [clauses]},))


TABLE: Final = (
    Term(
        "cap",
        "the most prints that exist under the licence at any time, minted or sold",
        lambda document: (f"At most {_prints(document.cap)} may be made under this licence.",),
        lambda document: Rules((_constraint("count", "lteq", document.cap),)),
        arguments=("cap",),
        refused=("CapExceeded",),
    ),
    Term(
        "smallest reservation",
        "the fewest prints of a reservation",
        lambda document: (f"A reservation has at least {_prints(document.smallest_reservation)}.",),
        lambda document: Rules((_constraint(f"{PREFIX}reservedPrints", "gteq", document.smallest_reservation),)),
        arguments=("smallest_reservation",),
        refused=("ReservationTooSmall",),
    ),
    Term(
        "spares",
        "how many failed prints a reservation gives back at most: so many, and so many for each hundred of its prints",
        _says_spares,
        lambda document: Rules(
            (
                _constraint(f"{PREFIX}sparesPerReservation", "lteq", document.spares_flat),
                _constraint(f"{PREFIX}sparesPerHundredPrints", "lteq", document.spares_per_hundred),
            )
        ),
        arguments=("spares_flat", "spares_per_hundred"),
        refused=("UseSkipped",),
    ),
    Term(
        "gateway",
        "with whom prints are reserved: who is named, or to whom the design's owner moved the licence on chain",
        lambda document: (
            f"Prints are reserved with the gateway {address_text(document.gateway)}, or where the owner moves it.",
        ),
        lambda document: Rules(
            (_constraint(f"{PREFIX}gateway", "eq", {"@id": f"urn:platemark:gateway:{address_text(document.gateway)}"}),)
        ),
        arguments=("gateway",),
        refused=("GatewayMismatch",),
    ),
    Term(
        "transfer",
        "whether prints that were not reserved may be passed on to other accounts",
        lambda document: (
            "Prints may be passed on to other accounts."
            if document.transferable
            else "Prints may not be passed on to other accounts.",
        ),
        lambda document: Rules(permitted=("grantUse",)) if document.transferable else Rules(prohibited=("grantUse",)),
        arguments=("transferable",),
        refused=("TransferForbidden",),
    ),
    Term(
        "price",
        "what a buyer pays for one print, in which currency, and when it is owed to the design's owner",
        _says_price,
        _price_rules,
        arguments=("price", "currency", "payout"),
        refused=("PaymentMismatch", "SoldOnly", "NotReturnable"),
    ),
    Term(
        "beginning",
        "from when prints may be reserved",
        lambda document: (
            (f"Prints may be reserved from {moment_text(document.not_before)}.",) if document.not_before else ()
        ),
        lambda document: (
            Rules((_constraint("dateTime", "gteq", _moment(document.not_before)),)) if document.not_before else Rules()
        ),
        arguments=("not_before",),
        refused=("LicenseNotBegun",),
    ),
    Term(
        "end",
        "when the last reservation expires, and until when prints are sold",
        _says_end,
        lambda document: (
            Rules()
            if document.not_after == OPEN_END
            else Rules((_constraint("dateTime", "lteq", _moment(document.not_after)),))
        ),
        arguments=("not_after",),
        refused=("ExpiryAfterLicense", "LicenseEnded"),
    ),
    Term(
        "protection",
        "what may lie readable at the print centre; kept by printer and slicer, or the print is refused",
        lambda document: (_PROTECTIONS[document.protection],),
        _protection_rules,
        demands=("protection",),
        refused=("protection-not-kept",),
    ),
    Term(
        "materials",
        "of what parts are made; the agent compares what the centre says is loaded, and can see no further",
        lambda document: (f"Allowed materials: {', '.join(document.materials)}.",) if document.materials else (),
        _material_rules,
        demands=("materials",),
        refused=("material-not-allowed", "material-unknown"),
    ),
    Term(
        "secrecy",
        "keys and files are for these prints; in every licence",
        lambda _: ("Keys and files that were received are not kept, passed on or used for other prints.",),
        lambda _: Rules(prohibited=("distribute", "derive", "reproduce")),
    ),
    Term(
        "sale of parts",
        "whether printed parts may be sold",
        lambda document: ("Printed parts may be sold." if document.commercial else "Printed parts are not sold.",),
        lambda document: (
            Rules() if document.commercial else Rules((_constraint("purpose", "eq", _ours("nonCommercial")),))
        ),
        chosen=("commercial",),
    ),
    Term(
        "attribution",
        "whether the designer is named with the part",
        lambda document: ("The designer is named with the part.",) if document.attribution else (),
        lambda document: Rules(duties=({"action": "attribute"},)) if document.attribution else Rules(),
        chosen=("attribution",),
    ),
    Term(
        "clauses",
        "the designer's own sentences",
        lambda document: document.clauses,
        _clause_rules,
        chosen=("clauses",),
    ),
)
"""Every term of a licence, those of the contract first, those of paper last."""
