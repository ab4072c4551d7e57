"""Whether the contracts on a chain are Platemark's, at any later date: from their code, their values and their places.

1. the endpoint serves the chain
2. the code at each address is the artefact's, byte for byte outside the immutable values
3. each immutable value is what the constructor must have written: the other contracts, and the EIP-712 domain
4. the addresses are those that CREATE2 gives this code, and the deployer has the deterministic deployer's code
5. the contracts name each other and their domains when they are asked
6. the record says what the chain says: code hashes, blocks, transactions, salts, compiler
7. the artefacts are what the source compiles to

Nothing stops at the first discrepancy. The artefacts are those of the installed package; step 7 alone ties them to a
source that can be read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from platemark.auditor.rebuild import rebuild
from platemark.errors import RefusedError, UpstreamError, VerificationError
from platemark.protocol import abi
from platemark.protocol.deployment import (
    DEPLOYER,
    DEPLOYER_CODE,
    LEDGER,
    LICENSE,
    REGISTRY,
    SALTS,
    Contracts,
    DeploymentRecord,
    Details,
    Placed,
    contracts_of,
    deployer_call,
    domain_of,
    immutable_values,
)
from platemark.protocol.typed_data import VERSION
from platemark.protocol.units import Address, address_text, digest_text, keccak256
from platemark.sdk.chain import CONTRACTS, ChainClient, ContractName
from platemark.verify.report import Report
from platemark.verify.steps import Step

_STEP: Final = Step.CONTRACTS
_SILENT: Final = frozenset({"contract-missing", "rpc-malformed", "rpc-refused"})
"""What an endpoint answers for a call of something that is not such a contract."""

Rebuild = Callable[[Path], Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said about a deployment, before any of it is checked."""

    chain_id: int
    contracts: Contracts
    deployer: Address = DEPLOYER
    details: Details | None = None

    @classmethod
    def of(cls, record: DeploymentRecord) -> "Claim":
        """Return what a record claims."""
        details = record.details
        return cls(record.chain_id, record.contracts, DEPLOYER if details is None else details.deployer, details)


def audit_deployment(
    chains: Sequence[ChainClient], claim: Claim, *, source: Path | None = None, build: Rebuild = rebuild
) -> Report:
    """Return what the checks above found.

    Args:
        chains: The endpoints; every one must say the same.
        claim: What is to be checked.
        source: A checkout to compile, or None to leave out step 7.
        build: Compiles it.

    Errors: UpstreamError when an endpoint cannot be reached; LocalError `source-unbuildable`.
    """
    report = Report(f"deployment on chain {claim.chain_id}")
    for number, chain in enumerate(chains, start=1):
        name = "chain" if len(chains) == 1 else f"chain, endpoint {number}"
        report.trusted.append(f"the {name} for what stands there")
        _Audit(report, chain, claim, name).run()
    _addresses(report, claim)
    _salts_and_compiler(report, claim.details)
    _source(report, source, build)
    report.facts |= {
        "chainId": claim.chain_id,
        **{name: address_text(address) for name, address in claim.contracts.items()},
        "deployer": address_text(claim.deployer),
        "compiler": dict(abi.load(REGISTRY).metadata),
    }
    return report


