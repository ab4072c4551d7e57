"""A file under its key: streaming AEAD in segments of 1 MiB, the wire format of Tink's AES256_GCM_HKDF_1MB.

    header    u8 40 ‖ salt (32) ‖ nonce prefix (7)
    segment   AES-256-GCM ciphertext ‖ tag (16); 1 MiB each, the first one shorter by the header, the last one any
    key       HKDF-SHA256(file key, salt, no info), 32 bytes
    nonce     prefix (7) ‖ u32 number of the segment ‖ u8 (1 for the last one, else 0)

Associated data is empty. A segment that was altered, reordered, left out, added or taken from another file fails;
plaintext leaves this module only after its segment's tag was checked. What was yielded before a failure is genuine
but incomplete: a caller uses a file when the iterator has ended.

Evolution: the header's length byte is Tink's; another cipher is a new version of the manifest.
Source: Tink, streaming AEAD, AES-GCM-HKDF; docs/formats.md, sealed file.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol.regrouping import regrouped

SEGMENT_BYTES: Final = 1 << 20
HEADER_BYTES: Final = 40
TAG_BYTES: Final = 16
KEY_BYTES: Final = 32

_SALT_BYTES: Final = 32
_PREFIX_BYTES: Final = 7
_FIRST_PLAIN_BYTES: Final = SEGMENT_BYTES - HEADER_BYTES - TAG_BYTES
_PLAIN_BYTES: Final = SEGMENT_BYTES - TAG_BYTES
_MAX_SEGMENTS: Final = 1 << 32


def sealed_bytes(plain_bytes: int) -> int:
    """Return how many bytes a file of `plain_bytes` has when sealed."""
    if plain_bytes < 0:
        raise UsageError("a file has no negative size")
    later = max(0, plain_bytes - _FIRST_PLAIN_BYTES)
    segments = 1 + -(-later // _PLAIN_BYTES)
    return HEADER_BYTES + plain_bytes + segments * TAG_BYTES


def seal(
    file_key: bytes, chunks: Iterable[bytes], *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> Iterator[bytes]:
    """Yield the sealed file, a segment at a time; memory is two segments, whatever the file's size.

    Args:
        file_key: 32 bytes, used for this file only (`ContentKey.file_key`).
        chunks: The plaintext in pieces of any size.
        random_bytes: Gives the salt and the nonce prefix; fixed only to make test vectors.
    """
    _check_key(file_key)
    salt = random_bytes(_SALT_BYTES)
    prefix = random_bytes(_PREFIX_BYTES)
    cipher = _cipher(file_key, salt)
    head = bytes([HEADER_BYTES]) + salt + prefix
    for number, plain, last in _cut(chunks, _FIRST_PLAIN_BYTES, _PLAIN_BYTES):
        yield head + cipher.encrypt(_nonce(prefix, number, last=last), plain, None)
        head = b""


def open_sealed(file_key: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the plaintext of a sealed file, a segment at a time; memory is two segments.

    Args:
        file_key: 32 bytes.
        chunks: The sealed file in pieces of any size.

    Errors: MalformedError `sealed-file` when the header is none of this format or the file ends within it;
        VerificationError `sealed-file` when a segment does not belong here, or the key is another one.
    """
    _check_key(file_key)
    cipher: AESGCM | None = None
    prefix = b""
    for number, sealed, last in _cut(chunks, SEGMENT_BYTES, SEGMENT_BYTES):
        body = sealed
        if cipher is None:
            if len(sealed) < HEADER_BYTES + TAG_BYTES or sealed[0] != HEADER_BYTES:
                raise MalformedError("this is not a sealed file", code="sealed-file")
            cipher = _cipher(file_key, sealed[1 : 1 + _SALT_BYTES])
            prefix = sealed[1 + _SALT_BYTES : HEADER_BYTES]
            body = sealed[HEADER_BYTES:]
        elif len(sealed) <= TAG_BYTES:
            raise _damaged(number, f"{len(sealed)} bytes")  # an empty segment follows none of ours
        try:
            plain = cipher.decrypt(_nonce(prefix, number, last=last), body, None)
        except InvalidTag:
            raise _damaged(number, "a tag that does not fit") from None
        yield plain


def _cut(chunks: Iterable[bytes], first: int, later: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number, segment, whether it is the last): all full but the last, which alone may be empty."""
    for number, (segment, last) in enumerate(regrouped(chunks, first=first, later=later)):
        if number == _MAX_SEGMENTS:
            raise MalformedError("the file has too many segments", code="too-large")
        yield number, segment, last


def _cipher(file_key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"").derive(file_key))


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + bytes([last])


def _check_key(file_key: bytes) -> None:
    if len(file_key) != KEY_BYTES:
        raise UsageError(f"a file key has {KEY_BYTES} bytes")


def _damaged(number: int, found: str) -> VerificationError:
    return VerificationError(
        f"segment {number} of the sealed file does not open",
        step="sealed-file",
        code="sealed-file",
        expected=f"segment {number} as it was sealed, under this key",
        found=found,
        hint="fetch the file again; if it fails again, the key belongs to another file",
    )
