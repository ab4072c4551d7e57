"""Time as an argument: logic asks a clock that it was given, never the machine."""

import time
from dataclasses import dataclass
from typing import Final, Protocol

from platemark.protocol.units import UnixSeconds

CLOCK_AHEAD: Final = "clock-ahead"
"""Code of a clock that is far ahead of the blocks that arrive."""
AHEAD_SECONDS: Final = 900
"""How far the clock may be ahead of the chain's head before nothing that cannot be undone rests on it."""


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


@dataclass(frozen=True, slots=True)
class StoppedClock:
    """Goes on saying what another clock said, so that what was judged by it is done by it."""

    moment: UnixSeconds
    seconds: float

    def now(self) -> UnixSeconds:
        """Return the time of day at which it stopped."""
        return self.moment

    def monotonic(self) -> float:
        """Return the monotonic seconds at which it stopped."""
        return self.seconds


def stopped(clock: Clock) -> StoppedClock:
    """Return a clock that has stopped at what this one says."""
    return StoppedClock(clock.now(), clock.monotonic())


def chain_now(clock: Clock, head_timestamp: UnixSeconds) -> UnixSeconds:
    """Return "now" for rules that a contract will check too: the later of the clock and the head block."""
    return max(clock.now(), head_timestamp)


def is_ahead(clock: Clock, head_timestamp: UnixSeconds) -> bool:
    """Return whether the clock is so far ahead of the head block that one of them is wrong, or the chain is silent."""
    return clock.now() - head_timestamp > AHEAD_SECONDS


def certain_now(clock: Clock, head_timestamp: UnixSeconds) -> UnixSeconds:
    """Return "now" for what cannot be undone: `chain_now`, but the head's time while the clock is far ahead of it."""
    return head_timestamp if is_ahead(clock, head_timestamp) else chain_now(clock, head_timestamp)


def is_over(since: UnixSeconds, seconds: int, now: UnixSeconds) -> bool:
    """Return whether so many seconds have passed since then; also when the clock has gone back to before it.

    For pauses only, which may be cut short: a clock that was far ahead for a moment must not make anything wait.
    """
    return not since <= now < since + seconds
