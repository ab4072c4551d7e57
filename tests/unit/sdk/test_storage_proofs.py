from typing import Any, cast

import pytest

from platemark.errors import UpstreamError
from platemark.protocol.units import Address, Digest32
from platemark.sdk.chain import ChainClient
from platemark.sdk.storage_proofs import storage_proof

LEDGER = Address(b"\x01" * 20)
SLOT = Digest32(b"\x02" * 32)
PROOF = {"accountProof": ["0x01"], "storageProof": [{"key": "0x2", "value": "0x5", "proof": ["0x03"]}]}
BLOCK = dict.fromkeys(
    (
        *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
        *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
    ),
    "0x11",
)


class Endpoint:
    """Answers with what it was given."""

    def __init__(self, block: Any, proof: Any) -> None:
        self._answers = {"eth_getBlockByNumber": block, "eth_getProof": proof}

    def ask(self, method: str, *_: Any) -> Any:
        return self._answers[method]


def asked(block: Any, proof: Any) -> Any:
    return storage_proof(cast("ChainClient", Endpoint(block, proof)), LEDGER, [SLOT], 17)


def test_a_proof_is_taken_as_the_endpoint_gives_it() -> None:
    (account,) = asked(BLOCK, PROOF).accounts
    (slot,) = account.slots
    assert (account.address, account.proof) == (LEDGER, (b"\x01",))
    assert (slot.key, slot.value, slot.proof) == (SLOT, (5).to_bytes(32, "big"), (b"\x03",))


@pytest.mark.parametrize(
    "proof",
    [
        None,
        {},
        PROOF | {"storageProof": []},
        PROOF | {"accountProof": ["zz"]},
        PROOF | {"accountProof": ["0x" + "00" * 5000]},
        PROOF | {"storageProof": [{"key": "0x2", "value": "0x" + "f" * 65, "proof": []}]},
        PROOF | {"storageProof": [{"key": "0x2", "value": None, "proof": []}]},
    ],
)
def test_what_is_no_proof_is_said_to_be_none(proof: Any) -> None:
    with pytest.raises(UpstreamError) as caught:
        asked(BLOCK, proof)
    assert caught.value.code == "proof-unavailable"


def test_a_block_that_the_endpoint_does_not_have_gives_no_proof() -> None:
    with pytest.raises(UpstreamError):
        asked(None, PROOF)
