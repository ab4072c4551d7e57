"""Settlement: cumulative counts go to the ledger, proven by the agents' vouchers.

The numbers are those of docs/flows/settlement.md. Repeating is harmless everywhere: totals are cumulative, a token is
in one open settlement at most, and the ledger passes over what is stale.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.accounts import to_compact
from platemark.protocol.permission import RECLAIM_SECONDS
from platemark.protocol.units import Address, LicenseId, TokenId, UnixSeconds, id_text
from platemark.protocol.voucher import VoucherUse
from platemark_gateway.audit import journal
from platemark_gateway.clock import certain_now, chain_now, is_over
from platemark_gateway.container import Container
from platemark_gateway.models.settlement import Settlement, SettlementRequest, SettlementUse
from platemark_gateway.models.token import Token
from platemark_gateway.ports import Contract, FactStatus, TransactionView
from platemark_gateway.prints.service import OUTCOME_SECONDS
from platemark_gateway.settlement import repository

MAX_USES: Final = 300
"""Uses in one transaction: some 3 to 4 million gas when each is of another token."""
_READ_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Use:
    """A token's new cumulative count, with the voucher that proves it."""

    license_id: LicenseId
    voucher: VoucherUse


@dataclass(frozen=True, slots=True)
class SettlementState:
    """A settlement, its uses and its transaction."""

    row: Settlement
    uses: Sequence[SettlementUse]
    transaction: TransactionView | None


async def request(session: AsyncSession, container: Container, actor: Address, license_id: LicenseId | None) -> None:
    """Ask the worker to settle now what it would settle later; all licences unless one is named."""
    session.add(SettlementRequest(license_id=license_id, created_at=container.clock.now()))
    journal.record(
        session,
        container.clock,
        actor=actor,
        action="settlement.request",
        subject="all licenses" if license_id is None else id_text(license_id),
    )
    await session.flush()


async def settle_once(container: Container) -> bool:
    """Close finished settlements, and begin new ones if it is time or somebody asked; return whether anything moved."""
    async with container.database.begin() as session:
        moved = await follow(session, container)
        due = await _due(session, container)
        if due is None:
            return moved
        made = await settle(session, container, license_ids=due)
    return moved or made > 0


async def follow(session: AsyncSession, container: Container) -> bool:
    """Step 5: note which settlements are final or have failed; failed ones free their tokens for the next."""
    moved = False
    for row in await repository.open_settlements(session):
        view = await container.transactions.view(session, row.transaction_id)
        status = FactStatus.FAILED if view is None else view.status
        if status in {FactStatus.FINAL, FactStatus.FAILED}:
            failed = status == FactStatus.FAILED
            await repository.finish(session, row.id, failed=failed, now=container.clock.now())
            moved = True
    return moved


async def _due(session: AsyncSession, container: Container) -> list[LicenseId | None] | None:
    """Return for which licences to settle now (None in the list: all), or None when it is not time.

    It is time when the first print that the ledger lacks has waited long enough, and so has the last settlement.
    """
    asked = await repository.requests(session)
    if asked:
        await repository.forget_requests(session, asked[-1].id)
        named = [row.license_id for row in asked if row.license_id is not None]
        return [None] if any(row.license_id is None for row in asked) else list(dict.fromkeys(named))
    pause = container.settings.settle_seconds
    last = await repository.last_created(session)
    if last is not None and not is_over(last, pause, container.clock.now()):
        return None
    progress = await container.index.progress(session)
    if progress is None:
        return None
    now = certain_now(container.clock, progress.head.timestamp)
    first = await repository.first_unsettled(
        session,
        container.vault.account,
        final_block=progress.final.number,
        late_before=UnixSeconds(now - OUTCOME_SECONDS),
        held_after=UnixSeconds(now - RECLAIM_SECONDS),
    )
    if first is None or not is_over(first, pause, chain_now(container.clock, progress.head.timestamp)):
        return None
    return [None]


