from typing import Any

import pytest
from sqlalchemy import func, select

from platemark.protocol.log_entry import Result
from platemark.protocol.units import Digest32, id_text
from platemark_gateway.models.settlement import Settlement, SettlementUse
from platemark_gateway.settlement import service
from simulators.agent import DAY, Agent
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio


async def settle(gateway: SimulatedGateway, *, mine: bool = True) -> int:
    """Settle what can be settled and return how many transactions were queued."""
    async with gateway.container.database.begin() as session:
        await service.follow(session, gateway.container)
        made = await service.settle(session, gateway.container, license_ids=[None])
    if mine:
        await gateway.chain.mine()
    return made


async def counts(agent: Agent) -> tuple[int, int]:
    """Return up to which sequence the ledger counted, and how many prints are burned."""
    state = await agent.state()
    on_chain = await agent.gateway.chain.reservation(
        agent.gateway.container.vault.account, agent.designer.license_id, agent.token_id
    )
    assert on_chain is not None
    assert on_chain.burned == state["burned"]
    return state["settledSequence"], state["burned"]


async def test_final_outcomes_are_settled_with_what_they_gave_back(agent: Agent, gateway: SimulatedGateway) -> None:
    for sequence, result in ((1, Result.COMPLETED), (2, Result.FAILED), (3, Result.COMPLETED)):
        await agent.redeem(sequence)
        await agent.finish(sequence, result)
    assert await settle(gateway) == 1
    assert await counts(agent) == (3, 2)
    assert await settle(gateway) == 0, "nothing new"


async def test_settlement_stops_before_the_first_open_outcome(agent: Agent, gateway: SimulatedGateway) -> None:
    for sequence in (1, 2, 3):
        await agent.redeem(sequence)
    await agent.finish(1)
    await agent.finish(3)
    await settle(gateway)
    assert await counts(agent) == (1, 1)
    await agent.finish(2, Result.FAILED)
    await settle(gateway)
    assert await counts(agent) == (3, 2)


