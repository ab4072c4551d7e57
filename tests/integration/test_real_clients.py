"""One behaviour on every kind of chain, the embedded one, anvil and geth: proofs of logs, facts, sending."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain_process import CREATION, REVERT, STORE
from chain_stack import (
    Node,
    Recorder,
    Wire,
    World,
    catch_up,
    create_contract,
    die,
    fresh_database,
    make_sender,
    make_world,
    progress,
    running_node,
)
from chain_stack import NodeDiedError as Died
from platemark.protocol.accounts import AccountKey
from platemark_gateway.chain.client import ChainClient, Rpc
from platemark_gateway.chain.indexer import Indexer
from platemark_gateway.clock import SystemClock
from platemark_gateway.db.session import Database
from platemark_gateway.models.chain import OutboxTransaction
from platemark_gateway.ports import Contract, FactStatus, TransactionView

pytestmark = pytest.mark.anyio

DEPTH = 2
"""geth makes only each 32nd block final by itself."""


@pytest.fixture(
    scope="module",
    params=[
        "embedded",
        pytest.param("prague", marks=pytest.mark.anvil, id="anvil"),
        pytest.param("geth", marks=pytest.mark.geth),
    ],
)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(request.param, tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def client(node: Node, wire: Wire) -> AsyncIterator[ChainClient]:
    rpc = Rpc(node.url, transport=wire)
    yield ChainClient(rpc, final_depth=DEPTH)
    await rpc.close()


@pytest.fixture
async def world(node: Node, client: ChainClient) -> World:
    key = AccountKey(secrets.token_bytes(32))
    node.give(key.address)
    return await make_world(client, key)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with fresh_database(tmp_path) as opened:
        yield opened


async def test_every_header_is_proven_by_its_hash_and_every_log_by_its_header(
    world: World, client: ChainClient
) -> None:
    await world.register()
    await world.declare()
    head = await client.header("latest")
    assert head is not None
    headers = await client.headers(0, head.number)
    assert [each.is_proven for each in headers] == [True] * (head.number + 1)
    addresses = [world.deployment.address(each) for each in Contract]
    logs = await client.logs(addresses, 0, head.number)
    proven = [log for header in headers for log in await client.proven_logs(addresses, header) or ()]
    assert len(logs) >= 2
    assert [(each.log_index, each.topics, each.data, each.block_hash) for each in proven] == [
        (each.log_index, each.topics, each.data, each.block_hash) for each in logs
    ]


async def test_facts_are_seen_then_confirmed_then_final(
    node: Node, world: World, client: ChainClient, database: Database
) -> None:
    recorder = Recorder()
    indexer = Indexer(database, client, world.deployment, [recorder])
    design = await world.register()
    found = []
    for _ in range(DEPTH + 1):
        await catch_up(indexer)
        found.append((await progress(database)).status(recorder.events[0].block.number))
        node.mine()
    assert recorder.designs() == [design]
    assert found == [FactStatus.SEEN, FactStatus.CONFIRMED, FactStatus.FINAL]


async def test_a_chain_that_was_left_alone_is_caught_up_with_exactly(
    node: Node, world: World, client: ChainClient, database: Database
) -> None:
    recorder = Recorder()
    indexer = Indexer(database, client, world.deployment, [recorder])
    expected = [await world.register()]
    await catch_up(indexer)
    for _ in range(3):
        node.mine(5)
        expected.append(await world.register())
    node.mine(DEPTH)
    await catch_up(indexer)
    assert recorder.designs() == expected
    state = await progress(database)
    assert state.final.number == state.head.number - DEPTH


async def test_a_node_that_refuses_long_ranges_is_asked_for_short_ones(
    node: Node, world: World, client: ChainClient, database: Database, wire: Wire
) -> None:
    asked: list[int] = []

    def refuse_long(call: Any) -> Any:
        query = call["params"][0]
        if "fromBlock" not in query:
            return None
        asked.append(int(query["toBlock"], 16) - int(query["fromBlock"], 16) + 1)
        refusal = {"code": -32005, "message": "query returned more than 10000 results"}
        return {"error": refusal} if asked[-1] > 2 else None

    wire.answers["eth_getLogs"] = refuse_long
    recorder = Recorder()
    expected = [await world.register() for _ in range(3)]
    node.mine(12)
    await catch_up(Indexer(database, client, world.deployment, [recorder]))
    assert recorder.designs() == expected
    assert max(asked) > 2 >= asked[-1], "it began with more"


async def test_a_sent_transaction_becomes_final_and_a_refused_one_says_why(
    node: Node, client: ChainClient, database: Database
) -> None:
    sender = await make_sender(database, client, SystemClock())
    node.give(sender.key.address)
    contract = await create_contract(client, sender.key, CREATION)
    reason = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (3).to_bytes(32, "big") + b"why".ljust(32, b"\0")
    async with database.begin() as session:
        fine = await sender.outbox.enqueue(
            session, purpose="test", to=contract, data=STORE + bytes(31) + b"\1", dedupe_key="fine"
        )
        refused = await sender.outbox.enqueue(
            session, purpose="test", to=contract, data=REVERT + reason, dedupe_key="refused"
        )
    views: list[TransactionView | None] = []
    for _ in range(300):  # a busy machine makes a node miss a deadline, and what was put off is taken up again later
        await sender.submitter().run_once()
        node.mine()
        async with database.read() as session:
            views = [await sender.outbox.view(session, each) for each in (fine, refused)]
        if all(view is not None and view.status in {"final", "failed"} for view in views):
            break
        await asyncio.sleep(0.1)
    async with database.read() as session:
        row = await session.get(OutboxTransaction, fine)
    assert [(view.status, view.reason) for view in views if view] == [("final", None), ("failed", "Error(reason=why)")]
    assert row is not None
    assert row.booked is not None
    assert 0 < row.booked < 10**16, "what it did cost"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_around_the_broadcast_sends_once(
    node: Node, client: ChainClient, database: Database, wire: Wire, after: bool
) -> None:
    sender = await make_sender(database, client, SystemClock())
    node.give(sender.key.address)
    async with database.begin() as session:
        queued = await sender.outbox.enqueue(
            session, purpose="test", to=sender.key.address, data=b"", dedupe_key="once"
        )
    hooks = wire.after if after else wire.before
    hooks["eth_sendRawTransaction"] = die
    with pytest.raises(Died):
        await sender.submitter().run_once()
    hooks.clear()
    for _ in range(20):
        await sender.submitter().run_once()
        node.mine()
    async with database.read() as session:
        view = await sender.outbox.view(session, queued)
    assert view is not None
    assert view.status == "final"
    assert await client.nonce(sender.key.address) == 1
