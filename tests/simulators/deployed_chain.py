"""A chain endpoint in memory on which the contracts were deployed; tests change what stands there."""

from dataclasses import dataclass, field
from typing import Any

from platemark.errors import UpstreamError
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
    deployed_code,
    deployer_call,
    domain_of,
)
from platemark.protocol.units import Address, Digest32, UnixSeconds, address_text, keccak256
from platemark.sdk.chain import BlockFacts, BlockTag, ChainClient, ContractName, MinedCall


@dataclass
class DeployedChain(ChainClient):
    """Implements what an audit of a deployment uses of `ChainClient`."""

    number: int = 5
    contracts: Contracts = field(default_factory=contracts_of)
    deployer: Address = DEPLOYER

    def __post_init__(self) -> None:
        names = (REGISTRY, LICENSE, LEDGER)
        self.codes = {self.contracts.address(each): deployed_code(each, self.number, self.contracts) for each in names}
        self.codes[self.deployer] = DEPLOYER_CODE
        self.answers: dict[tuple[str, str], Any] = {
            (LICENSE, "registry"): address_text(self.contracts.registry),
            (LICENSE, "ledger"): address_text(self.contracts.ledger),
            (LEDGER, "license"): address_text(self.contracts.license),
        }
        for name in names:
            domain = domain_of(name, self.number, self.contracts)
            told = (domain.name, "1", domain.chain_id, address_text(domain.verifying_contract))
            self.answers[name, "eip712Domain"] = (b"\x0f", *told, bytes(32), ())
        self.sent = {
            digest(7): MinedCall(self.deployer, deployer_call(REGISTRY), 7, succeeded=True),
            digest(8): MinedCall(self.deployer, deployer_call(LICENSE, self.contracts.registry), 8, succeeded=True),
        }

    def record(self) -> DeploymentRecord:
        """Return what an honest deployment would have written."""
        blocks = {REGISTRY: 7, LICENSE: 8, LEDGER: 8}
        placed = {
            name: Placed(digest(block), block, digest(100 + block), keccak256(self.codes[self.contracts.address(name)]))
            for name, block in blocks.items()
        }
        details = Details(self.deployer, SALTS, placed, dict(abi.load(REGISTRY).metadata))
        return DeploymentRecord(self.number, self.contracts, 7, details)

    def chain_id(self) -> int:
        return self.number

    def code(self, address: Address) -> bytes:
        return self.codes.get(address, b"")

    def read(
        self, contract: ContractName, address: Address, function: str, *_arguments: Any, block: BlockTag = "latest"
    ) -> Any:
        if not self.codes.get(address):
            raise UpstreamError("no such contract", code="contract-missing")
        found = self.answers[contract, function]
        if isinstance(found, Exception):
            raise found
        return found

    def block(self, number: BlockTag) -> BlockFacts:
        assert isinstance(number, int)
        return BlockFacts(number, digest(100 + number), UnixSeconds(number))

    def transaction(self, transaction: Digest32) -> MinedCall | None:
        return self.sent.get(transaction)


def digest(number: int) -> Digest32:
    """Return a hash that a test tells from others."""
    return Digest32(number.to_bytes(32, "big"))