async def settle(session: AsyncSession, container: Container, *, license_ids: Sequence[LicenseId | None]) -> int:
    """Queue settlements of everything that can be settled; return how many transactions were queued."""
    uses: dict[TokenId, Use] = {}
    for license_id in license_ids:
        for use in await collect(session, container, license_id):
            uses[use.voucher.token_id] = use
    ordered = sorted(uses.values(), key=lambda use: (use.license_id, use.voucher.token_id))
    for start in range(0, len(ordered), MAX_USES):
        await _queue(session, container, ordered[start : start + MAX_USES])
    return -(-len(ordered) // MAX_USES)


async def collect(session: AsyncSession, container: Container, license_id: LicenseId | None) -> list[Use]:
    """Steps 1 and 2: return, for each token, the longest run of sequences whose outcomes are final.

    After the time for outcomes an absent one counts as printed, for ever: a clock that is far ahead of the chain does
    not say when that is. What the holder may have reclaimed is left alone.
    """
    progress = await container.index.progress(session)
    if progress is None:
        return []
    now = certain_now(container.clock, progress.head.timestamp)
    found: list[Use] = []
    after = TokenId(0)
    while True:
        rows = await repository.candidates(
            session,
            container.vault.account,
            final_block=progress.final.number,
            license_id=license_id,
            after=after,
            limit=_READ_AT_ONCE,
        )
        for row in rows:
            use = await _use(session, row, now)
            if use is not None:
                found.append(use)
        if len(rows) < _READ_AT_ONCE:
            return found
        after = rows[-1].token_id


async def _use(session: AsyncSession, row: Token, now: UnixSeconds) -> Use | None:
    if row.reclaimed_block is not None or row.closed_block is not None or now >= row.expires_at + RECLAIM_SECONDS:
        return None
    settled = await repository.settled_sequence(session, row.token_id)
    sequence = row.released
    if now < row.expires_at + OUTCOME_SECONDS:
        open_sequence = await repository.first_open(session, row.token_id, settled)
        if open_sequence is not None:
            sequence = open_sequence - 1
    if sequence <= settled:
        return None
    known = await repository.print_at(session, row.token_id, sequence)
    if known is None:
        return None
    voided = await repository.voided_up_to(session, row.token_id, sequence)
    r, vs = to_compact(known.signature)
    return Use(row.license_id, VoucherUse(row.token_id, sequence, voided, known.request_digest, r, vs))


async def _queue(session: AsyncSession, container: Container, uses: Sequence[Use]) -> None:
    """Steps 3 and 4: one transaction with a batch for each licence, and the rows that say what is under way."""
    batches = [
        (license_id, [use.voucher.arguments() for use in group])
        for license_id, group in groupby(uses, key=lambda use: use.license_id)
    ]
    settlement_id = container.randomness.new_id()
    transaction_id = await container.transactions.enqueue(
        session,
        purpose="settle",
        to=container.chain.deployment.ledger,
        data=container.calls.encode(Contract.LEDGER, "settle", [container.vault.account, batches]),
        dedupe_key=f"settle:{settlement_id}",
    )
    journal.record(
        session,
        container.clock,
        actor=journal.GATEWAY,
        action="settlement.send",
        subject=str(settlement_id),
        detail={"uses": len(uses)},
    )
    session.add(
        Settlement(
            id=settlement_id,
            transaction_id=transaction_id,
            uses=len(uses),
            created_at=container.clock.now(),
        )
    )
    await session.flush()
    session.add_all(
        SettlementUse(
            settlement_id=settlement_id,
            token_id=use.voucher.token_id,
            license_id=use.license_id,
            sequence=use.voucher.sequence,
            voided=use.voucher.voided,
        )
        for use in uses
    )
    await session.flush()


async def page(
    session: AsyncSession, container: Container, *, before: uuid.UUID | None, limit: int
) -> list[SettlementState]:
    """Return settlements, newest first."""
    return [
        SettlementState(
            row,
            await repository.uses_of(session, row.id),
            await container.transactions.view(session, row.transaction_id),
        )
        for row in await repository.page(session, before=before, limit=limit)
    ]
