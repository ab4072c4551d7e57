"""Blocks in one file (CARv1), which every IPFS node imports.

    header     varint length ‖ DAG-CBOR {"roots": [cid …], "version": 1}
    section    varint length ‖ cid (36 bytes) ‖ the block's bytes

Source: IPLD, CARv1; docs/formats.md, exported log.
"""

from collections.abc import Iterable, Iterator, Sequence

from platemark.protocol.cid import Block, Cid, varint


def write_car(roots: Sequence[Cid], blocks: Iterable[Block]) -> Iterator[bytes]:
    """Yield the pieces of a CAR: its header with the roots that an import pins, then each block."""
    array = _head(4, len(roots)) + b"".join(_link(root) for root in roots)
    header = _head(5, 2) + _text("roots") + array + _text("version") + _head(0, 1)
    yield varint(len(header)) + header
    for block in blocks:
        cid = block.cid.to_bytes()
        yield varint(len(cid) + len(block.data)) + cid
        yield block.data


def _link(cid: Cid) -> bytes:
    data = b"\0" + cid.to_bytes()
    return _head(6, 42) + _head(2, len(data)) + data


def _text(text: str) -> bytes:
    return _head(3, len(text)) + text.encode()


def _head(major: int, value: int) -> bytes:
    """Return the head of a CBOR item in its shortest form."""
    if value < 24:
        return bytes([major << 5 | value])
    size = max(0, (value.bit_length() - 1).bit_length() - 3)  # 1, 2, 4 or 8 bytes
    return bytes([major << 5 | 24 + size]) + value.to_bytes(1 << size, "big")
