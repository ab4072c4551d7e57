"""Tables of a gateway that has worked are changed back and forth, and keep every row."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection, MetaData, insert, select, text
from sqlalchemy.exc import IntegrityError

from platemark.protocol.log_entry import Result
from platemark_gateway.db import migrations
from platemark_gateway.db.session import Database
from platemark_gateway.models.printlog import LogEntry
from platemark_gateway.printlog.service import open_log
from platemark_gateway.settlement import service as settlement
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio
FIRST = "0001"
Rows = dict[str, tuple[list[str], list[tuple[Any, ...]]]]


def rows_of(connection: Connection) -> Rows:
    """Return each table's columns and rows."""
    known = MetaData()
    known.reflect(connection)
    return {
        name: (
            [column.name for column in table.columns],
            sorted((tuple(row) for row in connection.execute(select(table))), key=repr),
        )
        for name, table in known.tables.items()
        if name != "alembic_version"
    }


def only(rows: Rows, columns: Rows) -> Rows:
    """Return of all rows what those tables and columns have."""
    found: Rows = {}
    for name, (names, values) in rows.items():
        if name in columns:
            kept = [column for column in columns[name][0] if column in names]
            places = [names.index(column) for column in kept]
            found[name] = (kept, sorted((tuple(row[place] for place in places) for row in values), key=repr))
    return found


async def at(database: Database, work: Any) -> Any:
    async with database.connect() as connection:
        return await connection.run_sync(work)


@pytest.fixture
async def worked(tmp_path: Path, database_url: str) -> AsyncIterator[SimulatedGateway]:
    """A gateway on migrated tables with rows in most of them."""
    fresh = Database(database_url)
    await migrations.upgrade(fresh)
    await fresh.close()
    async with simulated_gateway(tmp_path, database_url=database_url) as gateway:
        assert await open_log(gateway.container) is None
        agent = Agent(gateway, Designer(gateway))
        await agent.designer.licensed(agent.holder.address, prints=20)
        await agent.designer.reveal()
        await agent.reserved(prints=10)
        for sequence in (1, 2, 3):
            await agent.redeem(sequence)
        await agent.finish(1)
        await agent.finish(2, Result.FAILED)
        async with gateway.container.database.begin() as session:
            await settlement.settle(session, gateway.container, license_ids=[None])
        await gateway.chain.mine()
        await agent.stop()
        await agent.designer.recall()
        await gateway.chain.mine()
        yield gateway


async def test_every_row_survives_each_way_down_and_up(worked: SimulatedGateway) -> None:
    database = worked.container.database
    before: Rows = await at(database, rows_of)
    assert {"designs", "revisions", "licenses", "tokens", "prints", "print_outcomes", "log_entries", "settlements"} <= {
        name for name, (_, values) in before.items() if values
    }
    expected = before
    for number in reversed(range(int(FIRST), int(migrations.newest()))):
        target = f"{number:04d}"

        def down(connection: Connection, target: str = target) -> None:
            command.downgrade(migrations.config(connection), target)

        await at(database, down)
        older: Rows = await at(database, rows_of)
        expected = only(expected, older)
        assert only(older, expected) == expected, f"what {target} has of every row"
        await migrations.upgrade(database)
        again: Rows = await at(database, rows_of)
        assert {name: names for name, (names, _) in again.items()} == {
            name: names for name, (names, _) in before.items()
        }
        assert only(again, expected) == expected
    if database.is_sqlite:
        async with database.read() as session:
            assert await session.scalar(text("PRAGMA foreign_keys")) == 1, "they rest for a migration alone"


async def test_an_entry_is_in_the_log_once(worked: SimulatedGateway) -> None:
    table = LogEntry.metadata.tables[LogEntry.__tablename__]
    database = worked.container.database
    async with database.read() as session:
        row = (await session.execute(select(table).limit(1))).mappings().one()
    with pytest.raises(IntegrityError):
        async with database.begin() as session:
            await session.execute(insert(table).values({**row, "id": None, "position": None}))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_migration_that_leaves_a_row_without_its_parent_is_undone(worked: SimulatedGateway) -> None:
    database = worked.container.database

    def lose_prints(connection: Connection) -> None:
        connection.execute(text("DELETE FROM prints"))
        migrations.check_keys(connection)

    before = await at(database, rows_of)
    with pytest.raises(IntegrityError, match="a row of print_outcomes points nowhere"):
        await at(database, lose_prints)
    assert await at(database, rows_of) == before
