"""Every table of the first version.

Revision: 0001, the first.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
APPEND_ONLY = ("audit_entries", "log_roots")


def refusals(table: str, dialect: str) -> list[str]:
    """Return what makes a table refuse UPDATE and DELETE."""
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    return [
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$",
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()",
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()",
    ]


def removals(table: str, dialect: str) -> list[str]:
    """Return what takes the refusals away."""
    if dialect == "sqlite":
        return [f"DROP TRIGGER {table}_no_{verb}" for verb in ("update", "delete")]
    return [
        f"DROP TRIGGER {table}_no_change ON {table}",
        f"DROP TRIGGER {table}_no_truncate ON {table}",
        f"DROP FUNCTION {table}_append_only()",
    ]


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("secret_mac", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_mac", name=op.f("uq_api_keys_secret_mac")),
    )
    op.create_index(op.f("ix_api_keys_address"), "api_keys", ["address"], unique=False)

    op.create_table(
        "audit_entries",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("correlation_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index(op.f("ix_audit_entries_action"), "audit_entries", ["action"], unique=False)
    op.create_index(op.f("ix_audit_entries_at"), "audit_entries", ["at"], unique=False)
    op.create_index(op.f("ix_audit_entries_subject"), "audit_entries", ["subject"], unique=False)

    op.create_table(
        "chain_blocks",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_chain_blocks")),
        sa.UniqueConstraint("hash", name=op.f("uq_chain_blocks_hash")),
    )
    op.create_table(
        "chain_progress",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("chain_id", NUMBER, nullable=False),
        sa.Column("ledger", sa.LargeBinary(length=20), nullable=False),
        sa.Column("head_number", NUMBER, nullable=False),
        sa.Column("head_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("head_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("indexed_number", NUMBER, nullable=False),
        sa.Column("indexed_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("indexed_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("final_number", NUMBER, nullable=False),
        sa.Column("final_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("final_timestamp", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("final_number <= indexed_number", name=op.f("ck_chain_progress_final_is_indexed")),
        sa.CheckConstraint("id = 1", name=op.f("ck_chain_progress_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_progress")),
    )
    op.create_table(
        "challenges",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_challenges")),
    )
    op.create_index(op.f("ix_challenges_expires_at"), "challenges", ["expires_at"], unique=False)

    op.create_table(
        "design_owners",
        sa.Column("design_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=False),
        sa.Column("log_index", NUMBER, nullable=False),
        sa.Column("owner", sa.LargeBinary(length=20), nullable=False),
        sa.PrimaryKeyConstraint("design_id", "seen_block", "log_index", name=op.f("pk_design_owners")),
    )
    op.create_index(op.f("ix_design_owners_seen_block"), "design_owners", ["seen_block"], unique=False)

    op.create_table(
        "designs",
        sa.Column("design_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("registrant", sa.LargeBinary(length=20), nullable=False),
        sa.Column("owner", sa.LargeBinary(length=20), nullable=False),
        sa.Column("is_private", sa.Boolean(), nullable=False),
        sa.Column("parent_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("resale_share", NUMBER, nullable=False),
        sa.Column("derivative_share", NUMBER, nullable=False),
        sa.Column("edition", NUMBER, nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=True),
        sa.Column("seen_hash", sa.LargeBinary(length=32), nullable=True),
        sa.PrimaryKeyConstraint("design_id", name=op.f("pk_designs")),
    )
    op.create_index(op.f("ix_designs_owner"), "designs", ["owner"], unique=False)
    op.create_index(op.f("ix_designs_registrant"), "designs", ["registrant"], unique=False)
    op.create_index(op.f("ix_designs_seen_block"), "designs", ["seen_block"], unique=False)

    op.create_table(
        "idempotent_answers",
        sa.Column("key_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("status", NUMBER, nullable=True),
        sa.Column("wrapped_answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key_digest", name=op.f("pk_idempotent_answers")),
    )
    op.create_index(op.f("ix_idempotent_answers_started_at"), "idempotent_answers", ["started_at"], unique=False)

    op.create_table(
        "license_changes",
        sa.Column("license_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=False),
        sa.Column("log_index", NUMBER, nullable=False),
        sa.Column("revision", NUMBER, nullable=True),
        sa.Column("key_commitment", sa.LargeBinary(length=32), nullable=True),
        sa.Column("on_sale", sa.Boolean(), nullable=True),
        sa.Column("prints", NUMBER, nullable=True),
        sa.CheckConstraint(
            "(revision IS NOT NULL AND key_commitment IS NOT NULL AND on_sale IS NULL AND prints IS NULL) OR (revision IS NULL AND key_commitment IS NULL AND on_sale IS NOT NULL AND prints IS NULL) OR (revision IS NULL AND key_commitment IS NULL AND on_sale IS NULL AND prints IS NOT NULL)",
            name=op.f("ck_license_changes_one_value"),
        ),
        sa.PrimaryKeyConstraint("license_id", "seen_block", "log_index", name=op.f("pk_license_changes")),
    )
    op.create_index(op.f("ix_license_changes_seen_block"), "license_changes", ["seen_block"], unique=False)

    op.create_table(
        "licenses",
        sa.Column("license_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("design_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("gateway", sa.LargeBinary(length=20), nullable=False),
        sa.Column("revision", NUMBER, nullable=False),
        sa.Column("key_commitment", sa.LargeBinary(length=32), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("terms_cid", sa.String(length=64), nullable=True),
        sa.Column("on_sale", sa.Boolean(), nullable=False),
        sa.Column("minted", NUMBER, nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=True),
        sa.Column("seen_hash", sa.LargeBinary(length=32), nullable=True),
        sa.CheckConstraint("minted >= 0", name=op.f("ck_licenses_minted_not_negative")),
        sa.PrimaryKeyConstraint("license_id", name=op.f("pk_licenses")),
    )
    op.create_index(op.f("ix_licenses_design_id"), "licenses", ["design_id"], unique=False)
    op.create_index(op.f("ix_licenses_seen_block"), "licenses", ["seen_block"], unique=False)

    op.create_table(
        "log_anchors",
        sa.Column("gateway", sa.LargeBinary(length=20), nullable=False),
        sa.Column("epoch", NUMBER, autoincrement=False, nullable=False),
        sa.Column("size", NUMBER, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tiles_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("transaction_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=True),
        sa.Column("seen_hash", sa.LargeBinary(length=32), nullable=True),
        sa.PrimaryKeyConstraint("gateway", "epoch", "size", name=op.f("pk_log_anchors")),
    )
    op.create_index(op.f("ix_log_anchors_seen_block"), "log_anchors", ["seen_block"], unique=False)

    op.create_table(
        "log_entries",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("kind", NUMBER, nullable=False),
        sa.Column("token_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("position", NUMBER, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind BETWEEN 1 AND 3", name=op.f("ck_log_entries_kind_range")),
        sa.CheckConstraint("position >= 0", name=op.f("ck_log_entries_position_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_entries")),
        sa.UniqueConstraint("leaf_hash", name=op.f("uq_log_entries_leaf_hash")),
        sa.UniqueConstraint("position", name=op.f("uq_log_entries_position")),
    )
    op.create_index("ix_log_entries_token_id", "log_entries", ["token_id"], unique=False)
    op.create_index(
        "ix_log_entries_waiting",
        "log_entries",
        ["id"],
        unique=False,
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )

    op.create_table(
        "log_heads",
        sa.Column("epoch", NUMBER, autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(length=256), nullable=False),
        sa.Column("profile_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("merge_delay_seconds", NUMBER, nullable=False),
        sa.Column("assigned", NUMBER, nullable=False),
        sa.Column("size", NUMBER, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("quarantine", sa.String(length=500), nullable=True),
        sa.Column("quarantined_at", sa.BigInteger(), nullable=True),
        sa.Column("anchor_requested_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("epoch >= 1", name=op.f("ck_log_heads_epoch_positive")),
        sa.CheckConstraint("size >= 0 AND size <= assigned", name=op.f("ck_log_heads_size_within_assigned")),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_log_heads")),
    )
    op.create_table(
        "outbox_transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("account", sa.LargeBinary(length=20), nullable=False),
        sa.Column("purpose", sa.String(length=64), nullable=False),
        sa.Column("dedupe_key", sa.String(length=200), nullable=False),
        sa.Column("to_address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("nonce", NUMBER, nullable=True),
        sa.Column("gas", NUMBER, nullable=True),
        sa.Column("seen_block", NUMBER, nullable=True),
        sa.Column("seen_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("mined_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=600), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("giving_up", sa.String(length=600), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("tries", NUMBER, nullable=False),
        sa.CheckConstraint(
            "(status = 'failed') = (reason IS NOT NULL)", name=op.f("ck_outbox_transactions_failed_has_reason")
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'sent', 'seen', 'confirmed', 'final', 'failed')",
            name=op.f("ck_outbox_transactions_status_known"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('sent', 'seen', 'confirmed', 'final') OR nonce IS NOT NULL",
            name=op.f("ck_outbox_transactions_nonce_taken"),
        ),
        sa.CheckConstraint(
            "(seen_block IS NULL) = (seen_hash IS NULL)", name=op.f("ck_outbox_transactions_seen_whole")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_transactions")),
    )
    op.create_index(op.f("ix_outbox_transactions_position"), "outbox_transactions", ["position"], unique=False)
    op.create_index(op.f("ix_outbox_transactions_seen_block"), "outbox_transactions", ["seen_block"], unique=False)
    op.create_index(
        "ix_outbox_transactions_status_position", "outbox_transactions", ["status", "position"], unique=False
    )
    op.create_index("uq_outbox_transactions_account_nonce", "outbox_transactions", ["account", "nonce"], unique=True)
    op.create_index(
        "uq_outbox_transactions_dedupe_key",
        "outbox_transactions",
        ["dedupe_key"],
        unique=True,
        sqlite_where=sa.text("status <> 'failed'"),
        postgresql_where=sa.text("status <> 'failed'"),
    )

    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("secret_mac", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("secret_mac", name=op.f("uq_sessions_secret_mac")),
    )
    op.create_index(op.f("ix_sessions_expires_at"), "sessions", ["expires_at"], unique=False)

    op.create_table(
        "settlement_requests",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("license_id", sa.LargeBinary(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlement_requests")),
    )
    op.create_table(
        "settlements",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("uses", NUMBER, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlements")),
    )
    op.create_index(op.f("ix_settlements_created_at"), "settlements", ["created_at"], unique=False)
    op.create_index(op.f("ix_settlements_done_at"), "settlements", ["done_at"], unique=False)
    op.create_index(op.f("ix_settlements_transaction_id"), "settlements", ["transaction_id"], unique=False)

    op.create_table(
        "spendings",
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("quota", sa.String(length=32), nullable=False),
        sa.Column("day", NUMBER, nullable=False),
        sa.Column("spent", NUMBER, nullable=False),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_spendings_spent_not_negative")),
        sa.PrimaryKeyConstraint("address", "quota", "day", name=op.f("pk_spendings")),
    )
    op.create_table(
        "token_settlements",
        sa.Column("token_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=False),
        sa.Column("log_index", NUMBER, nullable=False),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("burned", NUMBER, nullable=False),
        sa.Column("voided", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("token_id", "seen_block", "log_index", name=op.f("pk_token_settlements")),
    )
    op.create_index(op.f("ix_token_settlements_seen_block"), "token_settlements", ["seen_block"], unique=False)

    op.create_table(
        "tokens",
        sa.Column("token_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("holder", sa.LargeBinary(length=20), nullable=False),
        sa.Column("gateway", sa.LargeBinary(length=20), nullable=False),
        sa.Column("agent", sa.LargeBinary(length=20), nullable=False),
        sa.Column("license_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("revision", NUMBER, nullable=False),
        sa.Column("prints", NUMBER, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=32), nullable=False),
        sa.Column("holder_signature", sa.LargeBinary(), nullable=True),
        sa.Column("design_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("spares", NUMBER, nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("reserved_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_token", sa.LargeBinary(), nullable=True),
        sa.Column("recipient_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("issued_at", sa.BigInteger(), nullable=True),
        sa.Column("released", NUMBER, nullable=False),
        sa.Column("voided", NUMBER, nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("stop_signature", sa.LargeBinary(), nullable=True),
        sa.Column("closing_until", sa.BigInteger(), nullable=True),
        sa.Column("closing_released", NUMBER, nullable=True),
        sa.Column("closing_voided", NUMBER, nullable=True),
        sa.Column("closing_transaction_id", sa.Uuid(), nullable=True),
        sa.Column("closed_block", NUMBER, nullable=True),
        sa.Column("reclaimed_block", NUMBER, nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("seen_block", NUMBER, nullable=True),
        sa.Column("seen_hash", sa.LargeBinary(length=32), nullable=True),
        sa.CheckConstraint("(stopped_at IS NULL) = (stop_signature IS NULL)", name=op.f("ck_tokens_stop_signed")),
        sa.CheckConstraint("(wrapped_token IS NULL) = (recipient_digest IS NULL)", name=op.f("ck_tokens_issue_whole")),
        sa.CheckConstraint(
            "closing_until IS NULL OR (closing_released IS NOT NULL AND closing_voided IS NOT NULL)",
            name=op.f("ck_tokens_closing_whole"),
        ),
        sa.CheckConstraint("prints BETWEEN 1 AND 65535", name=op.f("ck_tokens_prints_range")),
        sa.CheckConstraint("released - voided <= prints", name=op.f("ck_tokens_uses_within_prints")),
        sa.CheckConstraint(
            "released BETWEEN 0 AND prints + spares", name=op.f("ck_tokens_released_within_reservation")
        ),
        sa.CheckConstraint("spares >= 0 AND prints + spares <= 65535", name=op.f("ck_tokens_spares_range")),
        sa.CheckConstraint(
            "voided BETWEEN 0 AND spares AND voided <= released", name=op.f("ck_tokens_voided_within_spares")
        ),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_tokens")),
    )
    op.create_index("ix_tokens_closed_block", "tokens", ["closed_block"], unique=False)
    op.create_index(op.f("ix_tokens_design_id"), "tokens", ["design_id"], unique=False)
    op.create_index("ix_tokens_ended_at_expires_at", "tokens", ["ended_at", "expires_at"], unique=False)
    op.create_index(op.f("ix_tokens_holder"), "tokens", ["holder"], unique=False)
    op.create_index(op.f("ix_tokens_license_id"), "tokens", ["license_id"], unique=False)
    op.create_index("ix_tokens_reclaimed_block", "tokens", ["reclaimed_block"], unique=False)
    op.create_index(op.f("ix_tokens_seen_block"), "tokens", ["seen_block"], unique=False)

    op.create_table(
        "chain_events",
        sa.Column("block_number", NUMBER, nullable=False),
        sa.Column("log_index", NUMBER, nullable=False),
        sa.Column("transaction_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("contract", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["block_number"], ["chain_blocks.number"], name=op.f("fk_chain_events_block_number_chain_blocks")
        ),
        sa.PrimaryKeyConstraint("block_number", "log_index", name=op.f("pk_chain_events")),
    )
    op.create_index(op.f("ix_chain_events_name"), "chain_events", ["name"], unique=False)
    op.create_index(op.f("ix_chain_events_transaction_hash"), "chain_events", ["transaction_hash"], unique=False)

    op.create_table(
        "log_roots",
        sa.Column("epoch", NUMBER, nullable=False),
        sa.Column("size", NUMBER, autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["epoch"], ["log_heads.epoch"], name=op.f("fk_log_roots_epoch_log_heads")),
        sa.PrimaryKeyConstraint("epoch", "size", name=op.f("pk_log_roots")),
    )
    op.create_table(
        "outbox_attempts",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("most_fee", sa.LargeBinary(length=32), nullable=False),
        sa.Column("priority_fee", sa.LargeBinary(length=32), nullable=False),
        sa.Column("cancels", sa.Boolean(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.Column("broadcast_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["transaction_id"],
            ["outbox_transactions.id"],
            name=op.f("fk_outbox_attempts_transaction_id_outbox_transactions"),
        ),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_outbox_attempts")),
    )
    op.create_index(op.f("ix_outbox_attempts_transaction_id"), "outbox_attempts", ["transaction_id"], unique=False)

    op.create_table(
        "prints",
        sa.Column("token_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("print_id", sa.LargeBinary(), nullable=False),
        sa.Column("serial", sa.String(length=16), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("recipient_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=False),
        sa.Column("seen_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("detail", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("epoch", NUMBER, nullable=False),
        sa.Column("profile_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("manifest_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("key_commitment", sa.LargeBinary(length=32), nullable=False),
        sa.Column("merge_by", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(print_id) = 16", name=op.f("ck_prints_print_id_length")),
        sa.CheckConstraint("length(signature) = 65", name=op.f("ck_prints_signature_length")),
        sa.CheckConstraint("sequence BETWEEN 1 AND 65535", name=op.f("ck_prints_sequence_range")),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name=op.f("fk_prints_token_id_tokens")),
        sa.PrimaryKeyConstraint("token_id", "sequence", name=op.f("pk_prints")),
        sa.UniqueConstraint("leaf_hash", name=op.f("uq_prints_leaf_hash")),
        sa.UniqueConstraint("print_id", name=op.f("uq_prints_print_id")),
    )
    op.create_index(op.f("ix_prints_serial"), "prints", ["serial"], unique=False)

    op.create_table(
        "revisions",
        sa.Column("design_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("revision", NUMBER, nullable=False),
        sa.Column("commitment", sa.LargeBinary(length=32), nullable=False),
        sa.Column("manifest_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("manifest_cid", sa.String(length=64), nullable=True),
        sa.Column("key_commitment", sa.LargeBinary(length=32), nullable=True),
        sa.Column("wrapped_package", sa.LargeBinary(), nullable=True),
        sa.Column("deposited_at", sa.BigInteger(), nullable=True),
        sa.Column("files_root", sa.LargeBinary(length=32), nullable=True),
        sa.Column("revealed_block", NUMBER, nullable=True),
        sa.Column("recall_reason", sa.LargeBinary(length=32), nullable=True),
        sa.Column("recall_signed_at", sa.BigInteger(), nullable=True),
        sa.Column("recalled_block", NUMBER, nullable=True),
        sa.Column("transaction_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_block", NUMBER, nullable=True),
        sa.Column("seen_hash", sa.LargeBinary(length=32), nullable=True),
        sa.CheckConstraint(
            "(wrapped_package IS NULL) = (deposited_at IS NULL)", name=op.f("ck_revisions_deposit_whole")
        ),
        sa.CheckConstraint("revision BETWEEN 1 AND 65535", name=op.f("ck_revisions_revision_range")),
        sa.CheckConstraint(
            "wrapped_package IS NULL OR key_commitment IS NOT NULL", name=op.f("ck_revisions_deposit_committed")
        ),
        sa.ForeignKeyConstraint(["design_id"], ["designs.design_id"], name=op.f("fk_revisions_design_id_designs")),
        sa.PrimaryKeyConstraint("design_id", "revision", name=op.f("pk_revisions")),
    )
    op.create_index(op.f("ix_revisions_files_root"), "revisions", ["files_root"], unique=False)
    op.create_index("ix_revisions_recalled_block", "revisions", ["recalled_block"], unique=False)
    op.create_index("ix_revisions_revealed_block", "revisions", ["revealed_block"], unique=False)
    op.create_index(op.f("ix_revisions_seen_block"), "revisions", ["seen_block"], unique=False)

    op.create_table(
        "settlement_uses",
        sa.Column("settlement_id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("license_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("voided", NUMBER, nullable=False),
        sa.CheckConstraint("sequence BETWEEN 1 AND 65535", name=op.f("ck_settlement_uses_sequence_range")),
        sa.CheckConstraint("voided >= 0 AND voided <= sequence", name=op.f("ck_settlement_uses_voided_range")),
        sa.ForeignKeyConstraint(
            ["settlement_id"], ["settlements.id"], name=op.f("fk_settlement_uses_settlement_id_settlements")
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.token_id"], name=op.f("fk_settlement_uses_token_id_tokens")),
        sa.PrimaryKeyConstraint("settlement_id", "token_id", name=op.f("pk_settlement_uses")),
    )
    op.create_index(op.f("ix_settlement_uses_token_id"), "settlement_uses", ["token_id"], unique=False)

    op.create_table(
        "print_outcomes",
        sa.Column("token_id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sequence", NUMBER, nullable=False),
        sa.Column("result", NUMBER, nullable=False),
        sa.Column("spare_used", sa.Boolean(), nullable=False),
        sa.Column("receipt_digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("receipt_salt", sa.LargeBinary(length=32), nullable=True),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.Column("envelope_signature", sa.LargeBinary(), nullable=True),
        sa.Column("promise", sa.String(length=16384), nullable=True),
        sa.Column("leaf_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("epoch", NUMBER, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(signature) = 65", name=op.f("ck_print_outcomes_signature_length")),
        sa.CheckConstraint("result <> 1 OR NOT spare_used", name=op.f("ck_print_outcomes_completed_uses_no_spare")),
        sa.CheckConstraint("result BETWEEN 1 AND 4", name=op.f("ck_print_outcomes_result_range")),
        sa.ForeignKeyConstraint(
            ["token_id", "sequence"],
            ["prints.token_id", "prints.sequence"],
            name=op.f("fk_print_outcomes_token_id_sequence_prints"),
        ),
        sa.PrimaryKeyConstraint("token_id", "sequence", name=op.f("pk_print_outcomes")),
        sa.UniqueConstraint("leaf_hash", name=op.f("uq_print_outcomes_leaf_hash")),
    )

    dialect = op.get_bind().dialect.name
    for table in APPEND_ONLY:
        for statement in refusals(table, dialect):
            op.execute(statement)


def downgrade() -> None:
    """Drop every table."""
    dialect = op.get_bind().dialect.name
    for table in APPEND_ONLY:
        for statement in removals(table, dialect):
            op.execute(statement)
    op.drop_table("print_outcomes")
    op.drop_index(op.f("ix_settlement_uses_token_id"), table_name="settlement_uses")

    op.drop_table("settlement_uses")
    op.drop_index(op.f("ix_revisions_seen_block"), table_name="revisions")
    op.drop_index(
        "ix_revisions_revealed_block",
        table_name="revisions",
    )
    op.drop_index(
        "ix_revisions_recalled_block",
        table_name="revisions",
    )
    op.drop_index(op.f("ix_revisions_files_root"), table_name="revisions")

    op.drop_table("revisions")
    op.drop_index(op.f("ix_prints_serial"), table_name="prints")

    op.drop_table("prints")
    op.drop_index(op.f("ix_outbox_attempts_transaction_id"), table_name="outbox_attempts")

    op.drop_table("outbox_attempts")
    op.drop_table("log_roots")
    op.drop_index(op.f("ix_chain_events_transaction_hash"), table_name="chain_events")
    op.drop_index(op.f("ix_chain_events_name"), table_name="chain_events")

    op.drop_table("chain_events")
    op.drop_index(op.f("ix_tokens_seen_block"), table_name="tokens")
    op.drop_index(
        "ix_tokens_reclaimed_block",
        table_name="tokens",
    )
    op.drop_index(op.f("ix_tokens_license_id"), table_name="tokens")
    op.drop_index(op.f("ix_tokens_holder"), table_name="tokens")
    op.drop_index(
        "ix_tokens_ended_at_expires_at",
        table_name="tokens",
    )
    op.drop_index(op.f("ix_tokens_design_id"), table_name="tokens")
    op.drop_index(
        "ix_tokens_closed_block",
        table_name="tokens",
    )

    op.drop_table("tokens")
    op.drop_index(op.f("ix_token_settlements_seen_block"), table_name="token_settlements")

    op.drop_table("token_settlements")
    op.drop_table("spendings")
    op.drop_index(op.f("ix_settlements_transaction_id"), table_name="settlements")
    op.drop_index(op.f("ix_settlements_done_at"), table_name="settlements")
    op.drop_index(op.f("ix_settlements_created_at"), table_name="settlements")

    op.drop_table("settlements")
    op.drop_table("settlement_requests")
    op.drop_index(op.f("ix_sessions_expires_at"), table_name="sessions")

    op.drop_table("sessions")
    op.drop_index(
        "uq_outbox_transactions_dedupe_key",
        table_name="outbox_transactions",
        sqlite_where=sa.text("status <> 'failed'"),
        postgresql_where=sa.text("status <> 'failed'"),
    )
    op.drop_index(
        "uq_outbox_transactions_account_nonce",
        table_name="outbox_transactions",
    )
    op.drop_index(
        "ix_outbox_transactions_status_position",
        table_name="outbox_transactions",
    )
    op.drop_index(op.f("ix_outbox_transactions_seen_block"), table_name="outbox_transactions")
    op.drop_index(op.f("ix_outbox_transactions_position"), table_name="outbox_transactions")

    op.drop_table("outbox_transactions")
    op.drop_table("log_heads")
    op.drop_index(
        "ix_log_entries_waiting",
        table_name="log_entries",
        sqlite_where=sa.text("position IS NULL"),
        postgresql_where=sa.text("position IS NULL"),
    )
    op.drop_index(
        "ix_log_entries_token_id",
        table_name="log_entries",
    )

    op.drop_table("log_entries")
    op.drop_index(op.f("ix_log_anchors_seen_block"), table_name="log_anchors")

    op.drop_table("log_anchors")
    op.drop_index(op.f("ix_licenses_seen_block"), table_name="licenses")
    op.drop_index(op.f("ix_licenses_design_id"), table_name="licenses")

    op.drop_table("licenses")
    op.drop_index(op.f("ix_license_changes_seen_block"), table_name="license_changes")

    op.drop_table("license_changes")
    op.drop_index(op.f("ix_idempotent_answers_started_at"), table_name="idempotent_answers")

    op.drop_table("idempotent_answers")
    op.drop_index(op.f("ix_designs_seen_block"), table_name="designs")
    op.drop_index(op.f("ix_designs_registrant"), table_name="designs")
    op.drop_index(op.f("ix_designs_owner"), table_name="designs")

    op.drop_table("designs")
    op.drop_index(op.f("ix_design_owners_seen_block"), table_name="design_owners")

    op.drop_table("design_owners")
    op.drop_index(op.f("ix_challenges_expires_at"), table_name="challenges")

    op.drop_table("challenges")
    op.drop_table("chain_progress")
    op.drop_table("chain_blocks")
    op.drop_index(op.f("ix_audit_entries_subject"), table_name="audit_entries")
    op.drop_index(op.f("ix_audit_entries_at"), table_name="audit_entries")
    op.drop_index(op.f("ix_audit_entries_action"), table_name="audit_entries")

    op.drop_table("audit_entries")
    op.drop_index(op.f("ix_api_keys_address"), table_name="api_keys")

    op.drop_table("api_keys")
