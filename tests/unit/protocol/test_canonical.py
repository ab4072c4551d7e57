import json
import time
from types import MappingProxyType
from typing import Any

import pytest

from golden import cases
from platemark.errors import MalformedError
from platemark.protocol import canonical


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("case", cases("canonical", "valid"))
def test_values_have_one_form(case: dict[str, Any]) -> None:
    data = case["canonical"].encode()
    assert canonical.encode(json.loads(case["json"])) == data
    assert canonical.decode(data) == json.loads(case["json"])
    assert canonical.parse(case["json"].encode()) == json.loads(case["json"])


@pytest.mark.parametrize("case", cases("canonical", "notCanonical"))
def test_json_in_another_form_is_read_but_not_taken_for_canonical(case: dict[str, Any]) -> None:
    data = case["json"].encode()
    canonical.parse(data)
    with pytest.raises(MalformedError) as caught:
        canonical.decode(data)
    assert caught.value.code == "canonical-form"


@pytest.mark.parametrize("case", cases("canonical", "invalid"))
def test_what_is_no_json_of_ours_is_refused(case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["data"])
    for read in (canonical.parse, canonical.decode):
        with pytest.raises(MalformedError) as caught:
            read(data)
        assert caught.value.code == "canonical-form"


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), b"bytes", {1: "a"}, {"a": {2}}, "\ud800", {"\udfff": 1}, object(), [1, 2.5]],
)
def test_values_that_have_no_place_in_it_are_refused(value: Any) -> None:
    with pytest.raises(MalformedError) as caught:
        canonical.encode(value)
    assert caught.value.code == "canonical-form"


def test_tuples_and_other_mappings_are_written_too() -> None:
    assert canonical.encode(MappingProxyType({"b": (1, None), "a": True})) == b'{"a":true,"b":[1,null]}'


def test_depth_has_the_same_limit_in_both_directions() -> None:
    assert canonical.decode(canonical.encode(nested(32))) == nested(32)
    objects: Any = {}
    for _ in range(31):
        objects = {"a": objects}
    assert canonical.decode(canonical.encode(objects)) == objects
    for value in (nested(33), {"a": objects}, nested(500)):
        with pytest.raises(MalformedError):
            canonical.encode(value)
        with pytest.raises(MalformedError):
            canonical.parse(json.dumps(value).encode())


def test_a_deep_leaf_is_no_deep_container() -> None:
    value: Any = 1
    for _ in range(32):
        value = [value]
    assert canonical.decode(canonical.encode(value)) == value


def test_brackets_in_texts_do_not_nest() -> None:
    value: Any = ["[" * 100, "{" * 100, '"[[[[' * 20, "\\" * 33, "\\[" * 100, ["]" * 100], {"[{" * 40: "}"}]
    assert canonical.parse(canonical.encode(value)) == value


def test_many_siblings_do_not_nest() -> None:
    wide: Any = [[[], {}] for _ in range(1000)]
    assert canonical.parse(canonical.encode(wide)) == wide


@pytest.mark.parametrize(
    "data",
    [
        b'"' + b'\\"' * 500_000,
        b'"' + b"\\" * 1_000_000,
        b"[" * 1_000_000,
        b"[]" * 500_000,
        b'"["' * 300_000,
        b"[" * 500_000 + b"]" * 500_000,
        b"[{" * 250_000 + b"}]" * 250_000,
        b"9" * 1_000_000,
        b"1" + b"0" * 5000,
    ],
    ids=["escapes", "backslashes", "open", "pairs", "texts", "deep", "mixed", "digits", "digits that Python refuses"],
)
def test_hostile_json_is_refused_quickly(data: bytes) -> None:
    start = time.monotonic()
    with pytest.raises(MalformedError):
        canonical.parse(data)
    assert time.monotonic() - start < 5


def test_size_has_a_limit() -> None:
    assert canonical.parse(b'"aa"', max_bytes=4) == "aa"
    for read in (canonical.parse, canonical.decode):
        with pytest.raises(MalformedError) as caught:
            read(b'"aaa"', max_bytes=4)
        assert caught.value.code == "too-large"


def test_objects_have_exactly_their_fields() -> None:
    fields = frozenset({"a", "b"})
    assert canonical.object_of({"a": 1, "b": 2}, fields=fields) == {"a": 1, "b": 2}
    assert canonical.object_of({"a": 1, "b": 2, "c": 3}, fields=fields, optional=frozenset({"c"}))["c"] == 3
    others: list[Any] = [{"a": 1}, {"a": 1, "b": 2, "c": 3}, [], "a", None]
    for bad in others:
        with pytest.raises(MalformedError) as caught:
            canonical.object_of(bad, fields=fields)
        assert caught.value.code == "canonical-form"


def test_a_refusal_does_not_repeat_a_stranger_at_length() -> None:
    with pytest.raises(MalformedError) as caught:
        canonical.object_of({"x" * 10_000: 1}, fields=frozenset())
    assert len(caught.value.message) < 300


def test_texts_have_a_limit() -> None:
    assert canonical.text_of("abc", max_length=3) == "abc"
    for bad in ("abcd", 1, None, ["a"]):
        with pytest.raises(MalformedError):
            canonical.text_of(bad, max_length=3)


def test_integers_have_limits_and_are_no_booleans() -> None:
    assert canonical.integer_of(5, low=5, high=5) == 5
    others: list[Any] = [4, 6, True, "5", None, 5.0]
    for bad in others:
        with pytest.raises(MalformedError) as caught:
            canonical.integer_of(bad, low=5, high=5)
        assert caught.value.code == "integer-range"


def test_arrays_have_a_limit_and_are_no_texts() -> None:
    assert canonical.list_of([1, 2], max_items=2) == [1, 2]
    others: list[Any] = [[1, 2, 3], "ab", {"a": 1}, None]
    for bad in others:
        with pytest.raises(MalformedError):
            canonical.list_of(bad, max_items=2)


def test_bytes_that_are_no_text_are_said_to_be_none_however_many_brackets_they_have() -> None:
    with pytest.raises(MalformedError) as raised:
        canonical.parse(b"\x80" + b"[" * 500)
    assert (raised.value.message, raised.value.code) == ("this is no text, so no JSON", "canonical-form")
