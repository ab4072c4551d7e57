"""The accounts that send a gateway's transactions: one does now, earlier ones finish what they began.

The gateway's own account is its name on the ledger, and sends too until `keys rotate sender` puts an operator in its
place. Which account sends, the database says: new transactions are queued for it, and each process goes by that, so
none has to be told. Nonces are each account's own. What an earlier account has signed is still followed, replaced and
finished by it; what it has not signed goes over to the next one.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, UnixSeconds
from platemark_gateway.chain.client import ChainClient
from platemark_gateway.chain.submitter import FUND, UNFINISHED, Policy, Signer, Submitter, sending_account
from platemark_gateway.clock import Clock
from platemark_gateway.db import locks
from platemark_gateway.db.session import Database
from platemark_gateway.models.chain import OutboxAttempt, OutboxTransaction, SendingAccount
from platemark_gateway.ports import KeyVault


class Senders:
    """Sends what is in the outbox, by the account that sends now and by those that are not done yet."""

    def __init__(
        self, database: Database, client: ChainClient, chain_id: int, vault: KeyVault, clock: Clock, policy: Policy
    ) -> None:
        self._database = database
        self.client: ChainClient = client
        self._chain_id = chain_id
        self._vault = vault
        self._clock = clock
        self._policy = policy

    async def run_once(self) -> bool:
        """Let each account do what is due; return whether anything moved. Errors: as `Submitter.run_once`."""
        async with self._database.read() as session:
            accounts = [await sending_account(session, self._vault.account)]
            busy = select(OutboxTransaction.account).where(OutboxTransaction.status.in_(UNFINISHED)).distinct()
            accounts += [account for account in await session.scalars(busy) if account not in accounts]
        moved = False
        for account in accounts:
            moved = await self.submitter(account).run_once() or moved
        return moved

    def submitter(self, account: Address) -> Submitter:
        """Return what sends for one account."""
        signer = Signer(account, lambda digest: self._vault.sign_as(account, digest))
        return Submitter(self._database, self.client, self._chain_id, signer, self._clock, self._policy)


async def leaving(session: AsyncSession) -> Sequence[SendingAccount]:
    """Return the accounts that another one has followed and that are not done yet, oldest first."""
    newest = select(func.max(SendingAccount.number)).scalar_subquery()
    rows = select(SendingAccount).where(SendingAccount.ended_at.is_(None), SendingAccount.number < newest)
    return (await session.scalars(rows.order_by(SendingAccount.number))).all()


async def unfinished(session: AsyncSession, account: Address) -> int:
    """Return how many transactions of an account have not ended."""
    found = select(func.count()).select_from(OutboxTransaction)
    found = found.where(OutboxTransaction.account == account, OutboxTransaction.status.in_(UNFINISHED))
    return await session.scalar(found) or 0


async def succeed(session: AsyncSession, gateway: Address, account: Address, now: UnixSeconds) -> None:
    """Let `account` send from now on: what is queued and not signed goes over to it.

    What moves coins from the earlier account to it stays that one's.
    """
    await locks.take(session, "outbox:enqueue")
    await locks.take(session, "outbox:sign")
    if await sending_account(session, gateway) == account:
        return
    last = await session.scalar(select(func.max(SendingAccount.number))) or 0
    if not last:
        last = 1
        session.add(SendingAccount(number=last, address=gateway, began_at=UnixSeconds(0)))
    session.add(SendingAccount(number=last + 1, address=account, began_at=now))
    await session.execute(
        update(OutboxTransaction)
        .where(OutboxTransaction.status == "queued", OutboxTransaction.purpose != FUND)
        .values(account=account)
    )
    await session.flush()


async def give_up_lost(session: AsyncSession, vault: KeyVault, now: UnixSeconds) -> list[Address]:
    """Let no account send, or be about to, whose key the vault lacks; return those that were given up.

    The gateway's own takes the place of the one that sent. What a lost account had signed is sent again by the one that
    sends now, because it can never be replaced when it is stuck: each of our transactions may stand in the chain twice.
    Only its coins cannot be moved any more.
    """
    sending = await sending_account(session, vault.account)
    lost = [row.address for row in await leaving(session) if not vault.holds_sender(row.address)]
    if not vault.holds_sender(sending):
        lost.append(sending)
        await succeed(session, vault.account, vault.account, now)
        sending = vault.account
    if not lost:
        return []
    await locks.take(session, "outbox:sign")
    stuck = OutboxTransaction.account.in_(lost), OutboxTransaction.status.in_(("queued", "sent"))
    await session.execute(
        update(OutboxTransaction)
        .where(*stuck, OutboxTransaction.purpose == FUND)
        .values(status="failed", reason="the account's key is lost", code="vault-key-missing", ended_at=now)
    )
    sent = select(OutboxTransaction.id).where(*stuck)
    await session.execute(delete(OutboxAttempt).where(OutboxAttempt.transaction_id.in_(sent)))
    unsigned = ("nonce", "gas", "booked", "booked_day", "giving_up")
    again = {"account": sending, "status": "queued", **dict.fromkeys(unsigned)}
    await session.execute(update(OutboxTransaction).where(*stuck).values(again))
    return lost
