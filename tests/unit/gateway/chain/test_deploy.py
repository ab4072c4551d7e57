from dataclasses import replace
from pathlib import Path

import pytest

from platemark.errors import LocalError
from platemark.protocol import abi
from platemark.protocol.deployment import Contracts, DeploymentRecord
from platemark.protocol.units import Address
from platemark_gateway.chain.deploy import (
    deployment_of,
    mask_immutables,
    read_deployment,
    read_record,
    write_record,
)
from platemark_gateway.ports import Deployment

CONTRACTS = Contracts(Address(b"\x01" * 20), Address(b"\x02" * 20), Address(b"\x03" * 20))
RECORD = DeploymentRecord(5, CONTRACTS, 7, None)
DEPLOYMENT = Deployment(5, CONTRACTS.registry, CONTRACTS.license, CONTRACTS.ledger, 7)


def test_deployment_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deployment.json"
    assert read_deployment(path) is None
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    assert read_deployment(path) == deployment_of(RECORD) == DEPLOYMENT
    assert [each.name for each in tmp_path.iterdir()] == ["deployment.json"]


@pytest.mark.parametrize(
    "before, after",
    [
        ("{", ""),
        ('"chainId": 5', '"chainId": "5"'),
        ('"chainId": 5', '"chainId": 0'),
        ('"block": 7', '"block": -1'),
        ("0x0101", "0x01"),
        ('"block"', '"extra": 1, "block"'),
        ('"block"', '"deployer": "0x4e59b44847b379578588920cA78FbF26c0B4956C", "block"'),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "deployment.json"
    write_record(path, RECORD)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(LocalError) as caught:
        read_deployment(path)
    assert caught.value.code == "deployment-damaged"


@pytest.mark.parametrize("name", abi.NAMES)
def test_only_immutables_are_masked(name: str) -> None:
    artifact = abi.load(name)
    code = artifact.deployed_bytecode
    places = [place for each in artifact.immutable_references.values() for place in each]
    filled = bytearray(code)
    for place in places:
        filled[place["start"] : place["start"] + place["length"]] = b"\xff" * place["length"]
    assert mask_immutables(artifact, bytes(filled)) == mask_immutables(artifact, code)
    assert mask_immutables(artifact, bytes([code[0] ^ 1]) + code[1:]) != mask_immutables(artifact, code)
    assert mask_immutables(artifact, code + b"\0") != mask_immutables(artifact, code)


def test_masks_beyond_the_code_change_nothing() -> None:
    artifact = replace(abi.load("PrintLedger"), immutable_references={"0": [{"start": 10, "length": 32}]})
    assert mask_immutables(artifact, b"short") == b"short"
