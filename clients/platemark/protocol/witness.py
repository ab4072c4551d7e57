"""What a log asks of a witness, and how a witness decides (C2SP tlog-witness, add-checkpoint).

    request    "old " size, a line feed; up to 63 hashes in base64, a line feed each; a line feed; the signed checkpoint
    answer     signature lines of the witness
    conflict   the size of what the witness cosigned last, in decimal, and a line feed

Pure: who asks and who answers have the sockets and the disk. Source: C2SP tlog-witness; docs/formats.md, witnesses.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, Note, NoteKey, NoteSignature, parse_base64
from platemark.protocol.units import Digest32

PATH: Final = "/add-checkpoint"
SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"
MAX_PROOF_HASHES: Final = 63
MAX_REQUEST_BYTES: Final = 16 << 10
MAX_ANSWER_BYTES: Final = 16 << 10
_SIZE: Final = r"(0|[1-9][0-9]{0,18})"
_OLD: Final = re.compile(f"old {_SIZE}")
_CONFLICT: Final = re.compile(f"{_SIZE}\n")


class Verdict(Enum):
    """How a witness answers."""

    COSIGN = auto()
    MALFORMED = auto()
    """The request breaks its form, or goes back."""
    NOT_SIGNED = auto()
    """No key that the witness knows of this log signed."""
    CONFLICT = auto()
    """The request starts from another size than the witness cosigned last."""
    INCONSISTENT = auto()
    """The checkpoint is not shown to continue what the witness cosigned last."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the witness is thought to know, the proof from there, and the signed checkpoint."""

    old_size: int
    proof: tuple[Digest32, ...]
    note: Note

    def encode(self) -> bytes:
        """Return the request's body."""
        hashes = "".join(base64.b64encode(each).decode() + "\n" for each in self.proof)
        return f"old {self.old_size}\n{hashes}\n".encode() + self.note.to_bytes()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the request in a body; its checkpoint is not checked yet.

        Errors: MalformedError `witness-request`, `too-large`; those of a note.
        """
        if len(data) > MAX_REQUEST_BYTES:
            raise MalformedError(f"a request of {len(data)} bytes is too large", code="too-large")
        head, separator, note = data.partition(b"\n\n")
        first, *hashes = head.split(b"\n")
        old = _OLD.fullmatch(first.decode("ascii", errors="replace"))
        if not separator or old is None or len(hashes) > MAX_PROOF_HASHES:
            raise MalformedError("this does not ask a witness for a cosignature", code="witness-request")
        proof = [parse_base64(each.decode("ascii", errors="replace"), "witness-request") for each in hashes]
        if any(len(each) != 32 for each in proof):
            raise MalformedError("a proof has hashes of 32 bytes", code="witness-request")
        return cls(int(old[1]), tuple(map(Digest32, proof)), Note.parse(note))


def decide(
    request: AddCheckpoint, checkpoint: Checkpoint, keys: Sequence[NoteKey], last_size: int, last_root: Digest32
) -> Verdict:
    """Return what a witness answers that cosigned `last_size` entries under `last_root` last (none: 0, SHA-256("")).

    Args:
        request: What is asked.
        checkpoint: The one in the request's note.
        keys: Those of the log that the checkpoint names; one of them must have signed.
        last_size: Entries that the witness cosigned last.
        last_root: Root of these entries (32 bytes).
    """
    if not any(_has_signed(key, request.note) for key in keys):
        return Verdict.NOT_SIGNED
    if request.old_size > checkpoint.size:
        return Verdict.MALFORMED
    if request.old_size != last_size:
        return Verdict.CONFLICT
    try:
        merkle.verify_consistency(last_size, last_root, checkpoint.size, checkpoint.root, request.proof)
    except VerificationError:
        return Verdict.INCONSISTENT
    return Verdict.COSIGN


def _has_signed(key: NoteKey, note: Note) -> bool:
    try:
        key.verify(note)
    except VerificationError:
        return False
    return True


def read_cosignature(answer: bytes, text: str, key: NoteKey) -> NoteSignature:
    """Return the newest line of a witness's answer that its key made of the checkpoint's text; others are passed over.

    Errors: MalformedError `note` for lines that are no signatures; VerificationError `note-signature` when there is
        none, or a wrong one.
    """
    note = Note.parse(text.encode() + b"\n" + answer)
    if note.text != text:
        raise MalformedError("a witness answers with signature lines alone", code="note")
    key.verify(note)
    own = [line for line in note.signatures if (line.name, line.key_id) == (key.name, key.key_id)]
    return max(own, key=lambda line: line.signature)


def encode_conflict(size: int) -> bytes:
    """Return the body of a conflict: the size that the witness cosigned last."""
    return f"{size}\n".encode()


def parse_conflict(data: bytes) -> int:
    """Return the size in the body of a conflict; errors: MalformedError `witness-answer`."""
    match = _CONFLICT.fullmatch(data[:32].decode("ascii", errors="replace"))
    if match is None:
        raise MalformedError("a witness's conflict is a size in decimal", code="witness-answer")
    return int(match[1])
