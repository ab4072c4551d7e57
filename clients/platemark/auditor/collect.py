"""Reads what an audit needs from one chain endpoint: events as hints, storage as the truth.

Nothing is asked of a gateway. Everything is read at one final block, so that all facts are of one moment.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from platemark.errors import RefusedError, VerificationError
from platemark.protocol.typed_data import Registration, Reservation, Terms
from platemark.protocol.units import (
    ZERO_ADDRESS,
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    address_text,
    id_text,
    parse_address,
)
from platemark.sdk.chain import BlockFacts, ChainClient, ChainEvent, ContractName
from platemark.verify.facts import (
    AnchorFact,
    BlockFact,
    ChainFacts,
    Contracts,
    DeclarationFact,
    DesignFact,
    GatewayFact,
    LicenseFact,
    MoveFact,
    ReservationFact,
    RevisionFact,
)
from platemark.verify.steps import Step

_REGISTRY_EVENTS: Final = (
    "DesignRegistered",
    "RevisionPublished",
    "ContentRevealed",
    "RevisionRecalled",
    "EditionLowered",
)
_LICENSE_EVENTS: Final = (
    "LicenseOffered",
    "LicenseAccepted",
    "LicenseMoved",
    "PrintsSold",
    "PrintsReturned",
    "Credited",
    "TransferSingle",
    "TransferBatch",
)
_RESERVATION_EVENTS: Final = ("Reserved", "Settled", "Closed", "Reclaimed")
_GATEWAY_EVENTS: Final = ("GatewayDeclared", "Anchored")

Progress = Callable[[str], None]


def find_contracts(chain: ChainClient, ledger: Address, *, chain_id: int) -> Contracts:
    """Return the three contracts, found from the ledger, after their code was compared with what is shipped.

    Errors: VerificationError `wrong-chain`, `contract-code`; UpstreamError.
    """
    chain.check_chain(chain_id)
    chain.check_code("PrintLedger", ledger)
    print_license = parse_address(chain.read("PrintLedger", ledger, "license"))
    chain.check_code("PrintLicense", print_license)
    _same(chain.read("PrintLicense", print_license, "ledger"), ledger)
    registry = parse_address(chain.read("PrintLicense", print_license, "registry"))
    chain.check_code("DesignRegistry", registry)
    return Contracts(chain_id, registry, print_license, ledger)


def _same(found: str, expected: Address) -> None:
    if parse_address(found) != expected:
        raise VerificationError(
            "the licence contract belongs to another ledger",
            step=Step.CONTRACTS.label,
            code="contract-code",
            expected=address_text(expected),
            found=found,
        )


def collect(
    chain: ChainClient,
    contracts: Contracts,
    *,
    final: BlockFact | None = None,
    on_progress: Progress = lambda _: None,
) -> ChainFacts:
    """Return all facts of the three contracts up to `final`, by default the newest final block.

    Errors: UpstreamError; VerificationError `endpoint-contradicts` for an endpoint whose events are not its storage's.
    """
    reader = _Reader(chain, contracts, final)
    on_progress("designs")
    designs = reader.designs()
    on_progress("licences")
    licenses = reader.licenses()
    on_progress("reservations")
    reservations = reader.reservations()
    on_progress("anchors")
    gateways = reader.gateways()
    return ChainFacts(contracts, reader.final, designs, licenses, reservations, gateways)


class _Reader:
    """Reads at one final block, and remembers blocks."""

    def __init__(self, chain: ChainClient, contracts: Contracts, final: BlockFact | None) -> None:
        self.chain = chain
        self.contracts = contracts
        self._blocks: dict[int, BlockFact] = {}
        self.final = final or self._known(chain.final_block())

    def block(self, number: int) -> BlockFact:
        return self._blocks.get(number) or self._known(self.chain.block(number))

    def _known(self, found: BlockFacts) -> BlockFact:
        known = self._blocks[found.number] = BlockFact(found.number, found.hash, found.timestamp)
        return known

    def block_of(self, event: ChainEvent) -> BlockFact:
        block = self.block(event.block)
        if block.hash != event.block_hash:
            raise _contradicts(
                f"an event of block {event.block} has another block's hash", block.hash.hex(), event.block_hash.hex()
            )
        return block

    def events(self, contract: ContractName, address: Address, names: Sequence[str]) -> Iterator[ChainEvent]:
        """Yield events as they are read: a chain has more of them than memory."""
        return self.chain.events(contract, address, names, from_block=0, to_block=self.final.number)

    def read(self, contract: ContractName, address: Address, function: str, *arguments: Any) -> Any:
        try:
            return self.chain.read(contract, address, function, *arguments, block=self.final.number)
        except RefusedError as error:
            raise _contradicts(
                f"{contract} knows nothing of what an event tells", f"an answer of {function}", error.code
            ) from error

    def designs(self) -> dict[DesignId, DesignFact]:
        registry = self.contracts.registry
        registrations: dict[DesignId, Registration] = {}
        revisions: dict[DesignId, dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
        editions: dict[DesignId, int] = {}
        for event in self.events("DesignRegistry", registry, _REGISTRY_EVENTS):
            values = event.arguments
            design_id = DesignId(values["designId"])
            match event.name:
                case "DesignRegistered":
                    registrations[design_id] = _registration(values)
                    editions[design_id] = values["edition"]
                    revisions[design_id][1] |= _committed(values, self.block_of(event))
                case "RevisionPublished":
                    revisions[design_id][values["revision"]] |= _committed(values, self.block_of(event))
                case "ContentRevealed":
                    revealed = {"files_root": Digest32(values["filesRoot"]), "salt": Digest32(values["salt"])}
                    revisions[design_id][values["revision"]] |= revealed
                case "EditionLowered":
                    editions[design_id] = values["edition"]
                case _:
                    recalled = {"recalled": self.block_of(event), "recall_reason": Digest32(values["reasonDigest"])}
                    revisions[design_id][values["revision"]] |= recalled
        if unregistered := revisions.keys() - registrations.keys():
            raise _contradicts(
                "a design has revisions and no registration", "a registration", id_text(min(unregistered))
            )
        return {
            design_id: self._design(
                design_id,
                registration,
                {number: _revision(number, found) for number, found in revisions[design_id].items()},
                editions[design_id],
            )
            for design_id, registration in registrations.items()
        }

    def _design(
        self, design_id: DesignId, registration: Registration, revisions: Mapping[int, RevisionFact], edition: int
    ) -> DesignFact:
        """Return a design whose revisions are in storage as events tell them: none hidden, none recalled in silence."""
        registry = self.contracts.registry
        latest = self.read("DesignRegistry", registry, "latestRevision", design_id)
        if sorted(revisions) != list(range(1, latest + 1)):
            raise _contradicts("a design has other revisions than its events", f"1 to {latest}", str(sorted(revisions)))
        for number, revision in revisions.items():
            stands = self.read("DesignRegistry", registry, "isPrintable", design_id, number)
            if stands != (revision.recalled is None):
                raise _contradicts(
                    f"revision {number} of a design is recalled in storage or in events alone",
                    "not recalled" if stands else "recalled",
                    "recalled" if stands else "not recalled",
                )
        stored = self.read("DesignRegistry", registry, "editionOf", design_id)
        if stored != edition:
            raise _contradicts("a design has another edition than its events tell", str(stored), str(edition))
        owner = parse_address(self.read("DesignRegistry", registry, "ownerOf", design_id))
        return DesignFact(design_id, registration, owner, revisions, edition)

    def licenses(self) -> dict[LicenseId, LicenseFact]:
        told: dict[LicenseId, _ToldLicense] = defaultdict(_ToldLicense)
        for event in self.events("PrintLicense", self.contracts.print_license, _LICENSE_EVENTS):
            values = event.arguments
            match event.name:
                case "LicenseOffered":
                    found = told[LicenseId(values["licenseId"])]
                    found.terms, found.block = _terms(values["terms"]), self.block_of(event)
                    found.accept(values)
                case "LicenseMoved":
                    found = told[LicenseId(values["licenseId"])]
                    found.moves.append(MoveFact(parse_address(values["gateway"]), self.block_of(event)))
                    found.accept(values)
                case "TransferSingle":
                    found = told[LicenseId(values["id"])]
                    found.holders.add(parse_address(values["to"]))
                    if parse_address(values["from"]) == ZERO_ADDRESS:
                        found.made += values["value"]
                case "TransferBatch":
                    for license_id in values["ids"]:
                        told[LicenseId(license_id)].holders.add(parse_address(values["to"]))
                case name:
                    told[LicenseId(values["licenseId"])].count(name, values)
        return {
            license_id: self._license(license_id, found, found.terms, found.block)
            for license_id, found in told.items()
            if found.terms is not None and found.block is not None
        }

    def _license(self, license_id: LicenseId, told: "_ToldLicense", terms: Terms, block: BlockFact) -> LicenseFact:
        """Return a licence whose gateway in storage is the one that events tell, with its prints where they are."""
        address = self.contracts.print_license
        stored = self.read("PrintLicense", address, "termsOf", license_id)
        fact = LicenseFact(
            license_id,
            terms,
            {revision: tuple(keys) for revision, keys in told.accepted.items()},
            told.made - told.sums["PrintsSold"],
            told.sums["PrintsSold"],
            stored.minted,
            block,
            returned=told.sums["PrintsReturned"],
            balances={
                holder: self._balance(holder, license_id)
                for holder in sorted(told.holders - {ZERO_ADDRESS, self.contracts.ledger})
            },
            escrowed=self._balance(self.contracts.ledger, license_id),
            moves=tuple(told.moves),
            paid=told.sums["paid"],
            credited=told.sums["amount"],
            refunded=told.sums["refund"],
        )
        if parse_address(stored.gateway) != fact.gateway:
            raise _contradicts(
                "a licence is with another gateway than its events tell", stored.gateway, address_text(fact.gateway)
            )
        return fact

    def _balance(self, holder: Address, license_id: LicenseId) -> int:
        address = self.contracts.print_license
        return int(self.read("PrintLicense", address, "balanceOf", address_text(holder), license_id))

    def reservations(self) -> dict[TokenId, ReservationFact]:
        reserved: dict[TokenId, tuple[Reservation, int, BlockFact]] = {}
        sequences: dict[TokenId, int] = defaultdict(int)
        closed: dict[TokenId, tuple[int, int]] = {}
        counted: dict[TokenId, tuple[int, int]] = {}
        returned: dict[TokenId, int] = {}
        for event in self.events("PrintLedger", self.contracts.ledger, _RESERVATION_EVENTS):
            values = event.arguments
            match event.name:
                case "Reserved":
                    token_id = TokenId(values["tokenId"])
                    reserved[token_id] = (_reservation(values), values["spares"], self.block_of(event))
                case "Settled":
                    token_id = TokenId(values["tokenId"])
                    sequences[token_id] = max(sequences[token_id], values["sequence"])
                case "Closed":
                    token_id = TokenId(values["tokenId"])
                    closed[token_id] = (values["released"], values["voided"])
                    counted[token_id] = (values["burned"], values["voided"])
                    returned[token_id] = values["returned"]
                case _:
                    returned[TokenId(values["tokenId"])] = values["prints"]
        facts: dict[TokenId, ReservationFact] = {}
        for token_id, (permission, spares, block) in reserved.items():
            word = self.read(
                "PrintLedger",
                self.contracts.ledger,
                "reservationOf",
                address_text(permission.gateway),
                permission.license_id,
                token_id,
            )
            if word.spares != spares:
                raise _contradicts("a reservation has other spares than its event", str(word.spares), str(spares))
            if word.closed != (token_id in returned):
                raise _contradicts(
                    "a reservation has ended in storage or in events alone",
                    "ended" if word.closed else "open",
                    "open" if word.closed else "ended",
                )
            if counted.get(token_id, (word.burned, word.voided)) != (word.burned, word.voided):
                raise _contradicts(
                    "a token was closed with other counts than are stored",
                    f"{word.burned} burned, {word.voided} voided",
                    "{} burned, {} voided".format(*counted[token_id]),
                )
            facts[token_id] = ReservationFact(
                token_id=token_id,
                permission=permission,
                spares=word.spares,
                block=block,
                agent_in_storage=parse_address(word.agent),
                prints_in_storage=word.prints,
                burned=word.burned,
                voided=word.voided,
                settled_sequence=sequences[token_id],
                closed=closed.get(token_id),
                returned=returned.get(token_id),
            )
        return facts

    def gateways(self) -> dict[Address, GatewayFact]:
        declarations: dict[Address, list[DeclarationFact]] = defaultdict(list)
        anchors: dict[Address, list[AnchorFact]] = defaultdict(list)
        for event in self.events("PrintLedger", self.contracts.ledger, _GATEWAY_EVENTS):
            values = event.arguments
            gateway = parse_address(values["gateway"])
            if event.name == "GatewayDeclared":
                profile = Digest32(values["profileDigest"])
                declarations[gateway].append(DeclarationFact(values["epoch"], profile, self.block_of(event)))
            else:
                anchors[gateway].append(self._anchor(values, self.block_of(event), event.transaction))
        if undeclared := anchors.keys() - declarations.keys():
            raise _contradicts("a gateway anchored and never declared", "a declaration", address_text(min(undeclared)))
        return {
            gateway: self._gateway(GatewayFact(gateway, tuple(found), tuple(anchors[gateway])))
            for gateway, found in declarations.items()
        }

    def _gateway(self, fact: GatewayFact) -> GatewayFact:
        """Return a gateway whose last declaration and last anchor are those in storage, so that none is hidden."""
        profile, epoch, size = self.read("PrintLedger", self.contracts.ledger, "gateways", address_text(fact.gateway))
        last = fact.declarations[-1]
        told = max((anchor.size for anchor in fact.anchors if anchor.epoch == last.epoch), default=0)
        if (Digest32(profile), epoch, size) != (last.profile_digest, last.epoch, told):
            raise _contradicts(
                "a gateway's last declaration or anchor is not in its events",
                f"epoch {epoch}, {size} entries, profile {profile.hex()}",
                f"epoch {last.epoch}, {told} entries, profile {last.profile_digest.hex()}",
            )
        return fact

    def _anchor(self, values: Mapping[str, Any], block: BlockFact, transaction: Digest32) -> AnchorFact:
        stored = self.read(
            "PrintLedger", self.contracts.ledger, "anchorAt", values["gateway"], values["epoch"], values["size"]
        )
        return AnchorFact(
            epoch=values["epoch"],
            size=values["size"],
            root=Digest32(values["root"]),
            tiles_digest=Digest32(values["tilesDigest"]),
            stored=Digest32(stored),
            block=block,
            transaction=transaction,
        )


@dataclass(slots=True)
class _ToldLicense:
    """What events tell of a licence, added up."""

    terms: Terms | None = None
    block: BlockFact | None = None
    accepted: dict[int, dict[Digest32, None]] = field(default_factory=lambda: defaultdict(dict))
    moves: list[MoveFact] = field(default_factory=list)
    holders: set[Address] = field(default_factory=set)
    made: int = 0
    sums: Counter[str] = field(default_factory=Counter)

    def accept(self, values: Mapping[str, Any]) -> None:
        """Note a key that a gateway accepted for a revision."""
        self.accepted[values["revision"]][Digest32(values["keyCommitment"])] = None

    def count(self, name: str, values: Mapping[str, Any]) -> None:
        """Add up prints under the event's name, and money under the name of its member."""
        if name == "LicenseAccepted":
            self.accept(values)
            return
        self.sums[name] += values.get("prints", 0)
        for member in ("paid", "amount", "refund"):
            self.sums[member] += values.get(member, 0)


