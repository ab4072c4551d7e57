from pathlib import Path

import pytest

from platemark_gateway.printlog.service import open_log
from platemark_gateway.worker.counting import Every, steps
from simulators.agent import Agent
from simulators.clock import ManualClock
from simulators.gateway import simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio


async def test_a_step_pauses_only_when_there_is_no_more() -> None:
    clock, answers, taken = ManualClock(), [True, True, False, False], 0

    async def step() -> bool:
        nonlocal taken
        taken += 1
        return answers[taken - 1]

    every = Every(10, clock, step)
    assert [await every() for _ in range(5)] == [True, True, False, False, False]
    assert taken == 3
    clock.forward(9)
    await every()
    assert taken == 3
    clock.forward(1)
    await every()
    assert taken == 4


async def test_the_steps_bring_a_print_onto_the_chain_by_themselves(tmp_path: Path) -> None:
    async with simulated_gateway(tmp_path, settings={"anchor_seconds": 1, "settle_seconds": 1}) as gateway:
        assert await open_log(gateway.container) is None
        agent = Agent(gateway, Designer(gateway))
        await agent.designer.licensed(agent.holder.address, prints=10)
        await agent.reserved(prints=3)
        await agent.redeem(1)
        await agent.finish(1)
        work = steps(gateway.container)
        for _ in range(4):
            gateway.clock.forward(20)
            for step in work.values():
                while await step():
                    pass
            await gateway.chain.mine()
        state = await agent.state()
        assert (state["settledSequence"], state["burned"]) == (1, 1)
        assert await gateway.chain.anchor(gateway.container.vault.account, 1, 2) is not None
