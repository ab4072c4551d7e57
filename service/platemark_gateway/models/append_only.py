"""Tables that only grow: triggers that refuse UPDATE and DELETE, on SQLite and PostgreSQL."""

from typing import Final

from sqlalchemy import DDL, Table, event

TABLES: Final[set[str]] = set()
"""Names of the append-only tables."""


def statements(table: str, dialect: str) -> list[str]:
    """Return the SQL that makes a table append-only; migrations have it written out."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    return [
        (
            f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
        ),
        (
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()"
        ),
        (
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
        ),
    ]


def append_only(table: Table) -> None:
    """Let `create_all` make the table append-only, as the migrations do."""
    TABLES.add(table.name)
    for dialect in ("sqlite", "postgresql"):
        for statement in statements(table.name, dialect):
            event.listen(table, "after_create", DDL(statement.replace("%", "%%")).execute_if(dialect=dialect))  # type: ignore[no-untyped-call]
    event.listen(
        table,
        "after_drop",
        DDL(f"DROP FUNCTION IF EXISTS {table.name}_append_only() CASCADE").execute_if(dialect="postgresql"),  # type: ignore[no-untyped-call]
    )
