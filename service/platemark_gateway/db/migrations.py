"""Brings a database to the newest revision; several processes may try at once, one does it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Connection, TypeDecorator, inspect, text
from sqlalchemy.exc import IntegrityError

from platemark.errors import LocalError
from platemark_gateway import telemetry
from platemark_gateway.db.locks import key_of
from platemark_gateway.db.session import Database

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK: Final = "migrations"
_VERSIONS: Final = "alembic_version"
_KEY_CHECK: Final = text("PRAGMA foreign_key_check")
_PACKAGE: Final = Path(__file__).resolve().parents[1]
_PLACES: Final = (_PACKAGE / "migrations", _PACKAGE.parents[1] / "migrations")
"""In a wheel the revisions lie inside the package; in the repository beside the distributions."""


def folder() -> Path:
    """Return where the revisions lie; errors: LocalError `migrations-missing`."""
    for place in _PLACES:
        if (place / "env.py").exists():
            return place
    raise LocalError("the database's migrations are not installed", code="migrations-missing")


def config(connection: Connection | None = None) -> "Config":
    """Return Alembic's configuration, with the connection to work on."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(folder()).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the database to a revision, in one transaction; one that a newer program made stays as it is.

    Errors: UnavailableError `database-unreachable`.
    """
    async with database.connect() as connection:
        await connection.run_sync(_upgrade, newest() if revision == "head" else revision)


def _upgrade(connection: Connection, revision: str) -> None:
    if found_in(connection) == revision:
        return
    # A gateway starts far more often than it is migrated, and Alembic takes longer to import than to find nothing.
    from alembic import command

    take_lock(connection)
    if is_newer(found := found_in(connection)):
        telemetry.log().warning("database.newer", revision=found)
        return
    command.upgrade(config(connection), revision)


def check_keys(connection: Connection) -> None:
    """Pass when each row of SQLite has those that it points to; elsewhere foreign keys never rest.

    Errors: IntegrityError.
    """
    if connection.dialect.name != "sqlite":
        return
    broken = connection.execute(_KEY_CHECK).first()
    if broken is not None:
        raise IntegrityError(str(_KEY_CHECK), None, ValueError(f"a row of {broken[0]} points nowhere"))


def found_in(connection: Connection) -> str | None:
    """Return at which revision a database is; None before the first."""
    if not inspect(connection).has_table(_VERSIONS):
        return None
    found = connection.scalar(text(f"SELECT version_num FROM {_VERSIONS}"))  # noqa: S608 (a name of our own)
    return None if found is None else str(found)


def newest() -> str:
    """Return the newest revision that this program knows."""
    return max(_revisions())


def is_newer(revision: str | None) -> bool:
    """Return whether a revision is of a newer program, whose tables this one can use: none is taken away at once."""
    return revision is not None and revision not in _revisions()


def _revisions() -> set[str]:
    """Return every revision; files are named after theirs, which are numbered."""
    return {path.name.partition("_")[0] for path in (folder() / "versions").glob("[0-9]*_*.py")}


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
    return not (kind == "table" and name == _VERSIONS)
