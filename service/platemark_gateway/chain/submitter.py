"""The transactional outbox: a row in the caller's transaction now, a mined transaction in the end.

1. `enqueue` writes a row together with whatever depends on it; nothing leaves the process.
2. `sign_next` takes the account's oldest queued row: estimate gas, ask for fees; then, in one transaction under the
   outbox's lock, take the next nonce, sign, store the raw bytes and their hash. Several processes may run it.
3. `broadcast` sends what is stored and not yet in a block, in the order of nonces. Bytes that a node already has are
   no error, so a crash anywhere after step 2 is answered by sending the same bytes again.
4. `follow` looks for receipts. A block that disappears puts the row back to step 3. What stays out of blocks for too
   long is signed again with the same nonce and higher fees. A transaction that can never be executed is replaced by
   an empty one of the same nonce, so that later ones are not held up.
5. Each row ends `final`, or `failed` with the contract's decoded reason. Where several nodes are configured, two of
   them must show the receipt.

What a transaction may cost at most is booked when it is signed, for that day; once it is final, what it did cost. At
the day's cap the queue waits, and only what anchors or forbids overtakes it, with the part of the cap that is kept
for that.
"""

import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address, Digest32, UnixSeconds, Wei
from platemark_gateway.chain.client import ChainClient, Header, Receipt
from platemark_gateway.chain.errors import NodeError, RevertedError
from platemark_gateway.chain.transactions import Fees, sign_transaction, transaction_hash
from platemark_gateway.clock import Clock, is_over
from platemark_gateway.db import locks
from platemark_gateway.db.session import Database
from platemark_gateway.ids import Randomness
from platemark_gateway.models.chain import ChainSpending, OutboxAttempt, OutboxTransaction, SendingAccount
from platemark_gateway.ports import TransactionView

IN_FLIGHT: Final = ("sent", "seen", "confirmed")
UNFINISHED: Final = ("queued", *IN_FLIGHT)
_GAS_MARGIN_PERCENT: Final = 25
_BUMP_PERCENT: Final = 13  # nodes ask for at least 10 % more to replace a transaction
_MAX_UNMINED: Final = 16
_BACKOFF_SECONDS: Final = (1, 2, 5, 15, 60)
_DEAR_SECONDS: Final = 15
_CANCEL_GAS: Final = 21_000
_ESTIMATE_TRIES: Final = 8
_DAY_SECONDS: Final = 86_400
FUND: Final = "sender.fund"
"""Purpose of a transfer from one of the gateway's accounts to the one that follows it: moved, not spent."""
_URGENT: Final = (
    "anchor",
    "close",
    "design.edition",
    "design.recall",
    "gateway.declare",
    "sender.appoint",
    "sender.withdraw",
    FUND,
)
"""Purposes that anchor the log, forbid something or replace a key: a part of the day's cap is theirs alone."""

SPENDING_CAP: Final = "spending-cap"
FEE_LIMIT: Final = "fee-limit"
FUNDS: Final = "funds"

