"""A disk that can be filled without filling this machine's: a tmpfs that is made as small as what lies in it."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIZE_BYTES: Final = 2 << 30
"""Of memory only what is used of it."""
_WAIT_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system of its own."""

    place: Path

    def fill(self) -> None:
        """Leave no space.

        Errors: AssertionError when others write to it faster than it can be made small.
        """
        ends_at = time.monotonic() + _WAIT_SECONDS
        while True:
            found = os.statvfs(self.place)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            if _resized(self.place, used) and not os.statvfs(self.place).f_bfree:
                return
            assert time.monotonic() < ends_at, "the disk cannot be made small"

    def empty(self) -> None:
        """Have space again."""
        assert _resized(self.place, SIZE_BYTES), "the disk cannot be made large again"


def _resized(place: Path, size: int) -> bool:
    return _is_done("mount", "-o", f"remount,size={size}", str(place))


def _is_done(*words: str) -> bool:
    try:
        return subprocess.run(words, capture_output=True, check=False, timeout=10).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def disk_at(place: Path) -> Iterator[Disk | None]:
    """Mount a disk in an empty folder while the block lasts; None where this process may not mount."""
    place.mkdir(parents=True)
    if not _is_done("mount", "-t", "tmpfs", "-o", f"size={SIZE_BYTES},mode=0755", "tmpfs", str(place)):
        yield None
        return
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=10)
