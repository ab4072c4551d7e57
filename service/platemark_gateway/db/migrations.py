"""Brings a database to the newest revision; several processes may try at once, one does it."""

from pathlib import Path
from typing import Any, Final, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, TypeDecorator, text

from platemark.errors import LocalError
from platemark_gateway import telemetry
from platemark_gateway.db.locks import key_of
from platemark_gateway.db.session import Database

_LOCK: Final = "migrations"
_PACKAGE: Final = Path(__file__).resolve().parents[1]
_PLACES: Final = (_PACKAGE / "migrations", _PACKAGE.parents[1] / "migrations")
"""In a wheel the revisions lie inside the package; in the repository beside the distributions."""


def folder() -> Path:
    """Return where the revisions lie; errors: LocalError `migrations-missing`."""
    for place in _PLACES:
        if (place / "env.py").exists():
            return place
    raise LocalError("the database's migrations are not installed", code="migrations-missing")


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, with the connection to work on."""
    made = Config()
    made.set_main_option("script_location", str(folder()).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the database to a revision, in one transaction; one that a newer program made stays as it is.

    Errors: UnavailableError `database-unreachable`.
    """
    async with database.connect() as connection:
        await connection.run_sync(_upgrade, revision)


def _upgrade(connection: Connection, revision: str) -> None:
    take_lock(connection)
    if is_newer(found := found_in(connection)):
        telemetry.log().warning("database.newer", revision=found)
        return
    command.upgrade(config(connection), revision)


def found_in(connection: Connection) -> str | None:
    """Return at which revision a database is; None before the first."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """Return the newest revision that this program knows."""
    return ScriptDirectory(str(folder())).get_current_head()


def is_newer(revision: str | None) -> bool:
    """Return whether a revision is of a newer program, whose tables this one can use: none is taken away at once."""
    known = {each.revision for each in ScriptDirectory(str(folder())).walk_revisions()}
    return revision is not None and revision not in known


def take_lock(connection: Connection) -> None:
    """Wait for other migrations to end, and set time-outs; on SQLite the write transaction does that."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '4s'"))
        connection.execute(text("SET LOCAL statement_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key_of(_LOCK)})


def rendered(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Let revisions name plain column types: the types of this program may change, history does not."""
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    return f"sa.{item.impl_instance!r}"


def included(_object: Any, name: str | None, kind: str, _reflected: bool, _compared: Any) -> bool:
    """Tell Alembic to compare our own tables only."""
    return not (kind == "table" and name == "alembic_version")
