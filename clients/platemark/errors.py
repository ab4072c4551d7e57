"""The error tree: every error says whose fault it is, and carries a public code.

    PlatemarkError
    ├── DataError            their data is bad
    │   ├── MalformedError       a format was broken                         exit 1
    │   └── VerificationError    a numbered check failed                     exit 3
    ├── RefusedError         licence, terms or policy say no                 exit 4
    ├── ReachError           somebody could not be reached, or not yet
    │   ├── UpstreamError        a gateway, chain or IPFS node failed        exit 1, or 75 when unreachable
    │   └── TryLaterError        ask again after `retry_after_seconds`       exit 75
    ├── LocalError           this machine: disk, permissions, programs       exit 1
    └── UsageError           you called it wrongly                           exit 2

Codes are public, kebab-case, never reused; `platemark.protocol.codes` lists them.
"""

import errno
from enum import StrEnum
from pathlib import Path
from typing import Final


class Kind(StrEnum):
    """What sort of refusal an error is; the gateway maps each to one HTTP status."""

    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    LIMITED = "limited"
    UNCONFIRMED = "unconfirmed"
    UPSTREAM = "upstream"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class PlatemarkError(Exception):
    """The root: a one-line message, its kind and code, and a hint for what to do next."""

    def __init__(self, message: str, *, kind: Kind, code: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.code = code
        self.hint = hint


class DataError(PlatemarkError):
    """Data that somebody gave us is bad."""


class MalformedError(DataError):
    """Bytes do not follow their format."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.MALFORMED, code=code, hint=hint)


class VerificationError(DataError):
    """A numbered check failed: which step, what was expected, what was found."""

    def __init__(
        self, message: str, *, step: str, code: str, expected: str, found: str, hint: str | None = None
    ) -> None:
        super().__init__(message, kind=Kind.CONFLICT, code=code, hint=hint)
        self.step = step
        self.expected = expected
        self.found = found


class RefusedError(PlatemarkError):
    """The licence, its terms or a policy say no; asking again changes nothing."""


class ReachError(PlatemarkError):
    """Somebody could not be reached, or cannot answer yet."""


class UpstreamError(ReachError):
    """A gateway, a chain endpoint or an IPFS node did not answer, or answered nonsense."""

    def __init__(self, message: str, *, code: str, kind: Kind = Kind.UPSTREAM, hint: str | None = None) -> None:
        super().__init__(message, kind=kind, code=code, hint=hint)


class TryLaterError(ReachError):
    """Nothing is wrong; ask again later."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        kind: Kind = Kind.UNCONFIRMED,
        retry_after_seconds: int,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, kind=kind, code=code, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class LocalError(PlatemarkError):
    """This machine cannot do it: a disk, a permission, a missing program, a port in use."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.UNAVAILABLE, code=code, hint=hint)


class UsageError(PlatemarkError):
    """The caller asked for something that makes no sense; never caught inside."""

    def __init__(self, message: str, *, code: str = "usage", hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.MALFORMED, code=code, hint=hint)


_REASONS: Final = {
    errno.ENOSPC: ("the disk is full", "disk-full", "free some space and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "disk-full", "free some space and run the same command again"),
    errno.EACCES: ("permission denied", "disk-permission", "choose another place, or change its permissions"),
    errno.EPERM: ("permission denied", "disk-permission", "choose another place, or change its permissions"),
    errno.EROFS: ("the file system is read-only", "disk-permission", "choose another place"),
    errno.ENOENT: ("no such file or folder", "file-missing", "check the path"),
    errno.EISDIR: ("it is a folder", "file-kind", "name a file"),
    errno.ENOTDIR: ("a part of the path is not a folder", "file-kind", "check the path"),
    errno.EEXIST: ("it exists already", "file-exists", "choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "file-kind", "choose a shorter name"),
}


def local_error(error: OSError, path: Path | str) -> LocalError:
    """Return the LocalError that says in one line what is wrong with `path`, without the machine's own text."""
    reason, code, hint = _REASONS.get(
        error.errno or 0, (f"the disk says {errno.errorcode.get(error.errno or 0, 'error')}", "disk-error", None)
    )
    return LocalError(f"{path}: {reason}", code=code, hint=hint)
