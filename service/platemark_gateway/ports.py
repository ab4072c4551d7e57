"""What slices may ask of the world: chain, transactions, keys, blocks, witnesses.

Adapters in `chain/`, `vault/`, `blobs/` and `witnesses` implement these protocols; slices see only this module. Every
call that leaves the process has a deadline and raises `UnavailableError` (code `rpc-unreachable`,
`ipfs-unreachable` …) when it passes.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.checkpoint import NoteKey, NoteSignature
from platemark.protocol.cid import Cid
from platemark.protocol.jws import Signer
from platemark.protocol.typed_data import Domain, ledger_domain, license_domain, registry_domain
from platemark.protocol.units import Address, DesignId, Digest32, LicenseId, TokenId, UnixSeconds, Wei
from platemark.protocol.witness import AddCheckpoint

CHAIN_DISPUTED: Final = "chain-disputed"
CHAIN_REWRITTEN: Final = "chain-rewritten"
RELAY_GAS: Final = 1_000_000
"""The gas that a relayed call may need; one that does the work of several may need more."""


class Contract(StrEnum):
    """The three contracts, by the names of their ABIs."""

    REGISTRY = "DesignRegistry"
    LICENSE = "PrintLicense"
    LEDGER = "PrintLedger"


class FactStatus(StrEnum):
    """How firmly a fact of the chain stands; what permits waits for FINAL, what forbids counts when SEEN."""

    PENDING = "pending"  # asked for, in no block yet
    SEEN = "seen"
    CONFIRMED = "confirmed"
    FINAL = "final"
    FAILED = "failed"  # will not happen


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the three contracts stand: one chain, three addresses, the first block that may hold an event."""

    chain_id: int
    registry: Address
    license: Address
    ledger: Address
    block: int

    def address(self, contract: Contract) -> Address:
        """Return a contract's address."""
        match contract:
            case Contract.REGISTRY:
                return self.registry
            case Contract.LICENSE:
                return self.license
            case Contract.LEDGER:
                return self.ledger

    def registry_domain(self) -> Domain:
        """Return the EIP-712 domain of Registration, Publication, Recall and Deposit."""
        return registry_domain(self.chain_id, self.registry)

    def license_domain(self) -> Domain:
        """Return the EIP-712 domain of Terms, Acceptance, Offer and Mint."""
        return license_domain(self.chain_id, self.license)

    def ledger_domain(self) -> Domain:
        """Return the EIP-712 domain of everything about print tokens."""
        return ledger_domain(self.chain_id, self.ledger)


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block: number, 32-byte hash, timestamp."""

    number: int
    hash: Digest32
    timestamp: UnixSeconds


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """One decoded event, as projections receive it.

    `args` has the ABI's names; integers are int, bytes32 are 32 bytes, addresses are 20 bytes, nested structs
    are mappings.
    """

    contract: Contract
    name: str
    args: Mapping[str, Any]
    block: BlockRef
    transaction_hash: Digest32
    log_index: int


@dataclass(frozen=True, slots=True)
class ChainProgress:
    """How far the index has come: facts up to `indexed` are projected, up to `final.number` they are final.

    `final.number` never exceeds `indexed.number`, so a row with seen_block <= final.number is a final fact.
    `dispute` is the code of what keeps facts from becoming final: the endpoints disagree (`chain-disputed`), or what
    was final is so no more (`chain-rewritten`), and then nothing is.
    """

    head: BlockRef
    indexed: BlockRef
    final: BlockRef
    confirmed: int
    dispute: str | None = None

    def status(self, seen_block: int | None) -> FactStatus:
        """Return how firmly a fact stands that was seen in a block (None: in none yet)."""
        if seen_block is None:
            return FactStatus.PENDING
        if seen_block <= self.final.number and self.dispute != CHAIN_REWRITTEN:
            return FactStatus.FINAL
        if seen_block <= self.confirmed:
            return FactStatus.CONFIRMED
        return FactStatus.SEEN


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """How one of the chain's nodes does, under a name that holds no secret.

    `state`: ok; trusted (well, and the only one); away; contradicts; or the code of why its chain or contracts are not
    the right ones. `contradictions` counts what it said against proof or agreement.
    """

    name: str
    state: str
    contradictions: int


@dataclass(frozen=True, slots=True)
class DesignState:
    """A design in the registry's storage."""

    registrant: Address
    owner: Address
    latest_revision: int
    is_private: bool
    edition: int


