import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from golden import cases, golden
from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol import merkle, tiles
from platemark.protocol.tiles import (
    ENTRIES,
    Edge,
    LogReader,
    Tile,
    decode_entries,
    encode_entries,
    grow,
    root_from_tiles,
    tiles_between,
)
from platemark.protocol.units import Digest32

SIZE = 66_000


def entry(index: int) -> bytes:
    return b"entry %d\n" % index


def root_of(size: int) -> Digest32:
    return merkle.tree_head(merkle.leaf_hash(entry(index)) for index in range(size))


def log(*sizes: int) -> dict[str, bytes]:
    """Return the files of a log that grew to these sizes, one after the other."""
    edge = Edge.empty()
    files: dict[str, bytes] = {}
    for size in sizes:
        grown = grow(edge, [entry(index) for index in range(edge.size, size)])
        assert not files.keys() & grown.files.keys()
        files.update(grown.files)
        edge = grown.edge
    return files


@pytest.fixture(scope="module")
def large() -> Mapping[str, bytes]:
    return log(1000, SIZE)


def nothing(path: str) -> bytes | None:
    return None


def without(files: Mapping[str, bytes], *paths: str) -> Callable[[str], bytes | None]:
    return {path: data for path, data in files.items() if path not in paths}.get


def with_(files: Mapping[str, bytes], path: str, data: bytes) -> Callable[[str], bytes | None]:
    assert path in files
    return {**files, path: data}.get


@pytest.mark.parametrize("case", cases("published_tiles", "paths"))
def test_paths_are_those_of_the_specification(case: dict[str, Any]) -> None:
    level = ENTRIES if case["level"] == "entries" else case["level"]
    tile = Tile(level, case["number"], case["width"])
    assert tile.path == case["path"]
    assert Tile.parse(case["path"]) == tile


@pytest.mark.parametrize("case", cases("published_tiles", "invalidPaths"))
def test_other_paths_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError) as caught:
        Tile.parse(case["path"])
    assert caught.value.code == "log-tile"


def test_three_entries_give_the_files_that_other_implementations_write() -> None:
    vector = golden("published_tiles")["threeEntries"]
    grown = grow(Edge.empty(), [entry(index) for index in range(3)])
    assert grown.root.hex() == vector["root"]
    assert {path: hashlib.sha256(data).hexdigest() for path, data in grown.files.items()} == vector["sha256"]


@pytest.mark.parametrize("case", cases("tiles", "logs"))
def test_logs_are_as_they_were(case: dict[str, Any]) -> None:
    files = log(*case["sizes"])
    names = hashlib.sha256()
    for path in sorted(files):
        names.update(path.encode() + b"\n" + hashlib.sha256(files[path]).digest())
    assert len(files) == case["files"]
    assert names.hexdigest() == case["filesSha256"]
    assert root_from_tiles(case["sizes"][-1], files.get).hex() == case["root"]


def test_files_at_full_tiles_have_no_empty_ones_beside_them() -> None:
    assert set(log(256)) == {"tile/0/000", "tile/1/000.p/1", "tile/entries/000"}
    assert len(log(256)["tile/0/000"]) == tiles.TILE_BYTES


def test_growing_in_steps_gives_the_same_log_as_at_once() -> None:
    steps, once = log(1, 3, 255, 256, 257, 511, 700), log(700)
    assert once.items() <= steps.items()
    assert root_from_tiles(700, steps.get) == root_of(700)


def test_growing_by_nothing_changes_nothing() -> None:
    edge = grow(Edge.empty(), [entry(index) for index in range(300)]).edge
    grown = grow(edge, [])
    assert (grown.edge, grown.files, grown.root) == (edge, {}, root_of(300))
    assert grow(Edge.empty(), []).root == merkle.EMPTY_ROOT


@pytest.mark.parametrize("old, new", [(0, 0), (0, 1), (3, 256), (255, 257), (256, 512), (300, 300), (1000, 66_000)])
def test_growth_writes_exactly_what_is_new_between_two_sizes(old: int, new: int) -> None:
    edge = grow(Edge.empty(), [entry(index) for index in range(old)]).edge
    grown = grow(edge, [entry(index) for index in range(old, new)])
    paths = [tile.path for tile in tiles_between(old, new)]
    assert len(paths) == len(set(paths))
    assert set(paths) == set(grown.files)


def test_a_log_does_not_shrink() -> None:
    with pytest.raises(UsageError):
        list(tiles_between(3, 2))


