"""A gateway for each test, on SQLite and on PostgreSQL where one is named."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from platemark_gateway.printlog.service import open_log
from simulators.agent import Agent
from simulators.databases import DATABASES, database_of
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PLATEMARK_GATEWAY_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=DATABASES)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return an empty database."""
    return await database_of(request.param, tmp_path)


@pytest.fixture
async def gateway(tmp_path: Path, database_url: str) -> AsyncIterator[SimulatedGateway]:
    """A gateway whose log is open."""
    async with simulated_gateway(tmp_path, database_url=database_url) as made:
        assert await open_log(made.container) is None
        yield made


@pytest.fixture
async def designer(gateway: SimulatedGateway) -> Designer:
    """A designer who has done nothing yet."""
    return Designer(gateway)


@pytest.fixture
async def agent(gateway: SimulatedGateway) -> Agent:
    """An agent with a token for 10 prints and 1 spare; its holder has 10 more prints of the licence."""
    made = Agent(gateway, Designer(gateway))
    await made.designer.licensed(made.holder.address, prints=20)
    return await made.reserved(prints=10)
