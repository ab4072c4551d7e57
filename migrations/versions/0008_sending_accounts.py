"""Which accounts send the gateway's transactions.

Revision: 0008, after 0007.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table; without a row the gateway's own account sends, as before."""
    op.create_table(
        "sending_accounts",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_sending_accounts")),
    )


def downgrade() -> None:
    """Remove it again."""
    op.drop_table("sending_accounts")