@dataclass(frozen=True, slots=True)
class _Audit:
    """The checks of one endpoint."""

    report: Report
    chain: ChainClient
    claim: Claim
    source: str

    def run(self) -> None:
        report, claim = self.report, self.claim
        found = self.chain.chain_id()
        self._compare(f"the chain is {claim.chain_id}", "wrong-chain", claim.chain_id, found)
        for name in CONTRACTS:
            code = self.chain.code(claim.contracts.address(name))
            self._code(name, code)
            if code:
                self._immutables(name, code)
                self._domain(name)
            if claim.details is not None:
                placed = claim.details.contracts[name]
                self._compare(
                    f"{name} has the recorded code hash",
                    "deployment-record",
                    digest_text(placed.code_hash),
                    digest_text(keccak256(code)),
                )
                self._placed(name, placed)
        self._deployer()
        pointers: tuple[tuple[ContractName, str, Address], ...] = (
            ("PrintLicense", "registry", claim.contracts.registry),
            ("PrintLicense", "ledger", claim.contracts.ledger),
            ("PrintLedger", "license", claim.contracts.license),
        )
        for name, function, expected in pointers:
            with report.step(_STEP, f"{name} names its {function}", self.source):
                self._same(
                    f"{name} names another {function}",
                    "contracts-unrelated",
                    address_text(expected),
                    self._ask(name, function),
                )

    def _code(self, name: ContractName, found: bytes) -> None:
        artifact = abi.load(name)
        expected = artifact.deployed_bytecode
        different = [at for at, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]]
        masked = {
            at
            for places in artifact.immutable_references.values()
            for place in places
            for at in range(place["start"], place["start"] + place["length"])
        }
        wrong = [at for at in different if at not in masked]
        address = address_text(self.claim.contracts.address(name))
        with self.report.step(_STEP, f"{address} has the {len(expected)} bytes of {name}", self.source):
            if found and len(found) == len(expected) and not wrong:
                return
            told = "no contract" if not found else f"{len(found)} bytes"
            if wrong:
                told += f", {len(wrong)} of them different, the first at {wrong[0]}"
            raise _failure(f"{address} is not {name}", "contract-code", f"the {len(expected)} bytes of {name}", told)

    def _immutables(self, name: ContractName, code: bytes) -> None:
        values = immutable_values(name, self.claim.chain_id, self.claim.contracts)
        for variable, places in abi.load(name).immutable_references.items():
            expected = values.get(variable)
            if expected is None:
                self.report.skip(_STEP, f"{name}: what {variable} should be is not known", self.source)
                continue
            found = [code[place["start"] : place["start"] + place["length"]] for place in places]
            wrong = next((each for each in found if each != expected), expected)
            self._compare(
                f"{name}: {variable} in the code is right",
                "contract-immutable",
                f"0x{expected.hex()}",
                f"0x{wrong.hex()}",
                message=f"{name}: {variable} in the code is wrong",
            )

    def _domain(self, name: ContractName) -> None:
        domain = domain_of(name, self.claim.chain_id, self.claim.contracts)
        expected = f"{domain.name}, {VERSION}, {domain.chain_id}, {address_text(domain.verifying_contract)}"
        with self.report.step(_STEP, f"{name} signs under its own domain", self.source):
            found = self._ask(name, "eip712Domain")
            told = ", ".join(str(each) for each in found[1:5]) if isinstance(found, Sequence) else str(found)
            self._same(f"{name} signs under another domain", "contracts-unrelated", expected, told)

    def _deployer(self) -> None:
        found = self.chain.code(self.claim.deployer)
        with self.report.step(_STEP, "the deployer is the deterministic deployer", self.source):
            self._same(
                f"{address_text(self.claim.deployer)} is not the deterministic deployer",
                "contract-code",
                f"the {len(DEPLOYER_CODE)} bytes of the deterministic deployer",
                f"the {len(found)} bytes of the deterministic deployer" if found == DEPLOYER_CODE else "other code",
            )

    def _placed(self, name: ContractName, placed: Placed) -> None:
        """Compare the record's block and transaction with the chain's."""
        if placed.block is None or placed.block_hash is None:
            self.report.skip(_STEP, f"{name}: the record does not know the block", "record")
            return
        with self.report.step(_STEP, f"{name}: block {placed.block} is the recorded one", self.source):
            self._same(
                f"{name}: block {placed.block} is another one",
                "deployment-record",
                digest_text(placed.block_hash),
                digest_text(self.chain.block(placed.block).hash),
            )
        if placed.transaction is None:
            self.report.skip(_STEP, f"{name}: the record does not know the transaction", "record")
            return
        sent = self.chain.transaction(placed.transaction)
        if sent is None:
            self.report.skip(_STEP, f"{name}: the endpoint does not have the transaction any more", self.source)
            return
        creates = REGISTRY if name == REGISTRY else LICENSE
        arguments = () if creates == REGISTRY else (self.claim.contracts.registry,)
        is_creation = (sent.to, sent.data) == (self.claim.deployer, deployer_call(creates, *arguments))
        self._compare(
            f"{name}: the recorded transaction created it",
            "deployment-record",
            f"a call of the deployer in block {placed.block} with the code of {creates}",
            f"{'a' if is_creation and sent.succeeded else 'no successful'} call of the deployer "
            f"in block {sent.block} with the code of {creates}",
        )

    def _ask(self, name: ContractName, function: str) -> Any:
        try:
            return self.chain.read(name, self.claim.contracts.address(name), function)
        except RefusedError:
            return "nothing: it refuses the call"
        except UpstreamError as error:
            if error.code not in _SILENT:
                raise
            return "nothing: it has no such function"

    def _compare(self, detail: str, code: str, expected: object, found: object, *, message: str | None = None) -> None:
        with self.report.step(_STEP, detail, self.source):
            self._same(message or f"not so: {detail}", code, expected, found)

    @staticmethod
    def _same(message: str, code: str, expected: object, found: object) -> None:
        if expected != found:
            raise _failure(message, code, str(expected), str(found))


