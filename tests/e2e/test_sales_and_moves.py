"""Everything about selling that needs a chain: parents' shares, payout as printed, tokens, a licence that moves.

Two gateways on one chain. Designers have no coins: whatever they do is a signature that a gateway brings to the chain.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, address_text, keccak256, parse_address
from platemark_gateway.chain.transactions import Fees, sign_transaction, transaction_hash
from stack import Chain, Person, Stack, cube_stl, running_stack, wait_for

MAKER: Final = AccountKey(b"\x31" * 32)
MILLI: Final = 10**15
TOKENS: Final[Mapping[str, str]] = json.loads((Path(__file__).parents[1] / "corpus/tokens.json").read_text())[
    "creation"
]


@dataclass(frozen=True)
class Market:
    """A chain, a gateway, and people who know each other."""

    stack: Stack
    parent_owner: Person
    owner: Person
    buyer: Person
    parent: str
    design: str

    @property
    def chain(self) -> Chain:
        return self.stack.running_chain


def address_of(person: Person) -> str:
    return str(person.run("keys", "list")["keys"][0]["address"])


def send(chain: Chain, to: Address | None, data: bytes) -> Mapping[str, Any]:
    """Send a transaction of the token's maker and return its receipt."""
    nonce = int(chain.rpc("eth_getTransactionCount", address_text(MAKER.address), "latest"), 16)
    raw = sign_transaction(
        MAKER.sign,
        chain_id=int(chain.rpc("eth_chainId"), 16),
        nonce=nonce,
        fees=Fees(10**11, 10**9),
        gas=3_000_000,
        to=to,
        value=0,
        data=data,
    )
    chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    receipt: Mapping[str, Any] = chain.rpc("eth_getTransactionReceipt", "0x" + transaction_hash(raw).hex())
    assert receipt["status"] == "0x1"
    return receipt


def new_token(chain: Chain, kind: str, holder: str, amount: int) -> str:
    """Deploy a token and give somebody so much of it."""
    chain.fund(address_text(MAKER.address))
    token = parse_address(send(chain, None, bytes.fromhex(TOKENS[kind]))["contractAddress"])
    make = keccak256(b"make(address,uint256)")[:4] + bytes(12) + parse_address(holder) + amount.to_bytes(32, "big")
    send(chain, token, make)
    return address_text(token)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("market")
    with running_stack(folder) as stack:
        parent_owner, owner = stack.person("first"), stack.person("second")
        buyer = stack.person("buyer", coins=True)
        designs: list[str] = []
        for person, size, options in (
            (parent_owner, 10, ("--derivative-share", "10", "--resale-share", "2.5%", "--edition", "50")),
            (owner, 11, ()),
        ):
            path = folder / f"cube{size}.stl"
            path.write_bytes(cube_stl(size))
            parents = ("--parent", designs[0]) if designs else ()
            made = person.run("design", "register", str(path), "--title", f"Cube {size}", *options, *parents)
            designs.append(str(made["designId"]))
        yield Market(stack, parent_owner, owner, buyer, *designs)


def earned(person: Person) -> dict[str, int]:
    return {item["currency"]: int(item["owed"]) for item in person.run("license", "earnings")["earnings"]}


def audit(market: Market, design: str) -> Mapping[str, Any]:
    ledger = str(market.stack.ready["ledger"])
    return market.buyer.run("audit", "design", design, "--ledger", ledger, "--blocks", market.stack.url)


COIN: Final = "0x" + "00" * 20


def test_a_design_tells_its_shares_its_edition_and_its_parent(market: Market) -> None:
    parent, child = (market.buyer.run("design", "show", each) for each in (market.parent, market.design))
    assert (parent["derivativeShare"], parent["resaleShare"], parent["edition"]) == (1000, 250, 50)
    assert (parent["parent"], child["parent"]) == (None, market.parent)
    lowered = market.parent_owner.run("design", "lower-edition", market.parent, "--to", "30")
    assert (lowered["edition"], lowered["registeredEdition"]) == (30, 50)
    raised = market.parent_owner.attempt("design", "lower-edition", market.parent, "--to", "40")
    assert (raised.exit_code, raised.error_code) == (2, "edition-not-lowered")
    assert audit(market, market.parent)["facts"]["edition"] == 30