_KNOWN: Final = ("already known", "alreadyknown", "already imported", "known transaction", "already in the mempool")
_STALE: Final = ("nonce too low", "nonce is too low", "old nonce")
_UNDERPRICED: Final = ("underpriced", "less than block base fee", "fee too low", "max fee per gas less")
_WAITING: Final = (
    "insufficient funds",
    "nonce too high",
    "txpool is full",
    "limit",
    "busy",
    "timeout",
    "future transaction",
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Signer:
    """An account of the gateway: its address and a function that signs 32-byte digests (65 bytes)."""

    address: Address
    sign: Callable[[Digest32], bytes]


@dataclass(frozen=True, slots=True)
class Policy:
    """How transactions are paid and watched."""

    confirmations: int = 2
    stuck_seconds: int = 60
    """After this long outside a block a transaction is replaced with higher fees."""
    rebroadcast_seconds: int = 15
    fee_limit: int = 500 * 10**9
    """Never more than this for a unit of gas, wei; dearer times are waited out."""
    wei_per_day: int | None = None
    """What a day's transactions may cost; None: whatever the account has."""
    reserve_percent: int = 20
    """The part of a day's cap that only transactions which anchor or forbid may use."""

    def budget(self, purpose: str) -> int | None:
        """Return up to what a day's spending may grow by a transaction of this purpose, wei; None: without limit."""
        if self.wei_per_day is None or purpose in _URGENT:
            return self.wei_per_day
        return self.wei_per_day * (100 - self.reserve_percent) // 100


async def sending_account(session: AsyncSession, gateway: Address) -> Address:
    """Return the account that sends now: the newest, or the gateway's own where no other ever did."""
    found = select(SendingAccount.address).order_by(SendingAccount.number.desc()).limit(1)
    return await session.scalar(found) or gateway


class Outbox:
    """The queue as slices see it; implements `ports.TransactionQueue`. Touches only rows."""

    def __init__(self, account: Address, clock: Clock, randomness: Randomness) -> None:
        self._account = account
        self._clock = clock
        self._randomness = randomness

    async def enqueue(
        self, session: AsyncSession, *, purpose: str, to: Address, data: bytes, value: int = 0, dedupe_key: str
    ) -> uuid.UUID:
        """Put a transaction into the outbox, for the account that sends now, and return its id.

        A `dedupe_key` that is already there and has not failed returns the earlier row's id.
        """
        await locks.take(session, "outbox:enqueue")
        earlier = await session.scalar(
            select(OutboxTransaction.id).where(
                OutboxTransaction.dedupe_key == dedupe_key, OutboxTransaction.status != "failed"
            )
        )
        if earlier is not None:
            return earlier
        last = await session.scalar(select(func.max(OutboxTransaction.position)))
        row = OutboxTransaction(
            id=self._randomness.new_id(),
            position=(last or 0) + 1,
            account=await sending_account(session, self._account),
            purpose=purpose,
            dedupe_key=dedupe_key,
            to=to,
            data=data,
            value=Wei(value),
            created_at=self._clock.now(),
            status="queued",
        )
        session.add(row)
        await session.flush()
        return row.id

    async def find(self, session: AsyncSession, dedupe_key: str) -> TransactionView | None:
        """Return the state of what was queued last under a key, or None when nothing was."""
        found = await session.scalar(
            select(OutboxTransaction.id)
            .where(OutboxTransaction.dedupe_key == dedupe_key)
            .order_by(OutboxTransaction.position.desc())
            .limit(1)
        )
        return None if found is None else await self.view(session, found)

    async def view(self, session: AsyncSession, transaction_id: uuid.UUID) -> TransactionView | None:
        """Return a transaction's state, or None when there is none."""
        row = await session.get(OutboxTransaction, transaction_id)
        if row is None:
            return None
        attempt = row.mined_hash or await session.scalar(
            select(OutboxAttempt.hash)
            .where(OutboxAttempt.transaction_id == row.id)
            .order_by(OutboxAttempt.signed_at.desc(), OutboxAttempt.most_fee.desc())
            .limit(1)
        )
        waiting = None
        if row.status == "queued":
            waiting = row.waiting or await session.scalar(
                select(OutboxTransaction.waiting)
                .where(OutboxTransaction.account == row.account, OutboxTransaction.status == "queued")
                .order_by(OutboxTransaction.position)
                .limit(1)
            )
        return TransactionView(row.id, row.purpose, row.status, attempt, row.reason, row.seen_block, waiting)


class Submitter:
    """Sends what is in the outbox; any number of processes may run it for the same account."""

    def __init__(
        self, database: Database, client: ChainClient, chain_id: int, signer: Signer, clock: Clock, policy: Policy
    ) -> None:
        self._database = database
        self.client: ChainClient = client
        self._chain_id = chain_id
        self._signer = signer
        self._clock = clock
        self._policy = policy

    async def run_once(self) -> bool:
        """Do each step once; return whether anything moved, so that the caller may come back at once.

        Errors: UnavailableError when the node or the database is away; nothing is lost, call again later.
        """
        moved = await self.follow()
        moved = await self.broadcast() or moved
        while await self.sign_next():
            moved = True
            await self.broadcast()
        return await self.follow() or moved if moved else False

    # --- 2 ------------------------------------------------------------------------------------------------

    async def sign_next(self) -> bool:
        """Sign the oldest queued transaction that is due; return whether there was one to work on."""
        async with self._database.read() as session:
            row, overtakes = await self._next(session)
            sent = await session.scalars(select(OutboxTransaction.account).where(OutboxTransaction.status == "sent"))
            unmined = Counter(sent)
        if row is None or not _is_due(row.not_before, self._clock.now()):
            return False
        if unmined[self._signer.address] >= _MAX_UNMINED:
            return False
        try:
            estimated = await self.client.estimate_gas(self._signer.address, row.to, row.data, row.value)
        except RevertedError as error:
            waits = bool(unmined) or overtakes
            return await self._refused(row.id, str(error.revert), error.code, waits=waits)
        except NodeError as error:
            log.warning("outbox.estimate.refused", transaction=str(row.id), reason=error.rpc_message)
            is_poor = "insufficient funds" in error.rpc_message.lower()
            waits = is_poor or overtakes or row.tries < _ESTIMATE_TRIES
            reason = f"the node refuses: {error.rpc_message}"
            return await self._refused(row.id, reason, "rpc-error", waits=waits, waiting=FUNDS if is_poor else None)
        head = await self.client.header("latest")
        fees = None if head is None else await self._fees(head)
        if fees is None:
            return head is not None and await self._too_dear(row.id)
        nonce = await self.client.nonce(self._signer.address)
        return await self._sign(row.id, estimated * (100 + _GAS_MARGIN_PERCENT) // 100, fees, nonce)

    async def _next(self, session: AsyncSession) -> tuple[OutboxTransaction | None, bool]:
        """Return the transaction that is next, and whether it overtakes others.

        Strictly in order, because a later one may depend on one that has to wait; only at the day's cap does what
        anchors or forbids go first.
        """
        queued = (
            select(OutboxTransaction)
            .where(OutboxTransaction.account == self._signer.address, OutboxTransaction.status == "queued")
            .order_by(OutboxTransaction.position)
            .limit(1)
        )
        first = await session.scalar(queued)
        if first is None or first.waiting != SPENDING_CAP or _is_due(first.not_before, self._clock.now()):
            return first, False
        return await session.scalar(queued.where(OutboxTransaction.purpose.in_(_URGENT))), True

    async def _sign(self, transaction_id: uuid.UUID, gas: int, fees: Fees, chain_nonce: int) -> bool:
        async with self._writing() as session:
            row = await session.get(OutboxTransaction, transaction_id, populate_existing=True)
            if row is None or (row.account, row.status) != (self._signer.address, "queued"):
                return True  # another process was quicker, or another account sends by now
            cost = gas * fees.most + _spent_value(row)
            if not await self._book(session, row, cost, self._policy.budget(row.purpose)):
                self._wait_for(row, SPENDING_CAP)
                return True
            last = await session.scalar(
                select(func.max(OutboxTransaction.nonce)).where(OutboxTransaction.account == self._signer.address)
            )
            row.nonce = chain_nonce if last is None else max(chain_nonce, last + 1)
            row.gas = gas
            row.status = "sent"
            row.waiting = None
            session.add(self._attempt(row, fees, cancels=False))
        return True

    async def _book(self, session: AsyncSession, row: OutboxTransaction, cost: int, budget: int | None) -> bool:
        """Book what a transaction costs, in place of what was booked for it; return False beyond the day's budget.

        The budget is that of all the gateway's accounts together.
        """
        day = self._clock.now() // _DAY_SECONDS if row.booked_day is None else row.booked_day
        found = select(ChainSpending).where(ChainSpending.day == day).execution_options(populate_existing=True)
        spent = {spending.account: spending for spending in await session.scalars(found)}
        more = cost - (row.booked or 0)
        if budget is not None and more > 0 and sum(each.wei for each in spent.values()) + more > budget:
            return False
        spending = spent.get(row.account)
        if spending is None:
            spending = ChainSpending(account=row.account, day=day, wei=Wei(0))
            session.add(spending)
        spending.wei = Wei(spending.wei + more)
        row.booked, row.booked_day = Wei(cost), day
        return True

    async def _too_dear(self, transaction_id: uuid.UUID) -> bool:
        async with self._writing() as session:
            row = await session.get(OutboxTransaction, transaction_id, populate_existing=True)
            if row is not None and row.status == "queued":
                self._wait_for(row, FEE_LIMIT)
        return False

    async def _refused(
        self, transaction_id: uuid.UUID, reason: str, code: str, *, waits: bool, waiting: str | None = None
    ) -> bool:
        """Record that a queued transaction cannot be executed: now (others of ours are under way), or ever."""
        async with self._writing() as session:
            row = await session.get(OutboxTransaction, transaction_id, populate_existing=True)
            if row is None or row.status != "queued":
                return True
            if waits:
                row.waiting = waiting
                self._postpone(row)
                return False
            self._fail(row, reason, code)
        log.warning("outbox.transaction.failed", transaction=str(transaction_id), reason=reason)
        return True

    # --- 3 ------------------------------------------------------------------------------------------------

    async def broadcast(self) -> bool:
        """Send the attempts that are in no block and due; return whether a node took one."""
        now = self._clock.now()
        async with self._database.read() as session:
            due = (
                await session.execute(
                    select(OutboxTransaction, OutboxAttempt)
                    .join(OutboxAttempt, OutboxAttempt.transaction_id == OutboxTransaction.id)
                    .where(
                        OutboxTransaction.account == self._signer.address,
                        OutboxTransaction.status == "sent",
                        or_(
                            OutboxTransaction.not_before <= now,
                            OutboxTransaction.not_before > now + _BACKOFF_SECONDS[-1],
                        ),
                    )
                    .order_by(OutboxTransaction.nonce, OutboxAttempt.most_fee)
                )
            ).all()
        latest = {row.id: (row, attempt) for row, attempt in due}
        taken = False
        for row, attempt in latest.values():
            if attempt.broadcast_at is not None and not is_over(
                attempt.broadcast_at, self._policy.rebroadcast_seconds, now
            ):
                continue
            taken = await self._send(row, attempt) or taken
        return taken

    async def _send(self, row: OutboxTransaction, attempt: OutboxAttempt) -> bool:
        try:
            await self.client.send(attempt.raw)
        except RevertedError as error:  # some nodes execute before they accept
            return await self._rejected(row, attempt, str(error.revert))
        except NodeError as error:
            words = error.rpc_message.lower()
            if not any(each in words for each in _KNOWN):
                return await self._rejected(row, attempt, error.rpc_message)
        async with self._writing() as session:
            await session.execute(
                update(OutboxAttempt).where(OutboxAttempt.hash == attempt.hash).values(broadcast_at=self._clock.now())
            )
        return attempt.broadcast_at is None

    async def _rejected(self, row: OutboxTransaction, attempt: OutboxAttempt, message: str) -> bool:
        words = message.lower()
        if any(each in words for each in _STALE):
            return False  # it is in a block already, or its nonce is lost: `follow` finds out which
        log.warning("outbox.broadcast.rejected", transaction=str(row.id), reason=message)
        if any(each in words for each in _UNDERPRICED):
            return await self._replace(row.id, attempt.hash)
        if any(each in words for each in _WAITING) or attempt.cancels or attempt.broadcast_at is not None:
            async with self._writing() as session:
                kept = await session.get(OutboxTransaction, row.id, populate_existing=True)
                if kept is not None and kept.status == "sent":
                    self._postpone(kept)
            return False
        return await self._give_up(row.id, f"the node refuses: {message}")

    async def _give_up(self, transaction_id: uuid.UUID, reason: str) -> bool:
        """Put an empty transaction into the place of one that no node will ever take."""
        head = await self.client.header("latest")
        fees = None if head is None else await self._fees(head)
        if fees is None:
            return False
        async with self._writing() as session:
            row = await session.get(OutboxTransaction, transaction_id, populate_existing=True)
            if row is None or row.status != "sent" or row.giving_up is not None:
                return False
            row.giving_up = reason[:600]
            raised = await self._raised(session, row, fees)
            await self._book(session, row, max(row.booked or 0, _CANCEL_GAS * raised.most), None)
            session.add(self._attempt(row, raised, cancels=True))
        return True

    # --- 4 ------------------------------------------------------------------------------------------------

    async def follow(self) -> bool:
        """Compare what is under way with the chain; return whether anything changed."""
        async with self._database.read() as session:
            rows = (
                await session.scalars(
                    select(OutboxTransaction)
                    .where(OutboxTransaction.account == self._signer.address, OutboxTransaction.status.in_(IN_FLIGHT))
                    .order_by(OutboxTransaction.nonce)
                )
            ).all()
            attempts = (
                await session.scalars(
                    select(OutboxAttempt).where(OutboxAttempt.transaction_id.in_([row.id for row in rows]))
                )
            ).all()
        if not rows:
            return False
        blocks = await self.client.head_and_final()
        if blocks is None:
            return False
        head, final = blocks
        changed = False
        for row in rows:
            own = sorted((each for each in attempts if each.transaction_id == row.id), key=lambda each: each.most_fee)
            found = await self._receipt(row, own)
            if found is None:
                changed = await self._not_mined(row, own, final) or changed
            else:
                changed = await self._mined(row, *found, head, final) or changed
        return changed

    async def _receipt(
        self, row: OutboxTransaction, attempts: Sequence[OutboxAttempt]
    ) -> tuple[Receipt, OutboxAttempt] | None:
        known_first = sorted(attempts, key=lambda each: each.hash != row.mined_hash)
        for attempt in known_first:
            receipt = await self.client.receipt(attempt.hash)
            if receipt is not None:
                return receipt, attempt
        return None

    async def _mined(
        self, row: OutboxTransaction, receipt: Receipt, attempt: OutboxAttempt, head: Header, final: Header
    ) -> bool:
        status = await self._status_of(receipt, head, final)
        if (row.status, row.seen_hash, row.mined_hash) == (status, receipt.block_hash, attempt.hash):
            return False
        revert = None
        if status == "final" and not receipt.succeeded:
            revert = await self._why(row, receipt)
        async with self._writing() as session:
            kept = await session.get(OutboxTransaction, row.id, populate_existing=True)
            if kept is None or kept.status not in IN_FLIGHT:
                return False
            kept.seen_block, kept.seen_hash = receipt.block_number, receipt.block_hash
            kept.mined_hash = attempt.hash
            if status == "final":
                moved = _spent_value(kept) if receipt.succeeded and not attempt.cancels else 0
                await self._book(session, kept, receipt.paid + moved, None)
            if status != "final":
                kept.status = status
            elif attempt.cancels:
                self._fail(kept, kept.giving_up or "replaced by an empty transaction", "transaction-replaced")
            elif revert is not None:
                self._fail(kept, *revert)
            else:
                kept.status = "final"
                kept.ended_at = self._clock.now()
        log.info("outbox.transaction.mined", transaction=str(row.id), status=status, block=receipt.block_number)
        return True

    async def _status_of(self, receipt: Receipt, head: Header, final: Header) -> str:
        if receipt.block_number <= final.number and await self._is_shown(receipt):
            return "final"
        return "confirmed" if receipt.block_number <= head.number - self._policy.confirmations + 1 else "seen"

    async def _is_shown(self, receipt: Receipt) -> bool:
        """Return whether as many nodes show a receipt as must agree."""

        async def outcome(client: ChainClient) -> tuple[Digest32, bool] | None:
            found = await client.receipt(receipt.transaction_hash)
            return None if found is None else (found.block_hash, found.succeeded)

        fact = f"the receipt of 0x{receipt.transaction_hash.hex()}"
        return await self.client.agree(fact, (receipt.block_hash, receipt.succeeded), outcome)

    async def _is_nonce_used(self, nonce: int, final: Header) -> bool:
        """Return whether a final block has another transaction with a nonce, as far as enough nodes say so."""

        async def is_used(client: ChainClient) -> bool:
            return await client.nonce(self._signer.address, final.number) > nonce

        return await is_used(self.client) and await self.client.agree("the account's nonce", True, is_used)

    async def _not_mined(self, row: OutboxTransaction, attempts: Sequence[OutboxAttempt], final: Header) -> bool:
        if row.status != "sent":
            return await self._back(row.id)
        if row.nonce is not None and await self._is_nonce_used(row.nonce, final):
            # Ask again after the nonce: a receipt may have come in between.
            if await self._receipt(row, attempts) is not None:
                return True
            return await self._nonce_lost(row.id)
        newest = attempts[-1]
        is_stuck = is_over(newest.signed_at, self._policy.stuck_seconds, self._clock.now())
        if newest.broadcast_at is not None and is_stuck:
            return await self._replace(row.id, newest.hash)
        return False

    async def _back(self, transaction_id: uuid.UUID) -> bool:
        """Return a transaction whose block is gone to those that are broadcast."""
        async with self._writing() as session:
            row = await session.get(OutboxTransaction, transaction_id, populate_existing=True)
            if row is None or row.status not in {"seen", "confirmed"}:
                return False
            row.status = "sent"
            row.seen_block = row.seen_hash = row.mined_hash = None
            await session.execute(
                update(OutboxAttempt).where(OutboxAttempt.transaction_id == row.id).values(broadcast_at=None)
            )
        log.warning("outbox.transaction.reorganised", transaction=str(transaction_id))
        return True

    async def _nonce_lost(self, transaction_id: uuid.UUID) -> bool:
        """Queue again what can never be mined, because a final block has another transaction with its nonce."""
        async with self._writing() as session:
            row = await session.get(OutboxTransaction, transaction_id, populate_existing=True)
            if row is None or row.status != "sent":
                return False
            await self._book(session, row, 0, None)
            row.nonce = row.gas = row.booked = row.booked_day = None
            if row.giving_up is not None:
                self._fail(row, row.giving_up, "transaction-replaced")
            else:
                row.status = "queued"
            for attempt in await session.scalars(
                select(OutboxAttempt).where(OutboxAttempt.transaction_id == transaction_id)
            ):
                await session.delete(attempt)
        log.error("outbox.nonce.taken", transaction=str(transaction_id), hint="does another program use this account?")
        return True

    async def _replace(self, transaction_id: uuid.UUID, newest: Digest32) -> bool:
        """Sign a transaction once more with the same nonce and higher fees."""
        head = await self.client.header("latest")
        fees = None if head is None else await self._fees(head)
        if fees is None:
            return False
        async with self._writing() as session:
            row = await session.get(OutboxTransaction, transaction_id, populate_existing=True)
            last = await session.get(OutboxAttempt, newest)
            if row is None or last is None or row.status != "sent":
                return False
            raised = await self._raised(session, row, fees)
            if raised.most > self._policy.fee_limit:
                log.error("outbox.fee.limit", transaction=str(transaction_id), wei=raised.most)
                self._postpone(row)
                return False
            cost = raised.most * (_CANCEL_GAS if last.cancels else row.gas or 0)
            cost += 0 if last.cancels else _spent_value(row)
            if not await self._book(session, row, max(row.booked or 0, cost), self._policy.wei_per_day):
                self._wait_for(row, SPENDING_CAP)
                return False
            session.add(self._attempt(row, raised, cancels=last.cancels))
        log.info("outbox.transaction.replaced", transaction=str(transaction_id), wei=raised.most)
        return True

    # --- small parts --------------------------------------------------------------------------------------

    async def _fees(self, head: Header) -> Fees | None:
        """Return what to pay now, or None while that is above the limit."""
        priority = await self.client.priority_fee()
        most = 2 * head.base_fee + priority
        if head.base_fee + priority > self._policy.fee_limit:
            log.error("outbox.fee.limit", wei=head.base_fee + priority)
            return None
        return Fees(min(most, self._policy.fee_limit), min(priority, self._policy.fee_limit))

    async def _raised(self, session: AsyncSession, row: OutboxTransaction, fees: Fees) -> Fees:
        """Return fees that replace every attempt so far: each of the two at least 13 % above the highest."""
        most, priority = 0, 0
        for attempt in await session.scalars(select(OutboxAttempt).where(OutboxAttempt.transaction_id == row.id)):
            most, priority = max(most, attempt.most_fee), max(priority, attempt.priority_fee)
        return Fees(
            max(fees.most, most * (100 + _BUMP_PERCENT) // 100 + 1),
            max(fees.priority, priority * (100 + _BUMP_PERCENT) // 100 + 1),
        )

    def _attempt(self, row: OutboxTransaction, fees: Fees, *, cancels: bool) -> OutboxAttempt:
        if row.nonce is None or row.gas is None:
            raise AssertionError("unreachable: a row is signed after its nonce and gas are set")
        raw = sign_transaction(
            self._signer.sign,
            chain_id=self._chain_id,
            nonce=row.nonce,
            fees=fees,
            gas=_CANCEL_GAS if cancels else row.gas,
            to=self._signer.address if cancels else row.to,
            value=0 if cancels else row.value,
            data=b"" if cancels else row.data,
        )
        return OutboxAttempt(
            hash=transaction_hash(raw),
            transaction_id=row.id,
            raw=raw,
            most_fee=Wei(fees.most),
            priority_fee=Wei(fees.priority),
            cancels=cancels,
            signed_at=self._clock.now(),
        )

    async def _why(self, row: OutboxTransaction, receipt: Receipt) -> tuple[str, str]:
        """Return reason and code of a mined transaction that failed, by executing it once more in its block."""
        try:
            await self.client.execute(
                row.to, row.data, sender=self._signer.address, value=row.value, tag=receipt.block_number
            )
        except RevertedError as error:
            return str(error.revert), error.code
        except NodeError as error:
            return f"failed on chain: {error.rpc_message}", "reverted"
        if row.gas is not None and receipt.gas_used >= row.gas * 63 // 64:
            return "failed on chain: out of gas", "out-of-gas"
        return "failed on chain", "reverted"

    def _fail(self, row: OutboxTransaction, reason: str, code: str) -> None:
        row.status = "failed"
        row.reason = reason[:600]
        row.code = code
        row.ended_at = self._clock.now()

    def _wait_for(self, row: OutboxTransaction, what: str) -> None:
        """Try again in a while: the transaction is fine, what it costs is not."""
        log.warning("outbox.waits", transaction=str(row.id), purpose=row.purpose, waiting_for=what)
        row.waiting = what
        row.tries = 0
        row.not_before = UnixSeconds(self._clock.now() + _DEAR_SECONDS)

    def _postpone(self, row: OutboxTransaction) -> None:
        pause = _BACKOFF_SECONDS[min(row.tries, len(_BACKOFF_SECONDS) - 1)]
        row.tries += 1
        row.not_before = UnixSeconds(self._clock.now() + pause)

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction under the outbox's lock: rows that are read in it stay as they are until it ends."""
        async with self._database.begin() as session:
            await locks.take(session, "outbox:sign")
            yield session


def _spent_value(row: OutboxTransaction) -> int:
    """Return the coins that leave the gateway with a transaction, wei."""
    return 0 if row.purpose == FUND else row.value


def _is_due(not_before: UnixSeconds, now: UnixSeconds) -> bool:
    """Whether a pause is over; one that is longer than any pause was set by a clock that has gone back since."""
    return not now < not_before <= now + _BACKOFF_SECONDS[-1]
