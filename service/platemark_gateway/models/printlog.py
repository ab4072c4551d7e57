"""The print log: its head, entries, roots, anchors and witnesses."""

import uuid

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Address, Digest32, TokenId, UnixSeconds
from platemark_gateway.models.append_only import append_only
from platemark_gateway.models.base import Base, SeenOnChain


class LogHead(Base):
    """One epoch of the log; the highest epoch is the one that grows.

    `assigned` entries have an index, `size` of them are in synced tiles under `root`. `quarantine` is a reason for
    which nothing may be released; None lets the log grow. `compared_at` is when a comparison with checkpoint, last
    anchor and chain last found nothing; None before the first.
    """

    __tablename__ = "log_heads"
    __table_args__ = (
        CheckConstraint("epoch >= 1", name="epoch_positive"),
        CheckConstraint("size >= 0 AND size <= assigned", name="size_within_assigned"),
    )

    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    origin: Mapped[str] = mapped_column(String(256))
    profile_digest: Mapped[Digest32]
    merge_delay_seconds: Mapped[int]
    assigned: Mapped[int]
    size: Mapped[int]
    root: Mapped[Digest32]
    quarantine: Mapped[str | None] = mapped_column(String(500))
    quarantined_at: Mapped[UnixSeconds | None]
    compared_at: Mapped[UnixSeconds | None]
    anchor_requested_at: Mapped[UnixSeconds | None]
    created_at: Mapped[UnixSeconds]


class LogEntry(Base):
    """One entry, written in the transaction that counted; `position` is given by the sequencer.

    An entry of an older epoch keeps its position in every later one.
    """

    __tablename__ = "log_entries"
    __table_args__ = (
        UniqueConstraint("position"),
        # An entry names its token: no leaf is there twice, and a new one is written near the others of its token.
        UniqueConstraint("token_id", "leaf_hash"),
        CheckConstraint("kind BETWEEN 1 AND 3", name="kind_range"),
        CheckConstraint("position >= 0", name="position_not_negative"),
        Index(
            "ix_log_entries_waiting",
            "id",
            sqlite_where=text("position IS NULL"),
            postgresql_where=text("position IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    kind: Mapped[int]
    token_id: Mapped[TokenId]
    entry: Mapped[bytes]
    leaf_hash: Mapped[Digest32]
    position: Mapped[int | None]
    created_at: Mapped[UnixSeconds]


class LogRoot(Base):
    """The root at a size of an epoch: at most one, for ever."""

    __tablename__ = "log_roots"

    epoch: Mapped[int] = mapped_column(ForeignKey("log_heads.epoch"), primary_key=True)
    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[Digest32]
    created_at: Mapped[UnixSeconds]


class LogAnchor(SeenOnChain, Base):
    """A root that was sent to the ledger, or seen there; `seen_block` says where it stands.

    What the ledger says takes the place of what was sent: a difference shows in the check against the log.
    """

    __tablename__ = "log_anchors"

    gateway: Mapped[Address] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[Digest32]
    tiles_digest: Mapped[Digest32]
    transaction_id: Mapped[uuid.UUID | None]
    transaction_hash: Mapped[Digest32 | None]
    created_at: Mapped[UnixSeconds]


class LogWitness(Base):
    """What a witness, by its key, cosigned last of an epoch, and since when and why it does not.

    `size` is only where the next request starts; the witness knows better. `failures` in a row; `code` of the last.
    """

    __tablename__ = "log_witnesses"
    __table_args__ = (CheckConstraint("size >= 0", name="size_not_negative"),)

    epoch: Mapped[int] = mapped_column(ForeignKey("log_heads.epoch"), primary_key=True)
    witness: Mapped[str] = mapped_column(String(500), primary_key=True)
    size: Mapped[int]
    cosigned_at: Mapped[UnixSeconds | None]
    failed_at: Mapped[UnixSeconds | None]
    failures: Mapped[int]
    code: Mapped[str | None] = mapped_column(String(64))


append_only(LogRoot.metadata.tables[LogRoot.__tablename__])