@dataclass(frozen=True, slots=True)
class LicenseState:
    """A licence in PrintLicense's storage."""

    design_id: DesignId
    gateway: Address
    revision: int
    cap: int
    minted: int
    price: Wei
    not_before: UnixSeconds
    not_after: UnixSeconds
    spares_flat: int
    spares_per_hundred: int
    smallest_reservation: int
    transferable: bool
    payout: int
    on_sale: bool


@dataclass(frozen=True, slots=True)
class ReservationState:
    """A reservation's slot in PrintLedger's storage; `closed` means its units went back."""

    agent: Address
    expires_at: UnixSeconds
    prints: int
    burned: int
    voided: int
    spares: int
    closed: bool


@dataclass(frozen=True, slots=True)
class GatewayState:
    """A gateway in PrintLedger's storage: the digest of its profile, its log's epoch and anchored size."""

    profile_digest: Digest32
    epoch: int
    size: int


class ChainReader(Protocol):
    """Reads the chain's state. `block` None is the latest; a number reads the state after that block."""

    @property
    def deployment(self) -> Deployment:
        """The contracts this gateway serves."""
        ...

    async def head(self) -> BlockRef:
        """Return the latest block."""
        ...

    async def final_block(self) -> BlockRef:
        """Return the latest final block."""
        ...

    def endpoints(self) -> Sequence[EndpointHealth]:
        """Return how each of the chain's nodes does."""
        ...

    async def block_at(self, number: int) -> BlockRef | None:
        """Return a block of the present chain, or None above its head."""
        ...

    async def design(self, design_id: DesignId, *, block: int | None = None) -> DesignState | None:
        """Return a design, or None when it is not registered."""
        ...

    async def is_printable(self, design_id: DesignId, revision: int, *, block: int | None = None) -> bool:
        """Return whether a revision was published and not recalled."""
        ...

    async def license(self, license_id: LicenseId, *, block: int | None = None) -> LicenseState | None:
        """Return a licence, or None when it was never offered."""
        ...

    async def balance(self, license_id: LicenseId, holder: Address, *, block: int | None = None) -> int:
        """Return how many prints of a licence an account holds."""
        ...

    async def reservation(
        self, gateway: Address, license_id: LicenseId, token_id: TokenId, *, block: int | None = None
    ) -> ReservationState | None:
        """Return a reservation, or None when the ledger does not know it."""
        ...

    async def gateway(self, gateway: Address, *, block: int | None = None) -> GatewayState:
        """Return what a gateway declared; all zero when it declared nothing."""
        ...

    async def is_operator(self, gateway: Address, who: Address, *, block: int | None = None) -> bool:
        """Return whether an account may act for a gateway."""
        ...

    async def anchor(self, gateway: Address, epoch: int, size: int, *, block: int | None = None) -> Digest32 | None:
        """Return SHA-256(root, tilesDigest) anchored at a size, or None."""
        ...

    async def statement(self, signer: Address, nonce: int, *, block: int | None = None) -> Digest32 | None:
        """Return the digest that PrintLicense took under a signer's number (1 for a cancelled one), or None."""
        ...

    async def owed(self, payee: Address, currency: Address, *, block: int | None = None) -> Wei:
        """Return what PrintLicense owes an account, in a currency's smallest unit."""
        ...

    async def try_call(
        self, contract: Contract, function: str, arguments: Sequence[Any], *, most_gas: int = RELAY_GAS
    ) -> None:
        """Pass when a call would succeed on the latest state with at most so much gas; nothing is sent.

        Errors: an error of kind CONFLICT with the contract's code, or `gas-excessive`; UnavailableError
            `rpc-unreachable`.
        """
        ...

    async def is_signed_by(self, account: Address, digest: Digest32, signature: bytes) -> bool:
        """Return whether an account signed a digest: ECDSA first, then ERC-1271 where it has code."""
        ...


