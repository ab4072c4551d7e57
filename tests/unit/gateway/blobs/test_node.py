"""What every kind of block node does: in memory, in a folder, in a Kubo node."""

import asyncio
import secrets

import pytest

from platemark.errors import MalformedError, PlatemarkError, VerificationError
from platemark.protocol.cid import LEAF_BYTES, Block, Codec, raw_block, raw_cid, read_file, unixfs_blocks
from platemark_gateway.errors import NotFoundError
from simulators.blocks import Breakable

pytestmark = pytest.mark.anyio


async def stored(breakable: Breakable, size: int) -> list[Block]:
    blocks = list(unixfs_blocks([secrets.token_bytes(size)]))
    for block in blocks:
        await breakable.node.put(block.cid, block.data)
    return blocks


async def test_a_file_of_several_blocks_comes_back_and_is_pinned(breakable: Breakable) -> None:
    content = secrets.token_bytes(2 * LEAF_BYTES + 7)
    blocks = list(unixfs_blocks([content]))
    assert [block.cid.codec for block in blocks] == [Codec.RAW, Codec.RAW, Codec.RAW, Codec.DAG_PB]
    for block in blocks:
        await breakable.node.put(block.cid, block.data)
    root = blocks[-1].cid
    for _ in range(2):
        await breakable.node.pin(root)
    assert await breakable.node.is_pinned(root)
    fetched = {block.cid: await breakable.node.get(block.cid) for block in blocks}
    assert b"".join(read_file(root, lambda cid: fetched[cid], max_bytes=len(content))) == content


async def test_a_block_is_stored_again_and_at_once_without_harm(breakable: Breakable) -> None:
    block = raw_block(secrets.token_bytes(100))
    await asyncio.gather(*(breakable.node.put(block.cid, block.data) for _ in range(8)))
    assert await breakable.node.get(block.cid) == block.data


async def test_a_block_that_is_not_its_identifiers_is_refused(breakable: Breakable) -> None:
    cid = raw_cid(secrets.token_bytes(32))
    with pytest.raises(VerificationError) as caught:
        await breakable.node.put(cid, b"another block")
    assert caught.value.code == "block-mismatch"
    too_large = bytes((2 << 20) + 1)
    with pytest.raises(MalformedError):
        await breakable.node.put(raw_cid(too_large), too_large)
    with pytest.raises(NotFoundError):
        await breakable.node.get(cid)


async def test_a_missing_block_is_missing(breakable: Breakable) -> None:
    with pytest.raises(NotFoundError) as caught:
        await breakable.node.get(raw_cid(secrets.token_bytes(32)))
    assert caught.value.code == "block-not-found"


async def test_a_lost_block_is_missing_and_can_be_stored_again(breakable: Breakable) -> None:
    *leaves, root = await stored(breakable, 2 * LEAF_BYTES)
    await breakable.node.pin(root.cid)
    breakable.lose(leaves[0].cid)
    with pytest.raises(NotFoundError):
        await breakable.node.get(leaves[0].cid)
    await breakable.node.put(leaves[0].cid, leaves[0].data)
    assert await breakable.node.get(leaves[0].cid) == leaves[0].data
    await breakable.node.pin(root.cid)


async def test_a_damaged_block_is_never_returned_and_can_be_replaced(breakable: Breakable) -> None:
    *leaves, root = await stored(breakable, 2 * LEAF_BYTES)
    await breakable.node.pin(root.cid)
    breakable.damage(leaves[0].cid)
    with pytest.raises(PlatemarkError) as caught:
        await breakable.node.get(leaves[0].cid)
    assert caught.value.code == "block-damaged"
    await breakable.node.replace(root.cid, leaves[0].cid, leaves[0].data)
    assert await breakable.node.get(leaves[0].cid) == leaves[0].data
    await breakable.node.pin(root.cid)
    assert await breakable.node.is_pinned(root.cid)


async def test_a_node_has_an_identity_that_stays(breakable: Breakable) -> None:
    assert await breakable.node.identity() == await breakable.node.identity() != ""
