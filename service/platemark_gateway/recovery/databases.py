"""A database dumped as it was at one moment, and put in the place of another.

SQLite is copied by its online backup; PostgreSQL by pg_dump, and comes back by pg_restore and psql in one transaction.
"""

import errno
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import URL, make_url

from platemark.errors import LocalError, local_error
from platemark_gateway.chain.files import sync_directory
from platemark_gateway.recovery.copying import PRIVATE_FILE, copy_durably
from platemark_gateway.settings import Settings

_BUSY_SECONDS: Final = 30
_PROGRAM_SECONDS: Final = 6 * 3600
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
_ENVIRONMENT: Final = {
    "host": "PGHOST",
    "passfile": "PGPASSFILE",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "service": "PGSERVICE",
}


class DatabaseCopies(Protocol):
    """Dumps and replaces one database; functions block."""

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    @property
    def dump_name(self) -> str:
        """What a dump is called in a backup."""
        ...

    def dump(self, target: Path) -> None:
        """Write the database as it is at one moment to `target`; it may be in use meanwhile."""
        ...

    def is_empty(self) -> bool:
        """Return whether nothing would be lost by replacing the database."""
        ...

    def stage(self, dump: Path, folder: Path) -> None:
        """Make ready, in `folder` or beside the database, what `replace` needs; the database is not touched."""
        ...

    def replace(self, folder: Path, stamp: str) -> None:
        """Put what was staged in the database's place; doing it again after a kill finishes it."""
        ...

    def unstage(self) -> None:
        """Remove what `stage` left outside its folder."""
        ...


def copies_of(settings: Settings) -> DatabaseCopies:
    """Return what dumps and replaces the database of these settings."""
    url = make_url(settings.database())
    if url.get_backend_name() == "sqlite":
        return SqliteCopies(Path(url.database or ""))
    return PostgresCopies(url)


class SqliteCopies:
    """Implements `DatabaseCopies` for a file."""

    kind = "sqlite"
    dump_name = "database.sqlite3"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._staged = path.with_name(f".{path.name}.restoring")

    def dump(self, target: Path) -> None:
        """Copy the database by SQLite's online backup, in one step.

        Errors: LocalError `backup-failed` when it is away, busy or damaged.
        """
        if not self._path.is_file():
            raise LocalError(f"there is no database {self._path}", code="backup-failed", hint="start `serve` first")
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        there = f"{self._path.absolute().as_uri()}?mode=rw"
        try:
            with (
                closing(sqlite3.connect(there, uri=True, timeout=_BUSY_SECONDS)) as source,
                closing(sqlite3.connect(target)) as copy,
            ):
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
                _check(copy)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise local_error(OSError(errno.ENOSPC, ""), target) from error
            raise LocalError(
                "the database cannot be copied",
                code="backup-failed",
                hint="another process may hold it for long, or it is damaged: `platemark-gateway doctor`",
            ) from error

    def is_empty(self) -> bool:
        """Return whether there is no such file."""
        return not self._path.exists()

    def stage(self, dump: Path, folder: Path) -> None:
        """Copy the dump beside the database; errors: LocalError `backup-damaged` when it is no sound database."""
        del folder
        copy_durably(dump, self._staged)
        try:
            with closing(sqlite3.connect(f"{self._staged.absolute().as_uri()}?mode=ro", uri=True)) as copy:
                _check(copy)
        except sqlite3.Error as error:
            self.unstage()
            raise LocalError("the backup's database is damaged", code="backup-damaged") from error

    def replace(self, folder: Path, stamp: str) -> None:
        """Move the old database aside with all its files, and the staged one into its place."""
        del folder
        if not self._staged.exists():
            return
        for side in (*_SIDE_FILES, ""):
            old = self._path.with_name(self._path.name + side)
            if old.exists():
                old.rename(self._path.with_name(f"{self._path.name}.replaced-{stamp}{side}"))
        self._staged.rename(self._path)
        sync_directory(self._path.parent)

    def unstage(self) -> None:
        """Remove the staged copy."""
        self._staged.unlink(missing_ok=True)


def _check(copy: sqlite3.Connection) -> None:
    """Pass for a sound database; errors: sqlite3.DatabaseError."""
    found = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError("integrity_check")


class PostgresCopies:
    """Implements `DatabaseCopies` for a PostgreSQL database's schema `public`, with the server's own programs."""

    kind = "postgresql"
    dump_name = "database.dump"
    _SCRIPT: Final = "database.sql"

    def __init__(self, url: URL) -> None:
        self._url = url

    def dump(self, target: Path) -> None:
        """Write the schema by pg_dump; errors: LocalError `program-missing`, `backup-failed`."""
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        self._run("pg_dump", "--format=custom", "--schema=public", "--no-owner", "--no-privileges", f"--file={target}")
        _sync_file(target)

    def is_empty(self) -> bool:
        """Return whether the schema has no table; errors: LocalError `program-missing`, `backup-failed`."""
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        return self._run("psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={query}").strip() == "0"

    def stage(self, dump: Path, folder: Path) -> None:
        """Turn the dump into SQL, which also reads all of it; errors: LocalError `program-missing`, `backup-failed`."""
        script = folder / self._SCRIPT
        os.close(os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE))
        if shutil.which("psql") is None:
            raise _program_missing("psql")
        self._run("pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(dump))
        _sync_file(script)

    def replace(self, folder: Path, stamp: str) -> None:
        """Replace the schema in one transaction; what was in it is gone."""
        del stamp
        script = folder / self._SCRIPT
        if not script.exists():
            return
        # A dump of the schema by its name begins with CREATE SCHEMA.
        self._run(
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--output=/dev/null",
            "--single-transaction",
            "--set=ON_ERROR_STOP=1",
            "--command=DROP SCHEMA IF EXISTS public CASCADE",
            f"--file={script}",
        )
        script.unlink()

    def unstage(self) -> None:
        """Do nothing: all of it lies in the folder."""

    def _run(self, program: str, *arguments: str) -> str:
        found = shutil.which(program)
        if found is None:
            raise _program_missing(program)
        try:
            ended = subprocess.run(
                [found, *arguments],
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **self._environment()},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PROGRAM_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LocalError(f"{program} could not be run", code="backup-failed") from error
        if ended.returncode:
            lines = [line for line in ended.stderr.splitlines() if line.strip()]
            raise LocalError(
                f"{program} failed: {lines[0][:300] if lines else f'exit code {ended.returncode}'}",
                code="backup-failed",
                hint="the programs must be as new as the server",
            )
        return ended.stdout

    def _environment(self) -> Mapping[str, str]:
        """Return where the server is, and the password: the environment is nobody else's, a command line is."""
        url = self._url
        found = {name: str(url.query[key]) for key, name in _ENVIRONMENT.items() if key in url.query}
        for name, value in (
            ("PGHOST", url.host),
            ("PGPORT", url.port),
            ("PGUSER", url.username),
            ("PGPASSWORD", url.password),
            ("PGDATABASE", url.database),
        ):
            if value is not None:
                found[name] = str(value)
        return found


def _program_missing(program: str) -> LocalError:
    return LocalError(
        f"{program} is not installed",
        code="program-missing",
        hint="install PostgreSQL's client programs, of the server's version or newer",
    )


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
