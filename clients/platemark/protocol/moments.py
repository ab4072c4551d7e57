"""Times as text, in UTC: as people read them, and as RFC 3339 has them."""

from datetime import UTC, datetime
from typing import Final

from platemark.protocol.units import UnixSeconds

RFC_3339: Final = "%Y-%m-%dT%H:%M:%SZ"
"""To the second, with the offset `Z`."""


def moment_text(seconds: UnixSeconds) -> str:
    """Return a time as people read it, or as it stands where no calendar has it: a stranger may state any."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"the impossible time {seconds}"


def rfc3339(seconds: UnixSeconds) -> str:
    """Return a time that a calendar has as RFC 3339 does."""
    return datetime.fromtimestamp(seconds, UTC).strftime(RFC_3339)
