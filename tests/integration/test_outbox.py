"""The outbox against a real chain: every row ends, no crash loses or doubles a transaction."""

import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from chain_process import CREATION, REVERT, STORE, ChainProcess, running_chain
from chain_stack import NodeDiedError, Sender, Wire, connected, die, fresh_database, make_sender, refuse, running_anvil
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, address_text
from platemark_gateway.chain.submitter import Policy
from platemark_gateway.clock import SystemClock
from platemark_gateway.errors import UnavailableError
from platemark_gateway.models.chain import ChainSpending, OutboxAttempt, OutboxTransaction
from platemark_gateway.ports import TransactionView
from simulators.clock import ManualClock
from simulators.databases import DATABASES

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    with running_chain(tmp_path_factory.mktemp("chain")) as running:
        yield running


@pytest.fixture(scope="module")
def contract(chain: ChainProcess) -> Address:
    key = AccountKey(secrets.token_bytes(32))
    chain.fund(key.address)
    return chain.create(key, CREATION)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture(params=DATABASES)
async def sender(
    request: pytest.FixtureRequest, chain: ChainProcess, wire: Wire, tmp_path: Path
) -> AsyncIterator[Sender]:
    async with fresh_database(tmp_path, request.param) as database, connected(chain.url, wire) as client:
        made = await make_sender(database, client, SystemClock())
        chain.fund(made.key.address)
        yield made


async def put(sender: Sender, to: Address, data: bytes, key: str = "", *, purpose: str = "test") -> uuid.UUID:
    async with sender.database.begin() as session:
        return await sender.outbox.enqueue(
            session, purpose=purpose, to=to, data=data, dedupe_key=key or secrets.token_hex(8)
        )


async def look(sender: Sender, transaction: uuid.UUID) -> TransactionView:
    async with sender.database.read() as session:
        view = await sender.outbox.view(session, transaction)
    assert view is not None
    return view


async def count(sender: Sender, table: Any) -> int:
    async with sender.database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


def store(value: int) -> bytes:
    return STORE + value.to_bytes(32, "big")


# --- the way through --------------------------------------------------------------------------------------


async def test_transactions_become_final_in_their_order(sender: Sender, contract: Address, chain: ChainProcess) -> None:
    queued = [await put(sender, contract, store(value)) for value in (1, 2, 3)]
    assert (await look(sender, queued[0])).status == "queued"
    await sender.submitter().run_once()
    views = [await look(sender, each) for each in queued]
    assert [each.status for each in views] == ["final"] * 3
    blocks = []
    for view in views:
        assert view.hash is not None
        blocks.append(int(chain.rpc("eth_getTransactionReceipt", "0x" + view.hash.hex())["blockNumber"], 16))
    assert blocks == sorted(blocks)
    assert await sender.submitter().run_once() is False


async def test_same_dedupe_key_is_the_same_transaction(sender: Sender, contract: Address) -> None:
    first = await put(sender, contract, store(1), "register:1")
    assert await put(sender, contract, store(1), "register:1") == first
    await sender.submitter().run_once()
    assert await put(sender, contract, store(1), "register:1") == first
    assert await sender.client.nonce(sender.key.address) == 1


async def test_refused_transaction_fails_with_the_contracts_reason_and_costs_no_nonce(
    sender: Sender, contract: Address
) -> None:
    from platemark.protocol import abi

    entry = abi.load("PrintLicense").entry("error", "CapExceeded")
    data = abi.selector(entry) + (7).to_bytes(32, "big") + (5).to_bytes(32, "big") + (2).to_bytes(32, "big")
    refused = await put(sender, contract, REVERT + data, "mint")
    follower = await put(sender, contract, store(9))
    await sender.submitter().run_once()
    view = await look(sender, refused)
    assert view.status == "failed"
    names = [member["name"] for member in entry["inputs"]]
    assert view.reason == f"CapExceeded({names[0]}=7, {names[1]}=5, {names[2]}=2)"
    async with sender.database.read() as session:
        row = await session.get(OutboxTransaction, refused)
    assert row is not None
    assert (row.code, row.nonce) == ("cap-exceeded", None)
    assert (await look(sender, follower)).status == "final"
    assert await put(sender, contract, store(1), "mint") != refused, "a failed act may be tried again"


async def test_transaction_that_fails_on_chain_ends_failed_with_its_reason(
    sender: Sender, contract: Address, wire: Wire
) -> None:
    wire.answers["eth_estimateGas"] = lambda _call: {"result": hex(100_000)}
    data = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + (3).to_bytes(32, "big") + b"why".ljust(32, b"\0")
    failing = await put(sender, contract, REVERT + data)
    await sender.submitter().run_once()
    view = await look(sender, failing)
    assert (view.status, view.reason) == ("failed", "Error(reason=why)")
    assert await sender.client.nonce(sender.key.address) == 1


