"""Whom a recall affects: what the design's owner is told, and nobody else."""

from typing import Any

import pytest

from platemark.protocol.accounts import AccountKey
from platemark.protocol.log_entry import Result
from platemark.protocol.permission import RECLAIM_SECONDS, SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.serial import serial_of
from platemark.protocol.units import Address, Digest32, TokenId, address_text, id_text
from platemark_gateway.models.print import Print
from platemark_gateway.models.token import Token
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

STRANGER = AccountKey(b"\x0b" * 32)


async def affected(agent: Agent, cursor: str | None = None) -> dict[str, Any]:
    answer = await agent.gateway.client.get(
        agent.designer.path("/revisions/1/affected"),
        params={} if cursor is None else {"cursor": cursor},
        headers=agent.designer.session,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


async def owed(agent: Agent) -> list[tuple[int, str | None, str, int]]:
    items = (await affected(agent))["items"]
    return [(item["sequence"], item["outcome"], item["owed"], item["prints"]) for item in items]


async def test_a_good_print_is_owed_a_replacement_and_a_voided_one_nothing(agent: Agent) -> None:
    for sequence in (1, 2, 3):
        await agent.redeem(sequence)
    await agent.finish(1)
    await agent.finish(2, Result.FAILED)
    assert (await affected(agent))["recalled"] is False
    await agent.designer.recall()
    found = await affected(agent)
    assert (found["recalled"], found["cursor"]) == (True, None)
    assert await owed(agent) == [
        (0, None, "return", 8),
        (1, "completed", "replacement", 1),
        (2, "failed", "nothing", 0),
        (3, None, "pending", 1),
    ]


async def test_each_item_names_the_holder_the_agent_the_serial_and_the_times(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    reserved, made = (await affected(agent))["items"]
    common = {
        "tokenId": id_text(agent.token_id),
        "licenseId": id_text(agent.designer.license_id),
        "holder": address_text(agent.holder.address),
        "agent": address_text(agent.key.address),
    }
    assert reserved.items() >= common.items() <= made.items()
    assert (reserved["serial"], made["serial"]) == (None, serial_of(agent.token_id, 1))
    assert (reserved["reclaimableAt"], made["reclaimableAt"]) == (agent.expires_at + RECLAIM_SECONDS, None)
    async with gateway.container.database.read() as session:
        token, known = await session.get(Token, agent.token_id), await session.get(Print, (agent.token_id, 1))
    assert token is not None
    assert known is not None
    assert (reserved["at"], made["at"]) == (token.reserved_at, known.created_at)


async def test_a_print_without_an_outcome_is_owed_a_replacement_when_none_can_come(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await agent.designer.recall()
    gateway.clock.forward(agent.expires_at + SETTLE_BY_ANYBODY_SECONDS - gateway.clock.now() - 1)
    agent.designer.session = await gateway.sign_in(agent.designer.account)
    assert (await owed(agent))[1] == (1, None, "pending", 1)
    gateway.clock.forward(1)
    assert (await owed(agent))[1] == (1, None, "replacement", 1)


async def test_reserved_prints_of_a_recalled_revision_return_by_a_close(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    await agent.designer.recall()
    assert (await owed(agent))[0] == (0, None, "return", 9)
    assert (await agent.close((await agent.offer_close(gateway.clock.now() + 600)).json())).status_code == 202
    await gateway.chain.mine()
    assert await owed(agent) == [(0, None, "nothing", 0), (1, "completed", "replacement", 1)]
    assert await gateway.chain.balance(agent.designer.license_id, agent.holder.address) == 10 + 9


async def test_what_was_reclaimed_is_not_owed_again(agent: Agent, gateway: SimulatedGateway) -> None:
    async with gateway.container.database.begin() as session:
        row = await session.get(Token, agent.token_id)
        assert row is not None
        row.reclaimed_block = row.seen_block
    assert await owed(agent) == [(0, None, "nothing", 0)]


async def test_reservations_with_other_gateways_are_left_to_those(agent: Agent, gateway: SimulatedGateway) -> None:
    async with gateway.container.database.begin() as session:
        row = await session.get_one(Token, agent.token_id)
        values = {column.key: getattr(row, column.key) for column in Token.__table__.columns}
        session.add(Token(**values | {"token_id": TokenId(1), "gateway": Address(b"\x01" * 20)}))
    assert [item["tokenId"] for item in (await affected(agent))["items"]] == [id_text(agent.token_id)]


async def test_pages_tell_everything_once_in_order(
    agent: Agent, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Agent(gateway, agent.designer, salt=Digest32(b"\x02" * 32))
    await other.reserved(prints=5)
    for one in (agent, other):
        for sequence in (1, 2, 3):
            await one.redeem(sequence)
    whole = (await affected(agent))["items"]
    assert len(whole) == 8
    for size in range(1, 9):
        monkeypatch.setattr("platemark_gateway.printlog.affected.PAGE", size)
        found, cursor = [], None
        while True:
            page = await affected(agent, cursor)
            assert len(page["items"]) <= size
            found += page["items"]
            if (cursor := page["cursor"]) is None:
                break
        assert found == whole
    assert [(item["tokenId"], item["sequence"]) for item in whole] == sorted(
        (id_text(one.token_id), sequence) for one in (agent, other) for sequence in range(4)
    )


async def test_another_revision_has_none_of_it(agent: Agent) -> None:
    await agent.redeem(1)
    answer = await agent.gateway.client.get(
        agent.designer.path("/revisions/2/affected"), headers=agent.designer.session
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "design-unknown")


async def test_a_stranger_is_told_what_an_unknown_design_gives(agent: Agent, gateway: SimulatedGateway) -> None:
    """So is whoever holds its prints: of other holders they are told nothing."""
    await agent.redeem(1)
    there, nowhere = agent.designer.path("/revisions/1/affected"), f"/v1/designs/{id_text(7)}/revisions/1/affected"
    for account in (STRANGER, agent.holder):
        session = await gateway.sign_in(account)
        told = []
        for path in (there, nowhere):
            answer = await gateway.client.get(path, headers=session)
            problem = answer.json()
            del problem["correlationId"]
            told.append((answer.status_code, problem))
        assert told[0] == told[1]
        assert (told[0][0], told[0][1]["code"]) == (404, "design-unknown")


@pytest.mark.parametrize("cursor", ["", "0x01.1", f"0x{'00' * 32}", f"0x{'00' * 32}.123456"])
async def test_a_cursor_of_another_form_is_refused(agent: Agent, cursor: str) -> None:
    answer = await agent.gateway.client.get(
        agent.designer.path("/revisions/1/affected"), params={"cursor": cursor}, headers=agent.designer.session
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "request-schema")
