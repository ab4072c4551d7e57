"""What a block's hash commits to: its header's fields, and through the receipts root every log in it; pure.

Sources: yellow paper, 4.3; EIP-1559, EIP-2718, EIP-4788, EIP-4844, EIP-4895, EIP-7685.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from platemark.protocol.units import Digest32, digest32, keccak256

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
_KNOWN_TYPES: Final = range(5)
"""Kinds of transactions whose receipts have the four fields of old; rollups have others."""


class UnprovableError(Exception):
    """These receipts are of a form that is not known here: nothing follows from it."""


def is_proven(found: Mapping[str, Any], claimed: Digest32) -> bool | None:
    """Return whether a block's hash follows from the header that JSON-RPC shows.

    None: it cannot be told, because the header has other fields than those of Ethereum up to the Osaka fork.
    """
    import rlp  # type: ignore[import-untyped]

    try:
        fields: list[bytes] = [_bytes(found[name]) for name in _BYTES]
        fields += [_number(found[name]) for name in _NUMBERS]
        fields += [_bytes(found[name]) for name in _SEAL]
        for name, is_number in _LATER:
            if found.get(name) is None:
                break
            fields.append(_number(found[name]) if is_number else _bytes(found[name]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if keccak256(rlp.encode(fields)) == claimed:
        return True
    known = _OUTSIDE | {*_BYTES, *_NUMBERS, *_SEAL} | {name for name, _ in _LATER}
    return False if known.issuperset(found) else None


def receipts_root(receipts: Any) -> Digest32:
    """Return the root of a block's receipts as JSON-RPC shows them, all of them in their order.

    Errors: UnprovableError when they have another form.
    """
    import rlp
    from trie.hexary import HexaryTrie

    if not isinstance(receipts, Sequence):
        raise UnprovableError
    trie = HexaryTrie({})
    try:
        for index, receipt in enumerate(receipts):
            trie[rlp.encode(index)] = _encoded(receipt)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnprovableError from error
    return digest32(trie.root_hash)


def _encoded(receipt: Mapping[str, Any]) -> bytes:
    import rlp

    kind = int(receipt.get("type") or "0x0", 16)
    if kind not in _KNOWN_TYPES:
        raise UnprovableError
    logs = [
        [_bytes(each["address"]), [_bytes(topic) for topic in each["topics"]], _bytes(each["data"])]
        for each in receipt["logs"]
    ]
    fields = [
        _number(receipt["status"]),
        _number(receipt["cumulativeGasUsed"]),
        _bytes(receipt["logsBloom"]),
        logs,
    ]
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(fields))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _number(text: str) -> bytes:
    value = int(text, 16)
    return value.to_bytes((value.bit_length() + 7) // 8, "big")