async def test_out_of_gas_is_named(sender: Sender, contract: Address, wire: Wire) -> None:
    wire.answers["eth_estimateGas"] = lambda _call: {"result": hex(20_000)}
    failing = await put(sender, contract, store(12_345))  # no other test stores it: what changes nothing is cheap
    await sender.submitter().run_once()
    assert (await look(sender, failing)).reason == "failed on chain: out of gas"


# --- crashes ----------------------------------------------------------------------------------------------


async def test_crash_between_sign_and_broadcast_sends_the_same_bytes(
    sender: Sender, contract: Address, wire: Wire
) -> None:
    waiting = await put(sender, contract, store(4))
    wire.before["eth_sendRawTransaction"] = die
    with pytest.raises(NodeDiedError):
        await sender.submitter().run_once()
    signed = await look(sender, waiting)
    assert signed.status == "sent"
    wire.before.clear()
    await sender.submitter().run_once()
    assert (await look(sender, waiting)).status == "final"
    assert (await look(sender, waiting)).hash == signed.hash
    assert await sender.client.nonce(sender.key.address) == 1
    assert await count(sender, OutboxAttempt) == 1


async def test_crash_between_broadcast_and_record_does_not_send_twice(
    sender: Sender, contract: Address, wire: Wire
) -> None:
    waiting = await put(sender, contract, store(5))
    wire.after["eth_sendRawTransaction"] = die
    with pytest.raises(NodeDiedError):
        await sender.submitter().run_once()
    wire.after.clear()
    await sender.submitter().run_once()
    assert (await look(sender, waiting)).status == "final"
    assert await sender.client.nonce(sender.key.address) == 1
    assert await count(sender, OutboxAttempt) == 1


async def test_crash_before_sign_leaves_it_queued(sender: Sender, contract: Address, wire: Wire) -> None:
    waiting = await put(sender, contract, store(5))
    wire.before["eth_estimateGas"] = die
    with pytest.raises(NodeDiedError):
        await sender.submitter().run_once()
    assert (await look(sender, waiting)).status == "queued"
    assert await count(sender, OutboxAttempt) == 0
    wire.before.clear()
    await sender.submitter().run_once()
    assert (await look(sender, waiting)).status == "final"


@pytest.mark.parametrize(
    "method",
    ["eth_getBlockByNumber", "eth_estimateGas", "eth_getTransactionCount", "eth_sendRawTransaction"],
)
async def test_node_that_is_away_is_waited_for(sender: Sender, contract: Address, wire: Wire, method: str) -> None:
    waiting = await put(sender, contract, store(6))
    wire.before[method] = refuse
    with pytest.raises(UnavailableError) as caught:
        await sender.submitter().run_once()
    assert caught.value.code == "rpc-unreachable"
    wire.before.clear()
    await sender.submitter().run_once()
    assert (await look(sender, waiting)).status == "final"
    assert await sender.client.nonce(sender.key.address) == 1


async def test_two_processes_send_each_transaction_once(sender: Sender, contract: Address) -> None:
    import asyncio

    queued = [await put(sender, contract, store(value)) for value in range(6)]
    await asyncio.gather(*(sender.submitter().run_once() for _ in range(3)))
    while await sender.submitter().run_once():
        pass
    assert [(await look(sender, each)).status for each in queued] == ["final"] * 6
    assert await sender.client.nonce(sender.key.address) == 6


# --- money and nonces -------------------------------------------------------------------------------------


async def test_account_without_coins_waits_and_goes_on_when_funded(
    chain: ChainProcess, contract: Address, tmp_path: Path
) -> None:
    clock = ManualClock()
    async with fresh_database(tmp_path) as database, connected(chain.url) as client:
        poor = await make_sender(database, client, clock)
        waiting = await put(poor, contract, store(1))
        follower = await put(poor, contract, store(2))
        for _ in range(12):
            await poor.submitter().run_once()
            clock.forward(120)
        assert (await look(poor, waiting)).status in {"queued", "sent"}
        chain.fund(poor.key.address)
        for _ in range(3):
            await poor.submitter().run_once()
            clock.forward(120)
        assert [(await look(poor, each)).status for each in (waiting, follower)] == ["final", "final"]


async def test_nonce_taken_by_another_program_is_signed_again(
    sender: Sender, contract: Address, chain: ChainProcess, wire: Wire
) -> None:
    waiting = await put(sender, contract, store(7))
    wire.before["eth_sendRawTransaction"] = die
    with pytest.raises(NodeDiedError):
        await sender.submitter().run_once()
    wire.before.clear()
    chain.send(sender.key, sender.key.address, value=1)
    for _ in range(3):
        await sender.submitter().run_once()
    assert (await look(sender, waiting)).status == "final"
    assert await sender.client.nonce(sender.key.address) == 2


