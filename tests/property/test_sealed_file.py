from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from platemark.errors import DataError
from platemark.protocol import sealed_file
from platemark.protocol.sealed_file import open_sealed, seal, sealed_bytes

KEY = bytes(range(32))
SMALL = 128  # segments of 128 bytes, so that small files have many of them

small_segments = patch.multiple(
    sealed_file, SEGMENT_BYTES=SMALL, _FIRST_PLAIN_BYTES=SMALL - 56, _PLAIN_BYTES=SMALL - 16
)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return `data` cut at the given places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[low:high] for low, high in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.binary(max_size=1000), st.lists(st.integers(0, 2000), max_size=8), st.lists(st.integers(0, 2000), max_size=8))
def test_any_file_opens_again_however_it_is_cut(data: bytes, before: list[int], after: list[int]) -> None:
    with small_segments:
        sealed = b"".join(seal(KEY, pieces_of(data, before)))
        assert len(sealed) == sealed_bytes(len(data))
        assert b"".join(open_sealed(KEY, pieces_of(sealed, after))) == data


def opened(sealed: bytes) -> tuple[bytes, bool]:
    """Return what came out and whether the file ended well."""
    out = bytearray()
    try:
        for part in open_sealed(KEY, [sealed]):
            out += part
    except DataError:
        return bytes(out), False
    return bytes(out), True


@given(st.binary(max_size=600), st.data())
def test_one_flipped_bit_is_noticed_and_what_came_before_is_genuine(content: bytes, data: st.DataObject) -> None:
    with small_segments:
        sealed = bytearray(b"".join(seal(KEY, [content])))
        at = data.draw(st.integers(0, len(sealed) * 8 - 1))
        sealed[at // 8] ^= 1 << at % 8
        out, whole = opened(bytes(sealed))
    assert not whole
    assert content.startswith(out)


@given(st.binary(max_size=600), st.data())
def test_a_cut_file_is_noticed(content: bytes, data: st.DataObject) -> None:
    with small_segments:
        sealed = b"".join(seal(KEY, [content]))
        length = data.draw(st.integers(0, len(sealed) - 1))
        out, whole = opened(sealed[:length])
    assert not whole
    assert content.startswith(out)


@given(st.binary(max_size=600), st.binary(min_size=1, max_size=300))
def test_a_lengthened_file_is_noticed(content: bytes, more: bytes) -> None:
    with small_segments:
        out, whole = opened(b"".join(seal(KEY, [content])) + more)
    assert not whole
    assert content.startswith(out)


@given(st.binary(min_size=300, max_size=1000), st.data())
def test_segments_in_any_other_order_are_noticed(content: bytes, data: st.DataObject) -> None:
    with small_segments:
        sealed = b"".join(seal(KEY, [content]))
        segments = [sealed[at : at + SMALL] for at in range(0, len(sealed), SMALL)]
        order = data.draw(st.lists(st.sampled_from(range(len(segments))), max_size=len(segments) + 1))
        out, whole = opened(b"".join(segments[number] for number in order))
    assert whole == (order == list(range(len(segments))))
    assert content.startswith(out)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert opened(data) == (b"", False)
