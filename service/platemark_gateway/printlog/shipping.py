"""The log's tail in a second place, so that a machine that is lost takes little with it.

The second place is a folder that an operator mounts or syncs. It has the layout of the log's own folder, and `waiting`
beside it. One round, each step durable before the next:

1. the tiles of every root that was committed since the last round
2. the checkpoint
3. the entries that it does not cover, as bytes, and the acts that forbid and are in no block yet

So the copy is sound after each step, a round may be taken again, and of what was released only the last seconds are
missing; those the agents bring. Nothing waits for it: a place that is full or absent is told in the log, in the metrics
and in the health, while prints are released as before.

A folder that was shipped to holds `platemark-copy`, with a mark that the data folder remembers. Without it, the place
is not mounted, or another one is: an empty folder is never taken for a copy that was there.
"""

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError
from platemark.protocol.checkpoint import Checkpoint, NoteKey
from platemark.protocol.log_entry import ClosedEntry, decode
from platemark.protocol.tiles import tiles_between
from platemark_gateway import telemetry
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.info.lag import STATE_FILE, read_state
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import repository, waiting
from platemark_gateway.printlog.errors import LogForkedError
from platemark_gateway.printlog.files import WAITING, LogFiles, sync_folder, write_whole
from platemark_gateway.printlog.service import files_of, key_of
from platemark_gateway.printlog.waiting import Forbidding, Offered, Recalled, Stopped, Waiting

MARK_FILE: Final = "platemark-copy"


async def ship(container: Container) -> bool:
    """Bring the second place up to the log; return whether anything was new there.

    Errors: UnavailableError `ship-target` when the place is absent, full or another one; LogForkedError when what lies
        there is no beginning of this log. Nothing else is disturbed.
    """
    target = container.settings.ship_to
    if target is None:
        return False
    try:
        with _turn(container.settings.data) as is_ours:
            return is_ours and await _ship(container, target)
    except PlatemarkError as error:
        await asyncio.to_thread(_note_failure, container, error)
        raise


