"""Step 12, the part of witnesses: who cosigned a checkpoint, and whether that is enough for whoever asks.

A witness says that a log only grew: nobody was shown another one than everybody else. It says nothing of what is in it.
Which witnesses count, and how many are wanted, is the policy's; a cosignature that is there must hold either way.
"""

from collections.abc import Sequence

from platemark.protocol.checkpoint import Note, NoteKey
from platemark.protocol.units import UnixSeconds
from platemark.verify.policy import Policy
from platemark.verify.steps import Step, require


def check_cosignature(note: Note, witness: NoteKey) -> UnixSeconds | None:
    """Return when a witness cosigned a checkpoint, by its own clock; None when it did not.

    Errors: VerificationError `note-signature` for a line of its key that is wrong.
    """
    is_there = any((line.name, line.key_id) == (witness.name, witness.key_id) for line in note.signatures)
    return witness.verify(note) if is_there else None


def unknown_cosigners(note: Note, known: Sequence[NoteKey]) -> list[str]:
    """Return the names that stand before signatures of other keys than these, each once; nothing is known of them."""
    ids = {(key.name, key.key_id) for key in known}
    return sorted({line.name for line in note.signatures if (line.name, line.key_id) not in ids})


def check_wanted(policy: Policy, cosigned: Sequence[NoteKey]) -> None:
    """Pass when as many of the policy's witnesses cosigned as it wants.

    Errors: VerificationError `witnesses-missing`.
    """
    names = sorted(key.name for key in cosigned)
    require(
        len(names) >= policy.witnesses_wanted,
        Step.ANCHOR,
        "fewer witnesses than are wanted cosigned the checkpoint",
        code="witnesses-missing",
        expected=f"{policy.witnesses_wanted} of {', '.join(sorted(key.name for key in policy.witnesses)) or 'none'}",
        found=", ".join(names) or "none",
    )
