"""What a clock that is wrong for a while must not do for good."""

import pytest
from sqlalchemy import select

from platemark_gateway.clock import AHEAD_SECONDS, CLOCK_AHEAD
from platemark_gateway.errors import UnavailableError
from platemark_gateway.metrics import Metrics
from platemark_gateway.models.token import Token
from platemark_gateway.settlement import service as settlement
from platemark_gateway.worker.ending import Ending
from platemark_gateway.worker.loop import StepState, Worker
from platemark_gateway.worker.reporting import report
from simulators.agent import DAY, Agent
from simulators.clock import ManualClock
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio


@pytest.fixture
def chain_clock(gateway: SimulatedGateway) -> ManualClock:
    """The time of the chain's blocks, apart from the gateway's."""
    made = ManualClock(gateway.clock.now())
    gateway.chain._clock = made
    return made


async def ended_at(gateway: SimulatedGateway) -> int | None:
    async with gateway.container.database.read() as session:
        return await session.scalar(select(Token.ended_at))


async def test_no_token_ends_by_a_clock_that_is_far_ahead_of_the_chain(
    agent: Agent, gateway: SimulatedGateway, chain_clock: ManualClock
) -> None:
    ending, ahead = Ending(gateway.container), agent.expires_at + 1 - gateway.clock.now()
    assert not await ending()
    gateway.clock.jump(ahead)
    assert not await ending(), "no block arrives: nobody can tell"
    assert (await agent.send(agent.request(1))).json()["code"] == "token-expired"
    chain_clock.forward(60)
    await gateway.chain.mine()
    for _ in range(2):
        with pytest.raises(UnavailableError) as caught:
            await ending()
        assert caught.value.code == CLOCK_AHEAD
    assert await ended_at(gateway) is None
    gateway.clock.jump(-ahead)
    assert not await ending()
    await agent.redeem(1)
    await agent.finish(1)
    for clock in (gateway.clock, chain_clock):
        clock.forward(ahead)
    assert not await ending(), "the chain has been silent since"
    await gateway.chain.mine()
    assert await ending()
    assert await ended_at(gateway) is not None


async def test_a_token_ends_by_a_clock_that_is_a_little_ahead(
    agent: Agent, gateway: SimulatedGateway, chain_clock: ManualClock
) -> None:
    chain_clock.forward(agent.expires_at - chain_clock.now() - AHEAD_SECONDS + 60)
    await gateway.chain.mine()
    gateway.clock.forward(agent.expires_at - gateway.clock.now() + 1)
    assert await Ending(gateway.container)()
    assert await ended_at(gateway) is not None


async def test_a_print_without_outcome_is_not_settled_by_a_clock_that_is_far_ahead(
    agent: Agent, gateway: SimulatedGateway, chain_clock: ManualClock
) -> None:
    await agent.redeem(1)
    ahead = agent.expires_at + 4 * DAY - gateway.clock.now()
    gateway.clock.jump(ahead)
    chain_clock.forward(60)
    await gateway.chain.mine()
    assert not await settlement.settle_once(gateway.container)
    async with gateway.container.database.read() as session:
        assert await settlement.collect(session, gateway.container, None) == []
    chain_clock.forward(ahead)
    await gateway.chain.mine()
    assert await settlement.settle_once(gateway.container)


async def test_a_clock_that_is_ahead_is_told_by_every_process(
    agent: Agent, gateway: SimulatedGateway, chain_clock: ManualClock
) -> None:
    async def clock() -> tuple[str, bool]:
        part: str = (await gateway.client.get("/readyz")).json()["parts"]["clock"]
        told = (await gateway.client.get("/metrics")).text.splitlines()
        return part, "platemark_clock_ahead 1" in told

    assert await clock() == ("ok", False)
    ending = Ending(gateway.container)
    await ending()
    gateway.clock.jump(DAY)
    chain_clock.forward(60)
    await gateway.chain.mine()
    state = StepState()

    async def told(_states: object) -> None:
        """The test reports by itself."""

    worker = Worker({}, pause_seconds=1, clock=gateway.clock, metrics=Metrics(), report=told)
    await worker._take("ending", ending, state)
    await report(gateway.container.database, {"ending": state})
    assert await clock() == ("ahead", True)
    gateway.clock.jump(-DAY)
    await worker._take("ending", ending, state)
    await report(gateway.container.database, {"ending": state})
    assert await clock() == ("ok", False)
