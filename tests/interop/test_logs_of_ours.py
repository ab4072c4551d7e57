"""Logs that are written here, before the checker that others' implementations make, and theirs before our reader."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from log_programs import check, write
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.checkpoint import Checkpoint, NoteSigner, open_checkpoint, private_key_text, sign_checkpoint
from platemark.protocol.tiles import Edge, LogReader, encode_entries, grow
from platemark.protocol.units import Digest32

pytestmark = pytest.mark.interop

ORIGIN = "log.example.test/platemark"
SEED = b"\x07" * 32
SIGNER = NoteSigner.from_seed(ORIGIN, SEED)
SIZE = 300

Files = dict[str, bytes]


def entry(index: int) -> bytes:
    return b"entry %d\n" % index


def files_of(*sizes: int) -> Files:
    """Return the files of a log that grew to these sizes, with the checkpoint of the last."""
    edge, files = Edge.empty(), Files()
    for size in sizes:
        growth = grow(edge, [entry(index) for index in range(edge.size, size)])
        files |= growth.files
        edge = growth.edge
    return files | {"checkpoint": sign_checkpoint(Checkpoint(ORIGIN, edge.size, edge.root()), SIGNER)}


def lay_out(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def read(folder: Path) -> list[bytes]:
    """Return a log's entries as our reader sees them, after every file of the tree was looked at."""

    def get(path: str) -> bytes | None:
        return (folder / path).read_bytes() if (folder / path).exists() else None

    checkpoint = open_checkpoint((folder / "checkpoint").read_bytes(), SIGNER.key)
    reader = LogReader(checkpoint.size, checkpoint.root, get)
    for index in range(reader.size):
        reader.leaf_hash(index)
    return list(reader.entries())


@pytest.mark.parametrize("sizes", [(), (1,), (3,), (255,), (256,), (257,), (1200,), (1, 3, 255, 257, 1200)], ids=str)
def test_others_accept_our_logs(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    folder = lay_out(tmp_path, files_of(*sizes))
    assert check(folder, SIGNER.key) is None
    assert len(read(folder)) == max(sizes, default=0)


def flipped(path: str, at: int) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        data = bytearray(files[path])
        data[at] ^= 1
        files[path] = bytes(data)

    return change


def gone(path: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        del files[path]

    return change


def longer(path: str, more: bytes) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[path] += more

    return change


def shorter(path: str, count: int) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[path] = files[path][:-count]

    return change


def swapped(files: Files) -> None:
    entries = [entry(index) for index in range(256, SIZE)]
    entries[3], entries[4] = entries[4], entries[3]
    files["tile/entries/001.p/44"] = encode_entries(entries)


def signed_by_another(files: Files) -> None:
    _sign(files, NoteSigner.from_seed(ORIGIN, b"\x08" * 32))


def another_root(files: Files) -> None:
    _sign(files, SIGNER, root=Digest32(b"\x05" * 32))


def another_size(files: Files) -> None:
    _sign(files, SIGNER, size=SIZE - 1)


def _sign(files: Files, signer: NoteSigner, *, size: int | None = None, root: Digest32 | None = None) -> None:
    now = open_checkpoint(files["checkpoint"], SIGNER.key)
    files["checkpoint"] = sign_checkpoint(Checkpoint(ORIGIN, size or now.size, root or now.root), signer)


CORRUPTIONS: Mapping[str, Callable[[Files], None]] = {
    "a full tile of hashes is changed": flipped("tile/0/000", 4000),
    "a partial tile of hashes is changed": flipped("tile/0/001.p/44", 64),
    "a tile of a higher level is changed": flipped("tile/1/000.p/1", 0),
    "an entry of a full bundle is changed": flipped("tile/entries/000", 1000),
    "an entry of a partial bundle is changed": flipped("tile/entries/001.p/44", 100),
    "two entries are swapped": swapped,
    "a full tile of hashes is missing": gone("tile/0/000"),
    "a partial tile of hashes is missing": gone("tile/0/001.p/44"),
    "a full bundle is missing": gone("tile/entries/000"),
    "a partial bundle is missing": gone("tile/entries/001.p/44"),
    "a bundle has bytes after its entries": longer("tile/entries/001.p/44", b"\x00"),
    "a full bundle has an entry too many": longer("tile/entries/000", encode_entries([b"more"])),
    "a bundle has an entry too many": longer("tile/entries/001.p/44", encode_entries([entry(SIZE)])),
    "a bundle ends early": shorter("tile/entries/001.p/44", 3),
    "a tile of hashes has bytes after them": longer("tile/0/001.p/44", b"\x00" * 32),
    "a tile of hashes ends early": shorter("tile/0/001.p/44", 32),
    "the checkpoint is missing": gone("checkpoint"),
    "another key signed": signed_by_another,
    "the root is another": another_root,
    "the size is another": another_size,
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_others_and_we_refuse_a_log_that_is_corrupt(tmp_path: Path, name: str) -> None:
    files = files_of(SIZE)
    CORRUPTIONS[name](files)
    folder = lay_out(tmp_path, files)
    assert check(folder, SIGNER.key) is not None
    with pytest.raises((VerificationError, MalformedError, FileNotFoundError)):
        read(folder)


def test_we_read_what_others_write_and_let_grow(tmp_path: Path) -> None:
    folder, secret = tmp_path / "log", private_key_text(ORIGIN, SEED)
    written: list[bytes] = []
    for low, high in ((0, 259), (259, 260)):
        inputs = tmp_path / f"from-{low}" / "inputs"
        inputs.mkdir(parents=True)
        for index in range(low, high):
            (inputs / f"{index:04}").write_bytes(entry(index))
            written.append(entry(index))
        write(folder, inputs, secret)
        assert sorted(read(folder)) == sorted(written)
        assert check(folder, SIGNER.key) is None
