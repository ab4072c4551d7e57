import hashlib
from typing import Any

import pytest

from golden import cases, golden
from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol import merkle
from platemark.protocol.units import Digest32

LEAVES = [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(300)]
OTHER = Digest32(b"\x07" * 32)


def digests(texts: list[str]) -> list[Digest32]:
    return [Digest32(bytes.fromhex(text)) for text in texts]


def published() -> list[Digest32]:
    return [merkle.leaf_hash(bytes.fromhex(text)) for text in golden("published_trees")["leaves"]]


@pytest.mark.parametrize("case", cases("published_trees", "roots"))
def test_roots_are_those_of_rfc_6962s_reference(case: dict[str, Any]) -> None:
    assert merkle.tree_head(published()[: case["size"]]).hex() == case["root"]


@pytest.mark.parametrize("case", cases("published_trees", "inclusion"))
def test_inclusion_proofs_are_those_of_rfc_6962s_reference(case: dict[str, Any]) -> None:
    leaves = published()[: case["size"]]
    proof = digests(case["proof"])
    assert merkle.inclusion_proof(case["index"], leaves) == proof
    merkle.verify_inclusion(leaves[case["index"]], case["index"], case["size"], proof, merkle.tree_head(leaves))


@pytest.mark.parametrize("case", cases("published_trees", "consistency"))
def test_consistency_proofs_are_those_of_rfc_6962s_reference(case: dict[str, Any]) -> None:
    leaves = published()[: case["new"]]
    proof = digests(case["proof"])
    assert merkle.consistency_proof(case["old"], leaves) == proof
    old_root = merkle.tree_head(leaves[: case["old"]])
    merkle.verify_consistency(case["old"], old_root, case["new"], merkle.tree_head(leaves), proof)


@pytest.mark.parametrize("case", cases("trees", "roots"))
def test_roots_are_as_they_were(case: dict[str, Any]) -> None:
    assert merkle.tree_head(LEAVES[: case["size"]]).hex() == case["root"]


@pytest.mark.parametrize("case", cases("trees", "inclusion"))
def test_inclusion_proofs_are_as_they_were(case: dict[str, Any]) -> None:
    assert merkle.inclusion_proof(case["index"], LEAVES[: case["size"]]) == digests(case["proof"])


@pytest.mark.parametrize("case", cases("trees", "consistency"))
def test_consistency_proofs_are_as_they_were(case: dict[str, Any]) -> None:
    assert merkle.consistency_proof(case["old"], LEAVES[: case["new"]]) == digests(case["proof"])


def test_every_proof_of_small_trees_holds() -> None:
    for size in range(1, 34):
        root = merkle.tree_head(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, LEAVES[:size])
            merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
        for old in range(size + 1):
            proof = merkle.consistency_proof(old, LEAVES[:size])
            merkle.verify_consistency(old, merkle.tree_head(LEAVES[:old]), size, root, proof)


def test_leaves_and_nodes_cannot_be_taken_for_each_other() -> None:
    assert merkle.leaf_hash(b"x") == hashlib.sha256(b"\0x").digest()
    assert merkle.node_hash(OTHER, OTHER) == hashlib.sha256(b"\1" + OTHER + OTHER).digest()
    assert merkle.leaf_hash(OTHER + OTHER) != merkle.node_hash(OTHER, OTHER)
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.tree_head([]) == merkle.fold([]) == merkle.EMPTY_ROOT


def test_the_root_of_files_does_not_depend_on_their_order() -> None:
    vector = golden("trees")["filesRoot"]
    sums = digests(vector["sha256s"])
    assert merkle.files_root(sums).hex() == merkle.files_root(reversed(sums)).hex() == vector["root"]
    assert merkle.files_root(sums[:1]) == merkle.leaf_hash(sums[0])
    assert merkle.files_root([sums[0], sums[0]]) != merkle.files_root([sums[0]])
    with pytest.raises(MalformedError) as caught:
        merkle.files_root([])
    assert caught.value.code == "files-root"


@pytest.mark.parametrize("index, size", [(0, 0), (-1, 3), (3, 3), (5, 3)])
def test_no_proof_is_made_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(UsageError):
        merkle.inclusion_ranges(index, size)


@pytest.mark.parametrize("old, new", [(-1, 3), (4, 3)])
def test_no_proof_is_made_for_a_tree_that_shrinks(old: int, new: int) -> None:
    with pytest.raises(UsageError):
        merkle.consistency_ranges(old, new)


