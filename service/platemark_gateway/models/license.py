"""Licences: terms that were offered, and what happened to them on chain."""

import uuid
from typing import Any

from sqlalchemy import JSON, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Address, DesignId, Digest32, LicenseId, UnixSeconds, Wei
from platemark_gateway.models.base import Base, SeenOnChain


class License(SeenOnChain, Base):
    """An offered licence; `terms` is `Terms.to_json()`.

    `gateway` (who serves it now), `revision`, `on_sale` and `minted` follow from the changes seen on chain
    (`LicenseChange`).
    """

    __tablename__ = "licenses"
    __table_args__ = (CheckConstraint("minted >= 0", name="minted_not_negative"),)

    license_id: Mapped[LicenseId] = mapped_column(primary_key=True)
    design_id: Mapped[DesignId] = mapped_column(index=True)
    gateway: Mapped[Address]
    revision: Mapped[int]
    key_commitment: Mapped[Digest32]
    terms: Mapped[dict[str, Any]] = mapped_column(JSON)
    terms_cid: Mapped[str | None] = mapped_column(String(64))
    on_sale: Mapped[bool]
    minted: Mapped[int]
    transaction_id: Mapped[uuid.UUID | None]
    created_at: Mapped[UnixSeconds]


class LicenseChange(Base):
    """One event of a licence: exactly one of revision, sale and prints is set.

    `gateway` stands with a revision where a licence was offered or moved; `prints` is negative where some were
    returned for their price.
    """

    __tablename__ = "license_changes"
    __table_args__ = (
        CheckConstraint(
            "(revision IS NOT NULL AND key_commitment IS NOT NULL AND on_sale IS NULL AND prints IS NULL)"
            " OR (revision IS NULL AND key_commitment IS NULL AND on_sale IS NOT NULL AND prints IS NULL)"
            " OR (revision IS NULL AND key_commitment IS NULL AND on_sale IS NULL AND prints IS NOT NULL)",
            name="one_value",
        ),
        CheckConstraint("gateway IS NULL OR revision IS NOT NULL", name="gateway_accepts"),
    )

    license_id: Mapped[LicenseId] = mapped_column(primary_key=True)
    seen_block: Mapped[int] = mapped_column(primary_key=True, index=True)
    log_index: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int | None]
    key_commitment: Mapped[Digest32 | None]
    on_sale: Mapped[bool | None]
    prints: Mapped[int | None]
    gateway: Mapped[Address | None]


class LicenseCredit(Base):
    """What one event owed an account: its share of what a licence earned, or the price of returned prints."""

    __tablename__ = "license_credits"

    seen_block: Mapped[int] = mapped_column(primary_key=True)
    log_index: Mapped[int] = mapped_column(primary_key=True)
    license_id: Mapped[LicenseId] = mapped_column(index=True)
    payee: Mapped[Address] = mapped_column(index=True)
    currency: Mapped[Address]
    amount: Mapped[Wei]
    is_refund: Mapped[bool]
