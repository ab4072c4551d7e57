import pytest

from platemark.protocol.moments import moment_text, rfc3339
from platemark.protocol.units import UnixSeconds


def test_moments_are_in_utc() -> None:
    assert moment_text(UnixSeconds(1_700_000_000)) == "2023-11-14 22:13:20 UTC"
    assert rfc3339(UnixSeconds(1_700_000_000)) == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("time", [2**63, -(2**80), 10**12])
def test_moment_that_no_calendar_has_is_told_as_a_number(time: int) -> None:
    assert moment_text(UnixSeconds(time)) == f"the impossible time {time}"
