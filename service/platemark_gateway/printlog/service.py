"""The print log: positions, tiles, head, checkpoint, anchors, quarantine.

Growth, one step after the other; each may be the last before a crash, and all may run in several processes:

1. `assign`: entries get positions, in one transaction fenced by the head's number of assigned entries. From here on
   the bytes of every tile are determined, so that whoever writes them writes the same.
2. `grow`: the tiles of the new tree are written and synced,
3. and then size and root are committed, fenced by `UPDATE … WHERE size = old`: at most one root for a size.
4. `publish`: the history is compared with the last checkpoint and the last anchor; then the root is signed, shown to
   the witnesses, and takes the checkpoint's place, atomically.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError, UpstreamError
from platemark.protocol import canonical, merkle
from platemark.protocol.canonical import JsonValue
from platemark.protocol.checkpoint import Checkpoint, NoteKey, NoteSigner, sign_checkpoint
from platemark.protocol.cid import Cid, Codec, raw_cid
from platemark.protocol.digests import sha256
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.tiles import Edge, LogReader, tiles_between
from platemark.protocol.tiles import grow as grow_log
from platemark.protocol.units import Address, Digest32, digest_text
from platemark_gateway import profiles, telemetry
from platemark_gateway.audit import journal
from platemark_gateway.clock import chain_now, is_over
from platemark_gateway.container import Container
from platemark_gateway.errors import NotFoundError, UnavailableError
from platemark_gateway.models.printlog import LogAnchor, LogHead
from platemark_gateway.ports import Contract, FactStatus, GatewayState
from platemark_gateway.printlog import repository, witnessing
from platemark_gateway.printlog.errors import LogForkedError, NotComparedError
from platemark_gateway.printlog.files import LogFiles

ASSIGNED_AT_ONCE: Final = 2048
LEAVING: Final = "a new epoch of the log is being declared"
"""Why nothing is released between the order for a new epoch and its first entry."""
_TRANSACTION: Final = "anchor"


def files_of(container: Container) -> LogFiles:
    """Return the log's folder."""
    return LogFiles(container.settings.data / "log")


async def key_of(container: Container, head: LogHead) -> NoteKey:
    """Return the public key of a head's epoch under its origin: the one in the profile that the epoch is under.

    Errors: as `profiles.profile_of`.
    """
    async with container.database.read() as session:
        profile = await profiles.profile_of(session, container, head.profile_digest)
    return NoteKey(head.origin, profile.log_key)


# --- opening ----------------------------------------------------------------------------------------------


async def open_log(container: Container) -> str | None:
    """Make the log's head exist and compare the history; call it before the gateway serves.

    Returns why nothing may be released, or None when the log may grow. A gateway that cannot ask stays closed.

    Errors: UnavailableError when the database is away.
    """
    profile = container.profile
    async with container.database.begin() as session:
        await profiles.keep(session, profile, container.clock.now())
        head = await repository.lock_head(session)
        if head is None:
            await _begin_epoch(session, container, None, profile)
        elif head.epoch == profile.epoch:
            head.profile_digest = profile.digest()
            head.merge_delay_seconds = profile.merge_delay_seconds
    await adopt(container)
    try:
        return await check(container, ask_chain=True)
    except NotComparedError as error:
        await _quarantine(container, error.message)
        return error.message


async def leave_epoch(session: AsyncSession, container: Container) -> None:
    """Close the log in the caller's transaction, which orders a new epoch: no root of this one is anchored after it."""
    head = await repository.lock_head(session)
    if head is not None:
        head.quarantine, head.quarantined_at = LEAVING, container.clock.now()
        journal.record(session, container.clock, actor=journal.GATEWAY, action="log.quarantine", subject=head.origin)


