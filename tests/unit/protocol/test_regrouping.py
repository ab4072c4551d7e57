"""Streams are cut anew without losing, adding or moving a byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platemark.protocol.regrouping import regrouped


@given(
    st.lists(st.binary(max_size=40), max_size=12),
    st.integers(min_value=1, max_value=30),
    st.integers(min_value=1, max_value=30),
)
def test_pieces_are_full_but_the_last_and_make_the_same_bytes(chunks: list[bytes], first: int, later: int) -> None:
    found = list(regrouped(chunks, first=first, later=later))
    pieces = [piece for piece, _ in found]
    assert b"".join(pieces) == b"".join(chunks)
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    assert [len(piece) for piece in pieces[:-1]] == [first, *[later] * len(pieces)][: len(pieces) - 1]
    assert 0 <= len(pieces[-1]) <= (first if len(pieces) == 1 else later)
    assert (not pieces[-1]) == (not any(chunks))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_whole_chunks_pass_as_bytes(kind: type) -> None:
    found = [piece for piece, _ in regrouped([kind(b"12345678"), kind(b"abcdefgh")], first=8, later=8)]
    assert found == [b"12345678", b"abcdefgh"]
    assert all(type(piece) is bytes for piece in found)


def test_a_chunk_of_the_right_length_is_not_copied() -> None:
    chunk = bytes(8)
    assert next(regrouped([chunk, b"more"], first=8, later=8))[0] is chunk
