"""What the chain's nodes disagree about, what transactions wait for and what they cost.

Revision: 0005, after 0004.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and the table; what was sent before is booked for no day."""
    op.create_table(
        "chain_spending",
        sa.Column("account", sa.LargeBinary(length=20), nullable=False),
        sa.Column("day", NUMBER, nullable=False),
        sa.Column("wei", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("account", "day", name=op.f("pk_chain_spending")),
    )
    op.add_column("chain_progress", sa.Column("dispute", sa.String(length=32), nullable=True))
    op.add_column("outbox_transactions", sa.Column("waiting", sa.String(length=32), nullable=True))
    op.add_column("outbox_transactions", sa.Column("booked", sa.LargeBinary(length=32), nullable=True))
    op.add_column("outbox_transactions", sa.Column("booked_day", NUMBER, nullable=True))
    with op.batch_alter_table("outbox_transactions") as table:
        table.create_check_constraint(
            op.f("ck_outbox_transactions_booked_whole"), "(booked IS NULL) = (booked_day IS NULL)"
        )


def downgrade() -> None:
    """Remove them again."""
    with op.batch_alter_table("outbox_transactions") as table:
        table.drop_constraint(op.f("ck_outbox_transactions_booked_whole"), type_="check")
        table.drop_column("booked_day")
        table.drop_column("booked")
        table.drop_column("waiting")
    op.drop_column("chain_progress", "dispute")
    op.drop_table("chain_spending")