def test_a_log_has_an_end() -> None:
    with pytest.raises(MalformedError) as caught:
        grow(Edge(tiles.MAX_SIZE, (), ()), [b""])
    assert caught.value.code == "too-large"


def test_bundles_survive_their_bytes() -> None:
    entries = [b"", b"x", bytes(65_535)]
    assert decode_entries(encode_entries(entries), 3) == entries
    with pytest.raises(MalformedError) as caught:
        encode_entries([bytes(65_536)])
    assert caught.value.code == "log-entry"


@pytest.mark.parametrize("case", cases("published_tiles", "invalidBundles"))
def test_other_bundles_are_refused(case: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as caught:
        decode_entries(bytes.fromhex(case["data"]), case["width"])
    assert caught.value.code == "log-tile"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 1000, SIZE])
def test_the_edge_is_found_again_in_the_files(size: int) -> None:
    grown = grow(Edge.empty(), [entry(index) for index in range(size)])
    assert Edge.load(size, grown.files.get) == grown.edge


def test_an_edge_whose_entries_are_not_those_of_its_tile_is_refused() -> None:
    files = log(3)
    forged = encode_entries([entry(0), entry(1), b"forged"])
    with pytest.raises(VerificationError):
        Edge.load(3, with_(files, "tile/entries/000.p/3", forged))


