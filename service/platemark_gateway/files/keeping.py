"""Keeps what was promised: every root is checked in turn on every node, and repaired from the other node.

1. `collect`: roots that designs, licences, profiles and anchors name get a row, as uploads did when they were stored.
2. `_claim`: one root that is due, or was never found whole on a node, is taken in hand; others leave it alone.
3. `_Check`: a bounded number of its blocks is read from each node. What one lacks comes from the other; what is
   damaged is replaced. `KeptRoot.position` carries a large file over to the next piece. A manifest names further roots.
4. When all its blocks were seen, the root is pinned, and the row says where it is whole, or what cannot be repaired.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError
from platemark.protocol.cid import Block, Cid, Codec, links_of
from platemark.protocol.manifest import Manifest
from platemark.protocol.units import UnixSeconds
from platemark_gateway import telemetry
from platemark_gateway.audit import journal
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.models.blocks import KeptRoot, Purpose
from platemark_gateway.models.design import Revision
from platemark_gateway.models.license import License
from platemark_gateway.models.printlog import LogAnchor, LogHead
from platemark_gateway.ports import BlockNode

BLOCKS_AT_ONCE: Final = 64
"""Blocks that one piece of work reads from each node: at most 64 MiB of a file's leaves."""
AGAIN_SECONDS: Final = 60
"""When a root that cannot be repaired is looked at again."""
_COLLECTED_AT_ONCE: Final = 500
_HELD_SECONDS: Final = 600
_LOST: Final = "block-not-found"
_DAMAGED: Final = "block-damaged"


# --- step 1 -----------------------------------------------------------------------------------------------


async def note(session: AsyncSession, container: Container, cid: Cid, purpose: Purpose) -> None:
    """Promise to keep a root; again is harmless. An upload that something names is that from then on."""
    now = container.clock.now()
    insert = sqlite.insert if container.database.is_sqlite else postgresql.insert
    new = insert(KeptRoot).values(
        cid=cid.text,
        raw_digest=cid.digest if cid.codec is Codec.RAW else None,
        purpose=purpose.value,
        noted_at=now,
        due_at=now,
        held_until=UnixSeconds(0),
        position=0,
    )
    await session.execute(
        new.on_conflict_do_update(
            index_elements=[KeptRoot.cid],
            set_={"purpose": new.excluded.purpose},
            where=KeptRoot.purpose == Purpose.UPLOAD.value,
        )
    )


async def collect(container: Container) -> bool:
    """Give a row to the roots that designs, licences, profiles and anchors name; return whether there may be more."""
    async with container.database.read() as session:
        found = await _named(session)
    if found:
        async with container.database.begin() as session:
            for cid, purpose in found:
                await note(session, container, cid, purpose)
    return len(found) >= _COLLECTED_AT_ONCE


async def _named(session: AsyncSession) -> list[tuple[Cid, Purpose]]:
    found: list[tuple[Cid, Purpose]] = []
    for text, purpose in ((Revision.manifest_cid, Purpose.MANIFEST), (License.terms_cid, Purpose.TERMS)):
        unknown = ~exists().where(KeptRoot.cid == text)
        query = select(text).where(text.is_not(None), unknown).distinct().limit(_COLLECTED_AT_ONCE)
        found += [(Cid.parse(each), purpose) for each in await session.scalars(query)]
    for digest, purpose in ((LogHead.profile_digest, Purpose.PROFILE), (LogAnchor.tiles_digest, Purpose.TILES)):
        unknown = ~exists().where(KeptRoot.raw_digest == digest)
        digests = await session.scalars(select(digest).where(unknown).distinct().limit(_COLLECTED_AT_ONCE))
        found += [(Cid(Codec.RAW, each), purpose) for each in digests]
    return found


# --- steps 2 to 4 -----------------------------------------------------------------------------------------


