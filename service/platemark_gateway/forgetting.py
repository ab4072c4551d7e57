"""What a lost vault had encrypted, taken out of the database: nothing is counted that could not be delivered."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark_gateway.audit import journal
from platemark_gateway.container import Container
from platemark_gateway.designs.service import package_context
from platemark_gateway.errors import VaultError
from platemark_gateway.models.design import Revision
from platemark_gateway.models.token import Token
from platemark_gateway.tokens.service import wrapping_context


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many deposits must be made again, and how many issued tokens are of no use any more."""

    deposits: int
    tokens: int


async def forget_unreadable(session: AsyncSession, container: Container) -> Forgotten:
    """Remove each deposit and each issued token that this vault cannot open; counts and log stay as they are.

    Designers deposit again. A token that is gone stays known as issued (`Token.is_lost`) and is never issued a second
    time: its holder closes it and reserves what is left anew.
    """
    deposits = tokens = 0
    for revision in await session.scalars(select(Revision).where(Revision.wrapped_package.is_not(None))):
        if not _opens(container, revision.wrapped_package, package_context(container, revision)):
            revision.wrapped_package = revision.deposited_at = None
            deposits += 1
    for token in await session.scalars(select(Token).where(Token.wrapped_token.is_not(None))):
        if not _opens(container, token.wrapped_token, wrapping_context(container, token.token_id)):
            token.wrapped_token = token.recipient_digest = None
            tokens += 1
    journal.record(
        session,
        container.clock,
        actor=journal.GATEWAY,
        action="vault.lost",
        subject="gateway",
        detail={"deposits": deposits, "tokens": tokens},
    )
    await session.flush()
    return Forgotten(deposits, tokens)


def _opens(container: Container, wrapped: bytes | None, context: bytes) -> bool:
    try:
        container.vault.unwrap(wrapped or b"", context)
    except VaultError:
        return False
    return True
