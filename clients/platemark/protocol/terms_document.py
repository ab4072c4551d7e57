"""The terms of a licence as a document: ODRL for machines, plain words for people, one source for both.

Each sentence says who holds it: the contract (the chain refuses otherwise), the agent (the print centre's program
refuses otherwise) or paper (nothing but the agreement). The document's numbers are those of the terms on chain;
sentences and policy follow from them by the table of `license_terms`, so that the three cannot contradict each other:
`parse` derives both again.

Evolution: other wording or another policy is another version.
Source: ODRL 2.2; docs/formats.md, terms document.
"""

from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.cid import LEAF_BYTES, Cid, raw_cid
from platemark.protocol.digests import sha256
from platemark.protocol.license_terms import (
    OPEN_END,
    Demands,
    Protection,
    Sentence,
    compile_arguments,
    compile_demands,
    compile_policy,
    compile_sentences,
)
from platemark.protocol.plain_text import line_of, lines_of
from platemark.protocol.typed_data import Terms
from platemark.protocol.units import (
    ZERO_ADDRESS,
    Address,
    DesignId,
    Digest32,
    UnixSeconds,
    Wei,
    address_text,
    digest_text,
    id_text,
    parse_address,
    parse_id,
)

VERSION: Final = 2
MAX_BYTES: Final = LEAF_BYTES
MAX_CLAUSES: Final = 64
MAX_MATERIALS: Final = 32
LATEST: Final = 253_402_300_799  # the end of the year 9999
HIGHEST_SPARES_PER_HUNDRED: Final = 50
MOST_USES: Final = 65_535

_UINT40: Final = (1 << 40) - 1
_FREE: Final = Wei(0)
_AT_ONCE: Final = UnixSeconds(0)
_UINT96: Final = (1 << 96) - 1


