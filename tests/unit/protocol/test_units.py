from typing import Any

import pytest

from golden import cases
from platemark.errors import MalformedError
from platemark.protocol import units


@pytest.mark.parametrize("case", cases("values", "keccak256"))
def test_keccak_is_the_hash_of_the_evm(case: dict[str, str]) -> None:
    assert units.keccak256(case["text"].encode()).hex() == case["digest"]


@pytest.mark.parametrize("case", cases("values", "addresses"))
def test_addresses_have_the_checksums_of_eip_55(case: dict[str, str]) -> None:
    address = units.parse_address(case["text"])
    assert units.address_text(address) == case["text"]
    assert units.parse_address(case["text"].lower()) == address


@pytest.mark.parametrize("case", cases("values", "invalidAddresses"))
def test_other_addresses_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as caught:
        units.parse_address(case["value"])
    assert caught.value.code == "address"


@pytest.mark.parametrize("case", cases("values", "invalidDigests"))
def test_other_digests_are_refused(case: dict[str, Any]) -> None:
    for parse in (units.parse_digest, units.parse_id):
        with pytest.raises(MalformedError) as caught:
            parse(case["value"])
        assert caught.value.code == "digest-length"


@pytest.mark.parametrize("value", [0, 1, 2**255, units.UINT256_MAX])
def test_ids_survive_their_text(value: int) -> None:
    assert units.parse_id(units.id_text(value)) == value
    assert len(units.id_text(value)) == 66


@pytest.mark.parametrize("value", [-1, units.UINT256_MAX + 1])
def test_ids_outside_256_bits_are_refused(value: int) -> None:
    with pytest.raises(MalformedError) as caught:
        units.id_text(value)
    assert caught.value.code == "integer-range"


def test_digests_survive_their_text() -> None:
    digest = units.keccak256(b"x")
    assert units.parse_digest(units.digest_text(digest)) == units.digest32(digest) == digest


@pytest.mark.parametrize("length", [0, 20, 31, 33])
def test_digests_of_other_lengths_are_refused(length: int) -> None:
    for refuse in (units.digest32, units.digest_text):
        with pytest.raises(MalformedError) as caught:
            refuse(bytes(length))
        assert caught.value.code == "digest-length"


@pytest.mark.parametrize("length", [0, 19, 21, 32])
def test_addresses_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(MalformedError) as caught:
        units.address_text(bytes(length))
    assert caught.value.code == "address"
