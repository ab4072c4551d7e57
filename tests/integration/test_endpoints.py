"""Several nodes of one chain: a silent or wrong one is passed by, a lying one permits nothing and hides nothing."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain_process import ChainProcess, running_chain
from chain_stack import Recorder, Wire, World, catch_up, connected, fresh_database, make_sender, make_world, progress
from platemark.errors import PlatemarkError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import address_text, digest32, digest_text
from platemark_gateway.chain.client import ChainClient, ContractReader, Rpc, WrongChainError
from platemark_gateway.chain.deploy import DeploymentMismatchError, verify_deployment
from platemark_gateway.chain.endpoints import Endpoints
from platemark_gateway.chain.errors import NodeError, NodeUnreachableError
from platemark_gateway.chain.indexer import Indexer
from platemark_gateway.chain.reorg import FinalityBrokenError
from platemark_gateway.clock import SystemClock
from platemark_gateway.db.session import Database
from platemark_gateway.ports import FactStatus
from simulators.clock import ManualClock
from simulators.databases import DATABASES

pytestmark = pytest.mark.anyio

OTHER_HASH = "0x" + "12" * 32


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    with running_chain(tmp_path_factory.mktemp("chain"), "--time-travel") as running:
        yield running


@pytest.fixture
async def world(chain: ChainProcess) -> AsyncIterator[World]:
    key = AccountKey(secrets.token_bytes(32))
    chain.fund(key.address)
    async with connected(chain.url) as client:
        yield await make_world(client, key)


@pytest.fixture(params=DATABASES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with fresh_database(tmp_path, request.param) as opened:
        yield opened


@asynccontextmanager
async def nodes(
    world: World, url: str, count: int = 2, clock: ManualClock | None = None
) -> AsyncIterator[tuple[ChainClient, Endpoints, list[Wire]]]:
    """Open several ways to the same chain, each of which a test can bend."""
    wires = [Wire() for _ in range(count)]
    endpoints = Endpoints(
        [Rpc(url, timeout_seconds=2, transport=wire, tries=1) for wire in wires],
        monotonic=(clock or ManualClock()).monotonic,
    )
    endpoints.require(partial(verify_deployment, deployment=world.deployment))
    try:
        yield ChainClient(endpoints), endpoints, wires
    finally:
        await endpoints.close()


def states(endpoints: Endpoints) -> list[str]:
    return [each.state for each in endpoints.health()]


def fail(error: Exception) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


# --- which node is asked ----------------------------------------------------------------------------------

FAILURES = {
    "dead": httpx.ConnectError("refused"),
    "slow": httpx.ReadTimeout("slow"),
    "broken off": httpx.RemoteProtocolError("gone"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_node_that_fails_is_passed_by_and_asked_again_when_it_is_back(
    world: World, chain: ChainProcess, failure: str
) -> None:
    clock = ManualClock()
    async with nodes(world, chain.url, clock=clock) as (client, endpoints, (first, second)):
        head = await client.header("latest")
        assert second.calls == []
        first.before["eth_getBlockByNumber"] = fail(FAILURES[failure])
        assert await client.header("latest") == head
        assert states(endpoints) == ["away", "ok"]
        asked = len(first.calls)
        assert await client.header("latest") == head
        assert len(first.calls) == asked, "it is left alone for a while"
        first.before.clear()
        clock.forward(2)
        assert await client.header("latest") == head
        assert len(first.calls) > asked
        assert states(endpoints) == ["ok", "ok"]


async def test_node_that_hangs_costs_its_deadline_once(world: World, chain: ChainProcess) -> None:
    class Hangs(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            raise AssertionError("nobody waits for so long")

    rpcs = [Rpc(chain.url, timeout_seconds=0.05, transport=Hangs(), tries=1), Rpc(chain.url, tries=1)]
    endpoints = Endpoints(rpcs, monotonic=ManualClock().monotonic)
    async with asyncio.timeout(20):
        for _ in range(20):
            assert await ChainClient(endpoints).chain_id() == chain.chain_id
    assert states(endpoints) == ["away", "ok"]
    await endpoints.close()


@pytest.mark.parametrize("answer", [{"error": {"code": -32603, "message": "internal"}}, {"error": 1}, {}])
async def test_node_that_answers_an_error_or_nonsense_is_passed_by(
    world: World, chain: ChainProcess, answer: Any
) -> None:
    async with nodes(world, chain.url) as (client, _, (first, _)):
        first.answers["eth_getTransactionCount"] = lambda _call: answer
        assert await client.nonce(world.key.address) == await world.client.nonce(world.key.address)


async def test_node_of_another_chain_is_never_asked(world: World, chain: ChainProcess) -> None:
    async with nodes(world, chain.url) as (client, endpoints, (first, _)):
        first.answers["eth_chainId"] = lambda _call: {"result": "0x1"}
        first.answers["eth_getBlockByNumber"] = lambda _call: {"result": None}
        assert await client.header("latest") is not None
        assert states(endpoints) == ["chain-foreign", "ok"]
        assert set(first.calls) == {"eth_chainId"}


async def test_node_with_other_code_is_never_asked(world: World, chain: ChainProcess) -> None:
    async with nodes(world, chain.url) as (client, endpoints, (first, _)):
        first.answers["eth_getCode"] = lambda _call: {"result": "0x6000"}
        assert await client.balance_of(world.key.address) > 0
        assert states(endpoints) == ["deployment-mismatch", "ok"]
        assert "eth_getBalance" not in first.calls


async def test_node_that_comes_back_as_another_chain_is_not_taken_back(world: World, chain: ChainProcess) -> None:
    clock = ManualClock()
    async with nodes(world, chain.url, clock=clock) as (client, endpoints, (first, _)):
        first.before["eth_getBlockByNumber"] = fail(httpx.ConnectError("restarts"))
        await client.header("latest")
        first.before.clear()
        first.answers["eth_chainId"] = lambda _call: {"result": "0x1"}
        clock.forward(10)
        asked = first.calls.count("eth_getBlockByNumber")
        await client.header("latest")
        assert first.calls.count("eth_getBlockByNumber") == asked
        assert states(endpoints) == ["chain-foreign", "ok"]


async def test_node_that_changes_its_chain_without_a_failure_is_found_out(world: World, chain: ChainProcess) -> None:
    clock = ManualClock()
    async with nodes(world, chain.url, clock=clock) as (client, endpoints, (first, _)):
        await client.header("latest")
        first.answers["eth_chainId"] = lambda _call: {"result": "0x1"}
        clock.forward(301)
        await client.header("latest")
        assert states(endpoints) == ["chain-foreign", "ok"]


@pytest.mark.parametrize(
    "method, answer, kind",
    [("eth_chainId", "0x1", WrongChainError), ("eth_getCode", "0x", DeploymentMismatchError)],
)
async def test_without_any_right_node_the_reason_is_named(
    world: World, chain: ChainProcess, method: str, answer: str, kind: type[PlatemarkError]
) -> None:
    async with nodes(world, chain.url) as (client, _, wires):
        for wire in wires:
            wire.answers[method] = lambda _call: {"result": answer}
        with pytest.raises(kind):
            await client.header("latest")


async def test_without_any_node_the_chain_is_unreachable(world: World, chain: ChainProcess) -> None:
    async with nodes(world, chain.url) as (client, _, wires):
        for wire in wires:
            wire.before["eth_chainId"] = fail(httpx.ConnectError("refused"))
        for _ in range(2):
            with pytest.raises(NodeUnreachableError):
                await client.header("latest")


async def test_a_transaction_goes_to_all_nodes_and_one_that_takes_it_is_enough(
    world: World, chain: ChainProcess
) -> None:
    async with nodes(world, chain.url, 3) as (client, _, (first, second, third)):
        raw = chain.sign(world.key, world.key.address, value=1)
        first.answers["eth_sendRawTransaction"] = lambda _call: {"error": {"code": -32000, "message": "no"}}
        second.before["eth_sendRawTransaction"] = fail(httpx.ConnectError("refused"))
        await client.send(raw)
        assert all("eth_sendRawTransaction" in wire.calls for wire in (first, second, third))
        third.answers["eth_sendRawTransaction"] = first.answers["eth_sendRawTransaction"]
        with pytest.raises(NodeError) as caught:
            await client.send(raw)
        assert caught.value.rpc_message == "no"


async def test_single_node_is_trusted_and_says_so(world: World, chain: ChainProcess) -> None:
    async with nodes(world, chain.url, 1) as (client, endpoints, _):
        await client.header("latest")
        assert states(endpoints) == ["trusted"]


def test_names_hold_no_secret() -> None:
    urls = ["https://user:secret@one.test/v3/secret", "https://two.test/secret", "https://two.test/other"]
    endpoints = Endpoints([Rpc(url) for url in urls])
    assert [each.name for each in endpoints.health()] == ["one.test", "two.test#1", "two.test#2"]


# --- nodes that lie ---------------------------------------------------------------------------------------


async def test_facts_are_final_when_two_nodes_agree(world: World, chain: ChainProcess, database: Database) -> None:
    async with nodes(world, chain.url) as (client, _, (_, second)):
        recorder = Recorder()
        await world.register()
        await catch_up(Indexer(database, client, world.deployment, [recorder]))
        state = await progress(database)
        assert state.status(recorder.events[0].block.number) is FactStatus.FINAL
        assert state.dispute is None
        assert "eth_getLogs" in second.calls


async def test_node_with_another_final_block_stops_what_permits_and_not_what_forbids(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url) as (client, _, (_, second)):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await catch_up(indexer)
        before = await progress(database)

        def other_hash(call: Any) -> Any:
            if call["params"][0] in {"latest", "finalized"} or int(call["params"][0], 16) <= before.final.number:
                return None
            found = chain.rpc("eth_getBlockByNumber", *call["params"])
            return {"result": found and found | {"hash": OTHER_HASH}}

        second.answers["eth_getBlockByNumber"] = other_hash
        design = await world.register()
        await catch_up(indexer)
        state = await progress(database)
        assert recorder.designs() == [design], "it is seen, so that what forbids acts"
        assert state.status(recorder.events[0].block.number) is not FactStatus.FINAL
        assert (state.final, state.dispute) == (before.final, "chain-disputed")
        second.answers.clear()
        await catch_up(indexer)
        state = await progress(database)
        assert state.status(recorder.events[0].block.number) is FactStatus.FINAL
        assert state.dispute is None


async def test_facts_wait_while_the_second_node_is_away(world: World, chain: ChainProcess, database: Database) -> None:
    clock = ManualClock()
    async with nodes(world, chain.url, clock=clock) as (client, _, (_, second)):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await catch_up(indexer)
        for method in ("eth_chainId", "eth_getBlockByNumber", "eth_getLogs"):
            second.before[method] = fail(httpx.ConnectError("refused"))
        await world.register()
        await catch_up(indexer)
        state = await progress(database)
        assert state.status(recorder.events[0].block.number) is not FactStatus.FINAL
        assert state.dispute is None, "nobody says otherwise"
        second.before.clear()
        clock.forward(61)
        await catch_up(indexer)
        assert (await progress(database)).status(recorder.events[0].block.number) is FactStatus.FINAL


async def test_with_three_nodes_two_are_enough_and_the_third_is_found_out(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url, 3) as (client, endpoints, (_, second, _)):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await catch_up(indexer)
        second.answers["eth_getLogs"] = lambda _call: {"result": []}
        await world.register()
        await catch_up(indexer)
        state = await progress(database)
        assert state.status(recorder.events[0].block.number) is FactStatus.FINAL
        assert states(endpoints) == ["ok", "contradicts", "ok"]


async def with_an_invented_event(world: World) -> list[Any]:
    """Return the logs of the registry's world and one more, of a design that nobody registered."""
    query = {
        "fromBlock": hex(world.deployment.block + 1),
        "toBlock": "latest",
        "address": address_text(world.deployment.registry),
    }
    logs: list[Any] = await world.client.rpc.call("eth_getLogs", query)
    last = logs[-1]
    topics = [last["topics"][0], "0x" + "77" * 32, *last["topics"][2:]]
    return [*logs, last | {"topics": topics, "logIndex": hex(int(last["logIndex"], 16) + 1)}]


