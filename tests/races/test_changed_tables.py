"""A table changes, or a session of the database is reset, under a gateway that has prepared its statements."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest
from sqlalchemy import select, text

from platemark_gateway.db.engine import create_engine
from platemark_gateway.db.session import Database
from platemark_gateway.models.print import Print
from platemark_gateway.models.printlog import LogEntry
from simulators.agent import Agent
from simulators.databases import DATABASES
from simulators.gateway import SimulatedGateway

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("gateway", DATABASES[1:], indirect=True)]

PREPARED_AFTER = 8
"""Redemptions after which the driver has prepared what they run: it does so from the sixth time on."""


async def discard(database: Database) -> None:
    """Reset the session of every pooled connection, as a pooler in between does: the driver is not told."""
    async with database.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)
        assert driver.pgconn.exec_(b"DISCARD ALL").error_message == b""


async def alter(database: Database) -> None:
    """Give a column that every redemption reads another type, of which its values are too."""
    other = create_engine(database.engine.url.render_as_string(hide_password=False))
    async with other.begin() as connection:
        await connection.execute(text("ALTER TABLE tokens ALTER COLUMN released TYPE integer"))
    await other.dispose()


@pytest.mark.parametrize("change", [discard, alter])
async def test_a_redemption_that_meets_it_is_to_ask_again_and_counts_nothing(
    gateway: SimulatedGateway, agent: Agent, change: Callable[[Database], Awaitable[None]]
) -> None:
    await agent.reserved(prints=20)
    for number in range(1, PREPARED_AFTER + 1):
        await agent.redeem(number)
    await change(gateway.container.database)
    asked = agent.request(PREPARED_AFTER + 1)
    first = await agent.send(asked)
    assert (first.status_code, first.json()["code"]) == (503, "database-changed")
    assert int(first.headers["retry-after"]) == 1
    second = await agent.send(asked)
    assert second.status_code == 200, second.text
    agent.verify(asked, second.json())
    await agent.redeem(PREPARED_AFTER + 2)
    async with gateway.container.database.read() as session:
        sequences = list(await session.scalars(select(Print.sequence).order_by(Print.sequence)))
        entries = list(await session.scalars(select(LogEntry.leaf_hash)))
    assert sequences == list(range(1, PREPARED_AFTER + 3))
    assert len(entries) == len(sequences)
