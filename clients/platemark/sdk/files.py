"""Files that are either whole or not there, and disk errors as one-line messages."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from platemark.errors import LocalError, local_error

_NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""What a name says behind which there is no file: ENXIO is a socket's."""


@contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Turn every OSError inside into a LocalError about `path`."""
    try:
        yield
    except OSError as error:
        raise local_error(error, path) from error


@contextmanager
def whole_file(path: Path, *, mode: int = 0o600, replace: bool = True) -> Iterator[BinaryIO]:
    """Give a file to write that appears at `path` only when the block ends well, synced to disk.

    Errors: LocalError `disk-full`, `disk-permission`, `file-exists` (with `replace` off) and the like; nothing
        is left behind then.
    """
    if not replace and path.exists():
        raise local_error(FileExistsError(errno.EEXIST, "exists"), path)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with disk_errors(path):
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            if replace:
                part.replace(path)
            else:
                os.link(part, path)
                part.unlink()
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_whole(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = True) -> None:
    """Write `data` to `path`, whole or not at all; errors as `whole_file`."""
    with whole_file(path, mode=mode, replace=replace) as stream:
        stream.write(data)


def check_output(path: Path, *, replace: bool = False) -> None:
    """Pass when a file could be written at `path` now; nothing is left there.

    What a command is to write last, it checks first.

    Errors: LocalError `file-missing` and `file-kind` for a folder that is none, `file-exists` (with `replace` off),
        `disk-permission` and the like.
    """
    with disk_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder")
        if path.exists() and not replace:
            raise FileExistsError(errno.EEXIST, "exists")
        _probe(path.parent, path)


def check_folder(path: Path) -> Path:
    """Return a folder, made if it was not there, in which files can be written now.

    Errors: LocalError `file-kind` when it is a file, `disk-permission` and the like.
    """
    if path.exists() and not path.is_dir():
        raise LocalError(f"{path}: it is a file, a folder is needed", code="file-kind", hint="name a folder")
    make_folder(path)
    with disk_errors(path):
        _probe(path, path)
    return path


def _probe(folder: Path, path: Path) -> None:
    part = folder / f".{path.name[:100]}.{secrets.token_hex(4)}.part"
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    part.unlink()


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` to `path`, whole or not at all; a file with the same content may be there already, no other.

    Errors: LocalError `file-exists` and those of `whole_file`.
    """
    if check_new(path, data):
        write_whole(path, data, mode=mode, replace=False)


def check_new(path: Path, data: bytes) -> bool:
    """Return whether `data` is still to be written to `path`; False when the file is there with that content.

    Errors: LocalError `file-exists` for a file with another content.
    """
    with disk_errors(path):
        if not path.exists():
            return True
        if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
            return False
        raise FileExistsError(errno.EEXIST, "exists")


def make_folder(path: Path) -> Path:
    """Make a folder that only its owner may read, with its parents, and return it; LocalError when it cannot be."""
    with disk_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def read_limited(path: Path, *, max_bytes: int) -> bytes:
    """Return the bytes of a regular file.

    Errors: LocalError `file-missing`, `file-kind`, `file-too-large`, `disk-permission`.
    """
    with disk_errors(path), path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise LocalError(f"{path}: more than {max_bytes:,} bytes", code="file-too-large")
    return data


def read_regular(path: str, *, max_bytes: int) -> bytes | None:
    """Return the bytes of a regular file, or None when there is none of that name; quickly, for many files.

    Errors: LocalError `file-too-large`, and `disk-permission` and the like for a disk that does not tell, which is no
        answer.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe is not waited for
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise local_error(error, path) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        if found.st_size > max_bytes:
            raise LocalError(f"{path}: more than {max_bytes:,} bytes", code="file-too-large")
        data = os.read(descriptor, found.st_size)
        while len(data) < found.st_size and (more := os.read(descriptor, found.st_size - len(data))):
            data += more
    except OSError as error:
        raise local_error(error, path) from error
    finally:
        os.close(descriptor)
    return data


def sync_folder(path: Path) -> None:
    """Make a folder's entries durable, where the system can."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
