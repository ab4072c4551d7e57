import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from platemark.errors import MalformedError
from platemark.protocol import canonical

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SAFE = st.integers(-canonical.MAX_SAFE_INTEGER, canonical.MAX_SAFE_INTEGER)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), SAFE, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(TEXT, inner, max_size=5)),
    max_leaves=20,
)


@given(VALUE)
def test_every_value_survives_its_one_form(value: Any) -> None:
    data = canonical.encode(value)
    assert canonical.decode(data) == value
    assert canonical.parse(data) == json.loads(data) == value


@given(VALUE, st.booleans(), st.booleans())
def test_any_other_form_of_a_value_has_the_same_canonical_form(value: Any, ascii_only: bool, indent: bool) -> None:
    other = json.dumps(value, ensure_ascii=ascii_only, indent=2 if indent else None).encode()
    assert canonical.encode(canonical.parse(other)) == canonical.encode(value)


@given(st.one_of(st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=60)))
def test_any_bytes_are_canonical_or_refused(data: bytes) -> None:
    try:
        again = canonical.encode(canonical.decode(data))
    except MalformedError:
        again = data
    assert again == data


@given(st.text(alphabet='[]{}",:\\1 ', max_size=80))
def test_the_depth_limit_agrees_with_the_parsed_value(text: str) -> None:
    def depth(value: Any) -> int:
        if isinstance(value, list):
            return 1 + max(map(depth, value), default=0)
        if isinstance(value, dict):
            return 1 + max(map(depth, value.values()), default=0)
        return 0

    wrapped = b"[" * 30 + text.encode() + b"]" * 30
    try:
        deep = depth(json.loads(wrapped))
    except ValueError:
        return
    assert canonical._too_deep(wrapped) == (deep > canonical.MAX_DEPTH)
