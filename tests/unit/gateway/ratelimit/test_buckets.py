import pytest

from platemark_gateway.errors import LimitedError
from platemark_gateway.ratelimit.buckets import Buckets
from simulators.clock import ManualClock


def allowed(buckets: Buckets, caller: str, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            buckets.spend(caller)
        except LimitedError:
            break
        count += 1
    return count


def test_as_many_as_the_bucket_holds_and_no_more() -> None:
    buckets = Buckets(ManualClock(), per_minute=60, tracked=16)
    assert allowed(buckets, "a", 100) == 60
    assert allowed(buckets, "b", 100) == 60


def test_the_bucket_refills_at_its_rate() -> None:
    clock = ManualClock()
    buckets = Buckets(clock, per_minute=60, tracked=16)
    allowed(buckets, "a", 100)
    clock.forward(5)
    assert allowed(buckets, "a", 100) == 5
    clock.forward(3600)
    assert allowed(buckets, "a", 100) == 60


def test_the_refusal_says_when_to_come_back() -> None:
    clock = ManualClock()
    buckets = Buckets(clock, per_minute=6, tracked=16)
    allowed(buckets, "a", 6)
    with pytest.raises(LimitedError) as caught:
        buckets.spend("a")
    assert (caught.value.code, caught.value.retry_after_seconds) == ("limit-requests", 10)
    clock.forward(10)
    buckets.spend("a")


def test_crowding_gives_nobody_a_fresh_bucket() -> None:
    clock = ManualClock()
    buckets = Buckets(clock, per_minute=2, tracked=16)
    for caller in range(16):
        assert allowed(buckets, str(caller), 5) == 2
    with pytest.raises(LimitedError):
        buckets.spend("one more")
    assert allowed(buckets, "3", 5) == 0
    clock.forward(60)
    assert allowed(buckets, "one more", 5) == 2