async def adopt(container: Container) -> bool:
    """Go over to the profile that the chain made final last; return whether it was another.

    Until the index has come to a declaration the log stays under the one before. A new epoch begins here, after all
    anchors of the one before it were read.

    Errors: VaultError `vault-key-missing` for a profile of this gateway whose keys the vault lacks.
    """
    async with container.database.read() as session:
        head = await repository.head(session)
        progress = await container.index.progress(session)
        if head is None or progress is None:
            return False
        found = await profiles.declarations(session, container.vault.account, up_to_block=progress.final.number)
        last = found[-1] if found else None
        known = {(one.epoch, one.profile_digest) for one in found}
        if last is None or (head.epoch, head.profile_digest) not in known - {(last.epoch, last.profile_digest)}:
            return False  # nothing later was declared, or the index has not come to what this head is under
        if last.epoch < head.epoch or not await profiles.is_ours(session, container, last.profile_digest):
            return False  # `examine` says why nothing is released
        profile = await profiles.profile_of(session, container, last.profile_digest)
        if profile.epoch != last.epoch:
            return False
    profiles.require_keys(container, profile)
    async with container.database.begin() as session:
        head = await repository.lock_head(session)
        if head is None or (head.epoch, head.profile_digest) == (profile.epoch, profile.digest()):
            return False
        if head.epoch < profile.epoch:
            await _begin_epoch(session, container, head, profile)
        else:
            head.profile_digest = profile.digest()
            head.merge_delay_seconds = profile.merge_delay_seconds
        journal.record(
            session,
            container.clock,
            actor=journal.GATEWAY,
            action="gateway.profile",
            subject=digest_text(profile.digest()),
            detail={"epoch": profile.epoch},
        )
    telemetry.log().info("gateway.profile.adopted", epoch=profile.epoch, profile=digest_text(profile.digest()))
    return True


async def _begin_epoch(
    session: AsyncSession, container: Container, old: LogHead | None, profile: GatewayProfile
) -> None:
    """Begin a profile's epoch with the entries up to the last honest anchor, byte for byte; the rest wait again."""
    now = container.clock.now()
    size, root = 0, merkle.EMPTY_ROOT
    if old is not None:
        progress = await container.index.progress(session)
        final = progress.final.number if progress else 0
        anchor = await repository.last_anchor(session, container.vault.account, old.epoch, up_to_block=final)
        if anchor is not None and await repository.root_at(session, old.epoch, anchor.size) == anchor.root:
            size, root = anchor.size, anchor.root
        await repository.release_positions(session, size)
    session.add(
        LogHead(
            epoch=profile.epoch,
            origin=profile.log_origin,
            profile_digest=profile.digest(),
            merge_delay_seconds=profile.merge_delay_seconds,
            assigned=size,
            size=size,
            root=root,
            created_at=now,
        )
    )
    await session.flush()
    if size:
        await repository.add_root(session, profile.epoch, size, root, now)
    journal.record(session, container.clock, actor=journal.GATEWAY, action="log.epoch", subject=profile.log_origin)


# --- steps 1 to 3 -----------------------------------------------------------------------------------------


async def assign(container: Container) -> int:
    """Give waiting entries their positions; return how many got one."""
    async with container.database.read() as reading:
        if not await repository.waiting(reading, 1):
            return 0
    async with container.database.begin() as session:
        head = await repository.lock_head(session)
        if head is None or head.quarantine is not None:
            return 0
        ids = await repository.waiting(session, ASSIGNED_AT_ONCE)
        if not ids:
            return 0
        if not await repository.move_assigned(session, head.epoch, head.assigned, head.assigned + len(ids)):
            raise LogForkedError("the head moved under its lock")
        await repository.place(session, ids, head.assigned)
        return len(ids)


