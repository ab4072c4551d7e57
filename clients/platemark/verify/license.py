"""Steps 5 and 6: the licence's terms are those that were offered and accepted, and its prints exist."""

from platemark.protocol.digests import sha256
from platemark.protocol.manifest import Manifest
from platemark.protocol.units import address_text, digest_text, id_text
from platemark.verify.facts import Contracts, LicenseFact, ReservationFact
from platemark.verify.steps import Step, fail, require


def check_terms(fact: LicenseFact, contracts: Contracts) -> None:
    """Pass when the licence's id is the digest of its terms.

    Errors: VerificationError `license-digest`.
    """
    found = fact.terms.license_id(contracts.license_domain)
    require(
        found == fact.license_id,
        Step.TERMS,
        "the licence's id is not the digest of its terms",
        code="license-digest",
        expected=id_text(fact.license_id),
        found=id_text(found),
    )


def check_terms_document(data: bytes, fact: LicenseFact) -> None:
    """Pass when the document is the one that the terms name.

    Errors: VerificationError `terms-digest`.
    """
    found = sha256(data)
    require(
        found == fact.terms.terms_digest,
        Step.TERMS,
        "the terms document is not the one that was offered",
        code="terms-digest",
        expected=digest_text(fact.terms.terms_digest),
        found=digest_text(found),
    )


def check_acceptance(fact: LicenseFact, revision: int, manifest: Manifest | None) -> None:
    """Pass when a gateway of the licence accepted this revision, each with the key that the manifest commits to.

    Errors: VerificationError `revision-not-accepted`, `key-commitment`.
    """
    accepted = fact.accepted.get(revision)
    if accepted is None:
        fail(
            Step.TERMS,
            f"no gateway accepted revision {revision} for this licence",
            code="revision-not-accepted",
            expected=f"one of {sorted(fact.accepted)}",
            found=revision,
        )
    if manifest is not None:
        require(
            set(accepted) == {manifest.key_commitment},
            Step.TERMS,
            "a gateway accepted another key than the manifest's",
            code="key-commitment",
            expected=digest_text(manifest.key_commitment),
            found=", ".join(digest_text(key) for key in accepted),
        )


def check_minted(fact: LicenseFact, reserved: int, edition: int, minted_of_design: int) -> None:
    """Pass when the licence's prints were minted or sold within cap and edition, and no more are reserved than exist.

    Prints that were returned for their price no longer exist. `reserved` counts the prints in reservations of this
    licence that are still its holder's or used up; `minted_of_design` is the sum over all licences of the design,
    `edition` the registered one, 0 is open: what was minted before it was lowered stays.

    Errors: VerificationError `minted-mismatch`, `cap-exceeded`, `edition-exceeded`, `reserved-above-minted`.
    """
    events = fact.minted + fact.sold - fact.returned
    require(
        events == fact.minted_in_storage,
        Step.MINT,
        "the licence holds another number of prints than were minted, sold and not returned",
        code="minted-mismatch",
        expected=fact.minted_in_storage,
        found=events,
    )
    require(
        events <= fact.terms.cap,
        Step.MINT,
        "more prints exist than the terms allow",
        code="cap-exceeded",
        expected=f"at most {fact.terms.cap}",
        found=events,
    )
    require(
        edition == 0 or minted_of_design <= edition,
        Step.MINT,
        "more prints of the design exist than its edition",
        code="edition-exceeded",
        expected=f"at most {edition}",
        found=minted_of_design,
    )
    require(
        reserved <= events,
        Step.MINT,
        "more prints are reserved than exist",
        code="reserved-above-minted",
        expected=f"at most {events}",
        found=reserved,
    )


def check_held(fact: LicenseFact, open_prints: int, burned: int) -> None:
    """Pass when every print that exists is somewhere: with a holder, in escrow or used up.

    `open_prints` are in reservations that have not ended and not used up, `burned` are used up, both of this licence.

    Errors: VerificationError `escrow-mismatch`, `balance-mismatch`.
    """
    require(
        fact.escrowed == open_prints,
        Step.MINT,
        "the ledger holds another number of prints than are reserved and not used up",
        code="escrow-mismatch",
        expected=open_prints,
        found=fact.escrowed,
    )
    exist = fact.minted + fact.sold - fact.returned
    require(
        fact.held + fact.escrowed + burned == exist,
        Step.MINT,
        "holders, escrow and used-up prints do not add up to the prints that exist",
        code="balance-mismatch",
        expected=exist,
        found=f"{fact.held} held, {fact.escrowed} in escrow, {burned} used up",
    )


def check_money(fact: LicenseFact, burned: int) -> None:
    """Pass when buyers paid the price, and payees and holders were owed what the payout says.

    Payees: at purchase all of what was paid, as printed the price of each of the `burned` prints. Holders: the price of
    each print that they returned.

    Errors: VerificationError `paid-mismatch`, `credited-mismatch`, `refunded-mismatch`.
    """
    price = fact.terms.price
    counted = fact.sold if fact.terms.payout == 0 else burned
    for code, what, prints, found in (
        ("paid-mismatch", "buyers paid something else than the price of what was sold", fact.sold, fact.paid),
        ("credited-mismatch", "payees were owed something else than the licence earned", counted, fact.credited),
        ("refunded-mismatch", "holders were refunded something else than the price", fact.returned, fact.refunded),
    ):
        require(
            found == prints * price,
            Step.MINT,
            what,
            code=code,
            expected=f"{prints} prints at {price}",
            found=found,
        )


def check_reservation(reservation: ReservationFact, fact: LicenseFact) -> None:
    """Pass when a reservation has spares and smallest size of the terms, and names who served the licence then.

    Errors: VerificationError `spares-mismatch`, `smallest-reservation`, `gateway-mismatch`.
    """
    prints = reservation.permission.prints
    require(
        reservation.spares == fact.terms.spares(prints),
        Step.PERMISSION,
        "the reservation has other spares than the terms",
        code="spares-mismatch",
        expected=fact.terms.spares(prints),
        found=reservation.spares,
    )
    require(
        prints >= fact.terms.smallest_reservation,
        Step.PERMISSION,
        "the reservation is smaller than the terms allow",
        code="smallest-reservation",
        expected=f"at least {fact.terms.smallest_reservation}",
        found=prints,
    )
    served = fact.served_in(reservation.block.number)
    require(
        reservation.permission.gateway in served,
        Step.PERMISSION,
        "the reservation is with another gateway than served the licence",
        code="gateway-mismatch",
        expected=" or ".join(address_text(gateway) for gateway in served),
        found=address_text(reservation.permission.gateway),
    )
