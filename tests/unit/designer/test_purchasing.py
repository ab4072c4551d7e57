"""Buying: the exact price, in coin, with a permit, or after an approval of exactly the price."""

import dataclasses
from typing import Any

import pytest

import sample_documents as sample
from platemark.designer.earning import return_for
from platemark.designer.purchasing import buy
from platemark.errors import Kind, RefusedError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, Digest32, UnixSeconds, Wei, address_text
from platemark.sdk.answers import LicenseState
from platemark.sdk.chain import BlockTag, ChainClient, ContractName, Sent
from platemark.sdk.erc20 import _separator_of
from platemark.sdk.licenses import License
from platemark.sdk.trust import Deployment, TrustedGateway
from platemark.sdk.waiting import Patience

BUYER = AccountKey(b"\x42" * 32)
TOKEN = Address(b"\x70" * 20)
GATEWAY = TrustedGateway(
    url="http://gateway.test",
    deployment=Deployment(sample.CHAIN_ID, sample.REGISTRY, sample.LICENSE, sample.LEDGER),
    address=sample.GATEWAY.address,
    profile=sample.PROFILE,
    profile_digest=sample.PROFILE.digest(),
    on_chain=True,
    final_after_seconds=0,
)


class Clock:
    def now(self) -> UnixSeconds:
        return UnixSeconds(sample.NOW)


class Market(ChainClient):
    """A chain with one token of ours; remembers what was sent."""

    def __init__(self, **answers: Any) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers = answers
        self.sent: list[tuple[str, tuple[Any, ...], int]] = []

    def read(
        self, contract: ContractName, address: Address, function: str, *arguments: Any, block: BlockTag = "latest"
    ) -> Any:
        if function not in self.answers:
            raise RefusedError("no such function", kind=Kind.CONFLICT, code="contract-refused")
        return self.answers[function]

    def transact(
        self,
        account: AccountKey,
        contract: ContractName,
        address: Address,
        function: str,
        *arguments: Any,
        chain_id: int,
        value: Wei = Wei(0),  # noqa: B008 (an integer)
    ) -> Digest32:
        assert account is BUYER
        assert (contract, address) == (("ERC20", TOKEN) if function == "approve" else ("PrintLicense", sample.LICENSE))
        self.sent.append((function, arguments, value))
        return Digest32(len(self.sent).to_bytes(32, "big"))

    def wait(self, transaction: Digest32, **_: Any) -> Sent:
        return Sent(transaction, 7, 21_000)


def licence(*, currency: Address | None = None, on_sale: bool = True) -> License:
    document = sample.TERMS_DOCUMENT
    if currency is not None:
        document = dataclasses.replace(document, currency=currency, price=Wei(100))
    terms = document.terms(Digest32(b"\x05" * 32))
    number = terms.license_id(sample.LICENSE_DOMAIN)
    state = LicenseState(number, terms.design_id, terms.gateway, 1, terms, terms.cap - 9, on_sale, "final", None, None)
    return License(state, document)


def bought(market: Market, found: License, prints: int) -> Sent:
    told: list[str] = []
    return buy(
        BUYER,
        found,
        prints,
        gateway=GATEWAY,
        chain=market,
        clock=Clock(),
        tell=told.append,
        patience=Patience(1),
    )


def test_the_price_in_coin_goes_along() -> None:
    market, found = Market(), licence()
    assert bought(market, found, 3).block == 7
    to = (found.state.license_id, address_text(BUYER.address), 3)
    assert market.sent == [("purchase", to, 3 * found.terms.price)]


def test_a_permit_saves_the_approval() -> None:
    separator = _separator_of("Token", "1", sample.CHAIN_ID, TOKEN)
    market = Market(balanceOf=300, allowance=0, name="Token", nonces=0, DOMAIN_SEPARATOR=separator, permit=[])
    bought(market, licence(currency=TOKEN), 3)
    ((function, arguments, value),) = market.sent
    assert (function, arguments[2], arguments[3], value) == ("purchaseWithPermit", 3, sample.NOW + 3600, 0)


def test_without_permits_exactly_the_price_is_approved() -> None:
    market = Market(balanceOf=300, allowance=0)
    bought(market, licence(currency=TOKEN), 3)
    assert [(function, arguments[-1]) for function, arguments, _ in market.sent] == [("approve", 300), ("purchase", 3)]
    assert market.sent[0][1][0] == address_text(sample.LICENSE)


def test_an_allowance_that_is_too_small_is_taken_back_first() -> None:
    market = Market(balanceOf=300, allowance=299)
    bought(market, licence(currency=TOKEN), 3)
    assert [arguments[-1] for _, arguments, _ in market.sent] == [0, 300, 3]


def test_an_allowance_that_is_enough_is_used() -> None:
    market = Market(balanceOf=300, allowance=300)
    bought(market, licence(currency=TOKEN), 3)
    assert [function for function, _, _ in market.sent] == ["purchase"]


@pytest.mark.parametrize(
    "found, prints, code",
    [
        (licence(on_sale=False), 1, "not-on-sale"),
        (licence(), 10, "cap-exceeded"),
        (licence(currency=TOKEN), 4, "tokens-missing"),
    ],
)
def test_what_cannot_be_bought_sends_nothing(found: License, prints: int, code: str) -> None:
    market = Market(balanceOf=300, allowance=0)
    with pytest.raises(RefusedError) as caught:
        bought(market, found, prints)
    assert caught.value.code == code
    assert market.sent == []


def as_printed() -> License:
    found = licence()
    document = dataclasses.replace(found.document, payout=1)
    terms = document.terms(Digest32(b"\x05" * 32))
    return License(dataclasses.replace(found.state, terms=terms), document)


def test_what_an_ended_licence_holds_is_returned_by_a_transaction_of_ones_own() -> None:
    market, found, told = Market(), as_printed(), list[str]()
    holder = Address(b"\x71" * 20)
    patience = Patience(1)
    sent = return_for(BUYER, found, holder, gateway=GATEWAY, chain=market, tell=told.append, patience=patience)
    assert sent.block == 7
    assert market.sent == [("returnPrintsFor", (found.state.license_id, address_text(holder)), 0)]
    assert told


def test_what_was_paid_out_at_purchase_is_not_returned_for_anybody() -> None:
    market = Market()
    with pytest.raises(RefusedError) as caught:
        return_for(BUYER, licence(), BUYER.address, gateway=GATEWAY, chain=market, tell=print, patience=Patience(1))
    assert caught.value.code == "not-returnable"
    assert market.sent == []
