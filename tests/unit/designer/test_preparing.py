import errno
import hashlib
import itertools
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from platemark.designer import preparing
from platemark.designer.preparing import Description, Prepared, inspect_file, prepare, remove_staged
from platemark.errors import LocalError, MalformedError, UsageError
from platemark.geometry.part import load_part
from platemark.protocol import digests
from platemark.protocol.cid import unixfs_cid
from platemark.protocol.manifest import Constraints, Manifest, Process, check_file
from platemark.protocol.merkle import files_root
from platemark.protocol.sealed_file import open_sealed
from platemark.protocol.units import Address, Digest32

REGISTRANT = Address(b"\x11" * 20)


def _description(**changes: object) -> Description:
    return Description(**({"title": "A bracket", "constraints": Constraints(Process.FDM)} | changes))  # type: ignore[arg-type]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "bracket.stl"
    path.write_bytes(load_part())
    return path


@pytest.fixture
def manual(tmp_path: Path) -> Path:
    path = tmp_path / "manual.pdf"
    path.write_bytes(b"%PDF" + bytes(3 << 20))
    return path


def _prepare(tmp_path: Path, paths: list[Path], description: Description | None = None) -> Prepared:
    return prepare(paths, description or _description(), registrant=REGISTRANT, staging=tmp_path / "staged")


def test_what_is_staged_opens_to_the_files_that_the_manifest_names(tmp_path: Path, part: Path, manual: Path) -> None:
    made = _prepare(tmp_path, [part, manual])
    manifest = Manifest.parse(made.manifest.encode())
    assert [file.name for file in manifest.files] == ["bracket.stl", "manual.pdf"]
    for index, path in enumerate((part, manual)):
        staged = made.staged[index]
        ciphertext = b"".join(staged.chunks())
        opened = b"".join(open_sealed(made.package.key.file_key(index), [ciphertext]))
        assert opened == path.read_bytes()
        file = manifest.files[index]
        assert (file.sealed_cid, file.sealed_bytes) == (unixfs_cid([ciphertext]), len(ciphertext))
        assert file.sealed_sha256 == hashlib.sha256(ciphertext).digest()
        assert (staged.cid, staged.sha256, staged.length_bytes) == (
            file.sealed_cid,
            file.sealed_sha256,
            len(ciphertext),
        )
        plain = Digest32(hashlib.sha256(opened).digest())
        check_file(manifest, index, plain, size_bytes=len(opened), salt=made.package.salt)


def test_the_commitment_is_to_registrant_salt_and_sorted_hashes(tmp_path: Path, part: Path, manual: Path) -> None:
    made = _prepare(tmp_path, [part, manual])
    root = files_root([Digest32(hashlib.sha256(path.read_bytes()).digest()) for path in (manual, part)])
    assert made.package.files_root == root
    assert made.commitment() == digests.commitment(REGISTRANT, made.package.salt, root)
    assert made.manifest.key_commitment == made.package.key.commitment()


def test_a_part_has_the_measures_of_its_mesh(tmp_path: Path, part: Path) -> None:
    description = _description(quantities={"bracket.stl": 4}, turns={"bracket.stl": (90, 0, 0)})
    (found,) = _prepare(tmp_path, [part], description).manifest.parts
    assert (found.quantity, found.orientation) == (4, (90, 0, 0))
    assert found.bounding_box_mm == (Decimal(32), Decimal(24), Decimal(26))
    assert found.volume_mm3 > 1000


def test_a_private_manifest_has_neither_hash_nor_picture(tmp_path: Path, part: Path) -> None:
    made = _prepare(tmp_path, [part], _description(private=True))
    plain = hashlib.sha256(part.read_bytes()).digest()
    assert plain.hex() not in made.manifest.encode().decode()
    assert made.manifest.files[0].sha256 == digests.private_file_hash(made.package.salt, Digest32(plain))
    assert not made.manifest.previews
    assert len(made.staged) == 1


def test_a_public_design_shows_a_picture_and_never_the_mesh(tmp_path: Path, part: Path) -> None:
    made = _prepare(tmp_path, [part])
    picture = b"".join(made.staged[1].chunks())
    assert picture.startswith(b"\x89PNG")
    assert made.manifest.previews == (made.staged[1].cid,)
    assert not _prepare(tmp_path / "other", [part], _description(previews=False)).manifest.previews


def test_sealing_twice_gives_other_keys_and_other_bytes(tmp_path: Path, part: Path) -> None:
    first, second = (_prepare(tmp_path / name, [part]) for name in ("1", "2"))
    assert first.package.key.secret() != second.package.key.secret()
    assert first.commitment() != second.commitment()
    assert first.staged[0].cid != second.staged[0].cid


