from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platemark.errors import LocalError
from platemark_gateway.chain.journal import DataFolderBusyError, FolderLock, Journal, JournalDamagedError

LINES: list[Mapping[str, Any]] = [{"kind": "block", "number": number, "text": "é\n"} for number in range(4)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("journal") / "chain.jsonl"
    journal = Journal(path)
    assert list(journal.read()) == []
    for line in LINES:
        journal.append(line)
    journal.close()
    return path.read_bytes()


def read(folder: Path, content: bytes) -> list[Mapping[str, Any]]:
    path = folder / "chain.jsonl"
    path.write_bytes(content)
    journal = Journal(path)
    try:
        return [line.fields for line in journal.read()]
    finally:
        journal.close()


def test_lines_come_back_as_they_were(written: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, written) == LINES


@given(data=st.data())
def test_any_torn_end_leaves_the_lines_before_it(
    written: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(written)))
    folder = tmp_path_factory.mktemp("torn")
    kept = read(folder, written[:length])
    whole = written[:length].count(b"\n")
    # A line that lacks nothing but its newline is whole.
    assert kept in (LINES[:whole], LINES[: whole + 1])
    assert len(kept) == whole or written[length : length + 1] == b"\n"
    # What was dropped is gone, what was kept can be read and continued.
    path = folder / "chain.jsonl"
    journal = Journal(path)
    assert [line.fields for line in journal.read()] == kept
    assert journal.dropped_bytes == 0
    journal.append({"kind": "block", "number": 99})
    journal.close()
    assert read(folder, path.read_bytes()) == [*kept, {"kind": "block", "number": 99}]


@given(data=st.data())
def test_any_changed_byte_before_the_last_line_is_found(
    written: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    last = written.rstrip(b"\n").rindex(b"\n")
    at = data.draw(st.integers(0, last - 1))
    other = data.draw(st.integers(1, 255))
    changed = written[:at] + bytes([written[at] ^ other]) + written[at + 1 :]
    folder = tmp_path_factory.mktemp("changed")
    with pytest.raises(JournalDamagedError):
        read(folder, changed)
    assert (folder / "chain.jsonl").read_bytes() == changed


def test_append_needs_a_journal_that_was_read(tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        Journal(tmp_path / "chain.jsonl").append({})


def test_folder_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    with pytest.raises(DataFolderBusyError):
        FolderLock(tmp_path)
    first.close()
    FolderLock(tmp_path).close()
