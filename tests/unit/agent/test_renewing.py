"""What must hold before a token is given up for another one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import pytest

import sample_documents as sample
from platemark.agent.machine import Answer, Request, TokenMachine, Use
from platemark.agent.renewing import check_renewable, is_renewal, renewal_salt
from platemark.errors import RefusedError
from platemark.sdk.answers import DesignState, ReservationState


@dataclass
class Revision:
    revision: int
    state: str


@dataclass
class Design:
    revisions: Sequence[Revision]


DEPOSITED = cast("DesignState", Design([Revision(1, "recalled"), Revision(2, "deposited")]))


def counts(*, released: int = 0, voided: int = 0, burned: int = 0, closed: bool = False) -> ReservationState:
    return ReservationState(
        token_id=sample.TOKEN_ID,
        status="final",
        reservation=sample.RESERVATION,
        spares=sample.TOKEN.spares,
        released=released,
        voided=voided,
        next_sequence=released + 1,
        prints_left=0,
        spares_left=0,
        stopped=False,
        closed=closed,
        lost=True,
        burned=burned,
        retry_after_seconds=None,
        transaction=None,
    )


@pytest.mark.parametrize(
    "released, voided, burned, returned",
    [(0, 0, 0, 10), (3, 0, 0, 7), (3, 1, 0, 8), (3, 1, 3, 7), (1, 1, 0, 10), (11, 1, 0, 0), (10, 0, 10, 0)],
)
def test_what_comes_back_is_what_neither_was_released_nor_burned(
    released: int, voided: int, burned: int, returned: int
) -> None:
    assert sample.RESERVATION.prints == 10
    assert counts(released=released, voided=voided, burned=burned).prints_returned == returned


def refused(state: ReservationState, design: DesignState, revision: int, machine: TokenMachine | None) -> str:
    with pytest.raises(RefusedError) as found:
        check_renewable(state, design, revision, machine)
    return found.value.code


def test_a_token_whose_design_is_deposited_again_can_be_renewed() -> None:
    check_renewable(counts(released=3), DEPOSITED, 2, TokenMachine(sample.TOKEN_ID, prints=10, spares=1))
    check_renewable(counts(), DEPOSITED, 2, None)


def test_a_token_is_not_closed_when_nothing_could_take_its_place() -> None:
    assert refused(counts(), DEPOSITED, 1, None) == "revision-recalled"
    assert refused(counts(), DEPOSITED, 3, None) == "key-not-deposited"
    assert refused(counts(released=10), DEPOSITED, 2, None) == "count-spent"


def test_prints_that_are_not_reported_come_first() -> None:
    request = Request.make(sample.SIGNED_REQUEST, sample.RECIPIENT.public_bytes, sample.DETAIL_SALT, {})
    machine = TokenMachine(
        sample.TOKEN_ID, prints=10, spares=1, uses=[Use(request, Answer(sample.RELEASE_JWS, b"sealed"))]
    )
    assert refused(counts(released=1), DEPOSITED, 2, machine) == "outcome-missing"
    check_renewable(counts(released=1, closed=True), DEPOSITED, 2, machine)


def test_the_salt_of_a_renewal_names_the_token_that_it_replaces() -> None:
    renewed = replace(sample.RESERVATION, salt=renewal_salt(sample.TOKEN_ID))
    assert is_renewal(renewed, sample.TOKEN_ID)
    assert not is_renewal(sample.RESERVATION, sample.TOKEN_ID)
