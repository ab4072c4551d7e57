"""A chain in memory: executes the calls in the gateway's real outbox by the contracts' rules and feeds its projections.

A readable model of the contracts, for tests of the gateway; the contracts themselves are tested elsewhere. Calls
that break a rule fail as a reverting transaction does. Blocks can be left unfinal, and taken back.
"""

import hashlib
import pickle
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import MalformedError
from platemark.protocol import digests
from platemark.protocol.accounts import recover
from platemark.protocol.typed_data import (
    Acceptance,
    Close,
    Declaration,
    EditionLimit,
    Grant,
    Mint,
    MintBatch,
    Move,
    Offer,
    Publication,
    Recall,
    Redemption,
    Registration,
    Reservation,
    Return,
    Sale,
    Struct,
    Terms,
    Withdrawal,
)
from platemark.protocol.units import (
    ZERO_ADDRESS,
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    parse_address,
)
from platemark_gateway.chain.errors import Revert, RevertedError, code_of
from platemark_gateway.chain.indexer import Projection
from platemark_gateway.db.session import Database
from platemark_gateway.errors import ConflictError, UnavailableError
from platemark_gateway.models.chain import ChainBlock, ChainProgress, OutboxTransaction
from platemark_gateway.ports import (
    RELAY_GAS,
    BlockRef,
    ChainEvent,
    Contract,
    Deployment,
    DesignState,
    EndpointHealth,
    GatewayState,
    LicenseState,
    ReservationState,
)
from simulators.clock import ManualClock

_S = TypeVar("_S", bound=Struct)

DEPLOYMENT = Deployment(
    chain_id=31_337,
    registry=Address(b"\x11" * 20),
    license=Address(b"\x22" * 20),
    ledger=Address(b"\x33" * 20),
    block=1,
)


def _no_counts() -> tuple[int, int, int]:
    """Return the sequence, burned and voided prints of a token that nobody settled."""
    return (0, 0, 0)


class Reverted(Exception):  # noqa: N818 (what a contract does)
    """A contract refuses."""


def encode_call(contract: Contract, function: str, arguments: Sequence[Any]) -> bytes:
    """Return a call as bytes that this chain understands."""
    return pickle.dumps((contract.value, function, list(arguments)))


class SimulatedCalls:
    """Implements `ContractCalls` for the simulated chain."""

    def encode(self, contract: Contract, function: str, arguments: Sequence[Any]) -> bytes:
        """Return a call as bytes."""
        return encode_call(contract, function, arguments)


@dataclass
class _Revision:
    commitment: Digest32
    manifest_digest: Digest32
    revealed: bool = False
    recalled: bool = False


@dataclass
class _Design:
    registration: Registration
    owner: Address
    revisions: dict[int, _Revision]
    edition: int


@dataclass
class _License:
    terms: Terms
    gateway: Address
    revision: int
    on_sale: bool
    minted: int = 0


@dataclass
class _State:
    designs: dict[int, _Design] = field(default_factory=dict)
    licenses: dict[int, _License] = field(default_factory=dict)
    balances: dict[tuple[int, Address], int] = field(default_factory=lambda: defaultdict(int))
    statements: dict[tuple[Address, int], Digest32] = field(default_factory=dict)
    owed: dict[tuple[Address, Address], int] = field(default_factory=lambda: defaultdict(int))
    reservations: dict[int, tuple[Reservation, int]] = field(default_factory=dict)
    counts: dict[int, tuple[int, int, int]] = field(default_factory=lambda: defaultdict(_no_counts))
    closed: set[int] = field(default_factory=set)
    anchors: dict[tuple[Address, int, int], Digest32] = field(default_factory=dict)
    gateways: dict[Address, GatewayState] = field(default_factory=dict)


