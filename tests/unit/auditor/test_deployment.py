"""Each discrepancy of a deployment is named, and no other."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from platemark.auditor.deployment import Claim, audit_deployment
from platemark.errors import Kind, RefusedError, UpstreamError
from platemark.protocol import abi
from platemark.protocol.deployment import (
    DEPLOYER,
    LEDGER,
    LICENSE,
    REGISTRY,
    Contracts,
    DeploymentRecord,
    Details,
    Placed,
    contracts_of,
)
from platemark.protocol.units import Address, Digest32, address_text
from platemark.verify.report import Report, Verdict
from simulators.deployed_chain import DeployedChain, digest

OTHER = Address(b"\x77" * 20)
ABI_FOLDER = Path(abi.__file__).parent


def codes(report: Report) -> list[str | None]:
    return [finding.code for finding in report.failures]


def skipped(report: Report) -> list[str]:
    return [finding.detail for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED]


def audit(chain: DeployedChain, record: DeploymentRecord | None = None) -> Report:
    return audit_deployment([chain], Claim.of(record or chain.record()))


def change(chain: DeployedChain, name: str, at: int, value: bytes) -> None:
    address = chain.contracts.address(name)
    code = bytearray(chain.codes[address])
    code[at : at + len(value)] = value
    chain.codes[address] = bytes(code)


def shipped() -> dict[str, dict[str, Any]]:
    return {name: json.loads((ABI_FOLDER / f"{name}.json").read_text("utf-8")) for name in abi.NAMES}


def test_honest_deployment_holds_in_every_step() -> None:
    report = audit_deployment([DeployedChain()], Claim.of(DeployedChain().record()), source=Path(), build=built)
    assert report.holds
    assert skipped(report) == []
    assert report.facts["PrintLedger"] == address_text(contracts_of().ledger)
    assert report.facts["chainId"] == 5
    details = [finding.detail for finding in report.findings]
    assert len(details) == len(set(details))


def built(_source: Path) -> Mapping[str, Mapping[str, Any]]:
    return shipped()


@pytest.mark.parametrize("name", abi.NAMES)
def test_every_immutable_value_is_checked_wherever_it_stands(name: str) -> None:
    for variable, places in abi.load(name).immutable_references.items():
        for place in places:
            chain = DeployedChain()
            record = chain.record()
            change(chain, name, place["start"] + 31, b"\xee")
            report = audit(chain, record)
            assert codes(report) == ["contract-immutable", "deployment-record"], (variable, place)
            assert f"{name}: {variable} " in report.failures[0].detail


@pytest.mark.parametrize("name", abi.NAMES)
def test_one_other_byte_of_code_is_found(name: str) -> None:
    chain = DeployedChain()
    record = chain.record()
    change(chain, name, 9, bytes([chain.codes[chain.contracts.address(name)][9] ^ 1]))
    report = audit(chain, record)
    assert codes(report) == ["contract-code", "deployment-record"]
    assert "1 of them different, the first at 9" in (report.failures[0].found or "")


def test_contract_that_is_missing_or_longer_is_named() -> None:
    chain = DeployedChain()
    record = chain.record()
    chain.codes[chain.contracts.license] += b"\0"
    assert codes(audit(chain, record)) == ["contract-code", "deployment-record"]
    chain.codes[chain.contracts.license] = b""
    report = audit(chain, record)
    assert codes(report) == ["contract-code", "deployment-record", "contracts-unrelated", "contracts-unrelated"]
    assert report.failures[0].found == "no contract"


@pytest.mark.parametrize(
    "at",
    [(LICENSE, "registry"), (LICENSE, "ledger"), (LEDGER, "license"), *((name, "eip712Domain") for name in abi.NAMES)],
)
@pytest.mark.parametrize(
    "answer",
    [
        "0x7777777777777777777777777777777777777777",
        (b"", "x", "1", 5, "0x7777777777777777777777777777777777777777", b"", ()),
        RefusedError("no", kind=Kind.CONFLICT, code="contract-refused"),
        UpstreamError("no", code="rpc-malformed"),
    ],
)
def test_contracts_that_name_others_are_found(at: tuple[str, str], answer: Any) -> None:
    chain = DeployedChain()
    chain.answers[at] = answer
    assert codes(audit(chain)) == ["contracts-unrelated"]


def test_endpoint_that_cannot_be_reached_ends_the_audit() -> None:
    chain = DeployedChain()
    chain.answers[LICENSE, "ledger"] = UpstreamError("no", code="rpc-unreachable")
    with pytest.raises(UpstreamError):
        audit(chain)


def test_other_places_than_those_of_create2_are_found() -> None:
    elsewhere = Contracts(Address(b"\x01" * 20), Address(b"\x02" * 20), Address(b"\x03" * 20))
    chain = DeployedChain(contracts=elsewhere)
    report = audit_deployment([chain], Claim(5, elsewhere))
    assert codes(report) == ["contract-address"] * 3
    assert skipped(report) == [
        "no record of transactions, blocks and compiler was given",
        "the artefacts were not compared with a source",
    ]


def test_copy_of_the_deployer_gives_addresses_of_its_own() -> None:
    chain = DeployedChain(contracts=contracts_of(OTHER), deployer=OTHER)
    assert codes(audit(chain)) == []
    assert contracts_of(OTHER) != contracts_of()
    chain.codes[OTHER] = b"\x60"
    assert codes(audit(chain)) == ["contract-code"]
    assert codes(audit_deployment([chain], Claim(5, chain.contracts, DEPLOYER))) == [
        "contract-code",
        *["contract-address"] * 3,
    ]


def test_other_chain_is_found_in_every_endpoint() -> None:
    record = DeployedChain().record()
    other = DeployedChain(number=6)
    report = audit_deployment([DeployedChain(), other], Claim.of(record))
    assert codes(report).count("wrong-chain") == 1
    assert {finding.source for finding in report.failures} == {"chain, endpoint 2"}
    assert "_cachedChainId" in " ".join(finding.detail for finding in report.failures)


Lie = Callable[[Placed], Placed]


@pytest.mark.parametrize(
    "lie",
    [
        lambda placed: replace(placed, block_hash=digest(1)),
        lambda placed: replace(placed, code_hash=digest(1)),
        lambda placed: replace(placed, transaction=digest(9)),
        lambda placed: replace(placed, transaction=digest(10)),
    ],
    ids=["block", "code", "failed-transaction", "other-transaction"],
)
@pytest.mark.parametrize("name", abi.NAMES)
def test_record_that_contradicts_the_chain_is_found(name: str, lie: Lie) -> None:
    chain = DeployedChain()
    block = 7 if name == REGISTRY else 8
    chain.sent[digest(9)] = replace(chain.sent[digest(block)], succeeded=False)
    chain.sent[digest(10)] = replace(chain.sent[digest(block)], data=b"\x01")
    record = chain.record()
    assert record.details is not None
    placed = {**record.details.contracts, name: lie(record.details.contracts[name])}
    report = audit(chain, replace(record, details=replace(record.details, contracts=placed)))
    assert codes(report) == ["deployment-record"]
    assert name in report.failures[0].detail


@pytest.mark.parametrize(
    "lie",
    [
        lambda details: replace(details, salts={**details.salts, LICENSE: digest(1)}),
        lambda details: replace(details, compiler={**details.compiler, "solc": "0.8.1"}),
    ],
    ids=["salt", "compiler"],
)
def test_record_that_contradicts_the_artefacts_is_found(lie: Callable[[Details], Details]) -> None:
    record = DeployedChain().record()
    assert record.details is not None
    assert codes(audit(DeployedChain(), replace(record, details=lie(record.details)))) == ["deployment-record"]


def test_what_record_and_endpoint_do_not_know_is_not_called_checked() -> None:
    chain = DeployedChain()
    record = chain.record()
    assert record.details is not None
    unknown = {
        REGISTRY: replace(record.details.contracts[REGISTRY], transaction=None),
        LICENSE: replace(record.details.contracts[LICENSE], transaction=None, block=None, block_hash=None),
        LEDGER: replace(record.details.contracts[LEDGER], transaction=Digest32(digest(55))),
    }
    report = audit(chain, replace(record, details=replace(record.details, contracts=unknown)))
    assert report.holds
    assert skipped(report)[:3] == [
        "DesignRegistry: the record does not know the transaction",
        "PrintLicense: the record does not know the block",
        "PrintLedger: the endpoint does not have the transaction any more",
    ]


@pytest.mark.parametrize(
    "member, value, what",
    [
        ("bytecode", "0x6001", "creation code"),
        ("deployedBytecode", "0x6001", "deployed code"),
        ("immutableReferences", {}, "immutable variables"),
        ("abi", [], "ABI"),
        ("metadata", {}, "compiler"),
    ],
)
def test_source_that_compiles_to_something_else_is_found(member: str, value: Any, what: str) -> None:
    def other(_source: Path) -> Mapping[str, Mapping[str, Any]]:
        found = shipped()
        found[LEDGER][member] = value
        return found

    chain = DeployedChain()
    report = audit_deployment([chain], Claim.of(chain.record()), source=Path(), build=other)
    assert codes(report) == ["source-differs"]
    assert report.failures[0].detail == f"PrintLedger: the source compiles to another {what}"


def test_variable_that_nothing_is_known_of_is_not_called_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = DeployedChain()
    artifact = abi.load(REGISTRY)
    places = {"_new" if name == "_version" else name: each for name, each in artifact.immutable_references.items()}
    strange = replace(artifact, immutable_references=places)
    load = abi.load
    monkeypatch.setattr(abi, "load", lambda name: strange if name == REGISTRY else load(name))
    report = audit_deployment([chain], Claim(5, chain.contracts))
    assert "DesignRegistry: what _new should be is not known" in skipped(report)
