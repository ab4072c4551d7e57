import resource
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Any

import httpx
import pytest

from platemark.protocol.accounts import AccountKey
from platemark.protocol.cid import LEAF_BYTES, Cid, raw_cid, unixfs_blocks
from platemark.protocol.digests import sha256
from platemark_gateway.main import create_app
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

ALICE = AccountKey(b"\x0a" * 32)
RAW = "application/vnd.ipld.raw"


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def upload(gateway: SimulatedGateway, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    signed_in = await gateway.sign_in(ALICE)
    return await gateway.client.post("/v1/blobs", content=content, headers=signed_in | (headers or {}))


@pytest.mark.parametrize("size", [0, 1, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES + 5])
async def test_an_upload_becomes_the_files_blocks(gateway: SimulatedGateway, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    answer = await upload(gateway, content)
    blocks = list(unixfs_blocks([content]))
    assert answer.json() == {"cid": blocks[-1].cid.text, "bytes": size, "sha256": "0x" + sha256(content).hex()}
    assert all(gateway.blocks.blocks[block.cid.text] == block.data for block in blocks)
    assert gateway.blocks.pinned == {blocks[-1].cid.text}


async def test_a_stream_without_a_length_is_taken(gateway: SimulatedGateway) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"abc" * 1000

    headers = await gateway.sign_in(ALICE)
    answer = await gateway.client.post("/v1/blobs", content=stream(), headers=headers)
    assert answer.json()["cid"] == raw_cid(b"abc" * 5000).text


async def test_an_upload_needs_somebody(gateway: SimulatedGateway) -> None:
    assert problem(await gateway.client.post("/v1/blobs", content=b"x")) == (401, "sign-in-needed")
    assert gateway.blocks.blocks == {}


async def test_an_upload_that_breaks_off_leaves_nothing(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE)
    answer = await gateway.client.post("/v1/blobs", content=b"half", headers=headers | {"Content-Length": "8"})
    assert problem(answer) == (400, "upload-broken")
    assert gateway.blocks.blocks == {}


async def test_an_upload_that_finds_no_room_is_told_so(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await gateway.sign_in(ALICE)
    make = tempfile.TemporaryFile

    def full(**options: Any) -> IO[bytes]:
        file: IO[bytes] = make(**options)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        return file

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    try:
        answer = await gateway.client.post("/v1/blobs", content=bytes(3 * LEAF_BYTES), headers=headers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert problem(answer) == (503, "blocks-unwritable")
    assert answer.headers["retry-after"] == "30"
    assert gateway.blocks.blocks == {}


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_upload_above_the_limit_is_refused(gateway: SimulatedGateway, chunked: bool) -> None:
    gateway.choose(blob_bytes=2048)
    headers = await gateway.sign_in(ALICE)

    async def stream() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1024

    transport = httpx.ASGITransport(create_app(gateway.container))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        answer = await client.post("/v1/blobs", content=stream() if chunked else b"x" * 3072, headers=headers)
    assert problem(answer) == (413, "too-large")
    assert gateway.blocks.blocks == {}


async def test_the_days_uploads_are_limited(gateway: SimulatedGateway) -> None:
    gateway.choose(blob_bytes_per_day=1000)
    assert (await upload(gateway, b"x" * 600)).status_code == 200
    refused = await upload(gateway, b"y" * 600)
    assert problem(refused) == (429, "limit-uploads")
    assert len(gateway.blocks.blocks) == 1


async def test_an_upload_fails_whole_when_the_store_is_away(gateway: SimulatedGateway) -> None:
    gateway.blocks.is_away = True
    assert problem(await upload(gateway, b"x")) == (503, "ipfs-unreachable")


async def test_blocks_are_served_raw_to_everybody(gateway: SimulatedGateway) -> None:
    content = b"z" * (LEAF_BYTES + 1)
    root = Cid.parse((await upload(gateway, content)).json()["cid"])
    by_query = await gateway.client.get(f"/ipfs/{root.text}", params={"format": "raw"})
    by_header = await gateway.client.get(f"/ipfs/{root.text}", headers={"Accept": RAW})
    assert by_query.content == by_header.content == gateway.blocks.blocks[root.text]
    assert by_query.headers["content-type"] == RAW
    assert "immutable" in by_query.headers["cache-control"]
    assert by_query.headers["x-content-type-options"] == "nosniff"
    assert by_query.headers["access-control-allow-origin"] == "*"
    head = await gateway.client.head(f"/ipfs/{root.text}", params={"format": "raw"})
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(by_query.content)
    again = await gateway.client.get(
        f"/ipfs/{root.text}", params={"format": "raw"}, headers={"If-None-Match": by_query.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path, expected",
    [
        (f"/ipfs/{raw_cid(b'nobody has this').text}?format=raw", (404, "block-not-found")),
        ("/ipfs/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPbdG?format=raw", (400, "cid")),
        ("/ipfs/bafy?format=raw", (400, "cid")),
        (f"/ipfs/{raw_cid(b'x').text}?format=car", (422, "request-schema")),
        (f"/ipfs/{raw_cid(b'x').text}", (422, "request-schema")),
    ],
)
async def test_other_requests_for_blocks_are_refused(
    gateway: SimulatedGateway, path: str, expected: tuple[int, str]
) -> None:
    assert problem(await gateway.client.get(path)) == expected