async def grow(container: Container) -> bool:
    """Write the tiles of all assigned entries, then commit the new head; return whether the log has grown.

    Errors: LogForkedError after the log was put into quarantine, because its folder contradicts the database.
    """
    async with container.database.read() as reading:
        head = await repository.head(reading)
        if head is None or head.size == head.assigned or head.quarantine is not None:
            return False
        added = await repository.entries(reading, head.size, head.assigned)
    if len(added) != head.assigned - head.size:
        raise LogForkedError("positions of the log have gaps")
    try:
        key = await key_of(container, head)
        size, root = await asyncio.to_thread(write_tiles, files_of(container), head, added, key)
    except PlatemarkError as error:
        await _quarantine(container, f"the log's folder contradicts the database: {error.message}")
        raise
    return await commit_head(container, head, size, root)


def write_tiles(files: LogFiles, head: LogHead, added: list[bytes], key: NoteKey) -> tuple[int, Digest32]:
    """Write and sync the tiles of a head and what is added to it; return the new size and root. Blocks.

    Errors: LogForkedError; VerificationError, MalformedError for tiles that are missing or damaged.
    """
    growth = grow_log(_load_edge(files, head), added)
    published = files.published(key)
    files.write_tiles(growth.files, published.size if published else 0)
    return growth.edge.size, growth.root


async def commit_head(container: Container, head: LogHead, size: int, root: Digest32) -> bool:
    """Commit size and root, whose tiles are durable; return False when another process was first."""
    async with container.database.begin() as session:
        if not await repository.move_size(session, head.epoch, head.size, size, root):
            return False
        await repository.add_root(session, head.epoch, size, root, container.clock.now())
        if await repository.root_at(session, head.epoch, size) != root:
            raise LogForkedError(f"another root of {size} entries was committed before")
    return True


# --- step 4 -----------------------------------------------------------------------------------------------


async def publish(container: Container) -> bool:
    """Sign the head and put it in the checkpoint's place; return whether there is a new checkpoint."""
    async with container.database.read() as reading:
        head = await repository.head(reading)
    if head is None or head.quarantine is not None:
        return False
    files, key = files_of(container), await key_of(container, head)
    try:
        examined = await asyncio.to_thread(files.published, key)
        if examined is not None and (examined.size, examined.root) == (head.size, head.root):
            return False
        reason = await examine(container, ask_chain=False)
        if reason is None:
            checkpoint = Checkpoint(head.origin, head.size, head.root)
            note = sign_checkpoint(checkpoint, NoteSigner(key, partial(container.vault.sign_log, key.public_key)))
            note = await witnessing.cosigned(container, head, files, note)
            return await asyncio.to_thread(files.publish, note, checkpoint, examined, key)
    except LogForkedError as error:
        reason = error.message
    await _quarantine(container, reason)
    return False


async def ask_witnesses(container: Container) -> bool:
    """Ask the witnesses whose cosignature the published checkpoint lacks; return whether it has got one.

    Errors: UnavailableError when the database is away.
    """
    async with container.database.read() as reading:
        head = await repository.head(reading)
    if head is None or head.quarantine is not None or not container.witnesses:
        return False
    return await witnessing.catch_up(container, head, files_of(container))


async def sequence_once(container: Container) -> bool:
    """Take all four steps once; return whether anything moved."""
    assigned = await assign(container)
    grown = await grow(container)
    published = await publish(container)
    return bool(assigned) or grown or published


# --- history ----------------------------------------------------------------------------------------------


async def check(container: Container, *, ask_chain: bool) -> str | None:
    """Compare the history and set or lift the quarantine accordingly; return its reason.

    That it cannot be compared is no contradiction: the quarantine stays as it is, on or off. Only when the last
    comparison that found nothing is `compare_within_seconds` old, or there was none, nothing is released any more.

    Errors: NotComparedError with the code of what is away; UnavailableError when it is the database.
    """
    try:
        reason = await examine(container, ask_chain=ask_chain)
    except (UnavailableError, UpstreamError) as error:
        not_compared = NotComparedError(error)
        if await _is_stale(container):
            await _quarantine(container, not_compared.message)
        raise not_compared from error
    await _quarantine(container, reason, compared=ask_chain)
    return reason


