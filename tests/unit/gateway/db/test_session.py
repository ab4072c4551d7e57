import asyncio
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, NotSupportedError

from platemark_gateway.db import engine, locks
from platemark_gateway.db.engine import create_engine
from platemark_gateway.db.session import Database, ReadSession, WriteSession, Writing
from platemark_gateway.errors import UnavailableError
from simulators.databases import database_of

pytestmark = pytest.mark.anyio


async def make_table(database: Database) -> None:
    async with database.begin() as session:
        await session.execute(
            text("CREATE TABLE counters (id INTEGER PRIMARY KEY, value INTEGER NOT NULL CHECK (value >= 0))")
        )
        await session.execute(text("INSERT INTO counters VALUES (1, 0)"))


async def value(database: Database) -> int:
    async with database.read() as session:
        return int(await session.scalar(text("SELECT value FROM counters WHERE id = 1")) or 0)


async def test_a_block_that_ends_well_is_committed(empty_database: Database) -> None:
    await make_table(empty_database)
    async with empty_database.begin() as session:
        assert isinstance(session, WriteSession)
        await session.execute(text("UPDATE counters SET value = 7"))
    assert await value(empty_database) == 7


async def test_a_block_that_raises_is_undone(empty_database: Database) -> None:
    await make_table(empty_database)

    async def break_off() -> None:
        async with empty_database.begin() as session:
            await session.execute(text("UPDATE counters SET value = 7"))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await break_off()
    assert await value(empty_database) == 0


@pytest.mark.postgresql
async def test_a_commit_that_is_cut_off_is_not_told_as_undone(tmp_path: Path) -> None:
    database = Database(await database_of("postgresql", tmp_path))
    await make_table(database)

    async def cut_off(*, before: bool) -> None:
        async with database.begin() as session:
            own = await session.scalar(text("SELECT pg_backend_pid()"))
            async with database.begin() as other:
                await other.execute(text("SELECT pg_terminate_backend(:own, 10000)"), {"own": own})
            if before:
                await session.execute(text("UPDATE counters SET value = 7"))

    with pytest.raises(UnavailableError, match="nothing was changed"):
        await cut_off(before=True)
    with pytest.raises(UnavailableError, match="whether anything was changed shows when you ask again"):
        await cut_off(before=False)
    await database.close()


async def test_concurrent_writers_lose_nothing(empty_database: Database) -> None:
    await make_table(empty_database)

    async def add() -> None:
        async with empty_database.begin() as session:
            await locks.take(session, "counter")
            found = await session.scalar(text("SELECT value FROM counters WHERE id = 1"))
            await asyncio.sleep(0.002)
            await session.execute(text("UPDATE counters SET value = :value"), {"value": (found or 0) + 1})

    await asyncio.gather(*(add() for _ in range(12)))
    assert await value(empty_database) == 12


