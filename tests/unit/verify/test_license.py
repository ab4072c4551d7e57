"""Terms, acceptances, mints and reservations: each check fails when its evidence is altered."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from platemark.errors import VerificationError
from platemark.protocol.units import Wei
from platemark.verify.facts import LicenseFact, MoveFact
from platemark.verify.license import (
    check_acceptance,
    check_held,
    check_minted,
    check_money,
    check_reservation,
    check_terms,
    check_terms_document,
)
from sample_chain import CONTRACTS, LICENSE_FACT, RESERVATION_FACT, block
from sample_documents import AGENT, DESIGNER, HOLDER, MANIFEST, TERMS, TERMS_DOCUMENT, word


def code_of(check: Callable[[], Any]) -> str:
    with pytest.raises(VerificationError) as raised:
        check()
    return raised.value.code


def test_terms_give_the_licences_id() -> None:
    check_terms(LICENSE_FACT, CONTRACTS)
    cheaper = replace(LICENSE_FACT, terms=replace(TERMS, price=Wei(1)))
    assert code_of(lambda: check_terms(cheaper, CONTRACTS)) == "license-digest"


def test_terms_document_is_the_offered_one() -> None:
    check_terms_document(TERMS_DOCUMENT.encode(), LICENSE_FACT)
    assert code_of(lambda: check_terms_document(b"{}", LICENSE_FACT)) == "terms-digest"


def test_accepted_revision_holds_with_and_without_its_manifest() -> None:
    check_acceptance(LICENSE_FACT, 1, MANIFEST)
    check_acceptance(LICENSE_FACT, 1, None)


def test_unaccepted_revision_and_another_key_fail() -> None:
    assert code_of(lambda: check_acceptance(LICENSE_FACT, 2, None)) == "revision-not-accepted"
    for keys in ((word("another key"),), (MANIFEST.key_commitment, word("another key"))):
        other = replace(LICENSE_FACT, accepted={1: keys})
        assert code_of(lambda fact=other: check_acceptance(fact, 1, MANIFEST)) == "key-commitment"  # type: ignore[misc]


def test_prints_within_cap_and_edition_hold() -> None:
    check_minted(LICENSE_FACT, reserved=15, edition=0, minted_of_design=15)
    check_minted(LICENSE_FACT, reserved=15, edition=15, minted_of_design=15)


EXCESSES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "minted-mismatch": ({"minted_in_storage": 16}, {}),
    "cap-exceeded": ({"minted": 96, "minted_in_storage": 101}, {}),
    "edition-exceeded": ({}, {"edition": 14}),
    "reserved-above-minted": ({}, {"reserved": 16}),
}


@pytest.mark.parametrize("code", EXCESSES)
def test_print_too_many_fails(code: str) -> None:
    changes, arguments = EXCESSES[code]
    values = {"reserved": 15, "edition": 0, "minted_of_design": 15, **arguments}
    assert code_of(lambda: check_minted(replace(LICENSE_FACT, **changes), **values)) == code


def test_returned_prints_exist_no_more() -> None:
    fewer = replace(LICENSE_FACT, returned=3, minted_in_storage=12, balances={HOLDER.address: 2})
    check_minted(fewer, reserved=12, edition=12, minted_of_design=12)
    check_held(fewer, open_prints=10, burned=0)
    assert code_of(lambda: check_minted(replace(fewer, minted_in_storage=15), 10, 0, 15)) == "minted-mismatch"


def test_every_print_is_held_in_escrow_or_used_up() -> None:
    check_held(LICENSE_FACT, open_prints=10, burned=0)
    used = replace(LICENSE_FACT, escrowed=7)
    check_held(used, open_prints=7, burned=3)
    assert code_of(lambda: check_held(used, open_prints=8, burned=2)) == "escrow-mismatch"
    assert code_of(lambda: check_held(used, open_prints=7, burned=2)) == "balance-mismatch"


AS_PRINTED = replace(LICENSE_FACT, terms=replace(TERMS, payout=1), minted=0, sold=15, paid=15 * TERMS.price)


def test_money_follows_the_payout() -> None:
    check_money(LICENSE_FACT, burned=3)
    check_money(replace(AS_PRINTED, credited=3 * TERMS.price), burned=3)
    check_money(replace(AS_PRINTED, credited=0, returned=2, refunded=2 * TERMS.price), burned=0)


@pytest.mark.parametrize(
    "fact, code",
    [
        (replace(LICENSE_FACT, paid=1), "paid-mismatch"),
        (replace(LICENSE_FACT, credited=0), "credited-mismatch"),
        (replace(AS_PRINTED, credited=15 * TERMS.price), "credited-mismatch"),
        (replace(AS_PRINTED, credited=3 * TERMS.price, returned=2), "refunded-mismatch"),
    ],
)
def test_money_that_went_elsewhere_fails(fact: LicenseFact, code: str) -> None:
    assert code_of(lambda: check_money(fact, burned=3)) == code


def test_a_licence_that_moved_is_with_each_gateway_in_its_time() -> None:
    moved = replace(LICENSE_FACT, moves=(MoveFact(DESIGNER.address, block(8)), MoveFact(HOLDER.address, block(10))))
    first = LICENSE_FACT.terms.gateway
    assert (LICENSE_FACT.gateway, moved.gateway) == (first, HOLDER.address)
    assert [moved.served_in(number) for number in (7, 8, 9, 10, 11)] == [
        (first,),
        (first, DESIGNER.address),
        (DESIGNER.address,),
        (DESIGNER.address, HOLDER.address),
        (HOLDER.address,),
    ]
    assert [moved.served_by(who.address) for who in (DESIGNER, HOLDER, AGENT)] == [True, True, False]
    check_reservation(RESERVATION_FACT, moved)  # it was made in block 7
    late = replace(RESERVATION_FACT, block=block(11))
    assert code_of(lambda: check_reservation(late, moved)) == "gateway-mismatch"


def test_reservation_follows_the_terms() -> None:
    check_reservation(RESERVATION_FACT, LICENSE_FACT)
    more, fewer = (replace(RESERVATION_FACT, spares=spares) for spares in (9, 0))
    assert code_of(lambda: check_reservation(more, LICENSE_FACT)) == "spares-mismatch"
    assert code_of(lambda: check_reservation(fewer, LICENSE_FACT)) == "spares-mismatch"
    small = replace(RESERVATION_FACT, spares=1, permission=replace(RESERVATION_FACT.permission, prints=1))
    assert code_of(lambda: check_reservation(small, LICENSE_FACT)) == "smallest-reservation"
    foreign = replace(RESERVATION_FACT, permission=replace(RESERVATION_FACT.permission, gateway=DESIGNER.address))
    assert code_of(lambda: check_reservation(foreign, LICENSE_FACT)) == "gateway-mismatch"
