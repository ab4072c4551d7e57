"""Merkle trees of RFC 6962: heads, inclusion and consistency proofs, and their verification (RFC 9162).

A leaf is SHA-256(0x00 ‖ data), a node SHA-256(0x01 ‖ left ‖ right), the head of an empty tree SHA-256("").
Proofs are expressed as ranges of leaves first, so that trees in memory and trees in tiles share the rules. A root does
not say how many leaves it has: sizes are to be had from where the roots come from, signed or anchored together.

Source: RFC 6962, section 2.1; RFC 9162, sections 2.1.3.2 and 2.1.4.2; docs/formats.md, trees.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256 as _sha256
from typing import Final

from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol.units import Digest32, digest_text

EMPTY_ROOT: Final = Digest32(_sha256(b"").digest())
_LEAF: Final = _sha256(b"\x00")
Range = tuple[int, int]
"""Leaves from the first number up to, but not including, the second."""


def leaf_hash(data: bytes) -> Digest32:
    """Return the hash of a leaf's data."""
    return Digest32(_sha256(b"\x00" + data).digest())


def node_hash(left: bytes, right: bytes) -> Digest32:
    """Return the hash of a node with these children."""
    return Digest32(_sha256(b"\x01" + left + right).digest())


def leaf_hashes(entries: Iterable[bytes]) -> list[Digest32]:
    """Return the hash of each leaf's data; what a hash has of its own is set up once."""
    hashes: list[Digest32] = []
    for data in entries:
        digest = _LEAF.copy()
        digest.update(data)
        hashes.append(Digest32(digest.digest()))
    return hashes


def tree_head(leaf_hashes: Iterable[Digest32]) -> Digest32:
    """Return the head of the tree over leaf hashes (not leaf data); they are held in memory."""
    nodes: list[bytes] = list(leaf_hashes)
    while len(nodes) > 1:
        pairs = iter(nodes)
        parents = [_sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        nodes = parents + nodes[len(nodes) & ~1 :]  # one that is left over stands a level higher as it is
    return Digest32(nodes[0]) if nodes else EMPTY_ROOT


def fold(peaks: Sequence[Digest32]) -> Digest32:
    """Return the head over complete subtrees that stand side by side, larger ones first."""
    if not peaks:
        return EMPTY_ROOT
    head = peaks[-1]
    for peak in reversed(peaks[:-1]):
        head = node_hash(peak, head)
    return head


def files_root(sha256s: Iterable[Digest32]) -> Digest32:
    """Return the root of a design's files: the tree head over their sorted SHA-256, each a leaf's data.

    Errors: MalformedError `files-root` when there is no file.
    """
    leaves = [leaf_hash(digest) for digest in sorted(sha256s)]
    if not leaves:
        raise MalformedError("a design has at least one file", code="files-root")
    return tree_head(leaves)


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """Return the subtrees whose heads prove that leaf `index` is in the tree of `size` leaves, deepest first."""
    if not 0 <= index < size:
        raise UsageError(f"a tree of {size} leaves has no leaf {index}")
    low, high = 0, size
    ranges: list[Range] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return ranges[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[Range]:
    """Return the subtrees whose heads prove that the tree of `new_size` leaves begins with that of `old_size`."""
    if not 0 <= old_size <= new_size:
        raise UsageError(f"a tree of {new_size} leaves does not begin with one of {old_size}")
    if old_size in {0, new_size}:
        return []
    low, high = 0, new_size
    whole = True  # the old tree is a subtree of the new one as it stands
    ranges: list[Range] = []
    while high != old_size:
        middle = low + _split(high - low)
        if old_size <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
            whole = False
    if not whole:
        ranges.append((low, high))
    return ranges[::-1]


def inclusion_proof(index: int, leaf_hashes: Sequence[Digest32]) -> list[Digest32]:
    """Return the proof that leaf `index` is in the tree over `leaf_hashes`, deepest sibling first."""
    return [tree_head(leaf_hashes[low:high]) for low, high in inclusion_ranges(index, len(leaf_hashes))]


def consistency_proof(old_size: int, leaf_hashes: Sequence[Digest32]) -> list[Digest32]:
    """Return the proof that the tree over `leaf_hashes` begins with the tree over its first `old_size`."""
    return [tree_head(leaf_hashes[low:high]) for low, high in consistency_ranges(old_size, len(leaf_hashes))]


def verify_inclusion(leaf: Digest32, index: int, size: int, proof: Sequence[Digest32], root: Digest32) -> None:
    """Raise unless `proof` shows that the tree of `size` leaves under `root` has the leaf hash `leaf` at `index`.

    Errors: VerificationError `merkle-proof`.
    """
    if not 0 <= index < size:
        raise _failed("inclusion", f"an index below {size}", str(index))
    ranges = inclusion_ranges(index, size)
    _check_length("inclusion", len(ranges), proof)
    head = leaf
    for (low, _), sibling in zip(ranges, proof, strict=True):
        head = node_hash(sibling, head) if low < index else node_hash(head, sibling)
    _check_root("inclusion", root, head)


def verify_consistency(
    old_size: int, old_root: Digest32, new_size: int, new_root: Digest32, proof: Sequence[Digest32]
) -> None:
    """Raise unless `proof` shows that the tree under `new_root` begins with the tree under `old_root`.

    The empty tree begins every tree; its root must be SHA-256("").

    Errors: VerificationError `merkle-proof`.
    """
    if not 0 <= old_size <= new_size:
        raise _failed("consistency", f"a size from 0 to {new_size}", str(old_size))
    ranges = consistency_ranges(old_size, new_size)
    _check_length("consistency", len(ranges), proof)
    if old_size == 0:
        _check_root("consistency", EMPTY_ROOT, old_root)
        return
    if old_size == new_size:
        _check_root("consistency", new_root, old_root)
        return
    hashes = dict(zip(ranges, proof, strict=True))
    if all(low >= old_size for low, _ in ranges):  # the old tree is a complete subtree of the new one
        hashes[0, old_size] = old_root
    else:
        _check_root("consistency", old_root, _rebuild(0, old_size, hashes))
    _check_root("consistency", new_root, _rebuild(0, new_size, hashes))


def _rebuild(low: int, high: int, hashes: dict[Range, Digest32]) -> Digest32:
    known = hashes.get((low, high))
    if known is not None:
        return known
    middle = low + _split(high - low)
    return node_hash(_rebuild(low, middle, hashes), _rebuild(middle, high, hashes))


def _split(size: int) -> int:
    """Return the largest power of two below `size` (2 and up)."""
    return 1 << (size - 1).bit_length() - 1


def _check_length(step: str, expected: int, proof: Sequence[Digest32]) -> None:
    if len(proof) != expected:
        raise _failed(step, f"{expected} hashes", f"{len(proof)} hashes")
    if any(len(digest) != 32 for digest in proof):
        raise _failed(step, "hashes of 32 bytes", "another length")


def _check_root(step: str, expected: Digest32, found: Digest32) -> None:
    if expected != found:
        raise _failed(step, digest_text(expected), digest_text(found))


def _failed(step: str, expected: str, found: str) -> VerificationError:
    return VerificationError(
        f"the proof of {step} does not hold", step=step, code="merkle-proof", expected=expected, found=found
    )