async def keep_once(container: Container) -> bool:
    """Check and repair up to `BLOCKS_AT_ONCE` blocks; return whether there is more to do at once.

    Errors: UnavailableError `ipfs-unreachable` while the primary is away; the root is looked at again.
    """
    primary, *others = container.blocks.nodes
    own = await primary.identity()
    replica = await _present(others)
    root = await _claim(container, own, None if replica is None else replica[1])
    if root is None:
        return False
    check = _Check(container, root, [primary, *([] if replica is None else [replica[0]])])
    try:
        is_done = await check.run()
    except UnavailableError:
        await _write(container, root.cid, held_until=container.clock.now() + AGAIN_SECONDS)
        raise
    if is_done:
        await _finish(container, root, check, own, None if replica is None else replica[1])
    else:
        position = root.position + BLOCKS_AT_ONCE
        await _write(container, root.cid, held_until=UnixSeconds(0), position=position, found=check.problem)
    return True


async def _present(replicas: Sequence[BlockNode]) -> tuple[BlockNode, str] | None:
    """Return the replica and its identity; None when there is none, or it is away."""
    for node in replicas:
        try:
            return node, await node.identity()
        except UnavailableError as error:
            telemetry.log().warning("blobs.replica.away", node=node.name, code=error.code)
    return None


