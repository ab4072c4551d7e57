"""What executing the journal's blocks left in the state database, so that a restart need not execute them again.

Only a cache: the journal is the truth. One frame a block, appended without waiting for the disk: u32 length of the
body, the body, the first 16 bytes of its SHA-256. Body: the block's hash (32), then the changes one after the other:
u16 length of the key, the key, u32 length of the value (2^32 - 1: removed), the value. A frame that is torn,
damaged, or of another block than the journal's next one ends the cache there; the rest is executed.
"""

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from platemark.protocol.units import Digest32

Changes = Mapping[bytes, bytes | None]

_CHECK_BYTES: Final = 16
_REMOVED: Final = 0xFFFFFFFF
_MAX_FRAME: Final = 1 << 30


class StateCache:
    """The cache of one chain: read once from the start, then appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._good = 0
        self._descriptor: int | None = None

    def exists(self) -> bool:
        """Whether a chain has ever been kept here: its first block makes the file."""
        return self._path.exists()

    def read(self) -> Iterator[tuple[Digest32, Changes]]:
        """Yield block hashes and changes while frames are whole; whoever stops using them calls `open_after`."""
        try:
            data = io.BytesIO(self._path.read_bytes())
        except OSError:
            return
        while (frame := _next_frame(data)) is not None:
            yield Digest32(frame[:32]), _changes(frame[32:])

    def open_after(self, blocks: int) -> None:
        """Open for appending after the first `blocks` frames; what follows them is cut off."""
        try:
            data = io.BytesIO(self._path.read_bytes() if self._path.exists() else b"")
            for _ in range(blocks):
                _next_frame(data)
            self._good = data.tell()
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._descriptor, self._good)
        except OSError:
            self.close()

    def append(self, block_hash: Digest32, changes: Changes) -> None:
        """Add a block's changes. A disk that refuses only ends the cache: later blocks are executed at a restart."""
        if self._descriptor is None:
            return
        body = block_hash + b"".join(_change(key, value) for key, value in changes.items())
        frame = len(body).to_bytes(4, "big") + body + hashlib.sha256(body).digest()[:_CHECK_BYTES]
        try:
            written = os.pwrite(self._descriptor, frame, self._good)
        except OSError:
            written = -1
        if written == len(frame):
            self._good += written
        else:
            self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _next_frame(data: io.BytesIO) -> bytes | None:
    start = data.tell()
    length = int.from_bytes(data.read(4), "big")
    body = data.read(length) if 32 <= length <= _MAX_FRAME else b""
    check = data.read(_CHECK_BYTES)
    if len(body) != length or not body or hashlib.sha256(body).digest()[:_CHECK_BYTES] != check:
        data.seek(start)
        return None
    return body


def _change(key: bytes, value: bytes | None) -> bytes:
    head = len(key).to_bytes(2, "big") + key
    return head + (_REMOVED.to_bytes(4, "big") if value is None else len(value).to_bytes(4, "big") + value)


def _changes(body: bytes) -> Changes:
    found: dict[bytes, bytes | None] = {}
    data = io.BytesIO(body)
    while head := data.read(2):
        key = data.read(int.from_bytes(head, "big"))
        length = int.from_bytes(data.read(4), "big")
        found[key] = None if length == _REMOVED else data.read(length)
    return found
