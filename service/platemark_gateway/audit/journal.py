"""Writes the audit table: one row an act, in the transaction of the act itself."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, address_text
from platemark_gateway import telemetry
from platemark_gateway.clock import Clock
from platemark_gateway.models.audit import AuditEntry

GATEWAY: Final = "gateway"
"""The actor of what the gateway does by itself."""
TABLE: Final = AuditEntry.metadata.tables[AuditEntry.__tablename__]


def record(
    session: AsyncSession,
    clock: Clock,
    *,
    actor: Address | str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add a row: `actor` did `action` (dotted, static) to `subject` (an id); `detail` holds no secrets."""
    session.add(AuditEntry(**entry(clock, actor=actor, action=action, subject=subject, detail=detail)))


def entry(
    clock: Clock,
    *,
    actor: Address | str,
    action: str,
    subject: str,
    detail: Mapping[str, Any] | None = None,
    correlation_id: str | None = None,
) -> dict[str, Any]:
    """Return the columns of a row; the request is the one being served unless another is named."""
    return {
        "at": clock.now(),
        "actor": actor if isinstance(actor, str) else address_text(actor),
        "action": action,
        "subject": subject,
        "detail": dict(detail or {}),
        "correlation_id": correlation_id or telemetry.correlation_id(),
    }
