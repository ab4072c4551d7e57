"""Time and randomness that a test moves by hand."""

import hashlib
import uuid

from platemark.protocol.units import UnixSeconds


class ManualClock:
    """Implements `Clock`; stands still until it is moved."""

    def __init__(self, now: int = 1_800_000_000) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> UnixSeconds:
        """Return the time that was set."""
        return UnixSeconds(self._now)

    def monotonic(self) -> float:
        """Return the seconds moved so far."""
        return self._monotonic

    def forward(self, seconds: int) -> None:
        """Move on."""
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: int) -> None:
        """Set the time of day ahead or back, as an operator does; durations are measured on."""
        self._now += seconds


class SeededRandomness:
    """Implements `Randomness`: the same seed gives the same bytes; never the same bytes twice."""

    def __init__(self, seed: str = "seed") -> None:
        self._seed = seed.encode()
        self._count = 0

    def token_bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        self._count += 1
        return hashlib.shake_256(self._seed + self._count.to_bytes(8, "big")).digest(count)

    def new_id(self) -> uuid.UUID:
        """Return the next identifier; ascending."""
        self._count += 1
        return uuid.UUID(int=self._count << 64 | 0x7 << 76 | 0x2 << 62)
