from dataclasses import replace

import pytest

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError
from platemark.protocol import canonical
from platemark.protocol.cid import raw_cid
from platemark.protocol.digests import sha256
from platemark.protocol.profile import GatewayProfile, url_of


def test_a_profile_is_one_block_named_by_its_digest() -> None:
    data = sample.PROFILE.encode()
    assert GatewayProfile.parse(data) == sample.PROFILE
    assert sample.PROFILE.digest() == sha256(data)
    assert sample.PROFILE.cid() == raw_cid(data)
    assert sample.PROFILE.cid().text == golden("statements")["ids"]["profileCid"]


def test_a_profile_says_its_key_id_and_epoch() -> None:
    assert sample.PROFILE.release_key_id == sample.RELEASE_KEY.key_id
    assert replace(sample.PROFILE, log_origin=sample.PROFILE.log_origin[:-1] + "12").epoch == 12


def test_a_profile_in_another_epoch_differs_by_the_logs_name_alone() -> None:
    later = sample.PROFILE.in_epoch(12)
    assert later.log_origin == sample.PROFILE.log_origin[:-1] + "12"
    assert replace(later, log_origin=sample.PROFILE.log_origin) == sample.PROFILE


def test_log_and_release_have_different_keys() -> None:
    with pytest.raises(MalformedError) as caught:
        replace(sample.PROFILE, log_key=sample.PROFILE.release_key)
    assert caught.value.code == "profile"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000", "https://prints.example/gateway", "http://[::1]:8000", "https://a.b-c.example/x_y/~z%20"],
)
def test_addresses_are_http(url: str) -> None:
    assert url_of(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "prints.example",
        "file:///etc/passwd",
        "https://",
        "https://a b",
        "https://a#b",
        "https://a\n",
        "h" * 2000,
        5,
    ],
    ids=repr,
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(MalformedError) as caught:
        url_of(url)
    assert caught.value.code == "url"


def test_a_profile_that_is_not_canonical_or_too_large_is_refused() -> None:
    with pytest.raises(MalformedError) as caught:
        GatewayProfile.parse(sample.PROFILE.encode() + b"\n")
    assert caught.value.code == "canonical-form"
    with pytest.raises(MalformedError) as caught:
        GatewayProfile.parse(canonical.encode({"a": "x" * 16_384}))
    assert caught.value.code == "too-large"
