"""Databases for tests of single parts of the gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from platemark_gateway.db.session import Database
from simulators.databases import DATABASES, database_of, make_tables


@pytest.fixture(params=DATABASES)
async def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without tables."""
    made = Database(await database_of(request.param, tmp_path))
    yield made
    await made.close()


@pytest.fixture
async def database(empty_database: Database) -> Database:
    """A database with every table."""
    await make_tables(empty_database)
    return empty_database
