"""Engines for SQLite and PostgreSQL, set up so that a commit is durable and a wait has an end."""

import math
import time
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from platemark_gateway.db import arrays

BUSY_TIMEOUT_SECONDS: Final = 10
STATEMENT_TIMEOUT_SECONDS: Final = 30
LOCK_TIMEOUT_SECONDS: Final = 10
PING_AFTER_SECONDS: Final = 1.0
"""A pooled connection that was idle for so long is tried before it is used."""
_USED: Final = "used_at"
READ_ONLY: Final = "platemark_read_only"
"""Execution option of engines whose transactions only read."""


def create_engine(url: str, *, pool_size: int = 8) -> AsyncEngine:
    """Return an engine for `sqlite+aiosqlite:///…` or `postgresql+psycopg://…`; nothing connects yet.

    Errors: ValueError for any other database.
    """
    dialect = make_url(url).get_dialect().name
    if dialect == "sqlite":
        return _sqlite(url)
    if dialect == "postgresql":
        return _postgresql(url, pool_size)
    raise ValueError(f"no support for {dialect}: use sqlite+aiosqlite or postgresql+psycopg")


def _sqlite(url: str) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver must not open transactions by itself: `begin` below decides between reading and writing.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A write transaction takes its lock at once: upgrading later could fail after work was done.
        reading = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str, pool_size: int) -> AsyncEngine:
    arrays.register()
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        # The connection that worked last has its plans at hand; the others rest.
        pool_use_lifo=True,
        connect_args={
            "connect_timeout": 5,
            "options": (
                f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s -c lock_timeout={LOCK_TIMEOUT_SECONDS}s"
                " -c idle_in_transaction_session_timeout=60s -c synchronous_commit=on"
            ),
        },
    )

    lost_at = -math.inf

    @event.listens_for(engine.sync_engine, "invalidate")
    def lost(*_: object) -> None:
        nonlocal lost_at
        lost_at = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkin")
    def note(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_USED] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def ping(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        # One that just worked is not asked, unless another was lost since.
        used_at = record.info.get(_USED, math.inf)
        if used_at > max(lost_at, time.monotonic() - PING_AFTER_SECONDS):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool makes another connection

    return engine
