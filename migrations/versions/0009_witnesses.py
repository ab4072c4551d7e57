"""What each witness of the log cosigned last.

Revision: 0009, after 0008.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "log_witnesses",
        sa.Column("epoch", NUMBER, nullable=False),
        sa.Column("witness", sa.String(length=500), nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("cosigned_at", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", NUMBER, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.CheckConstraint("size >= 0", name=op.f("ck_log_witnesses_size_not_negative")),
        sa.ForeignKeyConstraint(["epoch"], ["log_heads.epoch"], name=op.f("fk_log_witnesses_epoch_log_heads")),
        sa.PrimaryKeyConstraint("epoch", "witness", name=op.f("pk_log_witnesses")),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("log_witnesses")
