"""The audit table takes the one change that takes a person out of a row.

Revision: 0010, after 0009.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLE = "audit_entries"
ERASURE = (
    "new.id = old.id AND new.at = old.at AND new.action = old.action"
    " AND (new.actor = old.actor OR new.actor = 'erased' AND old.actor NOT IN ('gateway', 'operator'))"
    " AND (new.subject = old.subject OR new.subject = 'erased' AND (length(old.subject) = 42"
    " OR old.action IN ('sign-in', 'sign-out', 'api-key.make', 'api-key.revoke')))"
    " AND CAST(new.detail AS TEXT) IN (CAST(old.detail AS TEXT), '{}')"
    " AND (new.correlation_id IS NULL OR coalesce(old.correlation_id, '') = new.correlation_id)"
)


def upgrade() -> None:
    """Let the trigger of UPDATE pass what only erases."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {TABLE}_no_update")
        op.execute(
            f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} WHEN (NOT ({ERASURE})) "
            f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
        )
        return
    op.execute(f"DROP TRIGGER {TABLE}_no_change ON {TABLE}")
    for name, verb, condition in (("update", "UPDATE", f"WHEN (NOT ({ERASURE})) "), ("delete", "DELETE", "")):
        op.execute(
            f"CREATE TRIGGER {TABLE}_no_{name} BEFORE {verb} ON {TABLE} "
            f"FOR EACH ROW {condition}EXECUTE FUNCTION {TABLE}_append_only()"
        )


def downgrade() -> None:
    """Let it refuse every change again; what was erased stays erased."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {TABLE}_no_update")
        op.execute(
            f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} "
            f"BEGIN SELECT RAISE(ABORT, '{TABLE} is append-only'); END"
        )
        return
    for name in ("update", "delete"):
        op.execute(f"DROP TRIGGER {TABLE}_no_{name} ON {TABLE}")
    op.execute(
        f"CREATE TRIGGER {TABLE}_no_change BEFORE UPDATE OR DELETE ON {TABLE} "
        f"FOR EACH ROW EXECUTE FUNCTION {TABLE}_append_only()"
    )