async def test_transaction_no_node_takes_makes_way_for_later_ones(
    sender: Sender, contract: Address, wire: Wire
) -> None:
    hopeless = await put(sender, contract, store(8))
    follower = await put(sender, contract, store(9))
    refused: list[str] = []

    def refuse_first(call: Any) -> Any:
        if not refused or call["params"][0] == refused[0]:
            refused[:] = [call["params"][0]]
            return {"error": {"code": -32000, "message": "oversized data"}}
        return None

    wire.answers["eth_sendRawTransaction"] = refuse_first
    for _ in range(4):
        await sender.submitter().run_once()
    view = await look(sender, hopeless)
    assert (view.status, view.reason) == ("failed", "the node refuses: oversized data")
    assert (await look(sender, follower)).status == "final"
    assert await sender.client.nonce(sender.key.address) == 2


async def test_fees_above_the_limit_are_waited_out(chain: ChainProcess, contract: Address, tmp_path: Path) -> None:
    async with fresh_database(tmp_path) as database, connected(chain.url) as client:
        thrifty = await make_sender(database, client, SystemClock(), Policy(fee_limit=10))
        chain.fund(thrifty.key.address)
        waiting = await put(thrifty, contract, store(1))
        assert await thrifty.submitter().run_once() is False
        assert (await look(thrifty, waiting)).status == "queued"


async def test_secret_key_is_nowhere_in_the_database(chain: ChainProcess, contract: Address, tmp_path: Path) -> None:
    async with fresh_database(tmp_path) as database, connected(chain.url) as client:
        sender = await make_sender(database, client, SystemClock())
        chain.fund(sender.key.address)
        waiting = await put(sender, contract, store(1))
        await sender.submitter().run_once()
        assert (await look(sender, waiting)).status == "final"
    files = list(tmp_path.iterdir())  # noqa: ASYNC240 (a test may block)
    contents = [file.read_bytes() for file in files]
    assert any(bytes(sender.key.address) in content for content in contents)
    assert not any(sender.key.secret() in content for content in contents)


# --- anvil: blocks that wait, and blocks that go away -----------------------------------------------------


@pytest.mark.anvil
async def test_stuck_transaction_is_replaced_with_higher_fees(tmp_path: Path) -> None:
    clock = ManualClock()
    with running_anvil("--no-mining") as anvil:
        async with fresh_database(tmp_path) as database, connected(anvil.url) as client:
            sender = await make_sender(database, client, clock)
            anvil.fund(sender.key.address)
            anvil.mine(2)
            waiting = await put(sender, sender.key.address, b"")
            await sender.submitter().run_once()
            first = await look(sender, waiting)
            assert first.status == "sent"
            clock.forward(61)
            await sender.submitter().run_once()
            await sender.submitter().run_once()
            second = await look(sender, waiting)
            assert second.hash != first.hash
            async with database.read() as session:
                attempts = list(await session.scalars(select(OutboxAttempt).order_by(OutboxAttempt.most_fee)))
            assert attempts[1].most_fee * 100 >= attempts[0].most_fee * 110
            assert attempts[1].priority_fee * 100 >= attempts[0].priority_fee * 110
            anvil.mine()
            await sender.submitter().run_once()
            assert (await look(sender, waiting)).status == "seen"
            anvil.mine()
            await sender.submitter().run_once()
            assert (await look(sender, waiting)).status == "confirmed"
            anvil.mine(3)
            await sender.submitter().run_once()
            final = await look(sender, waiting)
            assert (final.status, final.hash) == ("final", second.hash)
            assert await client.nonce(sender.key.address) == 1


@pytest.mark.anvil
async def test_transaction_of_a_block_that_goes_away_is_sent_again(tmp_path: Path) -> None:
    clock = ManualClock()
    with running_anvil() as anvil:
        async with fresh_database(tmp_path) as database, connected(anvil.url) as client:
            sender = await make_sender(database, client, clock)
            anvil.fund(sender.key.address)
            anvil.mine(4)
            waiting = await put(sender, sender.key.address, b"")
            await sender.submitter().run_once()
            assert (await look(sender, waiting)).status == "seen"
            anvil.reorg(1)
            await sender.submitter().run_once()
            clock.forward(60)
            await sender.submitter().run_once()
            anvil.mine(3)
            await sender.submitter().run_once()
            assert (await look(sender, waiting)).status == "final"
            assert int(anvil.rpc("eth_getTransactionCount", address_text(sender.key.address), "latest"), 16) == 1


# --- the day's cap ----------------------------------------------------------------------------------------


