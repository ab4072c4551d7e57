"""Where IPFS blocks come from: a folder, a trustless HTTP gateway, or several of these in turn.

Every block is checked against its identifier before anybody sees it, so no source needs to be believed.

Source: IPFS trustless gateway specification (`application/vnd.ipld.raw`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from platemark.errors import Kind, LocalError, PlatemarkError, RefusedError, UpstreamError, VerificationError
from platemark.protocol.cid import MAX_BLOCK_BYTES, Cid, read_file
from platemark.sdk.files import make_folder, read_limited, write_whole
from platemark.sdk.transport import Deadlines, Retries, Transport

_BLOCK_DEADLINES: Final = Deadlines(connect_seconds=5, silence_seconds=20, total_seconds=60)


class BlockSource(Protocol):
    """Something that may have blocks."""

    def get(self, cid: Cid) -> bytes:
        """Return a block that fits its identifier.

        Errors: UpstreamError `block-unavailable`; others of the source when it cannot be reached.
        """
        ...


class FolderSource:
    """Blocks in a folder: `<folder>/<the two characters before the last>/<cid>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"FolderSource({self.folder})"

    def path(self, cid: Cid) -> Path:
        """Return where a block lies."""
        return self.folder / cid.text[-3:-1] / cid.text

    def get(self, cid: Cid) -> bytes:
        """Return a block that fits its identifier; UpstreamError `block-unavailable`."""
        try:
            data = read_limited(self.path(cid), max_bytes=MAX_BLOCK_BYTES)
        except LocalError as error:
            if error.code != "file-missing":
                raise
            raise unavailable(cid) from error
        cid.check(data)
        return data

    def put(self, cid: Cid, data: bytes) -> None:
        """Keep a block, after checking it."""
        cid.check(data)
        path = self.path(cid)
        if not path.exists():
            make_folder(path.parent)
            write_whole(path, data, mode=0o644)


class ExportedSource(FolderSource):
    """Blocks in a folder that a static host may serve as a trustless gateway: `<folder>/ipfs/<cid>`."""

    def path(self, cid: Cid) -> Path:
        """Return where a block lies."""
        return self.folder / "ipfs" / cid.text


class GatewaySource:
    """Blocks from a trustless HTTP gateway; a Platemark gateway is one."""

    def __init__(self, url: str, *, transport: Transport | None = None) -> None:
        """Errors: UsageError `gateway-url`."""
        self._transport = transport or Transport(url, deadlines=_BLOCK_DEADLINES, retries=Retries(attempts=2))
        self.url = self._transport.base_url

    def __repr__(self) -> str:
        return f"GatewaySource({self.url})"

    def close(self) -> None:
        """Close connections."""
        self._transport.close()

    def get(self, cid: Cid) -> bytes:
        """Return a block that fits its identifier; UpstreamError `block-unavailable` when it is not there."""
        try:
            answer = self._transport.call(
                "GET",
                f"/ipfs/{cid.text}",
                params={"format": "raw"},
                headers={"Accept": "application/vnd.ipld.raw"},
                max_bytes=MAX_BLOCK_BYTES,
            )
        except RefusedError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            raise unavailable(cid) from error
        cid.check(answer.body)
        return answer.body


class SeveralSources:
    """Blocks from the first source that has the right one."""

    def __init__(self, sources: Sequence[BlockSource]) -> None:
        self.sources = tuple(sources)

    def get(self, cid: Cid) -> bytes:
        """Return a block that fits its identifier.

        Errors: VerificationError `block-mismatch` when all that answered gave wrong bytes; UpstreamError
            `block-unavailable` otherwise.
        """
        wrong: VerificationError | None = None
        last: PlatemarkError | None = None
        for source in self.sources:
            try:
                return source.get(cid)
            except VerificationError as error:
                wrong = error
            except (UpstreamError, RefusedError, LocalError) as error:
                last = error
        raise wrong or unavailable(cid) from last


def read_sealed(source: BlockSource, root: Cid, *, max_bytes: int) -> Iterator[bytes]:
    """Yield a file's bytes, each block checked; errors as `read_file` and the source's."""
    return read_file(root, source.get, max_bytes=max_bytes)


def unavailable(cid: Cid) -> UpstreamError:
    """Return the error that says that nobody who was asked has a block."""
    return UpstreamError(
        f"nobody who was asked has the block {cid.text}",
        code="block-unavailable",
        hint="name another source of blocks: --ipfs URL or a folder",
    )
