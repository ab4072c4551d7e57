"""What goes wrong with the log, and what this slice refuses."""

from platemark.errors import Kind, PlatemarkError
from platemark_gateway.errors import ConflictError, NotFoundError, UnavailableError


class LogForkedError(PlatemarkError):
    """What lies in the log's folder is not what the database would write there; nothing is overwritten."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind=Kind.INTERNAL, code="log-forked")


class NotComparedError(UnavailableError):
    """Log, anchors and chain could not be compared, because something that has to be asked is away."""

    def __init__(self, cause: PlatemarkError) -> None:
        super().__init__(f"the history could not be compared: {cause.message}", code=cause.code)


def tile_unknown() -> NotFoundError:
    """Return: the log has no such tile."""
    return NotFoundError("the log has no such tile", code="tile-unknown")


def log_empty() -> NotFoundError:
    """Return: no checkpoint was signed yet."""
    return NotFoundError("the log has no checkpoint yet", code="log-empty")


def part_unknown() -> NotFoundError:
    """Return: no print has this serial."""
    return NotFoundError(
        "no print of this gateway has this serial",
        code="serial-unknown",
        hint="read it again on the part: 0, 1, 8 and 9 are not used; another gateway may have released it",
    )


def passport_incomplete(what: str, hint: str | None = None) -> ConflictError:
    """Return: something that a passport holds is not here."""
    return ConflictError(f"this gateway lacks {what} for a passport", code="passport-incomplete", hint=hint)


def signer_lost() -> ConflictError:
    """Return: what a passport shows was signed by a key that was lost with a vault."""
    return passport_incomplete(
        "the key that signed this print, which was lost with a vault,",
        hint="log and chain tell of the part: platemark audit part",
    )
