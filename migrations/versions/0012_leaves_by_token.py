"""Leaves are found, and are one, within their token: indexes in the order of no hash stay small where counting writes.

A leaf's entry names its token, so that two equal leaves are of one token. An index over all leaves is written at a
random place for each print, which costs a database of millions of prints a third of its rate. Whoever has so many
that gateways must not wait while it is made makes it first: `CREATE UNIQUE INDEX CONCURRENTLY
uq_log_entries_token_id_leaf_hash ON log_entries (token_id, leaf_hash)`.

Revision: 0012, after 0011.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

UNIQUE = "uq_log_entries_token_id_leaf_hash"
OF_ALL = "uq_log_entries_leaf_hash"
OTHERS = {table: f"uq_{table}_leaf_hash" for table in ("prints", "print_outcomes")}
# In the order in which gateways use them: one that counts meanwhile and this would wait for each other otherwise.
LOCK = "LOCK TABLE tokens, prints, print_outcomes, log_entries IN ACCESS EXCLUSIVE MODE"


def upgrade() -> None:
    """Make the index by token, and remove those over all leaves."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:
        op.execute(LOCK)
        op.create_index(UNIQUE, "log_entries", ["token_id", "leaf_hash"], unique=True, if_not_exists=True)
        op.execute(f"ALTER TABLE log_entries ADD CONSTRAINT {UNIQUE} UNIQUE USING INDEX {UNIQUE}")
    op.drop_index("ix_log_entries_token_id", table_name="log_entries")
    with op.batch_alter_table("log_entries") as table:
        if not is_postgresql:
            table.create_unique_constraint(UNIQUE, ["token_id", "leaf_hash"])
        table.drop_constraint(OF_ALL, type_="unique")
    for name, constraint in OTHERS.items():
        with op.batch_alter_table(name) as table:
            table.drop_constraint(constraint, type_="unique")


def downgrade() -> None:
    """Make those over all leaves again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(LOCK)
    for name, constraint in OTHERS.items():
        with op.batch_alter_table(name) as table:
            table.create_unique_constraint(constraint, ["leaf_hash"])
    with op.batch_alter_table("log_entries") as table:
        table.create_unique_constraint(OF_ALL, ["leaf_hash"])
        table.drop_constraint(UNIQUE, type_="unique")
    op.create_index("ix_log_entries_token_id", "log_entries", ["token_id"])
