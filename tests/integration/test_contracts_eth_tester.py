"""The contracts' whole life on an EVM in this process: the package's artefacts, Python's digests and signatures."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from contract_chain import DAY, DESIGNER, GATEWAY, HOLDER, Chain, RevertError
from platemark.protocol.accounts import AccountKey, to_compact
from platemark.protocol.digests import commitment, sha256
from platemark.protocol.typed_data import (
    Acceptance,
    Appointment,
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
    RegistrationBatch,
    Reservation,
    Return,
    Sale,
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
    address_text,
    parse_address,
)
from platemark.verify.chain_proof import ReservationWord, anchor_slot, reservation_slot

AGENT = AccountKey(b"\x04" * 32)
SALT = b"\x05" * 32
ROOT = Digest32(b"\x06" * 32)
TERMS_DIGEST = sha256(b"terms")
MANIFEST_DIGEST = sha256(b"manifest")
KEY_COMMITMENT = sha256(b"key")


@dataclass(frozen=True)
class Offered:
    """A licence on the chain, its terms and its design."""

    registration: Registration
    terms: Terms
    design_id: DesignId
    license_id: LicenseId


@pytest.fixture(scope="module")
def deployed() -> Chain:
    return Chain()


@pytest.fixture
def chain(deployed: Chain) -> Iterator[Chain]:
    snapshot = deployed.tester.take_snapshot()
    yield deployed
    deployed.tester.revert_to_snapshot(snapshot)


def registration(*, is_private: bool = False, edition: int = 0) -> Registration:
    return Registration(
        registrant=DESIGNER.address,
        commitment=commitment(DESIGNER.address, SALT, ROOT),
        manifest_digest=MANIFEST_DIGEST,
        is_private=is_private,
        parent_id=DesignId(0),
        resale_share=500,
        derivative_share=1000,
        edition=edition,
    )


@pytest.fixture
def offered(chain: Chain) -> Offered:
    design = registration()
    chain.send(chain.registry.functions.registerBySig(design.arguments(), chain.sign(DESIGNER, design)))
    chain.send(chain.ledger.functions.declareGateway(sha256(b"profile"), False), address_text(GATEWAY.address))
    terms = Terms(
        design_id=DesignId(chain.id(design)),
        terms_digest=TERMS_DIGEST,
        currency=ZERO_ADDRESS,
        price=Wei(10**9),
        gateway=GATEWAY.address,
        cap=50,
        not_before=UnixSeconds(0),
        not_after=UnixSeconds(chain.now() + 60 * DAY),
        spares_flat=0,
        spares_per_hundred=20,
        smallest_reservation=5,
        transferable=False,
        payout=0,
        salt=Digest32(b"\x07" * 32),
    )
    acceptance = Acceptance(
        GATEWAY.address, terms.design_id, 1, KEY_COMMITMENT, terms.terms_digest, UnixSeconds(chain.now() + DAY)
    )
    offer = Offer(terms, on_sale=True, deadline=UnixSeconds(chain.now() + DAY))
    events = chain.send(
        chain.license.functions.offerBySig(
            terms.arguments(),
            offer.on_sale,
            offer.deadline,
            chain.sign(DESIGNER, offer),
            acceptance.arguments(),
            chain.sign(GATEWAY, acceptance),
        )
    )
    license_id = terms.license_id(chain.domain(terms))
    assert events["LicenseOffered"][0]["licenseId"] == license_id
    return Offered(design, terms, terms.design_id, license_id)


def minted(chain: Chain, offered: Offered, prints: int = 10) -> None:
    mint = Mint(DESIGNER.address, offered.license_id, HOLDER.address, prints, 1, UnixSeconds(chain.now() + DAY))
    chain.send(chain.license.functions.mintBySig(mint.arguments(), chain.sign(DESIGNER, mint)))


def permission(chain: Chain, offered: Offered, prints: int = 10, agent: Address = AGENT.address) -> Reservation:
    return Reservation(
        holder=HOLDER.address,
        gateway=GATEWAY.address,
        agent=agent,
        license_id=offered.license_id,
        revision=1,
        prints=prints,
        expires_at=UnixSeconds(chain.now() + 5 * DAY),
        deadline=UnixSeconds(chain.now() + DAY),
        salt=Digest32(b"\x08" * 32),
    )


def reserved(chain: Chain, offered: Offered) -> Reservation:
    minted(chain, offered)
    reservation = permission(chain, offered)
    chain.send(chain.ledger.functions.reserve(reservation.arguments(), chain.sign(HOLDER, reservation)))
    return reservation


def use(chain: Chain, token_id: int, sequence: int, voided: int = 0, *, agent: AccountKey = AGENT) -> tuple[Any, ...]:
    redemption = Redemption(TokenId(token_id), sequence, sha256(b"request", bytes([sequence])))
    r, vs = to_compact(chain.sign(agent, redemption))
    return (token_id, sequence, voided, redemption.request_digest, r, vs)


def settle(chain: Chain, offered: Offered, *uses: tuple[Any, ...], sender: str | None = None) -> dict[str, Any]:
    batches = [(offered.license_id, list(uses))]
    return chain.send(chain.ledger.functions.settle(address_text(GATEWAY.address), batches), sender)


def state(chain: Chain, reservation: Reservation) -> Any:
    return chain.ledger.functions.reservationOf(
        address_text(reservation.gateway), reservation.license_id, chain.id(reservation)
    ).call()


def balance(chain: Chain, account: str, license_id: int) -> int:
    return int(chain.license.functions.balanceOf(account, license_id).call())


def test_ids_are_the_digests_that_python_computes(chain: Chain, offered: Offered) -> None:
    reservation = permission(chain, offered)
    registry, license_, ledger = chain.registry.functions, chain.license.functions, chain.ledger.functions
    assert registry.designIdOf(offered.registration.arguments()).call() == chain.id(offered.registration)
    assert license_.licenseIdOf(offered.terms.arguments()).call() == chain.id(offered.terms)
    assert ledger.tokenIdOf(reservation.arguments()).call() == chain.id(reservation)


def test_a_print_lives_from_registration_to_reclaim(chain: Chain, offered: Offered) -> None:
    registry, license_, ledger = chain.registry.functions, chain.license.functions, chain.ledger.functions
    gateway, holder = address_text(GATEWAY.address), address_text(HOLDER.address)
    revealed = chain.send(registry.reveal(offered.registration.arguments(), SALT, ROOT))
    assert revealed["ContentRevealed"][0]["filesRoot"] == ROOT
    assert registry.isPrintable(offered.design_id, 1).call()

    reservation = reserved(chain, offered)
    token_id = chain.id(reservation)
    assert balance(chain, holder, offered.license_id) == 0
    assert balance(chain, chain.ledger.address, offered.license_id) == 10

    anchored = chain.send(ledger.anchor(gateway, 1, 3, ROOT, sha256(b"tiles")), gateway)
    assert anchored["Anchored"][0]["epoch"] == 1
    assert ledger.anchorAt(gateway, 1, 3).call() == sha256(ROOT, sha256(b"tiles"))

    settled = settle(chain, offered, use(chain, token_id, 4, 1), sender=gateway)
    assert settled["Settled"] == [{"tokenId": token_id, "sequence": 4, "burned": 3, "voided": 1}]
    assert settle(chain, offered, use(chain, token_id, 4, 1), sender=gateway)["UseSkipped"][0]["reason"] == 6
    assert balance(chain, chain.ledger.address, offered.license_id) == 7

    with pytest.raises(RevertError) as early:
        chain.send(ledger.reclaim(reservation.arguments()))
    assert early.value.name == "TokenOpen"
    assert early.value.arguments == (token_id, reservation.expires_at + 10 * DAY)
    chain.travel(reservation.expires_at + 10 * DAY)
    assert chain.send(ledger.reclaim(reservation.arguments()))["Reclaimed"] == [{"tokenId": token_id, "prints": 7}]
    assert balance(chain, holder, offered.license_id) == 7
    assert chain.send(ledger.reclaim(reservation.arguments())) == {}

    late = settle(chain, offered, use(chain, token_id, 9), sender=gateway)
    assert late["SettledLate"] == [{"tokenId": token_id, "sequence": 9}]
    assert balance(chain, chain.ledger.address, offered.license_id) == 0
    assert state(chain, reservation).burned == 3
    assert license_.termsOf(offered.license_id).call().minted == 10


def test_the_ledger_stores_what_storage_proofs_are_read_for_where_they_look(chain: Chain, offered: Offered) -> None:
    reservation = reserved(chain, offered)
    gateway = address_text(GATEWAY.address)
    chain.send(chain.ledger.functions.anchor(gateway, 1, 3, ROOT, sha256(b"tiles")), gateway)
    settle(chain, offered, use(chain, chain.id(reservation), 4, 1), sender=gateway)

    def stored(slot: Digest32) -> int:
        return int.from_bytes(chain.web3.eth.get_storage_at(chain.ledger.address, int.from_bytes(slot, "big")), "big")

    assert stored(anchor_slot(GATEWAY.address, 1, 3)) == int.from_bytes(sha256(ROOT, sha256(b"tiles")), "big")
    word = stored(reservation_slot(GATEWAY.address, offered.license_id, TokenId(chain.id(reservation))))
    spares = offered.terms.spares(reservation.prints)
    assert ReservationWord.parse(word) == ReservationWord(
        AGENT.address, reservation.expires_at, reservation.prints, burned=3, voided=1, spares=spares
    )


def test_a_stranger_settles_only_three_days_after_expiry_and_moves_no_voids(chain: Chain, offered: Offered) -> None:
    reservation = reserved(chain, offered)
    token_id = chain.id(reservation)
    early = settle(chain, offered, use(chain, token_id, 4))
    assert early["UseSkipped"] == [{"tokenId": token_id, "reason": 3}]
    chain.travel(reservation.expires_at + 3 * DAY)
    settled = settle(chain, offered, use(chain, token_id, 4, 1))
    assert settled["Settled"] == [{"tokenId": token_id, "sequence": 4, "burned": 4, "voided": 0}]


def test_a_gateway_counts_nothing_without_the_agents_voucher(chain: Chain, offered: Offered) -> None:
    token_id = chain.id(reserved(chain, offered))
    forged = settle(chain, offered, use(chain, token_id, 5, agent=GATEWAY), sender=address_text(GATEWAY.address))
    assert forged["UseSkipped"] == [{"tokenId": token_id, "reason": 5}]


def test_gateway_and_holder_close_a_token_at_once(chain: Chain, offered: Offered) -> None:
    reservation = reserved(chain, offered)
    close = Close(TokenId(chain.id(reservation)), 3, 1, UnixSeconds(chain.now() + DAY))
    signatures = (chain.sign(GATEWAY, close), chain.sign(HOLDER, close))
    closed = chain.send(chain.ledger.functions.close(close.arguments(), reservation.arguments(), *signatures))
    expected = {"tokenId": close.token_id, "released": 3, "voided": 1, "burned": 2, "returned": 8}
    assert closed["Closed"] == [expected]
    assert state(chain, reservation).closed
    assert balance(chain, address_text(HOLDER.address), offered.license_id) == 8
    assert chain.send(chain.ledger.functions.close(close.arguments(), reservation.arguments(), *signatures)) == {}


def test_a_permission_works_once_and_only_with_the_holders_signature(chain: Chain, offered: Offered) -> None:
    minted(chain, offered)
    reservation = permission(chain, offered, prints=5)
    reserve = chain.ledger.functions.reserve
    with pytest.raises(RevertError) as refused:
        chain.send(reserve(reservation.arguments(), chain.sign(AGENT, reservation)))
    assert refused.value.name == "SignatureInvalid"
    assert parse_address(refused.value.arguments[0]) == HOLDER.address
    signature = chain.sign(HOLDER, reservation)
    assert len(chain.send(reserve(reservation.arguments(), signature))["Reserved"]) == 1
    assert chain.send(reserve(reservation.arguments(), signature)) == {}
    assert balance(chain, address_text(HOLDER.address), offered.license_id) == 5


def test_a_sale_is_owed_to_the_designer_and_pulled(chain: Chain, offered: Offered) -> None:
    buyer, designer = address_text(HOLDER.address), address_text(DESIGNER.address)
    purchase = chain.license.functions.purchase(offered.license_id, buyer, 4)
    with pytest.raises(RevertError) as refused:
        chain.send(purchase, buyer, value=1)
    assert (refused.value.name, refused.value.arguments) == ("PaymentMismatch", (4 * 10**9, 1))
    sold = chain.send(purchase, buyer, value=4 * 10**9)
    assert sold["PrintsSold"][0]["paid"] == 4 * 10**9
    assert chain.license.functions.owed(designer, address_text(ZERO_ADDRESS)).call() == 4 * 10**9
    before = chain.web3.eth.get_balance(chain.web3.to_checksum_address(designer))
    chain.send(chain.license.functions.withdrawFor(designer, address_text(ZERO_ADDRESS)))
    assert chain.web3.eth.get_balance(chain.web3.to_checksum_address(designer)) == before + 4 * 10**9


def test_recalled_revisions_are_not_reserved_and_an_acceptance_raises_the_revision(
    chain: Chain, offered: Offered
) -> None:
    minted(chain, offered)
    deadline = UnixSeconds(chain.now() + DAY)
    publication = Publication(offered.design_id, 2, sha256(b"second"), MANIFEST_DIGEST, deadline)
    chain.send(chain.registry.functions.publishBySig(publication.arguments(), chain.sign(DESIGNER, publication)))
    recall = Recall(offered.design_id, 1, sha256(b"reason"), deadline)
    chain.send(chain.registry.functions.recallBySig(recall.arguments(), chain.sign(DESIGNER, recall)))
    reservation = permission(chain, offered)
    reserve = chain.ledger.functions.reserve
    with pytest.raises(RevertError) as recalled:
        chain.send(reserve(reservation.arguments(), chain.sign(HOLDER, reservation)))
    assert (recalled.value.name, recalled.value.arguments) == ("RevisionNotPrintable", (offered.design_id, 1))
    acceptance = Acceptance(GATEWAY.address, offered.design_id, 2, KEY_COMMITMENT, TERMS_DIGEST, deadline)
    chain.send(
        chain.license.functions.accept(offered.license_id, acceptance.arguments(), chain.sign(GATEWAY, acceptance))
    )
    second = replace(reservation, revision=2)
    assert len(chain.send(reserve(second.arguments(), chain.sign(HOLDER, second)))["Reserved"]) == 1


def test_a_private_design_is_revealed_by_its_registrant_alone(chain: Chain) -> None:
    design = registration(is_private=True)
    chain.send(chain.registry.functions.registerBySig(design.arguments(), chain.sign(DESIGNER, design)))
    reveal = chain.registry.functions.reveal(design.arguments(), SALT, ROOT)
    with pytest.raises(RevertError) as refused:
        chain.send(reveal)
    assert refused.value.name == "NotRegistrant"
    assert "ContentRevealed" in chain.send(reveal, address_text(DESIGNER.address))


def test_many_designs_are_registered_with_one_signature(chain: Chain) -> None:
    registrations = tuple(replace(registration(edition=50), manifest_digest=sha256(b"m", bytes([i]))) for i in range(3))
    batch = RegistrationBatch(registrations)
    function = chain.registry.functions.registerBatchBySig(*batch.arguments(), chain.sign(DESIGNER, batch))
    assert [event["designId"] for event in chain.send(function)["DesignRegistered"]] == [
        chain.id(each) for each in registrations
    ]
    assert chain.send(function) == {}
    limit = EditionLimit(DesignId(chain.id(registrations[0])), 20, UnixSeconds(chain.now() + DAY))
    lowered = chain.send(chain.registry.functions.lowerEditionBySig(limit.arguments(), chain.sign(DESIGNER, limit)))
    assert lowered["EditionLowered"] == [{"designId": limit.design_id, "edition": 20}]
    assert chain.registry.functions.editionOf(limit.design_id).call() == 20


def test_what_python_signs_for_an_owner_the_contracts_take_once(chain: Chain, offered: Offered) -> None:
    license_ = chain.license.functions
    deadline = UnixSeconds(chain.now() + DAY)
    grants = tuple(Grant(offered.license_id, key.address, 5 + i) for i, key in enumerate((HOLDER, GATEWAY)))
    batch = MintBatch(DESIGNER.address, grants, 1, deadline)
    given = chain.send(license_.mintBatchBySig(batch.arguments(), chain.sign(DESIGNER, batch)))
    assert [event["value"] for event in given["TransferSingle"]] == [5, 6]
    assert chain.send(license_.mintBatchBySig(batch.arguments(), chain.sign(DESIGNER, batch))) == {}

    sale = Sale(DESIGNER.address, offered.license_id, on_sale=False, nonce=2, deadline=deadline)
    ended = chain.send(license_.setSaleBySig(sale.arguments(), chain.sign(DESIGNER, sale)))
    assert ended["SaleSet"] == [{"licenseId": offered.license_id, "onSale": False}]
    other = replace(sale, on_sale=True)
    with pytest.raises(RevertError) as used:
        chain.send(license_.setSaleBySig(other.arguments(), chain.sign(DESIGNER, other)))
    assert (used.value.name, used.value.arguments[1]) == ("NonceUsed", 2)


def test_a_gateway_signs_for_itself_and_a_licence_moves_to_it(chain: Chain, offered: Offered) -> None:
    deadline = UnixSeconds(chain.now() + DAY)
    declaration = Declaration(HOLDER.address, sha256(b"profile"), new_epoch=False, nonce=1, deadline=deadline)
    declared = chain.send(
        chain.ledger.functions.declareGatewayBySig(declaration.arguments(), chain.sign(HOLDER, declaration))
    )
    assert declared["GatewayDeclared"][0]["epoch"] == 1
    appointment = Appointment(HOLDER.address, AGENT.address, allowed=True, nonce=2, deadline=deadline)
    chain.send(chain.ledger.functions.setOperatorBySig(appointment.arguments(), chain.sign(HOLDER, appointment)))
    assert chain.ledger.functions.isOperator(address_text(HOLDER.address), address_text(AGENT.address)).call()

    move = Move(DESIGNER.address, offered.license_id, HOLDER.address, 3, deadline)
    acceptance = Acceptance(HOLDER.address, offered.design_id, 1, KEY_COMMITMENT, TERMS_DIGEST, deadline)
    moved = chain.send(
        chain.license.functions.setGatewayBySig(
            move.arguments(), chain.sign(DESIGNER, move), acceptance.arguments(), chain.sign(AGENT, acceptance)
        )
    )
    assert parse_address(moved["LicenseMoved"][0]["gateway"]) == HOLDER.address
    assert parse_address(chain.license.functions.termsOf(offered.license_id).call().gateway) == HOLDER.address


def test_prints_paid_as_printed_are_owed_when_counted_and_returned_for_their_price(
    chain: Chain, offered: Offered
) -> None:
    deadline = UnixSeconds(chain.now() + DAY)
    terms = replace(offered.terms, payout=1, salt=Digest32(b"\x09" * 32))
    acceptance = Acceptance(GATEWAY.address, terms.design_id, 1, KEY_COMMITMENT, terms.terms_digest, deadline)
    offer = Offer(terms, on_sale=True, deadline=deadline)
    license_ = chain.license.functions
    signatures = (chain.sign(DESIGNER, offer), acceptance.arguments(), chain.sign(GATEWAY, acceptance))
    chain.send(license_.offerBySig(terms.arguments(), offer.on_sale, offer.deadline, *signatures))
    license_id = terms.license_id(chain.domain(terms))
    holder, designer, coin = (address_text(each) for each in (HOLDER.address, DESIGNER.address, ZERO_ADDRESS))
    chain.send(license_.purchase(license_id, holder, 10), holder, value=10 * terms.price)
    assert license_.owed(designer, coin).call() == 0

    reservation = replace(permission(chain, offered, prints=6), license_id=license_id)
    chain.send(chain.ledger.functions.reserve(reservation.arguments(), chain.sign(HOLDER, reservation)))
    batches = [(license_id, [use(chain, chain.id(reservation), 5, 1)])]
    gateway = address_text(GATEWAY.address)
    settled = chain.send(chain.ledger.functions.settle(gateway, batches), gateway)
    assert settled["Credited"][0]["amount"] == 4 * terms.price == license_.owed(designer, coin).call()

    returned = Return(HOLDER.address, license_id, 4, 1, deadline)
    chain.send(license_.returnPrintsBySig(returned.arguments(), chain.sign(HOLDER, returned)))
    assert license_.owed(holder, coin).call() == 4 * terms.price
    asked = Wei(4 * terms.price)
    withdrawal = Withdrawal(DESIGNER.address, ZERO_ADDRESS, AGENT.address, asked, 1, deadline)
    more = replace(withdrawal, at_least=Wei(asked + 1))
    with pytest.raises(RevertError) as refused:
        chain.send(license_.withdrawBySig(more.arguments(), chain.sign(DESIGNER, more)))
    assert (refused.value.name, refused.value.arguments[2:]) == ("OwedTooLittle", (asked, asked + 1))
    chain.send(license_.withdrawBySig(withdrawal.arguments(), chain.sign(DESIGNER, withdrawal)))
    paid = chain.web3.eth.get_balance(chain.web3.to_checksum_address(address_text(AGENT.address)))
    assert paid == 4 * terms.price
