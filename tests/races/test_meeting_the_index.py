"""Who asks meets the index, which inserts the same row at the same moment because somebody else brought it on chain."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import httpx
import pytest
from sqlalchemy import delete, text

from platemark_gateway.models.base import Base
from platemark_gateway.models.design import Design, DesignEdition, Revision
from platemark_gateway.models.license import License
from platemark_gateway.models.token import Token
from platemark_gateway.ports import ChainEvent
from simulators.agent import Agent
from simulators.databases import DATABASES
from simulators.gateway import SimulatedGateway
from simulators.people import Designer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("gateway", DATABASES[1:], indirect=True)]


async def answer_beside_the_index(
    gateway: SimulatedGateway,
    tables: Sequence[type[Base]],
    row: tuple[str, int],
    events: Sequence[ChainEvent],
    ask: Callable[[], Awaitable[httpx.Response]],
) -> httpx.Response:
    """Let the index read events in a transaction that is open while somebody asks for the same; this gateway forgot."""
    database, (column, number) = gateway.container.database, row
    async with database.begin() as session:
        for table in tables:
            await session.execute(delete(table).where(getattr(table, column) == number))
    async with database.begin() as session:
        await gateway.chain.feed(session, events)
        await session.flush()
        asked = asyncio.ensure_future(ask())
        while not await _waits(gateway):
            await asyncio.sleep(0.01)
            assert not asked.done(), "it is answered before the index has read the events"
    return await asked


async def _waits(gateway: SimulatedGateway) -> bool:
    async with gateway.container.database.read() as session:
        found = await session.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'INSERT%'"
            )
        )
    return bool(found)


async def check_that_asking_again_helps(
    first: httpx.Response, ask: Callable[[], Awaitable[httpx.Response]], status: int
) -> None:
    assert (first.status_code, first.json()["code"]) == (503, "database-conflict")
    assert int(first.headers["retry-after"]) == 1
    assert (await ask()).status_code == status


async def test_a_registration(gateway: SimulatedGateway) -> None:
    designer = Designer(gateway)
    await designer.upload()
    await designer.register()
    events = await gateway.chain.mine()
    tables = (Revision, DesignEdition, Design)
    row = ("design_id", designer.design_id)
    first = await answer_beside_the_index(gateway, tables, row, events, designer.register)
    await check_that_asking_again_helps(first, designer.register, 202)


async def test_an_offer(gateway: SimulatedGateway) -> None:
    designer = await Designer(gateway).deposited()
    body = await designer.offer_body()

    async def offer() -> httpx.Response:
        return await designer.post("/v1/licenses", body)

    await offer()
    events = await gateway.chain.mine()
    row = ("license_id", designer.license_id)
    first = await answer_beside_the_index(gateway, (License,), row, events, offer)
    await check_that_asking_again_helps(first, offer, 202)


async def test_a_reservation(gateway: SimulatedGateway, agent: Agent) -> None:
    await agent.reserve()
    events = await gateway.chain.mine()
    row = ("token_id", agent.token_id)
    first = await answer_beside_the_index(gateway, (Token,), row, events, agent.reserve)
    await check_that_asking_again_helps(first, agent.reserve, 202)