async def test_invented_event_is_not_believed_even_of_a_single_node(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url, 1) as (client, endpoints, (first,)):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await catch_up(indexer)
        design = await world.register()
        lies = await with_an_invented_event(world)
        first.answers["eth_getLogs"] = lambda _call: {"result": lies}
        await catch_up(indexer)
        assert recorder.designs() == [design]
        assert [(each.state, each.contradictions) for each in endpoints.health()] == [("contradicts", 1)]


async def test_node_whose_receipts_are_not_the_blocks_is_passed_by(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url, 3) as (client, endpoints, (first, _, _)):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await catch_up(indexer)
        design = await world.register()
        first.answers["eth_getBlockReceipts"] = lambda _call: {"result": []}
        await catch_up(indexer)
        assert recorder.designs() == [design]
        assert states(endpoints) == ["contradicts", "ok", "ok"]
        assert (await progress(database)).status(recorder.events[0].block.number) is FactStatus.FINAL


async def test_node_whose_headers_do_not_hash_is_passed_by(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url, 3) as (client, endpoints, (first, _, _)):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await catch_up(indexer)
        await indexer.run_once()
        design = await world.register()
        head = await world.client.header("latest")
        assert head is not None

        def later(call: Any) -> Any:
            found = chain.rpc("eth_getBlockByNumber", *call["params"])
            return {
                "result": found | {"timestamp": "0x1"} if found and found["hash"] == digest_text(head.hash) else found
            }

        first.answers["eth_getBlockByNumber"] = later
        await catch_up(indexer)
        assert recorder.designs() == [design]
        assert states(endpoints)[0] == "contradicts"


