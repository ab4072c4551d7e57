import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]
from eth_account import Account

from platemark.errors import MalformedError, UsageError
from platemark.protocol import abi
from platemark.protocol.deployment import (
    DEPLOYER,
    DEPLOYER_CODE,
    DEPLOYER_FUNDS,
    DEPLOYER_SIGNER,
    DEPLOYER_TRANSACTION,
    LEDGER,
    LICENSE,
    MAX_BYTES,
    REGISTRY,
    SALTS,
    Contracts,
    DeploymentRecord,
    contracts_of,
    create2_address,
    created_address,
    creation_code,
    deployed_code,
    deployer_call,
    domain_of,
    immutable_values,
)
from platemark.protocol.units import Address, Digest32, address_text, digest_text, keccak256, parse_address
from simulators.deployed_chain import DeployedChain


@pytest.mark.parametrize(
    "deployer, salt, code, expected",  # the examples of EIP-1014
    [
        ("00" * 20, "00" * 32, "00", "0x4D1A2e2bB4F88F0250f26Ffff098B0b30B26BF38"),
        ("deadbeef" + "00" * 16, "00" * 32, "00", "0xB928f69Bb1D91Cd65274e3c79d8986362984fDA3"),
        ("00" * 16 + "deadbeef", "00" * 28 + "cafebabe", "deadbeef", "0x60f3f640a8508fC6a86d45DF051962668E1e8AC7"),
        ("deadbeef" + "00" * 16, "00" * 12 + "feed" + "00" * 18, "00", "0xD04116cDd17beBE565EB2422F2497E06cC1C9833"),
        ("00" * 20, "00" * 32, "deadbeef", "0x70f2b2914A2a4b783FaEFb75f459A580616Fcb5e"),
        ("00" * 20, "00" * 32, "", "0xE33C0C7F7df4809055C3ebA6c09CFe4BaF1BD9e0"),
    ],
)
def test_create2_gives_the_addresses_of_its_specification(deployer: str, salt: str, code: str, expected: str) -> None:
    found = create2_address(Address(bytes.fromhex(deployer)), Digest32(bytes.fromhex(salt)), bytes.fromhex(code))
    assert address_text(found) == expected


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 255, 256, 65_535, 2**24, 2**64 - 2])
def test_created_addresses_are_those_of_the_encoding(nonce: int) -> None:
    assert created_address(DEPLOYER, nonce) == keccak256(rlp.encode([DEPLOYER, nonce]))[12:]


def test_the_deployers_transaction_is_the_one_that_every_chain_knows() -> None:
    fields = rlp.decode(DEPLOYER_TRANSACTION)
    nonce, price, gas = (int.from_bytes(each, "big") for each in fields[:3])
    assert (nonce, price * gas) == (0, DEPLOYER_FUNDS)
    assert parse_address(Account.recover_transaction(DEPLOYER_TRANSACTION)) == DEPLOYER_SIGNER
    assert created_address(DEPLOYER_SIGNER, 0) == DEPLOYER
    assert fields[5].endswith(DEPLOYER_CODE)
    # The hash by which block explorers of public chains show it, and the hash of the code that stands there.
    assert keccak256(DEPLOYER_TRANSACTION).hex() == "eddf9e61fb9d8f5111840daef55e5fde0041f5702856532cdbb5a02998033d26"
    assert keccak256(DEPLOYER_CODE).hex() == "2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989"


def test_salts_are_fixed() -> None:
    assert {name: digest_text(salt) for name, salt in SALTS.items()} == {
        "DesignRegistry": digest_text(keccak256(b"Platemark DesignRegistry 1")),
        "PrintLicense": digest_text(keccak256(b"Platemark PrintLicense 1")),
    }


def test_addresses_follow_from_code_and_from_each_other() -> None:
    found = contracts_of()
    assert found.registry == create2_address(DEPLOYER, SALTS[REGISTRY], abi.load(REGISTRY).bytecode)
    argument = bytes(12) + found.registry
    assert creation_code(LICENSE, found.registry) == abi.load(LICENSE).bytecode + argument
    assert deployer_call(LICENSE, found.registry) == SALTS[LICENSE] + abi.load(LICENSE).bytecode + argument
    assert found.license == create2_address(DEPLOYER, SALTS[LICENSE], creation_code(LICENSE, found.registry))
    assert found.ledger == created_address(found.license, 1)
    assert [found.address(name) for name, _ in found.items()] == [found.registry, found.license, found.ledger]
    assert len({*contracts_of(DEPLOYER_SIGNER).items(), *found.items()}) == 6


