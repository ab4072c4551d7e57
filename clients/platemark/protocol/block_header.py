"""A block's header as its hash is of it, from what JSON-RPC shows of the block.

Source: yellow paper, 4.3 and appendix B; EIP-1559, EIP-4788, EIP-4844, EIP-4895, EIP-7685.
"""

from collections.abc import Mapping
from typing import Any, Final

from platemark.errors import MalformedError

_BYTES: Final = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
)
_NUMBERS: Final = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp")
_SEAL: Final = ("extraData", "mixHash", "nonce")
_LATER: Final = (
    ("baseFeePerGas", True),
    ("withdrawalsRoot", False),
    ("blobGasUsed", True),
    ("excessBlobGas", True),
    ("parentBeaconBlockRoot", False),
    ("requestsHash", False),
)
"""What later forks have added, in their order, and whether it is a number."""
_OUTSIDE: Final = frozenset({"hash", "size", "totalDifficulty", "transactions", "uncles", "withdrawals"})
"""What JSON-RPC shows of a block beside its header."""
_KNOWN: Final = _OUTSIDE | {*_BYTES, *_NUMBERS, *_SEAL} | {name for name, _ in _LATER}
_LONGEST_SHORT: Final = 55


def encode_header(found: Mapping[str, Any]) -> bytes:
    """Return the header of a block, RLP, whose Keccak-256 is the block's hash.

    Args:
        found: The block as `eth_getBlockByNumber` shows it, hexadecimal texts.

    Errors: MalformedError `block-header` for a field that is missing, or no such text.
    """
    try:
        fields = [_bytes(found[name]) for name in _BYTES]
        fields += [_number(found[name]) for name in _NUMBERS]
        fields += [_bytes(found[name]) for name in _SEAL]
        for name, is_number in _LATER:
            if found.get(name) is None:
                break
            fields.append(_number(found[name]) if is_number else _bytes(found[name]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedError("that is no block of Ethereum as JSON-RPC shows one", code="block-header") from error
    body = b"".join(map(_item, fields))
    return _head(0xC0, len(body)) + body


def has_known_fields(found: Mapping[str, Any]) -> bool:
    """Whether a block has no field but those of Ethereum up to the Osaka fork."""
    return _KNOWN.issuperset(found)


def _item(data: bytes) -> bytes:
    if len(data) == 1 and data[0] < 0x80:
        return data
    return _head(0x80, len(data)) + data


def _head(kind: int, size: int) -> bytes:
    if size <= _LONGEST_SHORT:
        return bytes([kind + size])
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([kind + _LONGEST_SHORT + len(length)]) + length


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _number(text: str) -> bytes:
    value = int(text, 16)
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
