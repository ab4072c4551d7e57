"""Account keys on disk: one encrypted file per key, in the Web3 Secret Storage format, version 3.

Any Ethereum wallet reads these files. The passphrase is stretched by scrypt with 2^17 rounds (128 MiB); files of
others are read up to 2^20. The format is written here rather than with eth-keyfile because that takes a second to
import; a test opens the files of each with the other.

Source: Web3 Secret Storage Definition, version 3; RFC 7914 (scrypt).
"""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from platemark.errors import LocalError, MalformedError, UsageError
from platemark.protocol import canonical
from platemark.protocol.accounts import AccountKey
from platemark.protocol.canonical import JsonValue
from platemark.protocol.units import Address, address_text, keccak256
from platemark.sdk.files import disk_errors, make_folder, read_limited, write_whole

_ROUNDS: Final = 1 << 17
_MOST_ROUNDS: Final = 1 << 20
_MOST_PBKDF2_ROUNDS: Final = 10_000_000
_MAX_FILE_BYTES: Final = 64 << 10
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HEX: Final = re.compile(r"(0x)?([0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key in the store: its name, its address, its file."""

    name: str
    address: Address
    path: Path


class KeyStore:
    """The folder of encrypted keys; nothing is unlocked before it is asked for."""

    def __init__(self, folder: Path, *, rounds: int = _ROUNDS) -> None:
        self.folder = folder
        self._rounds = rounds

    def create(
        self,
        name: str,
        passphrase: str,
        *,
        secret: bytes | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> AccountKey:
        """Write a new key, or the given secret, under `name`, and return it unlocked.

        Errors: UsageError `key-name` for a bad or taken name, `passphrase-empty`; LocalError when the disk fails.
        """
        path = self._path(name)
        if path.exists():
            raise UsageError(f"there is a key {name!r} already", code="key-name", hint="choose another name")
        key = AccountKey(secret if secret is not None else new_secret(randomness))
        make_folder(self.folder)
        write_whole(path, encrypt(key, passphrase, rounds=self._rounds, randomness=randomness), replace=False)
        return key

    def entries(self) -> list[KeyEntry]:
        """Return the keys in the store by name; a file that is no key is left out."""
        if not self.folder.is_dir():
            return []
        found = []
        with disk_errors(self.folder):
            paths = sorted(self.folder.glob("*.json"))
        for path in paths:
            if not _NAME.fullmatch(path.stem):
                continue
            try:
                found.append(KeyEntry(path.stem, address_of(read_limited(path, max_bytes=_MAX_FILE_BYTES)), path))
            except (MalformedError, LocalError):
                continue
        return found

    def entry(self, name: str | None) -> KeyEntry:
        """Return the key called `name`; without a name the only one there is, or the one called "main".

        Errors: UsageError `key-unknown` with what to do.
        """
        entries = self.entries()
        if name is not None:
            for entry in entries:
                if name in {entry.name, address_text(entry.address)}:
                    return entry
            known = ", ".join(entry.name for entry in entries) or "none"
            raise UsageError(f"there is no key {name!r}", code="key-unknown", hint=f"keys here: {known}")
        if len(entries) == 1:
            return entries[0]
        for entry in entries:
            if entry.name == "main":
                return entry
        if not entries:
            raise UsageError("there is no key yet", code="key-unknown", hint="make one: platemark keys new")
        raise UsageError(
            "there are several keys", code="key-unknown", hint=f"choose: --key {' | '.join(e.name for e in entries)}"
        )

    def unlock(self, name: str | None, passphrase: str) -> AccountKey:
        """Return a key, decrypted; errors as `entry` and `decrypt`."""
        entry = self.entry(name)
        return decrypt(read_limited(entry.path, max_bytes=_MAX_FILE_BYTES), passphrase)

    def exported(self, name: str | None) -> bytes:
        """Return a key's encrypted file as it is."""
        return read_limited(self.entry(name).path, max_bytes=_MAX_FILE_BYTES)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name[:80]!r} is no name for a key",
                code="key-name",
                hint="lowercase letters, digits, dots and dashes, at most 64",
            )
        return self.folder / f"{name}.json"


