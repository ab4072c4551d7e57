"""Ethereum accounts and agents: secp256k1 keys, signatures over 32-byte digests, addresses.

Signatures are 65 bytes, r ‖ s ‖ v with v 27 or 28 and s in the lower half of the order; on chain a voucher
travels in the 64 bytes of EIP-2098.
"""

from typing import Final

from coincurve import PrivateKey, PublicKey

from platemark.errors import MalformedError
from platemark.protocol.units import Address, Digest32, keccak256

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF_ORDER: Final = _ORDER // 2


class AccountKey:
    """A secp256k1 private key; its text never shows the secret."""

    __slots__ = ("_key", "address")

    def __init__(self, secret: bytes) -> None:
        """Errors: MalformedError `account-key` unless `secret` is 32 bytes within the curve's order."""
        if len(secret) != 32 or not 0 < int.from_bytes(secret, "big") < _ORDER:
            raise MalformedError("an account's key is 32 bytes within the curve's order", code="account-key")
        self._key = PrivateKey(secret)
        self.address: Address = _address(self._key.public_key)

    def __repr__(self) -> str:
        return f"AccountKey(0x{self.address.hex()}, secret hidden)"

    def secret(self) -> bytes:
        """Return the 32 secret bytes, for writing them encrypted or signing transactions."""
        return self._key.secret

    def sign(self, digest: Digest32) -> bytes:
        """Return the signature of a digest, 65 bytes; deterministic (RFC 6979)."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([27 + signature[64]])


def recover(digest: Digest32, signature: bytes) -> Address:
    """Return the address whose key signed `digest`.

    Errors: MalformedError `signature-invalid` for a wrong length, a malleable or an impossible signature.
    """
    check_signature(signature)
    try:
        public = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception and ValueError
        raise MalformedError("the signature fits no key", code="signature-invalid") from error
    return _address(public)


def check_signature(signature: bytes) -> None:
    """Raise unless `signature` has the one form we accept: 65 bytes, r and s in range, s low, v 27 or 28.

    Errors: MalformedError `signature-invalid`.
    """
    if len(signature) != 65 or signature[64] not in {27, 28}:
        raise MalformedError("a signature has 65 bytes and ends in 27 or 28", code="signature-invalid")
    if not 0 < int.from_bytes(signature[:32], "big") < _ORDER:
        raise MalformedError("the signature's r is not within the curve's order", code="signature-invalid")
    if not 0 < int.from_bytes(signature[32:64], "big") <= _HALF_ORDER:
        raise MalformedError("the signature's s is not in the lower half", code="signature-invalid")


def to_compact(signature: bytes) -> tuple[bytes, bytes]:
    """Return a 65-byte signature as EIP-2098's two words (r, yParityAndS), 32 bytes each."""
    parity = signature[64] - 27
    vs = bytearray(signature[32:64])
    vs[0] |= parity << 7
    return signature[:32], bytes(vs)


def _address(public: PublicKey) -> Address:
    return Address(keccak256(public.format(compressed=False)[1:])[12:])
