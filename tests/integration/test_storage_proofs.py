"""What a node's `eth_getProof` gives is what the verifier takes, and nothing else."""

from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]

from model.chain import running_chain
from platemark.errors import VerificationError
from platemark.protocol.digests import sha256
from platemark.protocol.passport import AccountProof, ChainProof, SlotProof
from platemark.protocol.units import Address, digest32
from platemark.verify.chain_proof import anchor_slot, proven_slots
from platemark_gateway.ports import Contract

pytestmark = pytest.mark.anvil

GATEWAY = Address(b"\x11" * 20)
HEADER = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas"),
    *("withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"),
)
NUMBERS = {
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas")
}


def data_of(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def header_of(block: dict[str, Any]) -> bytes:
    """Return a block's header as its hash is of it."""
    return bytes(
        rlp.encode(
            [int(block[name], 16) if name in NUMBERS else data_of(block[name]) for name in HEADER if name in block]
        )
    )


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
    assert proven_slots(ChainProof(header_of(block), (account,)), block_hash) == {
        (deployment.ledger, slot): int.from_bytes(sha256(root, tiles), "big")
    }
    with pytest.raises(VerificationError):  # the same proof under the block in which it was not anchored yet
        proven_slots(ChainProof(header_of(before), (account,)), digest32(data_of(before["hash"])))
