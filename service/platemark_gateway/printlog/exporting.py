"""The log and what an audit of it reads, as a folder that any static host can serve.

    checkpoint                 the signed checkpoint, with its witnesses' lines
    tile/<L>/<N>[.p/<W>]       the tiles of the log, and the partial ones that an anchor lists
    ipfs/<cid>                 raw blocks: the gateway's profiles, the anchors' lists of tiles, manifests, terms

Each file is whole and synced before its name is there, and the checkpoint comes last: a folder that is served while it
is written, or whose writing was killed, is a sound log at all times. The same again goes on where it was; files that
are there stay. Nothing of it is secret, and nothing needs to be running.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import select

from platemark.protocol.car import write_car
from platemark.protocol.checkpoint import Checkpoint, Note, NoteKey, open_checkpoint
from platemark.protocol.cid import Block, Cid, Codec, directory_blocks, raw_block, raw_cid
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.tiles import tiles_between
from platemark_gateway.db.session import Database, ReadSession
from platemark_gateway.errors import NotFoundError, UnavailableError
from platemark_gateway.models.profile import StoredProfile
from platemark_gateway.ports import BlockStore
from platemark_gateway.printlog import errors, repository
from platemark_gateway.printlog.errors import LogForkedError
from platemark_gateway.printlog.files import LogFiles, sync_folder, write_whole

BLOCKS: Final = "ipfs"


@dataclass(frozen=True, slots=True)
class Exported:
    """What a folder holds now: entries of the log, files of its tree, blocks, and blocks that could not be had."""

    size: int
    tiles: int
    blocks: int
    missing: int


@dataclass(frozen=True, slots=True)
class _Named:
    """What the database names: the log's key, the sizes at which it was anchored, profiles, and other blocks."""

    key: NoteKey
    anchored: Sequence[int]
    profiles: Sequence[bytes]
    blocks: Sequence[Cid]


async def export(database: Database, blocks: BlockStore, source: LogFiles, target: Path) -> Exported:
    """Bring a folder up to the published log, beside a gateway that may be running; return what it holds.

    Errors: NotFoundError `log-empty` before the first checkpoint; LogForkedError when the folder holds another log, or
        the log lacks a tile; UnavailableError `export-target` when the folder cannot be written, or others.
    """
    async with database.read() as session:
        named = await _named(session)
    note = await asyncio.to_thread(source.read_checkpoint)
    if named is None or note is None:
        raise errors.log_empty()
    checkpoint = open_checkpoint(note, named.key)
    written, missing = 0, 0
    try:
        tiles = await asyncio.to_thread(_write_tiles, source, LogFiles(target), checkpoint, named)
        for data in named.profiles:
            written += await asyncio.to_thread(_write_block, target, raw_cid(data), data)
        for cid in named.blocks:
            try:
                data = await blocks.get(cid)
            except NotFoundError:
                missing += 1
            else:
                written += await asyncio.to_thread(_write_block, target, cid, data)
        await asyncio.to_thread(_publish, LogFiles(target), note, checkpoint, named.key)
    except OSError as error:
        raise _unwritable(error) from error
    return Exported(checkpoint.size, tiles, written, missing)


@dataclass(frozen=True, slots=True)
class Car:
    """What a CAR holds: how many blocks, and the directory that is the log, `checkpoint` and `tile/…`."""

    blocks: int
    root: Cid


def export_car(source: Path, file: Path) -> Car:
    """Write an exported folder as one CAR file, each block once: the log as a directory, and its documents.

    Its roots are the directory and each document, so that a node that imports it pins everything.

    Errors: NotFoundError `log-empty`; UnavailableError `export-target`.
    """
    tree = _log_files(source)
    if not tree:
        raise errors.log_empty()
    sizes = {name: path.stat().st_size for name, path in tree.items()}
    directories = list(directory_blocks({name: _raw(path).cid for name, path in tree.items()}, sizes))
    documents = [path for path in sorted((source / BLOCKS).iterdir()) if not path.name.startswith(".")]
    roots = [directories[-1].cid, *(_raw(path).cid for path in documents)]
    given: set[Cid] = set()

    def blocks() -> Iterator[Block]:
        yield from directories
        for path in (*tree.values(), *documents):
            block = _raw(path)
            if block.cid not in given:
                given.add(block.cid)
                yield block

    temporary = file.with_name(f".{file.name}.part")
    try:
        with temporary.open("wb") as stream:
            for piece in write_car(roots, blocks()):
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritable(error) from error
    return Car(len(directories) + len(given), roots[0])


def _log_files(source: Path) -> dict[str, Path]:
    """Return the checkpoint and the tiles of an exported folder by their paths in it."""
    paths = [source / "checkpoint", *sorted((source / "tile").rglob("*"))]
    return {
        path.relative_to(source).as_posix(): path for path in paths if path.is_file() and not path.name.startswith(".")
    }


def _raw(path: Path) -> Block:
    return raw_block(path.read_bytes())


async def _named(session: ReadSession) -> _Named | None:
    head = await repository.head(session)
    stored = None if head is None else await session.get(StoredProfile, head.profile_digest)
    if head is None or stored is None:
        return None
    profile = GatewayProfile.parse(stored.profile)
    anchors = await repository.anchors(session, profile.gateway, head.epoch)
    return _Named(
        key=NoteKey(head.origin, profile.log_key),
        anchored=[anchor.size for anchor in anchors],
        profiles=(await session.scalars(select(StoredProfile.profile))).all(),
        blocks=[
            *(Cid(Codec.RAW, anchor.tiles_digest) for anchor in anchors),
            *await repository.documents(session),
        ],
    )


def _write_tiles(source: LogFiles, target: LogFiles, checkpoint: Checkpoint, named: _Named) -> int:
    """Write the tiles that the log has now and those that its anchors list; return how many there are. Blocks."""
    sizes = sorted({size for size in named.anchored if size < checkpoint.size} | {checkpoint.size})
    present = target.read_checkpoint()
    if present is not None and _log_of(Note.parse(present).text) != _log_of(checkpoint.origin):
        raise LogForkedError("the folder holds the log of another gateway")
    there = target.published(named.key)
    old = written = 0
    for size in sizes:
        for tile in tiles_between(old, size):
            data = source.read(tile.path)
            if data is None:
                raise LogForkedError(f"{tile.path} of the published log is missing")
            target.write_tiles({tile.path: data}, 0 if there is None else there.size)
            written += 1
        old = size
    return written


def _unwritable(error: OSError) -> UnavailableError:
    return UnavailableError(f"the export cannot be written: {os.strerror(error.errno or 0)}", code="export-target")


def _log_of(text: str) -> str:
    """Return an origin without its epoch, from a checkpoint's text or the origin alone."""
    return text.partition("\n")[0].rpartition("/")[0]


def _write_block(target: Path, cid: Cid, data: bytes) -> int:
    """Write a block unless it is there; return 1. Blocks."""
    folder = target / BLOCKS
    path = folder / cid.text
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        sync_folder(folder)
    return 1


def _publish(target: LogFiles, note: bytes, checkpoint: Checkpoint, key: NoteKey) -> None:
    """Put the checkpoint in its place, unless a later one is there. Blocks."""
    there = target.published(key)
    if there is None or there.size <= checkpoint.size:
        target.publish(note, checkpoint, there, key)
