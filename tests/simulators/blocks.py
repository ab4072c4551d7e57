"""A block node in memory, as strict as a real one, which can be broken on purpose."""

from collections.abc import Callable
from dataclasses import dataclass

from platemark.errors import UpstreamError, VerificationError
from platemark.protocol.cid import Block, Cid, links_of
from platemark_gateway.errors import NotFoundError, UnavailableError
from platemark_gateway.ports import BlockNode


@dataclass(frozen=True)
class Breakable:
    """A node, and ways to lose or damage a block behind its back."""

    node: BlockNode
    lose: Callable[[Cid], object]
    damage: Callable[[Cid], object]


class MemoryBlocks:
    """Implements `BlockNode`; every block is checked on the way in and out."""

    def __init__(self, name: str = "primary") -> None:
        self.name = name
        self.peer = f"peer of the {name}"
        self.blocks: dict[str, bytes] = {}
        self.pinned: set[str] = set()
        self.is_away = False
        self.reads = 0

    async def identity(self) -> str:
        """Return the node's name among all nodes."""
        self._require_here()
        return self.peer

    async def put(self, cid: Cid, data: bytes) -> None:
        """Store a block; one that is there stays as it is, as in Kubo."""
        self._require_here()
        cid.check(data)
        self.blocks.setdefault(cid.text, data)

    async def get(self, cid: Cid) -> bytes:
        """Return a block."""
        self._require_here()
        self.reads += 1
        if cid.text not in self.blocks:
            raise NotFoundError("no such block", code="block-not-found")
        data = self.blocks[cid.text]
        try:
            cid.check(data)
        except VerificationError as error:
            raise UpstreamError("another block", code="block-damaged") from error
        return data

    async def pin(self, root: Cid) -> None:
        """Pin what is whole."""
        self._require_here()
        await self._require_whole(root)
        self.pinned.add(root.text)

    async def is_pinned(self, root: Cid) -> bool:
        """Return whether the root was pinned."""
        self._require_here()
        return root.text in self.pinned

    async def replace(self, root: Cid, cid: Cid, data: bytes) -> None:
        """Store a block in the place of a damaged one; the root's pin is gone."""
        self._require_here()
        self.pinned.discard(root.text)
        self.blocks.pop(cid.text, None)
        await self.put(cid, data)

    async def _require_whole(self, cid: Cid) -> None:
        for child in links_of(Block(cid, await self.get(cid))):
            await self._require_whole(child)

    def _require_here(self) -> None:
        if self.is_away:
            raise UnavailableError("the IPFS node cannot be reached", code="ipfs-unreachable")
