import asyncio
import re
import sys
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from platemark_gateway.db import migrations
from platemark_gateway.db.session import Database
from platemark_gateway.models.append_only import TABLES
from platemark_gateway.models.base import Base
from platemark_gateway.models.registry import load_models

pytestmark = pytest.mark.anyio
load_models()


async def in_sync(database: Database, work: Any) -> Any:
    async with database.engine.begin() as connection:
        return await connection.run_sync(work)


def schema(connection: Connection) -> dict[str, Any]:
    """Return everything that two ways of making the tables must agree on."""
    inspector = inspect(connection)
    found: dict[str, Any] = {}
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        found[table] = {
            "columns": sorted((c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)),
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": sorted(inspector.get_foreign_keys(table), key=str),
            "unique": sorted(inspector.get_unique_constraints(table), key=str),
            "checks": sorted(
                (c["name"], re.sub(r"\s+", " ", str(c["sqltext"]))) for c in inspector.get_check_constraints(table)
            ),
            "indexes": sorted(_plain(index) for index in inspector.get_indexes(table)),
        }
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    else:
        query = "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname"
    found["triggers"] = [tuple(row) for row in connection.execute(text(query))]
    return found


def _plain(index: Any) -> str:
    """Return an index as text; conditions are compared by their words."""
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return f"{index['name']} {index['column_names']} {index['unique']} {options}"


async def test_a_program_works_on_the_tables_that_a_newer_one_made(empty_database: Database) -> None:
    await migrations.upgrade(empty_database)
    async with empty_database.begin() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await migrations.upgrade(empty_database)
    assert await in_sync(empty_database, migrations.found_in) == "9999"


async def test_the_migrations_make_exactly_the_tables_of_the_models(empty_database: Database) -> None:
    await migrations.upgrade(empty_database)
    migrated = await in_sync(empty_database, schema)
    differences = await in_sync(
        empty_database,
        lambda connection: compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True, "include_object": migrations.included}),
            Base.metadata,
        ),
    )
    assert differences == []
    await in_sync(empty_database, lambda connection: command.downgrade(migrations.config(connection), "base"))
    emptied = await in_sync(empty_database, schema)
    assert emptied == {"triggers": []}
    await in_sync(empty_database, Base.metadata.create_all)
    assert await in_sync(empty_database, schema) == migrated


async def test_migrating_again_changes_nothing(empty_database: Database) -> None:
    for _ in range(2):
        await migrations.upgrade(empty_database)
    async with empty_database.read() as session:
        assert await session.scalar(text("SELECT version_num FROM alembic_version")) == migrations.newest()


async def test_several_processes_may_migrate_at_once(empty_database: Database) -> None:
    url = empty_database.engine.url.render_as_string(hide_password=False)
    command_line = [sys.executable, "-m", "platemark_gateway.cli", "migrate", "--database-url", url]
    processes = [await asyncio.create_subprocess_exec(*command_line) for _ in range(3)]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    async with empty_database.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM alembic_version")) == 1


def test_there_is_one_newest_revision_and_its_file_says_so() -> None:
    assert ScriptDirectory(str(migrations.folder())).get_heads() == [migrations.newest()]


async def test_a_database_that_is_at_the_newest_revision_is_only_read(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrations.upgrade(empty_database)
    monkeypatch.setattr(command, "upgrade", lambda *_: pytest.fail("nothing was to be done"))
    await migrations.upgrade(empty_database)


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_the_index_of_leaves_may_be_made_before_its_migration(empty_database: Database) -> None:
    await migrations.upgrade(empty_database, "0011")
    async with empty_database.begin() as session:
        await session.execute(
            text("CREATE UNIQUE INDEX uq_log_entries_token_id_leaf_hash ON log_entries (token_id, leaf_hash)")
        )
    await migrations.upgrade(empty_database)
    found = await in_sync(empty_database, schema)
    assert [each["column_names"] for each in found["log_entries"]["unique"]] == [
        ["position"],
        ["token_id", "leaf_hash"],
    ]


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("way", ["up", "down"])
async def test_tables_of_prints_are_changed_between_two_batches_of_a_gateway(
    empty_database: Database, way: str
) -> None:
    """What counts reads all of these tables before it writes: a change that locks them one by one would meet it."""
    await migrations.upgrade(empty_database, "0011" if way == "up" else "0012")

    async def migrate() -> None:
        async with empty_database.connect() as connection:
            step = command.upgrade if way == "up" else command.downgrade
            await connection.run_sync(lambda found: step(migrations.config(found), "0012" if way == "up" else "0011"))

    async with empty_database.begin() as session:
        await session.execute(text("SELECT token_id FROM tokens FOR NO KEY UPDATE"))
        await session.execute(text("SELECT (SELECT count(*) FROM prints), (SELECT count(*) FROM log_entries)"))
        migrating = asyncio.create_task(migrate())
        while not await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.01)
        await session.execute(
            text(
                "INSERT INTO log_entries (id, kind, token_id, entry, leaf_hash, created_at)"
                " VALUES (1, 1, '\\x01', '\\x02', '\\x03', 1)"
            )
        )
    await migrating
    async with empty_database.read() as reading:
        assert await reading.scalar(text("SELECT count(*) FROM log_entries")) == 1


