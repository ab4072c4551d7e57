"""The embedded chain's journal: what was answered stands on disk, in order, or the chain refuses to start.

One file of JSON lines, append-only. The first line describes the chain, each later one a block (its timestamp,
its hash, its raw transactions) or a step of the clock. Every line ends in a check that covers all lines before
it, so that a changed, missing or moved line is found without executing anything. A line is synced to disk
before the answer that depends on it leaves. A last line that breaks off was never answered and is dropped.

The format may gain new kinds of lines; a reader that meets an unknown kind or version refuses.
"""

import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from platemark.errors import LocalError

VERSION: Final = 1
_CHECK_BYTES: Final = 16


class JournalDamagedError(LocalError):
    """The journal is not what was written; nothing is repaired by guessing."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(
            f"the chain's journal is damaged at line {line}: {reason}",
            code="journal-damaged",
            hint=f"restore {path} from a copy, or start a new chain in another folder",
        )


class JournalMissingError(LocalError):
    """A chain was kept here, and its journal is empty or gone: a new chain must not take its place unseen."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"the chain's journal {path} is empty or gone",
            code="journal-missing",
            hint="restore it from a copy, or start a new chain in another folder",
        )


class DataFolderBusyError(LocalError):
    """Another process keeps a chain in this folder."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"another process runs the chain in {directory}",
            code="chain-in-use",
            hint="stop it, or choose another folder",
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the journal: its number (from 1) and its fields, the check left out."""

    number: int
    fields: Mapping[str, Any]


class FolderLock:
    """An exclusive lock on a folder, held until `close` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Errors: DataFolderBusyError when another process holds it."""
        self._handle: IO[bytes] = (directory / "chain.lock").open("ab")
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._handle.close()
            raise DataFolderBusyError(directory) from error

    def close(self) -> None:
        """Release the lock."""
        self._handle.close()


class Journal:
    """The journal of one chain, open for reading once and then for appending."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped_bytes = 0
        self._check = b""
        self._size = 0
        self._broken = False
        self._descriptor: int | None = None

    def read(self) -> Iterator[Line]:
        """Yield the lines, checked, and leave the journal open for appending after the last one.

        A last line without its end is dropped (`dropped_bytes` says how much), unless it is whole but for the
        newline. The iterator must be run to its end before `append`.

        Errors: JournalDamagedError for any other deviation.
        """
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        for number, raw in enumerate(io.BytesIO(self.path.read_bytes()), start=1):
            whole = raw.endswith(b"\n")
            try:
                fields, check = self._parse(raw.rstrip(b"\n"), number)
            except JournalDamagedError:
                if whole:
                    raise
                self.dropped_bytes = len(raw)
                break
            self._check = check
            self._size += len(raw)
            if not whole:
                self._write(b"\n")
            yield Line(number, fields)
        if self.dropped_bytes:
            self._undo()

    def append(self, fields: Mapping[str, Any]) -> None:
        """Write one line and sync it to disk; afterwards it survives any crash.

        Errors: LocalError `journal-unwritable` when the disk refuses; then nothing was added. When even that
            cannot be assured, every later call is refused as well.
        """
        if self._descriptor is None or self._broken:
            raise LocalError("the chain's journal cannot be written", code="journal-unwritable", hint="check the disk")
        body = _encode(fields)
        check = _next_check(self._check, body)
        try:
            self._write(b'{"check":"' + check.hex().encode() + b'",' + body[1:] + b"\n")
        except OSError as error:
            self._undo()
            raise LocalError(
                "the chain's journal cannot be written", code="journal-unwritable", hint="check the disk"
            ) from error
        self._check = check

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, line: bytes) -> None:
        # Without a buffer of ours: bytes that the disk refused must not come back with the next line.
        if self._descriptor is None:
            raise AssertionError("unreachable: the journal is open when it is written")
        written = 0
        while written < len(line):
            written += os.pwrite(self._descriptor, line[written:], self._size + written)
        os.fsync(self._descriptor)
        self._size += len(line)

    def _undo(self) -> None:
        try:
            if self._descriptor is not None:
                os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)
        except OSError:
            self._broken = True

    def _parse(self, raw: bytes, number: int) -> tuple[Mapping[str, Any], bytes]:
        try:
            fields = json.loads(raw)
        except ValueError as error:
            raise JournalDamagedError(self.path, number, "it is not JSON") from error
        if not isinstance(fields, dict) or not isinstance(fields.get("check"), str):
            raise JournalDamagedError(self.path, number, "it has no check")
        found = fields.pop("check")
        check = _next_check(self._check, _encode(fields))
        if found != check.hex():
            raise JournalDamagedError(self.path, number, "its check is wrong")
        return fields, check


def _encode(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()


def _next_check(previous: bytes, body: bytes) -> bytes:
    return hashlib.sha256(b"platemark/v1/journal\0" + previous + body).digest()[:_CHECK_BYTES]
