"""IPFS content identifiers, and files as IPFS stores them: the `unixfs-v1-2025` profile.

CIDv1, SHA-256, raw leaves of 1 MiB, a balanced tree of at most 1,024 links a node. The same bytes give the same
CID here and in Kubo. Blocks are either leaves (codec `raw`, the bytes themselves) or nodes (codec `dag-pb`, the
UnixFS description of a file that is longer than a leaf, or of a directory).

Evolution: another profile gives other CIDs, so it is a new version of whatever format names it.
Source: CIDv1 and multiformats, DAG-PB, UnixFS v1, IPIP-499; docs/formats.md, files on IPFS.
"""

import base64
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol.regrouping import regrouped
from platemark.protocol.units import Digest32

LEAF_BYTES: Final = 1 << 20
MAX_LINKS: Final = 1024
MAX_BLOCK_BYTES: Final = 2 << 20
"""What IPFS nodes exchange at most; nothing larger is a block."""

_MAX_LEVELS: Final = 8
_TEXT: Final = re.compile(r"b[a-z2-7]{58}")
_SHA256: Final = b"\x12\x20"  # multihash: sha2-256, 32 bytes


class Codec(IntEnum):
    """How a block's bytes are read."""

    RAW = 0x55
    DAG_PB = 0x70


@dataclass(frozen=True, slots=True)
class Cid:
    """A CIDv1 with a SHA-256: the codec and the digest of a block's bytes."""

    codec: Codec
    digest: Digest32

    @property
    def text(self) -> str:
        """The identifier in base32, 59 characters, as it stands in manifests and addresses."""
        return "b" + base64.b32encode(self.to_bytes()).decode().lower().rstrip("=")

    def __str__(self) -> str:
        return self.text

    def to_bytes(self) -> bytes:
        """Return the binary identifier, 36 bytes: version 1, codec, multihash."""
        return bytes([1, self.codec]) + _SHA256 + self.digest

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the identifier in `data`.

        Errors: MalformedError `cid` unless it is a CIDv1, raw or dag-pb, with a SHA-256 of 32 bytes.
        """
        if len(data) != 36 or data[0] != 1 or data[1] not in set(Codec) or data[2:4] != _SHA256:
            raise MalformedError("a CID of ours is version 1, raw or dag-pb, with a SHA-256", code="cid")
        return cls(Codec(data[1]), Digest32(data[4:]))

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the identifier written in `text`: lowercase base32 without padding; errors as `from_bytes`."""
        if not isinstance(text, str) or not _TEXT.fullmatch(text):
            raise MalformedError("a CID of ours is b and 58 characters of base32", code="cid")
        found = cls.from_bytes(base64.b32decode(text[1:].upper() + "======"))
        if found.text != text:
            raise MalformedError("the CID's last character is not canonical", code="cid")
        return found

    def check(self, data: bytes) -> None:
        """Raise unless `data` is the block of this identifier.

        Errors: MalformedError `too-large` above 2 MiB; VerificationError `block-mismatch`.
        """
        if len(data) > MAX_BLOCK_BYTES:
            raise MalformedError(f"a block of {len(data)} bytes is larger than 2 MiB", code="too-large")
        found = _digest(data)
        if found != self.digest:
            raise VerificationError(
                "a block is not what its identifier says",
                step="block",
                code="block-mismatch",
                expected=self.text,
                found=type(self)(self.codec, found).text,
                hint="ask another IPFS node for it",
            )


@dataclass(frozen=True, slots=True)
class Block:
    """A block and its identifier, which fits it."""

    cid: Cid
    data: bytes


@dataclass(frozen=True, slots=True)
class _Link:
    """A child of a node: its identifier, the bytes of the file below it, the bytes of all blocks below it."""

    cid: Cid
    file_bytes: int
    stored_bytes: int


_Tree = dict[str, "_Link | _Tree"]


def raw_cid(data: bytes) -> Cid:
    """Return the identifier of `data` as one raw block."""
    return Cid(Codec.RAW, _digest(data))


def raw_block(data: bytes) -> Block:
    """Return `data` as one raw block: manifests, terms and profiles are such blocks.

    Errors: MalformedError `too-large` above 1 MiB.
    """
    if len(data) > LEAF_BYTES:
        raise MalformedError(f"a single block of {len(data)} bytes is larger than 1 MiB", code="too-large")
    return Block(raw_cid(data), data)


