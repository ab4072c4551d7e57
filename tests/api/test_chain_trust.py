"""What the gateway does, and says, while its chain endpoints disagree, its day's money is spent or its clock jumps."""

import pytest

from platemark.protocol.units import Digest32, Wei
from platemark_gateway.models.chain import ChainProgress, ChainSpending, OutboxTransaction
from platemark_gateway.ports import CHAIN_DISPUTED, CHAIN_REWRITTEN, EndpointHealth
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

YEAR = 365 * 86_400


async def dispute(gateway: SimulatedGateway, code: str | None) -> None:
    async with gateway.container.database.begin() as session:
        (await session.get_one(ChainProgress, 1)).dispute = code


async def lines(gateway: SimulatedGateway) -> list[str]:
    return (await gateway.client.get("/metrics")).text.splitlines()


async def parts(gateway: SimulatedGateway) -> dict[str, str]:
    answer = await gateway.client.get("/readyz")
    assert answer.status_code == 200
    found: dict[str, str] = answer.json()["parts"]
    return found


# --- endpoints that disagree ------------------------------------------------------------------------------


async def test_a_dispute_permits_nothing_new_and_says_so(agent: Agent, gateway: SimulatedGateway) -> None:
    other = Agent(gateway, agent.designer, holder=agent.holder, salt=Digest32(b"\x02" * 32))
    await other.reserve()
    await gateway.chain.mine(final=False)
    assert (await other.order_token()).json()["code"] == "awaiting-finality"
    await dispute(gateway, CHAIN_DISPUTED)
    answer = await other.order_token()
    assert (answer.status_code, answer.json()["code"]) == (503, "chain-disputed")
    assert int(answer.headers["retry-after"]) > 0
    await agent.redeem(1)  # what both endpoints called final stays so
    await dispute(gateway, None)
    await gateway.chain.finalise()
    await other.take_token()


@pytest.mark.parametrize("code", [CHAIN_DISPUTED, CHAIN_REWRITTEN])
async def test_a_dispute_holds_up_nothing_that_forbids(agent: Agent, gateway: SimulatedGateway, code: str) -> None:
    await dispute(gateway, code)
    assert (await agent.stop()).status_code == 200
    await dispute(gateway, None)
    refused = await agent.send(agent.request(1))
    assert refused.json()["code"] == "token-stopped"


async def test_a_recall_seen_in_a_dispute_counts_at_once(agent: Agent, gateway: SimulatedGateway) -> None:
    await dispute(gateway, CHAIN_DISPUTED)
    await agent.designer.recall()
    await gateway.chain.mine(final=False)
    assert (await agent.send(agent.request(1))).json()["code"] == "revision-recalled"


async def test_when_a_final_block_was_replaced_nothing_is_released(agent: Agent, gateway: SimulatedGateway) -> None:
    first = await agent.redeem(1)
    await dispute(gateway, CHAIN_REWRITTEN)
    answer = await agent.send(agent.request(2))
    assert (answer.status_code, answer.json()["code"]) == (503, "chain-rewritten")
    assert (await agent.redeem(1))["release"] == first["release"], "what was answered is answered again"
    await dispute(gateway, None)
    await agent.redeem(2)


async def test_health_and_metrics_name_the_endpoints(gateway: SimulatedGateway) -> None:
    assert (await parts(gateway))["endpoints"] == "trusted"
    assert 'platemark_chain_endpoint_up{endpoint="simulated"} 1' in await lines(gateway)
    gateway.chain.health = [EndpointHealth("one.test", "ok", 0), EndpointHealth("two.test", "contradicts", 3)]
    assert (await parts(gateway))["endpoints"] == "alone"
    found = await lines(gateway)
    assert 'platemark_chain_endpoint_up{endpoint="two.test"} 0' in found
    assert 'platemark_chain_endpoint_contradictions{endpoint="two.test"} 3' in found
    gateway.chain.health = [EndpointHealth("one.test", "ok", 0), EndpointHealth("two.test", "ok", 0)]
    assert (await parts(gateway))["endpoints"] == "ok"
    await dispute(gateway, CHAIN_DISPUTED)
    assert (await parts(gateway))["endpoints"] == "disputed"
    assert "platemark_chain_disputed 1" in await lines(gateway)


# --- the day's cap ----------------------------------------------------------------------------------------


async def test_spending_is_shown_and_so_is_its_cap(gateway: SimulatedGateway) -> None:
    gateway.choose(spend_wei_per_day=1000)
    account, day = gateway.container.vault.account, gateway.clock.now() // 86_400
    async with gateway.container.database.begin() as session:
        session.add(ChainSpending(account=account, day=day, wei=Wei(900)))
        session.add(ChainSpending(account=account, day=day - 1, wei=Wei(5)))
    found = await lines(gateway)
    assert {"platemark_spent_wei 900", "platemark_spending_cap_wei 1000", "platemark_outbox_capped 0"} <= {*found}
    assert (await parts(gateway))["spending"] == "ok"
    async with gateway.container.database.begin() as session:
        transaction = await gateway.container.transactions.enqueue(
            session, purpose="test", to=account, data=b"", dedupe_key="once"
        )
        (await session.get_one(OutboxTransaction, transaction)).waiting = "spending-cap"
    assert (await parts(gateway))["spending"] == "capped"
    assert "platemark_outbox_capped 1" in await lines(gateway)
    shown = (await gateway.client.get(f"/v1/transactions/{transaction}")).json()
    assert (shown["status"], shown["waitingFor"]) == ("queued", "spending-cap")


# --- a clock that jumps -----------------------------------------------------------------------------------


async def test_clock_that_jumps_ahead_and_back_neither_spends_nor_loses_a_print(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    request = agent.request(1)
    gateway.clock.jump(YEAR)
    assert (await agent.send(request)).json()["code"] == "token-expired"
    gateway.clock.jump(-YEAR)
    await agent.redeem(1)
    assert (await agent.state())["released"] == 1


async def test_clock_that_goes_back_reopens_no_token_that_the_chain_saw_expire(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    gateway.clock.jump(YEAR)
    await gateway.chain.mine()
    gateway.clock.jump(-YEAR)
    assert (await agent.send(agent.request(1))).json()["code"] == "token-expired"
    assert (await agent.state())["released"] == 0
