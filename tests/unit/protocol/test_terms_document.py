from dataclasses import replace
from typing import Any

import pytest

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.cid import raw_cid
from platemark.protocol.digests import sha256
from platemark.protocol.license_terms import OPEN_END, Enforcer, Protection
from platemark.protocol.terms_document import TermsDocument, check_digest
from platemark.protocol.units import DesignId, UnixSeconds, Wei

PLAIN = TermsDocument("Plain", DesignId(7), sample.GATEWAY.address, Protection.FILE, 50)


def texts(document: TermsDocument, enforcer: Enforcer) -> str:
    return " ".join(sentence.text for sentence in document.sentences() if sentence.enforced_by is enforcer)


def test_terms_are_one_block_named_by_their_digest() -> None:
    data = sample.TERMS_DOCUMENT.encode()
    assert sample.TERMS_DOCUMENT.digest() == sha256(data) == sample.TERMS.terms_digest
    assert sample.TERMS_DOCUMENT.cid() == raw_cid(data)
    assert sample.TERMS_DOCUMENT.cid().text == golden("statements")["ids"]["termsCid"]
    assert check_digest(sample.TERMS, data) == sample.TERMS_DOCUMENT


def test_the_fewest_choices_make_a_document() -> None:
    assert TermsDocument.parse(PLAIN.encode()) == PLAIN
    assert "A print costs nothing." in texts(PLAIN, Enforcer.CONTRACT)
    policy: Any = PLAIN.policy()
    assert "duty" not in policy["permission"][0]


@pytest.mark.parametrize(
    "materials", [("PLA", "pla"), ("PLA, ABS",), ("PLA;ABS",), ("PL\u200bA",), ("PLA", "PETG", "PLA")]
)
def test_materials_are_names_that_are_read_as_they_are_written(materials: tuple[str, ...]) -> None:
    with pytest.raises(MalformedError) as caught:
        replace(PLAIN, materials=materials)
    assert caught.value.code == "terms-unsound"


@pytest.mark.parametrize(
    "change, enforcer, words",
    [
        ({"cap": 41}, Enforcer.CONTRACT, "At most 41 prints"),
        ({"transferable": True}, Enforcer.CONTRACT, "may be passed on"),
        (
            {"price": Wei(1)},
            Enforcer.CONTRACT,
            "costs 0.000000000000000001 of the chain's coin. It",
        ),
        ({"price": Wei(2 * 10**18)}, Enforcer.CONTRACT, "costs 2 of"),
        ({"price": Wei(5)}, Enforcer.CONTRACT, "is paid at purchase"),
        ({"price": Wei(5), "payout": 1}, Enforcer.CONTRACT, "as prints are counted"),
        ({"price": Wei(5), "currency": sample.LEDGER}, Enforcer.CONTRACT, "costs 5 smallest units of the token 0x"),
        ({"not_before": UnixSeconds(86_400)}, Enforcer.CONTRACT, "from 1970-01-02 00:00:00 UTC"),
        ({"not_after": UnixSeconds(86_400)}, Enforcer.CONTRACT, "until 1970-01-02 00:00:00 UTC"),
        (
            {"spares_flat": 3, "spares_per_hundred": 4, "smallest_reservation": 7},
            Enforcer.CONTRACT,
            "3 a reservation and 4 per hundred",
        ),
        ({"smallest_reservation": 9}, Enforcer.CONTRACT, "at least 9 prints"),
        ({"protection": Protection.STREAM}, Enforcer.AGENT, "Nothing readable"),
        ({"protection": Protection.DELETE_AFTER}, Enforcer.AGENT, "deleted afterwards"),
        ({"materials": ("PLA", "ABS")}, Enforcer.AGENT, "PLA, ABS"),
        ({"commercial": False}, Enforcer.PAPER, "not sold"),
        ({"attribution": True}, Enforcer.PAPER, "named with the part"),
        ({"clauses": ("Made in Europe.",)}, Enforcer.PAPER, "Made in Europe."),
    ],
)
def test_each_choice_is_said_and_names_who_holds_it(change: dict[str, Any], enforcer: Enforcer, words: str) -> None:
    document = replace(PLAIN, **change)
    assert words in texts(document, enforcer)
    assert words not in texts(PLAIN, enforcer)
    assert document.digest() != PLAIN.digest()
    assert TermsDocument.parse(document.encode()) == document


