"""Canonical JSON (RFC 8785) and strict reading of JSON from strangers.

Only what the formats use: objects, arrays, strings, booleans, null and integers within 2^53; floats are
refused, because no format of ours has one (decimals travel as strings).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from platemark.errors import MalformedError

JsonValue = None | bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]

MAX_SAFE_INTEGER: Final = 2**53 - 1
MAX_DEPTH: Final = 32

# Escapes as RFC 8785 wants them: what must be escaped, in its shortest form.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.?)*(?:"|\Z)', re.DOTALL)  # \Z, so that it matches at once or never
_PAIR: Final = re.compile(rb"\[\]|\{\}")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def encode(value: JsonValue) -> bytes:
    """Return `value` as RFC 8785 bytes: keys sorted by UTF-16 code units, no white space, UTF-8.

    Errors: MalformedError `canonical-form` for floats, integers beyond ±(2^53 - 1), keys that are not
        text, lone surrogates, or more than 32 levels.
    """
    try:
        return _ENCODER.encode(_ordered(value, 0)).encode()
    except UnicodeEncodeError as error:
        raise MalformedError("a text has a lone surrogate", code="canonical-form") from error


def decode(data: bytes, *, max_bytes: int = 1 << 20) -> JsonValue:
    """Return the value that canonical bytes encode; the bytes must be exactly what `encode` writes.

    Errors: MalformedError `too-large` above `max_bytes`; `canonical-form` for anything else.
    """
    value = parse(data, max_bytes=max_bytes)
    if encode(value) != data:
        raise MalformedError("the JSON is not in canonical form (RFC 8785)", code="canonical-form")
    return value


def parse(data: bytes, *, max_bytes: int = 1 << 20) -> JsonValue:
    """Return the value of JSON that need not be canonical: as `encode` takes it, no duplicate keys.

    Errors: as `decode`.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"the JSON has {len(data)} bytes, more than {max_bytes}", code="too-large")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise MalformedError("this is no text, so no JSON", code="canonical-form") from error
    if _too_deep(data):
        raise MalformedError("the JSON is nested too deeply", code="canonical-form")
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_float=_no_float,
            parse_int=_whole,
            parse_constant=_no_float,
        )
    except ValueError as error:  # also of numbers with thousands of digits
        raise MalformedError("this is not JSON", code="canonical-form") from error
    if b"\\u" in data:
        encode(value)  # escapes can spell lone surrogates, which no text of ours has
    return value


def object_of(
    value: JsonValue, *, fields: frozenset[str], optional: frozenset[str] = frozenset()
) -> Mapping[str, JsonValue]:
    """Return `value` as an object that has exactly `fields`, and perhaps some of `optional`.

    Errors: MalformedError `canonical-form` naming what is missing or unknown.
    """
    if not isinstance(value, Mapping):
        raise MalformedError("an object was expected", code="canonical-form")
    if missing := fields - value.keys():
        raise MalformedError(f"missing field: {', '.join(sorted(missing))}", code="canonical-form")
    if unknown := value.keys() - fields - optional:
        raise MalformedError(f"unknown field: {', '.join(sorted(unknown))[:200]}", code="canonical-form")
    return value


def text_of(value: JsonValue, *, max_length: int = 1024) -> str:
    """Return `value` as a string of at most `max_length` characters; errors as `object_of`."""
    if not isinstance(value, str) or len(value) > max_length:
        raise MalformedError(f"a text of at most {max_length} characters was expected", code="canonical-form")
    return value


def integer_of(value: JsonValue, *, low: int = 0, high: int = MAX_SAFE_INTEGER) -> int:
    """Return `value` as an integer within [`low`, `high`]; errors `integer-range`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise MalformedError(f"an integer from {low} to {high} was expected", code="integer-range")
    return value


def list_of(value: JsonValue, *, max_items: int) -> Sequence[JsonValue]:
    """Return `value` as an array of at most `max_items`; errors as `object_of`."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > max_items:
        raise MalformedError(f"an array of at most {max_items} was expected", code="canonical-form")
    return value


def _ordered(value: JsonValue, depth: int) -> JsonValue:
    """Return `value` made of dicts in canonical order and of lists, if all of it has a place in canonical JSON."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise MalformedError("an integer above 2^53 travels as a decimal string", code="canonical-form")
        return value
    if not isinstance(value, dict | list | tuple | Mapping):
        raise MalformedError(f"{type(value).__name__} has no place in canonical JSON", code="canonical-form")
    if depth == MAX_DEPTH:
        raise MalformedError("the JSON is nested too deeply", code="canonical-form")
    if isinstance(value, list | tuple):
        return [_ordered(item, depth + 1) for item in value]
    if not all(isinstance(key, str) for key in value):
        raise MalformedError("a key is a string", code="canonical-form")
    # Of ASCII texts, Python's own order is that of UTF-16.
    keys = sorted(value) if all(map(str.isascii, value)) else sorted(value, key=_utf16)
    return {key: _ordered(value[key], depth + 1) for key in keys}


def _utf16(value: str) -> bytes:
    try:
        return value.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise MalformedError("a text has a lone surrogate", code="canonical-form") from error


def _unique(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedError("the JSON has a key twice", code="canonical-form")
    return result


def _no_float(text: str) -> JsonValue:
    raise MalformedError(f"no format of ours has the number {text[:32]}", code="canonical-form")


def _whole(text: str) -> JsonValue:
    value = int(text)  # the parser passes digits only, and Python refuses thousands of them
    if abs(value) > MAX_SAFE_INTEGER:
        raise MalformedError("an integer above 2^53 travels as a decimal string", code="canonical-form")
    return value


def _too_deep(data: bytes) -> bool:
    """Return whether brackets outside strings nest deeper than `MAX_DEPTH`, or do not pair up.

    Each round takes the innermost pairs away; linear in the data, and all loops run in compiled code.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", data).translate(None, delete=_NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = _PAIR.sub(b"", brackets)
    return bool(brackets)
