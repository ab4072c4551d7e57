from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]

from platemark.errors import MalformedError
from platemark.protocol.block_header import encode_header, has_known_fields
from platemark.protocol.units import keccak256

# Block 1 of Ethereum, as every explorer shows it.
FIRST: dict[str, Any] = {
    "parentHash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    "miner": "0x05a56e2d52c817161883f50c441c3228cfe54d9f",
    "stateRoot": "0xd67e4d450343046425ae4271474353857ab860dbc0a1dde64b41b5cd3a532bf3",
    "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    "logsBloom": "0x" + "00" * 256,
    "difficulty": "0x3ff800000",
    "number": "0x1",
    "gasLimit": "0x1388",
    "gasUsed": "0x0",
    "timestamp": "0x55ba4224",
    "extraData": "0x476574682f76312e302e302f6c696e75782f676f312e342e32",
    "mixHash": "0x969b900de27b6ac6a67742365dd65f55a0526c41fd18e1b16f1a1215c2e66f59",
    "nonce": "0x539bd4979fef1ec4",
}
LATER = {
    "baseFeePerGas": "0x7",
    "withdrawalsRoot": "0x" + "11" * 32,
    "blobGasUsed": "0x0",
    "excessBlobGas": "0x80",
    "parentBeaconBlockRoot": "0x" + "22" * 32,
    "requestsHash": "0x" + "33" * 32,
}


def test_the_first_block_of_ethereum_has_its_hash() -> None:
    assert keccak256(encode_header(FIRST)).hex() == "88e96d4537bea4d9c05d12549907b32561d3bf31f45aae734cdc119f13406cb6"


@pytest.mark.parametrize("count", range(len(LATER) + 1))
def test_fields_of_later_forks_follow_as_far_as_they_are_there(count: int) -> None:
    later = dict(list(LATER.items())[:count])
    fields = rlp.decode(encode_header(FIRST | later))
    assert len(fields) == len(FIRST) + count
    assert rlp.encode(fields) == encode_header(FIRST | later)
    assert fields[len(FIRST) :] == [
        bytes.fromhex(text[2:]) if len(text) > 10 else int(text, 16).to_bytes(1, "big").lstrip(b"\0")
        for text in later.values()
    ]


@pytest.mark.parametrize("wrong", [{"miner": None}, {"number": "one"}, {"stateRoot": 5}, {"extraData": "0xzz"}])
def test_what_is_no_block_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match="no block of Ethereum"):
        encode_header(FIRST | wrong)
    with pytest.raises(MalformedError):
        encode_header({})


def test_a_field_that_nobody_knows_is_noticed() -> None:
    assert has_known_fields(FIRST | LATER | {"hash": "0x", "transactions": []})
    assert not has_known_fields(FIRST | {"l1BlockNumber": "0x1"})
