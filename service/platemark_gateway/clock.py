"""Time as an argument: logic asks a clock that it was given, never the machine."""

import time
from typing import Protocol

from platemark.protocol.units import UnixSeconds


class Clock(Protocol):
    """Whoever knows what time it is."""

    def now(self) -> UnixSeconds:
        """Return the time of day, Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, for deadlines and durations; the zero means nothing."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> UnixSeconds:
        """Return the machine's time, Unix seconds."""
        return UnixSeconds(int(time.time()))

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()


def chain_now(clock: Clock, head_timestamp: UnixSeconds) -> UnixSeconds:
    """Return "now" for rules that a contract will check too: the later of the clock and the head block."""
    return max(clock.now(), head_timestamp)


def is_over(since: UnixSeconds, seconds: int, now: UnixSeconds) -> bool:
    """Return whether so many seconds have passed since then; also when the clock has gone back to before it.

    For pauses only, which may be cut short: a clock that was far ahead for a moment must not make anything wait.
    """
    return not since <= now < since + seconds
