"""Many redemptions at once, over two real processes on one database: what is counted is exactly what was released."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from platemark.protocol.log_entry import Result
from platemark.protocol.units import Digest32
from platemark.protocol.voucher import SignedRequest
from platemark_gateway.models.print import Print
from platemark_gateway.models.printlog import LogEntry
from platemark_gateway.models.token import Token
from simulators.agent import Agent
from simulators.counting import running
from simulators.gateway import SimulatedGateway
from trusted import authorities

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CLIENTS = 32


async def send_all(
    gateway: SimulatedGateway, orders: Sequence[tuple[str, dict[str, Any]]]
) -> list[tuple[int, dict[str, Any]]]:
    """Send POSTs at once, each with its own connection, in turn to two processes; return status and answer of each."""
    with running(gateway) as first, running(gateway) as second:
        urls = (first, second)

        async def send(number: int, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            async with httpx.AsyncClient(
                base_url=urls[number % 2], timeout=60, trust_env=False, verify=authorities()
            ) as client:
                answer = await client.post(path, json=body)
                return answer.status_code, answer.json()

        return await asyncio.gather(*(send(number, *order) for number, order in enumerate(orders)))


def redemptions(agent: Agent, signed: Sequence[SignedRequest]) -> list[tuple[str, dict[str, Any]]]:
    return [("/v1/prints", agent.body(each)) for each in signed]


async def check_rows(gateway: SimulatedGateway, agents: Sequence[Agent]) -> None:
    """Pass when counts, rows and entries agree and no rule is broken."""
    async with gateway.container.database.read() as session:
        tokens = {row.token_id: row for row in (await session.scalars(select(Token))).all()}
        prints = (await session.scalars(select(Print))).all()
        entries = (await session.scalars(select(LogEntry).where(LogEntry.kind == 1))).all()
    assert {row.leaf_hash for row in prints} == {row.leaf_hash for row in entries}
    for agent in agents:
        row = tokens[agent.token_id]
        sequences = sorted(each.sequence for each in prints if each.token_id == agent.token_id)
        assert sequences == list(range(1, row.released + 1))
        assert row.released - row.voided <= row.prints
        assert row.released <= row.prints + row.spares


async def test_the_last_print_is_released_once(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.reserved(prints=3)
    await agent.redeem(1)
    await agent.redeem(2)
    rivals = [agent.request(3, print_id=number.to_bytes(16, "big")) for number in range(1, CLIENTS + 1)]
    answers = await send_all(gateway, redemptions(agent, rivals))
    codes = Counter(answer.get("code", "released") for _, answer in answers)
    assert codes == {"released": 1, "sequence-expected": CLIENTS - 1}
    winner = next(number for number, (status, _) in enumerate(answers) if status == 200)
    agent.verify(rivals[winner], answers[winner][1])
    assert (await agent.state())["printsLeft"] == 0
    await check_rows(gateway, [agent])


async def test_the_same_bytes_sent_at_once_are_counted_once(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.reserved(prints=3)
    signed = agent.request(1)
    answers = await send_all(gateway, redemptions(agent, [signed] * CLIENTS))
    assert [status for status, _ in answers] == [200] * CLIENTS
    assert len({answer["release"] for _, answer in answers}) == 1
    for _, answer in answers[:4]:
        agent.verify(signed, answer)
    assert (await agent.state())["released"] == 1
    await check_rows(gateway, [agent])


async def test_many_tokens_are_counted_side_by_side(agent: Agent, gateway: SimulatedGateway) -> None:
    agents = [agent]
    await agent.reserved(prints=4)
    for number in range(3):
        other = Agent(gateway, agent.designer, salt=Digest32(bytes([7, number] * 16)))
        agents.append(await other.reserved(prints=4))
    orders = [
        order
        for sequence in range(1, 6)
        for each in agents
        for order in redemptions(each, [each.request(sequence)] * 2)
    ]
    answers: list[tuple[int, dict[str, Any]]] = []
    for _ in range(5):  # what came too early is sent again, as agents do
        answers = await send_all(gateway, orders)
        await check_rows(gateway, agents)
        if all(answer.get("code") != "sequence-expected" for _, answer in answers):
            break
    codes = Counter(answer.get("code", "released") for _, answer in answers)
    assert codes == {"released": 32, "count-spent": 8}


async def test_one_print_id_for_two_tokens_counts_once(agent: Agent, gateway: SimulatedGateway) -> None:
    other = Agent(gateway, agent.designer, salt=Digest32(b"\x07" * 32))
    await agent.reserved(prints=2)
    await other.reserved(prints=2)
    shared = b"\x0c" * 16
    orders = [
        order
        for each in (agent, other)
        for order in redemptions(each, [each.request(1, print_id=shared)] * (CLIENTS // 2))
    ]
    answers = await send_all(gateway, orders)
    codes = Counter(answer.get("code", "released") for _, answer in answers)
    assert codes == {"released": CLIENTS // 2, "print-id-used": CLIENTS // 2}
    await check_rows(gateway, [agent, other])


async def test_plates_that_share_a_last_print_are_counted_whole_or_not_at_all(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    """Two owners' tokens with one print left each, and plates that hold both, in either order, from many clients."""
    other = Agent(gateway, agent.designer, salt=Digest32(b"\x07" * 32))
    await agent.reserved(prints=2)
    await other.reserved(prints=2)
    await agent.redeem(1)
    await other.redeem(1)
    orders = []
    for number in range(CLIENTS):
        bodies = [
            each.body(each.request(2, print_id=bytes([at, number + 1]) * 8)) for at, each in enumerate((agent, other))
        ]
        orders.append(("/v1/prints/plate", {"redemptions": bodies[:: 1 if number % 2 else -1]}))
    answers = await send_all(gateway, orders)
    codes = Counter(answer.get("code", "released") for _, answer in answers)
    assert codes == {"released": 1, "sequence-expected": CLIENTS - 1}
    (winner,) = [(order, answer) for (_, order), (status, answer) in zip(orders, answers, strict=True) if status == 200]
    assert len(winner[1]["releases"]) == 2
    assert [(await each.state())["released"] for each in (agent, other)] == [2, 2]
    async with gateway.container.database.read() as session:
        printed = set(await session.scalars(select(Print.print_id).where(Print.sequence == 2)))
    assert printed == {bytes.fromhex(each["printId"][2:]) for each in winner[0]["redemptions"]}
    await check_rows(gateway, [agent, other])


