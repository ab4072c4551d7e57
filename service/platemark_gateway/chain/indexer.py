"""The indexer: reads the contracts' events in order, block after block, and lets the slices project them.

Each step asks one node, and the next one when that fails, lags or contradicts what is proven.

1. Ask for the head and the final block; check that the last indexed block is still the chain's.
2. If not, go back to the last common block, in one transaction (`reorg.py`).
3. Read the next range: headers of the blocks that are not final, logs of all. The logs of a block are compared with
   its receipts, and those with its hash, where the chain allows that. A header's bloom filter that promises events
   which the range did not give is followed up block by block; a block that the node does not have ends the range:
   nothing is ever passed over. A range that is too much for the node is halved, and grows again.
4. Let the other nodes say whether they see the same blocks and events up to the final block. Without their agreement
   nothing more becomes final; what was seen is projected all the same.
5. In one transaction: store block hashes and events, call the handlers in order, move the progress.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError, UpstreamError
from platemark.protocol import canonical
from platemark.protocol.units import Address, Digest32, UnixSeconds, keccak256
from platemark_gateway import ports
from platemark_gateway.chain.client import ChainClient, Header
from platemark_gateway.chain.contracts import RawLog, args_json, decode_event
from platemark_gateway.chain.errors import EndpointContradictsError, NodeBehindError, NodeError, NodeUnreachableError
from platemark_gateway.chain.reorg import FinalityBrokenError, common_ancestor, rewind
from platemark_gateway.db import locks
from platemark_gateway.db.session import Database
from platemark_gateway.errors import ConflictError
from platemark_gateway.models.chain import ChainBlock, ChainEventRow, ChainProgress
from platemark_gateway.ports import CHAIN_DISPUTED, CHAIN_REWRITTEN, BlockRef, ChainEvent, Contract, Deployment

Handler = Callable[[AsyncSession, ChainEvent], Awaitable[None]]
Fact = tuple[int, bytes, int, bytes, str, str, bytes]
"""An event as nodes are compared by it: block number and hash, place, transaction, contract, name, arguments."""

_LOCK: Final = "chain:indexer"
_RANGE: Final = 500
_LARGEST_RANGE: Final = 8000
_GROWS_AFTER: Final = 4
"""Full ranges in a row after which the next one is twice as large."""
_KEPT_BLOCKS: Final = 4096
"""Hashes of final blocks without events are forgotten after this many."""
_TOO_MUCH: Final = ("too many", "more than", "limit", "range", "exceed", "too large", "timeout", "timed out")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Projection(Protocol):
    """What a slice's `projection` module offers: handlers by event name, and the way back."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Functions by the name of the event they project."""
        ...

    async def rewind(self, session: AsyncSession, block: int) -> None:
        """Undo everything that was projected from blocks above `block`."""
        ...


class Index:
    """What the indexer has stored; implements `ports.ChainIndex`."""

    def __init__(self, confirmations: int) -> None:
        self._confirmations = confirmations

    async def progress(self, session: AsyncSession) -> ports.ChainProgress | None:
        """Return how far the index has come; None before its first block."""
        row = await session.get(ChainProgress, 1, populate_existing=True)
        return None if row is None else self.told_by(row)

    def told_by(self, row: Any) -> ports.ChainProgress:
        """Return the progress that a row of `chain_progress` tells, or one of a statement that has its columns."""
        confirmed = min(row.indexed_number, row.head_number - self._confirmations + 1)
        return ports.ChainProgress(
            head=BlockRef(row.head_number, row.head_hash, row.head_timestamp),
            indexed=BlockRef(row.indexed_number, row.indexed_hash, row.indexed_timestamp),
            final=BlockRef(row.final_number, row.final_hash, row.final_timestamp),
            confirmed=max(confirmed, row.final_number),
            dispute=row.dispute,
        )


@dataclass(frozen=True, slots=True)
class _Range:
    """Blocks that were read: the last one, those whose hashes are kept, and the events of all."""

    last: Header
    blocks: Mapping[int, Header]
    events: Sequence[ChainEvent]