@pytest.mark.parametrize("name", abi.NAMES)
def test_every_immutable_variable_of_the_artefacts_has_a_value(name: str) -> None:
    values = immutable_values(name, 5, contracts_of())
    assert set(values) == set(abi.load(name).immutable_references)
    assert {len(value) for value in values.values()} == {32}
    domain = domain_of(name, 5, contracts_of())
    assert values["_cachedDomainSeparator"] == domain.separator()
    assert values["_name"].rstrip(b"\0")[:-1].rstrip(b"\0").decode() == domain.name
    assert values["_name"][31] == len(domain.name)


@pytest.mark.parametrize("name", abi.NAMES)
def test_deployed_code_differs_from_the_artefact_in_the_immutable_places_only(name: str) -> None:
    artifact = abi.load(name)
    code = deployed_code(name, 5, contracts_of())
    places = [place for each in artifact.immutable_references.values() for place in each]
    inside = {at for place in places for at in range(place["start"], place["start"] + place["length"])}
    different = {at for at, byte in enumerate(code) if byte != artifact.deployed_bytecode[at]}
    assert len(code) == len(artifact.deployed_bytecode)
    assert different
    assert different <= inside
    assert deployed_code(name, 6, contracts_of()) != code


def test_unknown_contracts_and_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in (
        lambda: contracts_of().address("Faucet"),
        lambda: immutable_values("Faucet", 5, contracts_of()),
    ):
        with pytest.raises(UsageError, match="no contract Faucet"):
            attempt()
    strange = replace(abi.load(LEDGER), immutable_references={"_new": [{"start": 0, "length": 32}]})
    monkeypatch.setattr(abi, "load", lambda _: strange)
    with pytest.raises(UsageError, match="_new of PrintLedger"):
        deployed_code(LEDGER, 5, Contracts(DEPLOYER, DEPLOYER, DEPLOYER))


# --- the record ---------------------------------------------------------------------------------------------


def test_record_comes_back_as_it_was() -> None:
    record = DeployedChain().record()
    assert DeploymentRecord.parse(json.dumps(record.to_json(), indent=1).encode()) == record
    assert len(json.dumps(record.to_json(), indent=1)) < MAX_BYTES
    short = replace(record, details=None)
    assert DeploymentRecord.parse(json.dumps(short.to_json()).encode()) == short
    assert set(short.to_json()) == {"chainId", "registry", "license", "ledger", "block"}


def test_what_a_node_could_not_tell_is_null() -> None:
    value: Any = DeployedChain().record().to_json()
    value["contracts"]["ledger"] |= {"transaction": None, "block": None, "blockHash": None}
    record = DeploymentRecord.parse(json.dumps(value).encode())
    assert record.details is not None
    placed = record.details.contracts[LEDGER]
    assert (placed.transaction, placed.block, placed.block_hash) == (None, None, None)
    assert record.to_json() == value


def _without(*path: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        del value[path[-1]]

    return change


def _with(value_of: Any, *path: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = value_of

    return change


@pytest.mark.parametrize(
    "change",
    [
        _without("chainId"),
        _without("deployer"),
        _without("salts", "license"),
        _without("contracts", "ledger"),
        _without("contracts", "ledger", "codeHash"),
        _with(0, "chainId"),
        _with(-1, "block"),
        _with(1, "extra"),
        _with("0x4E59b44847b379578588920cA78FbF26c0B4956C", "deployer"),
        _with([], "compiler"),
        _with("0x00", "salts", "registry"),
        _with(-1, "contracts", "registry", "block"),
        _with("", "contracts", "registry", "transaction"),
        _with(None, "contracts", "registry", "codeHash"),
    ],
)
def test_ill_formed_record_is_refused(change: Callable[[Any], None]) -> None:
    value = json.loads(json.dumps(DeployedChain().record().to_json()))
    change(value)
    with pytest.raises(MalformedError):
        DeploymentRecord.parse(json.dumps(value).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b" " * (MAX_BYTES + 1)])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        DeploymentRecord.parse(data)
