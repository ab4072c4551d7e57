"""A designer's recovery kit: everything that heals a lost gateway or vault, under a passphrase.

    {"version":1,"kdf":{"name":"scrypt","n":…,"r":8,"p":1,"salt":…},"cipher":{"name":"AES-256-GCM","nonce":…},
     "ciphertext":…}

The associated data is the canonical JSON of everything but the ciphertext, so that no parameter can be changed.

Source: RFC 7914, NIST SP 800-38D; docs/formats.md, recovery kit.
"""

import secrets
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from platemark.errors import Kind, MalformedError, RefusedError
from platemark.protocol import canonical
from platemark.protocol.byte_text import base64url, parse_base64url
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.content_key import PACKAGE_BYTES, KeyPackage
from platemark.protocol.manifest import MAX_BYTES as MAX_MANIFEST_BYTES
from platemark.protocol.manifest import Manifest
from platemark.protocol.typed_data import Domain, Registration
from platemark.protocol.units import Address, DesignId, address_text, parse_address

VERSION: Final = 1
MAX_BYTES: Final = 2 * MAX_MANIFEST_BYTES
USUAL_COST: Final = 17
LOWEST_COST: Final = 14
HIGHEST_COST: Final = 20
SHORTEST_PASSPHRASE: Final = 8

_BLOCK_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class RecoveryKit:
    """What the kit holds: one revision's key package, its manifest, and the registration under its contract."""

    chain_id: int
    registry: Address
    registration: Registration
    revision: int
    package: KeyPackage = field(repr=False)
    manifest: Manifest

    def design_id(self, domain: Domain) -> DesignId:
        """Return the design's id; `domain` is the DesignRegistry's."""
        return DesignId(int.from_bytes(self.registration.digest(domain), "big"))

    def to_json(self) -> dict[str, JsonValue]:
        """Return the kit as JSON, with the secrets in clear."""
        return {
            "version": VERSION,
            "chainId": self.chain_id,
            "registry": address_text(self.registry),
            "registration": self.registration.to_json(),
            "revision": self.revision,
            "package": base64url(self.package.to_bytes()),
            "manifest": self.manifest.to_json(),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the kit that `to_json` wrote; its key fits its manifest.

        Errors: MalformedError; VerificationError `key-commitment`.
        """
        names = {"version", "chainId", "registry", "registration", "revision", "package", "manifest"}
        found = object_of(value, fields=frozenset(names))
        integer_of(found["version"], low=VERSION, high=VERSION)
        package = parse_base64url(found["package"], max_bytes=PACKAGE_BYTES)
        kit = cls(
            chain_id=integer_of(found["chainId"], low=1),
            registry=parse_address(found["registry"]),
            registration=Registration.from_json(found["registration"]),
            revision=integer_of(found["revision"], low=1, high=65_535),
            package=KeyPackage.from_bytes(package),
            manifest=Manifest.from_json(found["manifest"]),
        )
        kit.package.key.check(kit.manifest.key_commitment)
        return kit


def seal_kit(
    kit: RecoveryKit,
    passphrase: str,
    *,
    cost: int = USUAL_COST,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """Return the kit's file, encrypted under a passphrase.

    Args:
        kit: What to keep.
        passphrase: At least eight characters.
        cost: Of scrypt, as a power of two (14 to 20); 17 takes 128 MiB and about half a second.
        random_bytes: Gives salt and nonce.

    Errors: RefusedError `passphrase-short`.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise RefusedError(
            f"a passphrase has at least {SHORTEST_PASSPHRASE} characters", kind=Kind.MALFORMED, code="passphrase-short"
        )
    integer_of(cost, low=LOWEST_COST, high=HIGHEST_COST)
    salt, nonce = random_bytes(32), random_bytes(12)
    header: dict[str, JsonValue] = {
        "version": VERSION,
        "kdf": {"name": "scrypt", "n": 1 << cost, "r": _BLOCK_SIZE, "p": 1, "salt": base64url(salt)},
        "cipher": {"name": "AES-256-GCM", "nonce": base64url(nonce)},
    }
    plaintext = canonical.encode(kit.to_json())
    ciphertext = AESGCM(_key(passphrase, salt, 1 << cost)).encrypt(nonce, plaintext, canonical.encode(header))
    return canonical.encode({**header, "ciphertext": base64url(ciphertext)})


def open_kit(data: bytes, passphrase: str) -> RecoveryKit:
    """Return the kit in a file of at most 2 MiB.

    Errors: MalformedError for another form or an unreasonable cost; RefusedError `passphrase-wrong`.
    """
    found = object_of(
        canonical.decode(data, max_bytes=MAX_BYTES), fields=frozenset({"version", "kdf", "cipher", "ciphertext"})
    )
    integer_of(found["version"], low=VERSION, high=VERSION)
    n, salt = _kdf(found["kdf"])
    nonce = _nonce(found["cipher"])
    ciphertext = parse_base64url(found["ciphertext"], max_bytes=MAX_BYTES)
    header: Mapping[str, JsonValue] = {name: found[name] for name in ("version", "kdf", "cipher")}
    try:
        plaintext = AESGCM(_key(passphrase, salt, n)).decrypt(nonce, ciphertext, canonical.encode(header))
    except InvalidTag:
        raise RefusedError(
            "the passphrase is wrong, or the kit was altered", kind=Kind.FORBIDDEN, code="passphrase-wrong"
        ) from None
    return RecoveryKit.from_json(canonical.decode(plaintext, max_bytes=MAX_BYTES))


def _kdf(value: JsonValue) -> tuple[int, bytes]:
    found = object_of(value, fields=frozenset({"name", "n", "r", "p", "salt"}))
    n = integer_of(found["n"], low=1 << LOWEST_COST, high=1 << HIGHEST_COST)
    if found["name"] != "scrypt" or n & (n - 1) or (found["r"], found["p"]) != (_BLOCK_SIZE, 1):
        raise MalformedError("the kit's passphrase is stretched in an unknown way", code="recovery-kit")
    return n, parse_base64url(found["salt"], max_bytes=32, exact_bytes=32)


def _nonce(value: JsonValue) -> bytes:
    found = object_of(value, fields=frozenset({"name", "nonce"}))
    if found["name"] != "AES-256-GCM":
        raise MalformedError("the kit is encrypted in an unknown way", code="recovery-kit")
    return parse_base64url(found["nonce"], max_bytes=12, exact_bytes=12)


def _key(passphrase: str, salt: bytes, n: int) -> bytes:
    """Return the key; one passphrase typed on two systems is one passphrase (NFC)."""
    secret = unicodedata.normalize("NFC", passphrase).encode()
    return Scrypt(salt=salt, length=32, n=n, r=_BLOCK_SIZE, p=1).derive(secret)