def unixfs_blocks(
    chunks: Iterable[bytes], *, leaf_bytes: int = LEAF_BYTES, max_links: int = MAX_LINKS
) -> Iterator[Block]:
    """Yield the blocks of a file, children before parents, the root last.

    Memory: one leaf and at most `max_links` links a level, whatever the file's size. `leaf_bytes` and `max_links`
    are the profile's; other values give other CIDs and exist so that the tree's shape can be tested.

    Args:
        chunks: The file's bytes in pieces of any size.
        leaf_bytes: Size of a leaf, 1 and up.
        max_links: Children of a node, 2 and up.
    """
    if leaf_bytes < 1 or max_links < 2:
        raise UsageError("a leaf has at least one byte and a node two links")
    levels: list[list[_Link]] = [[]]
    for leaf, _ in regrouped(chunks, first=leaf_bytes, later=leaf_bytes):  # an empty file is one empty leaf
        block = Block(raw_cid(leaf), leaf)
        yield block
        yield from _append(levels, 0, _Link(block.cid, len(leaf), len(leaf)), max_links)
    height = 0
    while height + 1 < len(levels) or len(levels[height]) > 1:
        block, link = _node(levels[height])
        yield block
        yield from _append(levels, height + 1, link, max_links)
        height += 1


def unixfs_cid(chunks: Iterable[bytes]) -> Cid:
    """Return the identifier of a file, without keeping its blocks."""
    return deque(unixfs_blocks(chunks), maxlen=1).pop().cid


def directory_blocks(files: Mapping[str, Cid], sizes: Mapping[str, int]) -> Iterator[Block]:
    """Yield the blocks of the directories that hold these files, children before parents, the root last.

    A directory is one block, as IPFS nodes write it for up to some thousand names; the files' own blocks are not given.

    Args:
        files: Relative path with `/` between names, and the file's identifier.
        sizes: The bytes of all blocks of each file.

    Errors: MalformedError `too-large` when a directory has more names than a block holds; UsageError for a path that
        is empty, or one that is a file and a directory.
    """
    tree: _Tree = {}
    for path, cid in files.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            below = place.setdefault(folder, {})
            if isinstance(below, _Link):
                raise UsageError(f"{path!r} lies below a file")
            place = below
        if not all((*folders, name)) or name in place:
            raise UsageError(f"{path!r} is no path of a file, or twice there")
        place[name] = _Link(cid, 0, sizes[path])
    yield from _directory(tree)[0]


def _directory(tree: "_Tree") -> tuple[list[Block], _Link]:
    """Return the blocks of a directory, its own last, and the link to it."""
    blocks: list[Block] = []
    links: list[tuple[str, _Link]] = []
    for name, below in tree.items():
        if isinstance(below, _Link):
            links.append((name, below))
        else:
            made, link = _directory(below)
            blocks += made
            links.append((name, link))
    links.sort(key=lambda item: item[0].encode())
    data = b"".join(_field(2, _link_bytes(link, name)) for name, link in links) + _field(1, b"\x08\x01")
    if len(data) > LEAF_BYTES:
        raise MalformedError(f"a directory of {len(links)} names is larger than a block", code="too-large")
    block = Block(Cid(Codec.DAG_PB, _digest(data)), data)
    return [*blocks, block], _Link(block.cid, 0, len(data) + sum(link.stored_bytes for _, link in links))


def read_file(root: Cid, get_block: Callable[[Cid], bytes], *, max_bytes: int) -> Iterator[bytes]:
    """Yield the leaves of a file in order; every block is checked against its identifier before it is used.

    Memory: one leaf and the links of one node a level.

    Args:
        root: The file's identifier.
        get_block: Returns the bytes of a block; they need not be trusted.
        max_bytes: What the file may have; checked against the root before the first leaf is fetched, and held.

    Errors: MalformedError `too-large` and `block-invalid` (a node that is not one of a UnixFS file as this module
        writes it); VerificationError `block-mismatch`.
    """
    data = _fetch(root, get_block)
    if root.codec is Codec.RAW:
        _limit(len(data), max_bytes)
        yield data
        return
    links = _parse_node(data)
    _limit(sum(link.file_bytes for link in links), max_bytes)
    yield from _read_links(links, get_block, 1)


def links_of(block: Block) -> list[Cid]:
    """Return the identifiers of a block's children, none for a leaf; errors as `read_file`.

    For whoever pins or copies a file block by block.
    """
    return [] if block.cid.codec is Codec.RAW else [link.cid for link in _parse_node(block.data)]