@pytest.mark.parametrize("size", [-1, tiles.MAX_SIZE + 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(MalformedError):
        root_from_tiles(size, nothing)
    with pytest.raises(MalformedError):
        LogReader(size, merkle.EMPTY_ROOT, nothing)


def test_an_empty_log_needs_no_files() -> None:
    reader = LogReader(0, merkle.EMPTY_ROOT, nothing)
    assert list(reader.entries()) == []
    assert root_from_tiles(0, nothing) == reader.old_root(0) == merkle.EMPTY_ROOT


def test_the_reader_gives_entries_hashes_and_proofs(large: Mapping[str, bytes]) -> None:
    root = root_of(SIZE)
    reader = LogReader(SIZE, root, large.get)
    assert list(reader.entries()) == [entry(index) for index in range(SIZE)]
    for index in (0, 255, 256, 65_535, 65_536, 65_791, 65_792, SIZE - 1):
        assert reader.entry(index) == entry(index)
        assert reader.leaf_hash(index) == merkle.leaf_hash(entry(index))
        merkle.verify_inclusion(reader.leaf_hash(index), index, SIZE, reader.inclusion_proof(index), root)
    for old in (0, 1, 255, 256, 1000, 65_535, 65_536, 65_537, SIZE):
        assert reader.old_root(old) == root_of(old)
        merkle.verify_consistency(old, reader.old_root(old), SIZE, root, reader.consistency_proof(old))


@pytest.mark.parametrize("size", [1, 2, 3, 100, 255, 256, 257, 300, 511, 512, 513])
def test_proofs_from_tiles_are_those_from_leaves(size: int) -> None:
    leaves = [merkle.leaf_hash(entry(index)) for index in range(size)]
    reader = LogReader(size, merkle.tree_head(leaves), log(size).get)
    for index in range(0, size, 7):
        assert reader.inclusion_proof(index) == merkle.inclusion_proof(index, leaves)
        old = (index + size + 1) // 2
        if index < old:
            assert reader.inclusion_proof(index, old) == merkle.inclusion_proof(index, leaves[:old])
    for old in range(0, size + 1, 5):
        assert reader.consistency_proof(old) == merkle.consistency_proof(old, leaves)


@pytest.mark.parametrize("start, end", [(0, 0), (0, 1), (250, 260), (256, 512), (600, 700), (700, 700)])
def test_the_reader_gives_parts_of_the_log(start: int, end: int) -> None:
    reader = LogReader(700, root_of(700), log(700).get)
    assert list(reader.entries(start, end)) == [entry(index) for index in range(start, end)]


@pytest.mark.parametrize("start, end", [(-1, 3), (3, 2), (0, 701)])
def test_the_reader_refuses_what_is_outside(start: int, end: int) -> None:
    reader = LogReader(700, root_of(700), log(700).get)
    with pytest.raises(UsageError):
        list(reader.entries(start, end))
    for index in (-1, 700):
        with pytest.raises(UsageError):
            reader.entry(index)
        with pytest.raises(UsageError):
            reader.inclusion_proof(index)
        with pytest.raises(UsageError):
            reader.leaf_hash(index)
    for index, old in ((0, 701), (300, 300), (0, 0), (0, -1)):
        with pytest.raises(UsageError):
            reader.inclusion_proof(index, old)
    for size in (-1, 701):
        with pytest.raises(UsageError):
            reader.old_root(size)
        with pytest.raises(UsageError):
            reader.consistency_proof(size)


def test_another_root_is_refused_at_once() -> None:
    with pytest.raises(VerificationError) as caught:
        LogReader(700, root_of(699), log(700).get)
    assert caught.value.code == "log-root"


def test_a_smaller_size_is_read_from_the_full_tiles_that_came_later() -> None:
    files = log(3, 300, 600)
    kept = without(files, "tile/0/000.p/3", "tile/entries/000.p/3", "tile/0/001.p/44", "tile/entries/001.p/44")
    for size in (3, 300):
        reader = LogReader(size, root_of(size), kept)
        assert list(reader.entries()) == [entry(index) for index in range(size)]


def test_no_file_can_be_left_out_or_altered_unseen() -> None:
    """Each file of a log of 700 entries is left out, cut, lengthened and altered; reading everything fails."""
    files, root = log(700), root_of(700)
    read(files.get, root)
    for path, data in files.items():
        flipped = bytes([*data[:-1], data[-1] ^ 1])
        for forged in (without(files, path), *(with_(files, path, new) for new in (data[:-1], data + b"\0", flipped))):
            with pytest.raises((VerificationError, MalformedError)) as caught:
                read(forged, root)
            assert caught.value.code in {"log-tile", "log-root"}


def read(get_tile: Callable[[str], bytes | None], root: Digest32, size: int = 700) -> None:
    """Read every entry and every hash of the lowest level."""
    reader = LogReader(size, root, get_tile)
    list(reader.entries())
    for index in range(0, size, 100):
        reader.leaf_hash(index)


def test_tiles_with_bytes_after_them_are_refused_wherever_they_stand(large: Mapping[str, bytes]) -> None:
    root = root_of(SIZE)
    for path in ("tile/0/000", "tile/1/000", "tile/entries/000", "tile/entries/257.p/208"):
        reader_of = with_(large, path, large[path] + bytes(32))
        with pytest.raises(MalformedError) as caught:
            read(reader_of, root, SIZE)
        assert caught.value.code == "log-tile"


def test_a_full_tile_of_another_log_is_refused(large: Mapping[str, bytes]) -> None:
    swapped = with_(large, "tile/0/000", large["tile/0/001"])
    reader = LogReader(SIZE, root_of(SIZE), swapped)
    with pytest.raises(VerificationError) as caught:
        reader.leaf_hash(0)
    assert caught.value.code == "log-tile"
    upper = with_(large, "tile/1/000", large["tile/0/001"])
    with pytest.raises(VerificationError):
        LogReader(SIZE, root_of(SIZE), upper).leaf_hash(0)


def test_entries_are_never_given_before_their_bundle_was_checked() -> None:
    files = log(700)
    forged = encode_entries([b"forged", *(entry(index) for index in range(257, 512))])
    reader = LogReader(700, root_of(700), with_(files, "tile/entries/001", forged))
    given: list[bytes] = []
    with pytest.raises(VerificationError):
        given.extend(reader.entries())
    assert given == [entry(index) for index in range(256)]


def test_the_reader_keeps_a_bounded_number_of_tiles(large: Mapping[str, bytes]) -> None:
    asked: list[str] = []

    def get(path: str) -> bytes | None:
        asked.append(path)
        return large.get(path)

    reader = LogReader(SIZE, root_of(SIZE), get)
    for index in range(0, SIZE - 300, 256):
        reader.leaf_hash(index)
    assert len(reader._full) == tiles._CACHED_TILES
    asked.clear()
    reader.leaf_hash(0)
    assert asked == ["tile/0/000"]
    asked.clear()
    reader.leaf_hash(1)
    assert asked == []


def test_full_bundles_are_had_unchecked_with_the_head_that_their_entries_must_have() -> None:
    forged = encode_entries([b"forged"] * 256)
    reader = LogReader(700, root_of(700), with_(log(700), "tile/entries/001", forged))
    assert reader.unchecked_bundle(0) == (log(700)["tile/entries/000"], root_of(256))
    data, head = reader.unchecked_bundle(1)
    assert data == forged
    assert head == merkle.tree_head(merkle.leaf_hash(entry(index)) for index in range(256, 512))
    for number in (-1, 2):
        with pytest.raises(UsageError, match="no full bundle"):
            reader.unchecked_bundle(number)
