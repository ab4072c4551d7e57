"""The audit table: who did what, never deleted, and never changed but to take a person out of it."""

from typing import Any, Final

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import UnixSeconds
from platemark_gateway.models.append_only import append_only
from platemark_gateway.models.base import Base

ERASED: Final = "erased"
"""Stands where an actor or a subject was a person's."""
OF_ACCESS: Final = ("sign-in", "sign-out", "api-key.make", "api-key.revoke")
"""Acts whose subject is the account itself, or what let it in."""
_ERASURE: Final = (
    "new.id = old.id AND new.at = old.at AND new.action = old.action"
    f" AND (new.actor = old.actor OR new.actor = '{ERASED}' AND old.actor NOT IN ('gateway', 'operator'))"
    f" AND (new.subject = old.subject OR new.subject = '{ERASED}' AND (length(old.subject) = 42"
    f" OR old.action IN {OF_ACCESS}))"
    " AND CAST(new.detail AS TEXT) IN (CAST(old.detail AS TEXT), '{}')"
    " AND (new.correlation_id IS NULL OR coalesce(old.correlation_id, '') = new.correlation_id)"
)
"""The only UPDATE that the table takes: towards less, never towards something else. Subjects that go are accounts (42
characters) and what let them in; actors that go are persons."""


class AuditEntry(Base):
    """One act.

    `actor` is an address, `gateway`, `operator` for a command on its machine, or `erased`; `detail` holds identifiers
    and digests, never secrets.
    """

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[UnixSeconds] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str] = mapped_column(String(128), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    correlation_id: Mapped[str | None] = mapped_column(String(64))


append_only(AuditEntry.metadata.tables[AuditEntry.__tablename__], erasure=_ERASURE)
