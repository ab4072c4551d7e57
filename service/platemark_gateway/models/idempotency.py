"""Answers that were given under an idempotency key."""

from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Digest32, UnixSeconds
from platemark_gateway.models.base import Base


class IdempotentAnswer(Base):
    """A request and, once there is one, its answer, encrypted by the vault (it may hold a session or a key)."""

    __tablename__ = "idempotent_answers"

    key_digest: Mapped[Digest32] = mapped_column(primary_key=True)
    request_digest: Mapped[Digest32]
    started_at: Mapped[UnixSeconds] = mapped_column(index=True)
    status: Mapped[int | None]
    wrapped_answer: Mapped[bytes | None]
