from dataclasses import replace

import pytest

import sample_documents as sample
from platemark.designer.recalling import bound_licenses, debts
from platemark.errors import UpstreamError
from platemark.protocol.units import Address, DesignId, LicenseId, TokenId, UnixSeconds, address_text, id_text
from platemark.sdk.answers import Affected, LicenseState

ONE, OTHER = Address(b"\x01" * 20), Address(b"\x02" * 20)


def item(holder: Address, owed: str, prints: int = 1) -> Affected:
    return Affected.parse(
        {
            "tokenId": id_text(TokenId(5)),
            "sequence": 1,
            "licenseId": id_text(LicenseId(6)),
            "holder": address_text(holder),
            "agent": address_text(sample.GATEWAY.address),
            "at": 1_800_000_000,
            "serial": None,
            "outcome": None,
            "owed": owed,
            "prints": prints,
            "reclaimableAt": 1_800_000_001 if owed == "return" else None,
        }
    )


def test_each_holder_is_named_once_with_what_is_owed() -> None:
    items = [
        item(OTHER, "nothing", 0),
        item(ONE, "return", 8),
        item(ONE, "replacement"),
        item(ONE, "replacement"),
        item(ONE, "pending"),
    ]
    assert [debt.to_json() for debt in debts(items)] == [
        {"holder": address_text(ONE), "replacements": 2, "pending": 1, "returns": 8},
        {"holder": address_text(OTHER), "replacements": 0, "pending": 0, "returns": 0},
    ]


def test_when_a_reservation_can_be_returned_is_read() -> None:
    assert item(ONE, "return").reclaimable_at == UnixSeconds(1_800_000_001)
    assert item(ONE, "pending").reclaimable_at is None


def test_an_item_without_a_holder_is_refused() -> None:
    with pytest.raises(UpstreamError) as caught:
        Affected.parse({"tokenId": id_text(TokenId(5))})
    assert caught.value.code == "answer-malformed"


def test_a_licence_that_was_raised_is_bound_no_more() -> None:
    bound = LicenseState(
        license_id=LicenseId(6),
        design_id=DesignId(7),
        gateway=sample.GATEWAY.address,
        revision=1,
        terms=sample.TERMS,
        minted=3,
        on_sale=True,
        status="final",
        terms_cid=None,
        transaction=None,
    )
    assert bound_licenses([replace(bound, revision=2), bound], 1) == [bound]
