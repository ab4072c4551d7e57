"""Sealing to a recipient: HPKE base mode, ML-KEM-768 + X25519, HKDF-SHA256, AES-256-GCM.

    public key   ML-KEM-768 encapsulation key (1,184) ‖ X25519 public key (32)
    seed         32 bytes; SHAKE256(seed, 96) = ML-KEM seed (64) ‖ X25519 private key (32), as X-Wing does
    sealed       u8 version 1 ‖ encapsulated key (1,120) ‖ ciphertext ‖ tag (16)

Each purpose has its own `info`, so that what was sealed for one opens for no other.

Evolution: the key encapsulation comes from the hybrid drafts, so sealed bytes begin with a version.
Source: RFC 9180, draft-ietf-hpke-pq, draft-connolly-cfrg-xwing-kem; docs/formats.md, sealing.
"""

import functools
import hashlib
import secrets
from collections.abc import Callable
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import digests
from platemark.protocol.units import Address, DesignId, Digest32, TokenId

VERSION: Final = 1
PUBLIC_BYTES: Final = 1216
SEED_BYTES: Final = 32

_MLKEM_PUBLIC_BYTES: Final = 1184
_ENCAPSULATED_BYTES: Final = 1120
OVERHEAD_BYTES: Final = 1 + _ENCAPSULATED_BYTES + 16
"""How much longer sealed bytes are than what they hold."""


class RecipientKey:
    """A private key to which others seal; its text never shows the secret."""

    __slots__ = ("_private", "_seed", "public_bytes")

    def __init__(self, seed: bytes) -> None:
        """Errors: MalformedError `recipient-key` unless `seed` is 32 bytes."""
        if len(seed) != SEED_BYTES:
            raise MalformedError(f"a recipient's seed has {SEED_BYTES} bytes", code="recipient-key")
        expanded = hashlib.shake_256(seed).digest(96)
        lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        curve = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._seed = bytes(seed)
        self._private = MLKEM768X25519PrivateKey(lattice, curve)
        self.public_bytes: bytes = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """Return a new key."""
        return cls(random_bytes(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """Return the key of a seed of 32 bytes; errors as the constructor."""
        return cls(seed)

    @classmethod
    def derive(cls, agent_seed: bytes, chain_id: int, ledger: Address, salt: bytes) -> Self:
        """Return an agent's key for the print token whose permission has `salt` (32 bytes).

        `HKDF-SHA256(agent's seed, no salt, tag "recipient-key" ‖ chain id (32) ‖ ledger (20) ‖ salt (32))`.

        Errors: MalformedError `recipient-key` for a seed or a salt that is not 32 bytes.
        """
        if len(agent_seed) != SEED_BYTES or len(salt) != 32:
            raise MalformedError("an agent's seed and a permission's salt have 32 bytes", code="recipient-key")
        info = digests.tag("recipient-key") + chain_id.to_bytes(32, "big") + ledger + salt
        return cls(HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=info).derive(agent_seed))

    def __repr__(self) -> str:
        return f"RecipientKey(0x{self.digest.hex()}, secret hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a recipient key is not pickled")

    @property
    def digest(self) -> Digest32:
        """The recipient digest of the public key."""
        return digests.recipient_digest(self.public_bytes)

    def seed(self) -> bytes:
        """Return the 32 secret bytes, for a vault or a spool that encrypts them."""
        return self._seed

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """Return what was sealed to this key for the purpose `info`.

        Errors: MalformedError `sealed-key` for another version or a length that cannot be;
            VerificationError `sealed-key` when it was altered, or sealed to another key or for another purpose.
        """
        if len(sealed) < OVERHEAD_BYTES or sealed[0] != VERSION:
            raise MalformedError("these are no sealed bytes of version 1", code="sealed-key")
        try:
            return _suite().decrypt(sealed[1:], self._private, info)
        except InvalidTag:
            raise VerificationError(
                "the sealed bytes do not open",
                step="sealed-key",
                code="sealed-key",
                expected=f"something sealed to 0x{self.digest.hex()} for this purpose",
                found="a tag that does not fit",
            ) from None


def seal(public_bytes: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Return `plaintext` sealed to a public key (1,216 bytes) for the purpose `info`.

    Errors: MalformedError `recipient-key` for a public key that is none.
    """
    public = _public_key(public_bytes)
    try:
        return bytes([VERSION]) + _suite().encrypt(plaintext, public, info)
    except ValueError as error:  # an X25519 point of small order
        raise MalformedError("the recipient's public key is weak", code="recipient-key") from error


def check_public(public_bytes: bytes) -> None:
    """Raise unless `public_bytes` is a public key to which one can seal; errors as `seal`."""
    seal(public_bytes, b"", b"")


def deposit_info(
    chain_id: int,
    registry: Address,
    design_id: DesignId,
    revision: int,
    key_commitment: Digest32,
    gateway: Address,
) -> bytes:
    """Return the purpose of a deposit: this revision's key, for this gateway."""
    return (
        digests.tag("deposit")
        + chain_id.to_bytes(32, "big")
        + registry
        + design_id.to_bytes(32, "big")
        + revision.to_bytes(2, "big")
        + key_commitment
        + gateway
    )


def token_info(token_id: TokenId, recipient_digest: Digest32) -> bytes:
    """Return the purpose of a sealed print token."""
    return digests.tag("token") + token_id.to_bytes(32, "big") + recipient_digest


def release_info(release_jws: str) -> bytes:
    """Return the purpose of a sealed key package: the release (compact JWS) that it came with."""
    return digests.tag("release") + digests.sha256(release_jws.encode())


def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@functools.lru_cache(maxsize=1024)
def _public_key(public_bytes: bytes) -> MLKEM768X25519PublicKey:
    if len(public_bytes) != PUBLIC_BYTES:
        raise MalformedError(f"a recipient's public key has {PUBLIC_BYTES} bytes", code="recipient-key")
    try:
        lattice = MLKEM768PublicKey.from_public_bytes(public_bytes[:_MLKEM_PUBLIC_BYTES])
    except ValueError as error:
        raise MalformedError("the recipient's public key is none", code="recipient-key") from error
    return MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(public_bytes[_MLKEM_PUBLIC_BYTES:]))
