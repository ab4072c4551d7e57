"""Types that carry units and lengths; parsed at the edge, trusted inside.

Digests and ids are 32 bytes. In JSON a digest, an id and every uint256 is `0x` and 64 lowercase hexadecimal
digits; an address is EIP-55 text; other integers above 2^53 are decimal strings (docs/formats.md).
"""

import functools
import re
from typing import Final, NewType

from Crypto.Hash import keccak

from platemark.errors import MalformedError

Digest32 = NewType("Digest32", bytes)
"""Thirty-two bytes: a SHA-256 or Keccak-256 digest."""
Address = NewType("Address", bytes)
"""Twenty bytes: an Ethereum account or contract."""
DesignId = NewType("DesignId", int)
LicenseId = NewType("LicenseId", int)
TokenId = NewType("TokenId", int)
Wei = NewType("Wei", int)
BasisPoints = NewType("BasisPoints", int)
UnixSeconds = NewType("UnixSeconds", int)

ZERO_ADDRESS: Final = Address(bytes(20))
UINT256_MAX: Final = 2**256 - 1

_HEX32: Final = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


def keccak256(data: bytes) -> Digest32:
    """Return the Keccak-256 digest of `data`, 32 bytes (the hash of the EVM, not SHA3-256)."""
    return Digest32(keccak.new(digest_bits=256, data=data).digest())


def digest32(value: bytes) -> Digest32:
    """Return `value` as a digest.

    Errors: MalformedError `digest-length` if it is not 32 bytes.
    """
    if len(value) != 32:
        raise MalformedError(f"a digest has 32 bytes, this one has {len(value)}", code="digest-length")
    return Digest32(value)


def digest_text(value: bytes) -> str:
    """Return a 32-byte digest as `0x` and 64 lowercase hexadecimal digits."""
    return "0x" + digest32(value).hex()


def parse_digest(text: object) -> Digest32:
    """Return the digest written in `text`.

    Errors: MalformedError `digest-length` unless it is `0x` and 64 lowercase hexadecimal digits.
    """
    if not isinstance(text, str) or not _HEX32.fullmatch(text):
        raise MalformedError("a digest is 0x and 64 lowercase hexadecimal digits", code="digest-length")
    return Digest32(bytes.fromhex(text[2:]))


def id_text(value: int) -> str:
    """Return a design, licence or token id (0 to 2^256 - 1) as `0x` and 64 lowercase hexadecimal digits."""
    if not 0 <= value <= UINT256_MAX:
        raise MalformedError("an id is an unsigned 256-bit integer", code="integer-range")
    return f"0x{value:064x}"


def parse_id(text: object) -> int:
    """Return the 256-bit id written in `text`; errors as `parse_digest`."""
    return int.from_bytes(parse_digest(text), "big")


@functools.lru_cache(maxsize=4096)
def address_text(address: bytes) -> str:
    """Return a 20-byte address as EIP-55 text."""
    if len(address) != 20:
        raise MalformedError(f"an address has 20 bytes, this one has {len(address)}", code="address")
    digits = address.hex()
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, marks, strict=False)
    )


def parse_address(text: object) -> Address:
    """Return the address written in `text`: EIP-55 when of mixed case, else all lowercase.

    Errors: MalformedError `address` for a wrong length, alphabet or checksum.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise MalformedError("an address is 0x and 40 hexadecimal digits", code="address")
    address = Address(bytes.fromhex(text[2:]))
    if text[2:] != text[2:].lower() and text != address_text(address):
        raise MalformedError("the address's checksum is wrong", code="address", hint="copy it again")
    return address
