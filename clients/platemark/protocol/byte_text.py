"""Bytes as text on the wire: base64url without padding, and `0x` with lowercase hexadecimal digits.

Each reading is strict: one sequence of bytes has exactly one text, so a digest over text is a digest over bytes.
"""

import base64
import re
from typing import Final

from platemark.errors import MalformedError

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*")
_HEX: Final = re.compile(r"0x(?:[0-9a-f]{2})*")


def base64url(data: bytes) -> str:
    """Return `data` as base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parse_base64url(text: object, *, max_bytes: int, exact_bytes: int | None = None) -> bytes:
    """Return the bytes written in `text`, at most `max_bytes` of them, or `exact_bytes` where given.

    Errors: MalformedError `base64url` for padding, another alphabet, stray bits or a wrong length.
    """
    if not isinstance(text, str) or len(text) > max_bytes * 4 // 3 + 3 or not _BASE64URL.fullmatch(text):
        raise MalformedError(f"base64url of at most {max_bytes} bytes was expected", code="base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise MalformedError("this length is impossible for base64url", code="base64url") from error
    if base64url(data) != text:
        raise MalformedError("the base64url has stray bits at its end", code="base64url")
    if len(data) > max_bytes or (exact_bytes is not None and len(data) != exact_bytes):
        raise MalformedError(f"{exact_bytes or max_bytes} bytes were expected, not {len(data)}", code="base64url")
    return data


def hex_text(data: bytes) -> str:
    """Return `data` as `0x` and lowercase hexadecimal digits."""
    return "0x" + data.hex()


def parse_hex(text: object, *, exact_bytes: int | None = None, max_bytes: int = 65_536) -> bytes:
    """Return the bytes written in `text`, `exact_bytes` of them where given.

    Errors: MalformedError `hex` for another alphabet, upper case or a wrong length.
    """
    longest = max_bytes if exact_bytes is None else exact_bytes
    if not isinstance(text, str) or len(text) > 2 + 2 * longest or not _HEX.fullmatch(text):
        raise MalformedError(f"0x and digits of at most {longest} bytes were expected", code="hex")
    data = bytes.fromhex(text[2:])
    if exact_bytes is not None and len(data) != exact_bytes:
        raise MalformedError(f"{exact_bytes} bytes were expected, not {len(data)}", code="hex")
    return data


def signature_text(signature: bytes) -> str:
    """Return a secp256k1 signature (65 bytes; longer for contract wallets) as `0x` and hexadecimal digits."""
    return hex_text(signature)


def parse_signature(text: object) -> bytes:
    """Return an agent's signature, exactly 65 bytes; errors as `parse_hex`."""
    return parse_hex(text, exact_bytes=65)


def parse_account_signature(text: object) -> bytes:
    """Return an account's signature: 65 bytes, or up to 4,096 for a contract wallet (ERC-1271).

    Errors: as `parse_hex`; also `hex` below 65 bytes.
    """
    data = parse_hex(text, max_bytes=4096)
    if len(data) < 65:
        raise MalformedError("an account's signature has at least 65 bytes", code="hex")
    return data
