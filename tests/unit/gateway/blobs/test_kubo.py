"""The block node in Kubo: what only it does. Each daemon is the tests' own."""

import asyncio
import secrets
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubo_process import KuboProcess, running_kubo
from platemark.errors import VerificationError
from platemark.protocol.cid import LEAF_BYTES, raw_block, raw_cid, unixfs_blocks
from platemark_gateway.blobs.kubo import KuboBlocks
from platemark_gateway.errors import NotFoundError, UnavailableError

pytestmark = pytest.mark.anyio

AWAY = "/ip4/127.0.0.1/tcp/1"


@pytest.fixture
def own_kubo(tmp_path: Path) -> Iterator[KuboProcess]:
    with running_kubo(tmp_path / "kubo") as running:
        yield running


@pytest.mark.kubo
@pytest.mark.parametrize("size", [0, 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES + 5])
async def test_kubo_gives_a_file_the_same_identifier(kubo: KuboProcess, size: int) -> None:
    content = secrets.token_bytes(size)
    profile = {"cid-version": "1", "raw-leaves": "true", "chunker": "size-1048576", "max-file-links": "1024"}

    def added() -> str:
        import ipfshttpclient

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The 'strict' parameter is no longer needed")
            return str(ipfshttpclient.Client(kubo.api, timeout=20).add_bytes(content, opts=profile))

    assert await asyncio.to_thread(added) == list(unixfs_blocks([content]))[-1].cid.text


@pytest.mark.kubo
async def test_a_lost_pin_lets_the_node_collect_and_a_pin_does_not(kubo: KuboProcess) -> None:
    node = KuboBlocks(kubo.api, timeout_seconds=20)
    pinned, lost = raw_block(secrets.token_bytes(50)), raw_block(secrets.token_bytes(50))
    for block in (pinned, lost):
        await node.put(block.cid, block.data)
        await node.pin(block.cid)
    kubo.unpin(lost.cid)
    assert (await node.is_pinned(pinned.cid), await node.is_pinned(lost.cid)) == (True, False)
    kubo.collect_garbage()
    assert await node.get(pinned.cid) == pinned.data
    with pytest.raises(NotFoundError):
        await node.get(lost.cid)


@pytest.mark.kubo
async def test_nothing_is_pinned_of_which_a_block_is_missing(kubo: KuboProcess) -> None:
    node = KuboBlocks(kubo.api, timeout_seconds=20)
    # A last leaf of few bytes might be there already: the node is shared.
    *leaves, root = unixfs_blocks([secrets.token_bytes(LEAF_BYTES + 50)])
    for block in (leaves[0], root):
        await node.put(block.cid, block.data)
    with pytest.raises(NotFoundError):
        await node.pin(root.cid)
    assert not await node.is_pinned(root.cid)


@pytest.mark.kubo
async def test_a_node_that_is_full_is_unreachable_for_writes_until_it_has_room(own_kubo: KuboProcess) -> None:
    node = KuboBlocks(own_kubo.api, timeout_seconds=20)
    before, after = raw_block(secrets.token_bytes(LEAF_BYTES)), raw_block(secrets.token_bytes(LEAF_BYTES))
    await node.put(before.cid, before.data)
    own_kubo.fill()
    with pytest.raises(UnavailableError) as caught:
        await node.put(after.cid, after.data)
    assert (caught.value.code, caught.value.retry_after_seconds) == ("ipfs-unreachable", 10)
    assert await node.get(before.cid) == before.data
    with pytest.raises(NotFoundError):  # nothing half-written
        await node.get(after.cid)
    own_kubo.make_room()
    await node.put(after.cid, after.data)
    assert await node.get(after.cid) == after.data


@pytest.mark.kubo
async def test_a_node_that_hangs_is_given_up_and_serves_again_by_itself(own_kubo: KuboProcess) -> None:
    node = KuboBlocks(own_kubo.api, timeout_seconds=1)
    block = raw_block(secrets.token_bytes(50))
    await node.put(block.cid, block.data)
    own_kubo.freeze()
    began = time.monotonic()
    # More than the node's threads: whoever waits for one of them is given up in time as well.
    calls = await asyncio.gather(*(node.get(block.cid) for _ in range(40)), return_exceptions=True)
    assert time.monotonic() - began < 15
    assert {getattr(error, "code", error) for error in calls} == {"ipfs-unreachable"}
    assert await asyncio.wait_for(asyncio.to_thread(int), 5) == 0, "other work in threads goes on"
    own_kubo.thaw()
    deadline = time.monotonic() + 30
    while True:
        try:
            assert await node.get(block.cid) == block.data
            break
        except UnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


@pytest.mark.kubo
async def test_the_node_says_its_version(kubo: KuboProcess) -> None:
    assert (await KuboBlocks(kubo.api, timeout_seconds=20).version()).startswith("0.")


async def test_a_block_that_is_not_its_identifiers_never_reaches_the_node() -> None:
    with pytest.raises(VerificationError):
        await KuboBlocks(AWAY, timeout_seconds=1).put(raw_cid(b"x"), b"y")


async def test_a_node_that_is_away_is_away() -> None:
    node, cid = KuboBlocks(AWAY, timeout_seconds=1), raw_cid(b"x")
    for call in (node.get(cid), node.put(cid, b"x"), node.pin(cid), node.is_pinned(cid), node.identity()):
        with pytest.raises(UnavailableError) as caught:
            await call
        assert caught.value.code == "ipfs-unreachable"
