"""The three contracts once more, to be read: plain Python, no storage layout, no gas.

What a call may do stands in the interfaces (`contracts/src/interfaces`); this is the same in a second language, so that
a machine can drive both side by side (`test_side_by_side.py`). A refusal is `Refused` with the Solidity error's name
and arguments; whatever a call had changed until then is undone by the caller (`Model.attempt`). `events` are those of
the three interfaces, in order.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from platemark.protocol.digests import commitment as content_commitment
from platemark.protocol.digests import sha256
from platemark.protocol.typed_data import (
    Acceptance,
    Appointment,
    Close,
    Declaration,
    Domain,
    EditionLimit,
    Mint,
    MintBatch,
    Move,
    Offer,
    Publication,
    Recall,
    Redemption,
    Registration,
    RegistrationBatch,
    Reservation,
    Return,
    Sale,
    Terms,
    Withdrawal,
)
from platemark.protocol.units import ZERO_ADDRESS, Address, DesignId, Digest32, LicenseId, TokenId

DAY: Final = 86_400
STRANGERS_SETTLE_AFTER: Final = 3 * DAY
RECLAIM_AFTER: Final = 10 * DAY
ALL_POINTS: Final = 10_000
DEEPEST_LINE: Final = 4
CANCELLED: Final = Digest32((1).to_bytes(32, "big"))
NO_DIGEST: Final = Digest32(bytes(32))

(NONE, TOKEN_UNKNOWN, SEQUENCE_OUT_OF_RANGE, TOO_EARLY, VOIDED_OUT_OF_RANGE, VOUCHER_INVALID, STALE) = range(7)

Event = tuple[str, tuple[Any, ...]]


class Refused(Exception):  # noqa: N818 (what the contract says, not a fault)
    """The call reverts with this error."""

    def __init__(self, name: str, *arguments: Any) -> None:
        super().__init__(name, arguments)
        self.name = name
        self.arguments = arguments


@dataclass(frozen=True)
class Signed:
    """A statement and who signed it; a signature over anything else is a signer of None."""

    signer: Address | None


@dataclass
class Design:
    """One design; `parent` is 0 for none."""

    registrant: Address
    owner: Address
    commitments: list[Digest32]
    edition: int
    resale_share: int
    derivative_share: int
    parent: int
    is_private: bool
    manifests: list[Digest32]
    recalled: set[int] = field(default_factory=set)
    revealed: set[int] = field(default_factory=set)

    @property
    def latest(self) -> int:
        return len(self.commitments)


@dataclass
class License:
    """One licence: its terms, which never change, and what does."""

    terms: Terms
    gateway: Address
    revision: int
    on_sale: bool
    minted: int = 0


@dataclass
class Escrow:
    """One reservation."""

    permission: Reservation
    spares: int
    burned: int = 0
    voided: int = 0
    has_ended: bool = False


@dataclass
class Gateway:
    """What a gateway declared."""

    profile: Digest32
    epoch: int
    size: int


@dataclass(frozen=True)
class Use:
    """A voucher brought to settlement; `signer` signed it, None for a signature over something else."""

    token_id: TokenId
    sequence: int
    voided: int
    request_digest: Digest32
    signer: Address | None


@dataclass
class State:
    """Everything that the three contracts remember."""

    designs: dict[DesignId, Design] = field(default_factory=dict)
    licenses: dict[LicenseId, License] = field(default_factory=dict)
    edition_minted: dict[DesignId, int] = field(default_factory=lambda: defaultdict(int))
    units: dict[tuple[Address, LicenseId], int] = field(default_factory=lambda: defaultdict(int))
    owed: dict[tuple[Address, Address], int] = field(default_factory=lambda: defaultdict(int))
    treasury: dict[Address, int] = field(default_factory=lambda: defaultdict(int))
    """What PrintLicense holds of each currency."""
    escrows: dict[TokenId, Escrow] = field(default_factory=dict)
    gateways: dict[Address, Gateway] = field(default_factory=dict)
    operators: set[tuple[Address, Address]] = field(default_factory=set)
    anchors: dict[tuple[Address, int, int], Digest32] = field(default_factory=dict)
    statements: dict[tuple[str, Address, int], Digest32] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Model:
    """The contracts; `now` is the time of the block that a call is in."""

    def __init__(self, registry: Domain, print_license: Domain, ledger: Domain, currencies: Sequence[Address]) -> None:
        self.registry = registry
        self.license = print_license
        self.ledger = ledger
        self.currencies = frozenset(currencies)
        self.now = 0
        self.state = State()

    def attempt(self, call: Callable[[], Any]) -> list[Event]:
        """Run a call whole or not at all, and return its events."""
        before = copy.deepcopy(self.state)
        self.state.events.clear()
        try:
            call()
        except Refused:
            self.state = before
            raise
        return list(self.state.events)

    # --- DesignRegistry -----------------------------------------------------------------------------------

    def register(self, sender: Address, registration: Registration) -> None:
        if self.design_id(registration) in self.state.designs:
            return
        if sender != registration.registrant:
            raise Refused("NotRegistrant", registration.registrant, sender)
        self._register(registration)

    def register_by_sig(self, registration: Registration, signed: Signed) -> None:
        if self.design_id(registration) in self.state.designs:
            return
        self._require_signed(registration.registrant, signed)
        self._register(registration)

    def register_batch_by_sig(self, batch: RegistrationBatch, signed: Signed) -> None:
        registrant = batch.registrations[0].registrant
        for registration in batch.registrations:
            if registration.registrant != registrant:
                raise Refused("RegistrantMismatch", registrant, registration.registrant)
        if all(self.design_id(each) in self.state.designs for each in batch.registrations):
            return
        self._require_signed(registrant, signed)
        for registration in batch.registrations:
            if self.design_id(registration) not in self.state.designs:
                self._register(registration)

    def _register(self, registration: Registration) -> None:
        if registration.commitment == NO_DIGEST:
            raise Refused("CommitmentZero")
        if registration.resale_share > ALL_POINTS:
            raise Refused("ShareAbove", registration.resale_share, ALL_POINTS)
        if registration.derivative_share > ALL_POINTS // 2:
            raise Refused("ShareAbove", registration.derivative_share, ALL_POINTS // 2)
        depth, ancestor = 1, int(registration.parent_id)
        while ancestor:
            if depth > DEEPEST_LINE:
                raise Refused("ParentTooDeep", registration.parent_id, DEEPEST_LINE)
            ancestor = self._design(ancestor).parent
            depth += 1
        self.state.designs[self.design_id(registration)] = Design(
            registrant=registration.registrant,
            owner=registration.registrant,
            commitments=[registration.commitment],
            manifests=[registration.manifest_digest],
            edition=registration.edition,
            resale_share=registration.resale_share,
            derivative_share=registration.derivative_share,
            parent=registration.parent_id,
            is_private=registration.is_private,
        )
        self._emit(
            "DesignRegistered",
            self.design_id(registration),
            registration.registrant,
            registration.commitment,
            registration.manifest_digest,
            registration.is_private,
            registration.parent_id,
            registration.resale_share,
            registration.derivative_share,
            registration.edition,
        )

    def reveal(self, sender: Address, design_id: DesignId, revision: int, salt: Digest32, files_root: Digest32) -> None:
        design = self._design(design_id)
        if revision > design.latest:
            raise Refused("RevisionUnknown", design_id, revision)
        if design.is_private and sender != design.registrant:
            raise Refused("NotRegistrant", design.registrant, sender)
        if content_commitment(design.registrant, salt, files_root) != design.commitments[revision - 1]:
            raise Refused("CommitmentMismatch", design_id, revision)
        if revision not in design.revealed:
            design.revealed.add(revision)
            self._emit("ContentRevealed", design_id, revision, files_root, salt)

    def publish(self, sender: Address | None, publication: Publication, signed: Signed | None = None) -> None:
        design = self._design(publication.design_id)
        at = publication.revision - 1
        if 1 <= at < design.latest and (design.commitments[at], design.manifests[at]) == (
            publication.commitment,
            publication.manifest_digest,
        ):
            return
        if publication.revision != design.latest + 1:
            raise Refused("RevisionUnexpected", publication.design_id, design.latest + 1, publication.revision)
        self._require_owner(publication.design_id, sender, signed, "NotOwner")
        if publication.commitment == NO_DIGEST:
            raise Refused("CommitmentZero")
        self._in_time(publication.deadline)
        design.commitments.append(publication.commitment)
        design.manifests.append(publication.manifest_digest)
        self._emit(
            "RevisionPublished",
            publication.design_id,
            publication.revision,
            publication.commitment,
            publication.manifest_digest,
        )

    def recall(self, sender: Address | None, recalled: Recall, signed: Signed | None = None) -> None:
        design = self._design(recalled.design_id)
        if not 1 <= recalled.revision <= design.latest:
            raise Refused("RevisionUnknown", recalled.design_id, recalled.revision)
        if recalled.revision in design.recalled:
            return
        self._require_owner(recalled.design_id, sender, signed, "NotOwner")
        self._in_time(recalled.deadline)
        design.recalled.add(recalled.revision)
        self._emit("RevisionRecalled", recalled.design_id, recalled.revision, recalled.reason_digest)

    def lower_edition(self, sender: Address | None, limit: EditionLimit, signed: Signed | None = None) -> None:
        design = self._design(limit.design_id)
        if limit.edition == design.edition:
            return
        if design.edition == 0:
            raise Refused("EditionOpen", limit.design_id)
        if not 0 < limit.edition < design.edition:
            raise Refused("EditionNotLowered", limit.design_id, design.edition, limit.edition)
        self._require_owner(limit.design_id, sender, signed, "NotOwner")
        self._in_time(limit.deadline)
        design.edition = limit.edition
        self._emit("EditionLowered", limit.design_id, limit.edition)

    def sell_design(self, sender: Address, to: Address, design_id: DesignId) -> None:
        """ERC-721's transferFrom by an account that nobody approved."""
        owner = self._design(design_id).owner
        if sender != owner:
            raise Refused("ERC721InsufficientApproval", sender, design_id)
        self._design(design_id).owner = to

    def payees(self, design_id: DesignId, amount: int) -> list[tuple[Address, int]]:
        """Return who is owed what of an amount: each parent its share of what reached its child; sums are exact."""
        shares: list[tuple[Address, int]] = []
        at: int = design_id
        while at:
            design = self.state.designs[DesignId(at)]
            parent = self.state.designs.get(DesignId(design.parent))
            share = amount * parent.derivative_share // ALL_POINTS if parent else 0
            shares.append((design.owner, amount - share))
            at, amount = design.parent, share
        return shares

    # --- PrintLicense -------------------------------------------------------------------------------------

    def offer(
        self, sender: Address | None, offer: Offer, acceptance: Acceptance, accepted: Signed, signed: Signed | None
    ) -> None:
        terms = offer.terms
        license_id = terms.license_id(self.license)
        if license_id in self.state.licenses:
            return
        if signed is not None:
            self._in_time(offer.deadline)
        self._require_sound(terms)
        design = self._design(terms.design_id)
        if design.edition and terms.cap > design.edition:
            raise Refused("CapAboveEdition", terms.cap, design.edition)
        self._require_printable(terms.design_id, acceptance.revision)
        self._require_accepted(terms.design_id, terms.terms_digest, terms.gateway, acceptance, accepted)
        self._require_owner(terms.design_id, sender, signed, "NotDesignOwner")
        self.state.licenses[license_id] = License(terms, terms.gateway, acceptance.revision, offer.on_sale)
        self._emit(
            "LicenseOffered",
            license_id,
            terms.design_id,
            terms.gateway,
            acceptance.revision,
            acceptance.key_commitment,
            terms,
            offer.on_sale,
        )

    def _require_sound(self, terms: Terms) -> None:
        if terms.currency not in {ZERO_ADDRESS, *self.currencies}:
            raise Refused("CurrencyInvalid", terms.currency)
        if terms.payout > 1:
            raise Refused("PayoutInvalid", terms.payout)
        if terms.payout and not terms.price:
            raise Refused("PriceZero")
        if not terms.cap:
            raise Refused("CapZero")
        if terms.not_after < terms.not_before or terms.not_after < self.now:
            raise Refused("WindowInvalid", terms.not_before, terms.not_after)
        smallest = terms.smallest_reservation
        if not 1 <= smallest <= terms.cap:
            raise Refused("SmallestReservationInvalid", smallest, terms.cap)
        if terms.spares_per_hundred > 50:
            raise Refused("SparesExcessive", terms.spares_per_hundred, 100)
        if 2 * terms.spares(smallest) > smallest:
            raise Refused("SparesExcessive", terms.spares(smallest), smallest)
        largest = min(terms.cap, 2**16 - 1)
        if largest + terms.spares(largest) > 2**16 - 1:
            raise Refused("ReservationTooLarge", largest, terms.spares(largest))

    def accept(self, license_id: LicenseId, acceptance: Acceptance, accepted: Signed) -> None:
        found = self._license(license_id)
        if acceptance.revision == found.revision:
            return
        if acceptance.revision < found.revision:
            raise Refused("RevisionNotRaised", license_id, found.revision, acceptance.revision)
        self._require_accepted(found.terms.design_id, found.terms.terms_digest, found.gateway, acceptance, accepted)
        self._require_printable(acceptance.design_id, acceptance.revision)
        found.revision = acceptance.revision
        self._emit("LicenseAccepted", license_id, acceptance.revision, acceptance.key_commitment)

    def set_sale(self, sender: Address | None, sale: Sale, signed: Signed | None = None) -> None:
        if signed is not None and not self._is_new("license", sale.owner, sale, self.license, signed):
            return
        found = self._owned(sale.license_id, sale.owner if sender is None else sender)
        if found.on_sale != sale.on_sale:
            found.on_sale = sale.on_sale
            self._emit("SaleSet", sale.license_id, sale.on_sale)

    def set_gateway(
        self,
        sender: Address | None,
        move: Move,
        acceptance: Acceptance,
        accepted: Signed,
        signed: Signed | None = None,
    ) -> None:
        if signed is not None and not self._is_new("license", move.owner, move, self.license, signed):
            return
        found = self._owned(move.license_id, move.owner if sender is None else sender)
        if move.gateway == found.gateway:
            return
        if acceptance.revision < found.revision:
            raise Refused("RevisionNotRaised", move.license_id, found.revision, acceptance.revision)
        self._require_accepted(found.terms.design_id, found.terms.terms_digest, move.gateway, acceptance, accepted)
        self._require_printable(acceptance.design_id, acceptance.revision)
        found.gateway, found.revision = move.gateway, acceptance.revision
        self._emit("LicenseMoved", move.license_id, move.gateway, acceptance.revision, acceptance.key_commitment)

    def mint(self, sender: Address, license_id: LicenseId, to: Address, prints: int) -> None:
        self._give(sender, license_id, to, prints)

    def mint_by_sig(self, minting: Mint, signed: Signed) -> None:
        if self._is_new("license", minting.owner, minting, self.license, signed):
            self._give(minting.owner, minting.license_id, minting.to, minting.prints)

    def mint_batch_by_sig(self, minting: MintBatch, signed: Signed) -> None:
        if self._is_new("license", minting.owner, minting, self.license, signed):
            for grant in minting.grants:
                self._give(minting.owner, grant.license_id, grant.to, grant.prints)

    def _give(self, giver: Address, license_id: LicenseId, to: Address, prints: int) -> None:
        found = self._license(license_id)
        if found.terms.payout:
            raise Refused("SoldOnly", license_id)
        self._count(license_id, found, prints)
        self._owned(license_id, giver)
        self.state.units[to, license_id] += prints

    def purchase(self, sender: Address, license_id: LicenseId, to: Address, prints: int, coins: int) -> None:
        found = self._license(license_id)
        terms = found.terms
        if not found.on_sale:
            raise Refused("NotOnSale", license_id)
        if self.now > terms.not_after:
            raise Refused("LicenseEnded", license_id, terms.not_after)
        self._require_printable(terms.design_id, found.revision)
        self._count(license_id, found, prints)
        price = terms.price * prints
        if not terms.payout:
            self._credit(license_id, terms, price)
        self._emit("PrintsSold", license_id, sender, to, prints, price)
        expected = 0 if terms.currency in self.currencies else price
        if coins != expected:
            raise Refused("PaymentMismatch", expected, coins)
        self.state.treasury[terms.currency] += price
        self.state.units[to, license_id] += prints

    def return_prints(self, sender: Address | None, returned: Return, signed: Signed | None = None) -> None:
        if signed is not None and not self._is_new("license", returned.holder, returned, self.license, signed):
            return
        self._return(returned.license_id, returned.holder if sender is None else sender, returned.prints)

    def return_prints_for(self, license_id: LicenseId, holder: Address) -> None:
        """Return what a holder has of an ended licence; anybody may."""
        found = self._license(license_id)
        if self.now <= found.terms.not_after:
            raise Refused("LicenseNotEnded", license_id, found.terms.not_after)
        if prints := self.state.units[holder, license_id]:
            self._return(license_id, holder, prints)

    def _return(self, license_id: LicenseId, holder: Address, prints: int) -> None:
        found = self._license(license_id)
        if not found.terms.payout:
            raise Refused("NotReturnable", license_id)
        if not prints:
            raise Refused("PrintsZero")
        self._take(holder, license_id, prints)
        found.minted -= prints
        if self.state.designs[found.terms.design_id].edition:
            self.state.edition_minted[found.terms.design_id] -= prints
        refund = found.terms.price * prints
        self.state.owed[holder, found.terms.currency] += refund
        self._emit("PrintsReturned", license_id, holder, prints, refund)

    def withdraw(self, sender: Address | None, withdrawal: Withdrawal, signed: Signed | None = None) -> None:
        """By the payee, by his signature, or by anybody to the payee himself (`sender` and `signed` None)."""
        if signed is not None and not self._is_new("license", withdrawal.payee, withdrawal, self.license, signed):
            return
        payee = withdrawal.payee if sender is None else sender
        amount = self.state.owed[payee, withdrawal.currency]
        if signed is not None and amount < max(withdrawal.at_least, 1):
            raise Refused("OwedTooLittle", payee, withdrawal.currency, amount, withdrawal.at_least)
        if amount:
            self.state.owed[payee, withdrawal.currency] = 0
            self.state.treasury[withdrawal.currency] -= amount
            self._emit("Withdrawn", payee, withdrawal.currency, withdrawal.to, amount)

    def transfer(self, sender: Address, to: Address, license_id: LicenseId, prints: int) -> None:
        """ERC-1155's safeTransferFrom of one's own units to an account without code."""
        found = self.state.licenses.get(license_id)
        if found is None or not found.terms.transferable:
            raise Refused("TransferForbidden", license_id)
        self._take(sender, license_id, prints)
        self.state.units[to, license_id] += prints

    def _credit(self, license_id: LicenseId, terms: Terms, amount: int) -> None:
        for payee, share in self.payees(terms.design_id, amount):
            if share:
                self.state.owed[payee, terms.currency] += share
                self._emit("Credited", license_id, payee, terms.currency, share)

    def _count(self, license_id: LicenseId, found: License, prints: int) -> None:
        if not prints:
            raise Refused("PrintsZero")
        left = found.terms.cap - found.minted
        if prints > left:
            raise Refused("CapExceeded", license_id, prints, left)
        design_id = found.terms.design_id
        edition = self._design(design_id).edition
        if edition:
            left = max(edition - self.state.edition_minted[design_id], 0)
            if prints > left:
                raise Refused("EditionExceeded", design_id, prints, left)
            self.state.edition_minted[design_id] += prints
        found.minted += prints

    def _take(self, holder: Address, license_id: LicenseId, prints: int) -> None:
        balance = self.state.units[holder, license_id]
        if prints > balance:
            raise Refused("ERC1155InsufficientBalance", holder, balance, prints, license_id)
        self.state.units[holder, license_id] -= prints

    # --- PrintLedger --------------------------------------------------------------------------------------

    def declare(self, sender: Address | None, declaration: Declaration, signed: Signed | None = None) -> None:
        gateway = declaration.gateway if sender is None else sender
        if signed is not None and not self._is_new("ledger", gateway, declaration, self.ledger, signed):
            return
        known = self.state.gateways.get(gateway)
        if known is None:
            if declaration.profile_digest == NO_DIGEST:
                raise Refused("GatewayUndeclared", gateway)
            known = self.state.gateways[gateway] = Gateway(declaration.profile_digest, 1, 0)
        elif not declaration.new_epoch and known.profile == declaration.profile_digest:
            return
        elif declaration.new_epoch:
            known.epoch, known.size = known.epoch + 1, 0
        known.profile = declaration.profile_digest
        self._emit("GatewayDeclared", gateway, known.epoch, declaration.profile_digest)

    def appoint(self, sender: Address | None, appointment: Appointment, signed: Signed | None = None) -> None:
        gateway = appointment.gateway if sender is None else sender
        if signed is not None and not self._is_new("ledger", gateway, appointment, self.ledger, signed):
            return
        pair = (gateway, appointment.operator)
        if (pair in self.state.operators) != appointment.allowed:
            (self.state.operators.add if appointment.allowed else self.state.operators.discard)(pair)
            self._emit("OperatorSet", gateway, appointment.operator, appointment.allowed)

    def anchor(self, sender: Address, gateway: Address, epoch: int, size: int, root: Digest32, tiles: Digest32) -> None:
        if not self._acts_for(gateway, sender):
            raise Refused("NotOperator", gateway, sender)
        at, given = (gateway, epoch, size), sha256(root + tiles)
        known = self.state.anchors.get(at)
        if known == given:
            return
        declared = self.state.gateways.get(gateway)
        if declared is None:
            raise Refused("GatewayUndeclared", gateway)
        if epoch != declared.epoch:
            raise Refused("EpochMismatch", gateway, declared.epoch, epoch)
        if known is not None:
            raise Refused("AnchorForked", size, known, given)
        if size <= declared.size:
            raise Refused("AnchorDecreased", declared.size, size)
        declared.size = size
        self.state.anchors[at] = given
        self._emit("Anchored", gateway, declared.epoch, size, root, tiles)

    def reserve(self, permissions: Sequence[tuple[Reservation, Signed]]) -> None:
        """One, or several of which all are reserved or none.

        Neighbours for the same units are escrowed together, so their refusals speak of the row.
        """
        at = 0
        while at < len(permissions):
            first = permissions[at][0]
            row: list[Reservation] = []
            while at < len(permissions) and _beside(first, permissions[at][0]):
                permission, signed = permissions[at]
                at += 1
                if permission.token_id(self.ledger) in self.state.escrows or permission in row:
                    continue
                self._require_permitted(permission, signed)
                row.append(permission)
            if row:
                self._escrow(row)

    def _require_permitted(self, permission: Reservation, signed: Signed) -> None:
        if permission.agent == ZERO_ADDRESS:
            raise Refused("AgentZero")
        if permission.expires_at <= self.now or permission.expires_at >= 2**32:
            raise Refused("ExpiryInvalid", permission.expires_at)
        self._in_time(permission.deadline)
        self._require_signed(permission.holder, signed)

    def _escrow(self, row: Sequence[Reservation]) -> None:
        first = row[0]
        license_id, found = first.license_id, self._license(first.license_id)
        smallest, latest = min(each.prints for each in row), max(each.expires_at for each in row)
        if first.gateway != found.gateway:
            raise Refused("GatewayMismatch", license_id, found.gateway, first.gateway)
        if first.revision != found.revision:
            raise Refused("RevisionMismatch", license_id, found.revision, first.revision)
        if smallest < found.terms.smallest_reservation:
            raise Refused("ReservationTooSmall", license_id, smallest, found.terms.smallest_reservation)
        if self.now < found.terms.not_before:
            raise Refused("LicenseNotBegun", license_id, found.terms.not_before)
        if latest > found.terms.not_after:
            raise Refused("ExpiryAfterLicense", license_id, latest, found.terms.not_after)
        self._require_printable(found.terms.design_id, first.revision)
        self._take(first.holder, license_id, sum(each.prints for each in row))
        for permission in row:
            token_id, spares = permission.token_id(self.ledger), found.terms.spares(permission.prints)
            self.state.escrows[token_id] = Escrow(permission, spares)
            self._emit(
                "Reserved",
                token_id,
                license_id,
                permission.holder,
                permission.gateway,
                permission.agent,
                permission.revision,
                permission.prints,
                spares,
                permission.expires_at,
                permission.salt,
                permission.deadline,
            )

    def settle(self, sender: Address, gateway: Address, batches: Sequence[tuple[LicenseId, Sequence[Use]]]) -> None:
        for license_id, uses in batches:
            burned = sum(self._settle_one(sender, gateway, license_id, use) for use in uses)
            self._burn(license_id, burned)

    def _settle_one(self, sender: Address, gateway: Address, license_id: LicenseId, use: Use) -> int:
        """Count a use, or say why it is passed over; return the prints that are burned by it."""
        escrow = self.state.escrows.get(use.token_id)
        if escrow is None or (escrow.permission.gateway, escrow.permission.license_id) != (gateway, license_id):
            self._emit("UseSkipped", use.token_id, TOKEN_UNKNOWN)
            return 0
        trusted = self._acts_for(gateway, sender)
        voided = max(escrow.voided, use.voided) if trusted else escrow.voided
        burned = max(escrow.burned, min(max(use.sequence - voided, 0), escrow.permission.prints))
        skipped = self._why_skipped(escrow, use, trusted, (burned, voided))
        if skipped != NONE:
            self._emit("UseSkipped", use.token_id, skipped)
            return 0
        if escrow.has_ended:
            self._emit("SettledLate", use.token_id, use.sequence)
            return 0
        more = burned - escrow.burned
        escrow.burned, escrow.voided = burned, voided
        self._emit("Settled", use.token_id, use.sequence, burned, voided)
        return more

    def _why_skipped(self, escrow: Escrow, use: Use, trusted: bool, counts: tuple[int, int]) -> int:
        permission = escrow.permission
        if not 1 <= use.sequence <= permission.prints + escrow.spares:
            return SEQUENCE_OUT_OF_RANGE
        if not escrow.has_ended:
            if trusted and use.voided > min(escrow.spares, use.sequence):
                return VOIDED_OUT_OF_RANGE
            if not trusted and self.now < permission.expires_at + STRANGERS_SETTLE_AFTER:
                return TOO_EARLY
            if counts == (escrow.burned, escrow.voided):
                return STALE
        return NONE if use.signer == permission.agent else VOUCHER_INVALID

    def close(self, closing: Close, permission: Reservation, by_gateway: Signed, by_holder: Signed) -> None:
        token_id, escrow = self._token(permission)
        if closing.token_id != token_id:
            raise Refused("TokenMismatch", token_id, closing.token_id)
        if escrow.has_ended:
            return
        self._in_time(closing.deadline)
        limit = permission.prints + escrow.spares
        if closing.released > limit:
            raise Refused("ReleasedAbove", token_id, closing.released, limit)
        limit = min(closing.released, escrow.spares)
        if closing.voided > limit:
            raise Refused("VoidedAbove", token_id, closing.voided, limit)
        if by_gateway.signer is None or not self._acts_for(permission.gateway, by_gateway.signer):
            raise Refused("SignatureInvalid", permission.gateway)
        self._require_signed(permission.holder, by_holder)
        escrow.voided = max(escrow.voided, closing.voided)
        before = escrow.burned
        escrow.burned = max(before, min(max(closing.released - escrow.voided, 0), permission.prints))
        escrow.has_ended = True
        returned = permission.prints - escrow.burned
        self._emit("Closed", token_id, closing.released, escrow.voided, escrow.burned, returned)
        self._burn(permission.license_id, escrow.burned - before)
        self.state.units[permission.holder, permission.license_id] += returned

    def reclaim(self, permission: Reservation) -> None:
        token_id, escrow = self._token(permission)
        if escrow.has_ended:
            return
        if self.now < permission.expires_at + RECLAIM_AFTER:
            raise Refused("TokenOpen", token_id, permission.expires_at + RECLAIM_AFTER)
        escrow.has_ended = True
        returned = permission.prints - escrow.burned
        self._emit("Reclaimed", token_id, returned)
        self.state.units[permission.holder, permission.license_id] += returned

    def _burn(self, license_id: LicenseId, prints: int) -> None:
        """Burn escrowed units; a licence that pays as printed pays now."""
        if prints and (terms := self.state.licenses[license_id].terms).payout:
            self._credit(license_id, terms, prints * terms.price)

    # --- statements ---------------------------------------------------------------------------------------

    def cancel(self, contract: str, sender: Address, nonce: int) -> None:
        if not self._is_known(contract, sender, nonce, CANCELLED):
            self.state.statements[contract, sender, nonce] = CANCELLED
            self._emit("StatementCancelled", sender, nonce)

    def _is_known(self, contract: str, signer: Address, nonce: int, digest: Digest32) -> bool:
        known = self.state.statements.get((contract, signer, nonce))
        if known is not None and known != digest:
            raise Refused("NonceUsed", signer, nonce)
        return known is not None

    def _is_new(self, contract: str, signer: Address, statement: Any, domain: Domain, signed: Signed) -> bool:
        digest = statement.digest(domain)
        if self._is_known(contract, signer, statement.nonce, digest):
            return False
        self._in_time(statement.deadline)
        self._require_signed(signer, signed)
        self.state.statements[contract, signer, statement.nonce] = digest
        return True

    # --- checks -------------------------------------------------------------------------------------------

    def design_id(self, registration: Registration) -> DesignId:
        return DesignId(int.from_bytes(registration.digest(self.registry), "big"))

    def _design(self, design_id: int) -> Design:
        found = self.state.designs.get(DesignId(design_id))
        if found is None:
            raise Refused("DesignUnknown", design_id)
        return found

    def _license(self, license_id: LicenseId) -> License:
        found = self.state.licenses.get(license_id)
        if found is None:
            raise Refused("LicenseUnknown", license_id)
        return found

    def _owned(self, license_id: LicenseId, account: Address) -> License:
        found = self._license(license_id)
        if self._design(found.terms.design_id).owner != account:
            raise Refused("NotDesignOwner", found.terms.design_id, account)
        return found

    def _token(self, permission: Reservation) -> tuple[TokenId, Escrow]:
        token_id = permission.token_id(self.ledger)
        found = self.state.escrows.get(token_id)
        if found is None:
            raise Refused("TokenUnknown", token_id)
        return token_id, found

    def is_printable(self, design_id: DesignId, revision: int) -> bool:
        design = self._design(design_id)
        return 1 <= revision <= design.latest and revision not in design.recalled

    def _require_printable(self, design_id: DesignId, revision: int) -> None:
        if not self.is_printable(design_id, revision):
            raise Refused("RevisionNotPrintable", design_id, revision)

    def _require_accepted(
        self, design_id: DesignId, terms_digest: Digest32, gateway: Address, acceptance: Acceptance, accepted: Signed
    ) -> None:
        named = (acceptance.gateway, acceptance.design_id, acceptance.terms_digest)
        if named != (gateway, design_id, terms_digest):
            raise Refused("AcceptanceMismatch", *named)
        self._in_time(acceptance.deadline)
        declared = self.state.gateways.get(gateway)
        if declared is None or declared.profile == NO_DIGEST:
            raise Refused("GatewayUndeclared", gateway)
        if accepted.signer is None or not self._acts_for(gateway, accepted.signer):
            raise Refused("SignatureInvalid", gateway)

    def _acts_for(self, gateway: Address, who: Address) -> bool:
        return who == gateway or (gateway, who) in self.state.operators

    def _require_owner(
        self, design_id: DesignId, sender: Address | None, signed: Signed | None, otherwise: str
    ) -> None:
        owner = self._design(design_id).owner
        if signed is not None:
            self._require_signed(owner, signed)
        elif sender != owner:
            raise Refused(otherwise, design_id, sender)

    def _require_signed(self, signer: Address, signed: Signed) -> None:
        if signed.signer != signer:
            raise Refused("SignatureInvalid", signer)

    def _in_time(self, deadline: int) -> None:
        if self.now > deadline:
            raise Refused("DeadlinePassed", deadline)

    def _emit(self, name: str, *arguments: Any) -> None:
        self.state.events.append((name, arguments))


def voucher_digest(domain: Domain, use: Use) -> Digest32:
    """Return what the agent signs for a use."""
    return Redemption(use.token_id, use.sequence, use.request_digest).digest(domain)


def _beside(one: Reservation, other: Reservation) -> bool:
    return (one.license_id, one.holder, one.gateway, one.revision) == (
        other.license_id,
        other.holder,
        other.gateway,
        other.revision,
    )
