from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from platemark.errors import VerificationError
from platemark.protocol import merkle
from platemark.protocol.units import Digest32

SIZES = st.integers(1, 200)


@cache
def leaf(index: int) -> Digest32:
    return merkle.leaf_hash(index.to_bytes(4, "big"))


def leaves(size: int) -> list[Digest32]:
    return [leaf(index) for index in range(size)]


def recursive(hashes: list[Digest32]) -> Digest32:
    """Return the tree head as RFC 6962, section 2.1, defines it."""
    if len(hashes) < 2:
        return hashes[0] if hashes else merkle.EMPTY_ROOT
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return merkle.node_hash(recursive(hashes[:split]), recursive(hashes[split:]))


def path(index: int, hashes: list[Digest32]) -> list[Digest32]:
    """Return the inclusion proof as RFC 6962, section 2.1.1, defines it."""
    if len(hashes) < 2:
        return []
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    if index < split:
        return [*path(index, hashes[:split]), recursive(hashes[split:])]
    return [*path(index - split, hashes[split:]), recursive(hashes[:split])]


def subproof(old: int, hashes: list[Digest32], *, whole: bool) -> list[Digest32]:
    """Return the consistency proof as RFC 6962, section 2.1.2, defines it."""
    if old == len(hashes):
        return [] if whole else [recursive(hashes)]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    if old <= split:
        return [*subproof(old, hashes[:split], whole=whole), recursive(hashes[split:])]
    return [*subproof(old - split, hashes[split:], whole=False), recursive(hashes[:split])]


def holds(check: str, *arguments: object) -> bool:
    try:
        getattr(merkle, check)(*arguments)
    except VerificationError:
        return False
    return True


@given(st.integers(0, 200))
def test_heads_are_those_of_the_definition(size: int) -> None:
    assert merkle.tree_head(leaves(size)) == recursive(leaves(size))


@given(SIZES, st.data())
def test_inclusion_proofs_are_those_of_the_definition_and_hold(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, leaves(size))
    assert proof == path(index, leaves(size))
    merkle.verify_inclusion(leaf(index), index, size, proof, recursive(leaves(size)))


@given(SIZES, st.data())
def test_consistency_proofs_are_those_of_the_definition_and_hold(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    proof = merkle.consistency_proof(old, leaves(size))
    assert proof == subproof(old, leaves(size), whole=True)
    merkle.verify_consistency(old, recursive(leaves(old)), size, recursive(leaves(size)), proof)


@given(SIZES, st.data())
def test_a_leaf_is_included_at_its_own_index_only(size: int, data: st.DataObject) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, leaves(size))
    root = merkle.tree_head(leaves(size))
    assert holds("verify_inclusion", leaf(index), other, size, proof, root) == (index == other)
    assert holds("verify_inclusion", leaf(other), index, size, proof, root) == (index == other)


@given(SIZES, st.data())
def test_a_changed_history_is_never_consistent(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    changed = data.draw(st.integers(0, old - 1))
    forged = leaves(size)
    forged[changed] = merkle.leaf_hash(b"forged")
    proof = merkle.consistency_proof(old, forged)
    assert not holds("verify_consistency", old, merkle.tree_head(leaves(old)), size, merkle.tree_head(forged), proof)


@given(SIZES, st.data())
def test_an_altered_proof_never_holds(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    index = data.draw(st.integers(0, size - 1))
    root = merkle.tree_head(leaves(size))
    for check, proof, arguments in (
        ("verify_inclusion", merkle.inclusion_proof(index, leaves(size)), (leaf(index), index, size)),
        ("verify_consistency", merkle.consistency_proof(old, leaves(size)), (old, merkle.tree_head(leaves(old)), size)),
    ):
        at = data.draw(st.integers(0, len(proof)))
        longer = [*proof[:at], Digest32(bytes(32)), *proof[at:]]
        altered = [longer, proof[:-1]] if proof else [longer]
        if at < len(proof):
            flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
            altered.append([*proof[:at], Digest32(flipped), *proof[at + 1 :]])
        for bad in altered:
            given_ = (*arguments, bad, root) if check == "verify_inclusion" else (*arguments, root, bad)
            assert not holds(check, *given_)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20))
def test_the_root_of_files_does_not_depend_on_their_order(sums: list[bytes]) -> None:
    files = [Digest32(digest) for digest in sums]
    shuffled = sorted(files, key=lambda digest: bytes(reversed(digest)))
    assert merkle.files_root(files) == merkle.files_root(shuffled)
