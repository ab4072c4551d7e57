"""Settlements: which vouchers were put into which transaction."""

import uuid

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import LicenseId, TokenId, UnixSeconds
from platemark_gateway.models.base import Base


class Settlement(Base):
    """One `settle` transaction of this gateway; `done_at` is set when it is final or has failed."""

    __tablename__ = "settlements"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    transaction_id: Mapped[uuid.UUID] = mapped_column(index=True)
    uses: Mapped[int]
    created_at: Mapped[UnixSeconds] = mapped_column(index=True)
    done_at: Mapped[UnixSeconds | None] = mapped_column(index=True)
    failed: Mapped[bool] = mapped_column(default=False)


class SettlementUse(Base):
    """A token's cumulative use in a settlement."""

    __tablename__ = "settlement_uses"
    __table_args__ = (
        CheckConstraint("sequence BETWEEN 1 AND 65535", name="sequence_range"),
        CheckConstraint("voided >= 0 AND voided <= sequence", name="voided_range"),
    )

    settlement_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("settlements.id"), primary_key=True)
    token_id: Mapped[TokenId] = mapped_column(ForeignKey("tokens.token_id"), primary_key=True, index=True)
    license_id: Mapped[LicenseId]
    sequence: Mapped[int]
    voided: Mapped[int]


class SettlementRequest(Base):
    """An operator asked to settle now; taken away when a settlement round has begun."""

    __tablename__ = "settlement_requests"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    license_id: Mapped[LicenseId | None]
    created_at: Mapped[UnixSeconds]
