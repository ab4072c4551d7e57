"""Signed notes, checkpoints and cosignatures (C2SP signed-note, tlog-checkpoint, tlog-cosignature), with Ed25519.

    note         text (ends in a line feed) ‖ line feed ‖ `— name base64(key id (4) ‖ signature)` lines
    checkpoint   origin, size in decimal, base64 of the root, then perhaps extension lines
    key id       SHA-256(name ‖ 0x0A ‖ type ‖ public key)[0:4]; type 1 signs the text, type 4 cosigns it at a time

Source: C2SP signed-note, tlog-checkpoint, tlog-cosignature; docs/formats.md, checkpoint.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from platemark.errors import MalformedError, VerificationError
from platemark.protocol.units import Digest32, UnixSeconds, digest32

MAX_NOTE_BYTES: Final = 64 << 10
MAX_SIGNATURES: Final = 64

_SIGNATURE_LINE: Final = re.compile(r"— (\S+) ([A-Za-z0-9+/]+={0,2})")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class KeyType(IntEnum):
    """What a key signs: the note's text, or the text and a time."""

    ED25519 = 1
    COSIGNATURE = 4


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: whose it says it is, the key's id (4 bytes), and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line as it stands in a note, with its line feed."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, none of them checked yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note as it is published."""
        return (self.text + "\n" + "".join(signature.line() for signature in self.signatures)).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the note in `data`.

        Errors: MalformedError `note` for bytes that are no signed note; `too-large` above 64 KiB.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise MalformedError(f"a note of {len(data)} bytes is too large", code="too-large")
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise MalformedError("a note is UTF-8", code="note") from error
        text, separator, lines = whole.rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise MalformedError("a note is a text, an empty line and signatures", code="note")
        _check_text(whole)
        signatures = tuple(_parse_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MAX_SIGNATURES:
            raise MalformedError(f"a note has at most {MAX_SIGNATURES} signatures", code="note")
        return cls(text + "\n", signatures)

    def with_signatures(self, *added: NoteSignature) -> Self:
        """Return the note with these signatures; they take the place of earlier ones of the same keys."""
        keys = {(signature.name, signature.key_id) for signature in added}
        kept = (signature for signature in self.signatures if (signature.name, signature.key_id) not in keys)
        return type(self)(self.text, (*kept, *added))


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key under a name, as verifiers know it."""

    name: str
    public_key: bytes
    key_type: KeyType = KeyType.ED25519

    def __post_init__(self) -> None:
        """Errors: MalformedError `note-key` for a name with white space or `+`, or a key that is not 32 bytes."""
        _check_name(self.name)
        if len(self.public_key) != 32:
            raise MalformedError("an Ed25519 public key has 32 bytes", code="note-key")

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before a signature."""
        return _key_id(self.name, self.key_type, self.public_key)

    @property
    def text(self) -> str:
        """The key as text (vkey): name, id and key, joined by `+`."""
        key = base64.b64encode(bytes([self.key_type]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key of a vkey; errors: MalformedError `note-key`."""
        name, key_id, data = _split_key(text, 3)
        if len(data) != 33 or data[0] not in set(KeyType):
            raise MalformedError("a verifier's key is Ed25519, of type 1 or 4", code="note-key")
        found = cls(name, data[1:], KeyType(data[0]))
        if found.key_id.hex() != key_id:
            raise MalformedError("the key's id does not fit it", code="note-key")
        return found

    def verify(self, note: Note) -> UnixSeconds | None:
        """Raise unless this key signed the note; return the time of a cosignature, None for a plain signature.

        Lines of other keys are passed over. Several lines of this key must all hold.

        Errors: VerificationError `note-signature`.
        """
        found = [entry for entry in note.signatures if entry.name == self.name and entry.key_id == self.key_id]
        if not found:
            raise self._failed(", ".join(entry.name for entry in note.signatures)[:200] or "no signature")
        times = [self._verify_one(note.text, entry.signature) for entry in found]
        return max((time for time in times if time is not None), default=None)

    def _verify_one(self, text: str, signature: bytes) -> UnixSeconds | None:
        time: UnixSeconds | None = None
        message = text.encode()
        if self.key_type is KeyType.COSIGNATURE:
            if len(signature) != 72:
                raise self._failed("a cosignature of another length")
            time = UnixSeconds(int.from_bytes(signature[:8], "big"))
            message = cosigned_message(text, time)
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature:
            raise self._failed("a signature that does not fit the text") from None
        return time

    def _failed(self, found: str) -> VerificationError:
        return VerificationError(
            "the note is not signed by the key it should be",
            step="note-signature",
            code="note-signature",
            expected=self.text,
            found=found,
        )


class NoteSigner:
    """Signs notes under a name; holds a function that signs, so that the key may be in hardware."""

    __slots__ = ("_sign", "key")

    def __init__(self, key: NoteKey, sign: Callable[[bytes], bytes]) -> None:
        """Take a public key and what makes its Ed25519 signatures (64 bytes) of a message."""
        self.key: NoteKey = key
        self._sign = sign

    @classmethod
    def from_seed(cls, name: str, seed: bytes, key_type: KeyType = KeyType.ED25519) -> Self:
        """Return the signer of an Ed25519 seed (32 bytes); errors: MalformedError `note-key`."""
        if len(seed) != 32:
            raise MalformedError("an Ed25519 seed has 32 bytes", code="note-key")
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(NoteKey(name, private.public_key().public_bytes_raw(), key_type), private.sign)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the signer of a private key's text (skey); errors: MalformedError `note-key`."""
        mark = "PRIVATE+KEY+"
        if not text.startswith(mark):
            raise MalformedError("a signer's key begins with PRIVATE+KEY+", code="note-key")
        name, key_id, data = _split_key(text[len(mark) :], 3)
        if len(data) != 33 or data[0] not in set(KeyType):
            raise MalformedError("a signer's key is Ed25519, of type 1 or 4", code="note-key")
        found = cls.from_seed(name, data[1:], KeyType(data[0]))
        if found.key.key_id.hex() != key_id:
            raise MalformedError("the key's id does not fit it", code="note-key")
        return found

    def __repr__(self) -> str:
        return f"NoteSigner({self.key.text}, secret hidden)"

    def sign(self, text: str) -> NoteSignature:
        """Return the signature of a note's text, by a key of type 1.

        Errors: MalformedError `note` for a text that no note has, `note-key` for a cosigner's key.
        """
        if self.key.key_type is not KeyType.ED25519:
            raise MalformedError("a cosigner's key signs no plain note", code="note-key")
        _check_text(text)
        return NoteSignature(self.key.name, self.key.key_id, self._sign(text.encode()))

    def cosign(self, text: str, time: UnixSeconds) -> NoteSignature:
        """Return the cosignature of a checkpoint's text at a time, by a key of type 4; errors as `sign`."""
        if self.key.key_type is not KeyType.COSIGNATURE:
            raise MalformedError("only a cosigner's key cosigns", code="note-key")
        _check_text(text)
        signature = self._sign(cosigned_message(text, time))
        return NoteSignature(self.key.name, self.key.key_id, time.to_bytes(8, "big") + signature)


def private_key_text(name: str, seed: bytes, key_type: KeyType = KeyType.ED25519) -> str:
    """Return a signer's secret as text (skey): `PRIVATE+KEY+`, name, id, and base64 of type ‖ seed."""
    key = NoteSigner.from_seed(name, seed, key_type).key
    return f"PRIVATE+KEY+{name}+{key.key_id.hex()}+{base64.b64encode(bytes([key_type]) + seed).decode()}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: origin, how many entries, the root; perhaps extension lines."""

    origin: str
    size: int
    root: Digest32
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the text that is signed; errors: MalformedError `checkpoint` for fields that cannot stand in it."""
        lines = [self.origin, str(self.size), base64.b64encode(digest32(self.root)).decode(), *self.extensions]
        if not 0 <= self.size < 1 << 63 or any(not line or "\n" in line for line in lines):
            raise MalformedError("a checkpoint has lines that are not empty, and a size", code="checkpoint")
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the checkpoint of a note's text; errors: MalformedError `checkpoint`."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise MalformedError("a checkpoint has an origin, a size and a root", code="checkpoint")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise MalformedError("a checkpoint's size is a decimal number", code="checkpoint")
        digest = parse_base64(root, "checkpoint")
        if len(digest) != 32:
            raise MalformedError("a checkpoint's root has 32 bytes", code="checkpoint")
        found = cls(origin, int(size), Digest32(digest), tuple(extensions))
        found.text()  # raises for a size that no log has
        return found


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> bytes:
    """Return the signed note of a checkpoint; the key's name is its origin.

    Errors: MalformedError `checkpoint` when the names differ.
    """
    if signer.key.name != checkpoint.origin:
        raise MalformedError("a log signs under its origin", code="checkpoint")
    text = checkpoint.text()
    return Note(text, (signer.sign(text),)).to_bytes()


def open_checkpoint(data: bytes, key: NoteKey, *, origin: str | None = None) -> Checkpoint:
    """Return the checkpoint in a signed note after its signature was checked.

    Args:
        data: The note.
        key: The log's key, of type 1.
        origin: What the checkpoint must be of; the key's name unless given.

    Errors: MalformedError `note`, `checkpoint`; VerificationError `note-signature`, `checkpoint-origin`.
    """
    note = Note.parse(data)
    if key.key_type is not KeyType.ED25519:
        raise MalformedError("a log's key is of type 1", code="note-key")
    key.verify(note)
    checkpoint = Checkpoint.parse(note.text)
    expected = key.name if origin is None else origin
    if checkpoint.origin != expected:
        raise VerificationError(
            "the checkpoint is of another log",
            step="checkpoint-origin",
            code="checkpoint-origin",
            expected=expected,
            found=checkpoint.origin[:200],
        )
    return checkpoint


def cosigned_message(text: str, time: UnixSeconds) -> bytes:
    """Return what a cosigner signs: a header, the time, and the checkpoint's text."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _parse_signature(line: str) -> NoteSignature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise MalformedError("a line of a note is no signature", code="note")
    name, encoded = match.groups()
    data = parse_base64(encoded, "note")
    if "+" in name or len(data) < 5:
        raise MalformedError("a line of a note is no signature", code="note")
    return NoteSignature(name, data[:4], data[4:])


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text.startswith("\n") or any(ord(char) < 0x20 and char != "\n" for char in text):
        raise MalformedError("a note's text ends in a line feed and has no control characters", code="note")


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() or not char.isprintable() for char in name):
        raise MalformedError("a key's name is not empty and has no white space and no +", code="note-key")


def _split_key(text: str, parts: int) -> tuple[str, str, bytes]:
    pieces: Sequence[str] = text.split("+", parts - 1)
    if len(pieces) != parts or not re.fullmatch(r"[0-9a-f]{8}", pieces[1]):
        raise MalformedError("a note's key is a name, an id of 8 digits and base64", code="note-key")
    return pieces[0], pieces[1], parse_base64(pieces[2], "note-key")


def _key_id(name: str, key_type: KeyType, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([key_type]) + public_key).digest()[:4]


def parse_base64(text: str, code: str) -> bytes:
    """Return the bytes of canonical base64; errors: MalformedError with this code."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("this is not base64", code=code) from error
    if base64.b64encode(data).decode() != text:
        raise MalformedError("the base64 is not canonical", code=code)
    return data