async def test_two_processes_may_write_the_same_sqlite_file(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'shared.sqlite3'}"
    first, second = Database(url), Database(url)
    await make_table(first)

    async def add(database: Database) -> None:
        for _ in range(5):
            async with database.begin() as session:
                found = await session.scalar(text("SELECT value FROM counters WHERE id = 1"))
                await asyncio.sleep(0.002)
                await session.execute(text("UPDATE counters SET value = :value"), {"value": (found or 0) + 1})

    await asyncio.gather(add(first), add(second))
    assert await value(first) == 10
    await first.close()
    await second.close()


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_postgresql_refuses_to_write_in_a_read_session(empty_database: Database) -> None:
    await make_table(empty_database)

    async def write() -> None:
        async with empty_database.read() as session:
            assert isinstance(session, ReadSession)
            await session.execute(text("UPDATE counters SET value = 7"))

    with pytest.raises(DBAPIError):
        await write()
    assert await value(empty_database) == 0


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
async def test_sqlite_readers_do_not_wait_for_a_writer(empty_database: Database) -> None:
    await make_table(empty_database)
    async with empty_database.begin() as session:
        await session.execute(text("UPDATE counters SET value = 7"))
        assert await asyncio.wait_for(value(empty_database), 2) == 0
    assert await value(empty_database) == 7


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
async def test_sqlite_is_set_up_to_be_durable(empty_database: Database) -> None:
    async with empty_database.read() as session:
        found = {
            name: await session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_broken_constraint_is_no_outage(empty_database: Database) -> None:
    await make_table(empty_database)
    with pytest.raises(IntegrityError):
        async with empty_database.begin() as session:
            await session.execute(text("INSERT INTO counters VALUES (1, 0)"))


@pytest.mark.postgresql
async def test_a_request_that_meets_another_over_the_same_row_is_to_ask_again(tmp_path: Path) -> None:
    database = Database(await database_of("postgresql", tmp_path))
    await make_table(database)
    app = FastAPI()
    app.state.container = SimpleNamespace(database=database)
    looked = asyncio.Event()

    @app.post("/counters/{number}")
    async def add(number: int, value: int, session: Writing) -> None:
        assert await session.scalar(text("SELECT 1 FROM counters WHERE id = :id"), {"id": number}) is None
        looked.set()
        await session.execute(text("INSERT INTO counters VALUES (:id, :value)"), {"id": number, "value": value})

    async with database.begin() as first:
        await first.execute(text("INSERT INTO counters VALUES (2, 0)"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            asked = asyncio.create_task(client.post("/counters/2?value=1"))
            await looked.wait()
            await first.commit()
            with pytest.raises(UnavailableError) as caught:
                await asked
            assert caught.value.code == "database-conflict"
            with pytest.raises(IntegrityError):
                await client.post("/counters/3?value=-1")
    await database.close()


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_what_was_prepared_and_is_not_good_any_more_costs_one_refusal(empty_database: Database) -> None:
    await make_table(empty_database)
    assert [await value(empty_database) for _ in range(8)] == [0] * 8
    other = create_engine(empty_database.engine.url.render_as_string(hide_password=False))
    async with other.begin() as connection:
        await connection.execute(text("ALTER TABLE counters ALTER COLUMN value TYPE bigint"))
    await other.dispose()
    with pytest.raises(UnavailableError) as caught:
        await value(empty_database)
    assert caught.value.code == "database-changed"
    assert await value(empty_database) == 0


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_a_statement_that_the_database_does_not_support_is_no_outage(empty_database: Database) -> None:
    await make_table(empty_database)
    with pytest.raises(NotSupportedError):
        async with empty_database.begin() as session:
            await session.execute(text("SELECT count(*) FROM counters FOR UPDATE"))


async def test_a_database_that_is_away_is_an_outage() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(UnavailableError) as caught:
        async with database.begin() as session:
            await session.execute(text("SELECT 1"))
    assert caught.value.code == "database-unreachable"
    await database.close()


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="no support for mysql"):
        create_engine("mysql://x/y")


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_a_lock_that_is_held_is_not_taken(empty_database: Database) -> None:
    async with empty_database.begin() as first, empty_database.begin() as second:
        assert await locks.try_take(first, "one") is True
        assert await locks.try_take(second, "one") is False
        assert await locks.try_take(second, "two") is True


async def _end_connections(database: Database) -> None:
    other = create_engine(database.engine.url.render_as_string(hide_password=False))
    async with other.connect() as connection:
        ended = await connection.scalars(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert any(ended.all())
    await other.dispose()


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_a_connection_that_was_idle_is_tried_before_it_is_used(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_table(empty_database)
    await _end_connections(empty_database)
    monkeypatch.setattr(engine, "PING_AFTER_SECONDS", 0)
    assert await value(empty_database) == 0


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_a_connection_that_just_worked_and_is_gone_costs_one_refusal(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_table(empty_database)
    await asyncio.gather(*(value(empty_database) for _ in range(4)))
    await _end_connections(empty_database)
    monkeypatch.setattr(engine, "PING_AFTER_SECONDS", 600)
    with pytest.raises(UnavailableError) as caught:
        await value(empty_database)
    assert caught.value.code == "database-unreachable"
    assert await asyncio.gather(*(value(empty_database) for _ in range(4))) == [0] * 4
