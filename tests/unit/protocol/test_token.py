from dataclasses import replace
from typing import Any

import pytest

import sample_documents as sample
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import token
from platemark.protocol.jws import SigningKey
from platemark.protocol.sealing import RecipientKey, seal, token_info
from platemark.protocol.token import PrintToken
from platemark.protocol.units import TokenId, UnixSeconds, digest_text, id_text

OTHER = RecipientKey(bytes(32))


def test_an_agent_opens_and_verifies_its_token() -> None:
    sealed = token.seal_token(sample.TOKEN_JWS, sample.TOKEN_ID, sample.RECIPIENT.public_bytes)
    text = token.open_token(sealed, sample.TOKEN_ID, sample.RECIPIENT)
    assert PrintToken.verify(text, sample.RELEASE_KEY.public_bytes) == sample.TOKEN
    assert token.digest(text) == sample.REQUEST.token_digest


def test_issuing_again_gives_the_same_token() -> None:
    assert sample.TOKEN.sign(sample.RELEASE_KEY) == sample.TOKEN_JWS


def test_a_token_opens_for_its_agent_and_id_only() -> None:
    sealed = token.seal_token(sample.TOKEN_JWS, sample.TOKEN_ID, sample.RECIPIENT.public_bytes)
    for token_id, key in ((sample.TOKEN_ID, OTHER), (TokenId(7), sample.RECIPIENT)):
        with pytest.raises(VerificationError) as caught:
            token.open_token(sealed, token_id, key)
        assert caught.value.code == "sealed-key"


def test_sealed_bytes_that_are_no_text_are_no_token() -> None:
    sealed = seal(sample.RECIPIENT.public_bytes, token_info(sample.TOKEN_ID, sample.RECIPIENT.digest), "tökën".encode())
    with pytest.raises(MalformedError) as caught:
        token.open_token(sealed, sample.TOKEN_ID, sample.RECIPIENT)
    assert caught.value.code == "jws"


def test_a_token_by_another_gateway_is_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        PrintToken.verify(sample.TOKEN.sign(SigningKey(bytes(32))), sample.RELEASE_KEY.public_bytes)
    assert caught.value.code == "signature-invalid"


def test_claims_are_compared_by_name() -> None:
    expected: dict[str, Any] = {"tokenId": id_text(sample.TOKEN_ID), "prints": 10}
    token.check_token(sample.TOKEN, expected)
    with pytest.raises(VerificationError) as caught:
        token.check_token(replace(sample.TOKEN, prints=9), expected)
    assert (caught.value.code, caught.value.expected, caught.value.found) == ("token-claims", "10", "9")


def test_a_request_names_the_key_to_seal_to() -> None:
    request, signature = token.sign_request(
        sample.TOKEN_ID,
        sample.RECIPIENT.public_bytes,
        UnixSeconds(sample.NOW + 60),
        agent=sample.AGENT,
        domain=sample.LEDGER_DOMAIN,
    )
    found = token.requesting_agent(request, sample.RECIPIENT.public_bytes, signature, sample.LEDGER_DOMAIN)
    assert found == sample.AGENT.address
    with pytest.raises(VerificationError) as caught:
        token.requesting_agent(request, OTHER.public_bytes, signature, sample.LEDGER_DOMAIN)
    assert (caught.value.code, caught.value.found) == ("recipient-mismatch", digest_text(OTHER.digest))
    stretched = replace(request, deadline=UnixSeconds(request.deadline + 1))
    assert token.requesting_agent(stretched, sample.RECIPIENT.public_bytes, signature, sample.LEDGER_DOMAIN) != found
