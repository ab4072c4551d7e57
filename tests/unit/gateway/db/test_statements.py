"""What runs past SQLAlchemy's execution says and does the same."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, bindparam, func, insert, literal, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError, ProgrammingError

from platemark.protocol.units import Digest32, UnixSeconds
from platemark_gateway.db import bulk
from platemark_gateway.db.session import Database
from platemark_gateway.db.statements import DriverStatements, Statements
from platemark_gateway.db.types import Digest32Type, Uint256Type, UnixSecondsType
from platemark_gateway.errors import UnavailableError
from simulators.databases import DATABASES, database_of

pytestmark = pytest.mark.anyio

NOTES: Final = Table(
    "notes",
    MetaData(),
    Column("id", Uint256Type(), primary_key=True),
    Column("digest", Digest32Type()),
    Column("at", UnixSecondsType()),
    Column("number", BigInteger()),
    Column("word", String()),
)
FULL: Final = (7, Digest32(b"\xd1" * 32), UnixSeconds(1_800_000_000), -(2**62), "na%(me)s ü")
ALL: Final = select(NOTES).where(NOTES.c.number <= bindparam("most")).order_by(NOTES.c.id)
SLEEP: Final = select(func.pg_sleep(bindparam("seconds")))
OWN: Final = select(func.pg_backend_pid())
BROKEN: Final = select(literal(1, BigInteger()) // bindparam("nought", type_=BigInteger()))
INSERT: Final = bulk.ManyUpdates(
    {"id": Uint256Type()},
    lambda given: NOTES.update().where(NOTES.c.id == given["id"]).values(word="changed"),
)


@pytest.fixture(params=DATABASES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database with a note that has everything and one that has nothing."""
    made = Database(await database_of(request.param, tmp_path))
    async with made.connect() as connection:
        await connection.run_sync(NOTES.metadata.create_all)
        await connection.execute(insert(NOTES), [dict(zip(NOTES.c.keys(), FULL, strict=True))])
        await connection.execute(insert(NOTES), [{"id": 8, "number": 0}])
    yield made
    await made.close()


only_postgresql = pytest.mark.parametrize("database", DATABASES[1:], indirect=True)


async def words(database: Database) -> list[str | None]:
    async with database.read() as session:
        return list(await session.scalars(select(NOTES.c.word).order_by(NOTES.c.id)))


async def test_values_are_read_as_their_types_read_them(database: Database) -> None:
    async with database.statements() as statements:
        full, empty = await statements.rows(ALL, {"most": 0})
        assert (await statements.rows(ALL, {"most": -(2**63)})) == []
    assert tuple(full) == FULL
    assert [type(value) for value in full] == [type(value) for value in FULL]
    assert tuple(empty) == (8, None, None, 0, None)


async def test_many_rows_are_changed_and_inserted(database: Database) -> None:
    rows = [{"id": number, "digest": None, "word": "new"} for number in (9, 10)]
    async with database.statements() as statements:
        assert statements.arrays is not database.is_sqlite
        assert await bulk.update_and_insert(statements, INSERT, [{"id": 7}, {"id": 8}, {"id": 99}], {NOTES: rows}) == 2
    assert await words(database) == ["changed", "changed", "new", "new"]


async def test_a_value_that_is_not_given_is_an_error_before_anything_is_sent(database: Database) -> None:
    async with database.statements() as statements:
        with pytest.raises(Exception, match="most"):
            await statements.rows(ALL, {"least": 0})


async def test_a_broken_constraint_is_an_integrity_error_and_undoes_all(database: Database) -> None:
    async def insert_again(statements: Statements) -> None:
        rows = [{"id": 8, "digest": None, "word": "again"}]
        await bulk.update_and_insert(statements, INSERT, [{"id": 7}], {NOTES: rows})

    with pytest.raises(IntegrityError) as caught:
        async with database.statements() as statements:
            await insert_again(statements)
    assert database.is_sqlite or caught.value.params is None
    assert await words(database) == [FULL[4], None]


@only_postgresql
async def test_an_error_of_a_statement_keeps_the_connection(database: Database) -> None:
    async def fail() -> None:
        async with database.statements() as statements:
            await statements.rows(BROKEN, {"nought": 0})

    async with database.statements() as statements:
        own = await statements.rows(OWN, {})
    with pytest.raises(Exception, match="division by zero") as caught:
        await fail()
    assert not getattr(caught.value, "connection_invalidated", True)
    async with database.statements() as statements:
        assert await statements.rows(OWN, {}) == own


@only_postgresql
async def test_a_table_that_is_missing_is_told_with_sqlalchemys_error(database: Database) -> None:
    async with database.connect() as connection:
        await connection.execute(text("DROP TABLE notes"))
    with pytest.raises(ProgrammingError):
        async with database.statements() as statements:
            await statements.rows(ALL, {"most": 0})


async def end(database: Database, process: int) -> None:
    """End a server process, and wait until it is gone."""
    async with database.read() as session:
        assert await session.scalar(text("SELECT pg_terminate_backend(:process, 10000)"), {"process": process})


