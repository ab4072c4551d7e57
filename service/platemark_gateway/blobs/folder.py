"""Blocks in a folder: `<dir>/<next-to-last two characters of the CID>/<CID>`, each file one raw block.

The layout is shared with the demo and the auditor. A block is written whole and synced before its name
appears, so a name that is there names a whole block; every read is checked against the CID all the same.
"""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Final

from platemark.errors import Kind, VerificationError
from platemark.protocol.cid import Cid
from platemark_gateway.errors import GatewayError, NotFoundError, UnavailableError

_TEMPORARY: Final = ".incoming"


class FolderBlocks:
    """Implements `ports.BlockNode` in a folder; the disk's work runs in threads."""

    name = "primary"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def identity(self) -> str:
        """Return `folder`: what it has lies beside the rest of the gateway's data."""
        return "folder"

    def path(self, cid: Cid) -> Path:
        """Return where a block lies, or would lie."""
        return self._folder / cid.text[-3:-1] / cid.text

    async def put(self, cid: Cid, data: bytes) -> None:
        """Store a block; when this returns it survives a loss of power.

        Errors: VerificationError `block-mismatch`, MalformedError `too-large`; UnavailableError `blocks-unwritable`.
        """
        cid.check(data)
        await asyncio.to_thread(self._put, cid, data)

    async def get(self, cid: Cid) -> bytes:
        """Return a block's bytes, checked.

        Errors: NotFoundError `block-not-found`; GatewayError `block-damaged` when the disk changed it.
        """
        return await asyncio.to_thread(self._get, cid)

    async def pin(self, root: Cid) -> None:
        """Do nothing: a folder collects nothing."""

    async def is_pinned(self, root: Cid) -> bool:  # noqa: ARG002 (a folder keeps every root)
        """Return True: a folder collects nothing."""
        return True

    async def replace(self, root: Cid, cid: Cid, data: bytes) -> None:  # noqa: ARG002 (a folder knows no roots)
        """Store a block over a damaged one."""
        await self.put(cid, data)

    def _get(self, cid: Cid) -> bytes:
        try:
            data = self.path(cid).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError("this gateway has no such block", code="block-not-found") from error
        except OSError as error:
            raise UnavailableError("the blocks cannot be read", code="blocks-unreadable") from error
        try:
            cid.check(data)
        except VerificationError as error:
            raise GatewayError(
                "a stored block is damaged", kind=Kind.UPSTREAM, code="block-damaged", hint="fetch it from another node"
            ) from error
        return data

    def _put(self, cid: Cid, data: bytes) -> None:
        path = self.path(cid)
        try:
            if path.exists() and path.read_bytes() == data:
                return
            incoming = self._folder / _TEMPORARY
            incoming.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(exist_ok=True)
            temporary = incoming / secrets.token_hex(16)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync(path.parent)
            _sync(self._folder)
        except OSError as error:
            raise UnavailableError("the blocks cannot be written", code="blocks-unwritable") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
