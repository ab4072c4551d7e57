"""Storage of a contract at a block, with the proofs that a passport takes along; nothing of it is verified here.

Source: EIP-1186.
"""

from collections.abc import Sequence

from platemark.errors import MalformedError, UpstreamError
from platemark.protocol.block_header import encode_header
from platemark.protocol.byte_text import parse_hex
from platemark.protocol.canonical import JsonValue
from platemark.protocol.passport import MAX_NODE_BYTES, AccountProof, ChainProof, SlotProof
from platemark.protocol.units import Address, Digest32, address_text, digest32, digest_text
from platemark.sdk.chain import ChainClient


def storage_proof(chain: ChainClient, address: Address, slots: Sequence[Digest32], block: int) -> ChainProof:
    """Return the proofs of a contract's slots at a block.

    Errors: UpstreamError `proof-unavailable` when the endpoint gives none, as most do of old blocks.
    """
    shown = chain.ask("eth_getBlockByNumber", hex(block), False)
    found = chain.ask("eth_getProof", address_text(address), [digest_text(slot) for slot in slots], hex(block))
    try:
        proven = tuple(
            SlotProof(slot, digest32(int(each["value"], 16).to_bytes(32, "big")), _nodes(each["proof"]))
            for slot, each in zip(slots, found["storageProof"], strict=True)
        )
        account = AccountProof(address, _nodes(found["accountProof"]), proven)
        return ChainProof(encode_header(shown), (account,))
    except (KeyError, TypeError, ValueError, OverflowError, MalformedError) as error:
        raise UpstreamError(
            f"{chain!r} gives no storage proof of block {block}",
            code="proof-unavailable",
            hint="ask an endpoint that answers eth_getProof: --rpc",
        ) from error


def _nodes(found: Sequence[JsonValue]) -> tuple[bytes, ...]:
    return tuple(parse_hex(node, max_bytes=MAX_NODE_BYTES) for node in found)
