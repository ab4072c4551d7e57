import base64
import hashlib
import json
from dataclasses import replace
from decimal import Decimal

import pytest

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.digests import serial_digest
from platemark.protocol.dsse import pre_authentication
from platemark.protocol.jws import SigningKey
from platemark.protocol.receipt import (
    MAX_BYTES,
    NOT_MEASURED,
    Envelope,
    Material,
    Quantities,
    Quantity,
    Receipt,
    Source,
    sign_receipt,
)
from platemark.protocol.units import TokenId, address_text


def test_the_subject_is_the_part() -> None:
    statement = json.loads(sample.RECEIPT.statement())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": sample.RECEIPT.serial, "digest": {"sha256": serial_digest(sample.TOKEN_ID, 1).hex()}}
    ]


def test_a_quantity_that_nobody_measured_has_no_value() -> None:
    quantities = Quantities().to_json()
    assert len(quantities) == 6
    for quantity in quantities.values():
        assert set(quantity) == {"unit", "source"}  # type: ignore[arg-type]
    assert Quantities.from_json(quantities) == Quantities()


@pytest.mark.parametrize("value, source", [(None, Source.METER), (Decimal(0), Source.NONE)])
def test_a_value_and_a_source_come_together(value: Decimal | None, source: Source) -> None:
    with pytest.raises(MalformedError) as caught:
        Quantity(value, source)
    assert caught.value.code == "quantity"


def test_a_receipt_may_leave_the_material_out() -> None:
    bare = replace(sample.RECEIPT, material=None, attempts=(), objects=(), quantities=Quantities())
    assert Receipt.parse(bare.statement()) == bare
    plain = replace(sample.RECEIPT, material=Material("PLA"))
    assert Receipt.parse(plain.statement()) == plain
    assert NOT_MEASURED.value is None


def test_a_recycled_share_needs_its_document() -> None:
    for share, document in ((Decimal(1), None), (Decimal(101), sample.word("certificate"))):
        with pytest.raises(MalformedError) as caught:
            Material("PLA", "", share, document)
        assert caught.value.code == "material"


def test_a_receipt_that_nobody_could_read_is_not_written() -> None:
    with pytest.raises(MalformedError):
        replace(sample.RECEIPT, slicer="two\nlines").statement()


def test_what_is_signed_is_dsses_encoding() -> None:
    assert pre_authentication(b"{}") == b"DSSEv1 28 application/vnd.in-toto+json 2 {}"
    assert pre_authentication(b"{}").hex() == golden("statements")["preAuthentication"][2:]


def test_agent_and_gateway_sign_the_same_statement() -> None:
    envelope = sign_receipt(sample.RECEIPT, sample.AGENT)
    envelope.verify_agent(sample.AGENT.address)
    both = envelope.countersign(sample.RELEASE_KEY)
    assert both == sample.ENVELOPE
    both.verify_agent(sample.AGENT.address)
    both.verify_gateway(sample.RELEASE_KEY.public_bytes)
    for found in (envelope, both):
        assert Envelope.from_json(found.to_json()) == found


def test_the_agents_signature_is_over_sha256() -> None:
    digest = hashlib.sha256(pre_authentication(sample.ENVELOPE.statement)).digest()
    assert sample.ENVELOPE.agent_signature == sample.AGENT.sign(digest)  # type: ignore[arg-type]


def test_an_altered_statement_is_refused_by_both_signatures() -> None:
    altered = replace(sample.ENVELOPE, statement=replace(sample.RECEIPT, token_id=TokenId(7)).statement())
    with pytest.raises(VerificationError) as caught:
        altered.verify_agent(sample.AGENT.address)
    assert caught.value.code == "signature-invalid"
    with pytest.raises(VerificationError):
        altered.verify_gateway(sample.RELEASE_KEY.public_bytes)


def test_a_receipt_by_somebody_else_is_refused() -> None:
    by_holder = sign_receipt(sample.RECEIPT, sample.HOLDER)
    for envelope in (by_holder, replace(by_holder, agent=sample.AGENT.address)):
        with pytest.raises(VerificationError):
            envelope.verify_agent(sample.AGENT.address)
    with pytest.raises(VerificationError):
        replace(sample.ENVELOPE, agent=sample.HOLDER.address).verify_agent(sample.AGENT.address)


def test_a_missing_or_other_countersignature_is_refused() -> None:
    alone = sign_receipt(sample.RECEIPT, sample.AGENT)
    other = SigningKey(bytes(32))
    forged = replace(sample.ENVELOPE, gateway_signature=other.sign(b""))
    for envelope in (alone, alone.countersign(other), forged):
        with pytest.raises(VerificationError) as caught:
            envelope.verify_gateway(sample.RELEASE_KEY.public_bytes)
        assert caught.value.code == "signature-invalid"


def test_an_envelope_is_read_within_its_limits() -> None:
    value = sample.ENVELOPE.to_json()
    for payload in (base64.b64encode(bytes(MAX_BYTES + 1)).decode(), "A" * (2 * MAX_BYTES), "AA\n=="):
        with pytest.raises(MalformedError) as caught:
            Envelope.from_json(value | {"payload": payload})
        assert caught.value.code == "envelope"
    for signature in (bytes(64), bytes(66)):
        short = {"keyid": address_text(sample.AGENT.address), "sig": base64.b64encode(signature).decode()}
        with pytest.raises(MalformedError) as caught:
            Envelope.from_json(value | {"signatures": [short]})
        assert caught.value.code == "envelope"
    with pytest.raises(MalformedError) as caught:
        Receipt.parse(b" " * (MAX_BYTES + 1))
    assert caught.value.code == "too-large"
