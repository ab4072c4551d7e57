"""Exit codes: the one place that knows them.

0 ok · 1 failed · 2 usage · 3 verification failed · 4 refused by licence or policy · 75 try again later
"""

from enum import IntEnum

from platemark.errors import (
    Kind,
    PlatemarkError,
    RefusedError,
    TryLaterError,
    UpstreamError,
    UsageError,
    VerificationError,
)


class ExitCode(IntEnum):
    """What a command says to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    VERIFICATION = 3
    REFUSED = 4
    TRY_LATER = 75  # EX_TEMPFAIL of sysexits.h
    INTERRUPTED = 130  # 128 + SIGINT


_FAILURES = frozenset({Kind.NOT_FOUND, Kind.MALFORMED})
"""Kinds of refusals that say nothing about a licence or a policy."""
_UNREACHABLE = frozenset({"gateway-timeout", "gateway-unreachable", "printer-unreachable", "rpc-unreachable"})
"""Codes of servers and machines that did not answer, and may do so later."""


def exit_code(error: PlatemarkError) -> ExitCode:
    """Return the exit code of an error."""
    match error:
        case VerificationError():
            return ExitCode.VERIFICATION
        case TryLaterError():
            return ExitCode.TRY_LATER
        case UpstreamError() if error.code in _UNREACHABLE:
            return ExitCode.TRY_LATER
        case UsageError():
            return ExitCode.USAGE
        case RefusedError() if error.kind not in _FAILURES and error.code != "passphrase-wrong":
            return ExitCode.REFUSED
        case _:
            return ExitCode.FAILED