def inclusion(
    *,
    leaf: Digest32 = LEAVES[5],
    index: int = 5,
    size: int = 7,
    proof: list[Digest32] | None = None,
    root: Digest32 | None = None,
) -> None:
    found = merkle.inclusion_proof(5, LEAVES[:7]) if proof is None else proof
    merkle.verify_inclusion(leaf, index, size, found, root or merkle.tree_head(LEAVES[:7]))


GOOD_INCLUSION = merkle.inclusion_proof(5, LEAVES[:7])


@pytest.mark.parametrize(
    "change",
    [
        {"leaf": OTHER},
        {"leaf": LEAVES[4]},
        {"index": 4},
        {"index": 6},
        {"index": -1},
        {"index": 7},
        {"size": 6},
        {"size": 9},
        {"size": 0},
        {"root": OTHER},
        {"proof": []},
        {"proof": GOOD_INCLUSION[:-1]},
        {"proof": [*GOOD_INCLUSION, OTHER]},
        {"proof": GOOD_INCLUSION[::-1]},
        {"proof": [OTHER, *GOOD_INCLUSION[1:]]},
        {"proof": [*GOOD_INCLUSION[:-1], GOOD_INCLUSION[-1][:31]]},
    ],
)
def test_inclusion_is_refused_when_anything_differs(change: dict[str, Any]) -> None:
    inclusion()
    with pytest.raises(VerificationError) as caught:
        inclusion(**change)
    assert (caught.value.code, caught.value.step) == ("merkle-proof", "inclusion")


def consistency(
    *,
    old: int = 6,
    new: int = 7,
    old_root: Digest32 | None = None,
    new_root: Digest32 | None = None,
    proof: list[Digest32] | None = None,
) -> None:
    found = merkle.consistency_proof(6, LEAVES[:7]) if proof is None else proof
    first, second = merkle.tree_head(LEAVES[:6]), merkle.tree_head(LEAVES[:7])
    merkle.verify_consistency(old, old_root or first, new, new_root or second, found)


GOOD_CONSISTENCY = merkle.consistency_proof(6, LEAVES[:7])


@pytest.mark.parametrize(
    "change",
    [
        {"old": 5},
        {"old": 4},
        {"old": 7},
        {"old": 8},
        {"old": -1},
        {"old": 0},
        {"new": 5},
        {"new": 9},
        {"old_root": OTHER},
        {"new_root": OTHER},
        {"old_root": merkle.tree_head(LEAVES[:7]), "new_root": merkle.tree_head(LEAVES[:6])},
        {"proof": []},
        {"proof": GOOD_CONSISTENCY[:-1]},
        {"proof": [*GOOD_CONSISTENCY, OTHER]},
        {"proof": GOOD_CONSISTENCY[::-1]},
        {"proof": [GOOD_CONSISTENCY[0], OTHER, GOOD_CONSISTENCY[2]]},
        {"proof": [*GOOD_CONSISTENCY[:-1], b""]},
    ],
)
def test_consistency_is_refused_when_anything_differs(change: dict[str, Any]) -> None:
    consistency()
    with pytest.raises(VerificationError) as caught:
        consistency(**change)
    assert (caught.value.code, caught.value.step) == ("merkle-proof", "consistency")


def test_a_complete_old_tree_stands_for_itself() -> None:
    four, seven = merkle.tree_head(LEAVES[:4]), merkle.tree_head(LEAVES[:7])
    proof = merkle.consistency_proof(4, LEAVES[:7])
    merkle.verify_consistency(4, four, 7, seven, proof)
    with pytest.raises(VerificationError):
        merkle.verify_consistency(4, OTHER, 7, seven, proof)


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    root = merkle.tree_head(LEAVES[:7])
    merkle.verify_consistency(7, root, 7, root, [])
    for roots, proof in (((root, OTHER), []), ((root, root), [OTHER])):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(7, roots[0], 7, roots[1], proof)


def test_the_empty_tree_begins_every_tree_under_its_own_root_only() -> None:
    root = merkle.tree_head(LEAVES[:7])
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 7, root, [])
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    for old_root, proof in ((OTHER, []), (merkle.EMPTY_ROOT, [OTHER])):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(0, old_root, 7, root, proof)


def test_huge_trees_are_checked_quickly_and_without_trust_in_the_size() -> None:
    size = 1 << 62
    ranges = merkle.inclusion_ranges(size - 1, size)
    assert len(ranges) == 62
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(OTHER, size - 1, size, [OTHER] * 62, OTHER)
    with pytest.raises(VerificationError):
        merkle.verify_consistency(size - 1, OTHER, size, OTHER, [OTHER] * 63)
