import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from platemark.protocol.units import Address, address_text, id_text
from platemark_gateway.models.chain import ChainProgress
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio

HOLDER = Address(b"\x77" * 20)


async def test_a_design_becomes_a_license_with_prints(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.upload()
    registered = await designer.register()
    assert registered.status_code == 202
    assert registered.json()["status"] == "pending"
    await gateway.chain.mine()
    assert (await gateway.client.get(designer.path())).json()["status"] == "final"
    published = await designer.publish_manifest()
    assert published.json() == {"manifestCid": designer.manifest().cid().text}
    deposited = await designer.deposit()
    assert deposited.json() == {"keyCommitment": "0x" + designer.key.commitment().hex()}
    assert (await designer.reveal()).status_code == 202
    await gateway.chain.mine()
    design = (await gateway.client.get(designer.path())).json()
    assert design["revisions"][0]["state"] == "deposited"
    assert design["revisions"][0]["revealed"] is True
    assert design["revisions"][0]["filesRoot"] == "0x" + designer.root.hex()
    offered = await designer.offer()
    assert offered.status_code == 202, offered.text
    await gateway.chain.mine()
    minted = await designer.mint(HOLDER, 25)
    assert minted.status_code == 202
    await gateway.chain.mine()
    path = f"/v1/licenses/{id_text(designer.license_id)}"
    found = (await gateway.client.get(path)).json()
    assert (found["status"], found["minted"], found["onSale"]) == ("final", 25, False)
    balance = await gateway.client.get(f"{path}/balances/{address_text(HOLDER)}")
    assert balance.json() == {"prints": 25}
    transaction = await gateway.client.get(f"/v1/transactions/{minted.json()['transaction']}")
    assert transaction.json()["status"] == "final"


async def test_a_transaction_is_final_once_the_gateway_has_read_what_it_did(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.upload()
    path = f"/v1/transactions/{(await designer.register()).json()['transaction']}"
    await gateway.chain.mine()

    async def read_back(blocks: int) -> str:
        async with gateway.container.database.begin() as session:
            (await session.get_one(ChainProgress, 1)).final_number -= blocks
        return str((await gateway.client.get(path)).json()["status"])

    assert await read_back(0) == "final"
    assert await read_back(1) == "confirmed", "the sender knows that it is final, the index does not"
    assert await read_back(-1) == "final"


async def test_the_same_act_at_once_is_one_act(gateway: SimulatedGateway, designer: Designer) -> None:
    async def at_once(act: Callable[[], Awaitable[httpx.Response]]) -> set[int]:
        found = {answer.status_code for answer in await asyncio.gather(*(act() for _ in range(4)))}
        await gateway.chain.mine()
        return found

    await designer.upload()
    assert await at_once(designer.register) == {202}
    assert await at_once(designer.publish_manifest) == {200}
    assert await at_once(designer.deposit) == {200}
    assert await at_once(designer.offer) == {202}
    agent = Agent(gateway, designer)
    assert await at_once(lambda: designer.mint(agent.holder.address, 5)) == {202}
    assert await at_once(agent.reserve) == {202}
    assert await gateway.chain.balance(designer.license_id, agent.holder.address) == 5 - agent.prints
    assert (await agent.order_token()).status_code == 200


async def test_every_act_may_be_repeated(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed(HOLDER, 5)
    again = [
        await designer.register(),
        await designer.publish_manifest(),
        await designer.deposit(),
        await designer.reveal(),
        await designer.reveal(),
        await designer.offer(),
        await designer.mint(HOLDER, 5),
    ]
    assert [answer.status_code for answer in again] == [202, 200, 200, 202, 202, 202, 202]
    assert len(await gateway.chain.mine()) == 1  # the revelation; nothing else was waiting
    assert await gateway.chain.balance(designer.license_id, HOLDER) == 5
