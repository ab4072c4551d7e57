"""Statements of a transaction that is taken for every print: SQLAlchemy writes them once, the driver runs them.

SQLAlchemy's execution costs several times what PostgreSQL's driver needs for the same statement, each time. Here it
opens and commits the transaction, and tells the SQL, the types of values and what an error means; `DriverStatements`
does the rest on the driver's connection. SQLite has no round trips to save, and goes the usual way.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import psycopg
from sqlalchemy import CompoundSelect, Executable, Select
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

_CHAIN: Final = "COMMIT AND CHAIN"
Committing = Callable[[], AbstractContextManager[None]]
Row = Sequence[Any]
Query = Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]]
Values = Mapping[str, Any]
_Convert = Callable[[Any], Any]


class Statements(Protocol):
    """Runs statements in a transaction that whoever opened it will commit."""

    @property
    def arrays(self) -> bool:
        """Whether a list is one value, as `bulk` has it."""
        ...

    async def rows(self, statement: Query, values: Values) -> Sequence[Row]:
        """Return what a statement finds: its columns' values, as their types read them.

        The statement must be the same object each time.
        """
        ...

    async def commit_and_go_on(self) -> bool:
        """Commit what was done and begin the next transaction, in one round trip; False, and nothing, where none can.

        What was locked or read is not any more; settings of the transaction alone are gone.
        """
        ...


class PlainStatements:
    """Statements that SQLAlchemy runs, on any database."""

    arrays: Final = False

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def rows(self, statement: Query, values: Values) -> Sequence[Row]:
        """Return as `Statements`."""
        return list((await self._connection.execute(statement, dict(values))).all())

    async def commit_and_go_on(self) -> bool:
        """Return False: other writers of a file wait for this one to end."""
        return False

    async def run_for_each(self, statement: Executable, rows: Sequence[Values]) -> int:
        """Run a statement with each row's values; return how many rows it changed in all."""
        return (await self._connection.execute(statement, [dict(row) for row in rows])).rowcount


class DriverStatements:
    """Statements that psycopg runs on the connection of a transaction that SQLAlchemy opened."""

    arrays: Final = True

    def __init__(
        self, connection: AsyncConnection, driver: psycopg.AsyncConnection[Any], committing: Committing
    ) -> None:
        self._connection = connection
        self._driver = driver
        self._committing = committing

    @classmethod
    async def of(cls, connection: AsyncConnection, committing: Committing) -> Self:
        """Return those of a connection to PostgreSQL; each commit of theirs is made within what `committing` opens."""
        driver = (await connection.get_raw_connection()).driver_connection
        if not isinstance(driver, psycopg.AsyncConnection):
            raise TypeError(f"a connection of psycopg is needed, not {type(driver).__name__}")
        return cls(connection, driver, committing)

    async def rows(self, statement: Query, values: Values) -> Sequence[Row]:
        """Return as `Statements`; errors as SQLAlchemy's own execution has them."""
        written = _written(statement, self._connection.dialect)
        sent = written.sent(values)
        try:
            async with self._driver.cursor(binary=True) as cursor:
                await cursor.execute(written.sql, sent)
                return [written.read(row) for row in await cursor.fetchall()]
        except psycopg.Error as error:
            raise await self._told(error) from error

    async def commit_and_go_on(self) -> bool:
        """Return as `Statements`; errors as SQLAlchemy's own commit has them."""
        with self._committing():
            try:
                async with self._driver.cursor() as cursor:
                    status = (await cursor.execute(_CHAIN, prepare=False)).statusmessage
            except psycopg.Error as error:
                raise await self._told(error) from error
            # A transaction in which a statement failed is undone instead, without an error.
            if status != "COMMIT":
                raise InvalidRequestError(f"the database answered a commit with {status}")
        return True

    async def _told(self, error: psycopg.Error) -> BaseException:
        """Return an error of the driver as SQLAlchemy tells it; a connection that is lost is given up."""
        is_lost = self._driver.closed or self._driver.broken
        if is_lost:
            await self._connection.invalidate(error)
        return DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=is_lost
        )


@dataclass(frozen=True, slots=True)
class _Written:
    """A statement as text, and how its values are sent and its columns read."""

    sql: bytes
    fixed: Mapping[str, Any]
    """Values that belong to the statement."""
    sends: Mapping[str, _Convert | None]
    reads: tuple[_Convert | None, ...]

    def sent(self, values: Values) -> dict[str, Any]:
        """Return the driver's values; KeyError for one that is not given."""
        given = dict(self.fixed)
        for name, convert in self.sends.items():
            value = values[name]
            given[name] = value if convert is None else convert(value)
        return given

    def read(self, row: Row) -> tuple[Any, ...]:
        """Return a row as the columns' types read it."""
        return tuple(
            value if convert is None else convert(value) for convert, value in zip(self.reads, row, strict=True)
        )


@functools.lru_cache(maxsize=64)
def _written(statement: Query, dialect: Dialect) -> _Written:
    compiled = statement.compile(dialect=dialect)
    names = {name: bound for bound, name in compiled.bind_names.items()}
    own = {name: bound.value for name, bound in names.items() if not bound.required}
    return _Written(
        sql=str(compiled).encode(),
        fixed={
            name: value if (convert := _sends(names[name].type, dialect)) is None else convert(value)
            for name, value in own.items()
        },
        sends={name: _sends(bound.type, dialect) for name, bound in names.items() if name not in own},
        reads=tuple(_reads(each.type, dialect) for each in statement.selected_columns),
    )


def _sends(kind: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reads(kind: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