async def _is_stale(container: Container) -> bool:
    """Return whether an open log must close, because its last comparison is too old to rest on."""
    async with container.database.read() as session:
        head = await repository.head(session)
    if head is None or head.quarantine is not None:
        return False
    # The time of a clock that was far ahead is none to rest on either.
    age = None if head.compared_at is None else abs(container.clock.now() - head.compared_at)
    return age is None or age > container.settings.compare_within_seconds


async def examine(container: Container, *, ask_chain: bool) -> str | None:
    """Return why the database does not continue what was published and anchored, or None when it does.

    Errors: UnavailableError when the database or the chain is away; UpstreamError when the chain's node fails.
    """
    # The log may grow meanwhile, here and in other processes: what must not be ahead of the head is read before it.
    async with container.database.read() as session:
        before = await repository.head(session)
    if before is None:
        return "the log was not opened yet"
    if await asyncio.to_thread(files_of(container).read_waiting) is not None:
        return "entries of a copy of the log wait to be counted"
    found: str | None
    try:
        ledger = await container.chain.gateway(container.vault.account) if ask_chain else None
        published = await asyncio.to_thread(files_of(container).published, await key_of(container, before))
        async with container.database.read() as session:
            anchor = await repository.last_anchor(session, container.vault.account, before.epoch)
        async with container.database.read() as session:
            head = await repository.head(session)
        if head is None or head.epoch != before.epoch:
            return await examine(container, ask_chain=ask_chain)  # a new epoch has begun
        found = (
            await _examine_point(container, head, "checkpoint", published.size, published.root) if published else None
        )
        if found is None and anchor is not None:
            found = await _examine_point(container, head, "anchor", anchor.size, anchor.root)
        if found is None and ask_chain:
            await asyncio.to_thread(_load_edge, files_of(container), head)
    except (UnavailableError, UpstreamError):
        raise
    except PlatemarkError as error:
        return f"the published log cannot be read: {error.message}"
    if found is not None or ledger is None:
        return found
    return await _examine_chain(container, head, anchor, ledger)


def _load_edge(files: LogFiles, head: LogHead) -> Edge:
    edge = Edge.load(head.size, files.read)
    if edge.root() != head.root:
        raise LogForkedError(f"the tiles of {head.size} entries have another root than the database")
    return edge


async def _examine_point(container: Container, head: LogHead, what: str, size: int, root: Digest32) -> str | None:
    if size > head.size:
        return f"the last {what} has {size} entries, the database {head.size}"
    own = await _root_at(container, head, size)
    if own != root:
        return f"the last {what}, of {size} entries, has another root than the database"
    return None


async def _examine_chain(
    container: Container, head: LogHead, anchor: LogAnchor | None, state: GatewayState
) -> str | None:
    async with container.database.read() as session:
        if not await profiles.is_ours(session, container, state.profile_digest):
            return "the ledger declares a profile that this gateway did not make, or none"
        if await _is_leaving(session, container, head):
            return LEAVING
    if state.epoch != head.epoch:
        return f"the ledger is in epoch {state.epoch}, the database in {head.epoch}"
    if state.size > head.size:
        return f"the ledger has an anchor of {state.size} entries, the database {head.size}"
    if state.size and (anchor is None or anchor.size < state.size):
        return await _examine_unread(container, head, state.size)
    return None


async def _is_leaving(session: AsyncSession, container: Container, head: LogHead) -> bool:
    """Return whether the declaration of a later epoch is on its way: nothing is anchored in this one any more."""
    for profile in await profiles.stored(session):
        if profile.epoch > head.epoch:
            view = await container.transactions.find(session, profiles.declaration_key(profile))
            if view is not None and view.status != FactStatus.FAILED:
                return True
    return False


