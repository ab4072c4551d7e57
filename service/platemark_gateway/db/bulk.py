"""Statements that take many rows at once, whatever their number.

PostgreSQL gets one array a column, so that the statement's text never changes: it is prepared once, and takes one
round trip. SQLite has no arrays and no round trips: it runs the statement for each row.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Insert,
    Select,
    Table,
    Update,
    any_,
    bindparam,
    column,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

from platemark_gateway.db.arrays import ArrayType
from platemark_gateway.db.statements import PlainStatements, Statements

_GIVEN: Final = "given_"
Types = Mapping[str, TypeEngine[Any]]
Rows = Sequence[Mapping[str, Any]]


class ManyUpdates:
    """An update with a set of values for each row that it changes, built once for each kind of database."""

    def __init__(self, types: Types, build: Callable[[Mapping[str, ColumnElement[Any]]], Update]) -> None:
        """Take the values' names and types, and what makes the statement from the values."""
        self.names = tuple(types)
        given = _unnested(types, _GIVEN)
        self.arrays = build({name: given.c[name] for name in types})
        self.single = build({name: bindparam(_GIVEN + name, type_=kind) for name, kind in types.items()})


async def insert_rows(session: AsyncSession, table: Table, rows: Rows) -> None:
    """Insert rows with the same columns, in their order."""
    connection = await session.connection()
    if takes_arrays(session):
        names = tuple(rows[0])
        await connection.execute(_insert_arrays(table, names), _arrays(names, rows, _prefix(table)))
    else:
        await connection.execute(_insert_single(table), list(rows))


async def update_and_insert(
    statements: Statements, update: ManyUpdates, changes: Rows, inserts: Mapping[Table, Rows]
) -> int:
    """Change rows and insert others, in one statement where there are arrays; return how many rows were changed."""
    if not isinstance(statements, PlainStatements):
        values = _arrays(update.names, changes, _GIVEN)
        for table, rows in inserts.items():
            values |= _arrays(tuple(rows[0]), rows, _prefix(table))
        kinds = tuple((table, tuple(rows[0])) for table, rows in inserts.items())
        ((changed,),) = await statements.rows(_together(update, kinds), values)
        return int(changed)
    single = [{_GIVEN + name: row[name] for name in update.names} for row in changes]
    changed = await statements.run_for_each(update.single, single)
    for table, rows in inserts.items():
        await statements.run_for_each(_insert_single(table), rows)
    return changed


def takes_arrays(session: AsyncSession) -> bool:
    """Return whether this database has arrays."""
    return session.get_bind().dialect.name == "postgresql"


def one_of(found: ColumnElement[Any], name: str, *, arrays: bool) -> ColumnElement[bool]:
    """Return that a column has one of the values of the parameter `name`, a list."""
    if arrays:
        return found == any_(bindparam(name, type_=ArrayType(found.type)))
    return found.in_(bindparam(name, expanding=True))


def _unnested(types: Types, prefix: str) -> TableValuedAlias:
    arrays = [bindparam(prefix + name, type_=ArrayType(kind)) for name, kind in types.items()]
    columns = [column(name, kind) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


def _arrays(names: Sequence[str], rows: Rows, prefix: str) -> dict[str, Any]:
    return {prefix + name: [row[name] for row in rows] for name in names}


def _prefix(table: Table) -> str:
    return f"{table.name}_"


@lru_cache
def _together(update: ManyUpdates, inserts: tuple[tuple[Table, tuple[str, ...]], ...]) -> Select[int]:
    changed = update.arrays.returning(literal(1).label("changed")).cte("changed")
    added = [_insert_arrays(table, names).cte(f"added_{table.name}") for table, names in inserts]
    return select(func.count()).select_from(changed).add_cte(*added)


@lru_cache
def _insert_arrays(table: Table, names: tuple[str, ...]) -> Insert:
    given = _unnested({name: table.c[name].type for name in names}, _prefix(table))
    return insert(table).from_select(names, select(*given.c))


@lru_cache
def _insert_single(table: Table) -> Insert:
    return insert(table)
