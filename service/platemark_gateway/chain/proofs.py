"""What a block's hash commits to: its header's fields, and through the receipts root every log in it; pure.

Sources: yellow paper, 4.3; EIP-1559, EIP-2718, EIP-4788, EIP-4844, EIP-4895, EIP-7685.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from platemark.errors import MalformedError
from platemark.protocol.block_header import encode_header, has_known_fields
from platemark.protocol.units import Digest32, digest32, keccak256

_KNOWN_TYPES: Final = range(5)
"""Kinds of transactions whose receipts have the four fields of old; rollups have others."""


class UnprovableError(Exception):
    """These receipts are of a form that is not known here: nothing follows from it."""


def is_proven(found: Mapping[str, Any], claimed: Digest32) -> bool | None:
    """Return whether a block's hash follows from the header that JSON-RPC shows.

    None: it cannot be told, because the header has other fields than those of Ethereum up to the Osaka fork.
    """
    try:
        header = encode_header(found)
    except MalformedError:
        return None
    if keccak256(header) == claimed:
        return True
    return False if has_known_fields(found) else None


def receipts_root(receipts: Any) -> Digest32:
    """Return the root of a block's receipts as JSON-RPC shows them, all of them in their order.

    Errors: UnprovableError when they have another form.
    """
    import rlp  # type: ignore[import-untyped]
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
