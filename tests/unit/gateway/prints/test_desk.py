import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from platemark.errors import PlatemarkError
from platemark.protocol.units import Digest32
from platemark_gateway.errors import ConflictError, UnavailableError
from platemark_gateway.printlog.service import open_log
from platemark_gateway.prints import desk as desks
from platemark_gateway.prints import service
from platemark_gateway.prints.desk import Desk
from platemark_gateway.prints.service import Answer
from simulators.agent import Agent
from simulators.databases import DATABASES, database_of
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DATABASES)
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SimulatedGateway]:
    async with simulated_gateway(tmp_path, database_url=await database_of(request.param, tmp_path)) as made:
        assert await open_log(made.container) is None
        yield made


@pytest.fixture
async def agent(gateway: SimulatedGateway) -> Agent:
    made = Agent(gateway, Designer(gateway))
    await made.designer.licensed(made.holder.address, prints=20)
    return await made.reserved(prints=10)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are counted, in order."""
    sizes: list[int] = []
    original = service.count

    async def count(session: Any, container: Any, plates: Sequence[Any]) -> Any:
        sizes.append(sum(map(len, plates)))
        await asyncio.sleep(0.01)
        return await original(session, container, plates)

    monkeypatch.setattr(service, "count", count)
    return sizes


async def redeem_all(agent: Agent, sequences: Sequence[int]) -> list[Answer | BaseException]:
    desk = Desk(agent.gateway.container)
    public = agent.recipient.public_bytes
    await desk.redeem(agent.request(1), public)  # agent and block are known from here on: nothing overtakes
    return await asyncio.gather(
        *(desk.redeem(agent.request(sequence), public) for sequence in sequences), return_exceptions=True
    )


async def test_requests_gather_while_a_batch_is_committed(agent: Agent, batches: list[int]) -> None:
    answers = await redeem_all(agent, range(1, 11))
    assert [answer.sequence for answer in answers if isinstance(answer, Answer)] == list(range(1, 11))
    assert sum(batches) == 11
    assert len(batches) <= 5, "the first, the one that did not wait for others, and a few for the rest"


async def test_what_is_on_its_way_when_a_batch_is_due_joins_it(agent: Agent, batches: list[int]) -> None:
    desk, public = Desk(agent.gateway.container), agent.recipient.public_bytes
    await desk.redeem(agent.request(1), public)
    batches.clear()

    async def later(turns: int) -> Answer:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await desk.redeem(agent.request(2 + turns), public)

    await asyncio.gather(*map(later, range(6)))
    assert batches == [6], "none of them waited for a transaction of another"


async def test_a_batch_has_a_largest_size(agent: Agent, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "MAX_BATCH", 3)
    answers = await redeem_all(agent, range(1, 11))
    assert all(isinstance(answer, Answer) for answer in answers)
    assert max(batches) == 3


async def test_a_plate_is_never_divided_between_batches(
    agent: Agent, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "MAX_BATCH", 3)
    others = [
        await Agent(agent.gateway, agent.designer, salt=Digest32(bytes([7, at] * 16))).reserved(2) for at in (1, 2)
    ]
    desk, public = Desk(agent.gateway.container), agent.recipient.public_bytes
    await desk.redeem(agent.request(1), public)
    for each in others:
        await desk.redeem(each.request(1), each.recipient.public_bytes)
    batches.clear()
    single = [asyncio.create_task(desk.redeem(agent.request(sequence), public)) for sequence in (2, 3)]
    plate = await desk.redeem_plate([(each.request(2), each.recipient.public_bytes) for each in others])
    assert [each.sequence for each in [*await asyncio.gather(*single), *plate]] == [2, 3, 2, 2]
    assert sum(batches) == 4
    assert max(batches) <= 3


async def test_a_refusal_leaves_the_rest_of_its_batch_alone(agent: Agent) -> None:
    answers = await redeem_all(agent, [1, 7, 2, 3])
    assert [type(answer) for answer in answers] == [Answer, ConflictError, Answer, Answer]


async def test_a_batch_that_fails_is_tried_one_by_one(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    original = service.count

    async def count(session: Any, container: Any, plates: Sequence[Any]) -> Any:
        if any(order.signed.request.sequence == 2 for plate in plates for order in plate):
            raise IntegrityError("INSERT", {}, Exception("unique"))
        return await original(session, container, plates)

    monkeypatch.setattr(service, "count", count)
    answers = await redeem_all(agent, [1, 2])
    assert isinstance(answers[0], Answer)
    assert isinstance(answers[1], PlatemarkError)
    assert answers[1].code == "print-id-used"


async def test_an_unknown_failure_reaches_the_caller_and_the_clerk_goes_on(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = service.count
    desk = Desk(agent.gateway.container)

    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(service, "count", broken)
    with pytest.raises(ZeroDivisionError):
        await desk.redeem(agent.request(1), agent.recipient.public_bytes)
    monkeypatch.setattr(service, "count", original)
    assert (await desk.redeem(agent.request(1), agent.recipient.public_bytes)).sequence == 1


async def test_a_full_queue_refuses(agent: Agent, batches: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "MAX_WAITING", 2)
    answers = await redeem_all(agent, [1] * 8)
    refused = [answer for answer in answers if isinstance(answer, UnavailableError)]
    assert refused
    assert {answer.code for answer in refused} == {"redemptions-busy"}
    assert any(isinstance(answer, Answer) for answer in answers)


async def test_a_caller_that_went_away_has_its_print_counted(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    original, counting = service.count, asyncio.Event()

    async def count(session: Any, container: Any, plates: Sequence[Any]) -> Any:
        counting.set()
        return await original(session, container, plates)

    monkeypatch.setattr(service, "count", count)
    desk = Desk(agent.gateway.container)
    waiting = asyncio.create_task(desk.redeem(agent.request(1), agent.recipient.public_bytes))
    await counting.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await desk.redeem(agent.request(2), agent.recipient.public_bytes)).sequence == 2
    assert (await desk.redeem(agent.request(1), agent.recipient.public_bytes)).sequence == 1


async def test_nothing_is_signed_before_the_commit(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database refuses at the very commit; no release may have been made by then."""
    signed: list[Any] = []
    original = service.answer

    def answer(*values: Any) -> Answer:
        signed.append(values)
        return original(*values)

    monkeypatch.setattr(service, "answer", answer)
    engine = agent.gateway.container.database.engine.sync_engine

    def refuse(_connection: Any) -> None:
        raise ZeroDivisionError

    event.listen(engine, "commit", refuse)
    desk = Desk(agent.gateway.container)
    desk._agents[agent.token_id] = agent.key.address
    with pytest.raises(ZeroDivisionError):
        await desk.redeem(agent.request(1), agent.recipient.public_bytes)
    event.remove(engine, "commit", refuse)
    assert not signed
    assert (await agent.state())["released"] == 0
    await agent.redeem(1)
