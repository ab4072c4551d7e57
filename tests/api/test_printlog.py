import asyncio
import contextlib
from functools import partial
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, text, update

from platemark.errors import VerificationError
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, NoteKey, NoteSigner, open_checkpoint, sign_checkpoint
from platemark.protocol.cid import Cid, Codec
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry, Result, decode
from platemark.protocol.tiles import LogReader, tiles_between
from platemark.protocol.units import Address, Digest32
from platemark.verify.inclusion import read_listing
from platemark_gateway.chain.errors import NodeError
from platemark_gateway.models.printlog import LogAnchor, LogEntry, LogHead
from platemark_gateway.ports import GatewayState
from platemark_gateway.printlog import service
from platemark_gateway.printlog.errors import NotComparedError
from platemark_gateway.printlog.files import LogFiles
from platemark_gateway.worker import reconcile
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway
from simulators.growth import anchor, sequence

pytestmark = pytest.mark.anyio


async def anchored(gateway: SimulatedGateway) -> LogAnchor:
    await anchor(gateway)
    async with gateway.container.database.read() as session:
        found = await session.scalar(select(LogAnchor).order_by(LogAnchor.size.desc()).limit(1))
    assert found is not None
    return found


async def head_of(gateway: SimulatedGateway) -> LogHead:
    async with gateway.container.database.read() as session:
        return (await session.scalars(select(LogHead))).one()


def key_of(gateway: SimulatedGateway) -> NoteKey:
    return NoteKey(gateway.container.profile.log_origin, gateway.container.profile.log_key)


async def read_log(gateway: SimulatedGateway) -> LogReader:
    """Return the log as a stranger reads it: checkpoint and tiles over HTTP, nothing believed."""
    answer = await gateway.client.get("/log/checkpoint")
    assert answer.status_code == 200
    checkpoint = open_checkpoint(answer.content, key_of(gateway))
    files: dict[str, bytes] = {}
    for tile in tiles_between(0, checkpoint.size):
        found = await gateway.client.get(f"/log/{tile.path}")
        assert found.status_code == 200, tile.path
        files[tile.path] = found.content
    return LogReader(checkpoint.size, checkpoint.root, files.get)


async def fill(gateway: SimulatedGateway, count: int, start: int = 0) -> None:
    """Add entries that no redemption wrote, to make a log of some size."""
    async with gateway.container.database.begin() as session:
        for number in range(start, start + count):
            entry = b"entry %d" % number
            session.add(
                LogEntry(
                    kind=1,
                    token_id=number,
                    entry=entry,
                    leaf_hash=merkle.leaf_hash(entry),
                    created_at=gateway.clock.now(),
                )
            )


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


# --- growth -----------------------------------------------------------------------------------------------


async def test_before_the_first_entry_there_is_an_empty_checkpoint(gateway: SimulatedGateway) -> None:
    assert (await gateway.client.get("/log/checkpoint")).json()["code"] == "log-empty"
    await sequence(gateway)
    checkpoint = open_checkpoint((await gateway.client.get("/log/checkpoint")).content, key_of(gateway))
    assert (checkpoint.size, checkpoint.root) == (0, merkle.EMPTY_ROOT)


