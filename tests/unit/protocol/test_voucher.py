from dataclasses import replace
from typing import Any

import pytest

import sample_documents as sample
from golden import cases, golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.typed_data import ledger_domain
from platemark.protocol.units import Digest32, TokenId, digest_text
from platemark.protocol.voucher import IntendedPrint, RedemptionRequest, SignedRequest, burned

OTHER = RecipientKey(bytes(32))


def test_a_request_is_signed_by_its_agent() -> None:
    assert sample.SIGNED_REQUEST.signer(sample.LEDGER_DOMAIN) == sample.AGENT.address
    sample.SIGNED_REQUEST.verify(sample.AGENT.address, sample.LEDGER_DOMAIN)
    assert digest_text(sample.REQUEST.request_digest()) == golden("statements")["ids"]["requestDigest"]


def test_signing_again_gives_the_same_bytes() -> None:
    assert sample.REQUEST.sign(sample.AGENT, sample.LEDGER_DOMAIN) == sample.SIGNED_REQUEST


@pytest.mark.parametrize(
    "change",
    [
        {"token_id": TokenId(7)},
        {"sequence": 2},
        {"token_digest": Digest32(bytes(32))},
        {"print_id": bytes(16)},
        {"recipient_digest": OTHER.digest},
        {"seen_block": 18},
        {"seen_hash": Digest32(bytes(32))},
        {"detail": Digest32(bytes(32))},
    ],
)
def test_the_signature_covers_every_field(change: dict[str, Any]) -> None:
    altered = replace(sample.SIGNED_REQUEST, request=replace(sample.REQUEST, **change))
    with pytest.raises(VerificationError) as caught:
        altered.verify(sample.AGENT.address, sample.LEDGER_DOMAIN)
    assert caught.value.code == "signature-invalid"


def test_a_signature_for_another_ledger_or_by_another_agent_is_refused() -> None:
    elsewhere = ledger_domain(1, sample.LEDGER)
    stranger = sample.REQUEST.sign(AccountKey(bytes(31) + b"\x01"), sample.LEDGER_DOMAIN)
    for signed, domain in ((sample.SIGNED_REQUEST, elsewhere), (stranger, sample.LEDGER_DOMAIN)):
        with pytest.raises(VerificationError):
            signed.verify(sample.AGENT.address, domain)


@pytest.mark.parametrize(
    "change, code",
    [
        ({"print_id": bytes(15)}, "print-id"),
        ({"sequence": 0}, "integer-range"),
        ({"sequence": 65_536}, "integer-range"),
        ({"seen_block": -1}, "integer-range"),
    ],
)
def test_an_impossible_request_is_not_made(change: dict[str, Any], code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        replace(sample.REQUEST, **change)
    assert caught.value.code == code


def test_the_body_carries_the_recipient_key_itself() -> None:
    body = sample.SIGNED_REQUEST.to_body(sample.RECIPIENT.public_bytes)
    assert SignedRequest.from_body(body) == (sample.SIGNED_REQUEST, sample.RECIPIENT.public_bytes)
    swapped, public = SignedRequest.from_body(sample.SIGNED_REQUEST.to_body(OTHER.public_bytes))
    assert public == OTHER.public_bytes
    with pytest.raises(VerificationError):
        swapped.verify(sample.AGENT.address, sample.LEDGER_DOMAIN)
    with pytest.raises(MalformedError) as caught:
        SignedRequest.from_body(body | {"recipientKey": "AAAA"})
    assert caught.value.code == "base64url"


def test_requests_keep_their_form() -> None:
    assert RedemptionRequest.from_json(sample.REQUEST.to_json()) == sample.REQUEST
    assert SignedRequest.from_json(sample.SIGNED_REQUEST.to_json()) == sample.SIGNED_REQUEST


def test_a_use_settles_in_the_compact_form() -> None:
    use = sample.SIGNED_REQUEST.use(3)
    signature = sample.SIGNED_REQUEST.signature
    assert use.r == signature[:32]
    assert int.from_bytes(use.vs, "big") == (signature[64] - 27) << 255 | int.from_bytes(signature[32:64], "big")
    assert use.arguments() == (sample.TOKEN_ID, 1, 3, sample.REQUEST.request_digest(), use.r, use.vs)


def test_the_detail_commits_under_its_salt() -> None:
    assert sample.INTENDED.digest(sample.DETAIL_SALT) == sample.REQUEST.detail
    assert sample.INTENDED.digest(bytes(32)) != sample.REQUEST.detail
    assert IntendedPrint.from_json(sample.INTENDED.to_json()) == sample.INTENDED
    with pytest.raises(MalformedError) as caught:
        IntendedPrint.from_json({"printer": "bay 4", "parts": [], "references": ["r"] * 33})
    assert caught.value.code == "count-limit"


@pytest.mark.parametrize("case", cases("burned", "cases"))
def test_burned_prints_are_as_fixed(case: dict[str, Any]) -> None:
    assert burned(case["sequence"], case["voided"], case["prints"]) == case["burned"]


@pytest.mark.parametrize(
    "sequence, voided, prints", [(-1, 0, 1), (1, 65_536, 5), (1, -1, 5), (65_536, 0, 5), (1, 0, 0), (1, 0, -1)]
)
def test_impossible_counts_are_refused(sequence: int, voided: int, prints: int) -> None:
    with pytest.raises(MalformedError) as caught:
        burned(sequence, voided, prints)
    assert caught.value.code == "integer-range"
