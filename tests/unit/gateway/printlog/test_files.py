from pathlib import Path

import pytest

from platemark.errors import MalformedError, VerificationError
from platemark.protocol.checkpoint import Checkpoint, NoteSigner, sign_checkpoint
from platemark.protocol.tiles import Edge, grow
from platemark.protocol.units import Digest32
from platemark_gateway.printlog.errors import LogForkedError
from platemark_gateway.printlog.files import LogFiles

SIGNER = NoteSigner.from_seed("31337/0x01/0x02/1", b"\x01" * 32)


def note_of(size: int, root: bytes = b"\x05" * 32, signer: NoteSigner = SIGNER) -> tuple[bytes, Checkpoint]:
    checkpoint = Checkpoint(signer.key.name, size, Digest32(root))
    return sign_checkpoint(checkpoint, signer), checkpoint


def test_tiles_are_read_as_they_were_written(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log")
    growth = grow(Edge.empty(), [b"entry %d" % number for number in range(300)])
    files.write_tiles(growth.files, 0)
    assert Edge.load(300, files.read) == growth.edge
    assert files.read("tile/0/002") is None


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log")
    growth = grow(Edge.empty(), [b"one", b"two"])
    files.write_tiles(growth.files, 0)
    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    files.write_tiles(growth.files, 2)
    assert before == {path: path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert not list(tmp_path.rglob(".*")), "nothing temporary is left"


def test_a_published_tile_is_never_changed(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log")
    files.write_tiles(grow(Edge.empty(), [b"one", b"two"]).files, 0)
    other = grow(Edge.empty(), [b"one", b"other"]).files
    with pytest.raises(LogForkedError):
        files.write_tiles(other, 2)
    files.write_tiles(other, 1)
    assert files.read("tile/0/000.p/2") == other["tile/0/000.p/2"]


@pytest.mark.parametrize("path", ["../secret", "tile/../../secret", "/etc/passwd", "checkpoint", "tile/0/0"])
def test_only_tiles_are_read_and_written(tmp_path: Path, path: str) -> None:
    files = LogFiles(tmp_path / "log")
    with pytest.raises(MalformedError):
        files.read(path)
    with pytest.raises(MalformedError):
        files.write_tiles({path: b""}, 0)


def test_a_checkpoint_replaces_the_one_that_was_examined(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log")
    first, second = note_of(1), note_of(2)
    assert files.publish(*first, None, SIGNER.key)
    assert files.publish(*second, first[1], SIGNER.key)
    assert files.published(SIGNER.key) == second[1]
    assert not files.publish(*note_of(3), first[1], SIGNER.key), "another one was examined"
    assert not files.publish(*first, second[1], SIGNER.key), "never an older one"
    assert files.read_checkpoint() == second[0]


def test_one_size_has_one_root(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log")
    first = note_of(1)
    files.publish(*first, None, SIGNER.key)
    with pytest.raises(LogForkedError):
        files.publish(*note_of(1, b"\x06" * 32), first[1], SIGNER.key)
    assert files.published(SIGNER.key) == first[1]


def test_a_checkpoint_of_another_key_is_not_ours(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log")
    foreign = NoteSigner.from_seed(SIGNER.key.name, b"\x02" * 32)
    assert files.publish(*note_of(1, signer=foreign), None, foreign.key)
    with pytest.raises(VerificationError):
        files.published(SIGNER.key)


def test_an_older_epochs_checkpoint_is_kept(tmp_path: Path) -> None:
    files = LogFiles(tmp_path / "log")
    old = note_of(1)
    files.publish(*old, None, SIGNER.key)
    later = NoteSigner.from_seed("31337/0x01/0x02/2", b"\x01" * 32)
    assert files.published(later.key) is None
    assert files.publish(*note_of(1, signer=later), None, later.key)
    assert (tmp_path / "log" / "checkpoint.1").read_bytes() == old[0]
