"""What an auditor read from the chain, as values; the checks compare these with documents and log entries.

Everything here is a statement of the chain. Who vouches for the chain (an RPC endpoint, two that agree, a block hash)
is the report's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from platemark.protocol.typed_data import (
    Domain,
    Registration,
    Reservation,
    Terms,
    ledger_domain,
    license_domain,
    registry_domain,
)
from platemark.protocol.units import Address, DesignId, Digest32, LicenseId, TokenId, UnixSeconds


@dataclass(frozen=True, slots=True)
class Contracts:
    """The chain and the three contracts that an audit speaks of."""

    chain_id: int
    registry: Address
    print_license: Address
    ledger: Address

    @property
    def registry_domain(self) -> Domain:
        """Return the EIP-712 domain of registrations."""
        return registry_domain(self.chain_id, self.registry)

    @property
    def license_domain(self) -> Domain:
        """Return the EIP-712 domain of terms."""
        return license_domain(self.chain_id, self.print_license)

    @property
    def ledger_domain(self) -> Domain:
        """Return the EIP-712 domain of permissions and vouchers."""
        return ledger_domain(self.chain_id, self.ledger)


@dataclass(frozen=True, slots=True)
class BlockFact:
    """A block: number, hash (32 bytes) and timestamp."""

    number: int
    hash: Digest32
    timestamp: UnixSeconds


@dataclass(frozen=True, slots=True)
class RevisionFact:
    """One revision of a design: what was committed, whether it was revealed or recalled, and in which block."""

    revision: int
    commitment: Digest32
    manifest_digest: Digest32
    block: BlockFact
    files_root: Digest32 | None = None
    salt: Digest32 | None = None
    recalled: BlockFact | None = None
    recall_reason: Digest32 | None = None
    """The SHA-256 of the owner's reason, as the recall has it; whether anybody has that text is another matter."""


@dataclass(frozen=True, slots=True)
class DesignFact:
    """A registered design with all its revisions; `edition` is the present limit in storage, 0 is open."""

    design_id: DesignId
    registration: Registration
    owner: Address
    revisions: Mapping[int, RevisionFact]
    edition: int


@dataclass(frozen=True, slots=True)
class MoveFact:
    """A licence came to another gateway, in this block."""

    gateway: Address
    block: BlockFact


@dataclass(frozen=True, slots=True)
class LicenseFact:
    """An offered licence: its terms, what gateways accepted for it, and what became of its prints and its money.

    `accepted` are the keys that gateways accepted, by revision; `moves` are in the order of the chain. Prints:
    `minted`, `sold` and `returned` are sums of events; `balances` are what accounts hold in storage, all but the
    ledger, and `escrowed` what the ledger does. Money, in the currency's smallest unit, from events: `paid` by buyers,
    `credited` to payees, `refunded` to holders.
    """

    license_id: LicenseId
    terms: Terms
    accepted: Mapping[int, tuple[Digest32, ...]]
    minted: int
    sold: int
    minted_in_storage: int
    block: BlockFact
    returned: int = 0
    balances: Mapping[Address, int] = field(default_factory=dict)
    escrowed: int = 0
    moves: tuple[MoveFact, ...] = ()
    paid: int = 0
    credited: int = 0
    refunded: int = 0

    @property
    def held(self) -> int:
        """Return how many prints accounts hold that nobody reserved."""
        return sum(self.balances.values())

    @property
    def gateway(self) -> Address:
        """Return the gateway that serves the licence now."""
        return self.moves[-1].gateway if self.moves else self.terms.gateway

    def served_by(self, gateway: Address) -> bool:
        """Return whether a gateway serves the licence, or served it once."""
        return gateway in self._gateways()

    def served_in(self, block: int) -> tuple[Address, ...]:
        """Return who served the licence in a block: two, or more, where it moved in that very block."""
        before = [self.terms.gateway, *(move.gateway for move in self.moves if move.block.number < block)]
        return before[-1], *(move.gateway for move in self.moves if move.block.number == block)

    def _gateways(self) -> tuple[Address, ...]:
        return self.terms.gateway, *(move.gateway for move in self.moves)


@dataclass(frozen=True, slots=True)
class ReservationFact:
    """A reservation: the permission, its counts in storage, how it was closed, and how many prints went back.

    `spares` and what ends in `_in_storage`, `burned` and `voided` are storage's; the rest is from events.
    """

    token_id: TokenId
    permission: Reservation
    spares: int
    block: BlockFact
    agent_in_storage: Address
    prints_in_storage: int
    burned: int
    voided: int
    settled_sequence: int
    closed: tuple[int, int] | None = None
    returned: int | None = None


@dataclass(frozen=True, slots=True)
class AnchorFact:
    """A root of a gateway's log on chain: SHA-256(root ‖ tiles digest) as storage holds it; block and transaction."""

    epoch: int
    size: int
    root: Digest32
    tiles_digest: Digest32
    stored: Digest32
    block: BlockFact
    transaction: Digest32


@dataclass(frozen=True, slots=True)
class DeclarationFact:
    """A gateway's declaration of its profile (public keys and address) for an epoch of its log; zero withdraws it."""

    epoch: int
    profile_digest: Digest32
    block: BlockFact


@dataclass(frozen=True, slots=True)
class GatewayFact:
    """One gateway's declarations and anchors, in the order of the chain."""

    gateway: Address
    declarations: tuple[DeclarationFact, ...]
    anchors: tuple[AnchorFact, ...]


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """Everything that one audit read from the chain, up to `final`."""

    contracts: Contracts
    final: BlockFact
    designs: Mapping[DesignId, DesignFact] = field(default_factory=dict)
    licenses: Mapping[LicenseId, LicenseFact] = field(default_factory=dict)
    reservations: Mapping[TokenId, ReservationFact] = field(default_factory=dict)
    gateways: Mapping[Address, GatewayFact] = field(default_factory=dict)
