import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from platemark.errors import LocalError
from platemark.sdk import files
from platemark.sdk.files import disk_errors, read_limited, read_regular, whole_file, write_whole


def test_a_file_appears_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    with whole_file(path) as stream:
        stream.write(b"first ")
        assert not path.exists()
        stream.write(b"second")
    assert path.read_bytes() == b"first second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(b"old")

    def fail() -> None:
        with whole_file(path) as stream:
            stream.write(b"half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 (the very one that was raised)
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalError) as caught:
        write_whole(tmp_path / "out.json", b"data")
    assert caught.value.code == "disk-full"
    assert caught.value.message == f"{tmp_path / 'out.json'}: the disk is full"
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_when_it_must_be_new(tmp_path: Path) -> None:
    path = tmp_path / "kit"
    write_whole(path, b"one", replace=False)
    with pytest.raises(LocalError) as caught:
        write_whole(path, b"two", replace=False)
    assert caught.value.code == "file-exists"
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kit"

    def race() -> None:
        with whole_file(path, replace=False) as stream:
            stream.write(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(LocalError) as caught:
        race()
    assert caught.value.code == "file-exists"
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "number, code",
    [
        (errno.ENOSPC, "disk-full"),
        (errno.EDQUOT, "disk-full"),
        (errno.EACCES, "disk-permission"),
        (errno.EROFS, "disk-permission"),
        (errno.ENOENT, "file-missing"),
        (errno.EISDIR, "file-kind"),
        (errno.EIO, "disk-error"),
    ],
)
def test_each_disk_error_has_its_code_and_never_the_systems_text(number: int, code: str) -> None:
    with pytest.raises(LocalError) as caught, disk_errors("place"):
        raise OSError(number, "secret text of the system")
    assert caught.value.code == code
    assert "secret" not in caught.value.message


def test_reading_stops_above_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"12345")
    assert read_limited(path, max_bytes=5) == b"12345"
    with pytest.raises(LocalError) as caught:
        read_limited(path, max_bytes=4)
    assert caught.value.code == "file-too-large"


def test_a_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    made = files.make_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_folder_in_place_of_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(LocalError) as caught:
        files.make_folder(tmp_path / "a" / "b")
    assert caught.value.code == "file-kind"


def test_regular_file_is_read_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 2)))
    assert read_regular(str(path), max_bytes=5) == b"12345"
    with pytest.raises(LocalError, match="more than 4 bytes"):
        read_regular(str(path), max_bytes=4)


def test_what_is_no_regular_file_is_none_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name in ("pipe", "socket", ".", "missing", "pipe/within"):
            assert read_regular(str(tmp_path / name), max_bytes=5) is None
