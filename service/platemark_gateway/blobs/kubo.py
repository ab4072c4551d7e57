"""Blocks in a Kubo node, through `ipfshttpclient`; synchronous underneath, so it runs in threads with deadlines.

`Client` is used rather than `connect`, which refuses Kubo's present versions. The node is never believed: what it
stores and what it returns is checked against the CID. It is asked for what it has itself (`offline`), so that nobody
can make this gateway fetch from the rest of IPFS.
"""

import asyncio
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, Final, TypeVar

from platemark.errors import Kind, UpstreamError, VerificationError
from platemark.protocol.cid import Cid, Codec
from platemark_gateway.errors import GatewayError, NotFoundError, UnavailableError

T = TypeVar("T")

_CODECS: Final = {Codec.RAW: "raw", Codec.DAG_PB: "dag-pb"}
_OFFLINE: Final = {"offline": "true"}
_AT_ONCE: Final = 16
_RETRY_SECONDS: Final = 10


class KuboBlocks:
    """Implements `ports.BlockNode` with a Kubo node's API.

    Its calls have threads of their own: a node that hangs holds up nothing else in this process.
    """

    def __init__(self, api: str, *, name: str = "primary", timeout_seconds: float) -> None:
        """Take the API's multiaddress, such as /ip4/127.0.0.1/tcp/5001; nothing is called yet."""
        self.name = name
        self._api = api
        self._timeout = timeout_seconds
        self._client: Any = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"kubo-{name}")

    async def identity(self) -> str:
        """Return the node's peer id; errors: UnavailableError `ipfs-unreachable`."""
        return await self._call(lambda: str(self._kubo().id(timeout=self._timeout)["ID"]))

    async def version(self) -> str:
        """Return the node's version; errors: UnavailableError `ipfs-unreachable`."""
        return await self._call(lambda: str(self._kubo().version()["Version"]))

    async def put(self, cid: Cid, data: bytes) -> None:
        """Store a block.

        Errors: VerificationError `block-mismatch`, also when the node stored it under another CID;
            UnavailableError `ipfs-unreachable`, also when the node cannot store, its disk being full for example.
        """
        cid.check(data)

        def put() -> str:
            options = {"cid-codec": _CODECS[cid.codec], "mhtype": "sha2-256", "pin": "false"}
            stored: dict[str, Any] = self._kubo().block.put(BytesIO(data), opts=options)
            return str(stored["Key"])

        stored = await self._call(put, is_writing=True)
        if stored != cid.text:
            raise VerificationError(
                "the IPFS node stored the block under another identifier",
                step="block",
                code="block-mismatch",
                expected=cid.text,
                found=stored,
            )

    async def get(self, cid: Cid) -> bytes:
        """Return a block's bytes, checked.

        Errors: NotFoundError `block-not-found`; UpstreamError `block-damaged`; UnavailableError `ipfs-unreachable`.
        """
        data = await self._call(lambda: bytes(self._kubo().block.get(cid.text, opts=_OFFLINE)))
        try:
            cid.check(data)
        except VerificationError as error:
            raise UpstreamError("the IPFS node returned another block", code="block-damaged") from error
        return data

    async def pin(self, root: Cid) -> None:
        """Keep everything below `root`; again is harmless.

        Errors: NotFoundError `block-not-found` when a block is missing; UnavailableError `ipfs-unreachable`.
        """
        await self._call(lambda: self._kubo().pin.add(root.text, recursive=True, opts=_OFFLINE), is_writing=True)

    async def is_pinned(self, root: Cid) -> bool:
        """Return whether the root itself is pinned, with everything below it."""
        try:
            await self._call(lambda: self._kubo().pin.ls(root.text, type="recursive"))
        except NotFoundError:
            return False
        return True

    async def replace(self, root: Cid, cid: Cid, data: bytes) -> None:
        """Store a block below `root` in the place of a damaged one, which Kubo would otherwise keep.

        Kubo removes nothing that is pinned, so the root's pin goes first; whoever calls pins it again.

        Errors: those of `put`; GatewayError `block-damaged` when another pin holds the damaged block.
        """
        cid.check(data)

        def remove() -> str | None:
            kubo = self._kubo()
            # ipfshttpclient has no `block.rm`; this is the call underneath its other methods.
            answers = kubo._client.request("/block/rm", (cid.text,), opts={"force": "true"}, decoder="json")  # noqa: SLF001
            return next((str(answer["Error"]) for answer in answers if answer.get("Error")), None)

        if await self.is_pinned(root):
            await self._call(lambda: self._kubo().pin.rm(root.text))
        held = await self._call(remove)
        if held is not None:
            raise GatewayError(
                "the IPFS node does not let go of a damaged block",
                kind=Kind.UPSTREAM,
                code="block-damaged",
                hint="another file shares it: stop the node, remove the block's file, start the node",
            )
        await self.put(cid, data)

    async def _call(self, call: Callable[[], T], *, is_writing: bool = False) -> T:
        import ipfshttpclient.exceptions as kubo

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):  # waiting for a thread included
                return await loop.run_in_executor(self._threads, call)
        except kubo.ErrorResponse as error:
            if _is_missing(str(error)):
                raise NotFoundError("the IPFS node has no such block", code="block-not-found") from error
            if is_writing and _is_of_the_server(error):
                raise UnavailableError(
                    "the IPFS node cannot store anything now",
                    code="ipfs-unreachable",
                    retry_after_seconds=_RETRY_SECONDS,
                ) from error
            raise UpstreamError("the IPFS node refuses", code="ipfs-refused") from error
        except (kubo.Error, TimeoutError) as error:
            raise UnavailableError(
                "the IPFS node cannot be reached", code="ipfs-unreachable", retry_after_seconds=_RETRY_SECONDS
            ) from error

    def _kubo(self) -> Any:
        with self._lock:
            if self._client is None:
                import ipfshttpclient

                # urllib3 says on each request that a parameter which the client passes will go away. Requests run in
                # threads, so the filter cannot be set around each of them.
                warnings.filterwarnings("ignore", message="The 'strict' parameter is no longer needed")
                self._client = ipfshttpclient.Client(self._api, timeout=self._timeout)
            return self._client


def _is_missing(message: str) -> bool:
    return any(words in message for words in ("not found", "could not find", "is not pinned"))


def _is_of_the_server(error: Any) -> bool:
    """Return whether the node failed (its disk is full, its repository broken), rather than refuse what was asked."""
    response = getattr(error.original, "response", None)
    return response is None or response.status_code >= 500
