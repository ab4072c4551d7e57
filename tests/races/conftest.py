"""A gateway for each test, on SQLite and on PostgreSQL where one is named; other processes join it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from platemark_gateway.printlog.service import open_log
from simulators.agent import Agent
from simulators.databases import DATABASES, database_of
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer


@pytest.fixture(params=DATABASES)
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SimulatedGateway]:
    """A gateway whose log is open."""
    database_url = await database_of(request.param, tmp_path)
    async with simulated_gateway(tmp_path, database_url=database_url) as made:
        assert await open_log(made.container) is None
        yield made


@pytest.fixture
async def agent(gateway: SimulatedGateway) -> Agent:
    """An agent whose holder has 50 prints and has not reserved any."""
    made = Agent(gateway, Designer(gateway))
    await made.designer.licensed(made.holder.address, prints=50)
    return made
