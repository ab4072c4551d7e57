"""A chain endpoint in memory that tells honestly, as events and as storage, what `ChainFacts` say; for auditors.

Tests make it lie by changing `events_of` (what happened) or `storage` (what is so) afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from platemark.errors import Kind, RefusedError, UpstreamError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.typed_data import Terms
from platemark.protocol.units import ZERO_ADDRESS, Address, Digest32, Wei, address_text
from platemark.sdk.chain import BlockFacts, BlockTag, ChainClient, ChainEvent, ContractName, Sent
from platemark.verify.facts import BlockFact, ChainFacts, GatewayFact, LicenseFact, ReservationFact, RevisionFact

_TRANSACTION = Digest32(bytes(32))


@dataclass(frozen=True, slots=True)
class Transaction:
    """What somebody sent."""

    sender: Address
    function: str
    arguments: tuple[Any, ...]


@dataclass
class MemoryEndpoint(ChainClient):
    """Implements what auditors use of `ChainClient`."""

    facts: ChainFacts
    blocks: Mapping[int, BlockFact]
    name: str = "memory"
    sent: list[Transaction] = field(default_factory=list)
    foreign_code: set[Address] = field(default_factory=set)
    is_closed: bool = False

    def __post_init__(self) -> None:
        self.events_of: list[ChainEvent] = list(_events(self.facts))
        self.storage: dict[tuple[Any, ...], Any] = dict(_storage(self.facts))

    def __repr__(self) -> str:
        return f"MemoryEndpoint({self.name})"

    def close(self) -> None:
        self.is_closed = True

    def chain_id(self) -> int:
        return self.facts.contracts.chain_id

    def block(self, number: BlockTag) -> BlockFacts:
        found = self.facts.final if isinstance(number, str) else self.blocks.get(number)
        if found is None:
            raise UpstreamError(f"no block {number}", code="block-unknown")
        return BlockFacts(found.number, found.hash, found.timestamp)

    def check_code(self, contract: ContractName, address: Address) -> None:
        contracts = self.facts.contracts
        expected = {
            "DesignRegistry": contracts.registry,
            "PrintLicense": contracts.print_license,
            "PrintLedger": contracts.ledger,
        }
        if expected[contract] != address or address in self.foreign_code:
            raise VerificationError("other code", step="contracts", code="contract-code", expected="", found="")

    def read(
        self, contract: ContractName, address: Address, function: str, *arguments: Any, block: BlockTag = "latest"
    ) -> Any:
        if (function, *arguments) not in self.storage:
            raise RefusedError(f"{contract} refuses {function}", kind=Kind.CONFLICT, code="contract-refused")
        return self.storage[function, *arguments]

    def events(
        self,
        contract: ContractName,
        address: Address,
        names: Sequence[str],
        *,
        from_block: int,
        to_block: int,
        filters: Mapping[str, Any] | None = None,
    ) -> Iterator[ChainEvent]:
        yield from (
            event
            for event in self.events_of
            if event.contract == contract and event.name in names and from_block <= event.block <= to_block
        )

    def transact(
        self,
        account: AccountKey,
        contract: ContractName,
        address: Address,
        function: str,
        *arguments: Any,
        chain_id: int,
        value: Wei = Wei(0),  # noqa: B008 (an integer)
    ) -> Digest32:
        self.sent.append(Transaction(account.address, function, arguments))
        return Digest32(len(self.sent).to_bytes(32, "big"))

    def wait(self, transaction: Digest32, **_: Any) -> Sent:
        return Sent(transaction, self.facts.final.number, 21_000)

    # --- lies ---

    def forget(self, name: str) -> None:
        """Hide all events of a name."""
        self.events_of = [event for event in self.events_of if event.name != name]

    def tell(self, contract: ContractName, name: str, **arguments: Any) -> None:
        """Add an event in the last block."""
        self.events_of.append(_event(contract, name, self.facts.final, arguments))


def _event(
    contract: ContractName,
    name: str,
    block: BlockFact,
    arguments: Mapping[str, Any],
    transaction: Digest32 = _TRANSACTION,
) -> ChainEvent:
    return ChainEvent(contract, name, arguments, block.number, block.hash, transaction, 0)


def _events(facts: ChainFacts) -> Iterator[ChainEvent]:
    for design in facts.designs.values():
        registration = design.registration
        for number, revision in sorted(design.revisions.items()):
            which = {"designId": design.design_id, "revision": number}
            committed = {"commitment": revision.commitment, "manifestDigest": revision.manifest_digest}
            if number == 1:
                registered = {
                    "designId": design.design_id,
                    "registrant": address_text(registration.registrant),
                    "isPrivate": registration.is_private,
                    "parentId": registration.parent_id,
                    "resaleShare": registration.resale_share,
                    "derivativeShare": registration.derivative_share,
                    "edition": registration.edition,
                }
                yield _event("DesignRegistry", "DesignRegistered", revision.block, registered | committed)
            else:
                yield _event("DesignRegistry", "RevisionPublished", revision.block, which | committed)
            yield from _later_events(which, revision)
        if design.edition != registration.edition:
            lowered = {"designId": design.design_id, "edition": design.edition}
            yield _event("DesignRegistry", "EditionLowered", facts.final, lowered)
    for license_fact in facts.licenses.values():
        yield from _license_events(license_fact)
    for reservation in facts.reservations.values():
        yield from _reservation_events(reservation, facts.final)
    for gateway in facts.gateways.values():
        yield from _gateway_events(gateway)


def _later_events(which: Mapping[str, Any], revision: RevisionFact) -> Iterator[ChainEvent]:
    if revision.files_root is not None:
        revealed = {**which, "filesRoot": revision.files_root, "salt": revision.salt}
        yield _event("DesignRegistry", "ContentRevealed", revision.block, revealed)
    if revision.recalled is not None:
        yield _event(
            "DesignRegistry", "RevisionRecalled", revision.recalled, {**which, "reasonDigest": revision.recall_reason}
        )


def _license_events(found: LicenseFact) -> Iterator[ChainEvent]:
    which = {"licenseId": found.license_id}
    accepted = [
        {**which, "revision": revision, "keyCommitment": key}
        for revision, keys in sorted(found.accepted.items())
        for key in keys
    ]
    yield _event("PrintLicense", "LicenseOffered", found.block, {**accepted[0], "terms": _terms(found.terms)})
    for each in accepted[1:]:
        yield _event("PrintLicense", "LicenseAccepted", found.block, each)
    for move in found.moves:
        moved = {**accepted[-1], "gateway": address_text(move.gateway)}
        yield _event("PrintLicense", "LicenseMoved", move.block, moved)
    counts: dict[str, dict[str, int]] = {
        "PrintsSold": {"prints": found.sold, "paid": found.paid},
        "PrintsReturned": {"prints": found.returned, "refund": found.refunded},
        "Credited": {"amount": found.credited},
    }
    for name, values in counts.items():
        yield _event("PrintLicense", name, found.block, {**which, **values})
    holder = {"from": address_text(ZERO_ADDRESS), "to": address_text(next(iter(found.balances)))}
    made = {"id": found.license_id, "value": found.minted + found.sold, **holder}
    yield _event("PrintLicense", "TransferSingle", found.block, made)
    yield _event("PrintLicense", "TransferSingle", found.block, {**made, "from": holder["to"], "value": 7})
    yield _event("PrintLicense", "TransferBatch", found.block, {"ids": [found.license_id], **holder})


def _terms(terms: Terms) -> SimpleNamespace:
    return SimpleNamespace(
        designId=terms.design_id,
        termsDigest=terms.terms_digest,
        currency=address_text(terms.currency),
        price=terms.price,
        gateway=address_text(terms.gateway),
        cap=terms.cap,
        notBefore=terms.not_before,
        notAfter=terms.not_after,
        sparesFlat=terms.spares_flat,
        sparesPerHundred=terms.spares_per_hundred,
        smallestReservation=terms.smallest_reservation,
        transferable=terms.transferable,
        payout=terms.payout,
        salt=terms.salt,
    )


def _reservation_events(found: ReservationFact, final: BlockFact) -> Iterator[ChainEvent]:
    permission = found.permission
    which = {"tokenId": found.token_id}
    reserved = {
        **which,
        "licenseId": permission.license_id,
        "holder": address_text(permission.holder),
        "gateway": address_text(permission.gateway),
        "agent": address_text(permission.agent),
        "revision": permission.revision,
        "prints": permission.prints,
        "spares": found.spares,
        "expiresAt": permission.expires_at,
        "salt": permission.salt,
        "deadline": permission.deadline,
    }
    yield _event("PrintLedger", "Reserved", found.block, reserved)
    if found.settled_sequence:
        yield _event("PrintLedger", "Settled", final, {**which, "sequence": found.settled_sequence})
        yield _event("PrintLedger", "Settled", final, {**which, "sequence": 1})
    if found.closed is not None:
        released, voided = found.closed
        counts = {"voided": voided, "burned": found.burned}
        closed = {**which, "released": released, **counts, "returned": found.returned}
        yield _event("PrintLedger", "Closed", final, closed)
    elif found.returned is not None:
        yield _event("PrintLedger", "Reclaimed", final, {**which, "prints": found.returned})
        yield _event("PrintLedger", "SettledLate", final, {**which, "sequence": 1})


def _gateway_events(found: GatewayFact) -> Iterator[ChainEvent]:
    gateway = address_text(found.gateway)
    for declaration in found.declarations:
        declared = {"gateway": gateway, "epoch": declaration.epoch, "profileDigest": declaration.profile_digest}
        yield _event("PrintLedger", "GatewayDeclared", declaration.block, declared)
    for anchor in found.anchors:
        anchored = {
            "gateway": gateway,
            "epoch": anchor.epoch,
            "size": anchor.size,
            "root": anchor.root,
            "tilesDigest": anchor.tiles_digest,
        }
        yield _event("PrintLedger", "Anchored", anchor.block, anchored, anchor.transaction)


def _storage(facts: ChainFacts) -> Iterator[tuple[tuple[Any, ...], Any]]:
    contracts = facts.contracts
    yield ("license",), address_text(contracts.print_license)
    yield ("ledger",), address_text(contracts.ledger)
    yield ("registry",), address_text(contracts.registry)
    for design in facts.designs.values():
        yield ("latestRevision", design.design_id), max(design.revisions)
        yield ("ownerOf", design.design_id), address_text(design.owner)
        yield ("editionOf", design.design_id), design.edition
        for number, revision in design.revisions.items():
            yield ("isPrintable", design.design_id, number), revision.recalled is None
    for found in facts.licenses.values():
        yield (
            ("termsOf", found.license_id),
            SimpleNamespace(minted=found.minted_in_storage, gateway=address_text(found.gateway)),
        )
        yield ("balanceOf", address_text(contracts.ledger), found.license_id), found.escrowed
        for account, prints in found.balances.items():
            yield ("balanceOf", address_text(account), found.license_id), prints
    for reservation in facts.reservations.values():
        permission = reservation.permission
        key = ("reservationOf", address_text(permission.gateway), permission.license_id, reservation.token_id)
        ended = reservation.returned is not None
        yield (
            key,
            SimpleNamespace(
                agent=address_text(reservation.agent_in_storage),
                expiresAt=0 if ended else permission.expires_at,
                prints=reservation.prints_in_storage,
                burned=reservation.burned,
                voided=reservation.voided,
                spares=reservation.spares,
                closed=ended,
            ),
        )
    for gateway in facts.gateways.values():
        last = gateway.declarations[-1]
        size = max((anchor.size for anchor in gateway.anchors if anchor.epoch == last.epoch), default=0)
        name = address_text(gateway.gateway)
        yield ("gateways", name), (last.profile_digest, last.epoch, size)
        for anchor in gateway.anchors:
            yield ("anchorAt", name, anchor.epoch, anchor.size), anchor.stored
