"""What forbids is found without reading every token: the copy of the log has it beside it.

Revision: 0011, after 0010.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INDEXES = (
    ("tokens", "stopped_at", "stopped_at IS NOT NULL AND ended_at IS NULL"),
    ("tokens", "closing_until", "closing_until IS NOT NULL"),
    ("revisions", "recall_signed_at", "recall_signed_at IS NOT NULL"),
)


def upgrade() -> None:
    """Make the indexes."""
    for table, column, condition in INDEXES:
        where = sa.text(condition)
        op.create_index(f"ix_{table}_{column}", table, [column], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    """Remove them again."""
    for table, column, _ in INDEXES:
        op.drop_index(f"ix_{table}_{column}", table_name=table)