def _addresses(report: Report, claim: Claim) -> None:
    expected = contracts_of(claim.deployer)
    for (name, address), (_, derived) in zip(claim.contracts.items(), expected.items(), strict=True):
        with report.step(_STEP, f"{name} stands where CREATE2 puts this code", "artefacts"):
            if address != derived:
                raise _failure(
                    f"{name} does not stand where CREATE2 puts this code",
                    "contract-address",
                    address_text(derived),
                    address_text(address),
                )


def _salts_and_compiler(report: Report, details: Details | None) -> None:
    if details is None:
        report.skip(_STEP, "no record of transactions, blocks and compiler was given", "record")
        return
    for name, salt in SALTS.items():
        _recorded(report, f"salt of {name}", digest_text(salt), digest_text(details.salts[name]))
    metadata = dict(abi.load(LEDGER).metadata)
    _recorded(report, "compiler", metadata, dict(details.compiler))


def _recorded(report: Report, what: str, expected: object, found: object) -> None:
    with report.step(_STEP, f"the recorded {what} is the artefacts'", "record"):
        if expected != found:
            raise _failure(f"the recorded {what} is not the artefacts'", "deployment-record", str(expected), str(found))


def _source(report: Report, source: Path | None, build: Rebuild) -> None:
    if source is None:
        report.skip(_STEP, "the artefacts were not compared with a source", "source")
        return
    built = build(source)
    report.trusted.append(f"the compiler that {source} names")
    for name in CONTRACTS:
        shipped, compiled = abi.load(name), abi.parse_artifact(built[name])
        members = {
            "creation code": (shipped.bytecode, compiled.bytecode),
            "deployed code": (shipped.deployed_bytecode, compiled.deployed_bytecode),
            "immutable variables": (shipped.immutable_references, compiled.immutable_references),
            "ABI": (shipped.abi, compiled.abi),
            "compiler": (shipped.metadata, compiled.metadata),
        }
        for what, (expected, found) in members.items():
            with report.step(_STEP, f"{name}: the source compiles to the {what} of the artefact", "source"):
                if expected != found:
                    raise _failure(
                        f"{name}: the source compiles to another {what}",
                        "source-differs",
                        _shown(expected),
                        _shown(found),
                    )


def _shown(value: object) -> str:
    return (
        f"{len(value)} bytes, Keccak-256 0x{keccak256(value).hex()}" if isinstance(value, bytes) else str(value)[:200]
    )


def _failure(message: str, code: str, expected: str, found: str) -> VerificationError:
    return VerificationError(message, step=_STEP.label, code=code, expected=expected, found=found)