async def _examine_unread(container: Container, head: LogHead, size: int) -> str | None:
    """Compare an anchor that the index has not come to yet: what the ledger stores with what was sent from here."""
    async with container.database.read() as session:
        sent = await repository.get_anchor(session, container.vault.account, head.epoch, size)
    if sent is None:
        return "the ledger's last anchor was not sent from this database"
    stored = await container.chain.anchor(container.vault.account, head.epoch, size)
    if stored != sha256(await _root_at(container, head, size), sent.tiles_digest):
        return f"the ledger's last anchor, of {size} entries, has another root than the database"
    return None


async def _root_at(container: Container, head: LogHead, size: int) -> Digest32:
    """Return the root that this log had at a size; from the tiles when the head never stood there."""
    if size == head.size:
        return head.root
    if size == 0:
        return merkle.EMPTY_ROOT
    async with container.database.read() as session:
        known = await repository.root_at(session, head.epoch, size)
    if known is not None:
        return known
    files = files_of(container)
    return await asyncio.to_thread(lambda: LogReader(head.size, head.root, files.read).old_root(size))


async def is_quarantined(container: Container) -> bool:
    """Return whether nothing may be released at the moment."""
    async with container.database.read() as session:
        head = await repository.head(session)
    return head is not None and head.quarantine is not None


async def _quarantine(container: Container, reason: str | None, *, compared: bool = False) -> None:
    """Set the quarantine or lift it; a comparison with the chain that found nothing is noted."""
    now = container.clock.now()
    fresh = compared and reason is None
    async with container.database.read() as reading:
        head = await repository.head(reading)
        if head is None or (head.quarantine == (reason and reason[:500]) and not fresh):
            return
    async with container.database.begin() as session:
        head = await repository.lock_head(session)
        if head is None:
            return
        if fresh:
            head.compared_at = now
        if head.quarantine == (reason and reason[:500]):
            return
        head.quarantine = reason and reason[:500]
        head.quarantined_at = None if reason is None else now
        journal.record(
            session,
            container.clock,
            actor=journal.GATEWAY,
            action="log.quarantine" if reason else "log.quarantine.lifted",
            subject=head.origin,
            detail={"reason": reason} if reason else None,
        )
    telemetry.log().warning("log.quarantine" if reason else "log.quarantine.lifted", reason=reason)


# --- anchors ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be anchored: the published checkpoint, after the last anchor on the ledger."""

    epoch: int
    checkpoint: Checkpoint
    anchored_size: int


async def request_anchor(session: AsyncSession, container: Container, actor: Address) -> None:
    """Ask the worker to anchor the log as soon as there is something new."""
    head = await repository.lock_head(session)
    if head is not None:
        head.anchor_requested_at = container.clock.now()
        journal.record(session, container.clock, actor=actor, action="log.anchor.request", subject=head.origin)


async def anchor_once(container: Container) -> bool:
    """Send the published root to the ledger if it is time; return whether a transaction was queued.

    One anchor is under way at a time, so that each lists exactly the tiles since the one before it.
    """
    due = await _due(container)
    if due is None:
        return False
    listing = await asyncio.to_thread(tiles_listing, files_of(container), due.checkpoint, due.anchored_size)
    cid = raw_cid(listing)
    await container.blocks.put(cid, listing)
    await container.blocks.pin(cid)
    async with container.database.begin() as session:
        return await _send_anchor(session, container, due, cid)


async def _due(container: Container) -> _Due | None:
    async with container.database.read() as session:
        head = await repository.head(session)
        if head is None or head.quarantine is not None:
            return None
        account = container.vault.account
        pending = await repository.pending_anchor(session, account, head.epoch)
        if pending is not None and not await _transaction_failed(session, container, pending):
            return None
        anchor = await repository.last_anchor(session, account, head.epoch)
        anchored = anchor.size if anchor else 0
        oldest = await repository.oldest_above(session, anchored)
        progress = await container.index.progress(session)
    if progress is None or oldest is None:
        return None
    now = chain_now(container.clock, progress.head.timestamp)
    if head.anchor_requested_at is None and not is_over(oldest, container.settings.anchor_seconds, now):
        return None
    published = await asyncio.to_thread(files_of(container).published, await key_of(container, head))
    if published is None or published.size <= anchored:
        return None
    return _Due(head.epoch, published, anchored)