class ChainIndex(Protocol):
    """What the indexer has stored."""

    async def progress(self, session: AsyncSession) -> ChainProgress | None:
        """Return how far the index has come; None before its first block."""
        ...

    def told_by(self, row: Any) -> ChainProgress:
        """Return the progress that a row of its table tells, or one of a statement that has its columns."""
        ...


class ContractCalls(Protocol):
    """Encodes calls of the three contracts, so that slices need no ABI library."""

    def encode(self, contract: Contract, function: str, arguments: Sequence[Any]) -> bytes:
        """Return calldata. Structs are given as `Struct.arguments()`, addresses as 20 bytes or EIP-55 text."""
        ...


@dataclass(frozen=True, slots=True)
class TransactionView:
    """What a client sees of a queued transaction."""

    id: uuid.UUID
    purpose: str
    status: str  # queued, sent, seen, confirmed, final, failed
    hash: Digest32 | None
    reason: str | None
    block: int | None = None
    """In which it was seen."""
    waiting_for: str | None = None
    """While it is queued: `spending-cap`, `fee-limit` or `funds`, if one of these keeps the queue waiting."""


class TransactionQueue(Protocol):
    """The outbox: a row in the caller's transaction now, a sent transaction later."""

    async def enqueue(
        self,
        session: AsyncSession,
        *,
        purpose: str,
        to: Address,
        data: bytes,
        value: int = 0,
        dedupe_key: str,
    ) -> uuid.UUID:
        """Put a transaction into the outbox, for the account that sends now, and return its id.

        A `dedupe_key` that is already there and has not failed returns the earlier row's id.
        """
        ...

    async def find(self, session: AsyncSession, dedupe_key: str) -> TransactionView | None:
        """Return the state of what was queued last under a key, or None when nothing was."""
        ...

    async def view(self, session: AsyncSession, transaction_id: uuid.UUID) -> TransactionView | None:
        """Return a transaction's state, or None when there is none."""
        ...


class KeyKind(StrEnum):
    """Keys that a gateway may have several of, one after the other; its declared profile says which are in force."""

    RELEASE = "release"
    LOG = "log"
    DEPOSIT = "deposit"


class KeyVault(Protocol):
    """Holds the gateway's keys and uses them: it signs, opens and wraps, and no method gives a private key away.

    What serves may so be a file or a module of hardware. Exporting a key is no part of it. Calls do not leave the
    machine; a key that is asked for and not known may have been added by another process, and is looked for.
    """

    @property
    def account(self) -> Address:
        """The gateway's account."""
        ...

    def public_keys(self, kind: KeyKind) -> tuple[bytes, ...]:
        """Return the public keys of a kind, oldest first: Ed25519, 32 bytes; HPKE for deposits, 1,216 bytes."""
        ...

    def holds(self, kind: KeyKind, public_key: bytes) -> bool:
        """Return whether a key of that kind is in the vault, perhaps since another process added it."""
        ...

    def release_signer(self, key_id: str) -> Signer:
        """Return what signs tokens, releases, promises and receipts with the release key of that id.

        Errors: VaultError `vault-key-missing`.
        """
        ...

    def sign_digest(self, digest: Digest32) -> bytes:
        """Return the account's signature of a digest, 65 bytes."""
        ...

    def holds_sender(self, sender: Address) -> bool:
        """Return whether the key of an account that sends transactions is in the vault; the gateway's own always is."""
        ...

    def sign_as(self, sender: Address, digest: Digest32) -> bytes:
        """Return the signature of a digest by an account that sends transactions, 65 bytes.

        Errors: VaultError `vault-key-missing`.
        """
        ...

    def sign_log(self, public_key: bytes, message: bytes) -> bytes:
        """Return the Ed25519 signature of a message by the log key with that public half, 64 bytes.

        Errors: VaultError `vault-key-missing`.
        """
        ...

    def open_deposit(self, info: bytes, sealed: bytes) -> bytes:
        """Return what was sealed to any of the deposit keys under `info`.

        Errors: MalformedError or VerificationError `sealed-key` when it was sealed for somebody or something else.
        """
        ...

    def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        """Return `plaintext` encrypted under the wrapping key, bound to `aad`; 96 bytes grow to 125."""
        ...

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return what `wrap` was given.

        Errors: VaultError `vault-unwrap` for any other row, key or associated data.
        """
        ...

    def mac(self, purpose: str, data: bytes) -> bytes:
        """Return a keyed hash of secrets that are only ever compared (API keys, sessions), 32 bytes."""
        ...


class Witness(Protocol):
    """Somebody who cosigns the log's checkpoints, each of which continues the one before; it is never believed."""

    @property
    def key(self) -> NoteKey:
        """The key of type 4 with which it cosigns."""
        ...

    async def add_checkpoint(self, request: AddCheckpoint) -> NoteSignature:
        """Return its cosignature of the request's checkpoint, after it was checked.

        Errors: WitnessConflictError when it cosigned another size last; UpstreamError `witness-refused`,
            `witness-unknown-log`, `witness-inconsistent`; UnavailableError `witness-unreachable`; MalformedError or
            VerificationError for an answer that is no cosignature of its key.
        """
        ...


