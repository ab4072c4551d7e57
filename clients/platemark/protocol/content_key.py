"""The content key of a revision, what is derived from it, and the package in which it travels.

Evolution: keys, commitments and packages carry `v1` in their tags.
Source: docs/formats.md, content key.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import digests
from platemark.protocol.units import Address, DesignId, Digest32, digest_text

KEY_BYTES: Final = 32
PACKAGE_BYTES: Final = 96


class ContentKey:
    """Thirty-two secret bytes under which all files of a revision are sealed; its text never shows them."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Errors: MalformedError `content-key` unless `secret` is 32 bytes."""
        if len(secret) != KEY_BYTES:
            raise MalformedError(f"a content key has {KEY_BYTES} bytes", code="content-key")
        self._secret = bytes(secret)

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """Return a new key."""
        return cls(random_bytes(KEY_BYTES))

    def __repr__(self) -> str:
        return "ContentKey(secret hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a content key is not pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentKey) and hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self.commitment())

    def secret(self) -> bytes:
        """Return the 32 secret bytes, for wrapping, sealing or a recovery kit."""
        return self._secret

    def commitment(self) -> Digest32:
        """Return the key's commitment, which stands in the manifest."""
        return digests.key_commitment(self._secret)

    def file_key(self, index: int) -> bytes:
        """Return the key of the manifest's file `index` (0 and up), 32 bytes."""
        info = digests.tag("file") + index.to_bytes(4, "big")
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._secret)

    def check(self, commitment: Digest32) -> None:
        """Raise unless this is the key of `commitment`; AES-GCM does not commit to its key, so ask before opening.

        Errors: VerificationError `key-commitment`.
        """
        found = self.commitment()
        if not hmac.compare_digest(found, commitment):
            raise VerificationError(
                "the content key is not the one that the manifest commits to",
                step="key-commitment",
                code="key-commitment",
                expected=digest_text(commitment),
                found=digest_text(found),
            )


@dataclass(frozen=True, slots=True)
class KeyPackage:
    """What a deposit and a release seal: the content key, and the opening of the registration's commitment."""

    key: ContentKey
    salt: bytes
    files_root: Digest32

    def __post_init__(self) -> None:
        """Errors: MalformedError `content-key` unless salt and files root have 32 bytes."""
        if len(self.salt) != 32 or len(self.files_root) != 32:
            raise MalformedError("a key package's salt and files root have 32 bytes", code="content-key")

    def to_bytes(self) -> bytes:
        """Return key (32) ‖ content salt (32) ‖ files root (32)."""
        return self.key.secret() + self.salt + self.files_root

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the package in `data`; errors: MalformedError `content-key` unless it has 96 bytes."""
        if len(data) != PACKAGE_BYTES:
            raise MalformedError(f"a key package has {PACKAGE_BYTES} bytes", code="content-key")
        return cls(ContentKey(data[:32]), data[32:64], Digest32(data[64:]))

    def commitment(self, registrant: Address) -> Digest32:
        """Return what the registration of these files by `registrant` commits to."""
        return digests.commitment(registrant, self.salt, self.files_root)

    def __repr__(self) -> str:
        return "KeyPackage(hidden)"


def wrapping_context(
    chain_id: int, registry: Address, design_id: DesignId, revision: int, key_commitment: Digest32
) -> bytes:
    """Return the associated data under which a vault wraps a key, so that a row moved elsewhere opens nothing."""
    return (
        digests.tag("vault")
        + chain_id.to_bytes(32, "big")
        + registry
        + design_id.to_bytes(32, "big")
        + revision.to_bytes(2, "big")
        + key_commitment
    )