def new_secret(randomness: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """Return 32 random bytes that are a key of the curve."""
    while True:
        secret = randomness(32)
        try:
            AccountKey(secret)
        except MalformedError:  # one in 2^128
            continue
        return secret


def encrypt(
    key: AccountKey,
    passphrase: str,
    *,
    rounds: int = _ROUNDS,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """Return a key as a version 3 file.

    Errors: UsageError `passphrase-empty`.
    """
    return canonical.encode(
        {
            "address": key.address.hex(),
            "crypto": encrypt_secret(key.secret(), passphrase, rounds=rounds, randomness=randomness),
            "id": str(uuid.UUID(bytes=randomness(16), version=4)),
            "version": 3,
        }
    )


def encrypt_secret(
    secret: bytes,
    passphrase: str,
    *,
    rounds: int = _ROUNDS,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> Mapping[str, JsonValue]:
    """Return 32 secret bytes as the `crypto` member of a version 3 file; errors: UsageError `passphrase-empty`."""
    if not passphrase:
        raise UsageError("the passphrase is empty", code="passphrase-empty")
    salt, iv = randomness(32), randomness(16)
    derived = _scrypt(passphrase, salt, rounds, 8, 1, 32)
    ciphertext = _aes_ctr(derived[:16], iv, secret)
    return {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": iv.hex()},
        "ciphertext": ciphertext.hex(),
        "kdf": "scrypt",
        "kdfparams": {"dklen": 32, "n": rounds, "p": 1, "r": 8, "salt": salt.hex()},
        "mac": keccak256(derived[16:32] + ciphertext).hex(),
    }


def decrypt(data: bytes, passphrase: str) -> AccountKey:
    """Return the key of a version 3 file.

    Errors: MalformedError `keystore` for a file that is none, or asks for too much work; LocalError
        `passphrase-wrong`.
    """
    key = AccountKey(decrypt_secret(_document(data).get("crypto"), passphrase))
    if key.address != address_of(data):
        raise MalformedError("the key file names another address than its key's", code="keystore")
    return key


def decrypt_secret(crypto: JsonValue, passphrase: str) -> bytes:
    """Return the 32 secret bytes in the `crypto` member of a version 3 file; errors as `decrypt`."""
    found = _object(crypto)
    if found.get("cipher") != "aes-128-ctr":
        raise MalformedError("the key file's cipher is not aes-128-ctr", code="keystore")
    ciphertext = _bytes(found.get("ciphertext"), 32)
    derived = _derived(found, passphrase)
    mac = keccak256(derived[16:32] + ciphertext)
    if not hmac.compare_digest(mac, _bytes(found.get("mac"), 32)):
        raise LocalError("the passphrase is wrong", code="passphrase-wrong", hint="is PLATEMARK_PASSPHRASE right?")
    return _aes_ctr(derived[:16], _bytes(_object(found.get("cipherparams")).get("iv"), 16), ciphertext)


def address_of(data: bytes) -> Address:
    """Return the address that a version 3 file states; MalformedError `keystore` when it states none."""
    return Address(_bytes(_document(data).get("address"), 20))


def _derived(crypto: Mapping[str, JsonValue], passphrase: str) -> bytes:
    parameters = _object(crypto.get("kdfparams"))
    length = _integer(parameters, "dklen", 32, 64)
    salt = _bytes(parameters.get("salt"), None)
    match crypto.get("kdf"):
        case "scrypt":
            rounds = _integer(parameters, "n", 2, _MOST_ROUNDS)
            if rounds & (rounds - 1):
                raise MalformedError("the key file's scrypt rounds are no power of two", code="keystore")
            return _scrypt(
                passphrase, salt, rounds, _integer(parameters, "r", 1, 16), _integer(parameters, "p", 1, 8), length
            )
        case "pbkdf2":
            if parameters.get("prf") != "hmac-sha256":
                raise MalformedError("the key file's prf is not hmac-sha256", code="keystore")
            rounds = _integer(parameters, "c", 1, _MOST_PBKDF2_ROUNDS)
            return hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, rounds, length)
        case _:
            raise MalformedError("the key file's kdf is neither scrypt nor pbkdf2", code="keystore")


def _scrypt(passphrase: str, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    memory = 128 * r * (n + p + 2) + (1 << 20)
    try:
        return hashlib.scrypt(passphrase.encode(), salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)
    except ValueError as error:  # RFC 7914 wants n below 2^(16 r)
        raise MalformedError("the key file's scrypt parameters are impossible", code="keystore") from error


def _aes_ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    worker = Cipher(AES(key), CTR(iv)).encryptor()
    return worker.update(data) + worker.finalize()


def _document(data: bytes) -> Mapping[str, JsonValue]:
    document = _object(canonical.parse(data, max_bytes=_MAX_FILE_BYTES))
    if document.get("version") != 3:
        raise MalformedError("this is no version 3 key file", code="keystore")
    lowered = {key.lower(): value for key, value in document.items()}
    return lowered if "crypto" in lowered else document


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, Mapping):
        raise MalformedError("this is no key file", code="keystore")
    return value


def _bytes(value: JsonValue, length: int | None) -> bytes:
    if not isinstance(value, str) or len(value) > 256 or not _HEX.fullmatch(value):
        raise MalformedError("the key file has a field that is not hexadecimal", code="keystore")
    found = bytes.fromhex(value.removeprefix("0x"))
    if length is not None and len(found) != length:
        raise MalformedError(f"the key file has a field of {len(found)} bytes instead of {length}", code="keystore")
    return found


def _integer(parameters: Mapping[str, JsonValue], name: str, low: int, high: int) -> int:
    value = parameters.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise MalformedError(f"the key file's {name} is not from {low} to {high:,}", code="keystore")
    return value