@pytest.mark.parametrize("caught_up", [False, True])
async def test_event_that_the_preferred_node_hides_is_found_by_the_other(
    world: World, chain: ChainProcess, database: Database, caught_up: bool
) -> None:
    """Hidden in a range that is final already, where headers are not read; or first while the other is away."""
    clock = ManualClock()
    async with nodes(world, chain.url, clock=clock) as (client, endpoints, (first, second)):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await catch_up(indexer)
        first.answers["eth_getLogs"] = lambda _call: {"result": []}
        design = await world.register()
        if caught_up:
            second.before["eth_getBlockByNumber"] = fail(httpx.ConnectError("refused"))
            await catch_up(indexer)
            assert recorder.designs() == []
            second.before.clear()
            clock.forward(61)
        await catch_up(indexer)
        assert recorder.designs() == [design]
        assert states(endpoints) == ["contradicts", "ok"]
        assert (await progress(database)).status(recorder.events[0].block.number) is not FactStatus.FINAL


async def test_receipt_that_only_one_node_shows_makes_nothing_final(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url) as (client, _, (_, second)):
        sender = await make_sender(database, client, SystemClock())
        chain.fund(sender.key.address)
        async with database.begin() as session:
            queued = await sender.outbox.enqueue(
                session, purpose="test", to=sender.key.address, data=b"", dedupe_key="once"
            )
        second.answers["eth_getTransactionReceipt"] = lambda _call: {"result": None}
        for _ in range(3):
            await sender.submitter().run_once()
        async with database.read() as session:
            view = await sender.outbox.view(session, queued)
        assert view is not None
        assert view.status in {"seen", "confirmed"}
        second.answers.clear()
        await sender.submitter().run_once()
        async with database.read() as session:
            view = await sender.outbox.view(session, queued)
        assert view is not None
        assert view.status == "final"


