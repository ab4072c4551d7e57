"""Storage proofs, made by py-trie and rlp, hold for the block that is known and for nothing else."""

from dataclasses import replace
from typing import Any, Final

import pytest
import rlp  # type: ignore[import-untyped]
from trie.hexary import HexaryTrie

from platemark.errors import VerificationError
from platemark.protocol.digests import sha256
from platemark.protocol.passport import AccountProof, ChainProof, SlotProof
from platemark.protocol.units import Address, Digest32, digest32, keccak256
from platemark.verify.chain_proof import ReservationWord, anchor_slot, proven_slots, reservation_slot
from platemark.verify.passport import verify_passport
from platemark.verify.report import Report, Verdict
from platemark.verify.steps import Step
from sample_documents import LEDGER, PASSPORT, word

GATEWAY: Final = PASSPORT.permission.gateway
PERMISSION: Final = PASSPORT.permission
SPARES: Final = PASSPORT.terms.spares(PERMISSION.prints)
assert PASSPORT.anchor is not None
ANCHOR: Final = PASSPORT.anchor
ROOT_SLOT: Final = anchor_slot(GATEWAY, ANCHOR.epoch, ANCHOR.size)
TOKEN_SLOT: Final = reservation_slot(GATEWAY, PASSPORT.license_id, PASSPORT.token_id)
STORED_ROOT: Final = int.from_bytes(sha256(ANCHOR.root, ANCHOR.tiles_digest), "big")


def stored_reservation(*, agent: bytes = PERMISSION.agent, prints: int = PERMISSION.prints, expires: int = 0) -> int:
    return int.from_bytes(agent, "big") | expires << 160 | prints << 192 | 1 << 208 | SPARES << 240


def nodes(trie: HexaryTrie, key: bytes) -> tuple[bytes, ...]:
    return tuple(rlp.encode(node) for node in trie.get_proof(keccak256(key)))  # type: ignore[no-untyped-call]


def made(stored: dict[Digest32, int], *, address: Address = LEDGER) -> tuple[ChainProof, Digest32]:
    """Return proofs of these slots among many, of an account among many, and the block's hash."""
    storage, state = HexaryTrie({}), HexaryTrie({})
    for name in range(40):
        storage[keccak256(word(f"slot {name}"))] = rlp.encode(name + 1)
        state[keccak256(word(f"account {name}")[:20])] = rlp.encode([1, 2, word("root"), word("code")])
    for key, value in stored.items():
        storage[keccak256(key)] = rlp.encode(value)
    state[keccak256(address)] = rlp.encode([1, 0, storage.root_hash, word("code")])
    header = rlp.encode([word("parent"), word("uncles"), b"\1" * 20, state.root_hash, word("rest"), b"", 17])
    slots = tuple(
        SlotProof(key, digest32(value.to_bytes(32, "big")), nodes(storage, key)) for key, value in stored.items()
    )
    return ChainProof(header, (AccountProof(address, nodes(state, address), slots),)), digest32(keccak256(header))


STORED: Final = {ROOT_SLOT: STORED_ROOT, TOKEN_SLOT: stored_reservation(expires=PERMISSION.expires_at)}
PROOF, BLOCK = made(STORED)


def report_of(stored: dict[Digest32, int], **changes: Any) -> Report:
    proof, block = made(stored, **changes)
    return verify_passport(replace(PASSPORT, chain_proof=proof), known_block=block)


def failed(report: Report) -> list[tuple[Step, str | None]]:
    return [(finding.step, finding.code) for finding in report.failures]


def test_slots_follow_from_the_block() -> None:
    assert proven_slots(PROOF, BLOCK) == {(LEDGER, key): value for key, value in STORED.items()}


