"""What this slice refuses."""

from platemark.protocol.units import Address, address_text
from platemark_gateway.errors import ConflictError, NotFoundError, UnavailableError


def token_unknown() -> NotFoundError:
    """Return: there is no such token here."""
    return NotFoundError("this gateway has no such print token", code="token-unknown")


def license_unknown() -> NotFoundError:
    """Return: there is no such licence of this gateway."""
    return NotFoundError("this gateway serves no such licence", code="license-unknown")


def license_moved(gateway: Address) -> ConflictError:
    """Return: another gateway serves the licence now."""
    return ConflictError(
        f"the licence is served by the gateway {address_text(gateway)}",
        code="license-moved",
        hint="reserve with the gateway that serves it now",
        expected=address_text(gateway),
    )


def token_stopped() -> ConflictError:
    """Return: the holder stopped it."""
    return ConflictError("the holder stopped this token", code="token-stopped")


def token_closed() -> ConflictError:
    """Return: it is closed, or about to be."""
    return ConflictError("this token is closed, or its close is under way", code="token-closed")


def token_expired() -> ConflictError:
    """Return: its time is over."""
    return ConflictError("the token has expired, or is in its last hour", code="token-expired")


def token_bound() -> ConflictError:
    """Return: it was issued to another recipient key."""
    return ConflictError(
        "the token was issued to another recipient key",
        code="token-issued",
        hint="derive the keys from the agent's seed and the permission's salt again",
    )


def token_lost() -> ConflictError:
    """Return: it was encrypted for a vault that is lost."""
    return ConflictError("the token was lost with the gateway's vault", code="token-lost")


def revision_recalled() -> ConflictError:
    """Return: the design's owner recalled the revision."""
    return ConflictError("this revision was recalled by its owner", code="revision-recalled")


def quarantine(reason: str) -> UnavailableError:
    """Return: the print log must be put right first."""
    return UnavailableError(
        f"the gateway releases nothing until its log is put right: {reason}",
        code="quarantine",
        retry_after_seconds=60,
    )


def log_closed() -> UnavailableError:
    """Return: the print log was never opened."""
    return quarantine("the log was not opened yet")
