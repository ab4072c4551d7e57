"""Every term that the table says the contract holds is broken at its limit on an EVM, and refused as the table says."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract_chain import DAY, DESIGNER, GATEWAY, HOLDER, Chain
from model.chain import token_code
from platemark.errors import MalformedError
from platemark.protocol.accounts import AccountKey, to_compact
from platemark.protocol.digests import commitment, sha256
from platemark.protocol.license_terms import OPEN_END, TABLE, Enforcer, Protection
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.typed_data import Acceptance, Mint, Offer, Redemption, Registration, Reservation, Terms
from platemark.protocol.units import (
    ZERO_ADDRESS,
    Address,
    DesignId,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    address_text,
    digest32,
    parse_address,
)
from terms_choices import documents

AGENT: Final = AccountKey(b"\x04" * 32)
KEY_COMMITMENT: Final = sha256(b"key")
TOKEN_ABI: Final[Any] = [
    {
        "type": "function",
        "name": name,
        "stateMutability": "nonpayable",
        "inputs": [{"name": "account", "type": "address"}, {"name": "amount", "type": "uint256"}],
        "outputs": [],
    }
    for name in ("make", "approve")
]
NUMBERS: Final = count(1)


@dataclass(frozen=True)
class Market:
    """A chain with a design, two gateways, and a holder who has coins and tokens."""

    chain: Chain
    design_id: DesignId
    currencies: tuple[Address, ...]

    def offering(self, terms: Terms) -> Any:
        """Return the call that puts a licence on sale."""
        deadline = UnixSeconds(self.chain.now() + DAY)
        acceptance = Acceptance(terms.gateway, terms.design_id, 1, KEY_COMMITMENT, terms.terms_digest, deadline)
        offer = Offer(terms, on_sale=True, deadline=deadline)
        return self.chain.license.functions.offerBySig(
            terms.arguments(),
            offer.on_sale,
            offer.deadline,
            self.chain.sign(DESIGNER, offer),
            acceptance.arguments(),
            self.chain.sign(GATEWAY, acceptance),
        )

    def offer(self, document: TermsDocument) -> "Sale":
        """Put a licence on sale."""
        terms = document.terms(digest32(bytes(32)))
        self.chain.send(self.offering(terms))
        return Sale(self.chain, document, terms.license_id(self.chain.domain(terms)))


@dataclass(frozen=True)
class Sale:
    """A licence that is on sale, and what its holder tries."""

    chain: Chain
    document: TermsDocument
    license_id: LicenseId

    @property
    def license(self) -> Any:
        return self.chain.license.functions

    @property
    def holder(self) -> str:
        return address_text(HOLDER.address)

    def mint(self, prints: int) -> Any:
        deadline = UnixSeconds(self.chain.now() + DAY)
        mint = Mint(DESIGNER.address, self.license_id, HOLDER.address, prints, next(NUMBERS), deadline)
        return self.license.mintBySig(mint.arguments(), self.chain.sign(DESIGNER, mint))

    def purchase(self, prints: int) -> Any:
        return self.license.purchase(self.license_id, self.holder, prints)

    def coins(self, prints: int) -> int:
        """Return the coins that a purchase costs; tokens were approved."""
        return prints * self.document.price if self.document.currency == ZERO_ADDRESS else 0

    def acquisition(self, prints: int) -> tuple[Any, int]:
        """Return how the holder comes to prints under this payout, and what coins it needs."""
        return (self.purchase(prints), self.coins(prints)) if self.document.payout else (self.mint(prints), 0)

    def acquire(self, prints: int) -> None:
        function, value = self.acquisition(prints)
        self.chain.send(function, self.holder, value)

    def begin(self) -> None:
        """Go to when prints may be reserved."""
        if self.document.not_before:
            self.chain.travel(self.document.not_before)

    def permission(self, prints: int, expires_at: int | None = None, gateway: Address = GATEWAY.address) -> Reservation:
        now = self.chain.now()
        return Reservation(
            holder=HOLDER.address,
            gateway=gateway,
            agent=AGENT.address,
            license_id=self.license_id,
            revision=1,
            prints=prints,
            expires_at=UnixSeconds(now + DAY if expires_at is None else expires_at),
            deadline=UnixSeconds(now + DAY),
            salt=sha256(next(NUMBERS).to_bytes(8, "big")),
        )

    def reserve(self, permission: Reservation) -> Any:
        return self.chain.ledger.functions.reserve(permission.arguments(), self.chain.sign(HOLDER, permission))

    def settle(self, permission: Reservation, sequence: int, voided: int) -> set[str]:
        """Settle as the gateway, and return the names of what happened."""
        redemption = Redemption(TokenId(self.chain.id(permission)), sequence, sha256(b"request"))
        r, vs = to_compact(self.chain.sign(AGENT, redemption))
        use = (redemption.token_id, sequence, voided, redemption.request_digest, r, vs)
        gateway = address_text(GATEWAY.address)
        events = self.chain.send(self.chain.ledger.functions.settle(gateway, [(self.license_id, [use])]), gateway)
        return {"Settled", "UseSkipped"} & events.keys()

    def refused(self, function: Any, value: int = 0) -> str:
        """Return the error with which a call is refused at the head's time; it must be."""
        found = self.chain.refusal(function, self.holder, value)
        assert found is not None
        return found.name

    def taken(self, function: Any, value: int = 0) -> None:
        """Pass when a call is not refused at the head's time."""
        found = self.chain.refusal(function, self.holder, value)
        assert found is None, found