@only_postgresql
@pytest.mark.parametrize(
    "before, told", [(True, "nothing was changed"), (False, "whether anything was changed shows when you ask again")]
)
async def test_a_connection_that_is_lost_is_an_outage_and_given_up(database: Database, before: bool, told: str) -> None:
    async def cut_off() -> None:
        async with database.statements() as statements:
            ((own,),) = await statements.rows(OWN, {})
            await end(database, own)
            if before:
                await statements.rows(ALL, {"most": 0})

    with pytest.raises(UnavailableError, match=told) as caught:
        await cut_off()
    assert caught.value.code == "database-unreachable"
    async with database.statements() as statements:
        assert len(await statements.rows(ALL, {"most": 0})) == 2


@only_postgresql
async def test_connections_that_went_with_one_that_was_lost_are_tried_before_they_are_used(database: Database) -> None:
    async def own(statements: Statements) -> int:
        ((found,),) = await statements.rows(OWN, {})
        return int(found)

    async with database.statements() as first, database.statements() as second, database.statements() as third:
        processes = [await own(each) for each in (first, second, third)]
    await end(database, processes[1])

    async def find_out() -> None:
        async with database.statements() as statements:
            used = await own(statements)
            assert used in processes
            await end(database, used)
            await own(statements)

    with pytest.raises(UnavailableError):
        await find_out()
    async with database.statements() as one, database.statements() as other:
        assert not {await own(one), await own(other)} & set(processes)


@only_postgresql
async def test_a_statement_that_is_called_off_leaves_no_transaction_behind(database: Database) -> None:
    started = asyncio.Event()

    async def wait() -> None:
        async with database.statements() as statements:
            await bulk.update_and_insert(
                statements, INSERT, [{"id": 7}], {NOTES: [{"id": 9, "digest": None, "word": "new"}]}
            )
            started.set()
            await statements.rows(SLEEP, {"seconds": 60})

    task = asyncio.create_task(wait())
    await started.wait()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await words(database) == [FULL[4], None]
    async with database.statements() as statements:
        assert isinstance(statements, DriverStatements)
        assert (
            await bulk.update_and_insert(
                statements, INSERT, [{"id": 7}], {NOTES: [{"id": 9, "digest": None, "word": "new"}]}
            )
            == 1
        )


def new(number: int) -> dict[Table, list[dict[str, object]]]:
    return {NOTES: [{"id": number, "digest": None, "word": f"note {number}"}]}


async def test_a_file_is_left_to_other_writers_with_each_commit(tmp_path: Path) -> None:
    database = Database(await database_of("sqlite", tmp_path))
    async with database.statements() as statements:
        assert await statements.commit_and_go_on() is False
    await database.close()


@only_postgresql
async def test_a_commit_that_goes_on_is_a_commit_and_what_follows_stands_alone(database: Database) -> None:
    async with database.statements() as statements:
        await bulk.update_and_insert(statements, INSERT, [{"id": 7}], new(9))
        assert await words(database) == [FULL[4], None]
        assert await statements.commit_and_go_on() is True
        assert await words(database) == ["changed", None, "note 9"]
        await bulk.update_and_insert(statements, INSERT, [], new(10))
        assert await words(database) == ["changed", None, "note 9"]
    assert await words(database) == ["changed", None, "note 9", "note 10"]

    async def fail_after(number: int) -> None:
        async with database.statements() as statements:
            await bulk.update_and_insert(statements, INSERT, [], new(number))
            await statements.commit_and_go_on()
            await bulk.update_and_insert(statements, INSERT, [], new(number + 1))
            await statements.rows(BROKEN, {"nought": 0})

    with pytest.raises(Exception, match="division by zero"):
        await fail_after(11)
    assert (await words(database))[4:] == ["note 11"]


@only_postgresql
async def test_a_commit_after_a_statement_that_failed_is_an_error_and_not_a_silent_rollback(
    database: Database,
) -> None:
    async def commit_all_the_same() -> None:
        async with database.statements() as statements:
            await bulk.update_and_insert(statements, INSERT, [], new(9))
            with pytest.raises(Exception, match="division by zero"):
                await statements.rows(BROKEN, {"nought": 0})
            await statements.commit_and_go_on()

    with pytest.raises(InvalidRequestError, match="answered a commit with ROLLBACK"):
        await commit_all_the_same()
    assert await words(database) == [FULL[4], None]


@only_postgresql
@pytest.mark.parametrize(
    "when, told",
    [("in it", "whether anything was changed shows when you ask again"), ("after it", "nothing was changed")],
)
async def test_a_connection_that_is_lost_in_a_commit_that_goes_on(database: Database, when: str, told: str) -> None:
    async def cut_off() -> None:
        async with database.statements() as statements:
            ((own,),) = await statements.rows(OWN, {})
            if when == "after it":
                await statements.commit_and_go_on()
            await end(database, own)
            await statements.commit_and_go_on() if when == "in it" else await statements.rows(ALL, {"most": 0})

    with pytest.raises(UnavailableError, match=told):
        await cut_off()
    assert len(await words(database)) == 2
