"""Sessions: one request is one transaction, committed before the answer; reading and writing differ in type."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

import psycopg
from fastapi import Depends, Request
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from platemark_gateway import telemetry
from platemark_gateway.db.engine import BUSY_TIMEOUT_SECONDS, READ_ONLY, create_engine
from platemark_gateway.db.statements import DriverStatements, PlainStatements, Statements
from platemark_gateway.errors import UnavailableError


class WriteSession(AsyncSession):
    """A session inside a transaction that will be committed by whoever opened it; never commit it yourself."""


class ReadSession(AsyncSession):
    """A session inside a transaction that cannot write."""


_READ_ONLY_TRANSACTION: Final = "25006"
"""PostgreSQL's word for a server that takes no writes, a standby after a failover for example."""
_UNIQUE_VIOLATION: Final = "23505"
"""PostgreSQL's word for a second row where there may be one; SQLite has one writer at a time, and no such races."""
_NO_STATEMENT: Final = "26000"
"""PostgreSQL's word for a prepared statement that it does not have, as after DISCARD ALL by a pooler."""
_NOT_SUPPORTED: Final = "0A000"
_PLAN_CHECK: Final = "RevalidateCachedQuery"
"""Where in PostgreSQL 'cached plan must not change result type' comes from; its texts are in any language."""
_AWAY: Final = "the database cannot be reached; nothing was changed"
_UNKNOWN: Final = "the database went away while it committed; whether anything was changed shows when you ask again"


@dataclass
class _Told:
    """What is said when the database goes away now."""

    text: str = _AWAY

    @contextlib.contextmanager
    def committing(self) -> Iterator[None]:
        """Say of a commit that nobody knows what became of it, until it has succeeded."""
        self.text = _UNKNOWN
        yield
        self.text = _AWAY


class Database:
    """One database, SQLite or PostgreSQL.

    Writers of one process on SQLite queue up here, in order, rather than poll the file's lock.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.engine = create_engine(url, pool_size=pool_size)
        self.is_sqlite: bool = self.engine.dialect.name == "sqlite"
        self._write = async_sessionmaker(self.engine, class_=WriteSession, expire_on_commit=False)
        reading = (
            self.engine.execution_options(**{READ_ONLY: True})
            if self.is_sqlite
            else self.engine.execution_options(postgresql_readonly=True)
        )
        self._read = async_sessionmaker(reading, class_=ReadSession, expire_on_commit=False, autoflush=False)
        self._writer: asyncio.Lock | None = asyncio.Lock() if self.is_sqlite else None

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[WriteSession]:
        """Open a write transaction; it is committed at the end of the block, undone by an exception.

        Errors: UnavailableError `database-unreachable` when the database is away or stays locked, `database-changed`
            when what was prepared is not good any more.
        """
        async with self._turn(), _mapped() as told, _writable(), self._write() as session, session.begin():
            # Connect now: on SQLite this takes the write lock before anything is read.
            await session.connection()
            yield session
            if not self.is_sqlite:
                told.text = _UNKNOWN

    @contextlib.asynccontextmanager
    async def answering(self) -> AsyncIterator[WriteSession]:
        """Open a write transaction for whoever asks, as `begin`.

        Errors: UnavailableError also `database-conflict`: another who asks, or the index, wrote a row that was not
            there when it was looked for.
        """
        try:
            async with self.begin() as session:
                yield session
        except IntegrityError as error:
            if getattr(error.orig, "sqlstate", None) != _UNIQUE_VIOLATION:
                raise
            raise _refused(error, "somebody wrote the same at the same moment", code="database-conflict") from error

    @contextlib.asynccontextmanager
    async def statements(self) -> AsyncIterator[Statements]:
        """Open a write transaction as `begin` does, for statements that are run again and again; errors as `begin`."""
        async with self._turn(), _mapped() as told, _writable(), self.engine.begin() as connection:
            if self.is_sqlite:
                yield PlainStatements(connection)
            else:
                yield await DriverStatements.of(connection, told.committing)
                told.text = _UNKNOWN

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """Open a transaction that only reads; errors as `begin`."""
        async with _mapped(), self._read() as session, session.begin():
            yield session

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in a transaction of its own, as migrations need; errors as `begin`.

        SQLite changes a table by making it anew, which foreign keys would refuse: they rest, until somebody checks
        them (`migrations.check_keys`).
        """
        async with (
            _mapped(),
            self.engine.connect() as connection,
            self._resting_keys(connection),
            connection.begin(),
        ):
            yield connection

    @contextlib.asynccontextmanager
    async def _resting_keys(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Let SQLite's foreign keys rest, which it takes only outside of a transaction."""
        driver = (await connection.get_raw_connection()).driver_connection if self.is_sqlite else None
        if driver is None:
            yield
            return
        await driver.execute("PRAGMA foreign_keys=OFF")
        try:
            yield
        finally:
            await driver.execute("PRAGMA foreign_keys=ON")

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._writer is None:
            yield
            return
        try:
            await asyncio.wait_for(self._writer.acquire(), BUSY_TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise UnavailableError(
                "the database is busy; nothing was changed", code="database-unreachable", retry_after_seconds=2
            ) from error
        try:
            yield
        finally:
            self._writer.release()


@contextlib.asynccontextmanager
async def _mapped() -> AsyncIterator[_Told]:
    told = _Told()
    try:
        yield told
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise UnavailableError(told.text, code="database-unreachable") from error
    except DBAPIError as error:
        has_lost_plan = _lost_its_plan(error)
        if error.connection_invalidated or (has_lost_plan and told.text is _UNKNOWN):
            raise UnavailableError(told.text, code="database-unreachable") from error
        if has_lost_plan:
            raise _refused(error, "the database changed under a prepared statement", code="database-changed") from error
        raise


def _refused(error: DBAPIError, why: str, *, code: str) -> UnavailableError:
    """Log what the database said, and return what to tell who may ask again at once."""
    telemetry.log().warning(code.replace("-", "."), said=str(error.orig).partition("\n")[0])
    return UnavailableError(f"{why}; nothing was changed", code=code, retry_after_seconds=1)


def _lost_its_plan(error: DBAPIError) -> bool:
    """Whether PostgreSQL has forgotten a prepared statement, or a table has other columns than when it was prepared.

    No commit is prepared, so nothing was committed; what is undone makes the driver prepare everything anew.
    """
    if not isinstance(error.orig, psycopg.Error):
        return False
    of_plan = error.orig.diag.source_function == _PLAN_CHECK
    return error.orig.sqlstate == _NO_STATEMENT or (error.orig.sqlstate == _NOT_SUPPORTED and of_plan)


@contextlib.asynccontextmanager
async def _writable() -> AsyncIterator[None]:
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _READ_ONLY_TRANSACTION:
            raise UnavailableError("the database takes no writes", code="database-unreachable") from error
        raise


async def _write_session(request: Request) -> AsyncIterator[WriteSession]:
    database: Database = request.app.state.container.database
    async with database.answering() as session:
        yield session


async def _read_session(request: Request) -> AsyncIterator[ReadSession]:
    database: Database = request.app.state.container.database
    async with database.read() as session:
        yield session


# scope="function": the commit happens when the endpoint returns, before the answer leaves. With the default
# scope a failing commit would still answer 200.
Writing = Annotated[WriteSession, Depends(_write_session, scope="function")]
"""Annotation of an endpoint's parameter: a session whose transaction is committed before the response."""
Reading = Annotated[ReadSession, Depends(_read_session, scope="function")]
"""Annotation of an endpoint's parameter: a session that cannot write."""