# --- one way to break each argument, which gives the refusals that it met ---------------------------------------


def break_cap(sale: Sale) -> Iterator[str]:
    cap = sale.document.cap
    yield sale.refused(*sale.acquisition(cap + 1))
    sale.acquire(cap)
    yield sale.refused(*sale.acquisition(1))


def break_smallest_reservation(sale: Sale) -> Iterator[str]:
    smallest = sale.document.smallest_reservation
    sale.acquire(smallest)
    sale.begin()
    yield sale.refused(sale.reserve(sale.permission(smallest - 1)))
    sale.taken(sale.reserve(sale.permission(smallest)))


def break_spares(sale: Sale) -> Iterator[str]:
    document = sale.document
    for prints in {document.smallest_reservation, document.cap}:
        with kept(sale.chain):
            spares = document.spares_flat + prints * document.spares_per_hundred // 100
            sale.acquire(prints)
            sale.begin()
            permission = sale.permission(prints)
            (reserved,) = sale.chain.send(sale.reserve(permission))["Reserved"]
            assert reserved["spares"] == spares
            for sequence, voided in ((prints + spares + 1, 0), (prints + spares, spares + 1)):
                (skipped,) = sale.settle(permission, sequence, voided)
                yield skipped
            assert sale.settle(permission, prints + spares, spares) == {"Settled"}


def break_gateway(sale: Sale) -> Iterator[str]:
    prints = sale.document.smallest_reservation
    sale.acquire(prints)
    sale.begin()
    yield sale.refused(sale.reserve(sale.permission(prints, gateway=DESIGNER.address)))
    sale.taken(sale.reserve(sale.permission(prints)))


def break_transferable(sale: Sale) -> Iterator[str]:
    sale.acquire(1)
    passed_on = sale.license.safeTransferFrom(sale.holder, sale.chain.anybody, sale.license_id, 1, b"")
    if sale.document.transferable:
        sale.taken(passed_on)
    else:
        yield sale.refused(passed_on)


def break_price(sale: Sale) -> Iterator[str]:
    coins = sale.coins(1)
    sale.taken(sale.purchase(1), coins)
    yield sale.refused(sale.purchase(1), coins + 1)
    if coins:
        yield sale.refused(sale.purchase(1), coins - 1)
    if sale.document.price:
        (sold,) = sale.chain.send(sale.purchase(1), sale.holder, coins)["PrintsSold"]
        assert sold["paid"] == sale.document.price


def break_payout(sale: Sale) -> Iterator[str]:
    sale.acquire(1)
    owed = sale.license.owed(address_text(DESIGNER.address), address_text(sale.document.currency))
    if sale.document.payout:
        yield sale.refused(sale.mint(1))
        assert owed.call() == 0
        sale.taken(sale.license.returnPrints(sale.license_id, 1))
    else:
        yield sale.refused(sale.license.returnPrints(sale.license_id, 1))


def break_not_before(sale: Sale) -> Iterator[str]:
    prints, begins = sale.document.smallest_reservation, sale.document.not_before
    sale.acquire(prints)
    if begins:
        yield sale.refused(sale.reserve(sale.permission(prints, expires_at=begins + DAY)))
        sale.chain.travel(begins - 1)
        yield sale.refused(sale.reserve(sale.permission(prints)))
        sale.chain.travel(begins)
    sale.taken(sale.reserve(sale.permission(prints)))


def break_not_after(sale: Sale) -> Iterator[str]:
    prints, ends = sale.document.smallest_reservation, sale.document.not_after
    sale.acquire(prints)
    sale.begin()
    if ends == OPEN_END:
        sale.taken(sale.reserve(sale.permission(prints, expires_at=(1 << 32) - 1)))
        return
    yield sale.refused(sale.reserve(sale.permission(prints, expires_at=ends + 1)))
    sale.taken(sale.reserve(sale.permission(prints, expires_at=ends)))
    if prints < sale.document.cap:
        sale.chain.travel(ends)
        sale.taken(sale.purchase(1), sale.coins(1))
        sale.chain.travel(ends + 1)
        yield sale.refused(sale.purchase(1), sale.coins(1))


BREAKERS: Final[Mapping[str, Callable[[Sale], Iterator[str]]]] = {
    "cap": break_cap,
    "smallest_reservation": break_smallest_reservation,
    "spares_flat": break_spares,
    "spares_per_hundred": break_spares,
    "gateway": break_gateway,
    "transferable": break_transferable,
    "price": break_price,
    "currency": break_price,
    "payout": break_payout,
    "not_before": break_not_before,
    "not_after": break_not_after,
}


