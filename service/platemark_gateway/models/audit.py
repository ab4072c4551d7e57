"""The audit table: who did what, never changed, never deleted."""

from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import UnixSeconds
from platemark_gateway.models.append_only import append_only
from platemark_gateway.models.base import Base


class AuditEntry(Base):
    """One act.

    `actor` is an address, `gateway`, or `operator` for a command on its machine; `detail` holds identifiers and
    digests, never secrets.
    """

    __tablename__ = "audit_entries"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[UnixSeconds] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64), index=True)
    subject: Mapped[str] = mapped_column(String(128), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)
    correlation_id: Mapped[str | None] = mapped_column(String(64))


append_only(AuditEntry.metadata.tables[AuditEntry.__tablename__])