async def spent(sender: Sender) -> int:
    async with sender.database.read() as session:
        row = await session.get(ChainSpending, (sender.key.address, sender.clock.now() // 86_400))
    return 0 if row is None else row.wei


@pytest.fixture(params=DATABASES)
async def capped(
    request: pytest.FixtureRequest, chain: ChainProcess, contract: Address, wire: Wire, tmp_path: Path
) -> AsyncIterator[tuple[Sender, ManualClock]]:
    """An account that may pay for about two of these transactions a day; half of it is the reserve."""
    clock = ManualClock()
    async with fresh_database(tmp_path, request.param) as database, connected(chain.url, wire) as client:
        made = await make_sender(database, client, clock)
        chain.fund(made.key.address)
        await put(made, contract, store(1), purpose="license.mint")
        await made.submitter().run_once()
        one = await spent(made)
        clock.forward(86_400)
        made.policy = Policy(wei_per_day=20 * one, reserve_percent=75)
        yield made, clock


async def test_what_a_transaction_did_cost_takes_the_place_of_what_was_booked(
    capped: tuple[Sender, ManualClock], contract: Address, chain: ChainProcess
) -> None:
    sender, _ = capped
    before = await sender.client.balance_of(sender.key.address)
    await put(sender, contract, store(2), purpose="license.mint")
    await sender.submitter().run_once()
    assert await spent(sender) == before - await sender.client.balance_of(sender.key.address) > 0


async def test_at_the_days_cap_relays_wait_and_say_so_while_anchors_go_on(
    capped: tuple[Sender, ManualClock], contract: Address
) -> None:
    sender, clock = capped
    relays = [await put(sender, contract, store(value), purpose="license.mint") for value in range(2, 12)]
    for _ in range(6):
        await sender.submitter().run_once()
        clock.forward(16)
    states = [await look(sender, each) for each in relays]
    assert states[0].status == "final"
    waiting = [each for each in states if each.status != "final"]
    assert waiting
    assert {(each.status, each.waiting_for) for each in waiting} == {("queued", "spending-cap")}
    budget = sender.policy.budget("license.mint")
    assert budget is not None
    assert await spent(sender) <= budget
    anchor = await put(sender, contract, store(99), purpose="anchor")
    await sender.submitter().run_once()
    assert (await look(sender, anchor)).status == "final"
    clock.forward(86_400)
    await sender.submitter().run_once()
    later = [await look(sender, each) for each in relays]
    assert sum(each.status == "final" for each in later) > sum(each.status == "final" for each in states)
    assert await spent(sender) <= budget


async def test_the_reserve_ends_too(capped: tuple[Sender, ManualClock], contract: Address) -> None:
    sender, clock = capped
    sender.policy = Policy(wei_per_day=1)
    anchor = await put(sender, contract, store(99), purpose="anchor")
    for _ in range(3):
        await sender.submitter().run_once()
        clock.forward(16)
    assert (await look(sender, anchor)).waiting_for == "spending-cap"
    assert await spent(sender) == 0


async def test_what_overtakes_does_not_fail_because_of_what_it_overtook(
    capped: tuple[Sender, ManualClock], contract: Address, wire: Wire
) -> None:
    sender, _ = capped
    sender.policy = Policy(wei_per_day=10**18, reserve_percent=100)
    first = await put(sender, contract, store(3), purpose="license.mint")
    recall = await put(sender, contract, REVERT, purpose="design.recall")
    await sender.submitter().run_once()
    assert [(await look(sender, each)).status for each in (first, recall)] == ["queued", "queued"]


# --- a clock that jumps -----------------------------------------------------------------------------------


async def test_clock_that_was_ahead_keeps_nothing_waiting(
    chain: ChainProcess, contract: Address, wire: Wire, tmp_path: Path
) -> None:
    clock = ManualClock()
    async with fresh_database(tmp_path) as database, connected(chain.url, wire) as client:
        sender = await make_sender(database, client, clock)
        poor = await put(sender, contract, store(1))
        clock.jump(10**8)
        await sender.submitter().run_once()
        assert (await look(sender, poor)).status == "sent", "refused for lack of funds, until later"
        clock.jump(-(10**8))
        chain.fund(sender.key.address)
        await sender.submitter().run_once()
        assert (await look(sender, poor)).status == "final"
        wire.answers["eth_sendRawTransaction"] = lambda _call: {"result": "0x" + "12" * 32}
        lost = await put(sender, contract, store(2))
        clock.jump(10**8)
        await sender.submitter().run_once()
        clock.jump(-(10**8))
        wire.answers.clear()
        for _ in range(2):
            await sender.submitter().run_once()
        assert (await look(sender, lost)).status == "final"
        assert await client.nonce(sender.key.address) == 2
