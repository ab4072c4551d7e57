import dataclasses
import hashlib
from typing import Any

import pytest

from golden import cases, golden
from platemark.errors import MalformedError
from platemark.protocol import log_entry, typed_data
from platemark.protocol.accounts import recover
from platemark.protocol.log_entry import (
    ClosedEntry,
    CloseReason,
    OutcomeEntry,
    RedeemedEntry,
    Result,
    decode,
    leaf_hash,
)
from platemark.protocol.units import Digest32, TokenId, address_text, parse_address

VECTOR: dict[str, Any] = golden("log_entry")
DOMAIN = typed_data.ledger_domain(VECTOR["chainId"], parse_address(VECTOR["ledger"]))


def entry(name: str) -> log_entry.LogEntry:
    (found,) = (row for row in VECTOR["valid"] if row["name"] == name)
    return decode(bytes.fromhex(found["data"]))


def redeemed() -> RedeemedEntry:
    found = entry("redeemed")
    assert isinstance(found, RedeemedEntry)
    return found


def outcome() -> OutcomeEntry:
    found = entry("outcome")
    assert isinstance(found, OutcomeEntry)
    return found


@pytest.mark.parametrize("case", cases("log_entry", "valid"))
def test_entries_are_as_they_were(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["data"])
    found = decode(data)
    assert found.to_bytes() == data
    assert len(data) == found.SIZE_BYTES
    assert data[:2] == bytes([1, found.KIND])
    assert leaf_hash(found).hex() == case["leaf"] == hashlib.sha256(b"\0" + data).hexdigest()


@pytest.mark.parametrize("case", cases("log_entry", "invalid"))
def test_other_entries_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError) as caught:
        decode(bytes.fromhex(case["data"]))
    assert caught.value.code == case["code"]


def test_the_three_kinds_have_their_sizes() -> None:
    sizes = {kind.KIND: kind.SIZE_BYTES for kind in (RedeemedEntry, OutcomeEntry, ClosedEntry)}
    assert sizes == {1: 255, 2: 137, 3: 43}


def test_an_entry_carries_all_that_its_signature_needs() -> None:
    first = redeemed()
    assert address_text(recover(first.redemption().digest(DOMAIN), first.signature)) == VECTOR["signer"]
    second = outcome()
    assert address_text(recover(second.outcome().digest(DOMAIN), second.signature)) == VECTOR["signer"]


@pytest.mark.parametrize(
    "change",
    [
        {"token_id": TokenId(-1)},
        {"token_id": TokenId(1 << 256)},
        {"sequence": 0},
        {"sequence": -1},
        {"sequence": 1 << 32},
        {"token_digest": Digest32(bytes(31))},
        {"print_id": bytes(15)},
        {"print_id": bytes(17)},
        {"recipient_digest": Digest32(b"")},
        {"seen_block": -1},
        {"seen_block": 1 << 64},
        {"seen_hash": Digest32(bytes(33))},
        {"detail": Digest32(bytes(33))},
    ],
)
def test_a_redemption_that_does_not_fit_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as caught:
        dataclasses.replace(redeemed(), **change).to_bytes()
    assert caught.value.code == "log-entry"


@pytest.mark.parametrize(
    "change", [{"sequence": 0}, {"receipt_digest": Digest32(bytes(31))}, {"result": Result.COMPLETED}]
)
def test_an_outcome_that_does_not_fit_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as caught:
        dataclasses.replace(outcome(), **change).to_bytes()
    assert caught.value.code == "log-entry"


def test_an_entry_without_a_sound_signature_is_not_written() -> None:
    for signed in (redeemed(), outcome()):
        for signature in (b"", signed.signature[:64], signed.signature + b"\0", bytes(65)):
            with pytest.raises(MalformedError) as caught:
                dataclasses.replace(signed, signature=signature).to_bytes()
            assert caught.value.code == "signature-invalid"


@pytest.mark.parametrize("released, voided", [(1, 2), (-1, -1), (1 << 32, 0), (5, -1)])
def test_counts_that_cannot_be_are_not_written(released: int, voided: int) -> None:
    with pytest.raises(MalformedError):
        ClosedEntry(TokenId(1), released, voided, CloseReason.EXPIRED).to_bytes()


@pytest.mark.parametrize("result", list(Result))
@pytest.mark.parametrize("spare", [False, True])
def test_every_result_survives_its_bytes_but_a_completed_print_gives_nothing_back(result: Result, spare: bool) -> None:
    made = dataclasses.replace(outcome(), result=result, spare_used=spare)
    if spare and result is Result.COMPLETED:
        with pytest.raises(MalformedError):
            made.to_bytes()
    else:
        assert decode(made.to_bytes()) == made


@pytest.mark.parametrize("reason", list(CloseReason))
def test_every_reason_survives_its_bytes(reason: CloseReason) -> None:
    made = ClosedEntry(TokenId(7), 5, 5, reason)
    assert decode(made.to_bytes()) == made
