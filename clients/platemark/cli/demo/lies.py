"""Lies for the auditor to find: copies of a print log, changed, then signed with the gateway's own key.

Every copy is a valid log: its tiles fit its checkpoint, and the checkpoint's signature is the gateway's. Only the
evidence that a gateway does not hold, agents' signatures and roots on chain, can tell. Used by the demonstration and
by tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from platemark.errors import UsageError
from platemark.protocol import log_entry
from platemark.protocol.accounts import AccountKey
from platemark.protocol.checkpoint import Checkpoint, Note, NoteSigner, sign_checkpoint
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry, Result
from platemark.protocol.tiles import Edge, LogReader, grow
from platemark.protocol.typed_data import Domain

Change = Callable[[Sequence[bytes], Domain], list[bytes]]


@dataclass(frozen=True, slots=True)
class Lie:
    """One lie: what the gateway pretends, and how it changes the entries."""

    name: str
    pretends: str
    change: Change


def hide_print(entries: Sequence[bytes], domain: Domain) -> list[bytes]:  # noqa: ARG001 (all lies have one form)
    """Leave out the last completed print with its outcome, as if its key had never been given."""
    hidden = _last_completed(entries)
    return [data for data in entries if _token_and_sequence(data) != (hidden.token_id, hidden.sequence)]


def void_print(entries: Sequence[bytes], domain: Domain) -> list[bytes]:  # noqa: ARG001
    """Turn the last completed print into a failed one that was given back."""
    turned = _last_completed(entries)
    changed = replace(turned, result=Result.FAILED, spare_used=True).to_bytes()
    return [changed if data == turned.to_bytes() else data for data in entries]


def invent_print(entries: Sequence[bytes], domain: Domain) -> list[bytes]:
    """Add a print that no agent asked for, signed with a key of the gateway's own making."""
    last = max(
        (found for found in map(log_entry.decode, entries) if isinstance(found, RedeemedEntry)),
        key=lambda found: found.sequence,
    )
    invented = replace(last, sequence=last.sequence + 1, print_id=bytes(16))
    forger = AccountKey(b"\x01" * 32)
    signature = forger.sign(invented.redemption().digest(domain))
    return [*entries, replace(invented, signature=signature).to_bytes()]


LIES: Final = (
    Lie("hidden", "one print was never released", hide_print),
    Lie("voided", "a completed print failed and was given back", void_print),
    Lie("invented", "one more print was asked for", invent_print),
)


def plant(lie: Lie, log: Path, copy: Path, signer: NoteSigner, domain: Domain) -> None:
    """Write a copy of the log in folder `log` to folder `copy`, changed by the lie and signed by `signer`.

    Errors: UsageError when `copy` is there already; those of a log that cannot be read.
    """
    if copy.exists():
        raise UsageError(f"{copy} is there already")
    checkpoint = Checkpoint.parse(Note.parse((log / "checkpoint").read_bytes()).text)
    reader = LogReader(checkpoint.size, checkpoint.root, lambda path: _read(log / path))
    growth = grow(Edge.empty(), lie.change(list(reader.entries()), domain))
    _write_files(copy, growth.files)
    signed = sign_checkpoint(Checkpoint(checkpoint.origin, growth.edge.size, growth.root), signer)
    _write_files(copy, {"checkpoint": signed})


def _last_completed(entries: Sequence[bytes]) -> OutcomeEntry:
    for data in reversed(entries):
        entry = log_entry.decode(data)
        if isinstance(entry, OutcomeEntry) and entry.result is Result.COMPLETED:
            return entry
    raise UsageError("the log has no completed print to lie about")


def _token_and_sequence(data: bytes) -> tuple[int, int] | None:
    entry = log_entry.decode(data)
    if isinstance(entry, RedeemedEntry | OutcomeEntry):
        return entry.token_id, entry.sequence
    return None


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