def test_progress_reaches_the_end_of_each_file(tmp_path: Path, part: Path, manual: Path) -> None:
    told: list[tuple[str, int, int]] = []
    prepare(
        [part, manual],
        _description(),
        registrant=REGISTRANT,
        staging=tmp_path / "staged",
        on_bytes=lambda *event: told.append(event),
    )
    size = manual.stat().st_size
    assert [done for name, done, _ in told if name == "manual.pdf"] == [*range(1 << 20, size, 1 << 20), size]


@pytest.mark.parametrize(
    "content,code",
    [
        (b"", "file-empty"),
        (b"not a mesh at all", "stl-length"),
        (b"solid x\nfacet normal", "stl-text"),
        (load_part()[:-10], "stl-length"),
        (load_part()[:84].replace(load_part()[80:84], b"\0\0\0\0"), "mesh-empty"),
    ],
)
def test_what_is_no_mesh_is_refused_by_name(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "part.stl"
    path.write_bytes(content)
    with pytest.raises(MalformedError) as caught:
        inspect_file(path)
    assert caught.value.code == code
    assert str(path) in caught.value.message


def test_two_gigabytes_are_refused_before_a_byte_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.stl"
    with path.open("wb") as stream:
        stream.truncate(2 << 30)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(MalformedError) as caught:
        inspect_file(path)
    assert caught.value.code == "mesh-too-large"
    assert "2,147,483,648 bytes" in caught.value.message


@pytest.mark.parametrize("name", ["part.exe", "part", "part.STL.gz"])
def test_files_of_another_kind_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    with pytest.raises(MalformedError) as caught:
        inspect_file(path)
    assert caught.value.code == "mesh-format"


def test_a_missing_file_a_folder_and_a_pipe_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        inspect_file(tmp_path / "none.stl")
    assert caught.value.code == "file-missing"
    with pytest.raises(LocalError) as caught:
        inspect_file(tmp_path)
    assert caught.value.code == "file-kind"
    os.mkfifo(tmp_path / "pipe.stl")
    with pytest.raises(LocalError) as caught:
        inspect_file(tmp_path / "pipe.stl")
    assert caught.value.code == "file-kind"


def test_a_design_without_a_mesh_is_refused(tmp_path: Path, manual: Path) -> None:
    with pytest.raises(UsageError, match="at least one mesh"):
        _prepare(tmp_path, [manual])


def test_a_quantity_of_a_file_that_is_not_there_is_refused(tmp_path: Path, part: Path) -> None:
    with pytest.raises(UsageError) as caught:
        _prepare(tmp_path, [part], _description(quantities={"brackets.stl": 2}))
    assert caught.value.hint == "meshes: bracket.stl"


def test_two_files_of_one_name_are_refused_and_nothing_is_staged(tmp_path: Path, part: Path) -> None:
    other = tmp_path / "other" / "Bracket.stl"
    other.parent.mkdir()
    other.write_bytes(part.read_bytes())
    with pytest.raises(MalformedError):
        _prepare(tmp_path, [part, other])


def test_a_file_that_changes_while_it_is_sealed_is_refused(
    tmp_path: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(stream: object) -> Iterator[bytes]:
        data = bytearray(part.read_bytes())
        data[-3] ^= 1
        yield bytes(data)

    monkeypatch.setattr(preparing, "_chunks", changed)
    with pytest.raises(LocalError) as caught:
        _prepare(tmp_path, [part])
    assert caught.value.code == "file-changed"


def test_a_disk_that_fills_up_while_sealing_leaves_no_half_file(
    tmp_path: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalError) as caught:
        _prepare(tmp_path, [part])
    assert caught.value.code == "disk-full"
    assert not list((tmp_path / "staged").iterdir())


def test_sealing_holds_a_few_segments_whatever_the_size(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "notes.txt"
    path.write_bytes(bytes(24 << 20))
    inspection = inspect_file(path)
    target = tmp_path / "sealed"
    tracemalloc.start()
    preparing._seal_file(inspection, bytes(32), target, os.urandom, lambda *_: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert target.stat().st_size > 24 << 20
    assert peak < 12 << 20


def test_the_staging_folder_is_removed_with_what_is_in_it(tmp_path: Path, part: Path) -> None:
    _prepare(tmp_path, [part])
    remove_staged(tmp_path / "staged")
    remove_staged(tmp_path / "staged")
    assert not (tmp_path / "staged").exists()


def test_too_many_files_are_refused_before_any_is_read(tmp_path: Path) -> None:
    paths = list(itertools.repeat(tmp_path / "missing.stl", 257))
    with pytest.raises(MalformedError) as caught:
        _prepare(tmp_path, paths)
    assert caught.value.code == "count-limit"
