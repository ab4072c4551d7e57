"""The indexer against real chains with the real contracts: nothing passed over, nothing kept that went away."""

import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from chain_flow import live
from chain_process import ChainProcess, running_chain
from chain_stack import (
    Anvil,
    NodeDiedError,
    Recorder,
    Wire,
    World,
    catch_up,
    connected,
    fresh_database,
    make_world,
    progress,
    running_anvil,
)
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import (
    Address,
    digest_text,
)
from platemark_gateway.chain.client import ContractReader, WrongChainError
from platemark_gateway.chain.deploy import DeploymentMismatchError, verify_deployment
from platemark_gateway.chain.errors import NodeBehindError
from platemark_gateway.chain.indexer import Indexer
from platemark_gateway.chain.reorg import FinalityBrokenError
from platemark_gateway.db.session import Database
from platemark_gateway.errors import ConflictError, UnavailableError
from platemark_gateway.models.chain import ChainBlock, ChainEventRow
from platemark_gateway.models.token import Token
from platemark_gateway.ports import ChainEvent, Contract, FactStatus
from platemark_gateway.worker.projections import PROJECTIONS
from simulators.databases import DATABASES

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    with running_chain(tmp_path_factory.mktemp("chain"), "--time-travel") as running:
        yield running


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture(params=DATABASES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with fresh_database(tmp_path, request.param) as opened:
        yield opened


@pytest.fixture
async def world(chain: ChainProcess, wire: Wire) -> AsyncIterator[World]:
    key = AccountKey(secrets.token_bytes(32))
    chain.fund(key.address)
    async with connected(chain.url, wire) as client:
        yield await make_world(client, key)


# --- on the embedded chain --------------------------------------------------------------------------------


async def test_events_are_projected_once_and_in_order(world: World, database: Database) -> None:
    recorder = Recorder()
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    first, profile, second = await world.register(), await world.declare(), await world.register()
    await catch_up(indexer)
    await catch_up(indexer)
    assert recorder.designs() == [first, second]
    assert [each.name for each in recorder.events] == ["DesignRegistered", "GatewayDeclared", "DesignRegistered"]
    event = recorder.events[1]
    assert event.args == {"gateway": world.key.address, "epoch": 1, "profileDigest": profile}
    assert event.contract is Contract.LEDGER
    header = await world.client.header(event.block.number)
    assert header is not None
    assert event.block == header.ref
    state = await progress(database)
    assert state.head == state.indexed == state.final
    assert state.status(event.block.number) is FactStatus.FINAL
    assert state.status(None) is FactStatus.PENDING


async def test_events_are_stored_as_they_were_decoded(world: World, database: Database) -> None:
    design = await world.register()
    await catch_up(Indexer(database, world.client, world.deployment, []))
    async with database.read() as session:
        row = await session.scalar(select(ChainEventRow).where(ChainEventRow.name == "DesignRegistered"))
        assert row is not None
        block = await session.get(ChainBlock, row.block_number)
    assert block is not None
    assert row.args["designId"] == digest_text(design.to_bytes(32, "big"))
    assert (row.contract, row.args["edition"], row.args["isPrivate"]) == ("DesignRegistry", 5, False)


@pytest.mark.postgresql
async def test_events_wait_for_no_row_longer_than_redemptions_do(world: World, tmp_path: Path) -> None:
    waits: list[str | None] = []

    class Watching(Recorder):
        @property
        def handlers(self) -> Mapping[str, Any]:
            async def watch(session: AsyncSession, _event: ChainEvent) -> None:
                waits.append(await session.scalar(text("SHOW lock_timeout")))

            return {"DesignRegistered": watch}

    await world.register()
    async with fresh_database(tmp_path, "postgresql") as database:
        await catch_up(Indexer(database, world.client, world.deployment, [Watching()]))
    assert waits == ["500ms"]


async def test_handler_that_fails_leaves_nothing_behind(world: World, database: Database) -> None:
    recorder = Recorder(fails=True)
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    await world.register()
    await indexer.run_once()
    before = await progress(database)
    with pytest.raises(NodeDiedError):
        await catch_up(indexer)
    assert await progress(database) == before
    async with database.read() as session:
        assert (await session.scalars(select(ChainEventRow))).all() == []
    recorder.fails = False
    await catch_up(indexer)
    assert len(recorder.designs()) == 1


async def test_restarted_indexer_goes_on_where_it_was(world: World, database: Database) -> None:
    await world.register()
    await catch_up(Indexer(database, world.client, world.deployment, [Recorder()]))
    later = await world.register()
    recorder = Recorder()
    await catch_up(Indexer(database, world.client, world.deployment, [recorder]))
    assert recorder.designs() == [later]


async def test_block_the_node_does_not_have_is_waited_for(world: World, database: Database, wire: Wire) -> None:
    recorder = Recorder()
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    await catch_up(indexer)
    await world.register()
    await world.register()
    head = await world.client.header("latest")
    assert head is not None
    lacking = hex(head.number)
    wire.answers["eth_getBlockByNumber"] = lambda call: {"result": None} if call["params"][0] == lacking else None
    before = await progress(database)
    assert await indexer.run_once() is False
    assert (await progress(database)).indexed == before.indexed
    wire.answers.clear()
    await catch_up(indexer)
    assert len(recorder.designs()) == 2


async def test_log_of_another_block_than_the_chains_is_not_taken(world: World, database: Database, wire: Wire) -> None:
    recorder = Recorder()
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    await catch_up(indexer)
    await world.register()
    query = {"fromBlock": "0x0", "toBlock": "latest"}
    logs = await world.client.rpc.call("eth_getLogs", query)
    foreign = [each | {"blockHash": "0x" + "12" * 32} for each in logs]
    wire.answers["eth_getLogs"] = lambda _call: {"result": foreign}
    assert await indexer.run_once() is False
    assert recorder.events == []
    wire.answers.clear()
    await catch_up(indexer)
    assert len(recorder.designs()) == 1


async def test_database_of_other_contracts_is_refused(world: World, database: Database) -> None:
    await catch_up(Indexer(database, world.client, world.deployment, []))
    other = await make_world(world.client, world.key)
    with pytest.raises(ConflictError, match="belongs to other contracts"):
        await Indexer(database, world.client, other.deployment, []).run_once()


async def test_node_that_is_away_changes_nothing(world: World, database: Database, wire: Wire) -> None:
    indexer = Indexer(database, world.client, world.deployment, [Recorder()])
    await catch_up(indexer)
    await world.register()
    before = await progress(database)
    wire.answers["eth_getLogs"] = lambda _call: {"error": {"code": -32000, "message": "try later"}}
    with pytest.raises(Exception, match="refused eth_getLogs"):
        await indexer.run_once()
    assert (await progress(database)).indexed == before.indexed


async def test_chain_that_started_anew_is_not_mistaken_for_the_old_one(
    world: World, database: Database, tmp_path: Path
) -> None:
    await world.register()
    await catch_up(Indexer(database, world.client, world.deployment, []))
    with running_chain(tmp_path / "other", "--time-travel") as other:
        async with connected(other.url) as client:
            indexer = Indexer(database, client, world.deployment, [])
            for count in (world.deployment.block + 1, 40):
                for _ in range(count):
                    other.rpc("evm_mine")
                with pytest.raises(FinalityBrokenError):
                    await indexer.run_once()


async def test_reader_agrees_with_the_contracts(world: World, database: Database) -> None:
    reader = ContractReader(world.client, world.deployment)
    await verify_deployment(world.client, world.deployment)
    before = await reader.head()
    design, profile = await world.register(), await world.declare()
    state = await reader.design(design)
    assert state is not None
    assert (state.registrant, state.owner) == (world.key.address, world.key.address)
    assert (state.latest_revision, state.is_private, state.edition) == (1, False, 5)
    assert await reader.design(design, block=before.number) is None
    assert await reader.is_printable(design, 1)
    assert not await reader.is_printable(design, 2)
    gateway = await reader.gateway(world.key.address)
    assert (gateway.profile_digest, gateway.epoch, gateway.size) == (profile, 1, 0)
    assert await reader.is_operator(world.key.address, world.key.address)
    assert not await reader.is_operator(world.key.address, Address(b"\1" * 20))
    assert await reader.block_at(before.number) == before
    assert await reader.block_at(10**6) is None


async def test_other_code_at_the_deployments_addresses_is_refused(world: World) -> None:
    right = world.deployment
    wrong = [
        replace(right, registry=right.license),
        replace(right, ledger=world.key.address),
        replace(right, registry=(await make_world(world.client, world.key)).deployment.registry),
    ]
    for deployment in wrong:
        with pytest.raises(DeploymentMismatchError):
            await verify_deployment(world.client, deployment)
    with pytest.raises(WrongChainError):
        await verify_deployment(world.client, replace(right, chain_id=1))


async def test_node_is_reached_again_after_an_outage(chain: ChainProcess, wire: Wire) -> None:
    failures = iter([True])

    def once() -> None:
        if next(failures, False):
            import httpx

            raise httpx.ConnectError("refused")

    wire.before["eth_chainId"] = once
    async with connected(chain.url, wire) as client:
        assert await client.chain_id() == chain.chain_id
        wire.before["eth_chainId"] = lambda: (_ for _ in ()).throw(TimeoutError)
        with pytest.raises(UnavailableError):
            await client.chain_id()


# --- on anvil: blocks that go away ------------------------------------------------------------------------


@pytest.fixture
async def anvil_world() -> AsyncIterator[tuple[Anvil, World]]:
    with running_anvil() as anvil:
        key = AccountKey(secrets.token_bytes(32))
        anvil.fund(key.address)
        async with connected(anvil.url) as client:
            world = await make_world(client, key)
            anvil.mine(3)
            yield anvil, world


@pytest.mark.anvil
async def test_facts_become_confirmed_and_final(anvil_world: tuple[Anvil, World], database: Database) -> None:
    anvil, world = anvil_world
    recorder = Recorder()
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    await world.register()
    seen = []
    for _ in range(4):
        await catch_up(indexer)
        state = await progress(database)
        seen.append(state.status(recorder.events[0].block.number))
        assert state.final.number <= state.indexed.number
        anvil.mine()
    assert seen == [FactStatus.SEEN, FactStatus.CONFIRMED, FactStatus.FINAL, FactStatus.FINAL]


@pytest.mark.anvil
async def test_reorganisation_undoes_and_projects_anew(anvil_world: tuple[Anvil, World], database: Database) -> None:
    anvil, world = anvil_world
    recorder = Recorder()
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    kept = await world.register()
    anvil.mine(2)
    gone = await world.register()
    await catch_up(indexer)
    assert recorder.designs() == [kept, gone]
    before = await progress(database)
    anvil.reorg(1)
    await catch_up(indexer)
    state = await progress(database)
    assert recorder.designs() == [kept]
    assert recorder.rewinds == [before.indexed.number - 1]
    assert state.indexed.hash != before.indexed.hash
    again = await world.register()
    await catch_up(indexer)
    assert recorder.designs() == [kept, again]
    async with database.read() as session:
        blocks = (await session.scalars(select(ChainBlock))).all()
    for block in blocks:
        header = await world.client.header(block.number)
        assert header is not None
        assert header.hash == block.hash


@pytest.mark.anvil
async def test_rewind_and_projection_stand_or_fall_together(
    anvil_world: tuple[Anvil, World], database: Database
) -> None:
    anvil, world = anvil_world

    class Fails(Recorder):
        async def rewind(self, session: AsyncSession, block: int) -> None:
            raise NodeDiedError

    await world.register()
    await catch_up(Indexer(database, world.client, world.deployment, [Recorder()]))
    before = await progress(database)
    anvil.reorg(1)
    with pytest.raises(NodeDiedError):
        await Indexer(database, world.client, world.deployment, [Fails()]).run_once()
    assert (await progress(database)).indexed == before.indexed
    async with database.read() as session:
        assert await session.get(ChainBlock, before.indexed.number) is not None


@pytest.mark.anvil
async def test_final_block_that_changes_stops_the_indexer(anvil_world: tuple[Anvil, World], database: Database) -> None:
    anvil, world = anvil_world
    anvil.mine(4)
    indexer = Indexer(database, world.client, world.deployment, [Recorder()])
    await catch_up(indexer)
    anvil.reorg(5)
    with pytest.raises(FinalityBrokenError):
        await catch_up(indexer)


@pytest.mark.anvil
async def test_lagging_node_undoes_nothing(database: Database) -> None:
    wire = Wire()
    with running_anvil() as anvil:
        key = AccountKey(secrets.token_bytes(32))
        anvil.fund(key.address)
        async with connected(anvil.url, wire) as client:
            world = await make_world(client, key)
            recorder = Recorder()
            indexer = Indexer(database, client, world.deployment, [recorder])
            anvil.mine(3)
            behind = anvil.rpc("eth_getBlockByNumber", "latest", False)
            design = await world.register()
            await catch_up(indexer)
            number = int(behind["number"], 16)

            def lag(call: Any) -> Any:
                tag = call["params"][0]
                if tag == "latest":
                    return {"result": behind}
                return {"result": None} if tag.startswith("0x") and int(tag, 16) > number else None

            wire.answers["eth_getBlockByNumber"] = lag
            assert await indexer.run_once() is False
            assert recorder.designs() == [design]
            assert recorder.rewinds == []


@pytest.mark.anvil
async def test_logs_that_a_lagging_node_left_out_are_asked_for_by_block(database: Database) -> None:
    wire = Wire()
    with running_anvil() as anvil:
        key = AccountKey(secrets.token_bytes(32))
        anvil.fund(key.address)
        async with connected(anvil.url, wire) as client:
            world = await make_world(client, key)
            recorder = Recorder()
            indexer = Indexer(database, client, world.deployment, [recorder])
            anvil.mine(3)
            await catch_up(indexer)
            design = await world.register()
            wire.answers["eth_getLogs"] = lambda call: {"result": []} if "fromBlock" in call["params"][0] else None
            await catch_up(indexer)
            assert recorder.designs() == [design]


@pytest.mark.anvil
async def test_reservation_whose_block_goes_away_is_none_until_it_is_mined_again(
    anvil_world: tuple[Anvil, World], database: Database
) -> None:
    anvil, world = anvil_world
    indexer = Indexer(database, world.client, world.deployment, PROJECTIONS)
    await live(world.client, world.deployment, world.key)

    async def reservation() -> tuple[int | None, int | None]:
        async with database.read() as session:
            row = (await session.scalars(select(Token))).one_or_none()
        return (None, None) if row is None else (row.seen_block, row.prints)

    await catch_up(indexer)
    seen, prints = await reservation()
    head = await world.client.header("latest")
    assert head is not None
    assert (seen, prints) == (head.number - 1, 3)
    assert (await progress(database)).status(seen) is not FactStatus.FINAL
    gone = [
        anvil.rpc("eth_getRawTransactionByHash", digest_text(each.hash))
        for number in (head.number - 1, head.number)
        for each in await world.client.calls_in(number)
    ]
    anvil.reorg(2)
    await catch_up(indexer)
    assert (await reservation())[0] is None
    for raw in gone:
        anvil.rpc("eth_sendRawTransaction", raw)
    anvil.mine(4)
    await catch_up(indexer)
    seen, prints = await reservation()
    assert prints == 3
    assert (await progress(database)).status(seen) is FactStatus.FINAL


@pytest.mark.anvil
async def test_a_long_time_offline_is_caught_up_with_exactly(
    anvil_world: tuple[Anvil, World], database: Database
) -> None:
    anvil, world = anvil_world
    recorder = Recorder()
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    await catch_up(indexer)
    expected = []
    for _ in range(4):
        anvil.mine(400)
        expected.append(await world.register())
    anvil.mine(3)
    indexer._range = 16  # as if the node had refused longer ones
    steps = 0
    while await indexer.run_once():
        steps += 1
    assert recorder.designs() == expected
    state = await progress(database)
    assert state.indexed == state.head
    assert state.final.number == state.head.number - 2
    assert steps < state.head.number / 60, "ranges grow"


@pytest.mark.anvil
async def test_chain_that_ends_before_what_was_final_stops_the_indexer(
    anvil_world: tuple[Anvil, World], database: Database
) -> None:
    anvil, world = anvil_world
    snapshot = anvil.rpc("evm_snapshot")
    design = await world.register()
    anvil.mine(6)
    recorder = Recorder()
    indexer = Indexer(database, world.client, world.deployment, [recorder])
    await catch_up(indexer)
    before = await progress(database)
    anvil.rpc("evm_revert", snapshot)
    with pytest.raises(NodeBehindError):  # it may merely lag
        await indexer.run_once()
    assert (await progress(database)).dispute is None
    anvil.rpc("evm_setNextBlockTimestamp", hex(before.head.timestamp + 1000))
    anvil.mine(9)
    with pytest.raises(FinalityBrokenError):
        await catch_up(indexer)
    state = await progress(database)
    assert (state.final, state.dispute) == (before.final, "chain-rewritten")
    assert state.status(recorder.events[0].block.number) is not FactStatus.FINAL
    assert recorder.designs() == [design], "nothing is undone by itself"