def _read_links(links: Sequence[_Link], get_block: Callable[[Cid], bytes], level: int) -> Iterator[bytes]:
    if level > _MAX_LEVELS:
        raise MalformedError("the file's tree is deeper than any of ours", code="block-invalid")
    for link in links:
        data = _fetch(link.cid, get_block)
        if link.cid.codec is Codec.RAW:
            _same(link.file_bytes, len(data))
            yield data
        else:
            children = _parse_node(data)
            _same(link.file_bytes, sum(child.file_bytes for child in children))
            yield from _read_links(children, get_block, level + 1)


def _fetch(cid: Cid, get_block: Callable[[Cid], bytes]) -> bytes:
    data = get_block(cid)
    cid.check(data)
    return data


def _limit(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise MalformedError(f"the file has {size} bytes, more than {max_bytes}", code="too-large")


def _same(declared: int, found: int) -> None:
    if declared != found:
        raise MalformedError(f"a node declares {declared} bytes below it, {found} are there", code="block-invalid")


def _append(levels: list[list[_Link]], height: int, link: _Link, max_links: int) -> Iterator[Block]:
    """Add a link to a level; a level that is full becomes a node of the level above first."""
    if height == len(levels):
        levels.append([])
    if len(levels[height]) == max_links:
        block, parent = _node(levels[height])
        yield block
        levels[height] = []
        yield from _append(levels, height + 1, parent, max_links)
    levels[height].append(link)


def _node(links: Sequence[_Link]) -> tuple[Block, _Link]:
    data = _node_bytes(links)
    block = Block(Cid(Codec.DAG_PB, _digest(data)), data)
    stored = len(data) + sum(link.stored_bytes for link in links)
    return block, _Link(block.cid, sum(link.file_bytes for link in links), stored)


def _node_bytes(links: Sequence[_Link]) -> bytes:
    """Return a node: PBLink (field 2) for each child, then the UnixFS data (field 1), as DAG-PB orders them."""
    parts = [_field(2, _link_bytes(link, "")) for link in links]
    sizes = b"".join(b"\x20" + varint(link.file_bytes) for link in links)
    unixfs = b"\x08\x02\x18" + varint(sum(link.file_bytes for link in links)) + sizes
    return b"".join(parts) + _field(1, unixfs)


def _link_bytes(link: _Link, name: str) -> bytes:
    """Return a PBLink: identifier, name, bytes of all blocks below it."""
    return _field(1, link.cid.to_bytes()) + _field(2, name.encode()) + b"\x18" + varint(link.stored_bytes)


def _parse_node(data: bytes) -> list[_Link]:
    """Return a node's links; the node must be exactly what `_node_bytes` writes for them."""
    reader = _Reader(data)
    found: list[tuple[Cid, int]] = []
    while reader.peek() == 0x12:
        link = _Reader(reader.field(0x12))
        cid = Cid.from_bytes(link.field(0x0A))
        link.field(0x12)
        found.append((cid, link.number(0x18)))
    unixfs = _Reader(reader.field(0x0A))
    if unixfs.number(0x08) != 2:
        raise MalformedError("a node is not one of a file", code="block-invalid")
    unixfs.number(0x18)
    links = [_Link(cid, unixfs.number(0x20), stored) for cid, stored in found]
    if not 1 <= len(links) <= MAX_LINKS or any(link.file_bytes == 0 for link in links) or _node_bytes(links) != data:
        raise MalformedError("a node is not written as the profile says", code="block-invalid")
    return links


class _Reader:
    """Reads protobuf fields in a fixed order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def peek(self) -> int:
        return self._data[self._at] if self._at < len(self._data) else -1

    def field(self, key: int) -> bytes:
        size = self.number(key)
        if size > len(self._data) - self._at:
            raise MalformedError("a node ends early", code="block-invalid")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, key: int) -> int:
        if self.peek() != key:
            raise MalformedError("a node lacks a field, or has another one", code="block-invalid")
        self._at += 1
        value = 0
        for shift in range(0, 63, 7):
            byte = self.peek()
            if byte < 0:
                raise MalformedError("a node ends early", code="block-invalid")
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MalformedError("a number in a node is too large", code="block-invalid")


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def varint(value: int) -> bytes:
    """Return an unsigned LEB128, as CIDs, protobuf and CAR have it."""
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def _digest(data: bytes) -> Digest32:
    return Digest32(hashlib.sha256(data).digest())
