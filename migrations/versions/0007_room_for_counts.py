"""Room in the pages of tokens, so that PostgreSQL raises a count in place and leaves the indexes alone.

Revision: 0007, after 0006.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Leave half of each new page free; SQLite changes rows in place anyway."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE tokens SET (fillfactor = 50)")


def downgrade() -> None:
    """Fill pages again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE tokens RESET (fillfactor)")