class SimulatedChain:
    """Implements `ChainReader`, and mines: `await chain.mine()` executes what the outbox holds."""

    def __init__(self, database: Database, clock: ManualClock, projections: Sequence[Projection]) -> None:
        self._database = database
        self._clock = clock
        self._projections = projections
        self._state = _State()
        self._snapshots: dict[int, bytes] = {}
        self._mined: dict[int, list[Any]] = defaultdict(list)
        self.is_away = False
        self.health = [EndpointHealth("simulated", "trusted", 0)]
        """How the nodes of this chain are said to do."""
        self.gas = 0
        """What every call is said to need."""
        self.before_mining: list[Callable[[], Awaitable[object]]] = []
        """What a worker would do before the outbox is sent."""
        self.contract_wallets: dict[Address, Callable[[Digest32, bytes], bool]] = {}
        self.blocks: list[BlockRef] = [BlockRef(0, Digest32(hashlib.sha256(b"genesis").digest()), clock.now())]
        self.final_number = 0
        self.fork = 0

    # --- ChainReader ------------------------------------------------------------------------------------

    @property
    def deployment(self) -> Deployment:
        """The simulated contracts."""
        return DEPLOYMENT

    async def head(self) -> BlockRef:
        """Return the latest block."""
        self._require_here()
        return self.blocks[-1]

    async def final_block(self) -> BlockRef:
        """Return the latest final block."""
        self._require_here()
        return self.blocks[self.final_number]

    def endpoints(self) -> Sequence[EndpointHealth]:
        """Return how the nodes are said to do."""
        return self.health

    async def block_at(self, number: int) -> BlockRef | None:
        """Return a block."""
        self._require_here()
        return self.blocks[number] if 0 <= number < len(self.blocks) else None

    async def design(self, design_id: DesignId, *, block: int | None = None) -> DesignState | None:
        """Return a design."""
        found = self._at(block).designs.get(design_id)
        if found is None:
            return None
        registration = found.registration
        latest = max(found.revisions)
        return DesignState(registration.registrant, found.owner, latest, registration.is_private, found.edition)

    async def is_printable(self, design_id: DesignId, revision: int, *, block: int | None = None) -> bool:
        """Return whether a revision is there and not recalled."""
        found = self._at(block).designs.get(design_id)
        return found is not None and revision in found.revisions and not found.revisions[revision].recalled

    async def license(self, license_id: LicenseId, *, block: int | None = None) -> LicenseState | None:
        """Return a licence."""
        found = self._at(block).licenses.get(license_id)
        if found is None:
            return None
        terms = found.terms
        return LicenseState(
            design_id=terms.design_id,
            gateway=found.gateway,
            revision=found.revision,
            cap=terms.cap,
            minted=found.minted,
            price=terms.price,
            not_before=terms.not_before,
            not_after=terms.not_after,
            spares_flat=terms.spares_flat,
            spares_per_hundred=terms.spares_per_hundred,
            smallest_reservation=terms.smallest_reservation,
            transferable=terms.transferable,
            payout=terms.payout,
            on_sale=found.on_sale,
        )

    async def balance(self, license_id: LicenseId, holder: Address, *, block: int | None = None) -> int:
        """Return an account's prints."""
        return self._at(block).balances[license_id, holder]

    async def reservation(
        self, gateway: Address, license_id: LicenseId, token_id: TokenId, *, block: int | None = None
    ) -> ReservationState | None:
        """Return a reservation."""
        found = self._at(block).reservations.get(token_id)
        if found is None or (found[0].gateway, found[0].license_id) != (gateway, license_id):
            return None
        permission, spares = found
        _, burned, voided = self._at(block).counts[token_id]
        closed = token_id in self._at(block).closed
        expires_at = UnixSeconds(0) if closed else permission.expires_at
        return ReservationState(permission.agent, expires_at, permission.prints, burned, voided, spares, closed=closed)

    async def gateway(self, gateway: Address, *, block: int | None = None) -> GatewayState:
        """Return what a gateway declared."""
        return self._at(block).gateways.get(gateway, GatewayState(Digest32(bytes(32)), 0, 0))

    async def is_operator(self, gateway: Address, who: Address, *, block: int | None = None) -> bool:
        """Return whether an account acts for a gateway; here only the gateway itself."""
        self._require_here()
        return gateway == who

    async def anchor(self, gateway: Address, epoch: int, size: int, *, block: int | None = None) -> Digest32 | None:
        """Return what was anchored."""
        return self._at(block).anchors.get((gateway, epoch, size))

    async def statement(self, signer: Address, nonce: int, *, block: int | None = None) -> Digest32 | None:
        """Return what a signer's number was used for."""
        return self._at(block).statements.get((signer, nonce))

    async def owed(self, payee: Address, currency: Address, *, block: int | None = None) -> Wei:
        """Return what an account may withdraw."""
        return Wei(self._at(block).owed[payee, currency])

    async def try_call(
        self, contract: Contract, function: str, arguments: Sequence[Any], *, most_gas: int = RELAY_GAS
    ) -> None:
        """Execute a call and forget what it did."""
        self._require_here()
        if self.gas > most_gas:
            raise ConflictError("too much gas", code="gas-excessive", expected=most_gas)
        kept = pickle.dumps(self._state)
        data = encode_call(contract, function, arguments)
        head = self.blocks[-1]
        now = BlockRef(head.number + 1, head.hash, UnixSeconds(max(self._clock.now(), head.timestamp + 1)))
        try:
            self._execute(data, DEPLOYMENT.address(contract), now)
        except Reverted as error:
            raise RevertedError(Revert(str(error), {}, code_of(str(error)))) from error
        finally:
            self._restore(kept)

    async def is_signed_by(self, account: Address, digest: Digest32, signature: bytes) -> bool:
        """Return whether an account signed: by its key, or as a contract wallet says."""
        self._require_here()
        wallet = self.contract_wallets.get(account)
        return _recovers(account, digest, signature) or (wallet is not None and wallet(digest, signature))

    # --- mining -----------------------------------------------------------------------------------------

    async def mine(self, *, final: bool = True) -> list[ChainEvent]:
        """Make a block of everything that is queued, index it, and return its events."""
        for step in self.before_mining:
            await step()
        number = len(self.blocks)
        self._snapshots[number - 1] = pickle.dumps(self._state)
        seed = f"{number}/{self.fork}".encode()
        timestamp = UnixSeconds(max(self._clock.now(), self.blocks[-1].timestamp + 1))
        block = BlockRef(number, Digest32(hashlib.sha256(seed).digest()), timestamp)
        events: list[ChainEvent] = []
        async with self._database.begin() as session:
            rows = await session.scalars(
                select(OutboxTransaction)
                .where(OutboxTransaction.status == "queued")
                .order_by(OutboxTransaction.position)
            )
            for row in rows.all():
                row.nonce = row.position
                before = pickle.dumps(self._state)
                try:
                    made = self._execute(row.data, row.to, block)
                except Reverted as error:
                    self._restore(before)
                    row.status, row.reason, row.code = "failed", str(error), "reverted"
                    continue
                row.status = "final" if final else "seen"
                row.seen_block, row.seen_hash = block.number, block.hash
                self._mined[number].append(row.id)
                for contract, name, args in made:
                    hash_ = Digest32(hashlib.sha256(seed + row.id.bytes).digest())
                    events.append(ChainEvent(contract, name, args, block, hash_, len(events)))
            self.blocks.append(block)
            self._snapshots[number] = pickle.dumps(self._state)
            if final:
                self.final_number = number
            session.add(ChainBlock(number=number, hash=block.hash, timestamp=block.timestamp))
            await session.flush()
            await self.feed(session, events)
            await self._progress(session)
        return events

    async def finalise(self) -> None:
        """Let everything mined so far be final."""
        self.final_number = len(self.blocks) - 1
        async with self._database.begin() as session:
            await self._progress(session)

    async def feed(self, session: AsyncSession, events: Sequence[ChainEvent]) -> None:
        """Give events to the projections, as the indexer does."""
        for event in events:
            for projection in self._projections:
                handler = projection.handlers.get(event.name)
                if handler is not None:
                    await handler(session, event)

    async def reorganise(self, keep: int) -> None:
        """Take back every block above number `keep`; their transactions are queued again."""
        if keep < self.final_number:
            raise AssertionError("final blocks stay")
        self.fork += 1
        self._state = pickle.loads(self._snapshots[keep])  # noqa: S301 (our own bytes)
        gone = [identifier for number, mined in self._mined.items() if number > keep for identifier in mined]
        self._mined = defaultdict(list, {number: mined for number, mined in self._mined.items() if number <= keep})
        del self.blocks[keep + 1 :]
        async with self._database.begin() as session:
            for identifier in gone:
                row = await session.get(OutboxTransaction, identifier)
                if row is not None:
                    row.status, row.seen_block, row.seen_hash = "queued", None, None
            for projection in self._projections:
                await projection.rewind(session, keep)
            await session.execute(delete(ChainBlock).where(ChainBlock.number > keep))
            await self._progress(session)

    async def _progress(self, session: AsyncSession) -> None:
        head, final = self.blocks[-1], self.blocks[self.final_number]
        row = await session.get(ChainProgress, 1)
        if row is None:
            row = ChainProgress(id=1, chain_id=DEPLOYMENT.chain_id, ledger=DEPLOYMENT.ledger)
            session.add(row)
        row.head_number, row.head_hash, row.head_timestamp = head.number, head.hash, head.timestamp
        row.indexed_number, row.indexed_hash, row.indexed_timestamp = head.number, head.hash, head.timestamp
        row.final_number, row.final_hash, row.final_timestamp = final.number, final.hash, final.timestamp

    def _restore(self, kept: bytes) -> None:
        """Put the state back as it was, in the same object: tests hold on to it."""
        vars(self._state).update(vars(pickle.loads(kept)))  # noqa: S301 (our own bytes)

    def _at(self, block: int | None) -> _State:
        self._require_here()
        if block is None or block == len(self.blocks) - 1:
            return self._state
        return pickle.loads(self._snapshots[block])  # type: ignore[no-any-return]  # noqa: S301 (our own bytes)

    def _require_here(self) -> None:
        if self.is_away:
            raise UnavailableError("a chain endpoint cannot be reached", code="rpc-unreachable")

    # --- the contracts' rules ---------------------------------------------------------------------------

    def _execute(self, data: bytes, to: Address, block: BlockRef) -> list[tuple[Contract, str, dict[str, Any]]]:
        name, function, arguments = pickle.loads(data)  # noqa: S301 (our own bytes)
        contract = Contract(name)
        if DEPLOYMENT.address(contract) != to:
            raise Reverted("no such function")
        found = getattr(self, f"_do_{function}", None)
        if found is None:
            raise Reverted(f"no function {function}")
        return [(contract, event, args) for event, args in found(block, *arguments)]

    def _signed(self, account: Address, digest: Digest32, signature: bytes) -> None:
        wallet = self.contract_wallets.get(account)
        if not _recovers(account, digest, signature) and not (wallet and wallet(digest, signature)):
            raise Reverted("SignatureInvalid")

    def _do_registerBySig(  # noqa: N802 (the contract's name)
        self, _block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        registration = _struct(Registration, raw)
        digest = registration.digest(DEPLOYMENT.registry_domain())
        self._signed(registration.registrant, digest, signature)
        design_id = int.from_bytes(digest, "big")
        if design_id in self._state.designs:
            return []
        if registration.resale_share > 10_000 or registration.derivative_share > 5_000:
            raise Reverted("ShareAbove")
        line, parent = 0, registration.parent_id
        while parent:
            parent, line = self._design(parent).registration.parent_id, line + 1
        if line > 4:
            raise Reverted("ParentTooDeep")
        first = _Revision(registration.commitment, registration.manifest_digest)
        self._state.designs[design_id] = _Design(
            registration, registration.registrant, {1: first}, registration.edition
        )
        return [
            ("Transfer", {"from": ZERO_ADDRESS, "to": registration.registrant, "tokenId": design_id}),
            (
                "DesignRegistered",
                {
                    "designId": design_id,
                    "registrant": registration.registrant,
                    "commitment": registration.commitment,
                    "manifestDigest": registration.manifest_digest,
                    "isPrivate": registration.is_private,
                    "parentId": registration.parent_id,
                    "resaleShare": registration.resale_share,
                    "derivativeShare": registration.derivative_share,
                    "edition": registration.edition,
                },
            ),
        ]

    def _do_publishBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        publication = _struct(Publication, raw)
        design = self._design(publication.design_id)
        self._signed(design.owner, publication.digest(DEPLOYMENT.registry_domain()), signature)
        if publication.deadline < block.timestamp:
            raise Reverted("DeadlinePassed")
        if publication.revision != max(design.revisions) + 1:
            raise Reverted("RevisionNotNext")
        design.revisions[publication.revision] = _Revision(publication.commitment, publication.manifest_digest)
        return [
            (
                "RevisionPublished",
                {
                    "designId": publication.design_id,
                    "revision": publication.revision,
                    "commitment": publication.commitment,
                    "manifestDigest": publication.manifest_digest,
                },
            )
        ]

    def _do_reveal(
        self, block: BlockRef, raw: Sequence[Any], salt: bytes, files_root: Digest32
    ) -> list[tuple[str, dict[str, Any]]]:
        registration = _struct(Registration, raw)
        design_id = int.from_bytes(registration.digest(DEPLOYMENT.registry_domain()), "big")
        return self._do_revealRevision(block, design_id, 1, salt, files_root)

    def _do_revealRevision(  # noqa: N802 (the contract's name)
        self, _block: BlockRef, design_id: int, number: int, salt: bytes, files_root: Digest32
    ) -> list[tuple[str, dict[str, Any]]]:
        design = self._design(design_id)
        revision = design.revisions.get(number)
        if revision is None or design.registration.is_private:
            raise Reverted("RevisionUnknown")
        if digests.commitment(design.registration.registrant, salt, files_root) != revision.commitment:
            raise Reverted("CommitmentMismatch")
        if revision.revealed:
            return []
        revision.revealed = True
        return [
            (
                "ContentRevealed",
                {"designId": design_id, "revision": number, "filesRoot": files_root, "salt": salt},
            )
        ]

    def _do_recallBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        recall = _struct(Recall, raw)
        design = self._design(recall.design_id)
        self._signed(design.owner, recall.digest(DEPLOYMENT.registry_domain()), signature)
        if recall.deadline < block.timestamp:
            raise Reverted("DeadlinePassed")
        if recall.revision not in design.revisions:
            raise Reverted("RevisionUnknown")
        if design.revisions[recall.revision].recalled:
            return []
        design.revisions[recall.revision].recalled = True
        return [
            (
                "RevisionRecalled",
                {"designId": recall.design_id, "revision": recall.revision, "reasonDigest": recall.reason_digest},
            )
        ]

    def _do_offerBySig(  # noqa: N802 (the contract's name)
        self,
        block: BlockRef,
        raw: Sequence[Any],
        on_sale: bool,
        deadline: int,
        signature: bytes,
        raw_acceptance: Sequence[Any],
        acceptance_signature: bytes,
    ) -> list[tuple[str, dict[str, Any]]]:
        terms = _struct(Terms, raw)
        acceptance = _struct(Acceptance, raw_acceptance)
        domain = DEPLOYMENT.license_domain()
        design = self._design(terms.design_id)
        offer = Offer(terms, on_sale, UnixSeconds(deadline))
        self._signed(design.owner, offer.digest(domain), signature)
        self._signed(terms.gateway, acceptance.digest(domain), acceptance_signature)
        if min(deadline, acceptance.deadline) < block.timestamp:
            raise Reverted("DeadlinePassed")
        if acceptance.gateway != terms.gateway:
            raise Reverted("AcceptanceMismatch")
        if (acceptance.design_id, acceptance.terms_digest) != (terms.design_id, terms.terms_digest):
            raise Reverted("AcceptanceMismatch")
        revision = design.revisions.get(acceptance.revision)
        if revision is None or revision.recalled:
            raise Reverted("RevisionNotPrintable")
        license_id = terms.license_id(domain)
        if license_id in self._state.licenses:
            return []
        self._state.licenses[license_id] = _License(terms, terms.gateway, acceptance.revision, on_sale)
        values = dict(zip(Terms.arguments_order(), (getattr(terms, name) for name in terms.__slots__), strict=True))
        return [
            (
                "LicenseOffered",
                {
                    "licenseId": license_id,
                    "designId": terms.design_id,
                    "gateway": terms.gateway,
                    "revision": acceptance.revision,
                    "keyCommitment": acceptance.key_commitment,
                    "terms": values,
                    "onSale": on_sale,
                },
            )
        ]

    def _do_mintBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        mint = _struct(Mint, raw)
        if not self._is_new(block, mint.owner, mint.nonce, mint.deadline, mint, signature):
            return []
        return [self._give(mint.license_id, mint.to, mint.prints, mint.owner)]

    def _do_mintBatchBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        owner, grants, nonce, deadline = raw
        minting = MintBatch(_address(owner), tuple(_struct(Grant, each) for each in grants), nonce, deadline)
        if not self._is_new(block, minting.owner, nonce, deadline, minting, signature):
            return []
        return [self._give(each.license_id, each.to, each.prints, minting.owner) for each in minting.grants]

    def _give(self, license_id: int, to: Address, prints: int, giver: Address) -> tuple[str, dict[str, Any]]:
        found = self._license(license_id)
        if found.terms.payout:
            raise Reverted("SoldOnly")
        self._require_owner(license_id, giver)
        self._count(found, prints)
        self._state.balances[license_id, to] += prints
        return _made(license_id, to, prints)

    def _count(self, found: _License, prints: int) -> None:
        edition = self._design(found.terms.design_id).edition
        together = sum(
            each.minted for each in self._state.licenses.values() if each.terms.design_id == found.terms.design_id
        )
        if found.minted + prints > found.terms.cap:
            raise Reverted("CapExceeded")
        if edition and together + prints > edition:
            raise Reverted("EditionExceeded")
        found.minted += prints

    def place(self, terms: Terms, *, revision: int) -> None:
        """Put a licence there that another gateway took the offer of."""
        license_id = terms.license_id(DEPLOYMENT.license_domain())
        self._state.licenses[license_id] = _License(terms, terms.gateway, revision, on_sale=False)

    def sell(self, license_id: int, buyer: Address, prints: int) -> list[tuple[str, dict[str, Any]]]:
        """Sell prints at once, as a transaction of the buyer's own does, and return the events."""
        found = self._license(license_id)
        self._count(found, prints)
        self._state.balances[license_id, buyer] += prints
        paid = found.terms.price * prints
        sold = {"licenseId": license_id, "buyer": buyer, "to": buyer, "prints": prints, "paid": paid}
        earned = [] if found.terms.payout else self._credit(license_id, found, paid)
        return [*earned, ("PrintsSold", sold), _made(license_id, buyer, prints)]

    def _credit(self, license_id: int, found: _License, amount: int) -> list[tuple[str, dict[str, Any]]]:
        owner = self._owner(license_id)
        self._state.owed[owner, found.terms.currency] += amount
        credited = {"licenseId": license_id, "payee": owner, "currency": found.terms.currency, "amount": amount}
        return [("Credited", credited)]

    def _do_setSaleBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        sale = _struct(Sale, raw)
        if not self._is_new(block, sale.owner, sale.nonce, sale.deadline, sale, signature):
            return []
        self._require_owner(sale.license_id, sale.owner)
        self._license(sale.license_id).on_sale = sale.on_sale
        return [("SaleSet", {"licenseId": sale.license_id, "onSale": sale.on_sale})]

    def _do_accept(
        self, block: BlockRef, license_id: int, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        found, acceptance = self._license(license_id), _struct(Acceptance, raw)
        if acceptance.revision == found.revision:
            return []
        if acceptance.revision < found.revision:
            raise Reverted("RevisionNotRaised")
        self._accepted(block, found, found.gateway, acceptance, signature)
        found.revision = acceptance.revision
        accepted = {"revision": acceptance.revision, "keyCommitment": acceptance.key_commitment}
        return [("LicenseAccepted", {"licenseId": license_id, **accepted})]

    def _do_setGatewayBySig(  # noqa: N802 (the contract's name)
        self,
        block: BlockRef,
        raw: Sequence[Any],
        signature: bytes,
        raw_acceptance: Sequence[Any],
        acceptance_signature: bytes,
    ) -> list[tuple[str, dict[str, Any]]]:
        move, acceptance = _struct(Move, raw), _struct(Acceptance, raw_acceptance)
        found = self._license(move.license_id)
        if not self._is_new(block, move.owner, move.nonce, move.deadline, move, signature):
            return []
        self._require_owner(move.license_id, move.owner)
        if found.gateway == move.gateway:
            return []
        if acceptance.revision < found.revision:
            raise Reverted("RevisionNotRaised")
        self._accepted(block, found, move.gateway, acceptance, acceptance_signature)
        found.gateway, found.revision = move.gateway, acceptance.revision
        accepted = {"revision": acceptance.revision, "keyCommitment": acceptance.key_commitment}
        return [("LicenseMoved", {"licenseId": move.license_id, "gateway": move.gateway, **accepted})]

    def _accepted(
        self, block: BlockRef, found: _License, gateway: Address, acceptance: Acceptance, signature: bytes
    ) -> None:
        terms = found.terms
        if acceptance.gateway != gateway:
            raise Reverted("AcceptanceMismatch")
        if (acceptance.design_id, acceptance.terms_digest) != (terms.design_id, terms.terms_digest):
            raise Reverted("AcceptanceMismatch")
        if acceptance.deadline < block.timestamp:
            raise Reverted("DeadlinePassed")
        self._signed(gateway, acceptance.digest(DEPLOYMENT.license_domain()), signature)
        revision = self._design(terms.design_id).revisions.get(acceptance.revision)
        if revision is None or revision.recalled:
            raise Reverted("RevisionNotPrintable")

    def _do_returnPrintsBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        returned = _struct(Return, raw)
        found = self._license(returned.license_id)
        if not self._is_new(block, returned.holder, returned.nonce, returned.deadline, returned, signature):
            return []
        if not found.terms.payout:
            raise Reverted("NotReturnable")
        key = (returned.license_id, returned.holder)
        if self._state.balances[key] < returned.prints:
            raise Reverted("ERC1155InsufficientBalance")
        self._state.balances[key] -= returned.prints
        found.minted -= returned.prints
        refund = found.terms.price * returned.prints
        self._state.owed[returned.holder, found.terms.currency] += refund
        told = {"holder": returned.holder, "prints": returned.prints, "refund": refund}
        return [("PrintsReturned", {"licenseId": returned.license_id, **told})]

    def _do_withdrawBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        made = _struct(Withdrawal, raw)
        if not self._is_new(block, made.payee, made.nonce, made.deadline, made, signature):
            return []
        amount = self._state.owed.pop((made.payee, made.currency), 0)
        if amount < max(made.at_least, 1):
            raise Reverted("OwedTooLittle")
        told = {"payee": made.payee, "currency": made.currency, "to": made.to, "amount": amount}
        return [("Withdrawn", told)]

    def _do_lowerEditionBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        limit = _struct(EditionLimit, raw)
        design = self._design(limit.design_id)
        if limit.edition == design.edition:
            return []
        if not design.edition:
            raise Reverted("EditionOpen")
        if not 0 < limit.edition < design.edition:
            raise Reverted("EditionNotLowered")
        if limit.deadline < block.timestamp:
            raise Reverted("DeadlinePassed")
        self._signed(design.owner, limit.digest(DEPLOYMENT.registry_domain()), signature)
        design.edition = limit.edition
        return [("EditionLowered", {"designId": limit.design_id, "edition": limit.edition})]

    def _is_new(
        self, block: BlockRef, signer: Address, nonce: int, deadline: int, struct: Struct, signature: bytes
    ) -> bool:
        """Return whether a numbered statement counts from now on, as the contracts keep them."""
        digest = struct.digest(DEPLOYMENT.license_domain())
        known = self._state.statements.get((signer, nonce))
        if known == digest:
            return False
        if known is not None:
            raise Reverted("NonceUsed")
        if deadline < block.timestamp:
            raise Reverted("DeadlinePassed")
        self._signed(signer, digest, signature)
        self._state.statements[signer, nonce] = digest
        return True

    def _license(self, license_id: int) -> _License:
        found = self._state.licenses.get(license_id)
        if found is None:
            raise Reverted("LicenseUnknown")
        return found

    def _owner(self, license_id: int) -> Address:
        return self._design(self._license(license_id).terms.design_id).owner

    def _require_owner(self, license_id: int, account: Address) -> None:
        if self._owner(license_id) != account:
            raise Reverted("NotDesignOwner")

    def _do_reserveBatch(  # noqa: N802 (the contract's name)
        self, block: BlockRef, permissions: Sequence[Sequence[Any]], signatures: Sequence[bytes]
    ) -> list[tuple[str, dict[str, Any]]]:
        pairs = zip(permissions, signatures, strict=True)
        return [event for raw, signature in pairs for event in self._do_reserve(block, raw, signature)]

    def _do_reserve(self, block: BlockRef, raw: Sequence[Any], signature: bytes) -> list[tuple[str, dict[str, Any]]]:
        permission = _struct(Reservation, raw)
        domain = DEPLOYMENT.ledger_domain()
        token_id = permission.token_id(domain)
        if token_id in self._state.reservations:
            return []
        self._signed(permission.holder, permission.digest(domain), signature)
        found = self._state.licenses.get(permission.license_id)
        if found is None or found.gateway != permission.gateway or found.revision != permission.revision:
            raise Reverted("LicenseMismatch")
        design = self._design(found.terms.design_id)
        if design.revisions[permission.revision].recalled:
            raise Reverted("RevisionNotPrintable")
        if min(permission.deadline, permission.expires_at) < block.timestamp:
            raise Reverted("DeadlinePassed")
        if permission.prints < found.terms.smallest_reservation or permission.agent == ZERO_ADDRESS:
            raise Reverted("ReservationInvalid")
        key = (permission.license_id, permission.holder)
        if self._state.balances[key] < permission.prints:
            raise Reverted("BalanceShort")
        self._state.balances[key] -= permission.prints
        spares = found.terms.spares(permission.prints)
        self._state.reservations[token_id] = (permission, spares)
        return [
            (
                "Reserved",
                {
                    "tokenId": token_id,
                    "licenseId": permission.license_id,
                    "holder": permission.holder,
                    "gateway": permission.gateway,
                    "agent": permission.agent,
                    "revision": permission.revision,
                    "prints": permission.prints,
                    "spares": spares,
                    "expiresAt": permission.expires_at,
                    "salt": permission.salt,
                    "deadline": permission.deadline,
                },
            )
        ]

    def _do_declareGatewayBySig(  # noqa: N802 (the contract's name)
        self, block: BlockRef, raw: Sequence[Any], signature: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        declaration = _struct(Declaration, raw)
        account, digest, new_epoch = declaration.gateway, declaration.profile_digest, declaration.new_epoch
        self._signed(account, declaration.digest(DEPLOYMENT.ledger_domain()), signature)
        if declaration.deadline < block.timestamp:
            raise Reverted("DeadlinePassed")
        state = self._state.gateways[account]
        if not new_epoch and state.profile_digest == digest:
            return []
        epoch, size = (state.epoch + 1, 0) if new_epoch else (state.epoch, state.size)
        self._state.gateways[account] = GatewayState(Digest32(digest), epoch, size)
        return [("GatewayDeclared", {"gateway": account, "epoch": epoch, "profileDigest": digest})]

    def _do_anchor(
        self, _block: BlockRef, gateway: Any, epoch: int, size: int, root: Digest32, tiles_digest: Digest32
    ) -> list[tuple[str, dict[str, Any]]]:
        account = _address(gateway)
        state = self._state.gateways.get(account, GatewayState(Digest32(bytes(32)), 1, 0))
        value = digests.sha256(root, tiles_digest)
        key = (account, epoch, size)
        if self._state.anchors.get(key) == value:
            return []
        if epoch != state.epoch:
            raise Reverted("EpochMismatch")
        if size <= state.size:
            raise Reverted("AnchorNotGrowing")
        self._state.anchors[key] = value
        self._state.gateways[account] = GatewayState(state.profile_digest, state.epoch, size)
        return [
            (
                "Anchored",
                {
                    "gateway": account,
                    "epoch": state.epoch,
                    "size": size,
                    "root": root,
                    "tilesDigest": tiles_digest,
                },
            )
        ]

    def _do_settle(
        self, _block: BlockRef, gateway: Any, batches: Sequence[tuple[int, Sequence[tuple[Any, ...]]]]
    ) -> list[tuple[str, dict[str, Any]]]:
        events: list[tuple[str, dict[str, Any]]] = []
        for license_id, uses in batches:
            for token_id, sequence, voided, request_digest, r, vs in uses:
                skipped = self._settle(
                    _address(gateway), license_id, token_id, sequence, voided, request_digest, r + vs
                )
                name, args = ("Settled", {"sequence": sequence, "burned": self._state.counts[token_id][1]})
                if skipped:
                    name, args = ("UseSkipped", {"reason": skipped})
                else:
                    args["voided"] = voided
                events.append((name, {"tokenId": token_id} | args))
        return events

    def _settle(
        self,
        gateway: Address,
        license_id: int,
        token_id: int,
        sequence: int,
        voided: int,
        request_digest: Digest32,
        compact: bytes,
    ) -> int:
        found = self._state.reservations.get(token_id)
        if found is None or (found[0].gateway, found[0].license_id) != (gateway, license_id):
            return 1
        permission, spares = found
        if not 0 < sequence <= permission.prints + spares:
            return 2
        if voided > min(spares, sequence):
            return 4
        digest = Redemption(TokenId(token_id), sequence, request_digest).digest(DEPLOYMENT.ledger_domain())
        parity, s = compact[32] >> 7, bytes([compact[32] & 0x7F]) + compact[33:]
        if recover(digest, compact[:32] + s + bytes([27 + parity])) != permission.agent:
            return 5
        known, burned, _ = self._state.counts[token_id]
        if sequence <= known or token_id in self._state.closed:
            return 6
        self._state.counts[token_id] = (sequence, max(burned, min(sequence - voided, permission.prints)), voided)
        return 0

    def _do_close(
        self, block: BlockRef, raw: Sequence[Any], raw_permission: Sequence[Any], gateway_sig: bytes, holder_sig: bytes
    ) -> list[tuple[str, dict[str, Any]]]:
        closing, permission = _struct(Close, raw), _struct(Reservation, raw_permission)
        domain = DEPLOYMENT.ledger_domain()
        if permission.token_id(domain) != closing.token_id or closing.token_id not in self._state.reservations:
            raise Reverted("TokenUnknown")
        if closing.deadline < block.timestamp:
            raise Reverted("DeadlinePassed")
        self._signed(permission.gateway, closing.digest(domain), gateway_sig)
        self._signed(permission.holder, closing.digest(domain), holder_sig)
        if closing.token_id in self._state.closed:
            return []
        known, burned, voided = self._state.counts[closing.token_id]
        voided = max(voided, closing.voided)
        burned = max(burned, min(max(closing.released - voided, 0), permission.prints))
        self._state.counts[closing.token_id] = (max(known, closing.released), burned, voided)
        self._state.closed.add(closing.token_id)
        self._state.balances[permission.license_id, permission.holder] += permission.prints - burned
        return [
            (
                "Closed",
                {
                    "tokenId": closing.token_id,
                    "released": closing.released,
                    "burned": burned,
                    "voided": voided,
                    "returned": permission.prints - burned,
                },
            )
        ]

    def _design(self, design_id: int) -> _Design:
        found = self._state.designs.get(design_id)
        if found is None:
            raise Reverted("DesignUnknown")
        return found


def _made(license_id: int, to: Address, prints: int) -> tuple[str, dict[str, Any]]:
    return "TransferSingle", {"from": ZERO_ADDRESS, "to": to, "id": license_id, "value": prints}


def _recovers(account: Address, digest: Digest32, signature: bytes) -> bool:
    try:
        return recover(digest, signature) == account
    except MalformedError:
        return False


def _struct(cls: type[_S], raw: Sequence[Any]) -> _S:
    values = []
    for value, name in zip(raw, cls.arguments_order(), strict=True):
        values.append(_address(value) if name in _ADDRESSES else value)
    return cls(*values)


_ADDRESSES = {"registrant", "currency", "gateway", "to", "holder", "agent", "owner", "payee"}


def _address(value: Any) -> Address:
    return parse_address(value) if isinstance(value, str) else Address(value)
