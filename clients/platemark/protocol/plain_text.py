"""Short texts by strangers that people will read: names, titles, sentences.

Nothing that moves a terminal's cursor or turns the reading order around gets in.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

from platemark.errors import MalformedError
from platemark.protocol.canonical import JsonValue

_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN: Final = frozenset({"Cc", "Zl", "Zp", "Cs"})


def line_of(value: JsonValue, *, max_length: int = 200, may_be_empty: bool = False) -> str:
    """Return `value` as one line of visible text.

    Errors: MalformedError `plain-text` for control characters, line breaks, direction overrides, white space
        at either end, or a wrong length.
    """
    if not isinstance(value, str) or len(value) > max_length or not (value or may_be_empty):
        raise MalformedError(f"a text of at most {max_length} characters was expected", code="plain-text")
    if value != value.strip():
        raise MalformedError("a text begins and ends with a visible character", code="plain-text")
    if any(character in _TURNING or unicodedata.category(character) in _HIDDEN for character in value):
        raise MalformedError("a text has no control characters", code="plain-text")
    return value


def readable(text: str, *, max_length: int) -> str | None:
    """Return the first `max_length` characters of any text as such a line; None where nothing in it can be read."""
    kept = (
        " " if character in _TURNING or unicodedata.category(character) in _HIDDEN else character for character in text
    )
    line = " ".join("".join(kept).split())
    if not line:
        return None
    return line if len(line) <= max_length else f"{line[:max_length]}…"


def reason_of(block: bytes) -> str | None:
    """Return what is shown of an owner's reason for a recall: 500 characters of its block; None where it has none."""
    return readable(block.decode(errors="replace"), max_length=500)


def lines_of(value: JsonValue, *, max_items: int, max_length: int = 200) -> tuple[str, ...]:
    """Return `value` as at most `max_items` lines.

    Errors: MalformedError `count-limit` for more; otherwise as `line_of`.
    """
    return tuple(line_of(item, max_length=max_length) for item in items_of(value, max_items=max_items, what="texts"))


def items_of(value: JsonValue, *, max_items: int, what: str, min_items: int = 0) -> Sequence[JsonValue]:
    """Return `value` as an array of `min_items` to `max_items`, counted before anything in it is read.

    Errors: MalformedError `count-limit` naming `what` there are too many or too few of; `canonical-form` for
        something else than an array.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise MalformedError(f"an array of {what} was expected", code="canonical-form")
    refuse_count(len(value), max_items=max_items, min_items=min_items, what=what)
    return value


def refuse_count(count: int, *, max_items: int, what: str, min_items: int = 0) -> None:
    """Pass when `count` is within its limits.

    Errors: MalformedError `count-limit`.
    """
    if not min_items <= count <= max_items:
        raise MalformedError(f"{count} {what}, where {min_items} to {max_items} may be", code="count-limit")


def name_of_file(value: JsonValue) -> str:
    """Return `value` as a file's bare name: at most 120 characters, no path in it.

    Errors: MalformedError `file-name`.
    """
    try:
        name = line_of(value, max_length=120)
    except MalformedError as error:
        raise MalformedError("a file's name is one line of at most 120 characters", code="file-name") from error
    if name in {".", ".."} or any(character in name for character in '/\\:*?"<>|'):
        raise MalformedError("a file's name has no path in it", code="file-name")
    return name
