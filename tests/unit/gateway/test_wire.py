from typing import Any

import pytest
from pydantic import ValidationError

from platemark.errors import MalformedError
from platemark.protocol.typed_data import Stop
from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds
from platemark_gateway.wire import (
    AccountSignature,
    AddressField,
    AgentSignature,
    BytesField,
    DesignIdField,
    DesignIdInput,
    DigestField,
    StopField,
    Wire,
)


class Question(Wire):
    """Everything that a request may hold."""

    design_id: DesignIdInput
    digest: DigestField
    address: AddressField
    stop: StopField
    signature: AgentSignature
    account_signature: AccountSignature
    content: BytesField
    sequence: int


class Reply(Wire):
    """What an answer may hold."""

    design_id: DesignIdField
    digest: DigestField | None
    stop: StopField


GOOD: dict[str, Any] = {
    "designId": "0x" + "00" * 31 + "07",
    "digest": "0x" + "01" * 32,
    "address": "0x" + "02" * 20,
    "stop": {"tokenId": "0x" + "00" * 31 + "09", "deadline": 5},
    "signature": "0x" + "03" * 65,
    "accountSignature": "0x" + "03" * 80,
    "content": "AQI",
    "sequence": 1,
}


def test_a_request_becomes_typed_values() -> None:
    found = Question.model_validate(GOOD)
    assert found.design_id == 7
    assert found.digest == b"\x01" * 32
    assert found.address == b"\x02" * 20
    assert found.stop == Stop(TokenId(9), UnixSeconds(5))
    assert found.content == b"\x01\x02"


@pytest.mark.parametrize(
    "field, value",
    [
        ("designId", 7),
        ("designId", "7"),
        ("designId", None),
        ("designId", True),
        ("digest", "0x" + "AB" * 32),
        ("digest", "0x" + "01" * 31),
        ("digest", 5),
        ("digest", {}),
        ("address", "0x" + "02" * 19),
        ("address", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"),
        ("address", 5),
        ("stop", {"tokenId": 9, "deadline": 5}),
        ("stop", {"tokenId": GOOD["designId"], "deadline": "5"}),
        ("stop", {"tokenId": GOOD["designId"], "deadline": 1 << 40}),
        ("stop", {"tokenId": GOOD["designId"]}),
        ("stop", GOOD["stop"] | {"more": 1}),
        ("stop", []),
        ("stop", 5),
        ("signature", "0x" + "03" * 64),
        ("signature", [3] * 65),
        ("accountSignature", "0x"),
        ("content", "AQI="),
        ("content", "A" * 20_000),
        ("content", 5),
    ],
)
def test_an_ill_formed_value_is_refused_with_the_formats_own_code(field: str, value: object) -> None:
    with pytest.raises(MalformedError) as caught:
        Question.model_validate(GOOD | {field: value})
    assert caught.value.code


@pytest.mark.parametrize(
    "change", [{"sequence": "1"}, {"sequence": 1.0}, {"sequence": True}, {"more": 1}, {"design_id": GOOD["designId"]}]
)
def test_a_request_that_does_not_fit_is_a_schema_error(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Question.model_validate(GOOD | change)


@pytest.mark.parametrize("field", sorted(GOOD))
def test_nothing_may_be_missing(field: str) -> None:
    with pytest.raises(ValidationError):
        Question.model_validate({name: value for name, value in GOOD.items() if name != field})


def test_an_answer_is_made_from_values_and_written_as_text() -> None:
    reply = Reply(design_id=DesignId(7), digest=Digest32(b"\x01" * 32), stop=Stop(TokenId(9), UnixSeconds(5)))
    assert reply.model_dump(mode="json") == {
        "designId": GOOD["designId"],
        "digest": GOOD["digest"],
        "stop": GOOD["stop"],
    }
    empty = Reply(design_id=DesignId(7), digest=None, stop=Stop(TokenId(9), UnixSeconds(5)))
    assert empty.model_dump(mode="json")["digest"] is None
    assert Question.model_validate(GOOD).address == Address(b"\x02" * 20)