@dataclass(frozen=True, slots=True)
class TermsDocument:
    """What a designer chooses; everything else in the document follows from it.

    `price` is for one print in the currency's smallest unit, `currency` zero is the chain's coin; `not_before` 0 is
    at once and `not_after` `OPEN_END` never; `materials` the allowed ones, none leaves them open; `clauses` are the
    designer's own sentences.
    """

    title: str
    design_id: DesignId
    gateway: Address
    protection: Protection
    cap: int
    price: Wei = _FREE
    currency: Address = ZERO_ADDRESS
    not_before: UnixSeconds = _AT_ONCE
    not_after: UnixSeconds = OPEN_END
    spares_flat: int = 0
    spares_per_hundred: int = 0
    smallest_reservation: int = 1
    transferable: bool = False
    payout: int = 0
    materials: tuple[str, ...] = ()
    commercial: bool = True
    attribution: bool = False
    clauses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Errors: MalformedError `terms-unsound` for numbers that the PrintLicense refuses at any time."""
        if not 1 <= self.smallest_reservation <= self.cap:
            raise _unsound("the smallest reservation has at least one print and at most all of them")
        if not 0 <= self.not_before <= LATEST or (self.not_after > LATEST and self.not_after != OPEN_END):
            raise _unsound("the licence's times are beyond the year 9999")
        if self.not_after < self.not_before:
            raise _unsound("the licence ends before it begins")
        if self.spares_per_hundred > HIGHEST_SPARES_PER_HUNDRED:
            raise _unsound(f"spares are at most {HIGHEST_SPARES_PER_HUNDRED} per hundred prints")
        if 2 * self.spares(self.smallest_reservation) > self.smallest_reservation:
            raise _unsound("the smallest reservation would have more spares than half its prints")
        if len({name.casefold() for name in self.materials}) < len(self.materials):
            raise _unsound("a material is named twice")
        if any(not name.isprintable() or set(name) & set(",;") for name in self.materials):
            raise _unsound("a material's name has characters that are read otherwise than they are written")
        if self.payout and not self.price:
            raise _unsound("prints that are paid as printed have a price")
        largest = min(self.cap, MOST_USES)
        if largest + self.spares(largest) > MOST_USES:
            raise _unsound(f"prints and spares of a reservation could pass {MOST_USES}")

    def sentences(self) -> tuple[Sentence, ...]:
        """Return the rules in plain words, in their fixed order."""
        return compile_sentences(self)

    def policy(self) -> dict[str, JsonValue]:
        """Return the same rules as an ODRL offer."""
        return compile_policy(self, f"urn:platemark:terms:{digest_text(sha256(canonical.encode(self._choices())))}")

    def demands(self) -> Demands:
        """Return what an agent is asked to keep."""
        return compile_demands(self)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the whole document."""
        return {
            **self._choices(),
            "sentences": [sentence.to_json() for sentence in self.sentences()],
            "policy": self.policy(),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the document that `to_json` wrote.

        Errors: MalformedError; `terms-document` when sentences or policy say something else than the numbers.
        """
        found = object_of(value, fields=_FIELDS)
        integer_of(found["version"], low=VERSION, high=VERSION)
        document = cls(
            title=line_of(found["title"]),
            design_id=DesignId(parse_id(found["designId"])),
            gateway=parse_address(found["gateway"]),
            protection=_protection(found["protection"]),
            cap=integer_of(found["cap"], low=1, high=_UINT40),
            price=_price(found["price"]),
            currency=parse_address(found["currency"]),
            not_before=UnixSeconds(integer_of(found["notBefore"], high=LATEST)),
            not_after=_end(found["notAfter"]),
            spares_flat=integer_of(found["sparesFlat"], high=65_535),
            spares_per_hundred=integer_of(found["sparesPerHundred"], high=65_535),
            smallest_reservation=integer_of(found["smallestReservation"], low=1, high=65_535),
            transferable=_flag(found["transferable"]),
            payout=integer_of(found["payout"], high=1),
            materials=lines_of(found["materials"], max_items=MAX_MATERIALS, max_length=60),
            commercial=_flag(found["commercial"]),
            attribution=_flag(found["attribution"]),
            clauses=lines_of(found["clauses"], max_items=MAX_CLAUSES, max_length=2000),
        )
        derived = document.to_json()
        if derived["sentences"] != found["sentences"] or derived["policy"] != found["policy"]:
            raise MalformedError(
                "the document's words or its policy do not follow from its numbers", code="terms-document"
            )
        return document

    def encode(self) -> bytes:
        """Return the document's bytes: the IPFS block, exactly what `parse` accepts."""
        data = canonical.encode(self.to_json())
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the document in canonical bytes of at most 1 MiB; errors as `from_json`."""
        return cls.from_json(canonical.decode(data, max_bytes=MAX_BYTES))

    def digest(self) -> Digest32:
        """Return the SHA-256 of the bytes: what the terms on chain hold."""
        return sha256(self.encode())

    def cid(self) -> Cid:
        """Return the identifier of the document's block."""
        return raw_cid(self.encode())

    def terms(self, salt: Digest32) -> Terms:
        """Return the terms to offer on chain; `salt` (32 random bytes) tells equal licences apart."""
        return Terms(design_id=self.design_id, terms_digest=self.digest(), salt=salt, **compile_arguments(self))

    def check_terms(self, terms: Terms) -> None:
        """Pass when the terms on chain are these.

        Errors: VerificationError `terms-differ` naming the first member that says something else.
        """
        own = self.terms(terms.salt).to_json()
        for name, found in terms.to_json().items():
            if own[name] != found:
                raise VerificationError(
                    f"the document and the licence differ in {name}",
                    step="terms",
                    code="terms-differ",
                    expected=str(own[name]),
                    found=str(found),
                )

    def spares(self, prints: int) -> int:
        """Return how many failed prints a reservation of so many prints gives back at most."""
        return self.spares_flat + prints * self.spares_per_hundred // 100

    def _choices(self) -> dict[str, JsonValue]:
        return {
            "version": VERSION,
            "title": self.title,
            "designId": id_text(self.design_id),
            "gateway": address_text(self.gateway),
            "protection": str(self.protection),
            "cap": self.cap,
            "price": str(self.price),
            "currency": address_text(self.currency),
            "notBefore": self.not_before,
            "notAfter": self.not_after,
            "sparesFlat": self.spares_flat,
            "sparesPerHundred": self.spares_per_hundred,
            "smallestReservation": self.smallest_reservation,
            "transferable": self.transferable,
            "payout": self.payout,
            "materials": list(self.materials),
            "commercial": self.commercial,
            "attribution": self.attribution,
            "clauses": list(self.clauses),
        }


_FIELDS: Final = frozenset(
    {
        "version",
        "title",
        "designId",
        "gateway",
        "protection",
        "cap",
        "price",
        "currency",
        "notBefore",
        "notAfter",
        "sparesFlat",
        "sparesPerHundred",
        "smallestReservation",
        "transferable",
        "payout",
        "materials",
        "commercial",
        "attribution",
        "clauses",
        "sentences",
        "policy",
    }
)


def check_digest(terms: Terms, data: bytes) -> TermsDocument:
    """Return the document in `data`, which is the one that the terms on chain name and agrees with them.

    Errors: VerificationError `terms-differ`; MalformedError.
    """
    found = sha256(data)
    if found != terms.terms_digest:
        raise VerificationError(
            "this is not the document that the licence names",
            step="terms",
            code="terms-differ",
            expected=digest_text(terms.terms_digest),
            found=digest_text(found),
        )
    document = TermsDocument.parse(data)
    document.check_terms(terms)
    return document


def _unsound(message: str) -> MalformedError:
    return MalformedError(message, code="terms-unsound", hint="the contract would refuse such a licence")


def _protection(value: JsonValue) -> Protection:
    if value not in tuple(Protection):
        raise MalformedError("a protection is stream, delete-after or file", code="terms-document")
    return Protection(line_of(value))


def _price(value: JsonValue) -> Wei:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 29:
        raise MalformedError("a price is a decimal text", code="integer-range")
    price = int(value)
    if str(price) != value or price > _UINT96:
        raise MalformedError("a price is a decimal text below 2^96", code="integer-range")
    return Wei(price)


def _end(value: JsonValue) -> UnixSeconds:
    return OPEN_END if value == OPEN_END else UnixSeconds(integer_of(value, high=LATEST))


def _flag(value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise MalformedError("true or false was expected", code="canonical-form")
    return value
