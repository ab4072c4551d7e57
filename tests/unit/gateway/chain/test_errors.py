from collections.abc import Mapping
from typing import Any

import pytest
from eth_abi.abi import encode

from platemark.protocol import abi
from platemark.protocol.codes import CODES
from platemark_gateway.chain.errors import code_of, decode_revert

SAMPLES: Mapping[str, Any] = {
    "address": "0x" + "11" * 20,
    "string": "text",
    "bytes32": b"\x07" * 32,
    "bool": True,
}
CONTRACT_ERRORS = sorted(
    {abi.signature(entry): entry for name in abi.NAMES for entry in abi.load(name).errors().values()}.items()
)


@pytest.mark.parametrize("entry", [entry for _, entry in CONTRACT_ERRORS], ids=[text for text, _ in CONTRACT_ERRORS])
def test_each_contract_error_is_decoded_and_has_a_public_code(entry: Mapping[str, Any]) -> None:
    types = [member["type"] for member in entry["inputs"]]
    values = [SAMPLES.get(each, 5) for each in types]
    revert = decode_revert(abi.selector(entry) + encode(types, values))
    assert revert.name == entry["name"]
    assert len(revert.args) == len(types)
    assert revert.code in CODES
    assert str(revert).startswith(f"{entry['name']}(")


@pytest.mark.parametrize(
    "name, code",
    [
        ("CapExceeded", "cap-exceeded"),
        ("ERC721NonexistentToken", "erc721-nonexistent-token"),
        ("NotDesignOwner", "not-design-owner"),
        ("AgentZero", "agent-zero"),
    ],
)
def test_codes_are_the_names_in_kebab_case(name: str, code: str) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize(
    "data, text",
    [
        (b"", "Reverted()"),
        (bytes.fromhex("08c379a0") + encode(["string"], ["why"]), "Error(reason=why)"),
        (bytes.fromhex("4e487b71") + encode(["uint256"], [17]), "Panic(reason=17)"),
        (bytes.fromhex("deadbeef"), "Unknown(data=0xdeadbeef)"),
        (b"\x01", "Unknown(data=0x01)"),
        (bytes.fromhex("08c379a0") + b"\xff" * 64, "Unknown(data=0x08c379a0" + "ff" * 64 + ")"),
    ],
)
def test_other_revert_data_is_named_as_far_as_it_goes(data: bytes, text: str) -> None:
    revert = decode_revert(data)
    assert str(revert) == text
    assert revert.code == "reverted"


def test_truncated_arguments_do_not_pass_for_an_error() -> None:
    entry = abi.load("PrintLicense").entry("error", "CapExceeded")
    assert decode_revert(abi.selector(entry) + bytes(31)).name == "Unknown"


def test_reason_is_bounded() -> None:
    data = bytes.fromhex("08c379a0") + encode(["string"], ["x" * 10_000])
    assert len(str(decode_revert(data))) == 500
