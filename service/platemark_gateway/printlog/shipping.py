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
import itertools
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import PlatemarkError
from platemark.protocol.checkpoint import Checkpoint, NoteKey
from platemark.protocol.log_entry import ClosedEntry, decode
from platemark.protocol.tiles import tiles_between
from platemark.protocol.typed_data import Reservation
from platemark_gateway import telemetry
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.info.lag import STATE_FILE, read_state
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
    published: tuple[bytes, Checkpoint] | None
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
    published = await asyncio.to_thread(files_of(container).published_note, key)
    size = 0 if published is None else published[1].size
    there = await asyncio.to_thread(_there, container, target, key)
    known = 0 if there is None else there.size
    if known > size:
        raise LogForkedError(f"the second place has {known} entries of this log, the gateway published {size}")
    async with container.database.read() as session:
        # Before the entries: a print that came before one of these acts is among them then.
        acts = await _forbidding(session, container)
        sizes = sorted({*await repository.root_sizes(session, head.epoch, known, size), size})
        found = await repository.entries_beyond(session, size, waiting.MOST_ENTRIES)
        newest = await repository.newest_entry(session)
        entries = _fitting(found)
        if len(entries) == waiting.MOST_ENTRIES or len(entries) < len(found):
            # Prints that came before the acts are left out: only the log's own trouble makes so many wait.
            telemetry.log().error("log.ship.cut", entries=len(entries))
            newest, acts = found[len(entries) - 1][0], Forbidding()
        else:
            acts = replace(acts, stops=[*acts.stops, *await _ended(session, entries, acts.stops)])
    beside = Waiting(head.origin, size, entries, acts)
    tail = await asyncio.to_thread(beside.encode, container.vault)
    return Round(key, there, published, sizes, tail, newest)


def _fitting(found: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Return the first entries, as many as may lie in one file."""
    ends = itertools.accumulate(len(entry) for _, entry in found)
    return [entry for (_, entry), end in zip(found, ends, strict=True) if end <= waiting.MOST_ENTRY_BYTES]


async def _forbidding(session: AsyncSession, container: Container) -> Forbidding:
    progress = await container.index.progress(session)
    if progress is None:
        return Forbidding()
    most, gateway, final = waiting.MOST_ACTS, container.vault.account, progress.final
    stopped = await repository.stopped(session, gateway, final.timestamp, most)
    stops = _stops(stopped)
    offers = await repository.offered(session, gateway, final.timestamp, most)
    recalls = await repository.recalled(session, final.number, most)
    if most in {len(stops), len(offers), len(recalls)} or len(stops) < len(stopped):
        telemetry.log().error("log.ship.acts-cut", stops=len(stops), offers=len(offers), recalls=len(recalls))
    return Forbidding(stops, [Offered(*row) for row in offers], [Recalled(*row) for row in recalls])


async def _ended(session: AsyncSession, entries: Sequence[bytes], known: Sequence[Stopped]) -> list[Stopped]:
    """Return other stops, of tokens whose last entry waits: a restore makes that again when they are stopped."""
    ended = [decode(entry).token_id for entry in entries if entry[1] == ClosedEntry.KIND]
    found = _stops(await repository.stops_of(session, ended)) if ended else []
    have = {stop.permission for stop in known}
    return [stop for stop in found if stop.permission not in have][: waiting.MOST_ACTS - len(known)]


def _stops(rows: Sequence[Row[*tuple[Any, ...]]]) -> list[Stopped]:
    found = [Stopped(Reservation(*permission), at, signature) for *permission, at, signature in rows]
    ends = itertools.accumulate(len(stop.signature) for stop in found)
    return [stop for stop, end in zip(found, ends, strict=True) if end <= waiting.MOST_SIGNATURE_BYTES]


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
        if made.published is not None and copy.read_checkpoint() != made.published[0]:
            note, checkpoint = made.published
            old = known = 0 if there is None else there.size
            for size in made.sizes:
                copy.write_tiles(_tiles(source, old, size), known)
                old = size
            if not copy.publish(note, checkpoint, there, made.key):
                return True  # the copy has moved on meanwhile: what is beside it belongs to another checkpoint
            moved = True
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
