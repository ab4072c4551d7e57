"""The time by which signatures are dated: the later of this machine's clock and the chain's newest block."""

import time
from typing import Protocol

from platemark.protocol.units import UnixSeconds
from platemark.sdk.chain import ChainClient


class Clock(Protocol):
    """Something that knows the time."""

    def now(self) -> UnixSeconds:
        """Return Unix seconds."""
        ...


class WallClock:
    """This machine's clock."""

    def now(self) -> UnixSeconds:
        """Return Unix seconds."""
        return UnixSeconds(int(time.time()))


class ChainClock:
    """The later of a clock and the newest block that an endpoint knows."""

    def __init__(self, chain: ChainClient, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock

    def now(self) -> UnixSeconds:
        """Return Unix seconds; errors of the endpoint."""
        return max(self._clock.now(), self._chain.head().timestamp)