def test_revisions_for_postgresql_can_be_written_down_as_sql(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATEMARK_GATEWAY_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    command.upgrade(migrations.config(), "head", sql=True)
    assert f"SET version_num='{migrations.newest()}'" in capsys.readouterr().out


@pytest.mark.parametrize("statement", ["UPDATE audit_entries SET actor = 'x'", "DELETE FROM audit_entries"])
async def test_the_audit_table_only_grows(empty_database: Database, statement: str) -> None:
    await migrations.upgrade(empty_database)
    async with empty_database.begin() as session:
        await session.execute(
            text(
                "INSERT INTO audit_entries (id, at, actor, action, subject, detail)"
                " VALUES (1, 1, 'gateway', 'test', 'x', '{}')"
            )
        )
    with pytest.raises(DBAPIError, match="append-only"):
        async with empty_database.begin() as session:
            await session.execute(text(statement))
    async with empty_database.read() as session:
        assert await session.scalar(text("SELECT actor FROM audit_entries")) == "gateway"


ACT = "INSERT INTO audit_entries (id, at, actor, action, subject, detail, correlation_id) VALUES "


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entries SET id = id + 1",
        "UPDATE audit_entries SET at = 2",
        "UPDATE audit_entries SET action = 'erased'",
        "UPDATE audit_entries SET actor = 'somebody'",
        "UPDATE audit_entries SET subject = ''",
        "UPDATE audit_entries SET detail = '[]'",
        "UPDATE audit_entries SET correlation_id = 'another'",
        "UPDATE audit_entries SET actor = 'erased', at = 2",
    ],
)
async def test_an_act_is_never_changed_into_another(empty_database: Database, change: str) -> None:
    await migrations.upgrade(empty_database)
    async with empty_database.begin() as session:
        await session.execute(text(ACT + """(1, 1, '0xab', 'sign-in', '0xab', '{"to": "0xab"}', 'their-request')"""))
        await session.execute(text(ACT + "(3, 1, 'gateway', 'test', 'x', '{}', NULL)"))
    for chosen in (" WHERE id = 1", " WHERE id = 3"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with empty_database.begin() as session:
                await session.execute(text(change + chosen))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_entries SET actor = 'erased'",
        "UPDATE audit_entries SET subject = 'erased'",
        "UPDATE audit_entries SET subject = 'erased', actor = 'erased'",
    ],
)
async def test_what_an_act_was_done_to_and_the_gateways_own_acts_are_never_erased(
    empty_database: Database, change: str
) -> None:
    await migrations.upgrade(empty_database)
    ids = {
        "token.stop": f"0x{7:064x}",
        "settlement.send": "5c0e4ad5-0b0e-4b3c-9d07-0e8f6c1c8f3b",
        "log.anchor": "1/a/b",
    }
    async with empty_database.begin() as session:
        for number, (action, subject) in enumerate(ids.items()):
            actor = "operator" if "subject" not in change else "0xab"
            await session.execute(text(ACT + f"({number}, 1, '{actor}', '{action}', '{subject}', '{{}}', NULL)"))
    for action in ids:
        with pytest.raises(DBAPIError, match="append-only"):
            async with empty_database.begin() as session:
                await session.execute(text(change + " WHERE action = :action"), {"action": action})


async def test_a_person_may_be_taken_out_of_an_act(empty_database: Database) -> None:
    await migrations.upgrade(empty_database)
    async with empty_database.begin() as session:
        await session.execute(text(ACT + """(1, 1, '0xab', 'sign-in', '0xab', '{"to": "0xab"}', 'their-request')"""))
        erasure = "UPDATE audit_entries SET actor = 'erased', subject = 'erased', detail = '{}', correlation_id = NULL"
        for _ in range(2):
            await session.execute(text(erasure))
        found = (await session.execute(text("SELECT * FROM audit_entries"))).one()
        assert [str(each) for each in found] == ["1", "1", "erased", "sign-in", "erased", "{}", "None"]


@pytest.mark.postgresql
@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
async def test_postgresql_does_not_truncate_what_only_grows(empty_database: Database) -> None:
    await migrations.upgrade(empty_database)
    assert {"audit_entries", "log_roots"} <= TABLES
    for table in sorted(TABLES):
        with pytest.raises(DBAPIError, match="append-only"):
            async with empty_database.begin() as session:
                await session.execute(text(f"TRUNCATE {table} CASCADE"))