class Indexer:
    """Follows one deployment on one chain; several processes may run it, one at a time makes progress."""

    def __init__(
        self,
        database: Database,
        client: ChainClient,
        deployment: Deployment,
        projections: Iterable[Projection],
    ) -> None:
        self._database = database
        self._client = client
        self._deployment = deployment
        self._projections = tuple(projections)
        self._addresses: tuple[Address, ...] = tuple(deployment.address(each) for each in Contract)
        self._blooms = tuple(_bloom(address) for address in self._addresses)
        self._range = _RANGE
        self._full_ranges = 0
        self._is_provable = False
        """Whether this chain's hashes follow from its headers' fields: shown by a block that was indexed before."""

    async def run_once(self) -> bool:
        """Take one step; return whether more is waiting, so that the caller may come back at once.

        Errors: UnavailableError when no node or no database answers; FinalityBrokenError; EndpointContradictsError;
            nothing is lost.
        """
        failure: PlatemarkError | None = None
        for client in await self._client.each():
            try:
                more = await self._step(client)
            except FinalityBrokenError as error:
                client.rpc.accuse(error.message)
                failure = error
            except EndpointContradictsError as error:
                client.rpc.accuse(error.fact)
                failure = failure or error
            except (NodeBehindError, NodeUnreachableError, UpstreamError) as error:
                failure = failure or error
            else:
                if more is not None:
                    return more
        if isinstance(failure, FinalityBrokenError):
            await self._stop()
        if failure is not None:
            raise failure
        return False

    async def _step(self, client: ChainClient) -> bool | None:
        """Take one step with one node; None when it is behind, or gives no consistent view at the moment."""
        found = await client.head_and_final()
        if found is None or found[0].number < self._deployment.block:
            return None
        head, final = found
        progress = await self._progress()
        if progress is None:
            return await self._begin(client, head, final)
        if progress.indexed_number > head.number:
            await self._require_behind(client, head, progress)
            return None
        indexed = await client.header(progress.indexed_number)
        if indexed is None:
            return None
        if indexed.hash != progress.indexed_hash:
            return await self._go_back(client, progress)
        self._is_provable = self._is_provable or indexed.is_proven is True
        return await self._go_on(client, progress, head, final)

    async def _go_on(self, client: ChainClient, progress: ChainProgress, head: Header, final: Header) -> bool | None:
        if progress.indexed_number == head.number:
            moved = await self._advance(progress, None, head, final)
            return None if moved is None else False
        first = progress.indexed_number + 1
        found = await self._read(client, first, head, progress, final)
        if found is None:
            return None
        moved = await self._advance(progress, found, head, final)
        return None if moved is None else moved and found.last.number < head.number

    # --- 1, 2 ---------------------------------------------------------------------------------------------

    async def _progress(self) -> ChainProgress | None:
        async with self._database.read() as session:
            row = await session.get(ChainProgress, 1)
        if row is not None and (row.chain_id, row.ledger) != (self._deployment.chain_id, self._deployment.ledger):
            raise ConflictError(
                "the database belongs to other contracts or another chain",
                code="chain-foreign",
                hint="use the database of this deployment, or an empty one",
            )
        return row

    async def _begin(self, client: ChainClient, head: Header, final: Header) -> bool | None:
        """Write the first progress: everything before the deployment's block is of no interest."""
        start = await client.header(min(max(self._deployment.block - 1, 0), final.number))
        if start is None:
            return None
        async with self._database.begin() as session:
            await locks.take(session, _LOCK)
            if await session.get(ChainProgress, 1) is not None:
                return True
            session.add(
                ChainProgress(
                    id=1,
                    chain_id=self._deployment.chain_id,
                    ledger=self._deployment.ledger,
                    head_number=head.number,
                    head_hash=head.hash,
                    head_timestamp=head.timestamp,
                    indexed_number=start.number,
                    indexed_hash=start.hash,
                    indexed_timestamp=start.timestamp,
                    final_number=start.number,
                    final_hash=start.hash,
                    final_timestamp=start.timestamp,
                )
            )
            session.add(ChainBlock(number=start.number, hash=start.hash, timestamp=start.timestamp))
        return True

    async def _require_behind(self, client: ChainClient, head: Header, progress: ChainProgress) -> None:
        """Return when a node whose head is below the index is merely behind.

        Errors: FinalityBrokenError; NodeBehindError when it ends before what was final.

        Nothing is undone for it: a recall that was seen must not be forgotten because a node lags.
        """
        async with self._database.read() as session:
            known = await session.scalar(
                select(ChainBlock).where(ChainBlock.number <= head.number).order_by(ChainBlock.number.desc()).limit(1)
            )
        header = None if known is None else await client.header(known.number)
        if known is not None and header is not None and header.hash != known.hash:
            raise FinalityBrokenError(known.number)
        if head.number < progress.final_number:
            raise NodeBehindError(client.rpc.name, head.number, progress.final_number)

    async def _stop(self) -> None:
        """Let nothing count as final any more: every node says that a final block is another one now."""
        async with self._database.begin() as session:
            await locks.take(session, _LOCK)
            row = await session.get(ChainProgress, 1, populate_existing=True)
            if row is not None:
                row.dispute = CHAIN_REWRITTEN

    async def _go_back(self, client: ChainClient, progress: ChainProgress) -> bool | None:
        ancestor = await common_ancestor(self._database, client, progress)
        if ancestor is None or ancestor.number == progress.indexed_number:
            return None  # the node is behind, or was: wait
        return await self._rewind(progress, ancestor)

    async def _rewind(self, progress: ChainProgress, ancestor: Header) -> bool:
        async with self._database.begin() as session:
            row = await self._locked(session, progress)
            if row is None:
                return True
            await rewind(session, row, ancestor, self._projections)
        return True

    # --- 3 ------------------------------------------------------------------------------------------------

    async def _read(
        self, client: ChainClient, first: int, head: Header, progress: ChainProgress, final: Header
    ) -> _Range | None:
        """Return blocks from `first` on, as many as the node can give at once; None when its view is not consistent.

        Errors: NodeError, NodeUnreachableError: the next range is half as long.
        """
        while True:
            last = min(head.number, first + self._range - 1)
            try:
                found = await self._read_range(client, first, last, progress, final)
            except NodeUnreachableError:
                self._shrink()
                raise
            except NodeError as error:
                if first == last or not _is_too_much(error):
                    raise
                self._shrink()
                continue
            if found is not None and found.last.number - first + 1 == self._range:
                self._grow()
            return found

    def _shrink(self) -> None:
        self._range, self._full_ranges = max(1, self._range // 2), 0

    def _grow(self) -> None:
        self._full_ranges += 1
        if self._full_ranges >= _GROWS_AFTER:
            self._range, self._full_ranges = min(2 * self._range, _LARGEST_RANGE), 0

    async def _read_range(
        self, client: ChainClient, first: int, last: int, progress: ChainProgress, final: Header
    ) -> _Range | None:
        open_from = max(first, final.number + 1)
        headers = {each.number: each for each in await client.headers(open_from, last)} if open_from <= last else {}
        last = max([final.number if open_from > first else first - 1, *headers]) if open_from <= last else last
        if last < first:
            return None
        logs = await client.logs(self._addresses, first, last)
        missing = sorted({log.block_number for log in logs} - headers.keys() | ({last} - headers.keys()))
        for number, header in zip(missing, await client.headers_at(missing), strict=True):
            if header is None:
                return None
            headers[number] = header
        if not _consistent(logs, headers, first, progress):
            log.info("chain.index.waits", first=first, last=last)
            return None
        proven: list[RawLog] = []
        for number, header in sorted(headers.items()):
            if self._is_provable and header.is_proven is False:
                raise EndpointContradictsError(client.rpc.name, f"the hash of block {number}")
            given = [each for each in logs if each.block_number == number]
            proven += await self._of_block(client, header, given, is_open=number >= open_from)
        again = await client.header(last)
        if again is None or again.hash != headers[last].hash:
            return None
        events = [decode_event(self._deployment, each, headers[each.block_number].ref) for each in proven]
        return _Range(headers[last], headers, [each for each in events if each is not None])

    async def _of_block(
        self, client: ChainClient, header: Header, given: list[RawLog], *, is_open: bool
    ) -> list[RawLog]:
        """Return a block's logs: those that its hash commits to, where that can be told, or else those that were given.

        Errors: EndpointContradictsError when the node's receipts are not the block's.
        """
        promised = is_open and any(header.bloom & mask == mask for mask in self._blooms)
        if not given and promised:  # a lagging node may have left them out of the range
            try:
                given = await client.logs_of_block(self._addresses, header.hash)
            except NodeError as error:
                raise UpstreamError("the node lacks a block it has shown", code="rpc-nonsense") from error
        if not given and not promised:
            return []
        proven = await client.proven_logs(self._addresses, header)
        if proven is None:
            return given
        if not {_content(each) for each in given} <= {_content(each) for each in proven}:
            client.rpc.accuse(f"the logs of block {header.number}")
        return proven

    # --- 4 ------------------------------------------------------------------------------------------------

    async def _examine(self, progress: ChainProgress, found: _Range | None, final: BlockRef) -> "_Verdict":
        """Return whether enough nodes see the same blocks and events up to `final`, after the last final block.

        An event that this index lacks, and that is proven by a block whose hash the nodes agree on, is a lie of those
        who hid it: the index goes back before that block.
        """
        if self._client.rpc.quorum == 1 or final.number <= progress.final_number:
            return _Verdict(agreed=True)
        own = final.hash, await self._own_facts(progress, found, final.number)
        views: list[tuple[ChainClient, tuple[bytes, frozenset[Fact]]]] = []
        for client in await self._client.each():
            with contextlib.suppress(NodeUnreachableError, UpstreamError):
                view = await self._view(client, progress.final_number + 1, final.number)
                if view is not None:
                    views.append((client, view))
        dissent = [(client, view) for client, view in views if view != own]
        if len(views) - len(dissent) >= self._client.rpc.quorum:
            for client, _ in dissent:
                client.rpc.accuse(f"what others agree on up to block {final.number}")
            return _Verdict(agreed=True)
        for client, view in dissent:
            log.error("chain.endpoints.disagree", endpoint=client.rpc.name, fact=f"the blocks up to {final.number}")
            hidden = min(view[1] - own[1], default=None)
            if hidden is not None and view[0] == final.hash and await self._is_hidden(client, hidden):
                for other, seen in views:
                    if hidden not in seen[1]:
                        other.rpc.accuse(f"the logs of block {hidden[0]}")
                return _Verdict(agreed=False, hidden=hidden[0], honest=client)
        return _Verdict(agreed=False, dispute=CHAIN_DISPUTED if dissent else None)

    async def _own_facts(self, progress: ChainProgress, found: _Range | None, last: int) -> frozenset[Fact]:
        async with self._database.read() as session:
            rows = (
                await session.execute(
                    select(ChainEventRow, ChainBlock.hash)
                    .join(ChainBlock, ChainBlock.number == ChainEventRow.block_number)
                    .where(ChainEventRow.block_number > progress.final_number, ChainEventRow.block_number <= last)
                )
            ).all()
        stored: set[Fact] = {
            (row.block_number, digest, row.log_index, row.transaction_hash, row.contract, row.name, _packed(row.args))
            for row, digest in rows
        }
        fresh = {_fact(each) for each in (found.events if found else ()) if each.block.number <= last}
        return frozenset(stored | fresh)

    async def _view(self, client: ChainClient, first: int, last: int) -> tuple[bytes, frozenset[Fact]] | None:
        """Return what a node says of a range: the hash of its last block and all events; None when it lacks the block.

        Errors: those of the node.
        """
        header = await client.header(last)
        if header is None:
            return None
        events = [
            decode_event(self._deployment, each, BlockRef(each.block_number, each.block_hash, UnixSeconds(0)))
            for each in await _all_logs(client, self._addresses, first, last)
        ]
        return header.hash, frozenset(_fact(each) for each in events if each is not None)

    async def _is_hidden(self, client: ChainClient, fact: Fact) -> bool:
        """Return whether a node proves an event that the index lacks, in a block on whose hash the nodes agree."""
        number = fact[0]
        header = await client.header(number)
        proven = None if header is None else await client.proven_logs(self._addresses, header)
        if header is None or proven is None:
            return False
        events = [decode_event(self._deployment, each, header.ref) for each in proven]
        if fact not in {_fact(each) for each in events if each is not None}:
            return False

        async def hash_of(other: ChainClient) -> Digest32 | None:
            found = await other.header(number)
            return None if found is None else found.hash

        return await self._client.agree(f"the hash of block {number}", header.hash, hash_of)

    # --- 5 ------------------------------------------------------------------------------------------------

    async def _advance(self, progress: ChainProgress, found: _Range | None, head: Header, final: Header) -> bool | None:
        """Store what was read, and what is final now; None when another node must be asked for it."""
        final_now = await self._final_within(found.last if found else None, progress, final)
        if found is None and _same(progress, head, final):
            return False
        verdict = await self._examine(progress, found, final_now)
        if verdict.hidden is not None and verdict.honest is not None:
            ancestor = await verdict.honest.header(verdict.hidden - 1)
            if ancestor is not None and ancestor.number < progress.indexed_number:
                await self._rewind(progress, ancestor)
            return None
        async with self._database.begin() as session:
            row = await self._locked(session, progress)
            if row is None:
                return True
            if found is not None:
                await self._store(session, found)
                row.indexed_number, row.indexed_hash = found.last.number, found.last.hash
                row.indexed_timestamp = found.last.timestamp
            row.head_number, row.head_hash, row.head_timestamp = head.number, head.hash, head.timestamp
            row.dispute = verdict.dispute
            if verdict.agreed and final_now.number >= row.final_number:
                row.final_number, row.final_hash = final_now.number, final_now.hash
                row.final_timestamp = final_now.timestamp
            await session.flush()
            if found is not None:
                await self._forget_old(session, row.final_number)
        return True

    async def _final_within(self, last: Header | None, progress: ChainProgress, final: Header) -> BlockRef:
        """Return the final block, or the last indexed one while the index is behind it."""
        if last is not None:
            return final.ref if final.number <= last.number else last.ref
        if final.number <= progress.indexed_number:
            return final.ref
        return BlockRef(progress.indexed_number, progress.indexed_hash, progress.indexed_timestamp)

    async def _store(self, session: AsyncSession, found: _Range) -> None:
        for header in sorted(found.blocks.values(), key=lambda each: each.number):
            session.add(ChainBlock(number=header.number, hash=header.hash, timestamp=header.timestamp))
        await session.flush()
        for event in found.events:
            session.add(
                ChainEventRow(
                    block_number=event.block.number,
                    log_index=event.log_index,
                    transaction_hash=event.transaction_hash,
                    contract=event.contract.value,
                    name=event.name,
                    args=args_json(event.args),
                )
            )
            for projection in self._projections:
                handler = projection.handlers.get(event.name)
                if handler is not None:
                    await handler(session, event)
        await session.flush()

    async def _forget_old(self, session: AsyncSession, final_number: int) -> None:
        """Drop hashes of old final blocks that hold no event; only unfinished blocks are ever compared."""
        with_events = exists().where(ChainEventRow.block_number == ChainBlock.number)
        await session.execute(delete(ChainBlock).where(ChainBlock.number < final_number - _KEPT_BLOCKS, ~with_events))

    async def _locked(self, session: AsyncSession, expected: ChainProgress) -> ChainProgress | None:
        """Return the progress under the indexer's lock, or None when another process has moved it."""
        await locks.take(session, _LOCK)
        row = await session.get(ChainProgress, 1, populate_existing=True)
        if row is None or (row.indexed_number, row.indexed_hash) != (expected.indexed_number, expected.indexed_hash):
            return None
        await locks.give_way(session)
        return row


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What the nodes together say of what would become final."""

    agreed: bool
    dispute: str | None = None
    hidden: int | None = None
    """Block of an event that the index lacks, as `honest` proves."""
    honest: ChainClient | None = None


async def _all_logs(client: ChainClient, addresses: Sequence[Address], first: int, last: int) -> list[RawLog]:
    """Return the logs of a range, in as many calls as the node needs."""
    try:
        return await client.logs(addresses, first, last)
    except NodeError as error:
        if first == last or not _is_too_much(error):
            raise
    middle = (first + last) // 2
    before = await _all_logs(client, addresses, first, middle)
    return before + await _all_logs(client, addresses, middle + 1, last)


def _is_too_much(error: NodeError) -> bool:
    """Whether a node refuses a range because it, or what is in it, is too much."""
    words = error.rpc_message.lower()
    return any(each in words for each in _TOO_MUCH)


def _content(each: RawLog) -> tuple[int, bytes, tuple[bytes, ...], bytes]:
    """Return what a block's receipts prove of a log."""
    return each.log_index, each.address, each.topics, each.data


def _fact(event: ChainEvent) -> Fact:
    block = event.block
    args = _packed(args_json(event.args))
    return block.number, block.hash, event.log_index, event.transaction_hash, event.contract.value, event.name, args


def _packed(args: Any) -> bytes:
    return canonical.encode(args)


def _same(progress: ChainProgress, head: Header, final: Header) -> bool:
    """Whether there is nothing new to say."""
    said = progress.head_hash, progress.final_number, progress.dispute
    return said == (head.hash, min(final.number, progress.indexed_number), None)


def _consistent(logs: Sequence[RawLog], headers: Mapping[int, Header], first: int, progress: ChainProgress) -> bool:
    """Whether headers form one chain onto the last indexed block and every log is of one of them."""
    for number, header in headers.items():
        parent = headers.get(number - 1)
        expected = parent.hash if parent is not None else progress.indexed_hash if number == first else None
        if expected is not None and header.parent_hash != expected:
            return False
    return all(
        each.block_number >= first
        and each.block_number in headers
        and headers[each.block_number].hash == each.block_hash
        for each in logs
    )


def _bloom(address: Address) -> int:
    """Return the bits of a block's bloom filter that an event of this address sets (yellow paper, 4.3.1)."""
    digest = keccak256(address)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return bits
