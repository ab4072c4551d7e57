"""Gateways' signed statements: compact JWS, Ed25519, over canonical JSON.

The header is exactly `{"alg":"Ed25519","kid":…,"typ":…}` in canonical form, the payload an object in canonical
form, and the text has no second spelling, so that its SHA-256 names it. `alg` is RFC 9864's; `kid` is the key's
RFC 7638 thumbprint; `typ` tells kinds of statement apart and is never optional.
"""

import functools
from collections.abc import Mapping
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.byte_text import base64url, parse_base64url
from platemark.protocol.canonical import JsonValue
from platemark.protocol.digests import sha256

ALGORITHM: Final = "Ed25519"
MAX_JWS_BYTES: Final = 16_384

_HEADER_FIELDS: Final = frozenset({"alg", "kid", "typ"})


class Signer(Protocol):
    """Signs with an Ed25519 key that it need not show: a key in memory, in a vault, or in a module of hardware."""

    @property
    def key_id(self) -> str:
        """The key's RFC 7638 thumbprint."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of `message`, 64 bytes."""
        ...


class SigningKey:
    """An Ed25519 private key; its text never shows the secret."""

    __slots__ = ("_key", "_secret", "key_id", "public_bytes")

    def __init__(self, secret: bytes) -> None:
        """Errors: MalformedError `signing-key` unless `secret` is 32 bytes (RFC 8032's seed)."""
        if len(secret) != 32:
            raise MalformedError("an Ed25519 key has 32 secret bytes", code="signing-key")
        self._secret = bytes(secret)
        self._key = Ed25519PrivateKey.from_private_bytes(self._secret)
        self.public_bytes: bytes = self._key.public_key().public_bytes_raw()
        self.key_id: str = key_id(self.public_bytes)

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id}, secret hidden)"

    def secret(self) -> bytes:
        """Return the 32 secret bytes, for writing them encrypted."""
        return self._secret

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not pickled")

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of `message`, 64 bytes; deterministic."""
        return self._key.sign(message)


@functools.lru_cache(maxsize=1024)
def key_id(public: bytes) -> str:
    """Return the RFC 7638 thumbprint of an Ed25519 public key (32 bytes): 43 characters of base64url."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": base64url(public)}
    return base64url(sha256(canonical.encode(members)))


def verify_bytes(public: bytes, message: bytes, signature: bytes) -> None:
    """Pass when `signature` (64 bytes) is the key's over `message`.

    Errors: VerificationError `signature-invalid`; MalformedError `signing-key` for an impossible public key.
    """
    try:
        _public_key(public).verify(signature, message)
    except InvalidSignature as error:
        raise VerificationError(
            "the signature is not by this key",
            step="signature",
            code="signature-invalid",
            expected=f"a signature by {key_id(public)}",
            found="another",
        ) from error


def sign(key: Signer, typ: str, payload: Mapping[str, JsonValue]) -> str:
    """Return the compact JWS of `payload`: the same payload and key give the same text.

    Source: RFC 7515, section 7.1.
    """
    signed = f"{_header_part(key.key_id, typ)}.{base64url(canonical.encode(payload))}"
    return f"{signed}.{base64url(key.sign(signed.encode()))}"


def verify(text: str, typ: str, public: bytes) -> Mapping[str, JsonValue]:
    """Return the payload of a JWS that `public` (32 bytes) signed as a `typ`.

    Errors: MalformedError `jws` for any other form; VerificationError `signature-invalid` for another key,
        `jws-type` for another kind of statement.
    """
    payload = _payload(text, typ)
    expected = key_id(public)
    if (found := header_key_id(text)) != expected:
        raise VerificationError(
            "the statement names another key",
            step="signature",
            code="signature-invalid",
            expected=expected,
            found=found,
        )
    try:
        jws.deserialize_compact(text, OKPKey.import_key(_public_key(public)), algorithms=[ALGORITHM])
    except JoseError as error:
        raise VerificationError(
            "the signature is not by this key",
            step="signature",
            code="signature-invalid",
            expected=f"a signature by {expected}",
            found="another",
        ) from error
    return payload


def header_key_id(text: str) -> str:
    """Return which key a JWS claims to be signed by, unverified: for choosing among a gateway's keys.

    Errors: MalformedError `jws`.
    """
    return _header(text)["kid"]


@functools.lru_cache(maxsize=1024)
def _header_part(key_id: str, typ: str) -> str:
    return base64url(canonical.encode({"alg": ALGORITHM, "kid": key_id, "typ": typ}))


def _header(text: str) -> Mapping[str, str]:
    header_part, _, _ = _parts(text)
    header = _object(header_part)
    if header.keys() != _HEADER_FIELDS or header["alg"] != ALGORITHM:
        raise MalformedError("the header of a statement is alg Ed25519, kid and typ", code="jws")
    named = {name: value for name, value in header.items() if isinstance(value, str)}
    if len(named) != len(header):
        raise MalformedError("the header of a statement has texts only", code="jws")
    return named


def _payload(text: str, typ: str) -> Mapping[str, JsonValue]:
    found = _header(text)["typ"]
    if found != typ:
        raise VerificationError(
            "this is another kind of statement", step="signature", code="jws-type", expected=typ, found=found[:64]
        )
    _, payload_part, signature_part = _parts(text)
    try:
        parse_base64url(signature_part, max_bytes=64, exact_bytes=64)
    except MalformedError as error:
        raise MalformedError("an Ed25519 signature has 64 bytes", code="jws") from error
    return _object(payload_part)


def _parts(text: str) -> tuple[str, str, str]:
    if len(text) > MAX_JWS_BYTES:
        raise MalformedError(f"a statement has at most {MAX_JWS_BYTES} characters", code="jws")
    parts = text.split(".")
    if len(parts) != 3:
        raise MalformedError("a compact JWS has three parts", code="jws")
    return parts[0], parts[1], parts[2]


def _object(part: str) -> Mapping[str, JsonValue]:
    try:
        value = canonical.decode(parse_base64url(part, max_bytes=MAX_JWS_BYTES), max_bytes=MAX_JWS_BYTES)
    except MalformedError as error:
        raise MalformedError("a part of the statement is not canonical JSON in base64url", code="jws") from error
    if not isinstance(value, Mapping):
        raise MalformedError("a part of the statement is no object", code="jws")
    return value


def _public_key(public: bytes) -> Ed25519PublicKey:
    if len(public) != 32:
        raise MalformedError("an Ed25519 public key has 32 bytes", code="signing-key")
    return Ed25519PublicKey.from_public_bytes(public)
