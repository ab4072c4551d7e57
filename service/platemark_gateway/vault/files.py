"""A vault in a file: the gateway's keys, encrypted under a passphrase.

The first key of a kind has the kind's name, later ones `<kind>.2`, `<kind>.3` …; none is
ever removed, because what older ones signed and opened is asked for again. Which of them is in force, the gateway's
declared profile says. `sender`, `sender.2` … are accounts that send its transactions in place of its own; which of them
does, the database says. `document` is about the file.
"""

import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platemark.errors import LocalError, MalformedError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.digests import tag
from platemark.protocol.jws import Signer, SigningKey
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.units import Address, Digest32
from platemark_gateway.errors import VaultError
from platemark_gateway.ports import KeyKind
from platemark_gateway.vault import document

_K = TypeVar("_K")

_SENDER: Final = "sender"
_WRAP_VERSION: Final = b"\x01"
_SHORTEST_PASSPHRASE: Final = 12
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class _KeptSigner:
    """Implements `jws.Signer` with a key that stays inside."""

    __slots__ = ("_key",)

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"signer {self._key.key_id}"

    def __reduce__(self) -> str:
        raise TypeError("a vault's key is not pickled")

    @property
    def key_id(self) -> str:
        """The key's RFC 7638 thumbprint."""
        return self._key.key_id

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of `message`, 64 bytes."""
        return self._key.sign(message)


class FileVault:
    """Implements `ports.KeyVault`; open it with `create` or `open`. Its text never shows a secret."""

    __slots__ = (
        "_account",
        "_deposit",
        "_folder",
        "_key",
        "_log",
        "_macs",
        "_release",
        "_senders",
        "_wrapping",
        "_wrapping_secret",
    )

    def __init__(self, folder: Path, key: bytes, secrets_by_name: Mapping[str, bytes]) -> None:
        """`key` is what the passphrase gave; with it keys that another process adds are read, and new ones written."""
        self._folder = folder
        self._key = key
        self._account = AccountKey(secrets_by_name["account"])
        self._wrapping_secret = secrets_by_name["wrapping"]
        self._wrapping = AESGCM(self._wrapping_secret)
        self._macs: dict[str, bytes] = {}
        self._take(secrets_by_name)

    def _take(self, secrets_by_name: Mapping[str, bytes]) -> None:
        self._release = [SigningKey(secret) for secret in _of_kind(secrets_by_name, KeyKind.RELEASE)]
        self._log = [SigningKey(secret) for secret in _of_kind(secrets_by_name, KeyKind.LOG)]
        self._deposit = [RecipientKey(secret) for secret in _of_kind(secrets_by_name, KeyKind.DEPOSIT)]
        self._senders = [self._account, *map(AccountKey, _of_kind(secrets_by_name, _SENDER))]

    def __repr__(self) -> str:
        return f"FileVault(account 0x{self._account.address.hex()}, secrets hidden)"

    def __reduce__(self) -> str:
        raise TypeError("a vault is not pickled")

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Return whether a vault lies in `folder`."""
        return (folder / document.FILE_NAME).exists()

    @classmethod
    def create(
        cls,
        folder: Path,
        passphrase: str,
        *,
        account: bytes | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        scrypt_n: int = document.SCRYPT_N,
    ) -> Self:
        """Make new keys, around an `account` that was kept (32 bytes) or a new one, write them and open the vault.

        Errors: LocalError `vault-exists` rather than overwrite one; `vault-passphrase` for a short passphrase;
            `vault-unwritable`; MalformedError `account-key`.
        """
        if len(passphrase) < _SHORTEST_PASSPHRASE:
            raise LocalError(
                f"the vault's passphrase has fewer than {_SHORTEST_PASSPHRASE} characters", code="vault-passphrase"
            )
        if cls.exists(folder):
            raise LocalError("there is a vault already; it is never overwritten", code="vault-exists")
        made = {name: random_bytes(32) for name in document.KEY_NAMES}
        if account is not None:
            made["account"] = AccountKey(account).secret()
        else:
            made["account"] = _account_secret(made["account"], random_bytes)
        salt = random_bytes(32)
        key = document.stretched(passphrase, salt, scrypt_n, 8, 1)
        entries = {name: document.encrypted(key, name, secret, random_bytes) for name, secret in made.items()}
        document.write(folder, document.new(salt, scrypt_n, entries))
        return cls(folder, key, made)

    @classmethod
    def open(cls, folder: Path, passphrase: str) -> Self:
        """Return the vault in `folder`.

        Errors: LocalError `vault-missing`, `vault-permissions` (others may read it); VaultError `vault-damaged`,
            `vault-passphrase` when the passphrase is another one or an entry was altered.
        """
        found = document.read(folder)
        key = document.stretched(passphrase, found.salt, found.n, found.r, found.p)
        return cls(folder, key, found.decrypt(key))

    def add_key(self, kind: KeyKind, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
        """Make another key of a kind, write it durably and return its public half.

        Errors: VaultError `vault-damaged`, `vault-passphrase` when the file was replaced meanwhile; LocalError
            `vault-unwritable`.
        """
        self._add(kind, random_bytes(32), random_bytes)
        return self.public_keys(kind)[-1]

    def add_sender(self, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Address:
        """Make another account to send transactions, write it durably and return its address; errors as `add_key`."""
        self._add(_SENDER, _account_secret(random_bytes(32), random_bytes), random_bytes)
        return self.senders[-1]

    def _add(self, kind: str, secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
        with document.alone(self._folder):
            written = document.read(self._folder)
            found = written.decrypt(self._key)
            before = len(_of_kind(found, kind))
            name = f"{kind}.{before + 1}" if before else kind
            found[name] = secret
            entry = document.encrypted(self._key, name, secret, random_bytes)
            document.write(self._folder, written.with_entry(name, entry), replace=True)
        self._take(found)

    @property
    def account(self) -> Address:
        """The gateway's account."""
        return self._account.address

    @property
    def senders(self) -> tuple[Address, ...]:
        """The accounts that may send transactions: the gateway's own, then those made for it, oldest first."""
        return tuple(key.address for key in self._senders)

    def holds_sender(self, sender: Address) -> bool:
        """Return whether the key of an account is in the vault; another process may have added it."""
        if sender not in self.senders:
            self._reload()
        return sender in self.senders

    def sign_as(self, sender: Address, digest: Digest32) -> bytes:
        """Return the signature of a digest by an account that sends transactions, 65 bytes.

        Errors: VaultError `vault-key-missing`.
        """
        return self._found(lambda: self._senders, lambda key: key.address == sender).sign(digest)

    def public_keys(self, kind: KeyKind) -> tuple[bytes, ...]:
        """Return the public keys of a kind, oldest first: Ed25519, 32 bytes; HPKE for deposits, 1,216 bytes."""
        match kind:
            case KeyKind.RELEASE:
                return tuple(key.public_bytes for key in self._release)
            case KeyKind.LOG:
                return tuple(key.public_bytes for key in self._log)
            case KeyKind.DEPOSIT:
                return tuple(key.public_bytes for key in self._deposit)

    def holds(self, kind: KeyKind, public_key: bytes) -> bool:
        """Return whether a key of that kind is in the vault; another process may have added it."""
        if public_key not in self.public_keys(kind):
            self._reload()
        return public_key in self.public_keys(kind)

    def _reload(self) -> None:
        self._take(document.read(self._folder).decrypt(self._key))

    def release_signer(self, key_id: str) -> Signer:
        """Return what signs with the release key of that id; errors: VaultError `vault-key-missing`."""
        return _KeptSigner(self._found(lambda: self._release, lambda key: key.key_id == key_id))

    def sign_log(self, public_key: bytes, message: bytes) -> bytes:
        """Return the signature of a message by the log key with that public half.

        Errors: VaultError `vault-key-missing`.
        """
        return self._found(lambda: self._log, lambda key: key.public_bytes == public_key).sign(message)

    def _found(self, keys: Callable[[], list[_K]], is_wanted: Callable[[_K], bool]) -> _K:
        """Return a key; another process may have added it since the file was read."""
        for again in (False, True):
            if again:
                self._reload()
            for key in keys():
                if is_wanted(key):
                    return key
        raise VaultError(
            "the vault does not hold a key that is asked for",
            code="vault-key-missing",
            hint="restore the vault's newest backup",
        )

    def export_account(self) -> bytes:
        """Return the account's 32 secret bytes, for a copy that outlives this vault (`keys export-account`)."""
        return self._account.secret()

    def export_log_key(self, public_key: bytes) -> bytes:
        """Return a log key's 32 secret bytes, for `keys export-log-key` (a log moves to another signer).

        Errors: VaultError `vault-key-missing`.
        """
        return self._found(lambda: self._log, lambda key: key.public_bytes == public_key).secret()

    def sign_digest(self, digest: Digest32) -> bytes:
        """Return the account's signature of a digest, 65 bytes."""
        return self._account.sign(digest)

    def open_deposit(self, info: bytes, sealed: bytes) -> bytes:
        """Return what was sealed to any of the deposit keys under `info`; errors as `RecipientKey.open`."""
        known = len(self._deposit)
        opened = _opened(self._deposit, info, sealed)
        if opened is None:
            self._reload()
            opened = _opened(self._deposit[known:], info, sealed)
        return self._deposit[-1].open(info, sealed) if opened is None else opened

    def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        """Return version (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16), bound to `aad`."""
        return _WRAP_VERSION + document.encrypt(self._wrapping, plaintext, aad, secrets.token_bytes)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return what `wrap` was given; errors: VaultError `vault-unwrap`."""
        if wrapped[:1] != _WRAP_VERSION or len(wrapped) < 1 + document.NONCE_BYTES + 16:
            raise VaultError("a wrapped row is not one of this vault's", code="vault-unwrap")
        try:
            return self._wrapping.decrypt(
                wrapped[1 : 1 + document.NONCE_BYTES], wrapped[1 + document.NONCE_BYTES :], aad
            )
        except InvalidTag:
            raise VaultError("a wrapped row does not open where it stands", code="vault-unwrap") from None

    def mac(self, purpose: str, data: bytes) -> bytes:
        """Return HMAC-SHA256 of `data` under a key of that purpose, 32 bytes."""
        key = self._macs.get(purpose)
        if key is None:
            info = tag("vault-mac") + purpose.encode()
            key = self._macs[purpose] = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(
                self._wrapping_secret
            )
        return hmac.digest(key, data, "sha256")


def _opened(keys: Sequence[RecipientKey], info: bytes, sealed: bytes) -> bytes | None:
    """Return what was sealed to one of the keys, or None; the newest is tried first."""
    for key in reversed(keys):
        with suppress(VerificationError, MalformedError):
            return key.open(info, sealed)
    return None


def _of_kind(secrets_by_name: Mapping[str, bytes], kind: str) -> list[bytes]:
    """Return the secrets of a kind, oldest first; errors: VaultError `vault-damaged` when one between is missing."""
    count = sum(name == kind or name.startswith(f"{kind}.") for name in secrets_by_name)
    names = [kind, *(f"{kind}.{number}" for number in range(2, count + 1))][:count]
    if not all(name in secrets_by_name for name in names):
        raise document.damaged()
    return [secrets_by_name[name] for name in names]


def _account_secret(secret: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return a secret that is an account's key, the given one but for one in 2^128."""
    while not 0 < int.from_bytes(secret, "big") < _ORDER:
        secret = random_bytes(32)
    return secret
