from typing import Any

import pytest
from eth_utils.abi import event_abi_to_log_topic, function_abi_to_4byte_selector

import sample_documents as sample
from platemark.errors import LocalError, UsageError
from platemark.protocol import abi
from platemark.protocol.abi import ContractArtifact


def entries(kind: str) -> list[Any]:
    return [
        pytest.param(entry, id=f"{name}.{entry['name']}")
        for name in abi.NAMES
        for entry in abi.load(name).abi
        if entry["type"] == kind
    ]


@pytest.mark.parametrize("name", abi.NAMES)
def test_contracts_load_once(name: str) -> None:
    artifact = abi.load(name)
    assert artifact is abi.load(name)
    assert artifact.name == name
    assert 1000 < len(artifact.deployed_bytecode) <= 24_576
    assert len(artifact.bytecode) > len(artifact.deployed_bytecode)
    assert artifact.metadata["solc"]


@pytest.mark.parametrize("name", abi.NAMES)
def test_immutables_lie_in_the_deployed_code(name: str) -> None:
    artifact = abi.load(name)
    for ranges in artifact.immutable_references.values():
        for place in ranges:
            start, end = place["start"], place["start"] + place["length"]
            assert artifact.deployed_bytecode[start:end] == bytes(place["length"])


@pytest.mark.parametrize("entry", entries("function"))
def test_selectors_are_those_that_others_compute(entry: dict[str, Any]) -> None:
    assert abi.selector(entry) == function_abi_to_4byte_selector(entry)  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", entries("event"))
def test_topics_are_those_that_others_compute(entry: dict[str, Any]) -> None:
    assert abi.topic(entry) == event_abi_to_log_topic(entry)  # type: ignore[arg-type]


def test_errors_and_events_are_found_by_their_hashes() -> None:
    ledger = abi.load("PrintLedger")
    anchored = ledger.entry("event", "Anchored")
    assert ledger.events()[abi.topic(anchored)] == anchored
    unknown = ledger.entry("error", "TokenUnknown")
    assert ledger.errors()[abi.selector(unknown)] == unknown


def test_a_use_has_the_members_that_settle_takes() -> None:
    batches = abi.load("PrintLedger").entry("function", "settle")["inputs"][1]
    uses = next(member for member in batches["components"] if member["type"] == "tuple[]")
    names = [member["name"] for member in uses["components"]]
    assert names == ["tokenId", "sequence", "voided", "requestDigest", "r", "vs"]
    assert len(sample.SIGNED_REQUEST.use(0).arguments()) == len(names)


def test_tuples_are_written_out() -> None:
    point = {"type": "tuple[]", "components": [{"type": "uint8"}, {"type": "tuple", "components": [{"type": "bytes"}]}]}
    assert abi.signature({"name": "draw", "inputs": [point, {"type": "bool"}]}) == "draw((uint8,(bytes))[],bool)"


def test_what_is_not_there_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with pytest.raises(UsageError):
        abi.load("Faucet")
    with pytest.raises(UsageError, match="0 entries"):
        abi.load("PrintLedger").entry("function", "mint")
    doubled = ContractArtifact("Twice", [{"type": "event", "name": "A"}] * 2, b"", b"", {}, {})
    with pytest.raises(UsageError, match="2 entries"):
        doubled.entry("event", "A")
    monkeypatch.setattr("platemark.protocol.abi.resources.files", lambda _: tmp_path)
    with pytest.raises(LocalError) as caught:
        abi.load.__wrapped__("PrintLedger")
    assert caught.value.code == "artifact-missing"
