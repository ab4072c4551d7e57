"""Permissions, requests and outcomes: each check fails when its evidence is altered."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from platemark.errors import VerificationError
from platemark.protocol.units import TokenId
from platemark.verify.voucher import check_outcome, check_permission, check_redeemed, check_seen_block
from sample_chain import CONTRACTS, RESERVATION_FACT, ended, redeemed
from sample_documents import AGENT, DESIGNER, HOLDER, LEDGER_DOMAIN, REDEEMED, RESERVATION, word


def code_of(check: Callable[[], Any]) -> str:
    with pytest.raises(VerificationError) as raised:
        check()
    return raised.value.code


SIGNATURE = HOLDER.sign(RESERVATION.digest(LEDGER_DOMAIN))


def test_permission_gives_the_tokens_id_and_the_holder_signed_it() -> None:
    check_permission(RESERVATION_FACT, CONTRACTS)
    check_permission(RESERVATION_FACT, CONTRACTS, signature=SIGNATURE)


def test_altered_permission_fails() -> None:
    altered = replace(RESERVATION_FACT, token_id=TokenId(1))
    assert code_of(lambda: check_permission(altered, CONTRACTS)) == "permission-digest"
    swapped = replace(RESERVATION_FACT, agent_in_storage=DESIGNER.address)
    assert code_of(lambda: check_permission(swapped, CONTRACTS)) == "agent-mismatch"
    grown = replace(RESERVATION_FACT, prints_in_storage=11)
    assert code_of(lambda: check_permission(grown, CONTRACTS)) == "prints-mismatch"


def test_permission_signed_by_somebody_else_fails() -> None:
    forged = DESIGNER.sign(RESERVATION.digest(LEDGER_DOMAIN))
    assert code_of(lambda: check_permission(RESERVATION_FACT, CONTRACTS, signature=forged)) == "not-holder"


def test_request_and_outcome_of_the_agent_hold() -> None:
    check_redeemed(redeemed(3), AGENT.address, LEDGER_DOMAIN)
    check_outcome(ended(3), AGENT.address, LEDGER_DOMAIN)


def test_altered_request_and_outcome_fail() -> None:
    moved = replace(redeemed(3), sequence=4)
    assert code_of(lambda: check_redeemed(moved, AGENT.address, LEDGER_DOMAIN)) == "signature-invalid"
    later = replace(ended(3), sequence=4)
    assert code_of(lambda: check_outcome(later, AGENT.address, LEDGER_DOMAIN)) == "signature-invalid"


def test_block_that_was_seen_is_one_of_the_chain() -> None:
    check_seen_block(REDEEMED, REDEEMED.seen_hash)
    assert code_of(lambda: check_seen_block(REDEEMED, None)) == "seen-block"
    assert code_of(lambda: check_seen_block(REDEEMED, word("fork"))) == "seen-block"
