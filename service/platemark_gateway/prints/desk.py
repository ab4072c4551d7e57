"""The redemption desk: checks vouchers, counts in batches that clock themselves, answers after the commit.

While one batch is being committed the next one gathers, and then as long as each turn of the loop brings more; there
is no timer. Each process has one desk; any number of processes may share a database. What is asked for together (a
plate) is in one batch, and counted whole or not at all.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, TypeVar

from sqlalchemy.exc import IntegrityError

from platemark.errors import PlatemarkError
from platemark.protocol.units import Address, Digest32, TokenId
from platemark.protocol.voucher import SignedRequest
from platemark_gateway.container import Container
from platemark_gateway.db.statements import Statements
from platemark_gateway.errors import UnavailableError
from platemark_gateway.prints import errors, service
from platemark_gateway.prints.service import Answer, Counted, Order

MAX_BATCH: Final = 64
MAX_WAITING: Final = 1024
"""Redemptions that may wait for the batch that is being committed."""
_MOST_FOLLOWING: Final = 64
"""Batches on one connection: whoever pools or switches servers behind it waits for its last commit."""
_TURNS_WITHOUT_MORE: Final = 3
"""Of the loop: one in which the last batch is answered, one that reads what came meanwhile, one that checks it."""
_REMEMBERED_AGENTS: Final = 4096
_REMEMBERED_BLOCKS: Final = 1024

_K = TypeVar("_K")
_V = TypeVar("_V")
_Decided = list[Counted] | PlatemarkError
_Waiting = tuple[Sequence[Order], asyncio.Future[list[Counted]]]


class Desk:
    """Takes redemptions; belongs to one event loop."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._queue: deque[_Waiting] = deque()
        self._waiting = 0
        self._clerk: asyncio.Task[None] | None = None
        self._agents: OrderedDict[TokenId, Address] = OrderedDict()
        self._blocks: OrderedDict[int, Digest32] = OrderedDict()

    async def redeem(self, signed: SignedRequest, recipient_public: bytes) -> Answer:
        """Return the answer to a redemption: counted once, and the same again for the same bytes.

        Errors: those of `service.count`, and UnavailableError `redemptions-busy`.
        """
        order = await self._checked(signed, recipient_public)
        (counted,) = await self._count([order])
        return service.answer(self._container, counted, recipient_public)

    async def redeem_plate(self, plate: Sequence[tuple[SignedRequest, bytes]]) -> list[Answer]:
        """Return the answers to redemptions of different tokens, in their order: all are counted, or none is.

        What is known already has its stored answer, as with `redeem`.

        Args:
            plate: 1 to `MAX_BATCH` signed redemptions, each with the recipient key to seal to.

        Errors: MalformedError `plate-repeats`; as `redeem`, with the place of the first that is refused.
        """
        if len({signed.request.token_id for signed, _ in plate}) != len(plate):
            raise errors.plate_repeats()
        orders = []
        for place, (signed, recipient_public) in enumerate(plate):
            try:
                orders.append(await self._checked(signed, recipient_public))
            except PlatemarkError as refusal:
                raise errors.at_place(refusal, place) from refusal
        counted = await self._count(orders)
        return [
            service.answer(self._container, each, recipient_public)
            for each, (_, recipient_public) in zip(counted, plate, strict=True)
        ]

    async def _checked(self, signed: SignedRequest, recipient_public: bytes) -> Order:
        """Steps 2 and 3."""
        agent = await self._agent(signed.request.token_id)
        service.check_voucher(self._container, signed, agent)
        await self._check_seen_block(signed.request.seen_block, signed.request.seen_hash)
        return Order(signed, recipient_public, agent)

    async def _agent(self, token_id: TokenId) -> Address:
        """Step 2: the agent is part of what the token's id is the digest of, so it may be remembered."""
        known = self._agents.get(token_id)
        if known is None:
            async with self._container.database.read() as session:
                known = await service.agent_of(session, self._container, token_id)
            _remember(self._agents, token_id, known, _REMEMBERED_AGENTS)
        return known

    async def _check_seen_block(self, number: int, block_hash: Digest32) -> None:
        """Step 3: the block must be final; final blocks do not change, so their hashes may be remembered."""
        known = self._blocks.get(number)
        if known is None:
            final = await self._container.chain.final_block()
            block = final if final.number == number else await self._container.chain.block_at(number)
            if block is None or number > final.number:
                raise errors.seen_block_ahead(self._container.settings.finality_seconds)
            known = block.hash
            _remember(self._blocks, number, known, _REMEMBERED_BLOCKS)
        if known != block_hash:
            raise errors.seen_block_unknown()

    async def _count(self, orders: Sequence[Order]) -> list[Counted]:
        if self._waiting + len(orders) > MAX_WAITING:
            raise errors.busy()
        future: asyncio.Future[list[Counted]] = asyncio.get_running_loop().create_future()
        self._queue.append((orders, future))
        self._waiting += len(orders)
        if self._clerk is None or self._clerk.done():
            self._clerk = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._queue:
            await self._commit(await self._next())

    async def _next(self) -> list[_Waiting]:
        """Return the next batch of those that wait."""
        await self._gather()
        batch = [self._queue.popleft()]
        size = len(batch[0][0])
        while self._queue and size + len(self._queue[0][0]) <= MAX_BATCH:
            batch.append(self._queue.popleft())
            size += len(batch[-1][0])
        self._waiting -= size
        return batch

    async def _gather(self) -> None:
        """Let what has arrived already join the batch: a transaction costs much, a turn of the loop next to nothing."""
        turns = _TURNS_WITHOUT_MORE
        while turns and self._waiting < MAX_BATCH:
            before = self._waiting
            await asyncio.sleep(0)
            turns = _TURNS_WITHOUT_MORE if self._waiting > before else turns - 1

    async def _commit(self, batch: list[_Waiting], *, alone: bool = False) -> None:
        """Steps 4 to 7 for a batch; whoever asked learns of it after the commit.

        Where a commit can begin the next transaction, others follow while anybody waits, unless it is to be `alone`.
        """
        clock = self._container.clock
        following = 0 if alone else _MOST_FOLLOWING
        began = clock.monotonic()
        try:
            async with self._container.database.statements() as statements:
                decided = await self._counted(statements, batch)
                while self._queue and following and await statements.commit_and_go_on():
                    following -= 1
                    self._tell(batch, decided, began)
                    batch, began = await self._next(), clock.monotonic()
                    decided = await self._counted(statements, batch)
        except (IntegrityError, PlatemarkError) as error:
            if len(batch) > 1 and not isinstance(error, UnavailableError):
                for waiting in batch:  # one of them must not spoil the others
                    await self._commit([waiting], alone=True)
                return
            decided = [errors.print_id_used() if isinstance(error, IntegrityError) else error] * len(batch)
            self._tell(batch, decided, None)
        except Exception as error:  # noqa: BLE001 (the clerk must outlive anything; each caller gets the error)
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        else:
            self._tell(batch, decided, began)

    async def _counted(self, statements: Statements, batch: list[_Waiting]) -> list[_Decided]:
        return await service.count(statements, self._container, [orders for orders, _ in batch])

    def _tell(self, batch: list[_Waiting], decided: Sequence[_Decided], began: float | None) -> None:
        """Tell each who asked what was decided, and how long it took since `began`, if it was committed."""
        metrics = self._container.metrics
        if began is not None:
            metrics.commit_seconds.observe(self._container.clock.monotonic() - began)
            metrics.batch_size.observe(sum(len(orders) for orders, _ in batch))
        for (orders, future), outcome in zip(batch, decided, strict=True):
            metrics.redemptions.add("refused" if isinstance(outcome, PlatemarkError) else "answered", by=len(orders))
            if future.done():  # the caller went away; what is counted can be asked for again
                continue
            if isinstance(outcome, PlatemarkError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def _remember(cache: OrderedDict[_K, _V], key: _K, value: _V, limit: int) -> None:
    cache[key] = value
    while len(cache) > limit:
        cache.popitem(last=False)
