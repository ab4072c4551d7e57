"""Hypothesis drives the reference model and the contracts side by side: same events, same refusals, same state.

Every act is tried with right and wrong arguments, by right and wrong people, in any order, while time passes.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from model.chain import Chain, running_chain
from model.reference import DAY, Model, Refused, Signed, Use, voucher_digest
from platemark.protocol.accounts import AccountKey, to_compact
from platemark.protocol.digests import commitment, sha256
from platemark.protocol.typed_data import (
    Acceptance,
    Appointment,
    Close,
    Declaration,
    Domain,
    EditionLimit,
    Grant,
    Mint,
    MintBatch,
    Move,
    Offer,
    Publication,
    Recall,
    Registration,
    RegistrationBatch,
    Reservation,
    Return,
    Sale,
    Struct,
    Terms,
    Withdrawal,
    ledger_domain,
    license_domain,
    registry_domain,
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
    address_text,
)
from platemark_gateway.ports import Contract, Deployment

pytestmark = [pytest.mark.anvil, pytest.mark.slow]

START: Final = 1_900_000_000
DESIGNERS: Final = tuple(AccountKey(bytes([1, at]) * 16) for at in (1, 2))
HOLDERS: Final = tuple(AccountKey(bytes([2, at]) * 16) for at in (1, 2))
GATEWAYS: Final = tuple(AccountKey(bytes([3, at]) * 16) for at in (1, 2))
OPERATOR: Final = AccountKey(b"\x04" * 32)
AGENTS: Final = tuple(AccountKey(bytes([5, at]) * 16) for at in (1, 2))
STRANGER: Final = AccountKey(b"\x06" * 32)
PEOPLE: Final = (*DESIGNERS, *HOLDERS, *GATEWAYS, OPERATOR, *AGENTS, STRANGER)
SALTS: Final = tuple(sha256(bytes([at])) for at in range(6))
ROOT: Final = sha256(b"files")
TERMS_DIGEST: Final = sha256(b"terms")
PRICE: Final = 1009
"""A prime: shares of it leave remainders."""

ESSENTIAL: Final = {"register", "publish", "recall", "offer", "mint", "purchase", "setGateway", "withdraw"} | {
    "reserve",
    "reserveBatch",
    "settle",
    "close",
    "reclaim",
    "anchor",
}

people = st.sampled_from(PEOPLE)
mostly_right = st.sampled_from([True] * 9 + [False])
registrations = st.runner().flatmap(lambda world: st.sampled_from(world.registrations))
offers = st.runner().flatmap(lambda world: st.sampled_from(world.offers))
permissions = st.runner().flatmap(lambda world: st.sampled_from(world.permissions))
salts = st.sampled_from(SALTS)
nonces = st.integers(0, 20)
few = st.integers(0, 6)


def fault(data: st.DataObject, *names: str) -> str:
    """Draw what is wrong with an act: every other time nothing, else one of these."""
    return data.draw(st.sampled_from(["", *names] if data.draw(st.booleans()) else [""]))


revised = st.runner().flatmap(lambda world: st.sampled_from(world.revised() or world.registrations))
printed = st.runner().flatmap(lambda world: st.sampled_from([each for each in world.offers if each.payout]))


class SideBySide(RuleBasedStateMachine):
    """One world in two tellings."""

    chain: Chain
    deployment: Deployment
    token: Address
    snapshots: list[str]
    happened: Counter[tuple[str, str]]

    def __init__(self) -> None:
        super().__init__()
        # anvil forgets a snapshot when it goes back to it
        self.chain.anvil.rpc("evm_revert", self.snapshots.pop())
        self.snapshots.append(self.chain.anvil.rpc("evm_snapshot"))
        found = self.deployment
        self.registry = registry_domain(found.chain_id, found.registry)
        self.license = license_domain(found.chain_id, found.license)
        self.ledger = ledger_domain(found.chain_id, found.ledger)
        self.model = Model(self.registry, self.license, self.ledger, [self.token])
        self.now = START
        self.registrations: list[Registration] = []
        self.offers: list[Terms] = []
        self.permissions: list[Reservation] = []

    # --- how an act is done in both -----------------------------------------------------------------------

    def both(
        self,
        model: Callable[[], Any],
        sender: AccountKey,
        contract: Contract,
        function: str,
        *arguments: Any,
        coins: int = 0,
    ) -> bool:
        """Do an act in both; return whether it was taken."""
        self.now += 1
        self.model.now = self.now
        told: Any
        happened: Any
        try:
            told = self.model.attempt(model)
        except Refused as refused:
            told = (refused.name, refused.arguments)
        try:
            happened = self.chain.send(
                self.deployment, sender.address, contract, function, arguments, coins=coins, at=self.now
            )
        except Refused as refused:
            happened = (refused.name, refused.arguments)
        assert plain(happened) == plain(told), function
        taken = isinstance(told, list)
        self.happened[function, "" if taken else told[0]] += 1
        return taken

    def signature(self, signer: AccountKey, statement: Struct, domain: Domain, *, right: bool) -> tuple[bytes, Signed]:
        """Return a signature over a statement, or, not `right`, over another."""
        digest = statement.digest(domain)
        if not right:
            return signer.sign(sha256(digest)), Signed(None)
        return signer.sign(digest), Signed(signer.address)

    def deadline(self, right: bool) -> UnixSeconds:
        return UnixSeconds(self.now + (1000 if right else -5))

    # --- gateways -----------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Two gateways; a design and one derived from it; licences of every kind, sold, given and reserved."""
        for gateway in GATEWAYS:
            self.declare(gateway, 1, new_epoch=False)
        self.appoint(GATEWAYS[0], OPERATOR, allowed=True, signs=False, right=True, nonce=0)
        for at, owner in enumerate(DESIGNERS):
            registration = Registration(
                registrant=owner.address,
                commitment=commitment(owner.address, SALTS[at], ROOT),
                manifest_digest=SALTS[at],
                is_private=False,
                parent_id=DesignId(0) if at == 0 else self.model.design_id(self.registrations[0]),
                resale_share=500,
                derivative_share=3333,
                edition=0 if at == 0 else 30,
            )
            self.send_registration(registration, owner)
        for at in range(4):
            self.send_offer(at)
        for terms in self.offers:
            if not terms.payout:
                self.mint(terms, HOLDERS[0], 6, right=True)
            self.purchase(terms, HOLDERS[1], HOLDERS[1], 9, extra=True)
        for at, terms in enumerate(self.offers):
            self.send_permission(terms, HOLDERS[1], AGENTS[at % 2], 4)

    def send_registration(self, registration: Registration, sender: AccountKey) -> None:
        taken = self.both(
            lambda: self.model.register(sender.address, registration),
            sender,
            Contract.REGISTRY,
            "register",
            registration.arguments(),
        )
        if taken and registration not in self.registrations:
            self.registrations.append(registration)

    def send_offer(self, at: int) -> None:
        """Offer a sound licence: `at` chooses its design, currency, payout and spares."""
        design_id = self.model.design_id(self.registrations[at % 2])
        terms = Terms(
            design_id=design_id,
            terms_digest=TERMS_DIGEST,
            currency=(ZERO_ADDRESS, self.token)[at // 2],
            price=Wei(PRICE),
            gateway=GATEWAYS[0].address,
            cap=20,
            not_before=UnixSeconds(0),
            not_after=UnixSeconds(START + 40 * DAY),
            spares_flat=1,
            spares_per_hundred=20,
            smallest_reservation=2 + at % 2,
            transferable=at % 2 == 0,
            payout=at % 2,
            salt=SALTS[at],
        )
        statement = Offer(terms, on_sale=True, deadline=self.deadline(True))
        acceptance = Acceptance(GATEWAYS[0].address, design_id, 1, SALTS[0], TERMS_DIGEST, self.deadline(True))
        word_, accepted = self.signature(GATEWAYS[0], acceptance, self.license, right=True)
        owner = self.owner(design_id)
        self.both(
            lambda: self.model.offer(owner.address, statement, acceptance, accepted, None),
            owner,
            Contract.LICENSE,
            "offer",
            terms.arguments(),
            True,
            acceptance.arguments(),
            word_,
        )
        self.offers.append(terms)

    def send_permission(self, terms: Terms, holder: AccountKey, agent: AccountKey, prints: int) -> None:
        found = self.model.state.licenses[terms.license_id(self.license)]
        permission = Reservation(
            holder=holder.address,
            gateway=found.gateway,
            agent=agent.address,
            license_id=terms.license_id(self.license),
            revision=found.revision,
            prints=prints,
            expires_at=UnixSeconds(self.now + DAY),
            deadline=self.deadline(True),
            salt=SALTS[0],
        )
        self.send_reservation(permission, *self.signature(holder, permission, self.ledger, right=True))

    def send_reservation(self, permission: Reservation, signature: bytes, signed: Signed) -> None:
        taken = self.both(
            lambda: self.model.reserve([(permission, signed)]),
            STRANGER,
            Contract.LEDGER,
            "reserve",
            permission.arguments(),
            signature,
        )
        if taken and permission not in self.permissions:
            self.permissions.append(permission)

    @rule(
        gateway=st.sampled_from([*GATEWAYS, STRANGER]), profile=st.sampled_from([1, 1, 2, 0]), new_epoch=st.booleans()
    )
    def declare(self, gateway: AccountKey, profile: int, new_epoch: bool) -> None:
        digest = sha256(bytes([profile])) if profile else Digest32(bytes(32))
        statement = Declaration(gateway.address, digest, new_epoch, 0, UnixSeconds(0))
        self.both(
            lambda: self.model.declare(gateway.address, statement),
            gateway,
            Contract.LEDGER,
            "declareGateway",
            digest,
            new_epoch,
        )

    @rule(
        gateway=st.sampled_from(GATEWAYS),
        signer=people,
        profile=st.sampled_from([1, 1, 2, 0]),
        new_epoch=st.booleans(),
        nonce=nonces,
        fresh=mostly_right,
    )
    def declare_by_sig(
        self, gateway: AccountKey, signer: AccountKey, profile: int, new_epoch: bool, nonce: int, fresh: bool
    ) -> None:
        digest = sha256(bytes([profile])) if profile else Digest32(bytes(32))
        statement = Declaration(gateway.address, digest, new_epoch, nonce, self.deadline(fresh))
        signature, signed = self.signature(gateway if fresh else signer, statement, self.ledger, right=True)
        self.both(
            lambda: self.model.declare(None, statement, signed),
            STRANGER,
            Contract.LEDGER,
            "declareGatewayBySig",
            statement.arguments(),
            signature,
        )

    @rule(
        gateway=st.sampled_from(GATEWAYS),
        operator=st.sampled_from([OPERATOR, GATEWAYS[1]]),
        allowed=st.booleans(),
        signs=st.booleans(),
        right=mostly_right,
        nonce=nonces,
    )
    def appoint(
        self, gateway: AccountKey, operator: AccountKey, allowed: bool, signs: bool, right: bool, nonce: int
    ) -> None:
        statement = Appointment(gateway.address, operator.address, allowed, nonce, self.deadline(right))
        if not signs:
            self.both(
                lambda: self.model.appoint(gateway.address, statement),
                gateway,
                Contract.LEDGER,
                "setOperator",
                address_text(operator.address),
                allowed,
            )
            return
        signature, signed = self.signature(gateway, statement, self.ledger, right=right)
        self.both(
            lambda: self.model.appoint(None, statement, signed),
            STRANGER,
            Contract.LEDGER,
            "setOperatorBySig",
            statement.arguments(),
            signature,
        )

    @rule(
        sender=st.sampled_from([None, None, None, *GATEWAYS, OPERATOR, STRANGER]),
        gateway=st.sampled_from([*GATEWAYS, *GATEWAYS, STRANGER]),
        off=st.sampled_from([0, 0, 0, 0, -1, 1]),
        size=st.integers(0, 5),
        root=salts,
        tiles=st.sampled_from(SALTS[:2]),
    )
    def anchor(
        self, sender: AccountKey | None, gateway: AccountKey, off: int, size: int, root: Digest32, tiles: Digest32
    ) -> None:
        """By the gateway or somebody else, in its epoch or one `off` from it."""
        declared = self.model.state.gateways.get(gateway.address)
        epoch = max((declared.epoch if declared else 1) + off, 0)
        actor = sender or gateway
        self.both(
            lambda: self.model.anchor(actor.address, gateway.address, epoch, size, root, tiles),
            actor,
            Contract.LEDGER,
            "anchor",
            address_text(gateway.address),
            epoch,
            size,
            root,
            tiles,
        )

    @rule(sender=people, nonce=nonces, contract=st.sampled_from([Contract.LICENSE, Contract.LEDGER]))
    def cancel(self, sender: AccountKey, nonce: int, contract: Contract) -> None:
        space = "license" if contract is Contract.LICENSE else "ledger"
        self.both(lambda: self.model.cancel(space, sender.address, nonce), sender, contract, "cancelStatement", nonce)

    # --- designs ------------------------------------------------------------------------------------------

    def registration(self, owner: AccountKey, salt: Digest32, data: st.DataObject) -> Registration:
        wrong = fault(data, "commitment", "parent", "resale", "derivative")
        known = list(self.model.state.designs)
        return Registration(
            registrant=owner.address,
            commitment=Digest32(bytes(32)) if wrong == "commitment" else commitment(owner.address, salt, ROOT),
            manifest_digest=salt,
            is_private=data.draw(st.booleans()),
            parent_id=DesignId(1) if wrong == "parent" else data.draw(st.sampled_from([DesignId(0), *known[-4:]])),
            resale_share=10_001 if wrong == "resale" else data.draw(st.sampled_from([0, 500, 10_000])),
            derivative_share=5001 if wrong == "derivative" else data.draw(st.sampled_from([0, 3333, 5000])),
            edition=data.draw(st.sampled_from([0, 1, 9, 20])),
        )

    @rule(owner=st.sampled_from(DESIGNERS), sender=people, salt=salts, data=st.data())
    def register(self, owner: AccountKey, sender: AccountKey, salt: Digest32, data: st.DataObject) -> None:
        registration = self.registration(owner, salt, data)
        if data.draw(st.booleans()):
            self.send_registration(registration, sender if data.draw(st.booleans()) else owner)
        else:
            signature, signed = self.signature(owner, registration, self.registry, right=data.draw(mostly_right))
            taken = self.both(
                lambda: self.model.register_by_sig(registration, signed),
                sender,
                Contract.REGISTRY,
                "registerBySig",
                registration.arguments(),
                signature,
            )
            if taken and registration not in self.registrations:
                self.registrations.append(registration)

    @rule(owner=st.sampled_from(DESIGNERS), right=mostly_right, data=st.data())
    def register_batch(self, owner: AccountKey, right: bool, data: st.DataObject) -> None:
        other = owner if right else STRANGER
        # One's faults are enough.
        batch = RegistrationBatch(
            (self.registration(owner, SALTS[0], data), self.registration(other, data.draw(salts), data))
        )
        signature, signed = self.signature(owner, batch, self.registry, right=data.draw(mostly_right))
        taken = self.both(
            lambda: self.model.register_batch_by_sig(batch, signed),
            STRANGER,
            Contract.REGISTRY,
            "registerBatchBySig",
            [each.arguments() for each in batch.registrations],
            signature,
        )
        if taken:
            self.registrations += [each for each in batch.registrations if each not in self.registrations]

    @rule(
        registration=st.one_of(registrations, revised),
        sender=people,
        right=mostly_right,
        later=st.sampled_from([0, 0, 1]),
    )
    def reveal(self, registration: Registration, sender: AccountKey, right: bool, later: int) -> None:
        design_id = self.model.design_id(registration)
        design = self.model.state.designs[design_id]
        revision = design.latest + later
        salt = design.manifests[min(revision, design.latest) - 1] if right else ROOT
        who = self.key(design.registrant) if right else sender

        def act() -> None:
            self.model.reveal(who.address, design_id, revision, salt, ROOT)

        if revision == 1:
            self.both(act, who, Contract.REGISTRY, "reveal", registration.arguments(), salt, ROOT)
        else:
            self.both(act, who, Contract.REGISTRY, "revealRevision", design_id, revision, salt, ROOT)

    @rule(registration=registrations, by_sig=st.booleans(), who=people, right=mostly_right, salt=salts, data=st.data())
    def publish(
        self,
        registration: Registration,
        by_sig: bool,
        who: AccountKey,
        right: bool,
        salt: Digest32,
        data: st.DataObject,
    ) -> None:
        design_id = self.model.design_id(registration)
        latest = self.model.state.designs[design_id].latest
        statement = Publication(
            design_id,
            latest + data.draw(st.sampled_from([1, 1, 1, 0, 2])),
            commitment(registration.registrant, salt, ROOT),
            salt,
            self.deadline(data.draw(mostly_right)),
        )
        self.owners_act(design_id, who, right, by_sig, statement, "publish", self.model.publish)

    @rule(registration=registrations, by_sig=st.booleans(), who=people, right=mostly_right, data=st.data())
    def recall(
        self, registration: Registration, by_sig: bool, who: AccountKey, right: bool, data: st.DataObject
    ) -> None:
        design_id = self.model.design_id(registration)
        revision = data.draw(st.integers(0, self.model.state.designs[design_id].latest + 1))
        statement = Recall(design_id, revision, SALTS[0], self.deadline(data.draw(mostly_right)))
        self.owners_act(design_id, who, right, by_sig, statement, "recall", self.model.recall)

    @rule(registration=registrations, by_sig=st.booleans(), who=people, right=mostly_right, edition=few)
    def lower_edition(
        self, registration: Registration, by_sig: bool, who: AccountKey, right: bool, edition: int
    ) -> None:
        design_id = self.model.design_id(registration)
        statement = EditionLimit(design_id, edition, self.deadline(True))
        self.owners_act(design_id, who, right, by_sig, statement, "lowerEdition", self.model.lower_edition)

    def owners_act(
        self,
        design_id: DesignId,
        who: AccountKey,
        right: bool,
        by_sig: bool,
        statement: Struct,
        function: str,
        act: Callable[..., None],
    ) -> None:
        """Do what a design's owner sends or signs; not `right`, somebody else does."""
        owner = self.owner(design_id)
        actor = owner if right else who
        if by_sig:
            signature, signed = self.signature(actor, statement, self.registry, right=True)
            self.both(
                lambda: act(None, statement, signed),
                STRANGER,
                Contract.REGISTRY,
                f"{function}BySig",
                statement.arguments(),
                signature,
            )
        else:
            self.both(lambda: act(actor.address, statement), actor, Contract.REGISTRY, function, statement.arguments())

    @rule(registration=registrations, to=st.sampled_from(DESIGNERS), right=mostly_right)
    def sell_design(self, registration: Registration, to: AccountKey, right: bool) -> None:
        design_id = self.model.design_id(registration)
        owner = self.owner(design_id)
        sender = owner if right else STRANGER
        self.both(
            lambda: self.model.sell_design(sender.address, to.address, design_id),
            sender,
            Contract.REGISTRY,
            "transferFrom",
            address_text(owner.address),
            address_text(to.address),
            design_id,
        )

    # --- licences -----------------------------------------------------------------------------------------

    @rule(
        registration=registrations,
        right=mostly_right,
        by_sig=st.booleans(),
        gateway=st.sampled_from([GATEWAYS[0]] * 5 + [GATEWAYS[1], STRANGER]),
        data=st.data(),
    )
    def offer(
        self, registration: Registration, right: bool, by_sig: bool, gateway: AccountKey, data: st.DataObject
    ) -> None:
        wrong = fault(
            data,
            "design",
            "currency",
            "price",
            "cap 0",
            "cap",
            "window",
            "flat",
            "hundred",
            "large",
            "smallest 0",
            "smallest",
            "payout",
            "deadline",
        )
        design_id = DesignId(7) if wrong == "design" else self.model.design_id(registration)
        payout = data.draw(st.integers(0, 1))
        terms = Terms(
            design_id=design_id,
            terms_digest=TERMS_DIGEST,
            currency=STRANGER.address
            if wrong == "currency"
            else data.draw(st.sampled_from([ZERO_ADDRESS, self.token])),
            price=Wei(0 if wrong == "price" else PRICE),
            gateway=gateway.address,
            cap={"cap 0": 0, "cap": 2**40 - 1, "large": 60_000}.get(wrong, data.draw(st.sampled_from([9, 20]))),
            not_before=UnixSeconds(data.draw(st.sampled_from([0, self.now + DAY]))),
            not_after=UnixSeconds(self.now + (-1 if wrong == "window" else data.draw(st.sampled_from([2, 40])) * DAY)),
            spares_flat=3 if wrong == "flat" else data.draw(st.integers(0, 1)),
            spares_per_hundred={"hundred": 51, "large": 50}.get(wrong, data.draw(st.sampled_from([0, 20]))),
            smallest_reservation={"smallest 0": 0, "smallest": 21}.get(wrong, data.draw(st.sampled_from([2, 4]))),
            transferable=data.draw(st.booleans()),
            payout=2 if wrong == "payout" else payout,
            salt=data.draw(salts),
        )
        statement = Offer(terms, data.draw(st.booleans()), self.deadline(wrong != "deadline"))
        acceptance, word, accepted = self.acceptance(terms.design_id, gateway, data)
        known = terms.design_id in self.model.state.designs
        owner = self.owner(terms.design_id) if right and known else STRANGER
        if by_sig:
            signature, signed = self.signature(owner, statement, self.license, right=True)
            taken = self.both(
                lambda: self.model.offer(None, statement, acceptance, accepted, signed),
                STRANGER,
                Contract.LICENSE,
                "offerBySig",
                terms.arguments(),
                statement.on_sale,
                statement.deadline,
                signature,
                acceptance.arguments(),
                word,
            )
        else:
            taken = self.both(
                lambda: self.model.offer(owner.address, statement, acceptance, accepted, None),
                owner,
                Contract.LICENSE,
                "offer",
                terms.arguments(),
                statement.on_sale,
                acceptance.arguments(),
                word,
            )
        if taken and terms not in self.offers:
            self.offers.append(terms)

    def acceptance(
        self, design_id: DesignId, gateway: AccountKey, data: st.DataObject
    ) -> tuple[Acceptance, bytes, Signed]:
        """Return a gateway's word, its signature and what the model believes of it; mostly right."""
        wrong = fault(data, "gateway", "revision", "revision 0", "old", "terms", "deadline", "signer")
        design = self.model.state.designs.get(design_id)
        latest = design.latest if design else 1
        statement = Acceptance(
            STRANGER.address if wrong == "gateway" else gateway.address,
            design_id,
            {"revision": latest + 1, "revision 0": 0, "old": 1}.get(wrong, latest),
            SALTS[0],
            SALTS[1] if wrong == "terms" else TERMS_DIGEST,
            self.deadline(wrong != "deadline"),
        )
        signer = STRANGER if wrong == "signer" else data.draw(st.sampled_from([gateway, gateway, OPERATOR]))
        return statement, *self.signature(signer, statement, self.license, right=True)

    @rule(terms=offers, data=st.data())
    def accept(self, terms: Terms, data: st.DataObject) -> None:
        license_id = terms.license_id(self.license)
        gateway = self.key(self.model.state.licenses[license_id].gateway)
        acceptance, word, accepted = self.acceptance(terms.design_id, gateway, data)
        self.both(
            lambda: self.model.accept(license_id, acceptance, accepted),
            STRANGER,
            Contract.LICENSE,
            "accept",
            license_id,
            acceptance.arguments(),
            word,
        )

    @rule(
        terms=offers,
        on_sale=st.booleans(),
        by_sig=st.booleans(),
        right=mostly_right,
        key=mostly_right,
        nonce=nonces,
    )
    def set_sale(self, terms: Terms, on_sale: bool, by_sig: bool, right: bool, key: bool, nonce: int) -> None:
        actor = self.owner(terms.design_id) if right else STRANGER
        statement = Sale(actor.address, terms.license_id(self.license), on_sale, nonce, self.deadline(True))
        if by_sig:
            signature, signed = self.signature(actor, statement, self.license, right=key)
            self.both(
                lambda: self.model.set_sale(None, statement, signed),
                STRANGER,
                Contract.LICENSE,
                "setSaleBySig",
                statement.arguments(),
                signature,
            )
        else:
            self.both(
                lambda: self.model.set_sale(actor.address, statement),
                actor,
                Contract.LICENSE,
                "setSale",
                statement.license_id,
                on_sale,
            )

    @rule(
        terms=offers,
        gateway=st.sampled_from(GATEWAYS),
        by_sig=st.booleans(),
        right=mostly_right,
        nonce=nonces,
        data=st.data(),
    )
    def set_gateway(
        self, terms: Terms, gateway: AccountKey, by_sig: bool, right: bool, nonce: int, data: st.DataObject
    ) -> None:
        actor = self.owner(terms.design_id) if right else STRANGER
        statement = Move(actor.address, terms.license_id(self.license), gateway.address, nonce, self.deadline(True))
        acceptance, word, accepted = self.acceptance(terms.design_id, gateway, data)
        if by_sig:
            signature, signed = self.signature(actor, statement, self.license, right=True)
            self.both(
                lambda: self.model.set_gateway(None, statement, acceptance, accepted, signed),
                STRANGER,
                Contract.LICENSE,
                "setGatewayBySig",
                statement.arguments(),
                signature,
                acceptance.arguments(),
                word,
            )
        else:
            self.both(
                lambda: self.model.set_gateway(actor.address, statement, acceptance, accepted),
                actor,
                Contract.LICENSE,
                "setGateway",
                statement.license_id,
                address_text(gateway.address),
                acceptance.arguments(),
                word,
            )

    @rule(terms=offers, to=st.sampled_from(HOLDERS), prints=few, right=mostly_right)
    def mint(self, terms: Terms, to: AccountKey, prints: int, right: bool) -> None:
        actor = self.owner(terms.design_id) if right else STRANGER
        license_id = terms.license_id(self.license)
        self.both(
            lambda: self.model.mint(actor.address, license_id, to.address, prints),
            actor,
            Contract.LICENSE,
            "mint",
            license_id,
            address_text(to.address),
            prints,
        )

    @rule(terms=offers, to=st.sampled_from(HOLDERS), prints=few, right=mostly_right, nonce=nonces, late=mostly_right)
    def mint_by_sig(self, terms: Terms, to: AccountKey, prints: int, right: bool, nonce: int, late: bool) -> None:
        actor = self.owner(terms.design_id) if right else STRANGER
        license_id = terms.license_id(self.license)
        statement = Mint(actor.address, license_id, to.address, prints, nonce, self.deadline(late))
        signature, signed = self.signature(actor, statement, self.license, right=True)
        self.both(
            lambda: self.model.mint_by_sig(statement, signed),
            STRANGER,
            Contract.LICENSE,
            "mintBySig",
            statement.arguments(),
            signature,
        )

    @rule(one=offers, other=offers, prints=few, right=mostly_right, nonce=nonces)
    def mint_batch(self, one: Terms, other: Terms, prints: int, right: bool, nonce: int) -> None:
        owner = self.owner(one.design_id)
        grants = tuple(
            Grant(terms.license_id(self.license), holder.address, prints)
            for terms, holder in zip((one, other), HOLDERS, strict=True)
        )
        statement = MintBatch(owner.address, grants, nonce, self.deadline(True))
        signature, signed = self.signature(owner if right else STRANGER, statement, self.license, right=True)
        self.both(
            lambda: self.model.mint_batch_by_sig(statement, signed),
            STRANGER,
            Contract.LICENSE,
            "mintBatchBySig",
            statement.arguments(),
            signature,
        )

    @rule(terms=offers, buyer=st.sampled_from(HOLDERS), to=st.sampled_from(HOLDERS), prints=few, extra=mostly_right)
    def purchase(self, terms: Terms, buyer: AccountKey, to: AccountKey, prints: int, extra: bool) -> None:
        license_id = terms.license_id(self.license)
        coins = (terms.price * prints if terms.currency == ZERO_ADDRESS else 0) + (0 if extra else 1)
        self.both(
            lambda: self.model.purchase(buyer.address, license_id, to.address, prints, coins),
            buyer,
            Contract.LICENSE,
            "purchase",
            license_id,
            address_text(to.address),
            prints,
            coins=coins,
        )

    @rule(
        terms=st.one_of(offers, printed),
        holder=st.sampled_from([HOLDERS[1], *HOLDERS]),
        prints=st.sampled_from([1, 2, 1, 0]),
        by_sig=st.booleans(),
        nonce=nonces,
        right=mostly_right,
    )
    def return_prints(
        self, terms: Terms, holder: AccountKey, prints: int, by_sig: bool, nonce: int, right: bool
    ) -> None:
        statement = Return(holder.address, terms.license_id(self.license), prints, nonce, self.deadline(True))
        if by_sig:
            signature, signed = self.signature(holder, statement, self.license, right=right)
            self.both(
                lambda: self.model.return_prints(None, statement, signed),
                STRANGER,
                Contract.LICENSE,
                "returnPrintsBySig",
                statement.arguments(),
                signature,
            )
        else:
            self.both(
                lambda: self.model.return_prints(holder.address, statement),
                holder,
                Contract.LICENSE,
                "returnPrints",
                statement.license_id,
                prints,
            )

    @rule(terms=st.one_of(printed, printed, offers), holder=st.sampled_from(HOLDERS))
    def return_prints_for(self, terms: Terms, holder: AccountKey) -> None:
        license_id = terms.license_id(self.license)
        self.both(
            lambda: self.model.return_prints_for(license_id, holder.address),
            STRANGER,
            Contract.LICENSE,
            "returnPrintsFor",
            license_id,
            address_text(holder.address),
        )

    @rule(
        payee=st.sampled_from([*DESIGNERS, *HOLDERS]),
        how=st.sampled_from(["self", "signed", "for"]),
        coins=st.booleans(),
        nonce=nonces,
        at_least=st.sampled_from([0, 1, PRICE, 5 * PRICE]),
        right=mostly_right,
    )
    def withdraw(self, payee: AccountKey, how: str, coins: bool, nonce: int, at_least: int, right: bool) -> None:
        currency = ZERO_ADDRESS if coins else self.token
        to = payee.address if how == "for" else STRANGER.address
        statement = Withdrawal(payee.address, currency, to, Wei(at_least), nonce, self.deadline(True))
        if how == "signed":
            signature, signed = self.signature(payee, statement, self.license, right=right)
            self.both(
                lambda: self.model.withdraw(None, statement, signed),
                STRANGER,
                Contract.LICENSE,
                "withdrawBySig",
                statement.arguments(),
                signature,
            )
        elif how == "self":
            self.both(
                lambda: self.model.withdraw(payee.address, statement),
                payee,
                Contract.LICENSE,
                "withdraw",
                address_text(currency),
                address_text(to),
            )
        else:
            self.both(
                lambda: self.model.withdraw(None, statement),
                STRANGER,
                Contract.LICENSE,
                "withdrawFor",
                address_text(payee.address),
                address_text(currency),
            )

    @rule(terms=offers, holder=st.sampled_from(HOLDERS), to=st.sampled_from(HOLDERS), prints=few)
    def transfer(self, terms: Terms, holder: AccountKey, to: AccountKey, prints: int) -> None:
        license_id = terms.license_id(self.license)
        self.both(
            lambda: self.model.transfer(holder.address, to.address, license_id, prints),
            holder,
            Contract.LICENSE,
            "safeTransferFrom",
            address_text(holder.address),
            address_text(to.address),
            license_id,
            prints,
            b"",
        )

    # --- prints -------------------------------------------------------------------------------------------

    def permission(self, terms: Terms, holder: AccountKey, data: st.DataObject, *, sound: bool = False) -> Reservation:
        wrong = (
            ""
            if sound
            else fault(data, "gateway", "agent", "license", "revision", "few", "past", "late", "never", "deadline")
        )
        found = self.model.state.licenses[terms.license_id(self.license)]
        agent = ZERO_ADDRESS if wrong == "agent" else data.draw(st.sampled_from(AGENTS)).address
        until = {"past": self.now, "late": self.now + 90 * DAY, "never": 2**32}.get(wrong, self.now + DAY)
        return Reservation(
            holder=holder.address,
            gateway=STRANGER.address if wrong == "gateway" else found.gateway,
            agent=agent,
            license_id=LicenseId(9) if wrong == "license" else terms.license_id(self.license),
            revision=found.revision + (wrong == "revision"),
            prints={"few": 0}.get(wrong, terms.smallest_reservation + (0 if sound else data.draw(st.integers(0, 3)))),
            expires_at=UnixSeconds(until),
            deadline=self.deadline(wrong != "deadline"),
            salt=data.draw(salts),
        )

    @rule(terms=offers, holder=st.sampled_from(HOLDERS), right=mostly_right, data=st.data())
    def reserve(self, terms: Terms, holder: AccountKey, right: bool, data: st.DataObject) -> None:
        permission = self.permission(terms, holder, data)
        self.send_reservation(permission, *self.signature(holder, permission, self.ledger, right=right))

    @rule(terms=offers, other=offers, holder=st.sampled_from(HOLDERS), data=st.data())
    def reserve_batch(self, terms: Terms, other: Terms, holder: AccountKey, data: st.DataObject) -> None:
        sound = data.draw(st.booleans())
        row = [self.permission(terms, holder, data, sound=sound) for _ in range(data.draw(st.integers(1, 2)))]
        row += [row[0]] * data.draw(st.integers(0, 1))
        row.append(self.permission(other, data.draw(st.sampled_from(HOLDERS)), data, sound=sound))
        signed = [self.signature(self.key(each.holder), each, self.ledger, right=True) for each in row]
        taken = self.both(
            lambda: self.model.reserve([(each, by) for each, (_, by) in zip(row, signed, strict=True)]),
            STRANGER,
            Contract.LEDGER,
            "reserveBatch",
            [each.arguments() for each in row],
            [signature for signature, _ in signed],
        )
        if taken:
            self.permissions += [each for each in dict.fromkeys(row) if each not in self.permissions]

    @rule(permission=permissions, again=st.booleans())
    def reserve_again(self, permission: Reservation, again: bool) -> None:
        self.send_reservation(permission, *self.signature(STRANGER, permission, self.ledger, right=again))

    @rule(
        first=permissions,
        second=permissions,
        sender=st.sampled_from([GATEWAYS[0], GATEWAYS[0], GATEWAYS[1], OPERATOR, STRANGER]),
        data=st.data(),
    )
    def settle(self, first: Reservation, second: Reservation, sender: AccountKey, data: st.DataObject) -> None:
        batches = []
        for permission in (first, second):
            uses = [self.use(permission, data) for _ in range(data.draw(st.integers(1, 2)))]
            batches.append((permission.license_id, uses))
        gateway = first.gateway
        self.both(
            lambda: self.model.settle(
                sender.address, gateway, [(at, [use for use, _ in uses]) for at, uses in batches]
            ),
            sender,
            Contract.LEDGER,
            "settle",
            address_text(gateway),
            [(at, [arguments for _, arguments in uses]) for at, uses in batches],
        )

    def use(self, permission: Reservation, data: st.DataObject) -> tuple[Use, tuple[Any, ...]]:
        token_id = permission.token_id(self.ledger)
        wrong = fault(data, "token", "sequence", "voided", "signer")
        use = Use(
            token_id=TokenId(3) if wrong == "token" else token_id,
            sequence=data.draw(st.sampled_from([0, 9])) if wrong == "sequence" else data.draw(st.integers(1, 5)),
            voided=9 if wrong == "voided" else data.draw(st.sampled_from([0, 0, 1])),
            request_digest=data.draw(salts),
            signer=STRANGER.address if wrong == "signer" else permission.agent,
        )
        r, vs = to_compact(self.key(use.signer).sign(voucher_digest(self.ledger, use)))
        return use, (use.token_id, use.sequence, use.voided, use.request_digest, r, vs)

    @rule(
        permission=permissions,
        released=few,
        voided=st.sampled_from([0, 0, 0, 1, 3]),
        right=mostly_right,
        data=st.data(),
    )
    def close(self, permission: Reservation, released: int, voided: int, right: bool, data: st.DataObject) -> None:
        token_id = permission.token_id(self.ledger)
        wrong = fault(data, "token", "deadline", "released", "signer")
        statement = Close(
            TokenId(3) if wrong == "token" else token_id,
            9 if wrong == "released" else released,
            voided,
            self.deadline(wrong != "deadline"),
        )
        by = STRANGER if wrong == "signer" else data.draw(st.sampled_from([self.key(permission.gateway), OPERATOR]))
        first, by_gateway = self.signature(by, statement, self.ledger, right=True)
        second, by_holder = self.signature(self.key(permission.holder), statement, self.ledger, right=right)
        self.both(
            lambda: self.model.close(statement, permission, by_gateway, by_holder),
            STRANGER,
            Contract.LEDGER,
            "close",
            statement.arguments(),
            permission.arguments(),
            first,
            second,
        )

    @rule(permission=permissions, known=mostly_right)
    def reclaim(self, permission: Reservation, known: bool) -> None:
        brought = permission if known else replace(permission, salt=sha256(permission.salt))
        self.both(lambda: self.model.reclaim(brought), STRANGER, Contract.LEDGER, "reclaim", brought.arguments())

    @rule(days=st.sampled_from([0, 0, 1, 3, 4, 10, 11]), seconds=st.integers(0, 2))
    def wait(self, days: int, seconds: int) -> None:
        """To around the limits of three and ten days."""
        self.now += days * DAY + seconds

    # --- what must be the same afterwards -----------------------------------------------------------------

    @invariant()
    def everything_is_the_same(self) -> None:
        state, found = self.model.state, self.deployment
        asked: list[tuple[Address, Contract, str, list[Any]]] = []
        told: list[Any] = []

        def expect(contract: Contract, function: str, arguments: list[Any], *values: Any) -> None:
            asked.append((found.address(contract), contract, function, arguments))
            told.append(values)

        for design_id, design in state.designs.items():
            expect(Contract.REGISTRY, "ownerOf", [design_id], design.owner)
            expect(Contract.REGISTRY, "latestRevision", [design_id], design.latest)
            expect(Contract.REGISTRY, "editionOf", [design_id], design.edition)
            expect(Contract.LICENSE, "editionMinted", [design_id], state.edition_minted.get(design_id, 0))
            for revision in range(design.latest + 2):
                printable = self.model.is_printable(design_id, revision)
                expect(Contract.REGISTRY, "isPrintable", [design_id, revision], printable)
        for license_id in state.licenses:
            for person in HOLDERS:
                units = state.units.get((person.address, license_id), 0)
                expect(Contract.LICENSE, "balanceOf", [address_text(person.address), license_id], units)
            escrowed = sum(
                each.permission.prints - each.burned
                for each in state.escrows.values()
                if each.permission.license_id == license_id and not each.has_ended
            )
            expect(Contract.LICENSE, "balanceOf", [address_text(found.ledger), license_id], escrowed)
        for person in (*DESIGNERS, *HOLDERS):
            for currency in (ZERO_ADDRESS, self.token):
                owed = state.owed.get((person.address, currency), 0)
                expect(Contract.LICENSE, "owed", [address_text(person.address), address_text(currency)], owed)
        assert self.chain.views(asked) == told
        self.licenses_are_the_same()
        self.reservations_are_the_same()
        assert self.chain.balance(found.license) == state.treasury.get(ZERO_ADDRESS, 0)
        assert self.chain.token_balance(self.token, found.license) == state.treasury.get(self.token, 0)

    def licenses_are_the_same(self) -> None:
        asked = [(self.deployment.license, Contract.LICENSE, "termsOf", [at]) for at in self.model.state.licenses]
        for (view,), told in zip(self.chain.views(asked), self.model.state.licenses.values(), strict=True):
            seen = (view["gateway"], view["minted"], view["revision"], view["onSale"], view["currency"])
            assert seen == (told.gateway, told.minted, told.revision, told.on_sale, told.terms.currency)

    def reservations_are_the_same(self) -> None:
        escrows = self.model.state.escrows
        asked = [
            (
                self.deployment.ledger,
                Contract.LEDGER,
                "reservationOf",
                [address_text(each.permission.gateway), each.permission.license_id, token_id],
            )
            for token_id, each in escrows.items()
        ]
        for (view,), told in zip(self.chain.views(asked), escrows.values(), strict=True):
            assert dict(view) == {
                "agent": told.permission.agent,
                "expiresAt": 0 if told.has_ended else told.permission.expires_at,
                "prints": told.permission.prints,
                "burned": told.burned,
                "voided": told.voided,
                "spares": told.spares,
                "closed": told.has_ended,
            }

    @invariant()
    def the_rules_hold(self) -> None:
        """What DESIGN calls invariants, over the model, which the contracts equal."""
        state = self.model.state
        for license_id, found in state.licenses.items():
            mine = [each for each in state.escrows.values() if each.permission.license_id == license_id]
            held = sum(units for (_, at), units in state.units.items() if at == license_id)
            escrowed = sum(each.permission.prints - each.burned for each in mine if not each.has_ended)
            burned = sum(each.burned for each in mine)
            assert found.minted == held + escrowed + burned <= found.terms.cap
        for each in state.escrows.values():
            assert each.burned <= each.permission.prints
            assert each.voided <= each.spares
        for currency in (ZERO_ADDRESS, self.token):
            owed = sum(amount for (_, at), amount in state.owed.items() if at == currency)
            backing = sum(
                found.terms.price * (found.minted - self.burned(license_id))
                for license_id, found in state.licenses.items()
                if found.terms.payout and found.terms.currency == currency
            )
            assert state.treasury[currency] == owed + backing

    def burned(self, license_id: LicenseId) -> int:
        escrows = self.model.state.escrows.values()
        return sum(each.burned for each in escrows if each.permission.license_id == license_id)

    # --- who ----------------------------------------------------------------------------------------------

    def key(self, address: Address | None) -> AccountKey:
        return next((each for each in PEOPLE if each.address == address), STRANGER)

    def revised(self) -> list[Registration]:
        designs = self.model.state.designs
        return [each for each in self.registrations if designs[self.model.design_id(each)].latest > 1]

    def owner(self, design_id: DesignId) -> AccountKey:
        return self.key(self.model.state.designs[design_id].owner)


def plain(value: Any) -> Any:
    """Return events or a refusal without Python's types: a struct is its members' values."""
    if isinstance(value, Terms):
        return [plain(getattr(value, name)) for name in value.__slots__]
    if isinstance(value, Mapping):
        return [plain(each) for each in value.values()]
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return int(value) if isinstance(value, int) else value


@pytest.fixture(scope="module")
def world() -> Iterator[type[SideBySide]]:
    with running_chain() as chain:
        for person in PEOPLE:
            chain.anvil.fund(person.address)
        deployment, token = chain.deploy(STRANGER.address)
        for holder in HOLDERS:
            chain.raw(holder.address, token, selector("make(address,uint256)") + word(holder.address) + number(10**30))
            chain.raw(
                holder.address, token, selector("approve(address,uint256)") + word(deployment.license) + number(10**30)
            )
        found = {"chain": chain, "deployment": deployment, "token": token}
        found["happened"] = Counter()
        found["snapshots"] = [chain.anvil.rpc("evm_snapshot")]
        yield type("World", (SideBySide,), found)


def selector(signature: str) -> bytes:
    from platemark.protocol.units import keccak256

    return keccak256(signature.encode())[:4]


def word(address: Address) -> bytes:
    return bytes(12) + address


def number(value: int) -> bytes:
    return value.to_bytes(32, "big")


@pytest.mark.timeout(900)
def test_contracts_do_what_the_model_does(world: type[SideBySide]) -> None:
    run_state_machine_as_test(
        world,
        settings=settings(
            max_examples=int(os.environ.get("PLATEMARK_TEST_LIVES", "40")),
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    tried = {function for function, _ in world.happened}
    taken = {function for function, refusal in world.happened if not refusal}
    refusals = {refusal for _, refusal in world.happened if refusal}
    # The lives were no idle ones.
    assert taken >= ESSENTIAL, ESSENTIAL - taken
    assert len(taken) >= 0.9 * len(tried), tried - taken
    assert len(refusals) > 30, sorted(refusals)
