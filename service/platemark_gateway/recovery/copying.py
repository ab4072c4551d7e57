"""Files copied so that they are whole, durable and known by their SHA-256."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from platemark.protocol.units import Digest32
from platemark_gateway.chain.files import sync_directory

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_CHUNK_BYTES: Final = 1 << 20


def copy_durably(source: Path, target: Path, *, mode: int = PRIVATE_FILE) -> tuple[int, Digest32]:
    """Copy a file and sync it; return how many bytes there were, and their SHA-256. Folders are made, not synced."""
    make_folders(target.parent)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as found:
        while chunk := found.read(_CHUNK_BYTES):
            out.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        out.flush()
        os.fsync(out.fileno())
    return size, Digest32(digest.digest())


def measure(path: Path) -> tuple[int, Digest32]:
    """Return a file's size in bytes and its SHA-256, reading it piece by piece."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as found:
        while chunk := found.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, Digest32(digest.digest())


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, readable by their owner alone."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def files_below(folder: Path) -> Iterator[str]:
    """Yield the paths of regular files below a folder, sorted; names that begin with a dot are work in progress."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix()


def sync_tree(folder: Path) -> None:
    """Make the names of everything below a folder, and its own, survive a crash."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync_directory(path)
    sync_directory(folder)
    sync_directory(folder.parent)
