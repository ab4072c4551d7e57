"""What the workers last did, so that every process can tell whether somebody works."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import UnixSeconds
from platemark_gateway.models.base import Base


class WorkerStep(Base):
    """One step of the workers: when one of them last finished it, and how it last failed."""

    __tablename__ = "worker_steps"

    step: Mapped[str] = mapped_column(String(32), primary_key=True)
    succeeded_at: Mapped[UnixSeconds | None]
    failed_at: Mapped[UnixSeconds | None]
    failures: Mapped[int]
    """In a row, of the worker that reported last."""
    code: Mapped[str | None] = mapped_column(String(64))
