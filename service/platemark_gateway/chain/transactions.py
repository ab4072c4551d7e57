"""EIP-1559 transactions: encode, sign, hash; pure.

Source: EIP-2718, EIP-1559.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from platemark.protocol.units import Address, Digest32, keccak256

_TYPE: Final = b"\x02"


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction pays for a unit of gas, wei: at most `most`, of it at most `priority` to the block's maker."""

    most: int
    priority: int


def sign_transaction(
    sign: Callable[[Digest32], bytes],
    *,
    chain_id: int,
    nonce: int,
    fees: Fees,
    gas: int,
    to: Address | None,
    value: int,
    data: bytes,
) -> bytes:
    """Return a signed type-2 transaction as it is broadcast; its hash is its Keccak-256.

    Args:
        sign: Signs a 32-byte digest and returns 65 bytes ending in 27 or 28.
        chain_id: The chain it is for.
        nonce: The sender's next number.
        fees: Most it pays for gas.
        gas: Gas limit.
        to: The account called, or None to create a contract.
        value: Wei sent along.
        data: Calldata, or the contract's creation code.
    """
    import rlp  # type: ignore[import-untyped]

    fields: list[object] = [chain_id, nonce, fees.priority, fees.most, gas, to or b"", value, data, []]
    signature = sign(keccak256(_TYPE + rlp.encode(fields)))
    signed = [
        *fields,
        signature[64] - 27,
        int.from_bytes(signature[:32], "big"),
        int.from_bytes(signature[32:64], "big"),
    ]
    return _TYPE + bytes(rlp.encode(signed))


def transaction_hash(raw: bytes) -> Digest32:
    """Return a raw transaction's hash."""
    return keccak256(raw)


def contract_address(sender: bytes, nonce: int) -> Address:
    """Return the address of the contract that an account's transaction with this nonce creates."""
    import rlp

    return Address(keccak256(rlp.encode([sender, nonce]))[12:])