class BlockNode(Protocol):
    """One place that keeps raw IPFS blocks (at most 2 MiB); it is never believed: every block is checked."""

    @property
    def name(self) -> str:
        """How logs, metrics and health call it: `primary` or `replica`."""
        ...

    async def identity(self) -> str:
        """Return what tells this node from one that takes its place; asking it shows that the node answers.

        Errors: UnavailableError `ipfs-unreachable`.
        """
        ...

    async def put(self, cid: Cid, data: bytes) -> None:
        """Store a block durably; repeating is harmless.

        Errors: VerificationError `block-mismatch` when `data` is not what `cid` names; UnavailableError
            `ipfs-unreachable`, `blocks-unwritable`.
        """
        ...

    async def get(self, cid: Cid) -> bytes:
        """Return a block's bytes, which the node itself has: nothing is fetched from elsewhere.

        Errors: NotFoundError `block-not-found`; UpstreamError or GatewayError `block-damaged` for other bytes;
            UnavailableError.
        """
        ...

    async def pin(self, root: Cid) -> None:
        """Keep everything below `root` from being collected; a folder keeps everything anyway.

        Errors: NotFoundError `block-not-found` when the node lacks a block below it; UnavailableError.
        """
        ...

    async def is_pinned(self, root: Cid) -> bool:
        """Return whether everything below `root` is kept from being collected."""
        ...

    async def replace(self, root: Cid, cid: Cid, data: bytes) -> None:
        """Store a block below `root` in the place of a damaged one; `root` may have lost its pin afterwards.

        Errors: those of `put`; GatewayError `block-damaged` when the node keeps the damaged one.
        """
        ...


class BlockStore(Protocol):
    """What is written goes to a primary node and its replica; what is read comes from whichever has it."""

    @property
    def nodes(self) -> Sequence[BlockNode]:
        """The primary node, and the replica if there is one."""
        ...

    @property
    def has_replica(self) -> bool:
        """Whether there is a second node."""
        ...

    async def put(self, cid: Cid, data: bytes) -> None:
        """Store a block durably on the primary, and on the replica if it can; repeating is harmless.

        Errors: as a node's; what the replica lacks is copied by the worker.
        """
        ...

    async def get(self, cid: Cid) -> bytes:
        """Return a block's bytes, from the first node that has them.

        Errors: NotFoundError `block-not-found` when every node says so; `block-damaged`; UnavailableError.
        """
        ...

    async def pin(self, root: Cid) -> None:
        """Keep everything below `root` on the primary, and on the replica if it can.

        Errors: UnavailableError, also when the primary lost a block since it was stored.
        """
        ...

    async def states(self) -> Mapping[str, str]:
        """Return each node's state by its name: `ok`, or the code of what keeps it from serving."""
        ...
