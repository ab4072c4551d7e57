from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platemark.protocol.units import digest32
from platemark_gateway.chain.state_cache import Changes, StateCache

FRAMES: list[tuple[bytes, Changes]] = [
    (bytes([number]) * 32, {b"key" * number: b"value", b"gone": None, b"": b""}) for number in range(1, 4)
]


def write(path: Path) -> bytes:
    cache = StateCache(path)
    cache.open_after(0)
    for block_hash, changes in FRAMES:
        cache.append(digest32(block_hash), changes)
    cache.close()
    return path.read_bytes()


def test_frames_come_back_as_they_were(tmp_path: Path) -> None:
    write(tmp_path / "state")
    assert list(StateCache(tmp_path / "state").read()) == FRAMES


@given(data=st.data())
def test_any_damage_leaves_only_frames_before_it(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("cache") / "state"
    whole = write(path)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(st.sampled_from([whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]]))
    path.write_bytes(changed)
    found = list(StateCache(path).read())
    assert found == FRAMES[: len(found)]
    assert len(found) < len(FRAMES)
    again = StateCache(path)
    again.open_after(len(found))
    for block_hash, changes in FRAMES[len(found) :]:
        again.append(digest32(block_hash), changes)
    again.close()
    assert path.read_bytes() == whole


def test_absent_cache_is_empty(tmp_path: Path) -> None:
    assert list(StateCache(tmp_path / "absent").read()) == []


def test_unusable_cache_is_no_failure(tmp_path: Path) -> None:
    cache = StateCache(tmp_path)  # a folder
    assert list(cache.read()) == []
    cache.open_after(0)
    cache.append(digest32(bytes(32)), {b"a": b"b"})
    cache.close()
