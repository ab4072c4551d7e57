"""Which key may have signed a statement that no anchor covers: the one the chain declared when it was made."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

import sample_documents as sample
from platemark.errors import VerificationError
from platemark.protocol.jws import SigningKey
from platemark.protocol.profile import GatewayProfile
from platemark.verify.keys import KeyHistory
from simulators.print_desk import gateway_fact

KEYS = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
FIRST, SECOND, THIRD = (replace(sample.PROFILE, release_key=key.public_bytes) for key in KEYS)
MOVED = replace(FIRST, url="https://moved.example")
IN_EPOCH_2 = SECOND.in_epoch(2)
ROTATED = ((FIRST, 10), (SECOND, 20), (THIRD, 30))
Declared = Sequence[tuple[GatewayProfile | None, int]]


def history(declared: Declared, at_hand: Sequence[GatewayProfile] = (FIRST, SECOND, THIRD)) -> KeyHistory:
    known = {profile.digest(): profile for profile in (*at_hand, MOVED, IN_EPOCH_2)}
    return KeyHistory(gateway_fact(sample.PROFILE.gateway, declared), known.get)


def profiles_of(key: SigningKey, declared: Declared, since: int) -> list[GatewayProfile]:
    return history(declared).profiles_of(sample.RELEASE.sign(key), since=since)


def refused(key: SigningKey, declared: Declared, since: int) -> str:
    with pytest.raises(VerificationError) as found:
        profiles_of(key, declared, since)
    return found.value.code


@pytest.mark.parametrize(
    "key, declared, since, profile",
    [
        (KEYS[0], ROTATED[:1], 15, FIRST),  # current
        (KEYS[0], ROTATED[:2], 15, FIRST),  # replaced once since
        (KEYS[0], ROTATED, 15, FIRST),  # replaced twice since
        (KEYS[1], ROTATED, 25, SECOND),  # between two rotations
        (KEYS[1], ROTATED, 15, SECOND),  # asked for before it was declared
        (KEYS[2], ROTATED, 15, THIRD),
        (KEYS[0], ROTATED, 20, FIRST),  # the block in which one gives way belongs to both
    ],
)
def test_a_key_speaks_for_what_was_asked_for_before_it_gave_way(
    key: SigningKey, declared: Declared, since: int, profile: GatewayProfile
) -> None:
    assert profiles_of(key, declared, since) == [profile]


@pytest.mark.parametrize(
    "declared, since",
    [
        (ROTATED[:2], 21),
        (ROTATED, 31),
        (((FIRST, 10), (None, 20)), 21),  # withdrawn
        (((FIRST, 10), (SECOND, 20), (FIRST, 20), (None, 22)), 25),
    ],
)
def test_a_key_that_gave_way_or_was_withdrawn_says_nothing_any_more(declared: Declared, since: int) -> None:
    assert refused(KEYS[0], declared, since) == "profile-replaced"


def test_a_key_that_was_never_declared_is_refused() -> None:
    assert refused(SigningKey(b"\x09" * 32), ROTATED, 15) == "release-key"
    assert refused(KEYS[0], (), 15) == "release-key"


def test_a_profile_that_nobody_has_lends_no_key() -> None:
    with pytest.raises(VerificationError) as found:
        history(ROTATED, [THIRD]).profiles_of(sample.RELEASE.sign(KEYS[1]), since=25)
    assert found.value.code == "release-key"


def test_a_profile_of_another_gateway_or_epoch_lends_no_key() -> None:
    assert refused(KEYS[1], ((FIRST, 10), (replace(IN_EPOCH_2, url="https://other.example"), 20)), 15) == "release-key"
    foreign = history(ROTATED)
    foreign = replace(foreign, gateway=replace(foreign.gateway, gateway=sample.AGENT.address))
    with pytest.raises(VerificationError) as found:
        foreign.profiles_of(sample.RELEASE.sign(KEYS[0]), since=15)
    assert found.value.code == "release-key"


def test_a_key_that_outlasts_its_profile_speaks_under_each_the_newest_first() -> None:
    declared = ((FIRST, 10), (MOVED, 20), (THIRD, 30))
    assert profiles_of(KEYS[0], declared, 25) == [MOVED, FIRST]
    assert refused(KEYS[0], declared, 31) == "profile-replaced"