async def _claim(container: Container, own: str, replica: str | None) -> KeptRoot | None:
    now = container.clock.now()
    # A node that took another's place has nothing until it was found whole there.
    incomplete: list[ColumnElement[bool]] = [or_(KeptRoot.whole_on.is_(None), KeptRoot.whole_on != own)]
    if replica is not None:
        incomplete.append(or_(KeptRoot.copied_to.is_(None), KeptRoot.copied_to != replica))
    wanted = or_(KeptRoot.due_at <= now, and_(KeptRoot.problem.is_(None), or_(*incomplete)))
    query = (
        select(KeptRoot)
        .where(KeptRoot.held_until <= now, wanted)
        .order_by(KeptRoot.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    async with container.database.read() as reading:
        if await reading.scalar(select(KeptRoot.cid).where(KeptRoot.held_until <= now, wanted).limit(1)) is None:
            return None
    async with container.database.begin() as session:
        found: KeptRoot | None = await session.scalar(query)
        if found is not None:
            found.held_until = UnixSeconds(now + _HELD_SECONDS)
            if found.whole_on not in {None, own}:
                found.whole_on = found.whole_at = None
            if replica is not None and found.copied_to not in {None, replica}:
                found.copied_to = found.copied_at = None
    return found


class _Check:
    """A piece of one root on the nodes that answer; `problem` is the code of what could not be repaired so far."""

    def __init__(self, container: Container, root: KeptRoot, nodes: Sequence[BlockNode]) -> None:
        self.problem = root.found
        self.manifest: bytes | None = None
        self._container = container
        self._row = root
        self._root = Cid.parse(root.cid)
        self._nodes = nodes

    async def run(self) -> bool:
        """Check the piece that begins at the row's position; return whether the root's end was reached.

        Errors: UnavailableError when a node goes away.
        """
        try:
            if self._row.position == 0:
                await self._pin(must=False)  # before anything else: what is not pinned may be collected meanwhile
            number = 0
            async for cid in self._below(self._root):
                if number >= self._row.position + BLOCKS_AT_ONCE:
                    return False
                if number >= self._row.position and cid.codec is Codec.RAW:
                    await self._block(cid)
                number += 1
            if self.problem is None:
                await self._pin(must=True)
        except UnavailableError:
            raise
        except PlatemarkError as error:
            self._note_problem(error.code)
        return True

    async def _below(self, cid: Cid) -> AsyncIterator[Cid]:
        """Yield the identifiers of a tree's blocks, in an order that never changes; nodes are read, leaves are not."""
        if cid.codec is Codec.RAW:
            yield cid
            return
        data = await self._block(cid)
        yield cid
        for child in [] if data is None else links_of(Block(cid, data)):
            async for each in self._below(child):
                yield each

    async def _block(self, cid: Cid) -> bytes | None:
        """Return a block's bytes, which every node has afterwards; None when no node has it."""
        good: bytes | None = None
        bad: list[tuple[BlockNode, str]] = []
        for node in self._nodes:
            try:
                data = await node.get(cid)
            except PlatemarkError as error:
                if error.code not in {_LOST, _DAMAGED}:
                    raise
                bad.append((node, error.code))
            else:
                good = data
        if good is None:
            self._note_problem(_DAMAGED if any(code == _DAMAGED for _, code in bad) else _LOST)
            return None
        for node, code in bad:
            await self._repair(node, cid, good, code)
        if cid == self._root and self._row.purpose == Purpose.MANIFEST:
            self.manifest = good
        return good

    async def _repair(self, node: BlockNode, cid: Cid, data: bytes, code: str) -> None:
        if code == _LOST:
            await node.put(cid, data)
        else:
            await node.replace(self._root, cid, data)
        self._count(node, "copied" if code == _LOST else "replaced")

    async def _pin(self, *, must: bool) -> None:
        for node in self._nodes:
            if await node.is_pinned(self._root):
                continue
            try:
                await node.pin(self._root)
            except PlatemarkError as error:
                if isinstance(error, UnavailableError):
                    raise
                if must:
                    self._note_problem(error.code)
            else:
                self._count(node, "pinned")

    def _note_problem(self, code: str) -> None:
        self.problem = self.problem or code

    def _count(self, node: BlockNode, act: str) -> None:
        self._container.metrics.blob_repairs.add(node.name, act)
        telemetry.log().warning("blobs.repaired", node=node.name, act=act, root=self._root.text)


async def _finish(container: Container, root: KeptRoot, check: _Check, own: str, replica: str | None) -> None:
    now = container.clock.now()
    again = AGAIN_SECONDS if check.problem else container.settings.blocks_check_seconds
    values: dict[str, Any] = {
        "held_until": UnixSeconds(0),
        "position": 0,
        "due_at": UnixSeconds(now + again),
        "problem": check.problem,
        "found": None,
    }
    if check.problem is None:
        values |= {"whole_on": own, "whole_at": now}
        if replica is not None:
            values |= {"copied_to": replica, "copied_at": now}
    async with container.database.begin() as session:
        await session.execute(update(KeptRoot).where(KeptRoot.cid == root.cid).values(**values))
        if check.manifest is not None and await _is_deposited(session, root.cid):
            await _note_named(session, container, check.manifest)
        if check.problem != root.problem:
            journal.record(
                session,
                container.clock,
                actor=journal.GATEWAY,
                action="blocks.lost" if check.problem else "blocks.found",
                subject=root.cid,
                detail={"purpose": root.purpose, "code": check.problem or root.problem},
            )
    if check.problem is not None:
        telemetry.log().error("blobs.unrepaired", root=root.cid, purpose=root.purpose, code=check.problem)


async def _is_deposited(session: AsyncSession, manifest_cid: str) -> bool:
    """Return whether the gateway compared the files that a manifest names: until then it promised only uploads."""
    deposited = select(Revision.revision).where(
        Revision.manifest_cid == manifest_cid, Revision.wrapped_package.is_not(None)
    )
    return await session.scalar(deposited.limit(1)) is not None


async def _note_named(session: AsyncSession, container: Container, data: bytes) -> None:
    """Promise to keep the files and previews that a manifest names."""
    manifest = Manifest.parse(data)
    for file in manifest.files:
        await note(session, container, file.sealed_cid, Purpose.CIPHERTEXT)
    for preview in manifest.previews:
        await note(session, container, preview, Purpose.PREVIEW)


async def _write(container: Container, cid: str, **values: Any) -> None:
    async with container.database.begin() as session:
        await session.execute(update(KeptRoot).where(KeptRoot.cid == cid).values(**values))