def test_prints_are_paid_as_they_are_printed_and_returned_while_they_are_not(market: Market) -> None:
    before = earned(market.parent_owner).get(COIN, 0)
    terms = ("--cap", "20", "--price", "0.001", "--payout", "as-printed", "--on-sale")
    licence = str(market.owner.run("license", "offer", market.design, *terms)["licenseId"])
    free = market.owner.attempt("license", "mint", licence, "--to", address_of(market.buyer), "--prints", "1")
    assert free.exit_code != 0  # such prints are sold only
    assert market.buyer.run("license", "buy", licence, "--prints", "5")["balance"] == 5
    token = market.buyer.run("token", "request", licence, "--prints", "2")
    assert earned(market.owner).get(COIN, 0) == 0
    early = market.buyer.attempt("license", "return", licence, "--for", address_of(market.buyer))
    assert early.error_code == "license-not-ended"  # until then the prints are the buyer's
    back = market.buyer.run("license", "return", licence, "--prints", "1")
    assert (back["balance"], back["refund"]) == (2, str(MILLI))
    assert earned(market.buyer)[COIN] == MILLI
    market.buyer.make_print(token["tokenId"], "--printer", "ada")
    wait_for("the settlement", lambda: earned(market.owner).get(COIN) == MILLI * 9 // 10, seconds=60)
    assert earned(market.parent_owner)[COIN] - before == MILLI // 10
    stranger = "0x" + "5a" * 20
    assert market.owner.run("license", "withdraw", "--to", stranger)["amount"] == str(MILLI * 9 // 10)
    assert int(market.chain.rpc("eth_getBalance", stranger, "latest"), 16) == MILLI * 9 // 10
    again = market.owner.attempt("license", "withdraw", "--to", stranger)
    assert (again.exit_code, again.error_code) == (4, "nothing-owed")
    told = next(item for item in audit(market, market.design)["facts"]["licenses"] if item["licenseId"] == licence)
    assert (told["sold"], told["returned"], told["held"], told["escrowed"], told["settled"]) == (5, 1, 2, 1, 1)
    assert (told["paid"], told["earned"], told["refunded"]) == (str(5 * MILLI), str(MILLI), str(MILLI))


@pytest.mark.parametrize("kind", ["Token", "SilentToken"])
def test_prints_are_sold_in_tokens_with_a_permit_or_an_approval(market: Market, kind: str) -> None:
    token = new_token(market.chain, kind, address_of(market.buyer), 1000)
    terms = ("--cap", "20", "--price", "100 units", "--currency", token)
    licence = str(market.owner.run("license", "offer", market.design, *terms)["licenseId"])
    closed = market.buyer.attempt("license", "buy", licence, "--prints", "2")
    assert (closed.exit_code, closed.error_code) == (4, "not-on-sale")
    assert market.owner.run("license", "sale", licence, "on")["onSale"] is True
    nonce = int(market.chain.rpc("eth_getTransactionCount", address_of(market.buyer), "latest"), 16)
    assert market.buyer.run("license", "buy", licence, "--prints", "2")["paid"] == "200"
    sent = int(market.chain.rpc("eth_getTransactionCount", address_of(market.buyer), "latest"), 16) - nonce
    assert sent == (1 if kind == "Token" else 2)
    assert earned(market.owner)[token] == 180
    poor = market.buyer.attempt("license", "buy", licence, "--prints", "9")
    assert (poor.exit_code, poor.error_code) == (4, "tokens-missing")
    paid = market.owner.run("license", "withdraw", "--currency", token)
    assert (paid["amount"], paid["to"]) == ("180", address_of(market.owner))
    for_first = market.buyer.run("license", "withdraw", "--currency", token, "--for", address_of(market.parent_owner))
    assert for_first["amount"] == "20"
    assert market.owner.run("license", "sale", licence, "off")["onSale"] is False
    assert market.buyer.attempt("license", "buy", licence, "--prints", "1").error_code == "not-on-sale"


def test_a_licence_moves_to_another_gateway_and_its_old_tokens_are_printed_where_they_were(
    market: Market, tmp_path: Path
) -> None:
    holder = address_of(market.buyer)
    licence = str(market.owner.run("license", "offer", market.design, "--cap", "20")["licenseId"])
    minted = market.owner.run(
        "license", "mint", licence, "--to", f"{holder}=6", "--to", "0x" + "5b" * 20, "--prints", "2"
    )
    assert [grant["balance"] for grant in minted["grants"]] == [6, 2]
    old_token = market.buyer.run("token", "request", licence, "--prints", "2")
    new = Stack(tmp_path / "new", market.stack.rpc)
    new.data.mkdir(parents=True)
    shutil.copy(market.stack.data / "deployment.json", new.data)
    try:
        new.start_gateway()
        moved = market.owner.run("license", "move", licence, "--to", new.url)
        assert (moved["gateway"], moved["url"]) == (new.ready["gateway"], new.url)
        wait_for(  # the old gateway reads the chain by itself
            "the old gateway to see the move",
            lambda: market.buyer.run("license", "show", licence)["gateway"] == new.ready["gateway"],
        )
        late = market.buyer.attempt("token", "request", licence, "--prints", "2")
        assert (late.exit_code, late.error_code) == (4, "gateway-mismatch")
        market.buyer.make_print(old_token["tokenId"], "--printer", "ada")
        there = Person(market.buyer.home, market.buyer.passphrase_file, market.buyer.rpc, new.url)
        new_token_ = there.run("token", "request", licence, "--prints", "2")
        there.make_print(new_token_["tokenId"], "--printer", "ada")

        def settled(person: Person, token: Mapping[str, Any]) -> bool:
            return bool(person.run("token", "show", token["tokenId"])["burned"] == 1)

        wait_for("both settlements", lambda: settled(market.buyer, old_token) and settled(there, new_token_))
        told = next(item for item in audit(market, market.design)["facts"]["licenses"] if item["licenseId"] == licence)
        assert (told["gateway"], len(told["movedInBlocks"])) == (new.ready["gateway"], 1)
        assert (told["minted"], told["held"], told["escrowed"], told["settled"]) == (8, 4, 2, 2)
        for stack in (market.stack, new):
            report = market.buyer.run("audit", "log", "--blocks", stack.url, "--tiles", f"{stack.url}/log")
            assert report["holds"] is True
    finally:
        new.close()
