"""Rows of challenges, sessions and API keys."""

import uuid
from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, UnixSeconds
from platemark_gateway.models.access import ApiKey, Challenge, Session


async def use_challenge(session: AsyncSession, nonce: str, address: Address, now: UnixSeconds) -> bool:
    """Mark a challenge as used; return whether it was there, for this address, unused and in time."""
    used = await session.scalar(
        update(Challenge)
        .where(
            Challenge.nonce == nonce,
            Challenge.address == address,
            Challenge.used_at.is_(None),
            Challenge.expires_at > now,
        )
        .values(used_at=now)
        .returning(Challenge.nonce)
    )
    return used is not None


async def forget_expired(session: AsyncSession, now: UnixSeconds) -> None:
    """Delete challenges and sessions that expired a day ago."""
    for model in (Challenge, Session):
        await session.execute(delete(model).where(model.expires_at < now - 86_400))


async def session_of(session: AsyncSession, secret_mac: bytes, now: UnixSeconds) -> Session | None:
    """Return the live session of a secret."""
    found: Session | None = await session.scalar(
        select(Session).where(Session.secret_mac == secret_mac, Session.expires_at > now)
    )
    return found


async def end_session(session: AsyncSession, secret_mac: bytes) -> None:
    """Delete a session."""
    await session.execute(delete(Session).where(Session.secret_mac == secret_mac))


async def key_of(session: AsyncSession, secret_mac: bytes) -> ApiKey | None:
    """Return the key of a secret unless it was revoked."""
    found: ApiKey | None = await session.scalar(
        select(ApiKey).where(ApiKey.secret_mac == secret_mac, ApiKey.revoked_at.is_(None))
    )
    return found


async def keys_of(session: AsyncSession, address: Address) -> Sequence[ApiKey]:
    """Return an account's keys, newest first, revoked ones too."""
    rows = await session.scalars(select(ApiKey).where(ApiKey.address == address).order_by(ApiKey.id.desc()))
    return rows.all()


async def revoke_key(session: AsyncSession, key_id: uuid.UUID, address: Address, now: UnixSeconds) -> bool:
    """Revoke an account's key; return whether it has such a key (revoked before or not)."""
    found: ApiKey | None = await session.scalar(
        select(ApiKey).where(ApiKey.id == key_id, ApiKey.address == address).with_for_update()
    )
    if found is None:
        return False
    if found.revoked_at is None:
        found.revoked_at = now
    return True
