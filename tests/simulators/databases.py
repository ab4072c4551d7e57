"""Empty databases for tests: SQLite in a folder, PostgreSQL where PLATEMARK_TEST_POSTGRESQL_URL names a server.

    @pytest.fixture(params=DATABASES)
    async def database_url(request, tmp_path):
        return await database_of(request.param, tmp_path)

Each test process has a PostgreSQL database of its own beside the named one, emptied for each test.
"""

import os
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import create_mock_engine, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from platemark_gateway.db.session import Database
from platemark_gateway.models.base import Base
from platemark_gateway.models.registry import load_models

DATABASES: Final = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.postgresql),
]
_made: set[str] = set()
_tables: list[bytes] = []
"""A file of SQLite with every table and no row, once it was made."""
_statements: list[str] = []
_ANY_TABLE: Final = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


async def database_of(kind: str, folder: Path, beside: str = "") -> str:
    """Return the URL of an empty database of that kind; `beside` tells several of one process apart."""
    if kind == "sqlite":
        return f"sqlite+aiosqlite:///{folder / 'gateway.sqlite3'}"
    server = make_url(os.environ["PLATEMARK_TEST_POSTGRESQL_URL"])
    name = f"{server.database}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}{beside and f'_{beside}'}"
    url = server.set(database=name).render_as_string(hide_password=False)
    if name not in _made:
        await _execute(
            server.render_as_string(hide_password=False),
            f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)',
            f'CREATE DATABASE "{name}"',
        )
        _made.add(name)
    else:
        await _execute(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return url


async def make_tables(database: Database) -> None:
    """Make every table that a database lacks."""
    load_models()
    file = Path(database.engine.url.database or "")
    is_new_file = database.is_sqlite and not file.exists()  # noqa: ASYNC240 (a test's own file)
    if is_new_file and _tables:
        file.write_bytes(_tables[0])  # noqa: ASYNC240 (as above)
        return
    async with database.engine.begin() as connection:
        if not database.is_sqlite and not await connection.scalar(_ANY_TABLE):
            await connection.exec_driver_sql(_definitions(connection))
            return
        await connection.run_sync(Base.metadata.create_all)
    if is_new_file:
        await database.engine.dispose()
        _tables.append(file.read_bytes())  # noqa: ASYNC240 (as above)


def _definitions(connection: AsyncConnection) -> str:
    """Return what makes every table in an empty PostgreSQL database: written by SQLAlchemy once, sent at once."""
    if not _statements:
        dialect = connection.dialect
        dump = create_mock_engine(
            "postgresql+psycopg://",
            lambda statement, *_, **__: _statements.append(str(statement.compile(dialect=dialect))),
        )
        Base.metadata.create_all(dump, checkfirst=False)
    return ";\n".join(_statements)


async def _execute(url: str, *statements: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
    finally:
        await engine.dispose()
