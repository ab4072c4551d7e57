"""Private folders in memory for programs that insist on files; they are gone when the block ends.

A folder's name holds its process: what a killed agent left behind is removed when the next one asks for a folder.
Pages may be swapped out; whether a centre's machines encrypt their swap is their matter.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from platemark.errors import LocalError

_MOUNTS: Final = Path("/proc/self/mounts")
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 (memory, and a private folder in it)
_NAME: Final = re.compile(r"platemark-(\d{1,10})-\w+")


def memory_folder() -> Path | None:
    """Return a writable folder that lies in memory, or None where the system has none."""
    if not hasattr(os, "memfd_create") or not os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        return None
    with contextlib.suppress(OSError):
        for line in _MOUNTS.read_text().splitlines():
            _, mounted, kind, *_ = line.split()
            if mounted == str(_SHARED_MEMORY) and kind in {"tmpfs", "ramfs"}:
                return _SHARED_MEMORY
    return None


@contextlib.contextmanager
def private_folder(root: Path | None) -> Iterator[Path]:
    """Give a new folder in memory that only its owner may enter.

    Errors: LocalError `memory-missing` when `root` is None.
    """
    if root is None:
        raise LocalError("this machine has no folder in memory", code="memory-missing", hint="mount /dev/shm")
    sweep(root)
    with tempfile.TemporaryDirectory(prefix=f"platemark-{os.getpid()}-", dir=root) as made:
        yield Path(made)


def sweep(root: Path) -> None:
    """Remove folders of this user whose process has ended."""
    for path in root.glob("platemark-*"):
        found = _NAME.fullmatch(path.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
