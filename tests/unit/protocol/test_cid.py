import hashlib
import tracemalloc
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from golden import cases
from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol import cid
from platemark.protocol.cid import (
    Block,
    Cid,
    Codec,
    directory_blocks,
    links_of,
    raw_block,
    raw_cid,
    read_file,
    unixfs_blocks,
    unixfs_cid,
)

MIB = 1 << 20


def keystream(size: int, seed: str) -> Iterator[bytes]:
    """Yield the content of Kubo's fixtures: ChaCha20's stream under the seed's SHA-256, with a zero nonce."""
    cipher = Cipher(ChaCha20(hashlib.sha256(seed.encode()).digest(), bytes(16)), None).encryptor()
    zeros = bytes(MIB)
    for _ in range(size // MIB):
        yield cipher.update(zeros)
    yield cipher.update(zeros[: size % MIB])


def pattern(size: int) -> bytes:
    return bytes((i + (i >> 8) + (i >> 16)) % 251 for i in range(size))


def store(blocks: list[Block]) -> dict[Cid, bytes]:
    return {block.cid: block.data for block in blocks}


def node(*links: tuple[Cid, int, int]) -> Block:
    data = cid._node_bytes([cid._Link(*link) for link in links])
    return Block(Cid(Codec.DAG_PB, cid._digest(data)), data)


@pytest.mark.parametrize("case", cases("published_cid", "files"))
def test_files_have_the_identifiers_that_others_published(case: dict[str, str]) -> None:
    assert unixfs_cid([case["text"].encode()]).text == case["cid"]


@pytest.mark.parametrize("case", cases("published_cid", "keystreams"))
def test_large_files_have_the_identifiers_of_kubos_fixtures(case: dict[str, str | int]) -> None:
    assert unixfs_cid(keystream(int(case["size"]), str(case["seed"]))).text == case["cid"]


@pytest.mark.parametrize("case", cases("cid", "shapes"))
def test_trees_keep_their_shape(case: dict[str, str | int]) -> None:
    size, leaf, links = int(case["size"]), int(case["leafBytes"]), int(case["maxLinks"])
    blocks = list(unixfs_blocks([pattern(size)], leaf_bytes=leaf, max_links=links))
    assert (len(blocks), blocks[-1].cid.text, blocks[-1].data.hex()) == (case["blocks"], case["root"], case["rootData"])


def test_a_full_level_gets_a_parent_only_when_a_further_leaf_comes() -> None:
    full = list(unixfs_blocks([bytes(1024)], leaf_bytes=1))
    more = list(unixfs_blocks([bytes(1025)], leaf_bytes=1))
    assert [block.cid.codec for block in full].count(Codec.DAG_PB) == 1
    assert len(links_of(full[-1])) == 1024
    assert [block.cid.codec for block in more].count(Codec.DAG_PB) == 3
    assert len(links_of(more[-1])) == 2
    by_id = store(more)
    first, second = links_of(more[-1])
    assert (len(links_of(Block(first, by_id[first]))), len(links_of(Block(second, by_id[second])))) == (1024, 1)


def test_children_come_before_their_parents() -> None:
    seen: set[Cid] = set()
    for block in unixfs_blocks([pattern(100)], leaf_bytes=3, max_links=3):
        assert seen.issuperset(links_of(block))
        seen.add(block.cid)


def test_pieces_of_any_size_give_the_same_blocks() -> None:
    data = pattern(1000)
    whole = list(unixfs_blocks([data], leaf_bytes=64, max_links=4))
    pieces = [b"", data[:1], data[1:63], data[63:500], b"", data[500:]]
    assert list(unixfs_blocks(pieces, leaf_bytes=64, max_links=4)) == whole


def test_memory_does_not_grow_with_the_file() -> None:
    piece = bytes(MIB)
    tracemalloc.start()
    for _ in unixfs_blocks(piece for _ in range(64)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB


@pytest.mark.parametrize("leaf_bytes, max_links", [(0, 2), (1, 1)])
def test_impossible_trees_are_refused(leaf_bytes: int, max_links: int) -> None:
    with pytest.raises(UsageError):
        list(unixfs_blocks([b"x"], leaf_bytes=leaf_bytes, max_links=max_links))


def test_identifiers_survive_text_and_bytes() -> None:
    for codec in Codec:
        made = Cid(codec, cid._digest(b"x"))
        assert Cid.parse(made.text) == Cid.from_bytes(made.to_bytes()) == made
        assert str(made) == made.text
        assert len(made.text) == 59


@pytest.mark.parametrize("case", cases("published_cid", "invalid"))
def test_other_identifiers_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError) as caught:
        Cid.parse(case["text"])
    assert caught.value.code == "cid"


def test_what_is_no_text_is_no_identifier() -> None:
    with pytest.raises(MalformedError):
        Cid.parse(None)


def test_binary_identifiers_are_read_strictly() -> None:
    good = raw_cid(b"x").to_bytes()
    for bad in (
        good[:-1],
        good + b"\0",
        b"\0" + good[1:],
        b"\1\x71" + good[2:],
        good[:2] + b"\x13\x20" + good[4:],
        b"",
    ):
        with pytest.raises(MalformedError):
            Cid.from_bytes(bad)


def test_a_block_is_checked_against_its_identifier() -> None:
    raw_cid(b"good").check(b"good")
    with pytest.raises(VerificationError) as caught:
        raw_cid(b"good").check(b"evil")
    assert (caught.value.code, caught.value.expected) == ("block-mismatch", raw_cid(b"good").text)
    assert caught.value.found == raw_cid(b"evil").text
    huge = bytes(2 * MIB + 1)
    with pytest.raises(MalformedError) as too_large:
        raw_cid(huge).check(huge)
    assert too_large.value.code == "too-large"


def test_a_single_block_has_at_most_one_mebibyte() -> None:
    assert raw_block(bytes(MIB)).cid == raw_cid(bytes(MIB))
    with pytest.raises(MalformedError):
        raw_block(bytes(MIB + 1))


@pytest.mark.parametrize("size", [0, 1, 4, 5, 12, 13, 37, 500])
def test_reading_gives_the_file_back(size: int) -> None:
    blocks = list(unixfs_blocks([pattern(size)], leaf_bytes=4, max_links=3))
    known = store(blocks)
    assert b"".join(read_file(blocks[-1].cid, known.__getitem__, max_bytes=size)) == pattern(size)


@pytest.mark.parametrize("size", [4, 13, 37])
def test_reading_refuses_a_larger_file_before_its_leaves(size: int) -> None:
    blocks = list(unixfs_blocks([pattern(size)], leaf_bytes=4, max_links=3))
    known = store(blocks)
    asked: list[Cid] = []

    def get(wanted: Cid) -> bytes:
        asked.append(wanted)
        return known[wanted]

    with pytest.raises(MalformedError) as caught:
        list(read_file(blocks[-1].cid, get, max_bytes=size - 1))
    assert caught.value.code == "too-large"
    assert asked == [blocks[-1].cid]


def test_reading_checks_each_block_before_using_it() -> None:
    blocks = list(unixfs_blocks([pattern(37)], leaf_bytes=4, max_links=3))
    known = store(blocks)
    for victim in known:
        forged = {**known, victim: bytes([known[victim][0] ^ 1]) + known[victim][1:]}
        with pytest.raises(VerificationError):
            list(read_file(blocks[-1].cid, forged.__getitem__, max_bytes=100))


def test_reading_refuses_sizes_that_are_not_true() -> None:
    leaf = raw_cid(b"four")
    inner = node((leaf, 4, 4))
    known = {leaf: b"four", inner.cid: inner.data}
    for liar in (node((leaf, 3, 4)), node((leaf, 5, 4)), node((inner.cid, 3, 60)), node((inner.cid, 5, 60))):
        with pytest.raises(MalformedError) as caught:
            list(read_file(liar.cid, {**known, liar.cid: liar.data}.__getitem__, max_bytes=100))
        assert caught.value.code == "block-invalid"


def test_reading_refuses_a_tower_of_nodes() -> None:
    top = raw_block(b"x")
    known = {top.cid: top.data}
    for _ in range(9):
        top = node((top.cid, 1, 1))
        known[top.cid] = top.data
    assert len(list(read_file(links_of(top)[0], known.__getitem__, max_bytes=1))) == 1
    with pytest.raises(MalformedError):
        list(read_file(top.cid, known.__getitem__, max_bytes=1))


def test_reading_refuses_children_without_bytes() -> None:
    empty = raw_block(b"")
    bomb = node((empty.cid, 0, 0))
    with pytest.raises(MalformedError):
        list(read_file(bomb.cid, {empty.cid: b"", bomb.cid: bomb.data}.__getitem__, max_bytes=100))


@pytest.mark.parametrize("case", cases("published_cid", "invalidNodes"))
def test_other_nodes_are_refused(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["data"])
    with pytest.raises(MalformedError) as caught:
        links_of(Block(Cid(Codec.DAG_PB, cid._digest(data)), data))
    assert caught.value.code == case["code"]


def test_a_node_with_more_links_than_the_profile_allows_is_refused() -> None:
    leaf = raw_cid(b"x")
    assert len(links_of(node(*[(leaf, 1, 1)] * 1024))) == 1024
    with pytest.raises(MalformedError):
        links_of(node(*[(leaf, 1, 1)] * 1025))


def test_every_altered_byte_of_a_node_is_read_as_it_stands_or_refused() -> None:
    def again(data: bytes) -> bytes:
        try:
            return cid._node_bytes(cid._parse_node(data))
        except MalformedError:
            return data

    good = node((raw_cid(b"a"), 1, 1), (raw_cid(b"b"), 300, 300)).data
    for at in range(len(good)):
        altered = good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :]
        assert again(altered) == altered


