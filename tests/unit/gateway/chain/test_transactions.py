import pytest

from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, Wei, address_text
from platemark_gateway.chain.transactions import Fees, contract_address, sign_transaction, transaction_hash

KEY = AccountKey(b"\x11" * 32)


@pytest.mark.parametrize(
    "to, value, data",
    [(Address(b"\x22" * 20), 0, b""), (Address(b"\x22" * 20), 10**18, b"\x01\x02"), (None, 0, b"\x60" * 300)],
)
def test_signed_transaction_is_what_eth_account_signs(to: Address | None, value: int, data: bytes) -> None:
    from eth_account import Account

    raw = sign_transaction(
        KEY.sign, chain_id=480215, nonce=7, fees=Fees(5 * 10**9, 10**9), gas=90_000, to=to, value=value, data=data
    )
    fields = {
        "type": 2,
        "chainId": 480215,
        "nonce": 7,
        "maxFeePerGas": Wei(5 * 10**9),
        "maxPriorityFeePerGas": Wei(10**9),
        "gas": 90_000,
        "value": Wei(value),
        "data": data,
    }
    if to is not None:
        fields["to"] = address_text(to)
    theirs = Account.sign_transaction(fields, KEY.secret())
    assert raw == bytes(theirs.raw_transaction)
    assert transaction_hash(raw) == bytes(theirs.hash)


@pytest.mark.parametrize(
    "nonce, expected",
    [
        (0, "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"),
        (1, "343c43a37d37dff08ae8c4a11544c718abb4fcf8"),
        (2, "f778b86fa74e846c4f0a1fbd1335fe81c00a0c91"),
    ],
)
def test_contract_addresses_are_ethereums(nonce: int, expected: str) -> None:
    sender = bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")
    assert contract_address(sender, nonce).hex() == expected
