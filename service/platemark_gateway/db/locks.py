"""Locks that hold until the transaction ends."""

import hashlib

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def take(session: AsyncSession, name: str) -> None:
    """Wait for the lock of that name and hold it until the transaction ends.

    PostgreSQL: an advisory lock. SQLite: the write transaction already excludes every other writer.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key_of(name)})


async def try_take(session: AsyncSession, name: str) -> bool:
    """Take the lock of that name if it is free; return whether it was. Held until the transaction ends."""
    if session.get_bind().dialect.name == "postgresql":
        taken = await session.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key_of(name)})
        return bool(taken)
    return True


async def give_way(session: AsyncSession) -> None:
    """Let a transaction that can be taken again wait for no row longer than half a second.

    One that locks rows in an order of its own, as events come, may wait for a redemption that waits for it. PostgreSQL
    would end either of them after a second; so it is this one, and no redemption. SQLite has one writer at a time.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SET LOCAL lock_timeout = '500ms'"))


def key_of(name: str) -> int:
    """Return the number of a lock on PostgreSQL, a signed 64-bit integer."""
    return int.from_bytes(hashlib.sha256(b"platemark/lock/" + name.encode()).digest()[:8], "big", signed=True)