async def test_nonce_that_only_one_node_calls_used_sends_nothing_twice(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url) as (client, _, (first, second)):
        sender = await make_sender(database, client, SystemClock())
        chain.fund(sender.key.address)
        async with database.begin() as session:
            await sender.outbox.enqueue(session, purpose="test", to=sender.key.address, data=b"", dedupe_key="once")
        for wire in (first, second):
            wire.answers["eth_sendRawTransaction"] = lambda _call: {"result": OTHER_HASH}
        await sender.submitter().run_once()
        first.answers["eth_getTransactionCount"] = lambda _call: {"result": "0x5"}
        for _ in range(3):
            await sender.submitter().run_once()
        first.answers.clear()
        second.answers.clear()
        sender.clock = ManualClock(int(SystemClock().now()) + 30)
        await sender.submitter().run_once()
        assert await world.client.nonce(sender.key.address) == 1


async def test_contract_wallet_that_only_one_node_vouches_for_has_not_signed(world: World, chain: ChainProcess) -> None:
    async with nodes(world, chain.url) as (client, _, wires):
        reader = ContractReader(client, world.deployment)
        wallet = world.deployment.registry
        wires[0].answers["eth_call"] = lambda _call: {"result": "0x1626ba7e" + "00" * 28}
        wires[1].answers["eth_call"] = lambda _call: {"result": "0x"}
        assert not await reader.is_signed_by(wallet, digest32(b"\x07" * 32), b"any form")
        wires[1].answers["eth_call"] = wires[0].answers["eth_call"]
        assert await reader.is_signed_by(wallet, digest32(b"\x07" * 32), b"any form")


async def test_final_block_that_one_node_replaces_is_that_nodes_fault(
    world: World, chain: ChainProcess, database: Database
) -> None:
    async with nodes(world, chain.url, 3) as (client, endpoints, wires):
        recorder = Recorder()
        indexer = Indexer(database, client, world.deployment, [recorder])
        await world.register()
        await catch_up(indexer)
        state = await progress(database)

        def replaced(call: Any) -> Any:
            found = chain.rpc("eth_getBlockByNumber", *call["params"])
            is_final = found and int(found["number"], 16) == state.final.number
            return {"result": found | {"hash": OTHER_HASH} if is_final else found}

        wires[0].answers["eth_getBlockByNumber"] = replaced
        design = await world.register()
        await catch_up(indexer)
        assert recorder.designs()[1:] == [design]
        assert states(endpoints) == ["contradicts", "ok", "ok"]
        for wire in wires:
            wire.answers["eth_getBlockByNumber"] = replaced
        state = await progress(database)
        with pytest.raises(FinalityBrokenError):
            await indexer.run_once()
        state = await progress(database)
        assert state.dispute == "chain-rewritten"
        assert state.status(recorder.events[0].block.number) is FactStatus.CONFIRMED, "nothing counts as final"
        for wire in wires:
            wire.answers.clear()
        await catch_up(indexer)
        state = await progress(database)
        assert state.dispute is None
        assert state.status(recorder.events[0].block.number) is FactStatus.FINAL
