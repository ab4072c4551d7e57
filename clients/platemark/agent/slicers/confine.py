"""Run a program with less than this process has: limits, no network, no core dump, no privileges.

Started as a file, `python -I -S confine.py LIMITS PROGRAM ARGUMENTS…`, so that nothing but the standard library
is loaded before the limits hold; it replaces itself by the program. Limits on memory, processor time and core
dumps always hold; the rest holds where the system offers it (network namespaces, an unprivileged user when
started as root).
"""

import contextlib
import ctypes
import json
import os
import resource
import sys

_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000
_SET_NO_NEW_PRIVILEGES = 38
_NOBODY = 65534


def limit(*, cpu_seconds: int, memory_bytes: int, file_bytes: int) -> None:
    """Bound processor time, address space and written files of this process; forbid core dumps."""
    bounds = [
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ]
    for which, bound in bounds:
        _, hard = resource.getrlimit(which)
        least = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(which, (least, least))


def leave_network() -> bool:
    """Move this process to a network of its own without any interface; return whether the system let it."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.unshare(_NEW_NETWORK) == 0 or libc.unshare(_NEW_USER | _NEW_NETWORK) == 0)
    except (OSError, AttributeError):  # no C library, or one without unshare
        return False


def drop_privileges() -> None:
    """Give up root for good where this process has it, and the gaining of privileges everywhere."""
    with contextlib.suppress(OSError, AttributeError):  # no C library, or one without prctl
        ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


def main(arguments: list[str]) -> None:
    """Apply the limits in the first argument (JSON) and become the program in the others."""
    bounds = json.loads(arguments[0])
    leave_network()
    if bounds["dropPrivileges"]:
        drop_privileges()
    limit(cpu_seconds=bounds["cpuSeconds"], memory_bytes=bounds["memoryBytes"], file_bytes=bounds["fileBytes"])
    os.execve(arguments[1], arguments[1:], dict(os.environ))  # noqa: S606 (that is its purpose)


if __name__ == "__main__":
    main(sys.argv[1:])