def _contradicts(what: str, expected: str, found: str) -> VerificationError:
    return VerificationError(
        f"the chain endpoint contradicts itself: {what}",
        step=Step.CONTRACTS.label,
        code="endpoint-contradicts",
        expected=expected,
        found=found,
        hint="ask another endpoint",
    )


def _revision(number: int, found: Mapping[str, Any]) -> RevisionFact:
    if "commitment" not in found:
        raise _contradicts(f"revision {number} was never published", "its publication", "what came after it")
    return RevisionFact(revision=number, **found)


def _committed(values: Mapping[str, Any], block: BlockFact) -> dict[str, Any]:
    return {
        "commitment": Digest32(values["commitment"]),
        "manifest_digest": Digest32(values["manifestDigest"]),
        "block": block,
    }


def _registration(values: Mapping[str, Any]) -> Registration:
    return Registration(
        registrant=parse_address(values["registrant"]),
        commitment=Digest32(values["commitment"]),
        manifest_digest=Digest32(values["manifestDigest"]),
        is_private=values["isPrivate"],
        parent_id=DesignId(values["parentId"]),
        resale_share=values["resaleShare"],
        derivative_share=values["derivativeShare"],
        edition=values["edition"],
    )


def _terms(values: Any) -> Terms:
    return Terms(
        design_id=DesignId(values.designId),
        terms_digest=Digest32(values.termsDigest),
        currency=parse_address(values.currency),
        price=Wei(values.price),
        gateway=parse_address(values.gateway),
        cap=values.cap,
        not_before=UnixSeconds(values.notBefore),
        not_after=UnixSeconds(values.notAfter),
        spares_flat=values.sparesFlat,
        spares_per_hundred=values.sparesPerHundred,
        smallest_reservation=values.smallestReservation,
        transferable=values.transferable,
        payout=values.payout,
        salt=Digest32(values.salt),
    )


def _reservation(values: Mapping[str, Any]) -> Reservation:
    return Reservation(
        holder=parse_address(values["holder"]),
        gateway=parse_address(values["gateway"]),
        agent=parse_address(values["agent"]),
        license_id=LicenseId(values["licenseId"]),
        revision=values["revision"],
        prints=values["prints"],
        expires_at=UnixSeconds(values["expiresAt"]),
        deadline=UnixSeconds(values["deadline"]),
        salt=Digest32(values["salt"]),
    )
