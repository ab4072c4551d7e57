"""What the chain's events do to tokens. Called by the indexer, in the order of the chain, in its transaction."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import TokenId
from platemark_gateway.models.token import Token, TokenSettlement
from platemark_gateway.ports import ChainEvent
from platemark_gateway.tokens import repository


async def reserved(session: AsyncSession, event: ChainEvent) -> None:
    """Note a reservation; the event has the whole permission, so that a token is known even if others relayed it."""
    args = event.args
    license_row = await repository.license_of(session, args["licenseId"])
    if license_row is None or license_row.gateway != args["gateway"]:
        return  # of a licence that is not known to be that gateway's
    row = await repository.get(session, TokenId(args["tokenId"]))
    if row is None:
        row = Token(
            token_id=args["tokenId"],
            holder=args["holder"],
            gateway=args["gateway"],
            agent=args["agent"],
            license_id=args["licenseId"],
            revision=args["revision"],
            prints=args["prints"],
            expires_at=args["expiresAt"],
            deadline=args["deadline"],
            salt=args["salt"],
            design_id=license_row.design_id,
            spares=args["spares"],
            created_at=event.block.timestamp,
        )
        session.add(row)
    row.spares = args["spares"]
    row.seen_block = event.block.number
    row.seen_hash = event.block.hash
    row.reserved_at = event.block.timestamp
    await session.flush()


async def settled(session: AsyncSession, event: ChainEvent) -> None:
    """Note the ledger's new counts of a token."""
    if await repository.get(session, event.args["tokenId"]) is None:
        return
    key = (event.args["tokenId"], event.block.number, event.log_index)
    if await session.get(TokenSettlement, key) is None:
        session.add(
            TokenSettlement(
                token_id=key[0],
                seen_block=key[1],
                log_index=key[2],
                sequence=event.args["sequence"],
                burned=event.args["burned"],
                voided=event.args["voided"],
            )
        )
    await session.flush()


async def closed(session: AsyncSession, event: ChainEvent) -> None:
    """Forbid releases: gateway and holder closed the token."""
    row = await repository.lock(session, TokenId(event.args["tokenId"]))
    if row is not None:
        row.closed_block = event.block.number
        await session.flush()


async def reclaimed(session: AsyncSession, event: ChainEvent) -> None:
    """Forbid releases: what was unsettled went back to the holder."""
    row = await repository.lock(session, TokenId(event.args["tokenId"]))
    if row is not None:
        row.reclaimed_block = event.block.number
        await session.flush()


async def rewind(session: AsyncSession, block: int) -> None:
    """Undo every fact that was seen above `block`."""
    await repository.rewind(session, block)


handlers: Final[Mapping[str, Callable[[AsyncSession, ChainEvent], Awaitable[None]]]] = {
    "Reserved": reserved,
    "Settled": settled,
    "Closed": closed,
    "Reclaimed": reclaimed,
}