async def test_strangers_read_every_entry_of_a_print(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.redeem(2)
    await agent.finish(1, Result.FAILED)
    await sequence(gateway)
    entries = [decode(entry) for entry in (await read_log(gateway)).entries()]
    assert [type(entry) for entry in entries] == [RedeemedEntry, RedeemedEntry, OutcomeEntry]
    assert entries[0] == RedeemedEntry(
        agent.token_id,
        1,
        agent.request(1).request.token_digest,
        agent.request(1).request.print_id,
        agent.recipient.digest,
        agent.request(1).request.seen_block,
        agent.request(1).request.seen_hash,
        agent.request(1).request.detail,
        agent.request(1).signature,
    )


@pytest.mark.parametrize("steps", [(1, 255), (256, 1), (255, 2, 300), (600,), (3, 3, 3)], ids=str)
async def test_the_log_grows_over_tiles_and_old_roots_stay(gateway: SimulatedGateway, steps: tuple[int, ...]) -> None:
    roots: dict[int, Digest32] = {}
    size = 0
    for step in steps:
        await fill(gateway, step, size)
        await sequence(gateway)
        size += step
        roots[size] = (await head_of(gateway)).root
    log = await read_log(gateway)
    assert log.size == size
    assert list(log.entries()) == [b"entry %d" % number for number in range(size)]
    for old_size, root in roots.items():
        assert log.old_root(old_size) == root
        merkle.verify_consistency(old_size, root, log.size, log.root, log.consistency_proof(old_size))


async def test_tiles_are_cached_and_checkpoints_are_not(gateway: SimulatedGateway) -> None:
    await fill(gateway, 1)
    await sequence(gateway)
    tile = await gateway.client.get("/log/tile/0/000.p/1")
    assert tile.headers["content-type"] == "application/octet-stream"
    assert "immutable" in tile.headers["cache-control"]
    checkpoint = await gateway.client.get("/log/checkpoint")
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert "immutable" not in checkpoint.headers["cache-control"]


@pytest.mark.parametrize(
    "path", ["0/000", "0/000.p/2", "entries/001", "%2e%2e/checkpoint", "0/0", "99/000", "0/000.p/0"]
)
async def test_what_is_no_tile_is_not_found(gateway: SimulatedGateway, path: str) -> None:
    await fill(gateway, 1)
    await sequence(gateway)
    answer = await gateway.client.get(httpx.URL(f"http://gateway.test/log/tile/{path}"))
    assert answer.status_code == 404


async def test_two_sequencers_agree(gateway: SimulatedGateway) -> None:
    import asyncio

    for batch in range(5):
        await fill(gateway, 40, 40 * batch)
        await asyncio.gather(*(service.sequence_once(gateway.container) for _ in range(4)))
    await sequence(gateway)
    assert list((await read_log(gateway)).entries()) == [b"entry %d" % number for number in range(200)]


# --- crashes ----------------------------------------------------------------------------------------------


async def test_a_crash_between_tiles_and_head_repeats_the_same_tiles(gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await service.assign(gateway.container)
    head = await head_of(gateway)
    entries = [b"entry %d" % number for number in range(5)]
    service.write_tiles(service.files_of(gateway.container), head, entries, key_of(gateway))
    assert (await head_of(gateway)).size == 0
    await fill(gateway, 3, 5)
    await sequence(gateway)
    assert list((await read_log(gateway)).entries()) == [b"entry %d" % number for number in range(8)]


async def test_a_crash_between_head_and_checkpoint_signs_the_committed_root(gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await service.assign(gateway.container)
    assert await service.grow(gateway.container)
    head = await head_of(gateway)
    assert service.files_of(gateway.container).read_checkpoint() is None
    await sequence(gateway)
    log = await read_log(gateway)
    assert (log.size, log.root) == (5, head.root)


async def test_an_older_head_is_not_committed_after_a_newer_one(gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await service.assign(gateway.container)
    stale = await head_of(gateway)
    await sequence(gateway)
    assert not await service.commit_head(gateway.container, stale, 5, Digest32(b"\x01" * 32))
    assert (await read_log(gateway)).size == 5


async def test_an_older_checkpoint_never_replaces_a_newer_one(gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await sequence(gateway)
    files, key = service.files_of(gateway.container), key_of(gateway)
    newer = files.published(key)
    older = Checkpoint(key.name, 0, merkle.EMPTY_ROOT)
    note = sign_checkpoint(older, NoteSigner(key, partial(gateway.container.vault.sign_log, key.public_key)))
    assert not files.publish(note, older, None, key), "examined before the newer one was there"
    assert not files.publish(note, older, newer, key)
    assert files.published(key) == newer


async def test_roots_are_never_changed(gateway: SimulatedGateway) -> None:
    await fill(gateway, 1)
    await sequence(gateway)
    for statement in ("UPDATE log_roots SET size = 7", "DELETE FROM log_roots"):
        with pytest.raises(Exception, match="append-only"):
            async with gateway.container.database.begin() as session:
                await session.execute(text(statement))


# --- quarantine -------------------------------------------------------------------------------------------


async def forget(gateway: SimulatedGateway, size: int) -> None:
    """Take the database back to a size, as an old backup does; the folder keeps what it has."""
    async with gateway.container.database.begin() as session:
        await session.execute(
            text("DROP TRIGGER IF EXISTS log_roots_no_delete") if _is_sqlite(gateway) else text("SELECT 1")
        )
        rows = (await session.scalars(select(LogEntry).where(LogEntry.position >= size))).all()
        for row in rows:
            await session.delete(row)
        log = LogReader(
            (await session.scalars(select(LogHead))).one().size,
            (await session.scalars(select(LogHead))).one().root,
            service.files_of(gateway.container).read,
        )
        await session.execute(update(LogHead).values(assigned=size, size=size, root=log.old_root(size)))


def _is_sqlite(gateway: SimulatedGateway) -> bool:
    return gateway.container.database.is_sqlite


async def test_what_is_known_has_its_stored_answer_in_quarantine_too(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    report = agent.report(1)
    first = await agent.send_report(report)
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogHead).values(quarantine="it is behind", quarantined_at=gateway.clock.now()))
    assert (await agent.send(agent.request(1))).status_code == 200
    again = await agent.send_report(report)
    assert (again.status_code, again.json()) == (200, first.json())


async def test_a_database_behind_its_checkpoint_is_quarantined(agent: Agent, gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await sequence(gateway)
    await forget(gateway, 3)
    reason = await service.open_log(gateway.container)
    assert reason is not None
    assert "checkpoint" in reason
    answer = await agent.send(agent.request(1))
    assert (answer.status_code, answer.json()["code"]) == (503, "quarantine")
    assert (await gateway.client.get("/v1/gateway")).json()["state"] == "quarantine"
    await fill(gateway, 3, 10)
    await sequence(gateway)
    assert (await head_of(gateway)).size == 3, "nothing grows"


async def test_a_known_request_is_answered_in_quarantine_too(agent: Agent, gateway: SimulatedGateway) -> None:
    await service.open_log(gateway.container)
    request = agent.request(1)
    first = await agent.send(request)
    assert first.status_code == 200, first.text
    await sequence(gateway)
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogHead).values(quarantine="a test"))
    again = await agent.send(request)
    assert (again.status_code, again.json()["release"]) == (200, first.json()["release"])
    new = await agent.send(agent.request(2))
    assert (new.status_code, new.json()["code"]) == (503, "quarantine")


@pytest.mark.parametrize("ask_chain", [False, True])
async def test_a_log_that_grows_while_it_is_compared_is_no_reason(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch, ask_chain: bool
) -> None:
    await service.open_log(gateway.container)
    await fill(gateway, 3)
    await sequence(gateway)
    await fill(gateway, 2, 10)
    read, loop, grown = LogFiles.published, asyncio.get_running_loop(), list[bool]()

    def published(self: LogFiles, key: NoteKey) -> Checkpoint | None:
        # Meanwhile, in another process: the log grows and its checkpoint is published.
        if not grown:
            grown.append(True)
            asyncio.run_coroutine_threadsafe(service.sequence_once(gateway.container), loop).result(20)
        return read(self, key)

    monkeypatch.setattr(LogFiles, "published", published)
    assert await service.check(gateway.container, ask_chain=ask_chain) is None
    assert (await head_of(gateway)).size == 5


async def test_a_database_that_forked_is_quarantined_before_it_signs(agent: Agent, gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await sequence(gateway)
    before = service.files_of(gateway.container).read_checkpoint()
    await forget(gateway, 3)
    await fill(gateway, 4, 100)
    with contextlib.suppress(VerificationError):
        await sequence(gateway)
    assert (await head_of(gateway)).quarantine is not None
    assert service.files_of(gateway.container).read_checkpoint() == before
    assert (await agent.send(agent.request(1))).json()["code"] == "quarantine"


async def test_a_database_behind_its_anchor_is_quarantined(gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await sequence(gateway)
    await anchor(gateway)
    await forget(gateway, 3)
    (gateway.container.settings.data / "log" / "checkpoint").unlink()
    reason = await service.check(gateway.container, ask_chain=False)
    assert reason is not None
    assert "anchor" in reason


async def test_a_ledger_that_is_ahead_is_a_reason_although_no_event_was_read(gateway: SimulatedGateway) -> None:
    await fill(gateway, 2)
    await sequence(gateway)
    account = gateway.container.vault.account
    profile_digest = gateway.container.profile.digest()
    gateway.chain._state.gateways[account] = GatewayState(profile_digest, 1, 7)
    assert "7 entries" in (await service.open_log(gateway.container) or "")
    gateway.chain._state.gateways[account] = GatewayState(profile_digest, 1, 2)
    assert "not sent from this database" in (await service.open_log(gateway.container) or "")
    gateway.chain._state.gateways[account] = GatewayState(profile_digest, 2, 0)
    assert "epoch 2" in (await service.open_log(gateway.container) or "")


async def test_another_root_on_the_ledger_is_a_reason(gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await sequence(gateway)
    await anchor(gateway)
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogAnchor).values(root=Digest32(b"\x01" * 32)))
    assert "another root" in (await service.check(gateway.container, ask_chain=False) or "")


async def test_a_gateway_that_cannot_ask_the_chain_stays_closed_until_it_can(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    gateway.chain.is_away = True
    assert await service.open_log(gateway.container) is not None
    gateway.chain.is_away = False
    assert (await agent.send(agent.request(1))).json()["code"] == "quarantine"
    assert await service.check(gateway.container, ask_chain=True) is None
    await agent.redeem(1)


async def test_a_chain_that_is_away_for_a_while_is_no_contradiction(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)  # the gateway comes to know the block that agents cite
    assert await service.check(gateway.container, ask_chain=True) is None
    compared_at = gateway.clock.now()
    gateway.chain.is_away = True
    gateway.clock.forward(gateway.container.settings.compare_within_seconds)
    with pytest.raises(NotComparedError) as caught:
        await reconcile.step(gateway.container)
    assert caught.value.code == "rpc-unreachable"
    head = await head_of(gateway)
    assert (head.quarantine, head.compared_at) == (None, compared_at)
    told = (await gateway.client.get("/metrics")).text
    assert f"platemark_log_comparison_age_seconds {gateway.container.settings.compare_within_seconds}" in told
    await agent.redeem(2)


async def test_a_node_that_fails_is_no_contradiction(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await service.check(gateway.container, ask_chain=True) is None

    async def fails(_account: Address) -> GatewayState:
        raise NodeError("eth_call", -32005, "too many requests")

    monkeypatch.setattr(gateway.chain, "gateway", fails)
    with pytest.raises(NotComparedError):
        await service.check(gateway.container, ask_chain=True)
    assert (await head_of(gateway)).quarantine is None


@pytest.mark.parametrize("moved", [1, -1], ids=["too old", "of a clock that was ahead"])
async def test_no_release_rests_on_a_comparison_that_is_not_of_the_last_hour(
    agent: Agent, gateway: SimulatedGateway, moved: int
) -> None:
    await agent.redeem(1)  # the gateway comes to know the block that agents cite
    bound = gateway.container.settings.compare_within_seconds
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogHead).values(compared_at=gateway.clock.now() - moved * (bound + 1)))
    gateway.chain.is_away = True
    with pytest.raises(NotComparedError):
        await reconcile.step(gateway.container)
    assert "could not be compared" in ((await head_of(gateway)).quarantine or "")
    assert (await agent.send(agent.request(2))).json()["code"] == "quarantine"
    gateway.chain.is_away = False
    assert not await reconcile.step(gateway.container)
    head = await head_of(gateway)
    assert (head.quarantine, head.compared_at) == (None, gateway.clock.now())
    await agent.redeem(2)


async def test_a_log_that_was_never_compared_closes_when_it_cannot_be(gateway: SimulatedGateway) -> None:
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogHead).values(compared_at=None))
    gateway.chain.is_away = True
    with pytest.raises(NotComparedError):
        await service.check(gateway.container, ask_chain=True)
    assert (await head_of(gateway)).quarantine is not None


async def test_an_outage_lifts_no_quarantine_and_gives_it_no_other_reason(gateway: SimulatedGateway) -> None:
    await fill(gateway, 2)
    await sequence(gateway)
    account, declared = gateway.container.vault.account, gateway.container.profile.digest()
    gateway.chain._state.gateways[account] = GatewayState(declared, 1, 7)
    reason = await service.check(gateway.container, ask_chain=True)
    gateway.chain.is_away = True
    with pytest.raises(NotComparedError):
        await service.check(gateway.container, ask_chain=True)
    assert (await head_of(gateway)).quarantine == reason


async def test_a_comparison_without_the_chain_is_none_to_rest_on(gateway: SimulatedGateway) -> None:
    before = (await head_of(gateway)).compared_at
    gateway.clock.forward(10)
    assert await service.check(gateway.container, ask_chain=False) is None
    assert (await head_of(gateway)).compared_at == before


@pytest.mark.parametrize("damage", [b"", b"not a note", None], ids=["empty", "nonsense", "another signer"])
async def test_a_checkpoint_that_is_not_ours_is_a_reason(gateway: SimulatedGateway, damage: bytes | None) -> None:
    await fill(gateway, 5)
    await sequence(gateway)
    if damage is None:
        signer = NoteSigner.from_seed(gateway.container.profile.log_origin, b"\x01" * 32)
        damage = sign_checkpoint(Checkpoint(signer.key.name, 5, (await head_of(gateway)).root), signer)
    overwrite(gateway.container.settings.data / "log" / "checkpoint", damage)
    assert await service.check(gateway.container, ask_chain=False) is not None


async def test_lost_tiles_are_a_reason(gateway: SimulatedGateway) -> None:
    await fill(gateway, 5)
    await sequence(gateway)
    (gateway.container.settings.data / "log" / "tile" / "0" / "000.p" / "5").unlink()
    assert await service.check(gateway.container, ask_chain=True) is not None


# --- anchors ----------------------------------------------------------------------------------------------


async def test_an_anchor_lists_exactly_the_new_tiles(gateway: SimulatedGateway) -> None:
    await fill(gateway, 300)
    await sequence(gateway)
    first = await anchored(gateway)
    await fill(gateway, 250, 300)
    await sequence(gateway)
    second = await anchored(gateway)
    for previous, found in ((0, first), (300, second)):
        listing = await gateway.blocks.get(Cid(Codec.RAW, found.tiles_digest))
        tiles = read_listing(listing, origin=gateway.container.profile.log_origin, size=found.size, root=found.root)
        assert sorted(tiles) == sorted(tile.path for tile in tiles_between(previous, found.size))
    assert (await read_log(gateway)).old_root(300) == first.root


async def test_anchors_wait_for_their_time_unless_asked(gateway: SimulatedGateway) -> None:
    await fill(gateway, 1)
    await sequence(gateway)
    assert not await service.anchor_once(gateway.container)
    gateway.clock.forward(gateway.container.settings.anchor_seconds)
    assert await service.anchor_once(gateway.container)
    await gateway.chain.mine()
    gateway.clock.forward(10 * gateway.container.settings.anchor_seconds)
    assert not await service.anchor_once(gateway.container), "nothing new"


async def test_one_anchor_is_under_way_at_a_time(gateway: SimulatedGateway) -> None:
    await fill(gateway, 1)
    await sequence(gateway)
    gateway.clock.forward(gateway.container.settings.anchor_seconds)
    assert await service.anchor_once(gateway.container)
    await fill(gateway, 1, 1)
    await sequence(gateway)
    gateway.clock.forward(gateway.container.settings.anchor_seconds)
    assert not await service.anchor_once(gateway.container)
    await gateway.chain.mine()
    assert (await anchored(gateway)).size == 2


async def test_a_failed_anchor_is_sent_again(gateway: SimulatedGateway) -> None:
    await fill(gateway, 1)
    await sequence(gateway)
    gateway.clock.forward(gateway.container.settings.anchor_seconds)
    account, state = gateway.container.vault.account, gateway.chain._state
    state.gateways[account], honest = GatewayState(Digest32(bytes(32)), 1, 9), state.gateways[account]
    assert await service.anchor_once(gateway.container)
    await gateway.chain.mine()
    state.gateways[account] = honest
    assert await service.anchor_once(gateway.container)
    await gateway.chain.mine()
    assert await gateway.chain.anchor(account, 1, 1) is not None


async def test_an_anchor_that_was_taken_back_by_the_chain_is_sent_again(gateway: SimulatedGateway) -> None:
    await fill(gateway, 1)
    await sequence(gateway)
    gateway.clock.forward(gateway.container.settings.anchor_seconds)
    assert await service.anchor_once(gateway.container)
    keep = len(gateway.chain.blocks) - 1
    await gateway.chain.mine(final=False)
    await gateway.chain.reorganise(keep)
    assert await gateway.chain.anchor(gateway.container.vault.account, 1, 1) is None
    await gateway.chain.mine()
    assert await gateway.chain.anchor(gateway.container.vault.account, 1, 1) is not None


async def test_only_the_operator_asks_for_an_anchor(agent: Agent, gateway: SimulatedGateway) -> None:
    assert (await gateway.client.post("/v1/log/anchor", json={})).status_code == 401
    session = await gateway.sign_in(agent.holder)
    assert (await gateway.client.post("/v1/log/anchor", json={}, headers=session)).status_code == 403
    session = await gateway.sign_in(gateway.operator())
    assert (await gateway.client.post("/v1/log/anchor", json={}, headers=session)).status_code == 202
    assert (await head_of(gateway)).anchor_requested_at is not None
