import pytest

from platemark.protocol.car import write_car
from platemark.protocol.cid import raw_block


def test_a_car_has_the_bytes_of_its_specification() -> None:
    block = raw_block(b"hello")
    cid = block.cid.to_bytes()
    header = bytes.fromhex("a2 65 726f6f7473 81 d8 2a 5825 00") + cid + bytes.fromhex("67 76657273696f6e 01")
    assert b"".join(write_car([block.cid], [block])) == bytes([len(header)]) + header + bytes([41]) + cid + b"hello"


def test_a_car_without_roots_and_blocks_is_a_header() -> None:
    assert b"".join(write_car([], [])) == bytes.fromhex("11 a2 65 726f6f7473 80 67 76657273696f6e 01")


@pytest.mark.parametrize(
    "count, head",
    [(23, "97"), (24, "9818"), (255, "98ff"), (256, "990100"), (65_535, "99ffff"), (65_536, "9a00010000")],
)
def test_the_number_of_roots_is_in_its_shortest_form(count: int, head: str) -> None:
    data = next(iter(write_car([raw_block(b"").cid] * count, [])))
    at = data.index(b"roots") + 5
    assert data[at : at + len(head) // 2 + 1].hex() == head + "d8"


def test_lengths_are_varints() -> None:
    block = raw_block(bytes(1 << 20))
    _, head, data = write_car([], [block])
    length = (1 << 20) + 36
    assert head[:3] == bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
    assert data == block.data
