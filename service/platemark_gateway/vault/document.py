"""The vault's file: its form, the key that a passphrase gives, and what lies encrypted under it.

    vault.json   {"version": 1, "scrypt": {"n", "r", "p", "salt"}, "keys": {name: nonce ‖ ciphertext ‖ tag}}

Each key is encrypted with AES-256-GCM under scrypt(passphrase), with its name as associated data, so that
entries cannot be exchanged. The file has mode 0600, its folder 0700; it is replaced as a whole. Nothing here imports
what serves: a passphrase can be stretched while that is imported.

Source: RFC 7914 (scrypt), docs/formats.md, section 2.
"""

import base64
import binascii
import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from platemark.errors import LocalError
from platemark.protocol.digests import tag
from platemark_gateway.errors import VaultError

FILE_NAME: Final = "vault.json"
KEY_NAMES: Final = ("account", "release", "log", "deposit", "wrapping")
SCRYPT_N: Final = 1 << 17

_NAME: Final = re.compile(r"(release|log|deposit|sender)(?:\.([2-9]|[1-9][0-9]{1,2}))?")
_MAX_SCRYPT_N: Final = 1 << 20
NONCE_BYTES: Final = 12
_LARGEST_FILE: Final = 256 * 1024

_ahead: dict[tuple[str, bytes, int, int, int], Future[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Document:
    """The vault's file, its form checked; nothing in it is open yet."""

    raw: Mapping[str, Any]
    n: int
    r: int
    p: int
    salt: bytes
    entries: Mapping[str, bytes]

    def decrypt(self, key: bytes) -> dict[str, bytes]:
        """Return the secrets by name; errors: VaultError `vault-passphrase`."""
        found = {}
        for name, entry in self.entries.items():
            try:
                found[name] = AESGCM(key).decrypt(entry[:NONCE_BYTES], entry[NONCE_BYTES:], _context(name))
            except (InvalidTag, ValueError):
                raise VaultError("the vault does not open with this passphrase", code="vault-passphrase") from None
        return found

    def with_entry(self, name: str, entry: bytes) -> bytes:
        """Return the file's bytes with one more key."""
        keys = {**self.raw["keys"], name: _text(entry)}
        return json.dumps({**self.raw, "keys": keys}, indent=1).encode()


def read(folder: Path) -> Document:
    """Return the file's document; errors: LocalError `vault-missing`, `vault-permissions`; VaultError."""
    path = folder / FILE_NAME
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise LocalError("there is no vault in this folder", code="vault-missing") from error
    except OSError as error:
        raise LocalError("the vault cannot be read", code="vault-permissions") from error
    if mode & 0o077:
        raise LocalError(
            "others may read the vault's file", code="vault-permissions", hint="give it mode 0600: chmod 600"
        )
    return _parse(data)


def _parse(data: bytes) -> Document:
    try:
        if len(data) > _LARGEST_FILE:
            raise damaged()
        document: Any = json.loads(data)
        names = set(document["keys"])
        if document["version"] != 1 or not set(KEY_NAMES) <= names:
            raise damaged()
        if not all(_NAME.fullmatch(name) for name in names - set(KEY_NAMES)):
            raise damaged()
        scrypt = document["scrypt"]
        n, r, p = int(scrypt["n"]), int(scrypt["r"]), int(scrypt["p"])
        if not 2 <= n <= _MAX_SCRYPT_N or n & (n - 1) or not 1 <= r <= 16 or not 1 <= p <= 4:
            raise damaged()
        salt = base64.b64decode(scrypt["salt"], validate=True)
        entries = {name: base64.b64decode(entry, validate=True) for name, entry in document["keys"].items()}
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise damaged() from error
    return Document(document, n, r, p, salt, entries)


def damaged() -> VaultError:
    """Return the error of a file that holds no vault of ours."""
    return VaultError("the vault's file is damaged", code="vault-damaged", hint="restore it from its backup")


def stretched(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    """Return the key that a passphrase gives, 32 bytes; where `stretch_ahead` has begun, it is waited for."""
    begun = _ahead.pop((passphrase, salt, n, r, p), None)
    return _stretched(passphrase, salt, n, r, p) if begun is None else begun.result()


def stretch_ahead(folder: Path, passphrase: str) -> None:
    """Begin to stretch a passphrase in a thread, if there is a vault to read; who opens it says what is wrong."""
    try:
        document = read(folder)
    except (LocalError, VaultError):
        return
    asked = (passphrase, document.salt, document.n, document.r, document.p)
    executor = ThreadPoolExecutor(1)
    _ahead[asked] = executor.submit(_stretched, *asked)
    executor.shutdown(wait=False)


def _stretched(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase.encode())


def encrypted(key: bytes, name: str, secret: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return a key's entry: nonce (12) ‖ ciphertext ‖ tag (16), bound to its name."""
    return encrypt(AESGCM(key), secret, _context(name), random_bytes)


def encrypt(cipher: AESGCM, plaintext: bytes, context: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return nonce (12) ‖ ciphertext ‖ tag (16)."""
    nonce = random_bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plaintext, context)


def _context(name: str) -> bytes:
    return tag("vault-key") + name.encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the vault's folder while the block lasts, so that two who add keys do it one after the other."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def new(salt: bytes, n: int, entries: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a new vault's file."""
    keys = {name: _text(entry) for name, entry in entries.items()}
    scrypt = {"n": n, "r": 8, "p": 1, "salt": _text(salt)}
    return json.dumps({"version": 1, "scrypt": scrypt, "keys": keys}, indent=1).encode()


def write(folder: Path, data: bytes, *, replace: bool = False) -> None:
    """Write the file so that it is there whole, or not at all; over another one only where that is meant."""
    temporary = folder / f".{FILE_NAME}.{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(folder / FILE_NAME)
            else:
                os.link(temporary, folder / FILE_NAME)
        finally:
            temporary.unlink(missing_ok=True)
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError as error:
        raise LocalError("there is a vault already; it is never overwritten", code="vault-exists") from error
    except OSError as error:
        raise LocalError("the vault cannot be written", code="vault-unwritable") from error
