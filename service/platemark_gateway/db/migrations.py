"""Brings a database to the newest revision; several processes may try at once, one does it."""

from pathlib import Path
from typing import Any, Final, Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, TypeDecorator, text

from platemark.errors import LocalError
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
    """Bring the database to a revision, in one transaction.

    Errors: UnavailableError `database-unreachable`.
    """
    async with database.connect() as connection:
        await connection.run_sync(lambda raw: command.upgrade(config(raw), revision))


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
