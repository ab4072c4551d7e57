"""The account that sends the gateway's transactions gives way to another one, while the gateway serves.

1. another account is written into the vault
2. the gateway's account appoints it an operator, and the account that sends now brings that to the ledger, until it is
   final
3. in one transaction: the new account sends from now on, what is not signed yet goes over to it, and the earlier one is
   to move its coins
4. the earlier account's transactions end: it follows and replaces what it signed
5. the earlier account is withdrawn on the ledger, until that is final; the gateway's own account acts for itself always

A kill before 3 leaves the earlier account sending, a kill after it the new one; the same command again goes on: it
finishes a succession that was begun, and an account that waits in the vault is appointed before another one is made.
Appointments are signed by the gateway's account, so an operator's key that leaked appoints nobody.
"""

import asyncio
from typing import Final

from sqlalchemy import select

from platemark.protocol.typed_data import Appointment
from platemark.protocol.units import Address, UnixSeconds, address_text
from platemark_gateway.audit import journal
from platemark_gateway.chain.senders import Senders, give_up_lost, leaving, succeed, unfinished
from platemark_gateway.chain.submitter import FUND, UNFINISHED, sending_account
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.models.chain import OutboxTransaction, SendingAccount
from platemark_gateway.ports import Contract
from platemark_gateway.serving import (
    FINAL_SECONDS,
    STATEMENT_SECONDS,
    Replacing,
    UnfinishedError,
    building,
    open_vault,
    until_final,
)
from platemark_gateway.settings import Settings
from platemark_gateway.vault.files import FileVault

_KEPT_GAS: Final = 100_000
"""What the earlier account keeps coins for beside its transactions under way: the transfer itself, at rising fees."""


async def rotate_sender(settings: Settings) -> Address:
    """Put another account in the place of the one that sends, and return it once nothing of that one is left to do.

    Errors: those of the vault and of the chain; UnavailableError `sender-unfinished`.
    """
    async with building(settings, Replacing.LOST) as (container, senders):
        vault = await asyncio.to_thread(open_vault, settings)
        return await replace_sender(container, senders, vault)


async def replace_sender(container: Container, senders: Senders, vault: FileVault) -> Address:
    """Take the steps above, from where they were left; errors: as `rotate_sender`."""
    async with container.database.begin() as session:
        await give_up_lost(session, vault, container.clock.now())
        earlier = await leaving(session)
        sender = await sending_account(session, vault.account)
        known = {sender, vault.account, *await session.scalars(select(SendingAccount.address))}
    if earlier:
        await _finish(container, senders)
    # Lost accounts were given up for the gateway's own, in whose place another one comes now.
    if not earlier or sender == vault.account:
        new = vault.senders[-1] if vault.senders[-1] not in known else vault.add_sender()  # step 1
        await _appoint(container, senders, new, allowed=True)  # step 2
        await _begin(container, senders, earlier=sender, new=new)  # step 3
        sender = new
        await _finish(container, senders)
    return sender


async def _finish(container: Container, senders: Senders) -> None:
    """Take steps 4 and 5 for each account that gave way."""
    async with container.database.read() as session:
        earlier = await leaving(session)
    for row in earlier:
        await _until_idle(container, senders, row.address)
        if row.address != container.vault.account:
            await _appoint(container, senders, row.address, allowed=False)
        await _end(container, row)


async def _appoint(container: Container, senders: Senders, operator: Address, *, allowed: bool) -> None:
    """Let the ledger take an account for an operator, or no more, and wait until that is final."""
    gateway, chain = container.vault.account, container.chain
    final = await chain.final_block()
    if await chain.is_operator(gateway, operator, block=final.number) == allowed:
        return
    appointment = Appointment(
        gateway=gateway,
        operator=operator,
        allowed=allowed,
        nonce=int.from_bytes(container.randomness.token_bytes(16), "big"),
        deadline=UnixSeconds(container.clock.now() + STATEMENT_SECONDS),
    )
    signature = container.vault.sign_digest(appointment.digest(chain.deployment.ledger_domain()))
    act = "sender.appoint" if allowed else "sender.withdraw"
    async with container.database.begin() as session:
        transaction = await container.transactions.enqueue(
            session,
            purpose=act,
            to=chain.deployment.ledger,
            data=container.calls.encode(Contract.LEDGER, "setOperatorBySig", [appointment.arguments(), signature]),
            dedupe_key=f"{act}:{operator.hex()}",
        )
        journal.record(session, container.clock, actor="operator", action=act, subject=address_text(operator))
    try:
        await until_final(container, senders, transaction)
    except UnfinishedError as error:
        what = "appointed" if allowed else "withdrawn"
        raise _unfinished(f"{address_text(operator)} is not {what} on the ledger: {error}") from error


async def _begin(container: Container, senders: Senders, *, earlier: Address, new: Address) -> None:
    """Let the new account send, and the earlier one move its coins to it.

    Errors: UnavailableError `sender-unfinished` when the new account would have none.
    """
    movable = await _movable(container, senders, earlier)
    if movable == 0 and await senders.client.balance_of(new) == 0:
        raise _unfinished(f"{address_text(new)} has no coins, and {address_text(earlier)} none to spare: send it some")
    async with container.database.begin() as session:
        if movable:
            await container.transactions.enqueue(
                session, purpose=FUND, to=new, data=b"", value=movable, dedupe_key=f"{FUND}:{new.hex()}"
            )
        await succeed(session, container.vault.account, new, container.clock.now())
        journal.record(
            session,
            container.clock,
            actor="operator",
            action="sender.begin",
            subject=address_text(new),
            detail={"earlier": address_text(earlier), "wei": str(movable)},
        )


async def _movable(container: Container, senders: Senders, account: Address) -> int:
    """Return how many coins (wei) an account can do without: more than its transactions under way may cost."""
    head = await senders.client.header("latest")
    if head is None:
        return 0
    fee = 2 * head.base_fee + await senders.client.priority_fee()
    balance = await senders.client.balance_of(account)
    async with container.database.read() as session:
        booked = await session.scalars(
            select(OutboxTransaction.booked).where(
                OutboxTransaction.account == account, OutboxTransaction.status.in_(UNFINISHED)
            )
        )
    return max(0, balance - 2 * sum(wei or 0 for wei in booked) - _KEPT_GAS * fee)


async def _until_idle(container: Container, senders: Senders, account: Address) -> None:
    """Send what is in the outbox until nothing of an account is under way."""
    deadline = container.clock.monotonic() + FINAL_SECONDS
    while True:
        async with container.database.read() as session:
            left = await unfinished(session, account)
        if not left:
            return
        if container.clock.monotonic() > deadline:
            raise _unfinished(f"{left} transactions of {address_text(account)} are under way: does it lack coins?")
        if not await senders.run_once():
            await asyncio.sleep(container.settings.poll_seconds)


async def _end(container: Container, row: SendingAccount) -> None:
    async with container.database.begin() as session:
        found = await session.get(SendingAccount, row.number)
        if found is not None and found.ended_at is None:
            found.ended_at = container.clock.now()
            subject = address_text(row.address)
            journal.record(session, container.clock, actor="operator", action="sender.end", subject=subject)


def _unfinished(message: str) -> UnavailableError:
    return UnavailableError(message, code="sender-unfinished", hint="the same command goes on where it was")
