from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pytest

from golden import cases, golden
from platemark.errors import MalformedError
from platemark.protocol import typed_data
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.typed_data import Domain, Offer, Struct, Terms
from platemark.protocol.units import Address, Digest32, parse_address

VECTOR: dict[str, Any] = golden("typed_data")
STRUCTS: dict[str, type[Struct]] = {
    name: kind
    for name, kind in vars(typed_data).items()
    if isinstance(kind, type) and issubclass(kind, Struct) and kind != Struct
}
DOMAINS = {
    name: Domain(row["name"], VECTOR["chainId"], parse_address(row["verifyingContract"]))
    for name, row in VECTOR["domains"].items()
}


def made(case: dict[str, Any]) -> Struct:
    return STRUCTS[case["struct"]].from_json(case["values"])


@pytest.mark.parametrize("case", cases("typed_data", "structs"))
def test_structs_hash_as_they_did(case: dict[str, Any]) -> None:
    struct = made(case)
    assert case["type"] == struct.TYPE
    assert "0x" + struct.struct_hash().hex() == case["structHash"]
    digest = struct.digest(DOMAINS[case["domain"]])
    assert "0x" + digest.hex() == case["digest"]
    assert recover(digest, bytes.fromhex(case["signature"][2:])) == parse_address(VECTOR["signer"])
    assert AccountKey(bytes.fromhex(VECTOR["secret"][2:])).sign(digest).hex() == case["signature"][2:]


@pytest.mark.parametrize("case", cases("typed_data", "structs"))
def test_structs_survive_json(case: dict[str, Any]) -> None:
    assert made(case).to_json() == case["values"]


@pytest.mark.parametrize("case", cases("typed_data", "structs"))
def test_wallets_sign_the_same_digest(case: dict[str, Any]) -> None:
    from eth_account.messages import _hash_eip191_message, encode_typed_data

    domain = DOMAINS[case["domain"]]
    message = made(case).message(domain)
    assert bytes(_hash_eip191_message(encode_typed_data(full_message=message))) == made(case).digest(domain)


@pytest.mark.parametrize("case", cases("typed_data", "structs"))
def test_wallets_get_no_number_that_json_cannot_carry(case: dict[str, Any]) -> None:
    def numbers(value: Any) -> list[int]:
        if isinstance(value, dict | list):
            items = value.values() if isinstance(value, dict) else value
            return [number for item in items for number in numbers(item)]
        return [value] if isinstance(value, int) else []

    message = made(case).message(DOMAINS[case["domain"]])["message"]
    assert max(numbers(message), default=0) < 2**53


@pytest.mark.parametrize("name", sorted(VECTOR["domains"]))
def test_separators_are_as_they_were(name: str) -> None:
    assert "0x" + DOMAINS[name].separator().hex() == VECTOR["domains"][name]["separator"]


def test_each_contract_has_its_domain() -> None:
    address = Address(bytes(20))
    made_domains = [
        typed_data.registry_domain(5, address),
        typed_data.license_domain(5, address),
        typed_data.ledger_domain(5, address),
    ]
    assert [domain.name for domain in made_domains] == [row["name"] for row in VECTOR["domains"].values()]
    assert len({domain.separator() for domain in made_domains}) == 3
    assert typed_data.ledger_domain(6, address).separator() != made_domains[2].separator()


def test_every_struct_has_its_vectors() -> None:
    assert {row["struct"] for row in VECTOR["structs"]} == STRUCTS.keys()


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_arguments_stand_in_the_order_of_the_type(name: str) -> None:
    (case,) = (row for row in VECTOR["structs"] if row["name"] == f"{name} typical")
    struct = made(case)
    order = struct.arguments_order()
    assert list(order) == list(case["values"])
    by_name = dict(zip(order, struct.arguments(), strict=True))
    for field, value in zip(fields(struct), struct.arguments(), strict=True):
        own = getattr(struct, field.name)
        if isinstance(own, Struct):
            assert value == own.arguments()
        elif isinstance(own, tuple):
            assert value == [item.arguments() for item in own]
        elif isinstance(own, bytes) and len(own) == 20:
            assert parse_address(value) == own
        else:
            assert value == own
    assert len(by_name) == len(order)


def sample(name: str) -> dict[str, Any]:
    (case,) = (row for row in VECTOR["structs"] if row["name"] == f"{name} typical")
    return dict(case["values"])