def test_the_policy_names_what_it_is_about() -> None:
    policy: Any = sample.TERMS_DOCUMENT.policy()
    assert policy["@type"] == "Offer"
    assert policy["uid"].startswith("urn:platemark:terms:0x")
    assert policy["uid"] != PLAIN.policy()["uid"]
    assert [permission["action"] for permission in policy["permission"]] == ["print"]
    assert [rule["action"] for rule in policy["prohibition"]] == ["grantUse", "distribute", "derive", "reproduce"]
    transferable: Any = replace(sample.TERMS_DOCUMENT, transferable=True).policy()
    assert [permission["action"] for permission in transferable["permission"]] == ["print", "grantUse"]
    assert [rule["action"] for rule in transferable["prohibition"]] == ["distribute", "derive", "reproduce"]


def test_the_price_is_a_duty_for_each_product_in_its_currency() -> None:
    coin: Any = replace(PLAIN, price=Wei(5)).policy()
    (duty,) = coin["permission"][0]["duty"]
    assert duty["action"] == "compensate"
    assert duty["constraint"][0]["rightOperand"] == {"@value": "5", "@type": "xsd:decimal"}
    assert duty["constraint"][0]["unit"] == {"@id": "platemark:coin"}
    token: Any = replace(PLAIN, price=Wei(5), currency=sample.LEDGER, payout=1).policy()
    constraints = token["permission"][0]["duty"][0]["constraint"]
    assert constraints[0]["unit"]["@id"].startswith("urn:platemark:token:0x")
    assert [each["rightOperand"] for each in constraints[1:]] == [
        {"@id": "platemark:product"},
        {"@id": "platemark:as-printed"},
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"cap": 101},
        {"price": Wei(1)},
        {"gateway": sample.HOLDER.address},
        {"transferable": True},
        {"not_after": OPEN_END},
        {"design_id": DesignId(1)},
    ],
)
def test_terms_on_chain_that_say_something_else_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationError) as caught:
        sample.TERMS_DOCUMENT.check_terms(replace(sample.TERMS, **change))
    assert caught.value.code == "terms-differ"
    with pytest.raises(VerificationError) as caught:
        check_digest(replace(sample.TERMS, **change), sample.TERMS_DOCUMENT.encode())
    assert caught.value.code == "terms-differ"


def test_another_document_than_the_licence_names_is_refused() -> None:
    other = replace(sample.TERMS_DOCUMENT, clauses=())
    with pytest.raises(VerificationError) as caught:
        check_digest(sample.TERMS, other.encode())
    assert caught.value.code == "terms-differ"


def test_a_document_that_nobody_could_read_is_not_written() -> None:
    with pytest.raises(MalformedError):
        replace(PLAIN, clauses=("two\nlines",)).encode()
    with pytest.raises(MalformedError):
        replace(PLAIN, price=Wei(2**96)).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"cap": 0},
        {"smallest_reservation": 0},
        {"smallest_reservation": 51},
        {"not_before": UnixSeconds(2), "not_after": UnixSeconds(1)},
        {"not_before": UnixSeconds(-1)},
        {"not_before": UnixSeconds(10**12)},
        {"not_after": UnixSeconds(10**12)},
        {"spares_per_hundred": 51},
        {"spares_flat": 1},
        {"payout": 1},
        {"spares_flat": 4, "smallest_reservation": 7},
        {"cap": 65_500, "spares_flat": 36, "smallest_reservation": 100},
        {"cap": 10**9, "spares_flat": 1, "smallest_reservation": 2},
    ],
)
def test_numbers_that_the_contract_refuses_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as caught:
        replace(PLAIN, **change)
    assert caught.value.code == "terms-unsound"


@pytest.mark.parametrize(
    "change",
    [
        {"smallest_reservation": 50},
        {"spares_flat": 3, "smallest_reservation": 7},
        {"spares_per_hundred": 50, "smallest_reservation": 2},
        {"cap": 65_500, "spares_flat": 35, "smallest_reservation": 100},
        {"cap": 10**9},
    ],
)
def test_numbers_at_the_contracts_limits_pass(change: dict[str, Any]) -> None:
    document = replace(PLAIN, **change)
    assert TermsDocument.parse(document.encode()) == document
