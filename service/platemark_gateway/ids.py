"""Identifiers and randomness as an argument."""

import secrets
import uuid
from typing import Protocol

from platemark_gateway.clock import Clock


class Randomness(Protocol):
    """Whoever draws random bytes and makes identifiers of rows."""

    def token_bytes(self, count: int) -> bytes:
        """Return `count` unpredictable bytes."""
        ...

    def new_id(self) -> uuid.UUID:
        """Return a new identifier of a row; later ones sort after earlier ones, to the millisecond."""
        ...


class SystemRandomness:
    """The operating system's randomness; identifiers are UUIDs of version 7.

    Source: RFC 9562, section 5.7.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def token_bytes(self, count: int) -> bytes:
        """Return `count` bytes of the operating system's generator."""
        return secrets.token_bytes(count)

    def new_id(self) -> uuid.UUID:
        """Return a UUID of version 7: 48 bits of milliseconds, then random bits."""
        value = (self._clock.now() * 1000) << 80 | int.from_bytes(secrets.token_bytes(10), "big")
        value = value & ~(0xF << 76) | 0x7 << 76
        value = value & ~(0x3 << 62) | 0x2 << 62
        return uuid.UUID(int=value)
