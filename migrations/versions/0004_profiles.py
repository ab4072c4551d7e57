"""The gateway's profiles and their declarations are stored: keys are rotated while several processes run.

Revision: 0004, after 0003.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables. What was declared before this stays unknown: those prints keep the profile they name."""
    op.create_table(
        "gateway_profiles",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("profile", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_gateway_profiles")),
    )
    op.create_table(
        "gateway_declarations",
        sa.Column("gateway", sa.LargeBinary(length=20), nullable=False),
        sa.Column("seen_block", NUMBER, autoincrement=False, nullable=False),
        sa.Column("log_index", NUMBER, autoincrement=False, nullable=False),
        sa.Column("epoch", NUMBER, nullable=False),
        sa.Column("profile_digest", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("gateway", "seen_block", "log_index", name=op.f("pk_gateway_declarations")),
    )
    op.create_index(op.f("ix_gateway_declarations_seen_block"), "gateway_declarations", ["seen_block"], unique=False)


def downgrade() -> None:
    """Take the tables away."""
    op.drop_table("gateway_declarations")
    op.drop_table("gateway_profiles")
