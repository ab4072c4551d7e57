"""The chain as this gateway sees it, and what it sends there."""

import uuid
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Address, Digest32, UnixSeconds, Wei
from platemark_gateway.models.base import Base


class ChainProgress(Base):
    """How far the index has come; one row. `chain_id` and `ledger` name what is indexed, for ever."""

    __tablename__ = "chain_progress"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        CheckConstraint("final_number <= indexed_number", name="final_is_indexed"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    chain_id: Mapped[int]
    ledger: Mapped[Address]
    head_number: Mapped[int]
    head_hash: Mapped[Digest32]
    head_timestamp: Mapped[UnixSeconds]
    indexed_number: Mapped[int]
    indexed_hash: Mapped[Digest32]
    indexed_timestamp: Mapped[UnixSeconds]
    final_number: Mapped[int]
    final_hash: Mapped[Digest32]
    final_timestamp: Mapped[UnixSeconds]
    dispute: Mapped[str | None] = mapped_column(String(32))
    """Why nothing more becomes final: the code of what the chain's nodes disagree about."""


class ChainBlock(Base):
    """An indexed block: each one that was not final when it was indexed, and each one that holds an event."""

    __tablename__ = "chain_blocks"

    number: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[Digest32] = mapped_column(unique=True)
    timestamp: Mapped[UnixSeconds]


class ChainEventRow(Base):
    """One decoded event of the three contracts; a rewind removes it."""

    __tablename__ = "chain_events"

    block_number: Mapped[int] = mapped_column(ForeignKey("chain_blocks.number"), primary_key=True)
    log_index: Mapped[int] = mapped_column(primary_key=True)
    transaction_hash: Mapped[Digest32] = mapped_column(index=True)
    contract: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(64), index=True)
    args: Mapped[dict[str, Any]] = mapped_column(JSON)


class OutboxTransaction(Base):
    """A transaction that `account` sends: until it is signed, it may be given to the account that follows.

    queued: nothing is signed. sent: `nonce` is taken and an attempt is stored, perhaps broadcast. seen, confirmed: in
    block `seen_block`. final and failed: the end; `reason` says why it failed. `giving_up` holds that reason while a
    transaction that nobody can execute any more is still being replaced by an empty one of the same nonce.
    """

    __tablename__ = "outbox_transactions"
    __table_args__ = (
        CheckConstraint("status IN ('queued', 'sent', 'seen', 'confirmed', 'final', 'failed')", name="status_known"),
        CheckConstraint(
            "status NOT IN ('sent', 'seen', 'confirmed', 'final') OR nonce IS NOT NULL", name="nonce_taken"
        ),
        CheckConstraint("(status = 'failed') = (reason IS NOT NULL)", name="failed_has_reason"),
        CheckConstraint("(seen_block IS NULL) = (seen_hash IS NULL)", name="seen_whole"),
        CheckConstraint("(booked IS NULL) = (booked_day IS NULL)", name="booked_whole"),
        Index(
            "uq_outbox_transactions_dedupe_key",
            "dedupe_key",
            unique=True,
            sqlite_where=text("status <> 'failed'"),
            postgresql_where=text("status <> 'failed'"),
        ),
        Index("uq_outbox_transactions_account_nonce", "account", "nonce", unique=True),
        Index("ix_outbox_transactions_status_position", "status", "position"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(index=True)
    """Order of arrival: transactions are signed in this order."""
    account: Mapped[Address]
    purpose: Mapped[str] = mapped_column(String(64))
    dedupe_key: Mapped[str] = mapped_column(String(200))
    to: Mapped[Address] = mapped_column("to_address")
    data: Mapped[bytes]
    value: Mapped[Wei]
    created_at: Mapped[UnixSeconds]
    status: Mapped[str] = mapped_column(String(16))
    nonce: Mapped[int | None]
    gas: Mapped[int | None]
    seen_block: Mapped[int | None] = mapped_column(index=True)
    seen_hash: Mapped[Digest32 | None]
    mined_hash: Mapped[Digest32 | None]
    ended_at: Mapped[UnixSeconds | None]
    reason: Mapped[str | None] = mapped_column(String(600))
    code: Mapped[str | None] = mapped_column(String(64))
    giving_up: Mapped[str | None] = mapped_column(String(600))
    not_before: Mapped[UnixSeconds] = mapped_column(default=UnixSeconds(0))
    """When it is worth another try, after the node or the funds said no."""
    tries: Mapped[int] = mapped_column(default=0)
    waiting: Mapped[str | None] = mapped_column(String(32))
    """What a queued transaction waits for: `spending-cap`, `fee-limit` or `funds`."""
    booked: Mapped[Wei | None]
    """What it may cost at most, wei, as booked for day `booked_day`; once final, what it did cost."""
    booked_day: Mapped[int | None]


class SendingAccount(Base):
    """An account that sends the gateway's transactions; that with the highest number does now.

    Without a row the gateway's own account sends. `ended_at` is set when nothing of it is under way any more and the
    ledger does not take it for an operator.
    """

    __tablename__ = "sending_accounts"

    number: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[Address]
    began_at: Mapped[UnixSeconds]
    ended_at: Mapped[UnixSeconds | None]


class ChainSpending(Base):
    """What an account's transactions of one day (days since 1970, UTC) cost, or may cost while they are not final."""

    __tablename__ = "chain_spending"

    account: Mapped[Address] = mapped_column(primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True)
    wei: Mapped[Wei]


class OutboxAttempt(Base):
    """One signed form of a transaction; kept before it is broadcast, so that a crash can lose neither."""

    __tablename__ = "outbox_attempts"

    hash: Mapped[Digest32] = mapped_column(primary_key=True)
    transaction_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("outbox_transactions.id"), index=True)
    raw: Mapped[bytes]
    most_fee: Mapped[Wei]
    priority_fee: Mapped[Wei]
    cancels: Mapped[bool]
    signed_at: Mapped[UnixSeconds]
    broadcast_at: Mapped[UnixSeconds | None]
