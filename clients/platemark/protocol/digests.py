r"""Every tagged hash of the protocol, in one place.

Each input begins with `platemark/v1/<purpose>\0`, so that no digest of one kind can be taken for another
(docs/formats.md, conventions). Integers are big-endian and of fixed width.
"""

import hashlib
from typing import Final

from platemark.protocol import canonical
from platemark.protocol.units import Address, Digest32, TokenId

_PREFIX: Final = b"platemark/v1/"


def tag(purpose: str) -> bytes:
    r"""Return the tag of a purpose: `platemark/v1/<purpose>\0`."""
    return _PREFIX + purpose.encode() + b"\0"


def sha256(*parts: bytes) -> Digest32:
    """Return the SHA-256 of the parts, one after the other, 32 bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return Digest32(digest.digest())


def commitment(registrant: Address, salt: bytes, files_root: Digest32) -> Digest32:
    """Return what a registration commits to: registrant (20) ‖ salt (32) ‖ files root (32)."""
    return sha256(tag("content"), registrant, salt, files_root)


def key_commitment(content_key: bytes) -> Digest32:
    """Return the commitment to a content key of 32 bytes."""
    return sha256(tag("key"), content_key)


def token_digest(token_jws: str) -> Digest32:
    """Return the digest that every redemption cites: SHA-256 of the token's compact JWS, untagged."""
    return sha256(token_jws.encode())


def recipient_digest(recipient_public: bytes) -> Digest32:
    """Return the digest of a recipient's HPKE public key (1,216 bytes)."""
    return sha256(tag("recipient"), recipient_public)


def request_digest(
    token_digest: Digest32,
    print_id: bytes,
    recipient_digest: Digest32,
    seen_block: int,
    seen_hash: Digest32,
    detail: Digest32,
) -> Digest32:
    """Return what a redemption signs: token (32) ‖ print id (16) ‖ recipient (32) ‖ block u64 ‖ hash ‖ detail."""
    return sha256(
        tag("request"),
        token_digest,
        print_id,
        recipient_digest,
        seen_block.to_bytes(8, "big"),
        seen_hash,
        detail,
    )


def detail_digest(salt: bytes, detail: canonical.JsonValue) -> Digest32:
    """Return the salted digest (32-byte salt) of where a print is meant to be made."""
    return sha256(tag("commit"), salt, canonical.encode(detail))


def receipt_digest(salt: bytes, statement: bytes) -> Digest32:
    """Return the salted digest (32-byte salt) of a receipt's statement bytes."""
    return sha256(tag("receipt"), salt, statement)


def serial_digest(token_id: TokenId, sequence: int) -> Digest32:
    """Return the digest from which a print's serial is taken (its first ten bytes, base32)."""
    return sha256(tag("serial"), token_id.to_bytes(32, "big"), sequence.to_bytes(4, "big"))


def private_file_hash(salt: bytes, plaintext_sha256: Digest32) -> Digest32:
    """Return the salted hash (32-byte salt) by which a private manifest names a file."""
    return sha256(tag("private-file"), salt, plaintext_sha256)
