"""Tokens that licences are paid in: what is asked of them, and which permits are signed."""

from collections.abc import Mapping
from typing import Any

import pytest

from platemark.errors import Kind, RefusedError, UpstreamError
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.units import Address, Digest32, UnixSeconds, address_text, keccak256
from platemark.sdk.chain import BlockTag, ChainClient, ContractName
from platemark.sdk.erc20 import ABI, Token, _separator_of

ACCOUNT = AccountKey(b"\x42" * 32)
SPENDER = Address(b"\x22" * 20)
TOKEN = Address(b"\x70" * 20)
OTHER = Address(b"\x71" * 20)
CHAIN_ID = 31_337
DEADLINE = UnixSeconds(1_900_000_000)


class OneToken(ChainClient):
    """A chain with one token, which answers from a mapping and refuses everything else."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers = answers
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def read(
        self, contract: ContractName, address: Address, function: str, *arguments: Any, block: BlockTag = "latest"
    ) -> Any:
        assert (contract, address) == ("ERC20", TOKEN)
        self.asked.append((function, arguments))
        if function not in self.answers:
            raise RefusedError("no such function", kind=Kind.CONFLICT, code="contract-refused")
        found = self.answers[function]
        if isinstance(found, Exception):
            raise found
        return found


def token(**answers: Any) -> Token:
    return Token(OneToken(answers), CHAIN_ID, TOKEN)


def permitting(**changes: Any) -> Token:
    version = changes.get("version", "1")
    answers = {
        "name": "Token",
        "nonces": 3,
        "DOMAIN_SEPARATOR": _separator_of("Token", version, CHAIN_ID, TOKEN),
        "permit": [],
    }
    return token(**(answers | changes))


@pytest.mark.parametrize("changes", [{}, {"version": "2"}, {"version": "7"}])
def test_a_permit_is_for_this_token_spender_amount_and_number(changes: dict[str, Any]) -> None:
    found = permitting(**changes).permit(ACCOUNT, SPENDER, 500, DEADLINE)
    assert found is not None
    assert (found.permit.value, found.permit.nonce, found.permit.spender) == (500, 3, SPENDER)
    separator = _separator_of("Token", changes.get("version", "1"), CHAIN_ID, TOKEN)
    digest = keccak256(b"\x19\x01" + separator + found.permit.struct_hash())
    assert recover(Digest32(digest), found.r + found.s + bytes([found.v])) == ACCOUNT.address


@pytest.mark.parametrize(
    "changes",
    [
        {"DOMAIN_SEPARATOR": _separator_of("Token", "1", CHAIN_ID, OTHER)},
        {"DOMAIN_SEPARATOR": _separator_of("Token", "1", CHAIN_ID + 1, TOKEN)},
        {"DOMAIN_SEPARATOR": 5},
        {"DOMAIN_SEPARATOR": UpstreamError("empty", code="contract-missing")},
        {"name": b"Token"},
        {"nonces": RefusedError("no", kind=Kind.CONFLICT, code="contract-refused")},
    ],
    ids=["another token's", "another chain's", "no bytes", "empty", "no name", "no numbers"],
)
def test_nothing_is_signed_for_a_domain_that_is_not_the_tokens_own(changes: dict[str, Any]) -> None:
    found = permitting(**changes)
    assert found.permit(ACCOUNT, SPENDER, 500, DEADLINE) is None
    assert isinstance(found.chain, OneToken)
    assert "permit" not in {function for function, _ in found.chain.asked}


def test_a_permit_that_the_token_refuses_is_none() -> None:
    refused = RefusedError("another kind", kind=Kind.CONFLICT, code="contract-refused")
    assert permitting(permit=refused).permit(ACCOUNT, SPENDER, 500, DEADLINE) is None


def test_an_endpoint_that_is_away_is_no_answer() -> None:
    away = UpstreamError("away", code="rpc-unreachable")
    with pytest.raises(UpstreamError) as caught:
        permitting(DOMAIN_SEPARATOR=away).permit(ACCOUNT, SPENDER, 500, DEADLINE)
    assert caught.value.code == "rpc-unreachable"


@pytest.mark.parametrize("decimals", [37, "six", None])
def test_decimals_that_make_no_sense_are_refused(decimals: Any) -> None:
    with pytest.raises(UpstreamError) as caught:
        token(decimals=decimals).decimals()
    assert caught.value.code == "token-decimals"
    assert token(decimals=6).decimals() == 6


def test_a_token_without_a_symbol_is_called_by_its_address() -> None:
    assert token().symbol() == address_text(TOKEN)
    assert token(symbol="  ").symbol() == address_text(TOKEN)
    assert token(symbol="A VERY LONG SYMBOL INDEED").symbol() == "A VERY LONG SYMB"


def test_the_interface_has_each_function_once() -> None:
    names = [entry["name"] for entry in ABI]
    assert len(names) == len(set(names)) == 10