async def test_without_outcomes_nothing_is_settled_until_their_time_is_over(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await agent.redeem(2)
    assert await settle(gateway) == 0
    gateway.clock.forward(agent.expires_at + 3 * DAY - gateway.clock.now())
    await gateway.chain.mine()
    assert await settle(gateway) == 1
    assert await counts(agent) == (2, 2)


async def test_what_may_be_reclaimed_is_left_alone(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    gateway.clock.forward(agent.expires_at + 10 * DAY - gateway.clock.now())
    await gateway.chain.mine()
    assert await settle(gateway) == 0


async def test_a_token_is_in_one_open_settlement_at_most(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    assert await settle(gateway, mine=False) == 1
    await agent.redeem(2)
    await agent.finish(2)
    assert await settle(gateway, mine=False) == 0
    await gateway.chain.mine()
    assert await settle(gateway) == 1
    assert await counts(agent) == (2, 2)


async def test_a_failed_settlement_is_made_again(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    state = gateway.chain._state
    kept = state.reservations.pop(agent.token_id)
    assert await settle(gateway) == 1
    assert (await agent.state())["settledSequence"] == 0, "skipped with an event"
    state.reservations[agent.token_id] = kept
    assert await settle(gateway) == 1
    assert await counts(agent) == (1, 1)


async def test_a_reorganised_settlement_counts_when_it_is_mined_again(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    await settle(gateway, mine=False)
    keep = len(gateway.chain.blocks) - 1
    await gateway.chain.mine(final=False)
    assert (await agent.state())["settledSequence"] == 1
    await gateway.chain.reorganise(keep)
    assert (await agent.state())["settledSequence"] == 0
    await gateway.chain.mine()
    assert await counts(agent) == (1, 1)


async def test_many_tokens_share_transactions_of_three_hundred_uses(
    agent: Agent, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_USES", 2)
    others = [Agent(gateway, agent.designer, salt=Digest32(bytes([9, number] * 16)), prints=2) for number in range(4)]
    for each in (agent, *others):
        if each is not agent:
            await each.reserved()
        await each.redeem(1)
        await each.finish(1)
    assert await settle(gateway) == 3
    async with gateway.container.database.read() as session:
        sizes = (await session.scalars(select(Settlement.uses).order_by(Settlement.uses))).all()
        assert await session.scalar(select(func.count()).select_from(SettlementUse)) == 5
    assert sizes == [1, 2, 2]
    for each in (agent, *others):
        assert await counts(each) == (1, 1)


async def test_settling_waits_for_its_time_unless_an_operator_asks(agent: Agent, gateway: SimulatedGateway) -> None:
    pause = gateway.container.settings.settle_seconds
    gateway.clock.forward(60)  # blocks of this chain are ahead until here
    await agent.redeem(1)
    await agent.finish(1)
    gateway.clock.forward(pause - 1)
    assert not await service.settle_once(gateway.container), "the first waits like every other one"
    gateway.clock.forward(1)
    assert await service.settle_once(gateway.container)
    await gateway.chain.mine()
    assert await service.settle_once(gateway.container), "the first is final now"
    assert not await service.settle_once(gateway.container), "there is nothing to settle"
    gateway.clock.forward(2 * pause)
    await agent.redeem(2)
    await agent.finish(2)
    assert not await service.settle_once(gateway.container), "the last settlement is long ago, the print is not"
    session = await gateway.sign_in(gateway.operator())
    answer = await gateway.client.post("/v1/settlements", json={}, headers=session)
    assert answer.status_code == 202
    assert await service.settle_once(gateway.container)
    await gateway.chain.mine()
    assert await counts(agent) == (2, 2)
    assert await service.settle_once(gateway.container), "the second is final now"
    await agent.redeem(3)
    await agent.redeem(4)
    await agent.finish(4)
    gateway.clock.forward(pause)
    assert not await service.settle_once(gateway.container), "the third has no outcome yet"
    await agent.finish(3)
    assert await service.settle_once(gateway.container)


async def test_a_print_without_outcome_does_not_let_others_be_settled_one_by_one(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    pause = gateway.container.settings.settle_seconds
    other = await Agent(gateway, agent.designer, salt=Digest32(b"\x05" * 32)).reserved(prints=4)
    gateway.clock.forward(60)  # blocks of this chain are ahead until here
    await other.redeem(1)
    await agent.redeem(1)
    await agent.finish(1)
    gateway.clock.forward(pause)
    assert await service.settle_once(gateway.container)
    await gateway.chain.mine()
    assert await service.settle_once(gateway.container), "the first is final now"
    await agent.redeem(2)
    await agent.finish(2)
    gateway.clock.forward(pause - 1)
    assert not await service.settle_once(gateway.container)
    gateway.clock.forward(1)
    assert await service.settle_once(gateway.container)


async def test_one_license_can_be_settled_alone(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    async with gateway.container.database.begin() as session:
        assert await service.settle(session, gateway.container, license_ids=[type(agent.designer.license_id)(7)]) == 0
        assert await service.settle(session, gateway.container, license_ids=[agent.designer.license_id]) == 1


async def test_settlements_are_listed(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    await settle(gateway)
    found: dict[str, Any] = (await gateway.client.get("/v1/settlements")).json()
    assert [item["status"] for item in found["items"]] == ["final"]
    assert found["items"][0]["uses"] == [
        {
            "tokenId": id_text(agent.token_id),
            "licenseId": id_text(agent.designer.license_id),
            "sequence": 1,
            "voided": 0,
        }
    ]


async def test_only_the_operator_settles(agent: Agent, gateway: SimulatedGateway) -> None:
    assert (await gateway.client.post("/v1/settlements", json={})).status_code == 401
    session = await gateway.sign_in(agent.holder)
    assert (await gateway.client.post("/v1/settlements", json={}, headers=session)).status_code == 403


async def test_pages_leave_out_no_settlement_that_was_made_in_the_same_second(
    agent: Agent, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_USES", 1)
    others = [
        await Agent(gateway, agent.designer, salt=Digest32(bytes([number]) * 32)).reserved(2) for number in (2, 3)
    ]
    for each in (agent, *others):
        await each.redeem(1)
        await each.finish(1)
    assert await settle(gateway) == 3
    seen, path = [], "/v1/settlements?limit=2"
    while True:
        page = (await gateway.client.get(path)).json()
        seen += [item["id"] for item in page["items"]]
        if page["cursor"] is None:
            break
        path = f"/v1/settlements?limit=2&cursor={page['cursor']}"
    assert len(seen) == len(set(seen)) == 3