def directory(files: dict[str, bytes]) -> list[Block]:
    cids = {path: raw_cid(data) for path, data in files.items()}
    return list(directory_blocks(cids, {path: len(data) for path, data in files.items()}))


def test_directories_have_the_identifiers_that_kubo_gives_them() -> None:
    """Of `ipfs add -r --cid-version=1 --raw-leaves` of such a folder; the empty one is published everywhere."""
    assert directory({})[0].cid.text == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    files = {"checkpoint": b"c", "tile/0/000": b"t" * 300, "tile/0/000.p/5": b"p", "tile/entries/000": b"e", "ä": b""}
    blocks = directory(files)
    assert len(blocks) == 5
    assert blocks[-1].cid.text == "bafybeiajvjsfdvooptzen425ipewlsludtvcb2h7j4lkahcgyxs2ydqzeu"
    assert directory(dict(reversed(files.items())))[-1] == blocks[-1]


@pytest.mark.parametrize("paths", [["a", "a/b"], ["a/b", "a"], ["a//b"], ["/a"], ["a/"], [""]])
def test_what_is_no_path_of_a_file_is_in_no_directory(paths: list[str]) -> None:
    with pytest.raises(UsageError):
        directory(dict.fromkeys(paths, b""))


def test_a_directory_of_more_names_than_a_block_holds_is_refused() -> None:
    with pytest.raises(MalformedError, match="larger than a block"):
        directory({f"{number:060d}": b"" for number in range(11_000)})


def test_a_directory_is_no_file() -> None:
    root = directory({"a": b"a"})[-1]
    with pytest.raises(MalformedError):
        links_of(root)
