"""SQL of print tokens."""

from collections.abc import Sequence

from sqlalchemy import Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, DesignId, LicenseId, TokenId
from platemark_gateway.models.chain import OutboxTransaction
from platemark_gateway.models.design import Revision
from platemark_gateway.models.license import License
from platemark_gateway.models.printlog import LogHead
from platemark_gateway.models.token import Token, TokenSettlement


async def get(session: AsyncSession, token_id: TokenId) -> Token | None:
    """Return a token without locking it."""
    return await session.get(Token, token_id)


async def lock(session: AsyncSession, token_id: TokenId) -> Token | None:
    """Return a token, locked until the transaction ends, as it is now."""
    return await session.scalar(
        select(Token)
        .where(Token.token_id == token_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


async def license_of(session: AsyncSession, license_id: LicenseId) -> License | None:
    """Return the licence of a reservation."""
    return await session.get(License, license_id)


async def revision_of(session: AsyncSession, design_id: DesignId, revision: int) -> Revision | None:
    """Return the revision that a reservation is for."""
    return await session.get(Revision, (design_id, revision))


async def log_head(session: AsyncSession) -> LogHead | None:
    """Return the head of the epoch that grows."""
    return await session.scalar(
        select(LogHead).order_by(LogHead.epoch.desc()).limit(1).execution_options(populate_existing=True)
    )


def _settled(token_id: TokenId) -> Select[TokenSettlement]:
    return (
        select(TokenSettlement)
        .where(TokenSettlement.token_id == token_id)
        .order_by(TokenSettlement.seen_block.desc(), TokenSettlement.log_index.desc())
        .limit(1)
    )


async def settled(session: AsyncSession, token_id: TokenId) -> TokenSettlement | None:
    """Return what the ledger last counted of a token."""
    return await session.scalar(_settled(token_id))


async def settled_of(session: AsyncSession, token_ids: Sequence[TokenId]) -> dict[TokenId, TokenSettlement]:
    """Return what the ledger last counted of each token; tokens without a settlement are left out."""
    if not token_ids:
        return {}
    rows = await session.scalars(
        select(TokenSettlement)
        .where(TokenSettlement.token_id.in_(token_ids))
        .order_by(TokenSettlement.seen_block, TokenSettlement.log_index)
    )
    return {row.token_id: row for row in rows}


async def held_by(
    session: AsyncSession, gateway: Address, holder: Address, *, after: TokenId | None, limit: int
) -> Sequence[Token]:
    """Return a holder's tokens of a gateway in the order of their ids."""
    query = select(Token).where(Token.gateway == gateway, Token.holder == holder).order_by(Token.token_id).limit(limit)
    if after is not None:
        query = query.where(Token.token_id > after)
    return (await session.scalars(query)).all()


async def waiting(session: AsyncSession, gateway: Address, *, limit: int, lock: bool = False) -> Sequence[Token]:
    """Return tokens whose permission was taken and waits to be sent, those first that waited longest.

    With `lock` nobody else takes them until the transaction ends; what somebody else has locked is passed over.
    """
    query = (
        select(Token)
        .where(
            Token.gateway == gateway,
            Token.seen_block.is_(None),
            Token.transaction_id.is_(None),
            Token.holder_signature.is_not(None),
            Token.ended_at.is_(None),
        )
        .order_by(Token.created_at, Token.token_id)
        .limit(limit)
    )
    if lock:
        query = query.with_for_update(skip_locked=True, key_share=True).execution_options(populate_existing=True)
    return (await session.scalars(query)).all()


async def failed_batches(
    session: AsyncSession, gateway: Address, purpose: str, *, limit: int, lock: bool = False
) -> Sequence[Token]:
    """Return tokens whose transaction was one for several of them, and failed; `lock` as for `waiting`."""
    query = (
        select(Token)
        .join(OutboxTransaction, OutboxTransaction.id == Token.transaction_id)
        .where(
            Token.gateway == gateway,
            Token.seen_block.is_(None),
            OutboxTransaction.purpose == purpose,
            OutboxTransaction.status == "failed",
        )
        .order_by(Token.created_at, Token.token_id)
        .limit(limit)
    )
    if lock:
        query = query.with_for_update(of=Token, skip_locked=True, key_share=True)
        query = query.execution_options(populate_existing=True)
    return (await session.scalars(query)).all()


async def rewind(session: AsyncSession, block: int) -> None:
    """Undo what was seen above `block`: a relayed reservation waits again, others go when nothing used them."""
    await session.execute(delete(TokenSettlement).where(TokenSettlement.seen_block > block))
    await session.execute(update(Token).where(Token.closed_block > block).values(closed_block=None))
    await session.execute(update(Token).where(Token.reclaimed_block > block).values(reclaimed_block=None))
    await session.execute(
        delete(Token).where(
            Token.seen_block > block,
            Token.transaction_id.is_(None),
            Token.holder_signature.is_(None),
            Token.wrapped_token.is_(None),
            Token.stopped_at.is_(None),
        )
    )
    await session.execute(
        update(Token).where(Token.seen_block > block).values(seen_block=None, seen_hash=None, reserved_at=None)
    )
