"""What was promised is kept: roots are found, checked on both nodes, repaired, and named when they cannot be."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from platemark.protocol.cid import LEAF_BYTES, Block, Cid, Codec, unixfs_blocks
from platemark.protocol.digests import sha256
from platemark_gateway.errors import UnavailableError
from platemark_gateway.files import keeping
from platemark_gateway.models.audit import AuditEntry
from platemark_gateway.models.blocks import KeptRoot, Purpose
from platemark_gateway.printlog.service import open_log
from simulators.databases import DATABASES, database_of
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DATABASES)
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SimulatedGateway]:
    async with simulated_gateway(tmp_path, database_url=await database_of(request.param, tmp_path)) as made:
        yield made


async def keep(gateway: SimulatedGateway) -> None:
    """Work until there is nothing more to do at once."""
    for _ in range(200):
        if not await keeping.keep_once(gateway.container):
            return
    raise AssertionError("the work does not end")


async def keep_again(gateway: SimulatedGateway) -> None:
    """Work when everything is due again."""
    gateway.clock.forward(gateway.container.settings.blocks_check_seconds)
    await keep(gateway)


async def rows(gateway: SimulatedGateway) -> dict[str, KeptRoot]:
    async with gateway.container.database.read() as session:
        return {row.cid: row for row in await session.scalars(select(KeptRoot))}


async def kept(gateway: SimulatedGateway, size: int) -> list[Block]:
    """Return the blocks of a file that was stored as an upload is, and was found whole."""
    blocks = list(unixfs_blocks([secrets.token_bytes(size)]))
    for block in blocks:
        await gateway.container.blocks.put(block.cid, block.data)
    await gateway.container.blocks.pin(blocks[-1].cid)
    async with gateway.container.database.begin() as session:
        await keeping.note(session, gateway.container, blocks[-1].cid, Purpose.UPLOAD)
    await keep(gateway)
    return blocks


async def row_of(gateway: SimulatedGateway, root: Cid) -> KeptRoot:
    return (await rows(gateway))[root.text]


async def test_everything_that_was_promised_is_found(gateway: SimulatedGateway) -> None:
    assert await open_log(gateway.container) is None
    designer = await Designer(gateway).licensed()
    assert not await keeping.collect(gateway.container)
    await keep(gateway)
    manifest = designer.manifest()
    found = {cid: row.purpose for cid, row in (await rows(gateway)).items()}
    assert found[manifest.cid().text] == Purpose.MANIFEST
    assert {found[file.sealed_cid.text] for file in manifest.files} == {Purpose.CIPHERTEXT}
    assert sorted(found.values()).count(Purpose.TERMS) == 1
    assert sorted(found.values()).count(Purpose.PROFILE) == 1
    async with gateway.container.database.read() as session:
        assert not await keeping._named(session)


async def test_what_is_whole_on_both_nodes_is_said_to_be_so_until_it_is_due_again(gateway: SimulatedGateway) -> None:
    *_, root = await kept(gateway, 2 * LEAF_BYTES)
    row = await row_of(gateway, root.cid)
    assert (row.whole_on, row.copied_to, row.problem) == (gateway.blocks.peer, gateway.replica.peer, None)
    reads = gateway.blocks.reads
    assert not await keeping.keep_once(gateway.container)
    assert gateway.blocks.reads == reads
    await keep_again(gateway)
    assert gateway.blocks.reads > reads
    assert (await row_of(gateway, root.cid)).whole_at == gateway.clock.now()


async def test_a_lost_pin_is_pinned_again_on_either_node(gateway: SimulatedGateway) -> None:
    *_, root = await kept(gateway, 2 * LEAF_BYTES)
    gateway.blocks.pinned.clear()
    gateway.replica.pinned.clear()
    await keep_again(gateway)
    assert gateway.blocks.pinned == gateway.replica.pinned == {root.cid.text}
    for name in ("primary", "replica"):
        assert f'platemark_blobs_repairs_total{{node="{name}",act="pinned"}} 1' in list(
            gateway.container.metrics.lines()
        )


@pytest.mark.parametrize("lost", ["leaf", "node", "everything"])
@pytest.mark.parametrize("on_primary", [True, False])
async def test_lost_blocks_come_back_from_the_other_node(
    gateway: SimulatedGateway, lost: str, on_primary: bool
) -> None:
    blocks = await kept(gateway, 3 * LEAF_BYTES)
    broken = gateway.blocks if on_primary else gateway.replica
    gone = {"leaf": blocks[:1], "node": blocks[-1:], "everything": blocks}[lost]
    for block in gone:
        del broken.blocks[block.cid.text]
    if lost == "everything":
        broken.pinned.clear()
    await keep_again(gateway)
    assert broken.blocks == {block.cid.text: block.data for block in blocks}
    assert broken.pinned == {blocks[-1].cid.text}
    assert (await row_of(gateway, blocks[-1].cid)).problem is None


@pytest.mark.parametrize("on_primary", [True, False])
async def test_a_damaged_block_is_replaced_and_its_root_pinned_again(
    gateway: SimulatedGateway, on_primary: bool
) -> None:
    leaf, *_, root = await kept(gateway, 3 * LEAF_BYTES)
    broken = gateway.blocks if on_primary else gateway.replica
    broken.blocks[leaf.cid.text] = b"damaged"
    await keep_again(gateway)
    assert broken.blocks[leaf.cid.text] == leaf.data
    assert root.cid.text in broken.pinned


async def test_what_no_node_has_is_named_and_what_comes_back_is_well_again(gateway: SimulatedGateway) -> None:
    leaf, *_, root = await kept(gateway, 3 * LEAF_BYTES)
    for node in (gateway.blocks, gateway.replica):
        del node.blocks[leaf.cid.text]
    await keep_again(gateway)
    assert (await row_of(gateway, root.cid)).problem == "block-not-found"
    exposed = (await gateway.client.get("/metrics")).text
    assert 'platemark_blobs_unrepaired_roots{reason="block-not-found"} 1' in exposed
    gateway.clock.forward(keeping.AGAIN_SECONDS)
    await keep(gateway)
    await gateway.replica.put(leaf.cid, leaf.data)
    gateway.clock.forward(keeping.AGAIN_SECONDS)
    await keep(gateway)
    assert (await row_of(gateway, root.cid)).problem is None
    assert gateway.blocks.blocks[leaf.cid.text] == leaf.data
    async with gateway.container.database.read() as session:
        told = select(AuditEntry.action).where(AuditEntry.subject == root.cid.text).order_by(AuditEntry.id)
        assert list(await session.scalars(told)) == ["blocks.lost", "blocks.found"]


async def test_a_replica_that_was_away_catches_up(gateway: SimulatedGateway) -> None:
    gateway.replica.is_away = True
    *_, root = await kept(gateway, 3 * LEAF_BYTES)
    assert (await row_of(gateway, root.cid)).whole_on == gateway.blocks.peer
    behind = "platemark_blobs_replica_behind_roots"
    assert f"{behind} 1" in (await gateway.client.get("/metrics")).text.splitlines()
    gateway.replica.is_away = False
    await keep(gateway)
    assert f"{behind} 0" in (await gateway.client.get("/metrics")).text.splitlines()
    assert gateway.replica.blocks == gateway.blocks.blocks
    assert root.cid.text in gateway.replica.pinned


@pytest.mark.parametrize("on_primary", [True, False])
async def test_a_node_that_takes_anothers_place_gets_everything(gateway: SimulatedGateway, on_primary: bool) -> None:
    blocks = await kept(gateway, 3 * LEAF_BYTES)
    new = gateway.blocks if on_primary else gateway.replica
    new.peer = "another peer"
    new.blocks.clear()
    new.pinned.clear()
    await keep(gateway)  # without waiting until it is due
    assert new.blocks == {block.cid.text: block.data for block in blocks}
    assert new.pinned == {blocks[-1].cid.text}


async def test_a_large_file_is_checked_in_pieces(gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = await kept(gateway, 6 * LEAF_BYTES)
    monkeypatch.setattr(keeping, "BLOCKS_AT_ONCE", 2)
    lost = [blocks[0], blocks[5]]
    for block in lost:
        del gateway.blocks.blocks[block.cid.text]
    gateway.clock.forward(gateway.container.settings.blocks_check_seconds)
    positions = []
    while await keeping.keep_once(gateway.container):
        positions.append((await row_of(gateway, blocks[-1].cid)).position)
    assert positions == [2, 4, 6, 0]
    assert all(block.cid.text in gateway.blocks.blocks for block in lost)


async def test_a_loss_in_an_early_piece_is_not_forgotten_in_a_later_one(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = await kept(gateway, 6 * LEAF_BYTES)
    monkeypatch.setattr(keeping, "BLOCKS_AT_ONCE", 2)
    for node in (gateway.blocks, gateway.replica):
        del node.blocks[blocks[0].cid.text]
    await keep_again(gateway)
    assert (await row_of(gateway, blocks[-1].cid)).problem == "block-not-found"


async def test_without_the_primary_the_step_fails_and_goes_on_later(gateway: SimulatedGateway) -> None:
    *_, root = await kept(gateway, LEAF_BYTES + 1)
    gateway.clock.forward(gateway.container.settings.blocks_check_seconds)
    gateway.blocks.is_away = True
    with pytest.raises(UnavailableError):
        await keeping.keep_once(gateway.container)
    gateway.blocks.is_away = False
    await keep(gateway)
    assert (await row_of(gateway, root.cid)).whole_at == gateway.clock.now()


async def test_a_root_in_one_workers_hands_is_left_alone_by_others(gateway: SimulatedGateway) -> None:
    *_, root = await kept(gateway, LEAF_BYTES + 1)
    gateway.clock.forward(gateway.container.settings.blocks_check_seconds)
    assert await keeping._claim(gateway.container, gateway.blocks.peer, gateway.replica.peer) is not None
    assert not await keeping.keep_once(gateway.container)
    gateway.clock.forward(keeping._HELD_SECONDS + 1)  # that worker died
    await keep(gateway)
    assert (await row_of(gateway, root.cid)).whole_at == gateway.clock.now()


async def test_a_root_that_is_no_file_of_ours_stops_no_other(gateway: SimulatedGateway) -> None:
    *_, root = await kept(gateway, LEAF_BYTES + 1)
    nonsense = Cid.parse(root.cid.text)
    async with gateway.container.database.begin() as session:
        await session.execute(update(KeptRoot).values(cid=_foreign_node(gateway).text))
        await keeping.note(session, gateway.container, nonsense, Purpose.UPLOAD)
    await keep_again(gateway)
    found = await rows(gateway)
    assert found[nonsense.text].problem is None
    assert {row.problem for row in found.values()} == {None, "block-invalid"}


def _foreign_node(gateway: SimulatedGateway) -> Cid:
    """Return the identifier of a dag-pb block on both nodes that is no node of a file."""
    cid = Cid(Codec.DAG_PB, sha256(b"no node"))
    for node in (gateway.blocks, gateway.replica):
        node.blocks[cid.text] = b"no node"
    return cid


async def test_only_files_that_the_gateway_compared_are_promised(gateway: SimulatedGateway) -> None:
    """Whoever publishes a manifest may name anything in it."""
    designer = await Designer(gateway).registered()
    assert (await designer.publish_manifest()).status_code < 300
    await keeping.collect(gateway.container)
    await keep(gateway)
    purposes = {row.purpose for row in (await rows(gateway)).values()}
    assert Purpose.MANIFEST in purposes
    assert Purpose.CIPHERTEXT not in purposes
