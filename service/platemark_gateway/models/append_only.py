"""Tables that only grow: triggers that refuse UPDATE and DELETE, on SQLite and PostgreSQL.

A table may let one kind of UPDATE pass: the one that takes out of a row what names a person.
"""

from typing import Final

from sqlalchemy import DDL, Table, event

TABLES: Final[set[str]] = set()
"""Names of the append-only tables."""


def statements(table: str, dialect: str, erasure: str | None = None) -> list[str]:
    """Return the SQL that makes a table append-only; migrations have it written out.

    `erasure` is the condition on `old` and `new` under which an UPDATE passes all the same.
    """
    unless = "" if erasure is None else f"WHEN (NOT ({erasure})) "
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {condition}"
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for verb, condition in (("UPDATE", unless), ("DELETE", ""))
        ]
    changes = [("change", "UPDATE OR DELETE", "")]
    if erasure is not None:
        changes = [("update", "UPDATE", unless), ("delete", "DELETE", "")]
    return [
        (
            f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
        ),
        *(
            f"CREATE TRIGGER {table}_no_{name} BEFORE {verb} ON {table} "
            f"FOR EACH ROW {condition}EXECUTE FUNCTION {table}_append_only()"
            for name, verb, condition in changes
        ),
        (
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
        ),
    ]


def append_only(table: Table, *, erasure: str | None = None) -> None:
    """Let `create_all` make the table append-only, as the migrations do; `erasure` as for `statements`."""
    TABLES.add(table.name)
    for dialect in ("sqlite", "postgresql"):
        for statement in statements(table.name, dialect, erasure):
            event.listen(table, "after_create", DDL(statement.replace("%", "%%")).execute_if(dialect=dialect))  # type: ignore[no-untyped-call]
    event.listen(
        table,
        "after_drop",
        DDL(f"DROP FUNCTION IF EXISTS {table.name}_append_only() CASCADE").execute_if(dialect="postgresql"),  # type: ignore[no-untyped-call]
    )
