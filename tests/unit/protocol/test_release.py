from dataclasses import replace
from typing import Any

import pytest

import sample_documents as sample
from platemark.errors import VerificationError
from platemark.protocol.jws import SigningKey
from platemark.protocol.release import Release, check_answers, open_package, seal_package
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.units import Digest32, TokenId, UnixSeconds


def test_a_release_is_signed_by_the_gateway() -> None:
    assert Release.verify(sample.RELEASE_JWS, sample.RELEASE_KEY.public_bytes) == sample.RELEASE
    with pytest.raises(VerificationError) as caught:
        Release.verify(sample.RELEASE_JWS, SigningKey(bytes(32)).public_bytes)
    assert caught.value.code == "signature-invalid"


def test_signing_again_gives_the_same_release() -> None:
    assert sample.RELEASE.sign(sample.RELEASE_KEY) == sample.RELEASE_JWS


@pytest.mark.parametrize("change", [{"token_id": TokenId(7)}, {"sequence": 2}, {"print_id": bytes(16)}])
def test_a_release_answers_its_request_only(change: dict[str, Any]) -> None:
    check_answers(sample.RELEASE, sample.REQUEST)
    with pytest.raises(VerificationError) as caught:
        check_answers(replace(sample.RELEASE, **change), sample.REQUEST)
    assert caught.value.code == "release-mismatch"


def test_the_key_comes_with_its_release() -> None:
    sealed = seal_package(sample.PACKAGE, sample.RELEASE_JWS, sample.RECIPIENT.public_bytes)
    assert sample.CONTENT_KEY.secret() not in sealed
    package = open_package(sealed, sample.RELEASE_JWS, sample.RELEASE, sample.RECIPIENT)
    assert package.to_bytes() == sample.PACKAGE.to_bytes()
    later = replace(sample.RELEASE, merge_by=UnixSeconds(sample.RELEASE.merge_by + 1)).sign(sample.RELEASE_KEY)
    for text, key in ((later, sample.RECIPIENT), (sample.RELEASE_JWS, RecipientKey(bytes(32)))):
        with pytest.raises(VerificationError) as caught:
            open_package(sealed, text, sample.RELEASE, key)
        assert caught.value.code == "sealed-key"


def test_another_key_than_the_release_names_is_refused() -> None:
    other = replace(sample.RELEASE, key_commitment=Digest32(bytes(32)))
    text = other.sign(sample.RELEASE_KEY)
    sealed = seal_package(sample.PACKAGE, text, sample.RECIPIENT.public_bytes)
    with pytest.raises(VerificationError) as caught:
        open_package(sealed, text, other, sample.RECIPIENT)
    assert caught.value.code == "key-commitment"
