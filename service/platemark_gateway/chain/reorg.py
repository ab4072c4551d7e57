"""Going back: find the last indexed block that the chain still has, and undo what was projected after it."""

from typing import Final, Protocol

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import Kind
from platemark_gateway.chain.client import ChainClient, Header
from platemark_gateway.db.session import Database
from platemark_gateway.errors import GatewayError
from platemark_gateway.models.chain import ChainBlock, ChainEventRow, ChainProgress

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_STEP: Final = 20


class FinalityBrokenError(GatewayError):
    """The chain has replaced blocks that it had called final; nothing is undone by itself."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"block {number} was final and is another one now",
            kind=Kind.UNAVAILABLE,
            code="chain-rewritten",
            hint="check the nodes; if the chain really changed, start from an empty database",
        )


class Rewinds(Protocol):
    """A slice's projection, as far as a reorganisation needs it."""

    async def rewind(self, session: AsyncSession, block: int) -> None:
        """Undo everything that was projected from blocks above `block`."""
        ...


async def common_ancestor(database: Database, client: ChainClient, progress: ChainProgress) -> Header | None:
    """Return the latest indexed block that the chain still has; None when the node lacks blocks at the moment.

    Errors: FinalityBrokenError when even the last final block is another one now.
    """
    below = progress.indexed_number
    while below > progress.final_number:
        async with database.read() as session:
            kept = (
                await session.scalars(
                    select(ChainBlock)
                    .where(ChainBlock.number <= below, ChainBlock.number > progress.final_number)
                    .order_by(ChainBlock.number.desc())
                    .limit(_STEP)
                )
            ).all()
        if not kept:
            break
        for block in kept:
            header = await client.header(block.number)
            if header is None:
                return None
            if header.hash == block.hash:
                return header
        below = kept[-1].number - 1
    header = await client.header(progress.final_number)
    if header is None:
        return None
    if header.hash != progress.final_hash:
        raise FinalityBrokenError(progress.final_number)
    return header


async def rewind(
    session: AsyncSession, progress: ChainProgress, ancestor: Header, projections: tuple[Rewinds, ...]
) -> None:
    """Undo everything after `ancestor`, in the caller's transaction: projections, events, blocks, progress."""
    for projection in reversed(projections):
        await projection.rewind(session, ancestor.number)
    await session.refresh(progress)  # a projection may let go of everything that was read
    await session.execute(delete(ChainEventRow).where(ChainEventRow.block_number > ancestor.number))
    await session.execute(delete(ChainBlock).where(ChainBlock.number > ancestor.number))
    log.warning("chain.reorganised", blocks=progress.indexed_number - ancestor.number, ancestor=ancestor.number)
    progress.indexed_number = ancestor.number
    progress.indexed_hash = ancestor.hash
    progress.indexed_timestamp = ancestor.timestamp
