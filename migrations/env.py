"""Alembic's environment: one transaction under a lock, with time-outs, on SQLite and PostgreSQL.

`platemark-gateway migrate` hands over its connection. `alembic -c migrations/alembic.ini …` (for writing revisions)
takes PLATEMARK_GATEWAY_DATABASE_URL.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from platemark_gateway.db.migrations import check_keys, included, rendered, take_lock
from platemark_gateway.db.session import Database
from platemark_gateway.models.base import Base
from platemark_gateway.models.registry import load_models

load_models()


def run(connection: Connection) -> None:
    """Run what was asked for inside the connection's transaction."""
    take_lock(connection)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        render_as_batch=connection.dialect.name == "sqlite",
        include_object=included,
        render_item=rendered,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
        check_keys(connection)


async def run_alone() -> None:
    """Open the database that the environment names."""
    database = Database(os.environ["PLATEMARK_GATEWAY_DATABASE_URL"])
    try:
        async with database.connect() as connection:
            await connection.run_sync(run)
    finally:
        await database.close()


if context.is_offline_mode():
    context.configure(
        url=os.environ["PLATEMARK_GATEWAY_DATABASE_URL"].replace("+aiosqlite", "").replace("+psycopg", ""),
        target_metadata=Base.metadata,
        literal_binds=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.execute("SET lock_timeout = '4s'")
        context.execute("SET statement_timeout = '60s'")
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    asyncio.run(run_alone())
