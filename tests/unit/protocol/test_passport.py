import json
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError
from platemark.protocol import passport
from platemark.protocol.passport import Form, LoggedEntry, Passport, PassportPartError, Statement, Status
from platemark.protocol.units import DesignId, LicenseId


def test_ids_and_serial_follow_from_the_parts() -> None:
    ids = golden("statements")["ids"]
    value = sample.PASSPORT.to_json()
    for name in ("designId", "licenseId", "tokenId", "serial"):
        assert value[name] == ids[name]
    assert sample.PASSPORT.redeemed_entry() == sample.REDEEMED
    assert sample.PASSPORT.outcome_entry() == sample.OUTCOME_ENTRY


def test_a_passport_is_read_from_any_json() -> None:
    pretty = json.dumps(sample.PASSPORT.to_json(), indent=2).encode()
    assert Passport.parse(pretty) == Passport.parse(sample.PASSPORT.encode()) == sample.PASSPORT


def test_the_public_form_opens_nothing() -> None:
    public = sample.PASSPORT.public()
    assert (sample.PASSPORT.form, public.form) == (Form.FULL, Form.PUBLIC)
    data = public.encode()
    assert Passport.parse(data) == public
    for secret in (sample.CONTENT_SALT, sample.PACKAGE.files_root, sample.DETAIL_SALT):
        assert secret.hex().encode() not in data
    assert b"bay 4" not in replace(public, receipt=None).encode()
    assert replace(sample.PASSPORT, content=None).form is Form.FULL
    assert replace(sample.PASSPORT, detail=None).form is Form.FULL


@pytest.mark.parametrize("chosen", [set(found) for size in range(4) for found in combinations(Statement, size)])
def test_a_passport_discloses_exactly_what_is_chosen(chosen: set[Statement]) -> None:
    found = sample.PASSPORT.disclosing(chosen)
    assert (set(found.disclosed), set(found.undisclosed)) == (chosen, set(Statement) - chosen)
    assert Passport.parse(found.encode()) == found
    data = found.encode()
    salts = {
        Statement.RECEIPT: sample.RECEIPT_SALT,
        Statement.CONTENT: sample.CONTENT_SALT,
        Statement.DETAIL: sample.DETAIL_SALT,
    }
    assert {each for each, salt in salts.items() if salt.hex().encode() in data} == chosen
    assert found.material == (sample.PASSPORT.material if Statement.RECEIPT in chosen else "")
    assert found.disclosing(frozenset(Statement)) == found, (
        "what is closed cannot be opened again from the passport alone"
    )


def test_a_print_that_has_not_ended_keeps_no_receipt_closed() -> None:
    fresh = replace(sample.PASSPORT, outcome=None, receipt=None).public()
    assert (fresh.disclosed, fresh.undisclosed) == ((), (Statement.CONTENT, Statement.DETAIL))


def test_a_fresh_print_has_a_provisional_passport() -> None:
    fresh = replace(
        sample.PASSPORT, outcome=None, receipt=None, anchor=None, chain_proof=None, responsible=None, material=""
    ).public()
    assert fresh.provisional
    assert not sample.PASSPORT.provisional
    assert fresh.outcome_entry() is None
    assert Passport.parse(fresh.encode()) == fresh
    assert Status("provisional") is Status.PROVISIONAL


def test_entries_of_other_prints_are_refused() -> None:
    later = LoggedEntry(replace(sample.REDEEMED, sequence=2).to_bytes(), 0, ())
    outcome = LoggedEntry(replace(sample.OUTCOME_ENTRY, sequence=2).to_bytes(), 1, ())
    for change in (
        {"redeemed": later},
        {"outcome": outcome},
        {"redeemed": sample.PASSPORT.outcome},
        {"outcome": sample.PASSPORT.redeemed},
    ):
        with pytest.raises(MalformedError) as caught:
            replace(sample.PASSPORT, **change)
        assert caught.value.code == "passport"


@pytest.mark.parametrize(
    "part, other",
    [
        ("terms", replace(sample.TERMS, design_id=DesignId(7))),
        ("permission", replace(sample.RESERVATION, license_id=LicenseId(7))),
    ],
)
def test_documents_of_another_design_or_licence_are_refused(part: str, other: Any) -> None:
    with pytest.raises(PassportPartError) as caught:
        replace(sample.PASSPORT, **{part: other})
    assert (caught.value.part, caught.value.code) == (part, "passport")


def test_a_passport_is_at_most_four_mebibytes() -> None:
    with pytest.raises(MalformedError) as caught:
        Passport.parse(b"{" + b" " * (4 << 20) + b"}")
    assert caught.value.code == "too-large"


@pytest.mark.parametrize("name", sorted(passport._FIELDS))
def test_a_passport_without_one_of_its_fields_says_which_is_missing(name: str) -> None:
    value = {key: part for key, part in sample.PASSPORT.to_json().items() if key != name}
    with pytest.raises(PassportPartError, match=f"missing field: {name}"):
        Passport.from_json(value)
