"""What the chain's events do to the log: anchors that stand on the ledger, and which profile was in force when."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Digest32
from platemark_gateway.models.printlog import LogAnchor
from platemark_gateway.models.profile import Declaration
from platemark_gateway.ports import ChainEvent
from platemark_gateway.printlog import repository


async def anchored(session: AsyncSession, event: ChainEvent) -> None:
    """Note an anchor, of any gateway; the ledger's word replaces what was meant to be sent."""
    args = event.args
    row = await repository.get_anchor(session, args["gateway"], args["epoch"], args["size"])
    if row is None:
        row = LogAnchor(
            gateway=args["gateway"],
            epoch=args["epoch"],
            size=args["size"],
            root=args["root"],
            tiles_digest=args["tilesDigest"],
            created_at=event.block.timestamp,
        )
        session.add(row)
    row.root, row.tiles_digest = args["root"], args["tilesDigest"]
    row.seen_block, row.seen_hash = event.block.number, event.block.hash
    row.transaction_hash = event.transaction_hash
    await session.flush()


async def declared(session: AsyncSession, event: ChainEvent) -> None:
    """Note what a gateway declared, of any gateway."""
    session.add(
        Declaration(
            gateway=event.args["gateway"],
            seen_block=event.block.number,
            log_index=event.log_index,
            epoch=event.args["epoch"],
            profile_digest=Digest32(event.args["profileDigest"]),
        )
    )
    await session.flush()


async def rewind(session: AsyncSession, block: int) -> None:
    """Undo every fact that was seen above `block`."""
    await repository.rewind(session, block)


handlers: Final[Mapping[str, Callable[[AsyncSession, ChainEvent], Awaitable[None]]]] = {
    "Anchored": anchored,
    "GatewayDeclared": declared,
}
