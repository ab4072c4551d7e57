"""Brings waiting permissions to the ledger: several together as one `reserveBatch`, which is a third cheaper each.

1. What waits is read, at most a hundred, and put in the order in which the ledger shares an escrow: by holder,
   licence and revision.
2. A batch is tried on the chain's state first. When it would revert, one of its reservations is to blame: each goes in
   a transaction of its own, so that the others do not suffer for it.
3. In one transaction the rows are locked, the outbox's row is written, and each token names it. A token that somebody
   else took meanwhile is left out, and the batch waits for the next round.
4. A batch that failed after all (the chain moved on after step 2) is taken apart in the same way.

Any number of workers may run it.
"""

from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import Kind, PlatemarkError
from platemark.protocol import digests
from platemark.protocol.units import TokenId, id_text
from platemark_gateway.container import Container
from platemark_gateway.models.token import Token
from platemark_gateway.ports import RELAY_GAS, Contract
from platemark_gateway.tokens import repository
from platemark_gateway.tokens.service import BATCH, permission_of

MOST: Final = 100
SINGLE: Final = "reserve"
_RESERVATION_GAS: Final = 150_000

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def reserve_waiting(container: Container) -> bool:
    """Take one round; return whether more may be waiting.

    Errors: UnavailableError when the chain cannot be asked; what waits goes on waiting.
    """
    account = container.vault.account
    async with container.database.read() as session:
        broken = bool(await repository.failed_batches(session, account, BATCH, limit=1))
        found = await repository.waiting(session, account, limit=MOST)
        tokens = {row.token_id for row in found}
        arguments = _arguments(_ordered(found))
    if broken:
        await _take_apart(container)
    if not tokens:
        return broken
    together = len(tokens) > 1 and await _fits(container, arguments, len(tokens))
    async with container.database.begin() as session:
        rows = await repository.waiting(session, account, limit=MOST, lock=True)
        mine = [row for row in rows if row.token_id in tokens]
        if not together:
            for row in mine:
                await _queue_single(session, container, row)
        elif len(mine) == len(tokens):
            await _queue_batch(session, container, _ordered(mine))
    return len(tokens) == MOST or broken


async def _take_apart(container: Container) -> None:
    async with container.database.begin() as session:
        for row in await repository.failed_batches(session, container.vault.account, BATCH, limit=MOST, lock=True):
            await _queue_single(session, container, row)


async def _fits(container: Container, arguments: Sequence[object], count: int) -> bool:
    """Return whether the ledger would take these reservations together."""
    try:
        await container.chain.try_call(
            Contract.LEDGER, "reserveBatch", arguments, most_gas=RELAY_GAS + _RESERVATION_GAS * count
        )
    except PlatemarkError as error:
        if error.kind is not Kind.CONFLICT:
            raise
        log.info("token.reserve.apart", tokens=count, code=error.code)
        return False
    return True


async def _queue_batch(session: AsyncSession, container: Container, rows: Sequence[Token]) -> None:
    transaction = await container.transactions.enqueue(
        session,
        purpose=BATCH,
        to=container.chain.deployment.ledger,
        data=container.calls.encode(Contract.LEDGER, "reserveBatch", _arguments(rows)),
        dedupe_key=f"{BATCH}:{digests.sha256(*(_word(row.token_id) for row in rows)).hex()}",
    )
    for row in rows:
        row.transaction_id = transaction
    await session.flush()


async def _queue_single(session: AsyncSession, container: Container, row: Token) -> None:
    row.transaction_id = await container.transactions.enqueue(
        session,
        purpose=SINGLE,
        to=container.chain.deployment.ledger,
        data=container.calls.encode(
            Contract.LEDGER, "reserve", [permission_of(row).arguments(), row.holder_signature or b""]
        ),
        dedupe_key=f"{SINGLE}:{id_text(row.token_id)}",
    )
    await session.flush()


def _ordered(rows: Sequence[Token]) -> list[Token]:
    return sorted(rows, key=lambda row: (row.holder, row.license_id, row.revision, row.token_id))


def _arguments(rows: Sequence[Token]) -> list[object]:
    return [[permission_of(row).arguments() for row in rows], [row.holder_signature or b"" for row in rows]]


def _word(token_id: TokenId) -> bytes:
    return token_id.to_bytes(32, "big")