def test_a_passport_holds_against_a_known_block() -> None:
    report = verify_passport(replace(PASSPORT, chain_proof=PROOF), known_block=BLOCK)
    assert failed(report) == []
    held = [each.step for each in report.findings if each.verdict is Verdict.HOLDS and each.source == "storage proofs"]
    assert held == [Step.ANCHOR, Step.ANCHOR, Step.PERMISSION]
    assert report.trusted[-1].startswith("the given block 0x")


def test_a_token_that_has_ended_was_reserved_all_the_same() -> None:
    assert failed(report_of({TOKEN_SLOT: stored_reservation(expires=0)})) == []


def test_what_no_proof_shows_is_not_checked() -> None:
    report = report_of({sha256(b"other"): 1})
    told = [each.detail for each in report.findings if each.source == "storage proofs"]
    assert [detail.partition(":")[0] for detail in told[1:]] == [
        "whether the root is on chain",
        "whether the prints were reserved",
    ]
    assert failed(report) == []
    without = verify_passport(replace(PASSPORT, chain_proof=None), known_block=BLOCK)
    assert any("needs the chain" in each.detail and each.step is Step.ANCHOR for each in without.findings)


def test_proofs_are_not_looked_at_without_a_block() -> None:
    assert failed(verify_passport(PASSPORT)) == []


@pytest.mark.parametrize(
    "stored, found",
    [
        ({ROOT_SLOT: STORED_ROOT + 1}, (Step.ANCHOR, "anchor-storage")),
        ({TOKEN_SLOT: stored_reservation(agent=GATEWAY)}, (Step.PERMISSION, "reservation-storage")),
        ({TOKEN_SLOT: stored_reservation(prints=PERMISSION.prints + 1)}, (Step.PERMISSION, "reservation-storage")),
        ({TOKEN_SLOT: stored_reservation(expires=PERMISSION.expires_at + 1)}, (Step.PERMISSION, "reservation-storage")),
        ({TOKEN_SLOT: stored_reservation() + (1 << 240)}, (Step.PERMISSION, "reservation-storage")),
    ],
)
def test_storage_that_says_something_else_is_a_discrepancy(
    stored: dict[Digest32, int], found: tuple[Step, str]
) -> None:
    assert failed(report_of(stored)) == [found]


def test_another_contracts_storage_proves_nothing() -> None:
    report = report_of(STORED, address=PASSPORT.profile.license)
    assert [each.detail.partition(":")[0] for each in report.findings if each.source == "storage proofs"][1:] == [
        "whether the root is on chain",
        "whether the prints were reserved",
    ]


def test_a_word_is_read_as_the_contract_writes_it() -> None:
    found = ReservationWord.parse(stored_reservation(expires=77) + (3 << 224))
    assert found == ReservationWord(PERMISSION.agent, 77, PERMISSION.prints, 1, 3, SPARES)  # type: ignore[arg-type]


def with_account(**changes: Any) -> ChainProof:
    return replace(PROOF, accounts=(replace(PROOF.accounts[0], **changes),))


def with_slot(**changes: Any) -> ChainProof:
    account = PROOF.accounts[0]
    return with_account(slots=(replace(account.slots[0], **changes), *account.slots[1:]))


def refuse(proof: ChainProof, block: Digest32) -> None:
    with pytest.raises(VerificationError) as caught:
        proven_slots(proof, block)
    assert (caught.value.step, caught.value.code) == (Step.ANCHOR.label, "chain-proof")


ACCOUNT_NODES: Final = PROOF.accounts[0].proof
SLOT_NODES: Final = PROOF.accounts[0].slots[0].proof


