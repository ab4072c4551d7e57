"""Designs and their revisions: what the chain says, and what the gateway keeps for it."""

import uuid

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Address, DesignId, Digest32, UnixSeconds
from platemark_gateway.models.base import Base, SeenOnChain


class Design(SeenOnChain, Base):
    """A registered design; `seen_block` None means it was relayed but is in no block yet.

    `edition` is the registered one, a part of the design's id; `edition_limit` is what the owner lowered it to since.
    """

    __tablename__ = "designs"

    design_id: Mapped[DesignId] = mapped_column(primary_key=True)
    registrant: Mapped[Address] = mapped_column(index=True)
    owner: Mapped[Address] = mapped_column(index=True)
    is_private: Mapped[bool]
    parent_id: Mapped[DesignId]
    resale_share: Mapped[int]
    derivative_share: Mapped[int]
    edition: Mapped[int]
    edition_limit: Mapped[int]
    transaction_id: Mapped[uuid.UUID | None]
    created_at: Mapped[UnixSeconds]


class DesignOwner(Base):
    """One ownership transfer on chain; the latest names the owner."""

    __tablename__ = "design_owners"

    design_id: Mapped[DesignId] = mapped_column(primary_key=True)
    seen_block: Mapped[int] = mapped_column(primary_key=True, index=True)
    log_index: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[Address]


class DesignEdition(Base):
    """One lowering of a design's edition on chain; the latest stands."""

    __tablename__ = "design_editions"

    design_id: Mapped[DesignId] = mapped_column(primary_key=True)
    seen_block: Mapped[int] = mapped_column(primary_key=True, index=True)
    log_index: Mapped[int] = mapped_column(primary_key=True)
    edition: Mapped[int]


class Revision(SeenOnChain, Base):
    """A revision of a design.

    `manifest_cid` is set once the manifest is stored, `wrapped_package` once a deposit was verified,
    `recall_signed_at` as soon as the gateway holds the owner's signed recall.
    """

    __tablename__ = "revisions"
    __table_args__ = (
        CheckConstraint("revision BETWEEN 1 AND 65535", name="revision_range"),
        CheckConstraint("(wrapped_package IS NULL) = (deposited_at IS NULL)", name="deposit_whole"),
        CheckConstraint("wrapped_package IS NULL OR key_commitment IS NOT NULL", name="deposit_committed"),
        Index("ix_revisions_recalled_block", "recalled_block"),
        Index("ix_revisions_revealed_block", "revealed_block"),
        Index(
            "ix_revisions_recall_signed_at",
            "recall_signed_at",
            postgresql_where=text("recall_signed_at IS NOT NULL"),
            sqlite_where=text("recall_signed_at IS NOT NULL"),
        ),
    )

    design_id: Mapped[DesignId] = mapped_column(ForeignKey("designs.design_id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    commitment: Mapped[Digest32]
    manifest_digest: Mapped[Digest32]
    manifest_cid: Mapped[str | None] = mapped_column(String(64))
    key_commitment: Mapped[Digest32 | None]
    wrapped_package: Mapped[bytes | None]
    deposited_at: Mapped[UnixSeconds | None]
    files_root: Mapped[Digest32 | None] = mapped_column(index=True)
    revealed_block: Mapped[int | None]
    recall_reason: Mapped[Digest32 | None]
    recall_signed_at: Mapped[UnixSeconds | None]
    recalled_block: Mapped[int | None]
    transaction_id: Mapped[uuid.UUID | None]
    created_at: Mapped[UnixSeconds]
