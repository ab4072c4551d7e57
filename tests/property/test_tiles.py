from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from platemark.errors import DataError
from platemark.protocol import merkle, tiles
from platemark.protocol.tiles import Edge, LogReader, Tile, decode_entries, encode_entries, grow, tiles_between
from platemark.protocol.units import Digest32


class GrowingLog(RuleBasedStateMachine):
    """A log that grows in batches of any size, beside the plain list of its entries."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = Edge.empty()
        self.files: dict[str, bytes] = {}
        self.entries: list[bytes] = []
        self.roots: dict[int, Digest32] = {0: merkle.EMPTY_ROOT}

    @rule(count=st.one_of(st.integers(0, 5), st.integers(200, 300), st.just(256), st.integers(500, 800)))
    def append(self, count: int) -> None:
        batch = [b"%d" % (len(self.entries) + index) for index in range(count)]
        grown = grow(self.edge, batch)
        assert not self.files.keys() & grown.files.keys()
        assert set(grown.files) == {tile.path for tile in tiles_between(self.edge.size, grown.edge.size)}
        self.files.update(grown.files)
        self.entries += batch
        self.edge = grown.edge
        self.roots[self.edge.size] = grown.root

    @rule()
    def restart(self) -> None:
        """The edge is found again in the files."""
        assert Edge.load(self.edge.size, self.files.get) == self.edge

    @rule(data=st.data())
    def read_an_old_size(self, data: st.DataObject) -> None:
        size = data.draw(st.sampled_from(sorted(self.roots)))
        reader = LogReader(size, self.roots[size], self.files.get)
        low = data.draw(st.integers(0, size))
        high = data.draw(st.integers(low, min(size, low + 300)))
        assert list(reader.entries(low, high)) == self.entries[low:high]

    @rule(data=st.data())
    def prove(self, data: st.DataObject) -> None:
        size = len(self.entries)
        reader = LogReader(size, self.roots[size], self.files.get)
        old = data.draw(st.sampled_from(sorted(self.roots)))
        proof = reader.consistency_proof(old)
        merkle.verify_consistency(old, self.roots[old], size, self.roots[size], proof)
        if size:
            index = data.draw(st.integers(0, size - 1))
            leaf = merkle.leaf_hash(self.entries[index])
            merkle.verify_inclusion(leaf, index, size, reader.inclusion_proof(index), self.roots[size])

    @invariant()
    def root_is_that_of_the_entries(self) -> None:
        assert self.edge.root() == merkle.tree_head(map(merkle.leaf_hash, self.entries))


GrowingLog.TestCase.settings = settings(max_examples=20, stateful_step_count=10, deadline=None)
TestGrowingLog = GrowingLog.TestCase


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_bundles_survive_their_bytes(entries: list[bytes]) -> None:
    assert decode_entries(encode_entries(entries), len(entries)) == entries


@given(st.binary(max_size=60), st.integers(0, 5))
def test_any_bytes_are_the_one_form_of_a_bundle_or_refused(data: bytes, width: int) -> None:
    try:
        again = encode_entries(decode_entries(data, width))
    except DataError:
        again = data
    assert again == data


@given(st.integers(-1, 63), st.integers(0, 10**12), st.integers(1, 256))
def test_paths_survive_reading(level: int, number: int, width: int) -> None:
    tile = Tile(level, number, width)
    assert Tile.parse(tile.path) == tile


@given(st.integers(0, 1 << 40), st.integers(0, 600))
def test_new_tiles_are_told_without_building_the_log(old: int, more: int) -> None:
    found = list(tiles_between(old, old + more))
    assert len(found) == len(set(found))
    assert all(1 <= tile.width <= tiles.TILE_WIDTH for tile in found)
