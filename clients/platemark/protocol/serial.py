"""Serials: what a part bears, sixteen characters that name one use of one print token.

Source: docs/formats.md, serial.
"""

import base64
import re
from typing import Final

from platemark.errors import MalformedError
from platemark.protocol.digests import serial_digest
from platemark.protocol.units import TokenId

_SERIAL: Final = re.compile(r"[A-Z2-7]{16}")
_GAPS: Final = re.compile(r"[\s-]+")


def serial_of(token_id: TokenId, sequence: int) -> str:
    """Return the serial of a token's print: base32 of the digest's first ten bytes, 16 characters."""
    return base64.b32encode(serial_digest(token_id, sequence)[:10]).decode()


def parse_serial(text: object) -> str:
    """Return the serial that a person typed: small letters, spaces and dashes are forgiven.

    Errors: MalformedError `serial` unless 16 characters of base32 (A to Z, 2 to 7) remain.
    """
    if not isinstance(text, str) or len(text) > 64:
        raise MalformedError("a serial has 16 letters and digits", code="serial")
    serial = _GAPS.sub("", text).upper()
    if not _SERIAL.fullmatch(serial):
        raise MalformedError("a serial has 16 letters and digits, A to Z and 2 to 7", code="serial")
    return serial


def grouped(serial: str) -> str:
    """Return a serial in four groups of four, as labels show it."""
    return "-".join(serial[start : start + 4] for start in range(0, 16, 4))
