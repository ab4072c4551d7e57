"""Storage of the contracts at a block whose hash is known: header, state trie, storage trie, with nobody asked.

Every node is found by its hash, so that nothing of a proof is believed but the block's hash.

Source: yellow paper, 4.1 and appendix D; EIP-1186; the layout of PrintLedger and of its ReservationWord.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import VerificationError
from platemark.protocol.passport import ChainProof
from platemark.protocol.units import Address, Digest32, TokenId, UnixSeconds, digest32, digest_text, keccak256
from platemark.verify.steps import Step, require

Slots = Mapping[tuple[Address, Digest32], int]

ANCHORS_SLOT: Final = 4
RESERVATIONS_SLOT: Final = 6
_STATE_ROOT: Final = 3
_STORAGE_ROOT: Final = 2
_ACCOUNT_FIELDS: Final = 4
_NIBBLES: Final = 64
_CHILDREN: Final = 16
_SHORT: Final = 55


@dataclass(frozen=True, slots=True)
class ReservationWord:
    """A reservation as the ledger stores it; `expires_at` is 0 once the token has ended."""

    agent: Address
    expires_at: UnixSeconds
    prints: int
    burned: int
    voided: int
    spares: int

    @classmethod
    def parse(cls, word: int) -> Self:
        """Return what a storage word says."""
        return cls(
            agent=Address((word & ((1 << 160) - 1)).to_bytes(20, "big")),
            expires_at=UnixSeconds(word >> 160 & 0xFFFF_FFFF),
            prints=word >> 192 & 0xFFFF,
            burned=word >> 208 & 0xFFFF,
            voided=word >> 224 & 0xFFFF,
            spares=word >> 240,
        )


def anchor_slot(gateway: Address, epoch: int, size: int) -> Digest32:
    """Return where the ledger keeps SHA-256(root ‖ tiles digest) of an anchor."""
    return _mapped(ANCHORS_SLOT, gateway, epoch.to_bytes(32, "big"), size.to_bytes(32, "big"))


def reservation_slot(gateway: Address, license_id: int, token_id: TokenId) -> Digest32:
    """Return where the ledger keeps a reservation's word."""
    return _mapped(RESERVATIONS_SLOT, gateway, license_id.to_bytes(32, "big"), token_id.to_bytes(32, "big"))


def proven_slots(proof: ChainProof, block_hash: Digest32) -> Slots:
    """Return the values of all slots in a proof, each shown to be the contract's at that block.

    Errors: VerificationError `chain-proof` for the first thing that does not follow from the block's hash.
    """
    found = keccak256(proof.header)
    require(
        found == block_hash,
        Step.ANCHOR,
        "the storage proofs are against another block than the given one",
        code="chain-proof",
        expected=digest_text(block_hash),
        found=digest_text(found),
    )
    header = _items(proof.header)
    if len(header) <= _STATE_ROOT:
        raise _broken()
    slots: dict[tuple[Address, Digest32], int] = {}
    for account in proof.accounts:
        fields = _items(_value(header[_STATE_ROOT], account.address, account.proof))
        if len(fields) != _ACCOUNT_FIELDS:
            raise _broken()
        for slot in account.slots:
            stored = _value(fields[_STORAGE_ROOT], slot.key, slot.proof)
            _, begin, end = _item(stored, 0)
            value = int.from_bytes(stored[begin:end], "big")
            require(
                value == int.from_bytes(slot.value, "big"),
                Step.ANCHOR,
                "a slot holds another value than the storage proof says",
                code="chain-proof",
                expected=hex(value),
                found=digest_text(slot.value),
            )
            slots[account.address, slot.key] = value
    return slots


def _mapped(slot: int, *keys: bytes) -> Digest32:
    """Return the slot of an entry in nested mappings, the outer key first."""
    place = slot.to_bytes(32, "big")
    for key in keys:
        place = keccak256(key.rjust(32, b"\0") + place)
    return digest32(place)


def _value(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes:
    """Return what a trie with this root holds under the hash of `key`, by the nodes from the root down."""
    path = keccak256(key).hex()
    wanted = root
    for node in proof:
        if keccak256(node) != wanted:
            raise _broken()
        inside = node
        while True:
            path, inside, is_value = _step(inside, path)
            if is_value:
                return inside
            if len(inside) >= 32:
                break
        wanted = inside
    raise _broken()


def _step(node: bytes, path: str) -> tuple[str, bytes, bool]:
    """Return what is left of the path after a node, what the node leads to, and whether that is the value.

    A node of less than 32 bytes stands in its parent instead of its hash.
    """
    items = _items(node)
    if len(items) == _CHILDREN + 1 and path:
        return path[1:], items[int(path[0], 16)], False
    if len(items) != 2 or not items[0]:
        raise _broken()
    packed = items[0].hex()
    kind = int(packed[0], 16)
    part = packed[1:] if kind & 1 else packed[2:]
    is_leaf = bool(kind & 2)
    if not path.startswith(part) or (is_leaf and path != part):
        raise _broken()
    return path[len(part) :], items[1], is_leaf


def _items(data: bytes) -> list[bytes]:
    """Return the items of an RLP list: texts as they are, lists still encoded."""
    is_list, begin, end = _item(data, 0)
    if not is_list or end != len(data):
        raise _broken()
    items = []
    while begin < end:
        inner_list, inner_begin, inner_end = _item(data, begin)
        items.append(data[begin if inner_list else inner_begin : inner_end])
        begin = inner_end
    return items


def _item(data: bytes, start: int) -> tuple[bool, int, int]:
    """Return whether an RLP item is a list, and where its content begins and ends."""
    if start >= len(data):
        raise _broken()
    first = data[start]
    if first < 0x80:
        return False, start, start + 1
    is_list = first >= 0xC0
    length, begin = first - (0xC0 if is_list else 0x80), start + 1
    if length > _SHORT:
        width = length - _SHORT
        length, begin = int.from_bytes(data[begin : begin + width], "big"), begin + width
    if begin + length > len(data):
        raise _broken()
    return is_list, begin, begin + length


def _broken() -> VerificationError:
    return VerificationError(
        "a storage proof does not lead from the block to the slot",
        step=Step.ANCHOR.label,
        code="chain-proof",
        expected="nodes that are found by their hashes",
        found="something else",
    )