async def test_the_last_spare_is_used_once(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.reserved(prints=10)
    for sequence in range(1, 9):
        await agent.redeem(sequence)
    orders = []
    for sequence in range(1, 9):
        body = agent.report(sequence, Result.FAILED)
        path = f"/v1/prints/{body['outcome']['tokenId']}/{sequence}/outcome"
        orders += [(path, body)] * 4
    answers = await send_all(gateway, orders)
    assert [status for status, _ in answers] == [200] * CLIENTS
    used = {
        body["outcome"]["sequence"]
        for (_, body), (_, answer) in zip(orders, answers, strict=True)
        if answer["spareUsed"]
    }
    assert len(used) == 1
    assert (await agent.state())["voided"] == 1
    await check_rows(gateway, [agent])


async def test_redemptions_and_a_stop_end_in_one_order(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.reserved(prints=10)
    stop_path, stop_body = await stop_order(agent)
    orders = [*redemptions(agent, [agent.request(1)] * 15), (stop_path, stop_body)]
    answers = await send_all(gateway, orders)
    state = await agent.state()
    assert state["stopped"] is True
    released = [answer for (path, _), (status, answer) in zip(orders, answers, strict=True) if "release" in answer]
    assert bool(released) == (state["released"] == 1)
    refused = await agent.send(agent.request(state["released"] + 1))
    assert refused.json()["code"] == "token-stopped"
    await check_rows(gateway, [agent])


async def stop_order(agent: Agent) -> tuple[str, dict[str, Any]]:
    from platemark.protocol.byte_text import signature_text
    from platemark.protocol.typed_data import Stop
    from platemark.protocol.units import UnixSeconds, id_text
    from simulators.chain import DEPLOYMENT

    stop = Stop(agent.token_id, UnixSeconds(agent.gateway.clock.now() + 600))
    signature = agent.holder.sign(stop.digest(DEPLOYMENT.ledger_domain()))
    path = f"/v1/tokens/{id_text(agent.token_id)}/stop"
    return path, {"stop": stop.to_json(), "signature": signature_text(signature)}