@contextmanager
def _turn(data: Path) -> Iterator[bool]:
    """Tell whether this process may ship now: one does at a time."""
    with (data / f".{STATE_FILE}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


@dataclass(frozen=True, slots=True)
class Round:
    """What one round writes: the log as it is, the copy as it was, and the entries beside it."""

    key: NoteKey
    there: Checkpoint | None
    published: Checkpoint | None
    sizes: Sequence[int]
    tail: bytes
    newest_entry: int


async def _ship(container: Container, target: Path) -> bool:
    made = await prepare(container, target)
    return made is not None and await asyncio.to_thread(write, container, target, made)


async def prepare(container: Container, target: Path) -> Round | None:
    """Return what a round is to write, or None while a restore is not counted: it must not be taken for the whole.

    Errors: as `ship`.
    """
    async with container.database.read() as session:
        head = await repository.head(session)
    if head is None or head.quarantine is not None:
        return None
    key = await key_of(container, head)
    # In this order: what is not in the checkpoint is among the entries, which are read after it.
    published = await asyncio.to_thread(files_of(container).published, key)
    size = 0 if published is None else published.size
    there = await asyncio.to_thread(_there, container, target, key)
    known = 0 if there is None else there.size
    if known > size:
        raise LogForkedError(f"the second place has {known} entries of this log, the gateway published {size}")
    async with container.database.read() as session:
        # Before the entries: a print that came before one of these acts is among them then.
        acts = await _forbidding(session, container)
        sizes = sorted({*await repository.root_sizes(session, head.epoch, known, size), size})
        entries = await repository.entries_beyond(session, size, waiting.MOST_ENTRIES)
        newest = await repository.newest_entry(session)
        stops = [*acts.stops, *await _ended(session, [entry for _, entry in entries])]
        acts = replace(acts, stops=list(dict.fromkeys(stops)))
    if len(entries) == waiting.MOST_ENTRIES:
        newest = entries[-1][0]
        acts = Forbidding()
    tail = Waiting(head.origin, size, [entry for _, entry in entries], acts).encode(container.vault)
    return Round(key, there, published, sizes, tail, newest)


async def _forbidding(session: AsyncSession, container: Container) -> Forbidding:
    progress = await container.index.progress(session)
    if progress is None:
        return Forbidding()
    most = waiting.MOST_ACTS
    gateway = container.vault.account
    return Forbidding(
        [*_stops(await repository.stopped(session, gateway, most))],
        [
            Offered(row.token_id, row.closing_released or 0, row.closing_voided or 0, row.closing_until)
            for row in await repository.offered(session, gateway, progress.final.timestamp, most)
            if row.closing_until is not None
        ],
        [
            Recalled(row.design_id, row.revision, row.recall_signed_at, row.recall_reason)
            for row in await repository.recalled(session, progress.final.number, most)
            if row.recall_signed_at is not None and row.recall_reason is not None
        ],
    )


async def _ended(session: AsyncSession, entries: Sequence[bytes]) -> Iterator[Stopped]:
    """Return the stops of tokens whose last entry waits: a restore makes that entry again, if they are stopped."""
    closings = (entry for entry in entries if entry[1] == ClosedEntry.KIND)
    return _stops(await repository.tokens(session, [decode(entry).token_id for entry in closings]))


def _stops(rows: Sequence[Token]) -> Iterator[Stopped]:
    for row in rows:
        if row.stopped_at is not None and row.stop_signature is not None:
            yield Stopped(row.token_id, row.stopped_at, row.stop_signature)


def _there(container: Container, target: Path, key: NoteKey) -> Checkpoint | None:
    """Return the checkpoint that lies in the second place, which is marked at the first meeting. Blocks."""
    remembered = read_state(container.settings.data).get("mark")
    mark = target / MARK_FILE
    try:
        if not target.is_dir():
            raise _absent("is not there")
        if not mark.exists():
            if remembered is not None:
                raise _absent(f"has lost its {MARK_FILE}: it is not mounted, or another folder")
            if any(target.iterdir()):
                raise _absent("is not empty, and no copy of a log")
            _write_durably(mark, f"{key.name.rpartition('/')[0]} {secrets.token_hex(16)}\n".encode())
        text = mark.read_text("ascii", errors="replace")
        if remembered not in {None, text} or not text.startswith(key.name.rpartition("/")[0] + " "):
            raise _absent("is the copy of another log")
        if remembered is None:
            _remember(container, mark=text)
        return LogFiles(target).published(key)
    except OSError as error:
        raise _absent(f"cannot be used: {os.strerror(error.errno or 0)}") from error


def write(container: Container, target: Path, made: Round) -> bool:
    """Take steps 1 to 3; return whether anything was new. Blocks.

    Errors: as `ship`.
    """
    source, copy, there = files_of(container), LogFiles(target), made.there
    moved = False
    try:
        note = source.read_checkpoint()
        if made.published is not None and (made.published != there or copy.read_checkpoint() != note):
            old = known = 0 if there is None else there.size
            for size in made.sizes:
                copy.write_tiles(_tiles(source, old, size), known)
                old = size
            if note is not None and source.published(made.key) == made.published:
                moved = copy.publish(note, made.published, there, made.key)
        if copy.read_waiting() != made.tail:
            _write_durably(target / WAITING, made.tail)
            moved = True
    except OSError as error:
        raise _absent(f"cannot be written: {os.strerror(error.errno or 0)}") from error
    _remember(container, entryId=made.newest_entry, failing=None)
    return moved


def _tiles(source: LogFiles, old: int, size: int) -> Mapping[str, bytes]:
    found = {}
    for tile in tiles_between(old, size):
        data = source.read(tile.path)
        if data is None:
            raise LogForkedError(f"{tile.path} of the published log is missing")
        found[tile.path] = data
    return found


# --- what is known of it ----------------------------------------------------------------------------------


def _note_failure(container: Container, error: PlatemarkError) -> None:
    if read_state(container.settings.data).get("failing") != error.code:
        telemetry.log().error("log.ship.failed", code=error.code, reason=error.message)
        _remember(container, failing=error.code)


def _remember(container: Container, **changes: Any) -> None:
    data = container.settings.data
    found = read_state(data)
    changed = {**found, **changes}
    if changed != found:
        text = json.dumps({**changed, "at": container.clock.now()})
        _write_durably(data / STATE_FILE, text.encode())


def _write_durably(path: Path, data: bytes) -> None:
    write_whole(path, data)
    sync_folder(path.parent)


def _absent(why: str) -> UnavailableError:
    return UnavailableError(
        f"the second place of the log {why}",
        code="ship-target",
        retry_after_seconds=30,
        hint="mount it, or make room; prints are released meanwhile",
    )
