"""Who may do what: challenges of sign-in, sessions, API keys, and what was spent."""

import uuid

from sqlalchemy import JSON, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Address, UnixSeconds
from platemark_gateway.models.base import Base


class Challenge(Base):
    """A nonce that one sign-in may use once."""

    __tablename__ = "challenges"

    nonce: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[Address]
    issued_at: Mapped[UnixSeconds]
    expires_at: Mapped[UnixSeconds] = mapped_column(index=True)
    used_at: Mapped[UnixSeconds | None]


class Session(Base):
    """A signed-in account; of the secret only a keyed hash is stored."""

    __tablename__ = "sessions"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    secret_mac: Mapped[bytes] = mapped_column(unique=True)
    address: Mapped[Address]
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[UnixSeconds]
    expires_at: Mapped[UnixSeconds] = mapped_column(index=True)


class ApiKey(Base):
    """A machine's key; shown once, stored as a keyed hash."""

    __tablename__ = "api_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    secret_mac: Mapped[bytes] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(String(80))
    address: Mapped[Address] = mapped_column(index=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[UnixSeconds]
    revoked_at: Mapped[UnixSeconds | None]


class Spending(Base):
    """What an account used of a daily quota (transactions that the gateway paid, bytes that it stored)."""

    __tablename__ = "spendings"
    __table_args__ = (CheckConstraint("spent >= 0", name="spent_not_negative"),)

    address: Mapped[Address] = mapped_column(primary_key=True)
    quota: Mapped[str] = mapped_column(String(32), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True)
    spent: Mapped[int]
