"""What a node's `eth_getProof` gives is what the verifier takes, and nothing else."""

import pytest

from model.chain import running_chain
from platemark.errors import VerificationError
from platemark.protocol.block_header import encode_header
from platemark.protocol.digests import sha256
from platemark.protocol.passport import AccountProof, ChainProof, SlotProof
from platemark.protocol.units import Address, digest32
from platemark.verify.chain_proof import anchor_slot, proven_slots
from platemark_gateway.ports import Contract

pytestmark = pytest.mark.anvil

GATEWAY = Address(b"\x11" * 20)


def data_of(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def test_a_nodes_proof_of_an_anchor_holds_for_its_block_alone() -> None:
    root, tiles = sha256(b"root"), sha256(b"tiles")
    with running_chain() as chain:
        chain.anvil.rpc("anvil_setBalance", "0x" + GATEWAY.hex(), hex(10**18))
        deployment, _ = chain.deploy(GATEWAY)
        at = int(chain.anvil.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        declared = [sha256(b"profile"), False]
        chain.send(deployment, GATEWAY, Contract.LEDGER, "declareGateway", declared, at=at + 10)
        anchor = ["0x" + GATEWAY.hex(), 1, 3, root, tiles]
        chain.send(deployment, GATEWAY, Contract.LEDGER, "anchor", anchor, at=at + 20)
        slot = anchor_slot(GATEWAY, 1, 3)
        ledger = "0x" + deployment.ledger.hex()
        found = chain.anvil.rpc("eth_getProof", ledger, ["0x" + slot.hex()], "latest")
        block = chain.anvil.rpc("eth_getBlockByNumber", "latest", False)
        before = chain.anvil.rpc("eth_getBlockByNumber", hex(int(block["number"], 16) - 1), False)
    (stored,) = found["storageProof"]
    value = digest32(int(stored["value"], 16).to_bytes(32, "big"))
    shown = SlotProof(slot, value, tuple(map(data_of, stored["proof"])))
    account = AccountProof(deployment.ledger, tuple(map(data_of, found["accountProof"])), (shown,))
    block_hash = digest32(data_of(block["hash"]))
    assert proven_slots(ChainProof(encode_header(block), (account,)), block_hash) == {
        (deployment.ledger, slot): int.from_bytes(sha256(root, tiles), "big")
    }
    with pytest.raises(VerificationError):  # the same proof under the block in which it was not anchored yet
        proven_slots(ChainProof(encode_header(before), (account,)), digest32(data_of(before["hash"])))
