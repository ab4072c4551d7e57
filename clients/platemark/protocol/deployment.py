"""Where the three contracts stand: addresses that follow from their code, and the record of a deployment.

The registry is created by CREATE2 with a fixed salt, the licence with a fixed salt and the registry as its
constructor's argument; the licence's constructor creates the ledger, its first and only creation. Both CREATE2 go
through the deterministic deployer, a contract without an owner that stands at one address on every chain that has
it. So the same code has the same addresses everywhere, whoever pays for creating it.

The deterministic deployer itself is created by one transaction that was signed once for all chains by a key that
nobody has (Nick's method): its signature was chosen, and the sender follows from it. That transaction names no chain,
as transactions did before EIP-155.

A deployment's record (`deployments/<chain id>.json`, and `deployment.json` of a gateway) is JSON; a reader refuses
fields that it does not know, and takes records without `details`.

Source: EIP-1014, EIP-155, EIP-712, docs/deployment.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from platemark.errors import MalformedError, UsageError
from platemark.protocol import abi, canonical
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.typed_data import VERSION, Domain, ledger_domain, license_domain, registry_domain
from platemark.protocol.units import (
    Address,
    Digest32,
    address_text,
    digest_text,
    keccak256,
    parse_address,
    parse_digest,
)

REGISTRY: Final = "DesignRegistry"
LICENSE: Final = "PrintLicense"
LEDGER: Final = "PrintLedger"

DEPLOYER: Final = parse_address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
"""Where the deterministic deployer stands, on every chain that has it."""

DEPLOYER_CODE: Final = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f5801515"
    "6039578182fd5b8082525050506014600cf3"
)
"""Its code: the first 32 bytes of calldata are the salt, the rest is the creation code."""

DEPLOYER_CREATION: Final = bytes.fromhex("604580600e600039806000f350fe") + DEPLOYER_CODE

DEPLOYER_SIGNER: Final = parse_address("0x3fAB184622Dc19b6109349B94811493BF2a45362")
"""The one-time account that its transaction comes from."""

DEPLOYER_FUNDS: Final = 100_000 * 100 * 10**9
"""What that transaction costs at most, wei: 100,000 gas at 100 gwei."""

DEPLOYER_TRANSACTION: Final = (
    bytes.fromhex("f8a58085174876e800830186a08080b853") + DEPLOYER_CREATION + b"\x1b" + (b"\xa0" + b"\x22" * 32) * 2
)
"""The transaction that creates it, as it is broadcast on any chain."""

SALTS: Final[Mapping[str, Digest32]] = MappingProxyType(
    {name: keccak256(f"Platemark {name} {VERSION}".encode()) for name in (REGISTRY, LICENSE)}
)
"""The salts of the two contracts that are created by CREATE2."""

MAX_BYTES: Final = 16 << 10
_WORD: Final = 32
_ENDS: Final = {REGISTRY: "registry", LICENSE: "license", LEDGER: "ledger"}
_FIELDS: Final = frozenset({"chainId", "registry", "license", "ledger", "block"})
_DETAILS: Final = frozenset({"deployer", "salts", "contracts", "compiler"})
_PLACED: Final = frozenset({"transaction", "block", "blockHash", "codeHash"})


# --- addresses ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contracts:
    """The addresses of the three contracts."""

    registry: Address
    license: Address
    ledger: Address

    def address(self, name: str) -> Address:
        """Return a contract's address; errors UsageError for another name."""
        return dict(self.items())[_known(name)]

    def items(self) -> Iterator[tuple[str, Address]]:
        """Yield names and addresses in the order in which the contracts are created."""
        yield from ((REGISTRY, self.registry), (LICENSE, self.license), (LEDGER, self.ledger))


def contracts_of(deployer: Address = DEPLOYER) -> Contracts:
    """Return where the contracts stand when `deployer`, which has `DEPLOYER_CODE`, creates them with `SALTS`."""
    registry = create2_address(deployer, SALTS[REGISTRY], creation_code(REGISTRY))
    print_license = create2_address(deployer, SALTS[LICENSE], creation_code(LICENSE, registry))
    return Contracts(registry, print_license, created_address(print_license, 1))


def creation_code(name: str, *arguments: Address) -> bytes:
    """Return the code that creates a contract: the compiled code, then the constructor's arguments (addresses)."""
    return abi.load(name).bytecode + b"".join(bytes(12) + each for each in arguments)


def deployer_call(name: str, *arguments: Address) -> bytes:
    """Return the calldata with which the deterministic deployer creates a contract with its salt."""
    return SALTS[name] + creation_code(name, *arguments)


def create2_address(deployer: Address, salt: Digest32, code: bytes) -> Address:
    """Return the address of what `deployer` creates by CREATE2 (EIP-1014)."""
    return Address(keccak256(b"\xff" + deployer + salt + keccak256(code))[12:])


def created_address(creator: Address, nonce: int) -> Address:
    """Return the address of what an account creates with a nonce; a contract's first nonce is 1.

    Args:
        creator: An account or a contract.
        nonce: 0 to 2^64 - 2 (EIP-2681).
    """
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    encoded = number if 0 < nonce < 0x80 else bytes([0x80 + len(number)]) + number
    return Address(keccak256(bytes([0xC0 + 21 + len(encoded), 0x94]) + creator + encoded)[12:])


# --- code ---------------------------------------------------------------------------------------------------


def domain_of(name: str, chain_id: int, contracts: Contracts) -> Domain:
    """Return the EIP-712 domain of a contract."""
    make = {REGISTRY: registry_domain, LICENSE: license_domain, LEDGER: ledger_domain}[_known(name)]
    return make(chain_id, contracts.address(name))


