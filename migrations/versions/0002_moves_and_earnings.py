"""Licences move between gateways, prints are returned, editions are lowered, earnings are told.

Revision: 0002, after 0001.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and tables; editions so far are those that were registered."""
    op.create_table(
        "design_editions",
        sa.Column("design_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=False),
        sa.Column("log_index", NUMBER, nullable=False),
        sa.Column("edition", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("design_id", "seen_block", "log_index", name=op.f("pk_design_editions")),
    )
    op.create_index(op.f("ix_design_editions_seen_block"), "design_editions", ["seen_block"], unique=False)

    op.create_table(
        "license_credits",
        sa.Column("seen_block", NUMBER, nullable=False),
        sa.Column("log_index", NUMBER, nullable=False),
        sa.Column("license_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("payee", sa.LargeBinary(length=20), nullable=False),
        sa.Column("currency", sa.LargeBinary(length=20), nullable=False),
        sa.Column("amount", sa.LargeBinary(length=32), nullable=False),
        sa.Column("is_refund", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("seen_block", "log_index", name=op.f("pk_license_credits")),
    )
    op.create_index(op.f("ix_license_credits_license_id"), "license_credits", ["license_id"], unique=False)
    op.create_index(op.f("ix_license_credits_payee"), "license_credits", ["payee"], unique=False)

    op.add_column("designs", sa.Column("edition_limit", NUMBER, nullable=True))
    op.execute("UPDATE designs SET edition_limit = edition")
    with op.batch_alter_table("designs") as table:
        table.alter_column("edition_limit", existing_type=NUMBER, nullable=False)

    op.add_column("license_changes", sa.Column("gateway", sa.LargeBinary(length=20), nullable=True))
    # Until now every licence was with the gateway that its offer named: the first accepted revision tells.
    op.execute(
        "UPDATE license_changes SET gateway = (SELECT licenses.gateway FROM licenses"
        " WHERE licenses.license_id = license_changes.license_id) WHERE revision IS NOT NULL"
    )
    with op.batch_alter_table("license_changes") as table:
        table.create_check_constraint(op.f("ck_license_changes_gateway_accepts"), "gateway IS NULL OR revision IS NOT NULL")


def downgrade() -> None:
    """Remove them again."""
    with op.batch_alter_table("license_changes") as table:
        table.drop_constraint(op.f("ck_license_changes_gateway_accepts"), type_="check")
        table.drop_column("gateway")
    with op.batch_alter_table("designs") as table:
        table.drop_column("edition_limit")
    op.drop_index(op.f("ix_license_credits_payee"), table_name="license_credits")
    op.drop_index(op.f("ix_license_credits_license_id"), table_name="license_credits")

    op.drop_table("license_credits")
    op.drop_index(op.f("ix_design_editions_seen_block"), table_name="design_editions")

    op.drop_table("design_editions")
