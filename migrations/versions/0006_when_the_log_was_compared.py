"""When the log was last compared with checkpoint, anchor and chain.

Revision: 0006, after 0005.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column; a log of before counts as never compared until it is."""
    op.add_column("log_heads", sa.Column("compared_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Remove it again."""
    op.drop_column("log_heads", "compared_at")
