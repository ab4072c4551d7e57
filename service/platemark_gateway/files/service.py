"""Uploads become IPFS blocks; memory is a few blocks whatever the file's size.

An upload is first written to a temporary file: a sender that breaks off leaves no blocks, and one that is slow
holds neither a thread nor a transaction.
"""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO, Final

from starlette.requests import ClientDisconnect

from platemark.errors import MalformedError
from platemark.protocol.cid import Cid, unixfs_blocks
from platemark.protocol.units import Address, Digest32
from platemark_gateway.audit import journal
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.files import keeping
from platemark_gateway.files.schemas import BlobAnswer
from platemark_gateway.models.blocks import Purpose

_CHUNK_BYTES: Final = 1 << 20


async def store(
    container: Container, actor: Address, body: AsyncIterator[bytes], declared_bytes: int | None
) -> BlobAnswer:
    """Store a file's blocks and return what it became; the root is pinned, and kept from now on.

    Errors: MalformedError `upload-broken` when fewer bytes came than were declared; UnavailableError of the store, and
        `blocks-unwritable` when there is no room for the temporary file.
    """
    with _room(), tempfile.TemporaryFile(dir=container.settings.data) as file:
        size, digest = await _receive(file, body)
        if declared_bytes is not None and size != declared_bytes:
            raise MalformedError(f"{size} of {declared_bytes} bytes came", code="upload-broken")
        file.seek(0)
        root = await _store_blocks(container, file)
    async with container.database.begin() as session:
        await keeping.note(session, container, root, Purpose.UPLOAD)
        journal.record(
            session, container.clock, actor=actor, action="blob.store", subject=root.text, detail={"bytes": size}
        )
    return BlobAnswer(cid=root.text, bytes=size, sha256=digest)


@contextlib.contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"the gateway cannot take a file now: {os.strerror(error.errno or 0)}",
            code="blocks-unwritable",
            retry_after_seconds=30,
        ) from error


async def _receive(file: IO[bytes], body: AsyncIterator[bytes]) -> tuple[int, Digest32]:
    digest = hashlib.sha256()
    size = 0
    pending = bytearray()
    try:
        async for chunk in body:
            digest.update(chunk)
            size += len(chunk)
            pending += chunk
            if len(pending) >= _CHUNK_BYTES:
                await asyncio.to_thread(file.write, bytes(pending))
                pending.clear()
    except ClientDisconnect as error:
        raise MalformedError("the upload ended early", code="upload-broken") from error
    await asyncio.to_thread(file.write, bytes(pending))
    return size, Digest32(digest.digest())


async def _store_blocks(container: Container, file: IO[bytes]) -> Cid:
    root: Cid | None = None
    blocks = unixfs_blocks(_chunks(file))
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        await container.blocks.put(block.cid, block.data)
        root = block.cid
    if root is None:
        raise AssertionError("unreachable: an empty file has one block")
    await container.blocks.pin(root)
    return root


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
