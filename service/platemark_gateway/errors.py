"""The gateway's own errors; no HTTP in here (`problems.py` maps kinds and codes to documents).

PlatemarkError (platemark.errors)
├── GatewayError
│   ├── UnauthenticatedError   nobody, or a wrong proof of being somebody
│   ├── ForbiddenError         somebody else's right
│   ├── NotFoundError          not there, or not yours
│   ├── ConflictError          the state says no; `expected` may say what it wants
│   ├── LimitedError           too much; `retry_after_seconds`
│   ├── UnconfirmedError       the chain has not settled yet; `retry_after_seconds`
│   ├── UnavailableError       chain, IPFS, database or the gateway itself; `retry_after_seconds`
│   ├── WitnessConflictError   a witness cosigned another size last; `size` says which
│   ├── PlateError             one of several that were asked for together was refused; `place` says which
│   └── VaultError             a key or a wrapped row is not what it should be
└── MalformedError, VerificationError (platemark.errors)
"""

from dataclasses import dataclass

from platemark.errors import Kind, PlatemarkError


class GatewayError(PlatemarkError):
    """Something that the gateway refuses or cannot do."""

    def __init__(
        self,
        message: str,
        *,
        kind: Kind,
        code: str,
        hint: str | None = None,
        expected: int | str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message, kind=kind, code=code, hint=hint)
        self.expected = expected
        self.retry_after_seconds = retry_after_seconds


class UnauthenticatedError(GatewayError):
    """The caller proved to be nobody."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.UNAUTHENTICATED, code=code, hint=hint)


class ForbiddenError(GatewayError):
    """The caller is somebody, but this is another's right."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.FORBIDDEN, code=code, hint=hint)


class NotFoundError(GatewayError):
    """There is none, or it is not the caller's; the answer does not say which."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.NOT_FOUND, code=code, hint=hint)


class ConflictError(GatewayError):
    """The state says no, now and when asked again; `expected` says what would fit."""

    def __init__(self, message: str, *, code: str, hint: str | None = None, expected: int | str | None = None) -> None:
        super().__init__(message, kind=Kind.CONFLICT, code=code, hint=hint, expected=expected)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a caller has: `most` in each window of so many seconds; `name` is public."""

    name: str
    most: int
    window_seconds: int


class LimitedError(GatewayError):
    """Too many, too fast; `limit` says which limit it was."""

    def __init__(
        self, message: str, *, code: str, retry_after_seconds: int, limit: Limit, hint: str | None = None
    ) -> None:
        super().__init__(message, kind=Kind.LIMITED, code=code, hint=hint, retry_after_seconds=retry_after_seconds)
        self.limit = limit


class UnconfirmedError(GatewayError):
    """The chain has not settled what this depends on."""

    def __init__(self, message: str, *, code: str, retry_after_seconds: int, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.UNCONFIRMED, code=code, hint=hint, retry_after_seconds=retry_after_seconds)


class UnavailableError(GatewayError):
    """Something this depends on is away; nothing was counted, nothing was lost."""

    def __init__(self, message: str, *, code: str, retry_after_seconds: int = 5, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.UNAVAILABLE, code=code, hint=hint, retry_after_seconds=retry_after_seconds)


class WitnessConflictError(GatewayError):
    """A witness cosigned `size` entries of the log last, not as many as it was thought to know."""

    def __init__(self, size: int) -> None:
        super().__init__(
            f"the witness cosigned {size} entries of the log last", kind=Kind.UPSTREAM, code="witness-conflict"
        )
        self.size = size


class PlateError(GatewayError):
    """Nothing of a plate was counted, because of one of its redemptions: the one at `place`, from 0."""

    def __init__(self, refusal: PlatemarkError, place: int) -> None:
        known = refusal if isinstance(refusal, GatewayError) else None
        super().__init__(
            refusal.message,
            kind=refusal.kind,
            code=refusal.code,
            hint=refusal.hint,
            expected=None if known is None else known.expected,
            retry_after_seconds=None if known is None else known.retry_after_seconds,
        )
        self.place = place


class VaultError(GatewayError):
    """A key file or a wrapped row is damaged, foreign or moved; never retried."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, kind=Kind.INTERNAL, code=code, hint=hint)


def not_final(seconds: int, dispute: str | None = None) -> GatewayError:
    """Return why something is not final yet: the chain needs its time, or its nodes do not agree.

    Args:
        seconds: How long finality typically takes.
        dispute: `ChainProgress.dispute`.
    """
    if dispute is None:
        return UnconfirmedError(
            "the chain has not made this final yet", code="awaiting-finality", retry_after_seconds=max(1, seconds)
        )
    return UnavailableError(
        "what this gateway's chain endpoints say is in dispute; nothing new is permitted",
        code=dispute,
        retry_after_seconds=60,
        hint="the gateway's operator finds the endpoint in the log",
    )
