"""Statements and envelopes of ours before others' libraries: in-toto-attestation, securesystemslib, cryptography."""

import json
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from google.protobuf.json_format import Parse
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

import sample_documents as sample
from platemark.auditor.signed import PREDICATE_TYPE as REPORT_TYPE
from platemark.auditor.signed import sign_report
from platemark.protocol.accounts import AccountKey
from platemark.protocol.dsse import PAYLOAD_TYPE, STATEMENT_TYPE, pre_authentication
from platemark.protocol.receipt import PREDICATE_TYPE as RECEIPT_TYPE
from platemark.protocol.units import address_text
from platemark.verify.report import Report
from platemark.verify.steps import Step

SIGNERS: Final = {RECEIPT_TYPE: sample.AGENT, REPORT_TYPE: sample.DESIGNER}


def envelope_of(uri: str) -> Envelope:
    """Return an envelope of ours as securesystemslib reads it."""
    document: Any = sample.ENVELOPE.to_json()
    if uri == REPORT_TYPE:
        report = Report("a part")
        report.hold(Step.ANCHOR, "the roots agree", "chain")
        document = json.loads(sign_report(report, sample.DESIGNER, sample.NOW))
    return Envelope.from_dict(document)


def public_key(account: AccountKey) -> ec.EllipticCurvePublicKey:
    return ec.derive_private_key(int.from_bytes(account.secret(), "big"), ec.SECP256K1()).public_key()


def verify(account: AccountKey, signature: bytes, message: bytes) -> None:
    """Check an account's signature as anybody does who knows ECDSA with SHA-256 and no Ethereum."""
    r, s = (int.from_bytes(signature[start : start + 32], "big") for start in (0, 32))
    public_key(account).verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))


@pytest.mark.parametrize("uri", SIGNERS)
def test_in_toto_takes_our_statements(uri: str) -> None:
    payload = envelope_of(uri).payload
    parsed = Parse(payload, statement_pb2.Statement())  # refuses fields that the specification does not have
    assert (parsed.type, parsed.predicate_type) == (STATEMENT_TYPE, uri)
    assert parsed.subject[0].digest["sha256"]
    Statement.copy_from_pb(parsed).validate()


@pytest.mark.parametrize("uri", SIGNERS)
def test_the_pre_authentication_encoding_is_theirs(uri: str) -> None:
    envelope = envelope_of(uri)
    assert envelope.payload_type == PAYLOAD_TYPE
    assert envelope.pae() == pre_authentication(envelope.payload)


@pytest.mark.parametrize("uri", SIGNERS)
def test_an_accounts_signature_is_plain_ecdsa_over_the_encoding(uri: str) -> None:
    envelope, account = envelope_of(uri), SIGNERS[uri]
    signature = bytes.fromhex(envelope.signatures[address_text(account.address)].signature)
    verify(account, signature, envelope.pae())
    with pytest.raises(InvalidSignature):
        verify(account, signature, envelope.pae() + b" ")


def test_the_gateways_countersignature_is_one_that_dsse_verifies() -> None:
    key = SSlibKey(sample.RELEASE_KEY.key_id, "ed25519", "ed25519", {"public": sample.RELEASE_KEY.public_bytes.hex()})
    assert list(envelope_of(RECEIPT_TYPE).verify([key], 1)) == [sample.RELEASE_KEY.key_id]
    other = SSlibKey(sample.RELEASE_KEY.key_id, "ed25519", "ed25519", {"public": sample.LOG_KEY.public_bytes.hex()})
    with pytest.raises(VerificationError):
        envelope_of(RECEIPT_TYPE).verify([other], 1)
