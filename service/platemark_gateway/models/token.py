"""Print tokens: reservations as the holder signed them, and what has been used of each."""

import uuid
from typing import NamedTuple

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Address, DesignId, Digest32, LicenseId, TokenId, UnixSeconds
from platemark_gateway.models.base import Base, SeenOnChain


class Token(SeenOnChain, Base):
    """A reservation and its counts; `seen_block` None means that it is in no block yet.

    Those with other gateways of the ledger are here too, as their licences are; nothing is counted of them.

    The first group of columns is the permission, whose digest is `token_id`. `released` is the highest sequence,
    `voided` how many outcomes gave their print back. `wrapped_token` is the issued token (compact JWS), encrypted by
    the vault under the token's id; a token with `issued_at` and without it is lost, with the vault. What forbids
    (`stopped_at`, `closing_until`, `closed_block`, `reclaimed_block`) counts as soon as it is there. `ended_at` is set
    with the token's last log entry. `stop_signature` is empty where a restore knows the stop from the log alone.
    """

    __tablename__ = "tokens"
    __table_args__ = (
        CheckConstraint("prints BETWEEN 1 AND 65535", name="prints_range"),
        CheckConstraint("spares >= 0 AND prints + spares <= 65535", name="spares_range"),
        CheckConstraint("released BETWEEN 0 AND prints + spares", name="released_within_reservation"),
        CheckConstraint("voided BETWEEN 0 AND spares AND voided <= released", name="voided_within_spares"),
        CheckConstraint("released - voided <= prints", name="uses_within_prints"),
        CheckConstraint("(wrapped_token IS NULL) = (recipient_digest IS NULL)", name="issue_whole"),
        CheckConstraint("(stopped_at IS NULL) = (stop_signature IS NULL)", name="stop_signed"),
        CheckConstraint(
            "closing_until IS NULL OR (closing_released IS NOT NULL AND closing_voided IS NOT NULL)",
            name="closing_whole",
        ),
        Index("ix_tokens_closed_block", "closed_block"),
        Index("ix_tokens_reclaimed_block", "reclaimed_block"),
        Index("ix_tokens_ended_at_expires_at", "ended_at", "expires_at"),
        Index(
            "ix_tokens_stopped_at",
            "stopped_at",
            postgresql_where=text("stopped_at IS NOT NULL AND ended_at IS NULL"),
            sqlite_where=text("stopped_at IS NOT NULL AND ended_at IS NULL"),
        ),
        Index(
            "ix_tokens_closing_until",
            "closing_until",
            postgresql_where=text("closing_until IS NOT NULL"),
            sqlite_where=text("closing_until IS NOT NULL"),
        ),
        {"postgresql_with": {"fillfactor": 50}},  # each release changes a row: there is room for that in its page
    )

    token_id: Mapped[TokenId] = mapped_column(primary_key=True)
    holder: Mapped[Address] = mapped_column(index=True)
    gateway: Mapped[Address]
    agent: Mapped[Address]
    license_id: Mapped[LicenseId] = mapped_column(index=True)
    revision: Mapped[int]
    prints: Mapped[int]
    expires_at: Mapped[UnixSeconds]
    deadline: Mapped[UnixSeconds]
    salt: Mapped[Digest32]
    holder_signature: Mapped[bytes | None]

    design_id: Mapped[DesignId] = mapped_column(index=True)
    spares: Mapped[int]
    transaction_id: Mapped[uuid.UUID | None]
    reserved_at: Mapped[UnixSeconds | None]
    created_at: Mapped[UnixSeconds]

    wrapped_token: Mapped[bytes | None]
    recipient_digest: Mapped[Digest32 | None]
    issued_at: Mapped[UnixSeconds | None]

    released: Mapped[int] = mapped_column(default=0)
    voided: Mapped[int] = mapped_column(default=0)

    stopped_at: Mapped[UnixSeconds | None]
    stop_signature: Mapped[bytes | None]
    closing_until: Mapped[UnixSeconds | None]
    closing_released: Mapped[int | None]
    closing_voided: Mapped[int | None]
    closing_transaction_id: Mapped[uuid.UUID | None]
    closed_block: Mapped[int | None]
    reclaimed_block: Mapped[int | None]
    ended_at: Mapped[UnixSeconds | None]

    @property
    def is_lost(self) -> bool:
        """Whether the token was issued and is gone: nothing is released for it, and no other takes its place."""
        return self.issued_at is not None and self.wrapped_token is None


class Deciding(NamedTuple):
    """What of a token's row decides about its prints, by the names of its columns."""

    token_id: TokenId
    gateway: Address
    agent: Address
    design_id: DesignId
    revision: int
    prints: int
    spares: int
    expires_at: UnixSeconds
    issued_at: UnixSeconds | None
    wrapped_token: bytes | None
    released: int
    voided: int
    seen_block: int | None
    stopped_at: UnixSeconds | None
    closing_until: UnixSeconds | None
    closed_block: int | None
    reclaimed_block: int | None
    ended_at: UnixSeconds | None


class TokenSettlement(Base):
    """One `Settled` event: the ledger's cumulative counts of a token after it; the latest one stands."""

    __tablename__ = "token_settlements"

    token_id: Mapped[TokenId] = mapped_column(primary_key=True)
    seen_block: Mapped[int] = mapped_column(primary_key=True, index=True)
    log_index: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    burned: Mapped[int]
    voided: Mapped[int]
