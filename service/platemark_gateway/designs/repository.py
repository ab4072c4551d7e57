"""Rows of designs and revisions; only this slice imports it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, DesignId
from platemark_gateway.models.design import Design, DesignEdition, DesignOwner, Revision


async def design(session: AsyncSession, design_id: DesignId, *, lock: bool = False) -> Design | None:
    """Return a design; with `lock` nobody else changes it until the transaction ends."""
    query = select(Design).where(Design.design_id == design_id)
    found: Design | None = await session.scalar(query.with_for_update() if lock else query)
    return found


async def revision(session: AsyncSession, design_id: DesignId, number: int, *, lock: bool = False) -> Revision | None:
    """Return a revision; `lock` as for `design`."""
    query = select(Revision).where(Revision.design_id == design_id, Revision.revision == number)
    found: Revision | None = await session.scalar(query.with_for_update() if lock else query)
    return found


async def revisions(session: AsyncSession, design_ids: Sequence[DesignId]) -> dict[DesignId, list[Revision]]:
    """Return the revisions of some designs, each design's in order."""
    found: dict[DesignId, list[Revision]] = {design_id: [] for design_id in design_ids}
    query = select(Revision).where(Revision.design_id.in_(design_ids)).order_by(Revision.revision)
    for row in await session.scalars(query):
        found[row.design_id].append(row)
    return found


async def page(session: AsyncSession, *, owner: Address | None, after: DesignId | None, limit: int) -> Sequence[Design]:
    """Return designs by ascending id, beginning above `after`."""
    query = select(Design).order_by(Design.design_id).limit(limit)
    if owner is not None:
        query = query.where(Design.owner == owner)
    if after is not None:
        query = query.where(Design.design_id > after)
    return (await session.scalars(query)).all()


async def latest_owner(session: AsyncSession, design_id: DesignId) -> Address | None:
    """Return the owner after the latest transfer that was seen."""
    found: Address | None = await session.scalar(
        select(DesignOwner.owner)
        .where(DesignOwner.design_id == design_id)
        .order_by(DesignOwner.seen_block.desc(), DesignOwner.log_index.desc())
        .limit(1)
    )
    return found


async def latest_edition(session: AsyncSession, design_id: DesignId) -> int | None:
    """Return the edition after the latest lowering that was seen, or None when it was never lowered."""
    found: int | None = await session.scalar(
        select(DesignEdition.edition)
        .where(DesignEdition.design_id == design_id)
        .order_by(DesignEdition.seen_block.desc(), DesignEdition.log_index.desc())
        .limit(1)
    )
    return found
