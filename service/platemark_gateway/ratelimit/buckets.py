"""Token buckets in memory: how many requests a caller may make in a while.

A process keeps its own buckets, so several processes allow a multiple; what costs money is limited in the
database instead (`quotas.py`). When there are more callers than are tracked, the one seen longest ago is
forgotten, but only once its bucket is full again: crowding gives nobody a fresh bucket (it fails closed).
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from platemark_gateway.clock import Clock
from platemark_gateway.errors import Limit, LimitedError

REQUESTS: Final = "requests"


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """One bucket a caller: `per_minute` requests refill it, as many may come at once."""

    def __init__(self, clock: Clock, *, per_minute: int, tracked: int) -> None:
        self._clock = clock
        self.limit = Limit(REQUESTS, per_minute, 60)
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60
        self._tracked = tracked
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def left(self, caller: str) -> int:
        """Return how many requests a caller may make at once."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            return int(self._capacity)
        refilled = bucket.tokens + (self._clock.monotonic() - bucket.at) * self._per_second
        return int(min(self._capacity, refilled))

    def spend(self, caller: str) -> None:
        """Take one token of the caller's bucket.

        Errors: LimitedError `limit-requests` when there is none.
        """
        now = self._clock.monotonic()
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[caller] = _Bucket(self._capacity, now)
        else:
            bucket.tokens = min(self._capacity, bucket.tokens + (now - bucket.at) * self._per_second)
            bucket.at = now
            self._buckets.move_to_end(caller)
        if bucket.tokens < 1:
            wait = math.ceil((1 - bucket.tokens) / self._per_second)
            raise LimitedError(
                "too many requests", code="limit-requests", retry_after_seconds=max(1, wait), limit=self.limit
            )
        bucket.tokens -= 1

    def _make_room(self, now: float) -> None:
        if len(self._buckets) < self._tracked:
            return
        caller, oldest = next(iter(self._buckets.items()))
        if oldest.tokens + (now - oldest.at) * self._per_second < self._capacity:
            # Even the caller seen longest ago has not refilled: this is a flood, so nobody new is let in.
            raise LimitedError("too many callers", code="limit-requests", retry_after_seconds=60, limit=self.limit)
        del self._buckets[caller]