@pytest.mark.parametrize(
    "struct, member, value, code",
    [
        ("Registration", "isPrivate", 1, "canonical-form"),
        ("Registration", "isPrivate", "true", "canonical-form"),
        ("Registration", "registrant", "0x00", "address"),
        ("Registration", "registrant", None, "address"),
        ("Registration", "commitment", "00", "digest-length"),
        ("Registration", "commitment", 5, "digest-length"),
        ("Registration", "parentId", 5, "digest-length"),
        ("Registration", "parentId", "5", "digest-length"),
        ("Registration", "resaleShare", 65536, "integer-range"),
        ("Registration", "resaleShare", -1, "integer-range"),
        ("Registration", "resaleShare", "5", "integer-range"),
        ("Registration", "resaleShare", True, "integer-range"),
        ("Registration", "edition", 1 << 40, "integer-range"),
        ("Terms", "price", 5, "integer-range"),
        ("Terms", "price", "05", "integer-range"),
        ("Terms", "price", "-5", "integer-range"),
        ("Terms", "price", "5.0", "integer-range"),
        ("Terms", "price", "\u0665", "integer-range"),
        ("Terms", "price", str(1 << 96), "integer-range"),
        ("Terms", "price", "9" * 79, "integer-range"),
        ("Offer", "terms", {}, "canonical-form"),
        ("Offer", "terms", None, "canonical-form"),
        ("Outcome", "result", 256, "integer-range"),
        ("RegistrationBatch", "registrations", None, "canonical-form"),
        ("RegistrationBatch", "registrations", {}, "canonical-form"),
        ("RegistrationBatch", "registrations", [None], "canonical-form"),
        ("MintBatch", "grants", [{}], "canonical-form"),
        ("MintBatch", "grants", [{"licenseId": 5, "to": "0x00", "prints": 1}], "digest-length"),
    ],
)
def test_members_of_another_form_are_refused(struct: str, member: str, value: Any, code: str) -> None:
    with pytest.raises(MalformedError) as caught:
        STRUCTS[struct].from_json({**sample(struct), member: value})
    assert caught.value.code == code


def test_members_that_are_missing_or_unknown_are_refused() -> None:
    good = sample("Stop")
    others: list[Any] = [{}, {**good, "more": 1}, {"tokenId": good["tokenId"]}, [], None]
    for bad in others:
        with pytest.raises(MalformedError) as caught:
            STRUCTS["Stop"].from_json(bad)
        assert caught.value.code == "canonical-form"


def test_what_does_not_fit_its_type_is_not_hashed() -> None:
    terms = Terms.from_json(sample("Terms"))
    values = {field.name: getattr(terms, field.name) for field in fields(terms)}
    for change in ({"price": 1 << 96}, {"cap": -1}, {"gateway": bytes(19)}, {"salt": bytes(31)}):
        with pytest.raises(MalformedError):
            Terms(**{**values, **change}).struct_hash()


def test_an_offer_is_another_statement_than_its_terms() -> None:
    offer = Offer.from_json(sample("Offer"))
    domain = DOMAINS["license"]
    assert offer.digest(domain) != offer.terms.digest(domain)
    assert offer.terms.license_id(domain) == int.from_bytes(offer.terms.digest(domain), "big")


def test_a_tokens_id_is_the_digest_of_its_permission() -> None:
    reservation = typed_data.Reservation.from_json(sample("Reservation"))
    domain = DOMAINS["ledger"]
    assert reservation.token_id(domain) == int.from_bytes(reservation.digest(domain), "big")


@pytest.mark.parametrize("prints, spares", [(1, 2), (9, 2), (10, 3), (99, 11), (100, 12), (1000, 102)])
def test_spares_are_a_flat_number_and_a_share_rounded_down(prints: int, spares: int) -> None:
    terms = Terms.from_json({**sample("Terms"), "sparesFlat": 2, "sparesPerHundred": 10})
    assert terms.spares(prints) == spares


def test_a_struct_whose_fields_are_not_its_members_cannot_be_hashed() -> None:
    @dataclass(frozen=True, slots=True)
    class Odd:
        TYPE: ClassVar[str] = "Odd(uint256 a,uint256 b)"
        a: int

    with pytest.raises(TypeError):
        typed_data._read_layout(Odd)  # type: ignore[arg-type]  # not listed among the structs, on purpose


def test_digests_of_one_value_differ_between_structs_and_domains() -> None:
    seen: set[Digest32] = set()
    for case in VECTOR["structs"]:
        for domain in DOMAINS.values():
            seen.add(made(case).digest(domain))
    assert len(seen) == len(VECTOR["structs"]) * len(DOMAINS)
