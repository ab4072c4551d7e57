"""Roots that are kept on IPFS, and what the workers last did.

Revision: 0003, after 0002.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make both tables; the worker fills them from the others."""
    op.create_table(
        "kept_roots",
        sa.Column("cid", sa.String(length=64), nullable=False),
        sa.Column("raw_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("whole_on", sa.String(length=128), nullable=True),
        sa.Column("whole_at", sa.BigInteger(), nullable=True),
        sa.Column("copied_to", sa.String(length=128), nullable=True),
        sa.Column("copied_at", sa.BigInteger(), nullable=True),
        sa.Column("found", sa.String(length=64), nullable=True),
        sa.Column("problem", sa.String(length=64), nullable=True),
        sa.CheckConstraint("position >= 0", name=op.f("ck_kept_roots_position_not_negative")),
        sa.CheckConstraint("(whole_on IS NULL) = (whole_at IS NULL)", name=op.f("ck_kept_roots_whole_whole")),
        sa.CheckConstraint("(copied_to IS NULL) = (copied_at IS NULL)", name=op.f("ck_kept_roots_copied_whole")),
        sa.PrimaryKeyConstraint("cid", name=op.f("pk_kept_roots")),
    )
    op.create_index(op.f("ix_kept_roots_due_at"), "kept_roots", ["due_at"], unique=False)
    op.create_index(op.f("ix_kept_roots_raw_digest"), "kept_roots", ["raw_digest"], unique=False)

    op.create_table(
        "worker_steps",
        sa.Column("step", sa.String(length=32), nullable=False),
        sa.Column("succeeded_at", sa.BigInteger(), nullable=True),
        sa.Column("failed_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", NUMBER, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("step", name=op.f("pk_worker_steps")),
    )


def downgrade() -> None:
    """Remove them again."""
    op.drop_table("worker_steps")
    op.drop_index(op.f("ix_kept_roots_raw_digest"), table_name="kept_roots")
    op.drop_index(op.f("ix_kept_roots_due_at"), table_name="kept_roots")
    op.drop_table("kept_roots")