def immutable_values(name: str, chain_id: int, contracts: Contracts) -> Mapping[str, bytes]:
    """Return what a constructor wrote into a contract's code: 32 bytes for each immutable variable's name.

    The names are those of the Solidity sources: the contracts' own, and those of OpenZeppelin's EIP712.
    """
    domain = domain_of(name, chain_id, contracts)
    values: dict[str, bytes] = {
        "_cachedDomainSeparator": domain.separator(),
        "_cachedChainId": chain_id.to_bytes(_WORD, "big"),
        "_cachedThis": _padded(domain.verifying_contract),
        "_hashedName": keccak256(domain.name.encode()),
        "_hashedVersion": keccak256(VERSION.encode()),
        "_name": _short(domain.name),
        "_version": _short(VERSION),
    }
    pointers: dict[str, dict[str, Address]] = {
        REGISTRY: {},
        LICENSE: {"registry": contracts.registry, "ledger": contracts.ledger},
        LEDGER: {"license": contracts.license},
    }
    return values | {variable: _padded(address) for variable, address in pointers[name].items()}


def deployed_code(name: str, chain_id: int, contracts: Contracts) -> bytes:
    """Return the whole code that stands at a contract's address, its immutable values filled in.

    Errors: UsageError when the artefact has an immutable variable whose value nothing here tells.
    """
    artifact = abi.load(name)
    values = immutable_values(name, chain_id, contracts)
    code = bytearray(artifact.deployed_bytecode)
    for variable, places in artifact.immutable_references.items():
        if variable not in values:
            raise UsageError(f"nothing tells what {variable} of {name} is")
        for place in places:
            code[place["start"] : place["start"] + place["length"]] = values[variable]
    return bytes(code)


def _padded(address: Address) -> bytes:
    return bytes(12) + address


def _short(text: str) -> bytes:
    """Return a text as OpenZeppelin's ShortString: at most 31 bytes, the last byte is the length."""
    data = text.encode()
    return data.ljust(_WORD - 1, b"\0") + bytes([len(data)])


def _known(name: str) -> str:
    if name not in _ENDS:
        raise UsageError(f"there is no contract {name}")
    return name


# --- record -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """How a contract came to its place; None where the chain's node could not tell.

    The ledger's transaction is the licence's.
    """

    transaction: Digest32 | None
    block: int | None
    block_hash: Digest32 | None
    code_hash: Digest32
    """Keccak-256 of the code that stands there."""


@dataclass(frozen=True, slots=True)
class Details:
    """What lets a deployment be checked at any later date."""

    deployer: Address
    salts: Mapping[str, Digest32]
    contracts: Mapping[str, Placed]
    compiler: Mapping[str, JsonValue]
    """Compiler, optimiser, rules and library of the artefacts."""


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """One deployment: a chain, three addresses, the first block that may hold an event of theirs.

    `details` are None in records that versions before CREATE2 wrote.
    """

    chain_id: int
    contracts: Contracts
    block: int
    details: Details | None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record as its file has it."""
        addresses: dict[str, JsonValue] = {_ENDS[name]: address_text(each) for name, each in self.contracts.items()}
        value: dict[str, JsonValue] = {"chainId": self.chain_id, **addresses, "block": self.block}
        if self.details is None:
            return value
        return value | {
            "deployer": address_text(self.details.deployer),
            "salts": {_ENDS[name]: digest_text(salt) for name, salt in self.details.salts.items()},
            "contracts": {_ENDS[name]: _placed_json(each) for name, each in self.details.contracts.items()},
            "compiler": dict(self.details.compiler),
        }

    @classmethod
    def parse(cls, data: bytes) -> "DeploymentRecord":
        """Return the record in a file of at most 16 KiB.

        Errors: MalformedError.
        """
        found = canonical.parse(data, max_bytes=MAX_BYTES)
        plain = isinstance(found, Mapping) and not _DETAILS & found.keys()
        fields = object_of(found, fields=_FIELDS if plain else _FIELDS | _DETAILS)
        return cls(
            chain_id=integer_of(fields["chainId"], low=1),
            contracts=Contracts(*(parse_address(fields[_ENDS[name]]) for name in (REGISTRY, LICENSE, LEDGER))),
            block=integer_of(fields["block"]),
            details=None if plain else _details(fields),
        )


def _details(fields: Mapping[str, JsonValue]) -> Details:
    salts = object_of(fields["salts"], fields=frozenset(_ENDS[name] for name in SALTS))
    placed = object_of(fields["contracts"], fields=frozenset(_ENDS.values()))
    compiler = fields["compiler"]
    if not isinstance(compiler, Mapping):
        raise MalformedError("the compiler is described by an object", code="canonical-form")
    return Details(
        deployer=parse_address(fields["deployer"]),
        salts={name: parse_digest(salts[_ENDS[name]]) for name in SALTS},
        contracts={name: _placed(placed[end]) for name, end in _ENDS.items()},
        compiler=compiler,
    )


def _placed(value: JsonValue) -> Placed:
    found = object_of(value, fields=_PLACED)
    return Placed(
        transaction=None if found["transaction"] is None else parse_digest(found["transaction"]),
        block=None if found["block"] is None else integer_of(found["block"]),
        block_hash=None if found["blockHash"] is None else parse_digest(found["blockHash"]),
        code_hash=parse_digest(found["codeHash"]),
    )


def _placed_json(placed: Placed) -> dict[str, JsonValue]:
    return {
        "transaction": None if placed.transaction is None else digest_text(placed.transaction),
        "block": placed.block,
        "blockHash": None if placed.block_hash is None else digest_text(placed.block_hash),
        "codeHash": digest_text(placed.code_hash),
    }