async def _transaction_failed(session: AsyncSession, container: Container, row: LogAnchor) -> bool:
    if row.transaction_id is None:
        return True
    view = await container.transactions.view(session, row.transaction_id)
    return view is None or view.status == FactStatus.FAILED


def tiles_listing(files: LogFiles, checkpoint: Checkpoint, anchored_size: int) -> bytes:
    """Return the IPFS block that lists the tiles new since the anchor before: canonical JSON, at most 1 MiB. Blocks.

    Errors: LogForkedError when a tile of the published tree is missing.
    """
    listed: list[JsonValue] = []
    for tile in tiles_between(anchored_size, checkpoint.size):
        data = files.read(tile.path)
        if data is None:
            raise LogForkedError(f"{tile.path} of the published log is missing")
        listed.append({"path": tile.path, "sha256": digest_text(sha256(data))})
    return canonical.encode(
        {
            "version": 1,
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": digest_text(checkpoint.root),
            "tiles": listed,
        }
    )


async def list_tiles_again(container: Container) -> int:
    """Store each list of tiles that an anchor of the epoch names and that is not here; return how many there were.

    The lists follow from the tiles, so that a machine that was lost takes none of them with it.

    Errors: UnavailableError when the blocks are away.
    """
    async with container.database.read() as session:
        head = await repository.head(session)
        anchors = [] if head is None else await repository.anchors(session, container.vault.account, head.epoch)
    before, stored = 0, 0
    for anchor in anchors:
        cid = Cid(Codec.RAW, anchor.tiles_digest)
        if head is not None and not await _is_stored(container, cid):
            checkpoint = Checkpoint(head.origin, anchor.size, anchor.root)
            listing = await asyncio.to_thread(tiles_listing, files_of(container), checkpoint, before)
            if raw_cid(listing) == cid:
                await container.blocks.put(cid, listing)
                await container.blocks.pin(cid)
                stored += 1
        before = anchor.size
    return stored


async def _is_stored(container: Container, cid: Cid) -> bool:
    try:
        await container.blocks.get(cid)
    except NotFoundError:
        return False
    return True


async def _send_anchor(session: AsyncSession, container: Container, due: _Due, cid: Cid) -> bool:
    account, checkpoint = container.vault.account, due.checkpoint
    head = await repository.lock_head(session)
    if head is None or head.epoch != due.epoch or head.quarantine is not None:
        return False
    last = await repository.last_anchor(session, account, due.epoch)
    if (last.size if last else 0) != due.anchored_size:
        return False
    row = await repository.get_anchor(session, account, due.epoch, checkpoint.size)
    if row is None:
        row = LogAnchor(
            gateway=account,
            epoch=due.epoch,
            size=checkpoint.size,
            root=checkpoint.root,
            tiles_digest=cid.digest,
            created_at=container.clock.now(),
        )
        session.add(row)
    row.root, row.tiles_digest = checkpoint.root, cid.digest
    row.transaction_id = await container.transactions.enqueue(
        session,
        purpose=_TRANSACTION,
        to=container.chain.deployment.ledger,
        data=container.calls.encode(
            Contract.LEDGER, "anchor", [account, due.epoch, checkpoint.size, checkpoint.root, cid.digest]
        ),
        dedupe_key=f"anchor:{due.epoch}:{checkpoint.size}",
    )
    head.anchor_requested_at = None
    journal.record(
        session,
        container.clock,
        actor=journal.GATEWAY,
        action="log.anchor",
        subject=head.origin,
        detail={"size": checkpoint.size, "root": digest_text(checkpoint.root)},
    )
    await session.flush()
    return True
