"""Decimal numbers as text: lengths, volumes, grams, minutes; never floats.

A number has exactly one text: no plus sign, no exponent, no leading or trailing zeros; at most twelve digits
before and six after the point.
"""

import re
from decimal import Decimal
from typing import Final

from platemark.errors import MalformedError

_TEXT: Final = re.compile(r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{0,5}[1-9])?")
_STEP: Final = Decimal("0.000001")
_LIMIT: Final = Decimal(10) ** 12


def decimal_text(value: Decimal) -> str:
    """Return a number (0 up to 10^12, at most six decimal places) as its only text.

    Errors: MalformedError `decimal` for a number that does not fit.
    """
    if not value.is_finite() or not 0 <= value < _LIMIT or value != value.quantize(_STEP):
        raise MalformedError("a number has at most 12 digits before and 6 after the point", code="decimal")
    text = f"{abs(value.quantize(_STEP)):f}"
    return text.rstrip("0").rstrip(".")


def parse_decimal(text: object) -> Decimal:
    """Return the number written in `text`.

    Errors: MalformedError `decimal` unless it is exactly what `decimal_text` writes.
    """
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise MalformedError('a number is a text such as "12.38"', code="decimal")
    return Decimal(text)


def rounded(value: Decimal, *, places: int = 3) -> Decimal:
    """Return a measured number rounded half to even to `places` decimal places (0 to 6)."""
    return value.quantize(Decimal(1).scaleb(-places))