@contextmanager
def kept(chain: Chain) -> Iterator[None]:
    """Undo what the block does to the chain."""
    snapshot = chain.tester.take_snapshot()
    yield
    chain.tester.revert_to_snapshot(snapshot)


@pytest.fixture(scope="module")
def market() -> Market:
    chain = Chain()
    design = Registration(
        registrant=DESIGNER.address,
        commitment=commitment(DESIGNER.address, digest32(bytes(32)), sha256(b"root")),
        manifest_digest=sha256(b"manifest"),
        is_private=False,
        parent_id=DesignId(0),
        resale_share=500,
        derivative_share=1000,
        edition=0,
    )
    chain.send(chain.registry.functions.registerBySig(design.arguments(), chain.sign(DESIGNER, design)))
    for gateway in (GATEWAY, DESIGNER):
        chain.send(chain.ledger.functions.declareGateway(sha256(b"profile"), False), address_text(gateway.address))
    created: Any = {"from": chain.anybody, "data": token_code()}
    receipt = chain.web3.eth.get_transaction_receipt(chain.web3.eth.send_transaction(created))
    token = chain.web3.eth.contract(address=receipt["contractAddress"], abi=TOKEN_ABI)
    holder = address_text(HOLDER.address)
    chain.send(token.functions.make(holder, 10**18))
    chain.send(token.functions.approve(chain.license.address, 10**18), holder)
    return Market(chain, DesignId(chain.id(design)), (ZERO_ADDRESS, parse_address(token.address)))


def breaks(market: Market, document: TermsDocument) -> dict[str, set[str]]:
    """Return by the name of each term that the contract holds with what breaking it was refused."""
    met: dict[str, set[str]] = {}
    with kept(market.chain):
        sale = market.offer(document)
        for term in TABLE:
            for name in term.arguments:
                with kept(market.chain):
                    met.setdefault(term.name, set()).update(BREAKERS[name](sale))
    return met


REFUSED: Final = {term.name: set(term.refused) for term in TABLE if term.enforcer is Enforcer.CONTRACT}


@settings(max_examples=8)
@given(data=st.data())
def test_what_breaks_a_term_of_the_contract_is_refused_as_the_table_says(market: Market, data: st.DataObject) -> None:
    drawn = documents(
        now=market.chain.now(),
        design_id=market.design_id,
        gateway=GATEWAY.address,
        currencies=market.currencies,
    )
    for name, refusals in breaks(market, data.draw(drawn)).items():
        assert refusals <= REFUSED[name]


def test_each_refusal_of_the_table_is_met(market: Market) -> None:
    now = market.chain.now()
    first = TermsDocument(
        "Everything",
        market.design_id,
        GATEWAY.address,
        Protection.STREAM,
        cap=20,
        price=Wei(7),
        not_before=UnixSeconds(now + DAY),
        not_after=UnixSeconds(now + 40 * DAY),
        spares_flat=1,
        spares_per_hundred=10,
        smallest_reservation=5,
    )
    second = TermsDocument(
        "As printed", market.design_id, GATEWAY.address, Protection.STREAM, cap=20, price=Wei(7), payout=1
    )
    met = [breaks(market, document) for document in (first, second)]
    assert {name: met[0][name] | met[1][name] for name in REFUSED} == REFUSED


def test_every_argument_has_its_way_of_being_broken() -> None:
    assert [name for term in TABLE for name in term.arguments] == list(BREAKERS)


@settings(max_examples=200)
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "cap": st.sampled_from((0, 9, 10, 65_500, 65_501, 65_535, 65_536)),
            "smallest_reservation": st.sampled_from((0, 1, 2, 9, 21, 20, 100)),
            "spares_flat": st.sampled_from((0, 1, 5, 6, 35)),
            "spares_per_hundred": st.sampled_from((0, 1, 49, 50, 51)),
            "not_before": st.sampled_from((1, 3, 4)),
            "not_after": st.sampled_from((2, 3, 4)),
            "price": st.integers(0, 1),
            "payout": st.integers(0, 1),
        },
    )
)
def test_a_document_takes_the_numbers_that_the_contract_takes(market: Market, changes: dict[str, int]) -> None:
    now = market.chain.now()
    numbers: dict[str, Any] = {
        name: now + value * DAY if name.startswith("not_") else value for name, value in changes.items()
    }
    least = TermsDocument(
        "Least", market.design_id, GATEWAY.address, Protection.FILE, 20, not_after=UnixSeconds(now + 3 * DAY)
    )
    least = replace(least, smallest_reservation=10)
    refused = market.chain.refusal(market.offering(replace(least.terms(digest32(bytes(32))), **numbers)))
    assert (refused is None) is is_sound(least, numbers), refused


def is_sound(least: TermsDocument, numbers: dict[str, Any]) -> bool:
    try:
        replace(least, **numbers)
    except MalformedError:
        return False
    return True
