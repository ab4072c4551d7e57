"""The block node in a folder: what only it does."""

import asyncio
from pathlib import Path

import pytest

from platemark.errors import MalformedError, VerificationError
from platemark.protocol.cid import raw_cid
from platemark_gateway.blobs.folder import FolderBlocks
from platemark_gateway.errors import NotFoundError, UnavailableError

pytestmark = pytest.mark.anyio

DATA = b"a block"
CID = raw_cid(DATA)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_block_lies_under_its_identifier_for_every_process(tmp_path: Path) -> None:
    await FolderBlocks(tmp_path).put(CID, DATA)
    assert (tmp_path / CID.text[-3:-1] / CID.text).read_bytes() == DATA
    assert await FolderBlocks(tmp_path).get(CID) == DATA


async def test_what_is_refused_leaves_no_file(tmp_path: Path) -> None:
    blocks = FolderBlocks(tmp_path)
    with pytest.raises(VerificationError):
        await blocks.put(CID, b"another block")
    with pytest.raises(MalformedError):
        await blocks.put(raw_cid(bytes((2 << 20) + 1)), bytes((2 << 20) + 1))
    assert files(tmp_path) == []


async def test_a_write_that_was_cut_short_is_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = FolderBlocks(tmp_path)

    def broken(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(UnavailableError) as caught:
        await blocks.put(CID, DATA)
    assert caught.value.code == "blocks-unwritable"
    monkeypatch.undo()
    with pytest.raises(NotFoundError):
        await blocks.get(CID)
    assert files(tmp_path) == []
    await blocks.put(CID, DATA)
    assert await blocks.get(CID) == DATA


async def test_the_same_block_may_be_stored_at_once(tmp_path: Path) -> None:
    await asyncio.gather(*(FolderBlocks(tmp_path).put(CID, DATA) for _ in range(8)))
    assert await FolderBlocks(tmp_path).get(CID) == DATA
    assert len(files(tmp_path)) == 1