@pytest.mark.parametrize(
    "proof",
    [
        replace(PROOF, header=PROOF.header + b"\0"),
        with_account(proof=()),
        with_account(proof=ACCOUNT_NODES[:-1]),
        with_account(proof=ACCOUNT_NODES[1:]),
        with_account(proof=SLOT_NODES),
        with_account(address=Address(bytes(20))),
        with_slot(proof=SLOT_NODES[:-1]),
        with_slot(proof=ACCOUNT_NODES),
        with_slot(key=digest32(bytes(32))),
        with_slot(value=digest32(bytes(32))),
        with_slot(proof=(*SLOT_NODES[:-1], SLOT_NODES[-1][:-1] + bytes([SLOT_NODES[-1][-1] ^ 1]))),
    ],
)
def test_a_wrong_proof_is_refused(proof: ChainProof) -> None:
    refuse(proof, BLOCK)
    report = verify_passport(replace(PASSPORT, chain_proof=proof), known_block=BLOCK)
    assert failed(report) == [(Step.ANCHOR, "chain-proof")]


def test_another_block_is_refused() -> None:
    refuse(PROOF, word("another block"))


def alone(node: list[Any], *, key: Digest32 = ROOT_SLOT, account: Any = None) -> tuple[ChainProof, Digest32]:
    """Return a proof whose storage is this one node, and its block."""
    encoded = rlp.encode(node)
    fields = [1, 0, keccak256(encoded), word("code")] if account is None else account
    state = HexaryTrie({})
    state[keccak256(LEDGER)] = rlp.encode(fields)
    header = rlp.encode([b"", b"", b"", state.root_hash])
    slot = SlotProof(key, digest32((5).to_bytes(32, "big")), (encoded,))
    return ChainProof(header, (AccountProof(LEDGER, nodes(state, LEDGER), (slot,)),)), digest32(keccak256(header))


PATH: Final = keccak256(ROOT_SLOT).hex()
LEAF: Final = [bytes.fromhex("20" + PATH), rlp.encode(5)]


def packed(path: str, *, leaf: bool) -> bytes:
    """Return a path with its flags, as the yellow paper's appendix C has it."""
    flags = 2 * leaf + len(path) % 2
    return bytes.fromhex(f"{flags:x}{'' if len(path) % 2 else '0'}{path}")


def branch(at: str, child: Any) -> list[Any]:
    children: list[Any] = [b""] * 17
    children[int(at, 16)] = child
    return children


def test_small_nodes_stand_in_their_parents() -> None:
    inner = branch(PATH[62], [packed(PATH[63], leaf=True), rlp.encode(5)])
    proof, block = alone([packed(PATH[:62], leaf=False), keccak256(rlp.encode(inner))])
    (account,) = proof.accounts
    (slot,) = account.slots
    whole = replace(proof, accounts=(replace(account, slots=(replace(slot, proof=(*slot.proof, rlp.encode(inner))),)),))
    assert proven_slots(whole, block) == {(LEDGER, ROOT_SLOT): 5}
    assert proven_slots(*alone(LEAF)) == {(LEDGER, ROOT_SLOT): 5}


@pytest.mark.parametrize(
    "node",
    [
        [packed(PATH[:-1], leaf=True), rlp.encode(5)],  # a leaf before the path's end
        [packed(PATH[:-1] + f"{int(PATH[-1], 16) ^ 1:x}", leaf=True), rlp.encode(5)],  # another path
        [packed(PATH, leaf=False), branch("0", b"")],  # a branch after the path's end
        [b"", rlp.encode(5)],  # no flags
        [b"\x20", b"", b""],  # no node
        branch(PATH[0], b""),  # nothing there
        branch(PATH[0], b"\x05"),  # neither hash nor node
        [packed(PATH, leaf=True), b""],  # no value
        [packed(PATH, leaf=True), b"\xb9"],  # a length that is cut off
        [packed(PATH, leaf=True), b"\x85\x05"],  # a value that is cut off
    ],
)
def test_nodes_that_no_trie_has_are_refused(node: list[Any]) -> None:
    refuse(*alone(node))


def test_accounts_and_headers_of_another_form_are_refused() -> None:
    refuse(*alone(LEAF, account=[1, 0, keccak256(rlp.encode(LEAF))]))
    for header in (rlp.encode([b"", b""]), rlp.encode(b"text"), b""):
        refuse(replace(PROOF, header=header), digest32(keccak256(header)))
