from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from platemark.protocol import typed_data
from platemark.protocol.typed_data import Domain, Struct
from platemark.protocol.units import Address

STRUCTS = [
    kind for kind in vars(typed_data).values() if isinstance(kind, type) and issubclass(kind, Struct) and kind != Struct
]
DOMAIN = Domain("Platemark PrintLedger", 31337, Address(bytes(range(20))))


def members(struct: type[Struct]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = typed_data._MEMBER.findall(struct.TYPE.partition("(")[2].partition(")")[0])
    return found


def values_of(struct: type[Struct]) -> st.SearchStrategy[Struct]:
    """Return a strategy of structs with any members that fit their types."""
    hints = get_type_hints(struct)
    parts: list[st.SearchStrategy[Any]] = []
    for field, (kind, _) in zip(fields(struct), members(struct), strict=True):
        if kind == "address":
            parts.append(st.binary(min_size=20, max_size=20))
        elif kind == "bytes32":
            parts.append(st.binary(min_size=32, max_size=32))
        elif kind == "bool":
            parts.append(st.booleans())
        elif kind.startswith("uint"):
            parts.append(st.integers(0, 2 ** int(kind[4:]) - 1))
        elif kind.endswith("[]"):
            parts.append(st.lists(values_of(get_args(hints[field.name])[0]), max_size=3).map(tuple))
        else:
            parts.append(values_of(hints[field.name]))
    return st.tuples(*parts).map(lambda values: struct(*values))


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
@given(data=st.data())
def test_every_struct_survives_json_and_hashes_as_wallets_do(struct: type[Struct], data: st.DataObject) -> None:
    value = data.draw(values_of(struct))
    assert struct.from_json(value.to_json()) == value
    theirs = bytes(_hash_eip191_message(encode_typed_data(full_message=value.message(DOMAIN))))
    assert theirs == value.digest(DOMAIN)


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
@given(data=st.data())
def test_two_values_never_share_a_digest(struct: type[Struct], data: st.DataObject) -> None:
    one, other = data.draw(values_of(struct)), data.draw(values_of(struct))
    assert (one.digest(DOMAIN) == other.digest(DOMAIN)) == (one == other)
