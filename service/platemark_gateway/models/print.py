"""Prints: one row for each redeemed sequence of a token, and its one final outcome."""

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Digest32, TokenId, UnixSeconds
from platemark_gateway.models.base import Base


class Print(Base):
    """A counted print. With the release key, this row and its token determine every byte of the release."""

    __tablename__ = "prints"
    __table_args__ = (
        CheckConstraint("sequence BETWEEN 1 AND 65535", name="sequence_range"),
        CheckConstraint("length(print_id) = 16", name="print_id_length"),
        CheckConstraint("length(signature) = 65", name="signature_length"),
    )

    token_id: Mapped[TokenId] = mapped_column(ForeignKey("tokens.token_id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    print_id: Mapped[bytes] = mapped_column(unique=True)
    serial: Mapped[str] = mapped_column(String(16), index=True)
    request_digest: Mapped[Digest32]
    token_digest: Mapped[Digest32]
    recipient_digest: Mapped[Digest32]
    seen_block: Mapped[int]
    seen_hash: Mapped[Digest32]
    detail: Mapped[Digest32]
    signature: Mapped[bytes]
    leaf_hash: Mapped[Digest32]
    epoch: Mapped[int]
    profile_digest: Mapped[Digest32]
    manifest_digest: Mapped[Digest32]
    key_commitment: Mapped[Digest32]
    merge_by: Mapped[UnixSeconds]
    created_at: Mapped[UnixSeconds]


class PrintOutcome(Base):
    """How a print ended: one row per sequence, for ever; with the receipt's statement and the promise.

    The gateway's countersignature follows from the statement and the release key. Receipt and promise are None for an
    outcome that was rebuilt from the log, until the agent reports it again.
    """

    __tablename__ = "print_outcomes"
    __table_args__ = (
        ForeignKeyConstraint(["token_id", "sequence"], ["prints.token_id", "prints.sequence"]),
        CheckConstraint("result BETWEEN 1 AND 4", name="result_range"),
        CheckConstraint("result <> 1 OR NOT spare_used", name="completed_uses_no_spare"),
        CheckConstraint("length(signature) = 65", name="signature_length"),
    )

    token_id: Mapped[TokenId] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    result: Mapped[int]
    spare_used: Mapped[bool]
    receipt_digest: Mapped[Digest32]
    signature: Mapped[bytes]
    receipt_salt: Mapped[Digest32 | None]
    receipt: Mapped[bytes | None]
    envelope_signature: Mapped[bytes | None]
    promise: Mapped[str | None] = mapped_column(String(16_384))
    leaf_hash: Mapped[Digest32]
    epoch: Mapped[int]
    created_at: Mapped[UnixSeconds]
