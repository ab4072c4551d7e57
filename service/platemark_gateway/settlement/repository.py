"""SQL of settlements."""

import uuid
from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, LicenseId, TokenId, UnixSeconds
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.settlement import Settlement, SettlementRequest, SettlementUse
from platemark_gateway.models.token import Token, TokenSettlement

# Up to which sequence the ledger has counted a token.
_SETTLED: Final = (
    select(func.coalesce(func.max(TokenSettlement.sequence), 0))
    .where(TokenSettlement.token_id == Token.token_id)
    .correlate(Token)
    .scalar_subquery()
)


def _unsettled(gateway: Address, final_block: int) -> tuple[ColumnElement[bool], ...]:
    """Return what holds for final tokens with prints that the ledger has not counted and no open settlement has."""
    under_way = exists().where(
        SettlementUse.token_id == Token.token_id,
        SettlementUse.settlement_id == Settlement.id,
        Settlement.done_at.is_(None),
    )
    return (Token.gateway == gateway, Token.seen_block <= final_block, Token.released > _SETTLED, ~under_way)


async def first_unsettled(
    session: AsyncSession, gateway: Address, *, final_block: int, late_before: UnixSeconds, held_after: UnixSeconds
) -> UnixSeconds | None:
    """Return when the oldest print was counted that a settlement would bring to the ledger; None without one.

    Args:
        session: Where to look.
        gateway: Whose tokens.
        final_block: As the index has it.
        late_before: Of tokens that expired up to here a print without outcome counts as printed.
        held_after: Tokens that expired up to here are left to their holders.
    """
    outcome = exists().where(PrintOutcome.token_id == Print.token_id, PrintOutcome.sequence == Print.sequence)
    return await session.scalar(
        select(func.min(Print.created_at))
        .select_from(Token)
        .join(Print, (Print.token_id == Token.token_id) & (Print.sequence == _SETTLED + 1))
        .where(
            *_unsettled(gateway, final_block),
            Token.reclaimed_block.is_(None),
            Token.closed_block.is_(None),
            Token.expires_at > held_after,
            or_(outcome, Token.expires_at <= late_before),
        )
    )


async def candidates(
    session: AsyncSession,
    gateway: Address,
    *,
    final_block: int,
    license_id: LicenseId | None,
    after: TokenId,
    limit: int,
) -> Sequence[Token]:
    """Return final tokens with released prints that the ledger has not counted and no open settlement has."""
    query = (
        select(Token)
        .where(*_unsettled(gateway, final_block), Token.token_id > after)
        .order_by(Token.token_id)
        .limit(limit)
    )
    if license_id is not None:
        query = query.where(Token.license_id == license_id)
    return (await session.scalars(query)).all()


async def settled_sequence(session: AsyncSession, token_id: TokenId) -> int:
    """Return up to which sequence the ledger has counted a token."""
    found = await session.scalar(select(func.max(TokenSettlement.sequence)).where(TokenSettlement.token_id == token_id))
    return found or 0


async def first_open(session: AsyncSession, token_id: TokenId, above: int) -> int | None:
    """Return the first sequence above a number that has no outcome yet."""
    return await session.scalar(
        select(func.min(Print.sequence))
        .outerjoin(
            PrintOutcome,
            (PrintOutcome.token_id == Print.token_id) & (PrintOutcome.sequence == Print.sequence),
        )
        .where(Print.token_id == token_id, Print.sequence > above, PrintOutcome.sequence.is_(None))
    )


async def voided_up_to(session: AsyncSession, token_id: TokenId, sequence: int) -> int:
    """Return how many outcomes up to a sequence gave their print back."""
    found = await session.scalar(
        select(func.count())
        .select_from(PrintOutcome)
        .where(
            PrintOutcome.token_id == token_id,
            PrintOutcome.sequence <= sequence,
            PrintOutcome.spare_used.is_(True),
        )
    )
    return found or 0


async def print_at(session: AsyncSession, token_id: TokenId, sequence: int) -> Print | None:
    """Return the print whose voucher settles a sequence."""
    return await session.get(Print, (token_id, sequence))


async def open_settlements(session: AsyncSession) -> Sequence[Settlement]:
    """Return settlements whose transaction has not ended."""
    return (await session.scalars(select(Settlement).where(Settlement.done_at.is_(None)))).all()


async def last_created(session: AsyncSession) -> UnixSeconds | None:
    """Return when the last settlement was made."""
    return await session.scalar(select(func.max(Settlement.created_at)))


async def finish(session: AsyncSession, settlement_id: uuid.UUID, *, failed: bool, now: UnixSeconds) -> None:
    """Note how a settlement's transaction ended."""
    await session.execute(update(Settlement).where(Settlement.id == settlement_id).values(done_at=now, failed=failed))


async def requests(session: AsyncSession) -> Sequence[SettlementRequest]:
    """Return what operators asked for."""
    return (await session.scalars(select(SettlementRequest).order_by(SettlementRequest.id))).all()


async def forget_requests(session: AsyncSession, up_to: int) -> None:
    """Forget requests that were taken up."""
    await session.execute(delete(SettlementRequest).where(SettlementRequest.id <= up_to))


async def page(session: AsyncSession, *, before: uuid.UUID | None, limit: int) -> Sequence[Settlement]:
    """Return settlements, newest first: later ids sort after earlier ones."""
    query = select(Settlement).order_by(Settlement.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Settlement.id < before)
    return (await session.scalars(query)).all()


async def uses_of(session: AsyncSession, settlement_id: uuid.UUID) -> Sequence[SettlementUse]:
    """Return the uses of a settlement."""
    return (
        await session.scalars(
            select(SettlementUse).where(SettlementUse.settlement_id == settlement_id).order_by(SettlementUse.token_id)
        )
    ).all()
