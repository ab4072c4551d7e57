"""Rows of licences; only this slice imports it."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, DesignId, LicenseId
from platemark_gateway.models.license import License, LicenseChange, LicenseCredit


async def license_row(session: AsyncSession, license_id: LicenseId, *, lock: bool = False) -> License | None:
    """Return a licence; with `lock` nobody else changes it until the transaction ends."""
    query = select(License).where(License.license_id == license_id)
    found: License | None = await session.scalar(query.with_for_update() if lock else query)
    return found


async def page(
    session: AsyncSession, *, design_id: DesignId | None, after: LicenseId | None, limit: int
) -> Sequence[License]:
    """Return licences by ascending id, beginning above `after`."""
    query = select(License).order_by(License.license_id).limit(limit)
    if design_id is not None:
        query = query.where(License.design_id == design_id)
    if after is not None:
        query = query.where(License.license_id > after)
    return (await session.scalars(query)).all()


async def latest_change(session: AsyncSession, license_id: LicenseId, column: str) -> LicenseChange | None:
    """Return the latest change that set a column (`revision`, `gateway` or `on_sale`)."""
    found: LicenseChange | None = await session.scalar(
        select(LicenseChange)
        .where(LicenseChange.license_id == license_id, getattr(LicenseChange, column).is_not(None))
        .order_by(LicenseChange.seen_block.desc(), LicenseChange.log_index.desc())
        .limit(1)
    )
    return found


async def minted(session: AsyncSession, license_id: LicenseId) -> int:
    """Return how many prints were minted or sold, less those returned."""
    query = select(func.coalesce(func.sum(LicenseChange.prints), 0)).where(LicenseChange.license_id == license_id)
    return int(await session.scalar(query) or 0)


async def currencies_of(session: AsyncSession, payee: Address, *, limit: int) -> Sequence[Address]:
    """Return the currencies in which licences ever owed something to an account, the latest first."""
    query = (
        select(LicenseCredit.currency)
        .where(LicenseCredit.payee == payee)
        .group_by(LicenseCredit.currency)
        .order_by(func.max(LicenseCredit.seen_block).desc(), LicenseCredit.currency)
        .limit(limit)
    )
    return (await session.scalars(query)).all()
