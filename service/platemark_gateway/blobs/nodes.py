"""A primary block node and its replica as one store.

A write is acknowledged when the primary has it; the replica gets it at once if it answers quickly, and otherwise from
the worker (`files/keeping.py`). A read goes on to the other node when one is away, lacks the block or returns other
bytes. Which node was away a moment ago is remembered, so that it holds up few requests; it is asked again by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from platemark.errors import PlatemarkError
from platemark.protocol.cid import Cid
from platemark_gateway import telemetry
from platemark_gateway.clock import Clock
from platemark_gateway.errors import NotFoundError, UnavailableError
from platemark_gateway.metrics import Metrics
from platemark_gateway.ports import BlockNode

_AWAY_SECONDS: Final = 10.0
"""For how long a node that was away is asked last, and gets no copies."""
_COPY_SECONDS: Final = 2.0
"""What a write waits for the replica at most."""
_STATE_SECONDS: Final = 3.0
_UNWRITABLE_SECONDS: Final = 60.0
"""For how long a node that could not store is said to be ill, unless it stores something before."""


class NodeBlocks:
    """Implements `ports.BlockStore` with one node or two."""

    def __init__(self, nodes: Sequence[BlockNode], clock: Clock, metrics: Metrics) -> None:
        """Take the primary and perhaps a replica; nothing is called yet."""
        self.nodes = tuple(nodes)
        self.has_replica = len(self.nodes) > 1
        self._clock = clock
        self._metrics = metrics
        self._away_until = {node.name: 0.0 for node in nodes}
        self._unwritable_until = {node.name: 0.0 for node in nodes}

    async def put(self, cid: Cid, data: bytes) -> None:
        """Store a block on the primary, and on the replica if it answers; errors: those of the primary."""
        cid.check(data)
        primary, *replicas = self.nodes
        copying = [asyncio.create_task(self._copy(node, cid, data)) for node in replicas if not self._is_away(node)]
        try:
            async with self._writing(primary, "put"):
                await primary.put(cid, data)
        finally:
            await asyncio.gather(*copying)

    async def get(self, cid: Cid) -> bytes:
        """Return a block's bytes from the first node that has them.

        Errors: UnavailableError when a node that might have it is away; `block-damaged`; NotFoundError
            `block-not-found` when every node says so.
        """
        errors: list[PlatemarkError] = []
        for node in sorted(self.nodes, key=self._is_away):  # stable: the primary first among equals
            try:
                async with self._timed(node, "get"):
                    return await node.get(cid)
            except PlatemarkError as error:
                errors.append(error)
                if error.code == "block-damaged":
                    telemetry.log().error("blobs.node.damaged", node=node.name, cid=cid.text)
        raise min(errors, key=_weight)

    async def pin(self, root: Cid) -> None:
        """Keep everything below `root`.

        Errors: UnavailableError `ipfs-unreachable`, also when the primary lost a block since it was stored.
        """
        primary, *replicas = self.nodes
        try:
            async with self._writing(primary, "pin"):
                await primary.pin(root)
        except NotFoundError as error:
            raise UnavailableError("the IPFS node lost what was just stored", code="ipfs-unreachable") from error
        for node in replicas:
            if not self._is_away(node):
                try:
                    async with self._writing(node, "pin"), _at_most(_COPY_SECONDS):
                        await node.pin(root)
                except PlatemarkError:
                    continue  # the worker copies what it lacks, and pins it

    async def states(self) -> Mapping[str, str]:
        """Return each node's state by its name: `ok`, or the code of what keeps it from serving."""
        found = await asyncio.gather(*(self._state(node) for node in self.nodes))
        return {node.name: state for node, state in zip(self.nodes, found, strict=True)}

    async def _state(self, node: BlockNode) -> str:
        try:
            async with _at_most(_STATE_SECONDS):
                await node.identity()
        except PlatemarkError as error:
            return error.code
        is_writable = self._clock.monotonic() >= self._unwritable_until[node.name]
        return "ok" if is_writable else "ipfs-unreachable"

    async def _copy(self, node: BlockNode, cid: Cid, data: bytes) -> None:
        try:
            async with self._writing(node, "put"), _at_most(_COPY_SECONDS):
                await node.put(cid, data)
        except PlatemarkError as error:
            telemetry.log().warning("blobs.replica.behind", node=node.name, code=error.code)

    def _is_away(self, node: BlockNode) -> bool:
        return self._clock.monotonic() < self._away_until[node.name]

    @asynccontextmanager
    async def _writing(self, node: BlockNode, call: str) -> AsyncIterator[None]:
        """Time a call that stores, and remember whether the node can."""
        try:
            async with self._timed(node, call):
                yield
        except UnavailableError:
            self._unwritable_until[node.name] = self._clock.monotonic() + _UNWRITABLE_SECONDS
            raise
        self._unwritable_until[node.name] = 0.0

    @asynccontextmanager
    async def _timed(self, node: BlockNode, call: str) -> AsyncIterator[None]:
        began = self._clock.monotonic()
        try:
            yield
        except PlatemarkError as error:
            self._metrics.blob_failures.add(node.name, call, error.code)
            if isinstance(error, UnavailableError):
                self._away_until[node.name] = self._clock.monotonic() + _AWAY_SECONDS
            raise
        else:
            self._away_until[node.name] = 0.0
        finally:
            self._metrics.blob_seconds.observe(self._clock.monotonic() - began, node.name, call)


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise UnavailableError("a block node is too slow", code="ipfs-unreachable") from error


def _weight(error: PlatemarkError) -> int:
    """Order the nodes' refusals: what may pass by itself first, the certain absence last."""
    if isinstance(error, UnavailableError):
        return 0
    return 2 if isinstance(error, NotFoundError) else 1
