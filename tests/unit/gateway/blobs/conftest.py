"""Block nodes of each kind, with what a test may break about them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubo_process import KuboProcess, running_kubo
from platemark_gateway.blobs.folder import FolderBlocks
from platemark_gateway.blobs.kubo import KuboBlocks
from simulators.blocks import Breakable, MemoryBlocks


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboProcess]:
    """A daemon that the tests of a module share."""
    with running_kubo(tmp_path_factory.mktemp("kubo")) as running:
        yield running


@pytest.fixture(params=["memory", "folder", pytest.param("kubo", marks=pytest.mark.kubo)])
def breakable(request: pytest.FixtureRequest, tmp_path: Path) -> Breakable:
    """A node of each kind."""
    if request.param == "memory":
        memory = MemoryBlocks()
        return Breakable(
            memory,
            lambda cid: memory.blocks.pop(cid.text),
            lambda cid: memory.blocks.update({cid.text: b"damaged"}),
        )
    if request.param == "folder":
        folder = FolderBlocks(tmp_path)
        return Breakable(
            folder, lambda cid: folder.path(cid).unlink(), lambda cid: folder.path(cid).write_bytes(b"damaged")
        )
    kubo: KuboProcess = request.getfixturevalue("kubo")
    return Breakable(
        KuboBlocks(kubo.api, timeout_seconds=20),
        lambda cid: kubo.file(cid).unlink(),
        lambda cid: kubo.file(cid).write_bytes(b"damaged"),
    )
