"""The log's folder: tiles that are durable before any root speaks of them, and the checkpoint.

    checkpoint               the last signed note, with the cosignatures of witnesses
    checkpoint.<epoch>       the last note of an epoch that ended
    waiting                  entries that a restore brought and that are not counted yet
    tile/<L>/<N>[.p/<W>]     as C2SP lays them out

A file of the published tree is never written again with other bytes. Several processes may share the folder.
Functions block; call them in a thread.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from platemark.protocol.checkpoint import Checkpoint, Note, NoteKey, NoteSignature, open_checkpoint
from platemark.protocol.tiles import ENTRIES, Tile
from platemark_gateway.printlog.errors import LogForkedError

CHECKPOINT: Final = "checkpoint"
WAITING: Final = "waiting"
_LOCK: Final = ".lock"


class LogFiles:
    """One log on one disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: str) -> bytes | None:
        """Return a tile's bytes by its path, or None when it is not there."""
        try:
            return (self._folder / Tile.parse(path).path).read_bytes()
        except FileNotFoundError:
            return None

    def read_checkpoint(self) -> bytes | None:
        """Return the signed note that is published, or None before the first."""
        try:
            return (self._folder / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None

    def read_waiting(self) -> bytes | None:
        """Return what a restore left to be counted beside the tiles, or None."""
        try:
            return (self._folder / WAITING).read_bytes()
        except FileNotFoundError:
            return None

    def forget_waiting(self) -> None:
        """Remove what a restore left, after it was counted."""
        (self._folder / WAITING).unlink(missing_ok=True)
        sync_folder(self._folder)

    def published(self, key: NoteKey) -> Checkpoint | None:
        """Return the published checkpoint of this epoch, or None when there is none yet.

        Errors: VerificationError or MalformedError for a note that this log did not sign.
        """
        found = self.published_note(key)
        return None if found is None else found[1]

    def published_note(self, key: NoteKey) -> tuple[bytes, Checkpoint] | None:
        """Return the published checkpoint of this epoch with the signed note that it stands in; errors: `published`."""
        data = self.read_checkpoint()
        if data is None or _origin(data) != key.name:
            return None
        return data, open_checkpoint(data, key)

    def write_tiles(self, files: Mapping[str, bytes], published_size: int) -> None:
        """Write tiles so that they survive a crash. Tiles are determined by their entries, so repeating is harmless.

        Errors: LogForkedError rather than change a tile of the published tree.
        """
        folders: set[Path] = set()
        for path, data in files.items():
            target = self._folder / Tile.parse(path).path
            present = self.read(path)
            if present == data:
                continue
            if present is not None and is_published(Tile.parse(path), published_size):
                raise LogForkedError(f"{path} of the published log has other bytes than the database says")
            folders |= _make_folders(target.parent, self._folder)
            write_whole(target, data)
        for folder in sorted(folders):
            sync_folder(folder)

    def publish(self, note: bytes, checkpoint: Checkpoint, examined: Checkpoint | None, key: NoteKey) -> bool:
        """Put a signed checkpoint in the place of the one that was examined; return whether it is there now.

        False when another process published meanwhile: examine again.

        Errors: LogForkedError for another root at a size that is published.
        """
        with self._locked():
            present = self.published(key)
            if present is not None and present.size == checkpoint.size and present.root != checkpoint.root:
                raise LogForkedError(f"another root of {checkpoint.size} entries is published")
            if present != examined:
                return False
            if present is not None and present.size > checkpoint.size:
                return False
            if present is None:
                self._keep_old_epoch(key)
            write_whole(self._folder / CHECKPOINT, note)
            sync_folder(self._folder)
            return True

    def add_signatures(self, text: str, signatures: Sequence[NoteSignature]) -> bool:
        """Add signatures to the published checkpoint if it still has this text; return whether it has them now."""
        with self._locked():
            data = self.read_checkpoint()
            note = None if data is None else Note.parse(data)
            if note is None or note.text != text:
                return False
            write_whole(self._folder / CHECKPOINT, note.with_signatures(*signatures).to_bytes())
            sync_folder(self._folder)
            return True

    def _keep_old_epoch(self, key: NoteKey) -> None:
        data = self.read_checkpoint()
        if data is not None and (origin := _origin(data)) != key.name:
            write_whole(self._folder / f"{CHECKPOINT}.{int(origin.rpartition('/')[2])}", data)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _origin(note: bytes) -> str:
    return Note.parse(note).text.partition("\n")[0]


def is_published(tile: Tile, size: int) -> bool:
    """Return whether a tile is of the tree that a checkpoint of `size` entries speaks of."""
    level = 0 if tile.level == ENTRIES else tile.level
    return tile.number * 256 + tile.width <= size >> 8 * level


def _make_folders(folder: Path, root: Path) -> set[Path]:
    """Create folders and return those whose own entries must be synced."""
    changed = {folder}
    while not folder.exists() and folder != root.parent:
        folder = folder.parent
        changed.add(folder)
    for each in sorted(changed):
        each.mkdir(parents=True, exist_ok=True)
    return changed


def write_whole(target: Path, data: bytes) -> None:
    """Put a file in its place, whole and synced; its folder is not synced."""
    temporary = target.parent / f".{target.name}.{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
