"""A gateway on two real Kubo daemons: killed, frozen, filled, robbed of pins; nothing that was answered is lost."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from kubo_process import KuboProcess, running_kubo
from platemark.protocol.accounts import AccountKey
from platemark.protocol.cid import LEAF_BYTES, Cid, read_file
from platemark_gateway.blobs.kubo import KuboBlocks
from platemark_gateway.files import keeping
from platemark_gateway.models.blocks import KeptRoot
from simulators.gateway import SimulatedGateway, simulated_gateway

pytestmark = [pytest.mark.anyio, pytest.mark.kubo]

ALICE = AccountKey(b"\x0a" * 32)


class Site:
    """A gateway and its two daemons."""

    def __init__(self, gateway: SimulatedGateway, primary: KuboProcess, replica: KuboProcess) -> None:
        self.gateway = gateway
        self.primary = primary
        self.replica = replica
        self.headers: dict[str, str] = {}

    async def upload(self, content: bytes) -> httpx.Response:
        return await self.gateway.client.post("/v1/blobs", content=content, headers=self.headers)

    async def download(self, root: Cid) -> bytes:
        """Return a file, every block of it over the gateway's address and checked."""
        fetched: dict[Cid, bytes] = {}

        async def fetch(cid: Cid) -> None:
            answer = await self.gateway.client.get(f"/ipfs/{cid.text}", params={"format": "raw"})
            assert answer.status_code == 200, answer.text
            fetched[cid] = answer.content

        await fetch(root)
        while True:
            missing: list[Cid] = []

            def block(cid: Cid, missing: list[Cid] = missing) -> bytes:
                if cid not in fetched:
                    missing.append(cid)
                    raise LookupError
                return fetched[cid]

            try:
                return b"".join(read_file(root, block, max_bytes=1 << 30))
            except LookupError:
                await fetch(missing[0])

    async def keep(self) -> None:
        for _ in range(500):
            if not await keeping.keep_once(self.gateway.container):
                return
        raise AssertionError("the work does not end")

    async def behind(self) -> int:
        async with self.gateway.container.database.read() as session:
            query = select(func.count()).select_from(KeptRoot).where(KeptRoot.copied_to.is_(None))
            return await session.scalar(query) or 0

    async def problems(self) -> list[str]:
        async with self.gateway.container.database.read() as session:
            return list(await session.scalars(select(KeptRoot.problem).where(KeptRoot.problem.is_not(None))))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(running_kubo(tmp_path / "primary"))
        replica = stack.enter_context(running_kubo(tmp_path / "replica"))
        nodes = [
            KuboBlocks(primary.api, timeout_seconds=3),
            KuboBlocks(replica.api, name="replica", timeout_seconds=3),
        ]
        folder = tmp_path / "gateway"
        folder.mkdir()
        async with simulated_gateway(folder, nodes=nodes) as gateway:
            made = Site(gateway, primary, replica)
            made.headers = await gateway.sign_in(ALICE)
            yield made


async def test_nothing_that_was_answered_is_lost_when_the_primary_is_killed_under_load(site: Site) -> None:
    stored: dict[Cid, bytes] = {}
    refused: list[httpx.Response] = []
    some = asyncio.Event()

    async def load() -> None:
        for _ in range(12):
            content = secrets.token_bytes(LEAF_BYTES + 100)
            answer = await site.upload(content)
            if answer.status_code == 200:
                stored[Cid.parse(answer.json()["cid"])] = content
                if len(stored) == 4:
                    some.set()
            else:
                refused.append(answer)

    loads = [asyncio.create_task(load()) for _ in range(4)]
    await asyncio.wait_for(some.wait(), 60)
    await asyncio.to_thread(site.primary.kill)
    await asyncio.gather(*loads)
    assert refused, "the load ended before the kill"
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "ipfs-unreachable")
        assert int(answer.headers["retry-after"]) > 0
    assert (await site.gateway.client.get("/metrics")).text.count('platemark_blobs_node_up{node="primary"} 0') == 1
    for root, content in stored.items():
        assert await site.download(root) == content  # from the replica
    await asyncio.to_thread(site.primary.start)
    site.gateway.clock.forward(60)
    content = secrets.token_bytes(100)
    assert (await site.upload(content)).status_code == 200
    await site.keep()
    assert (await site.behind(), await site.problems()) == (0, [])
    await asyncio.to_thread(site.replica.kill)
    for root, content in stored.items():
        assert await site.download(root) == content  # from the primary, which was killed


async def test_a_replica_that_was_killed_catches_up(site: Site) -> None:
    await asyncio.to_thread(site.replica.kill)
    content = secrets.token_bytes(2 * LEAF_BYTES)
    answer = await site.upload(content)
    assert answer.status_code == 200
    await site.keep()
    assert await site.behind() == 1
    await asyncio.to_thread(site.replica.start)
    await site.keep()
    assert await site.behind() == 0
    await asyncio.to_thread(site.primary.kill)
    assert await site.download(Cid.parse(answer.json()["cid"])) == content


async def test_what_was_collected_after_a_lost_pin_comes_back_from_the_replica(site: Site) -> None:
    content = secrets.token_bytes(2 * LEAF_BYTES)
    root = Cid.parse((await site.upload(content)).json()["cid"])
    await site.keep()
    await asyncio.to_thread(site.primary.unpin, root)
    await asyncio.to_thread(site.primary.collect_garbage)
    assert not site.primary.file(root).exists()
    assert await site.download(root) == content
    site.gateway.clock.forward(site.gateway.container.settings.blocks_check_seconds)
    await site.keep()
    assert await site.gateway.container.blocks.nodes[0].is_pinned(root)
    await asyncio.to_thread(site.primary.collect_garbage)
    await asyncio.to_thread(site.replica.kill)
    assert await site.download(root) == content


async def test_a_node_that_lies_is_noticed_and_put_right(site: Site) -> None:
    content = secrets.token_bytes(100)
    root = Cid.parse((await site.upload(content)).json()["cid"])
    await site.keep()
    site.primary.file(root).write_bytes(b"a lie")
    assert await site.download(root) == content
    exposed = (await site.gateway.client.get("/metrics")).text
    assert 'platemark_blobs_failures_total{node="primary",call="get",reason="block-damaged"} 1' in exposed
    site.gateway.clock.forward(site.gateway.container.settings.blocks_check_seconds)
    await site.keep()
    assert await site.gateway.container.blocks.nodes[0].get(root) == content


async def test_a_frozen_and_a_full_primary_refuse_uploads_and_serve_again_by_themselves(site: Site) -> None:
    content = secrets.token_bytes(2 * LEAF_BYTES)
    root = Cid.parse((await site.upload(content)).json()["cid"])
    for stop, go_on in (
        (site.primary.freeze, site.primary.thaw),
        (site.primary.fill, site.primary.make_room),
    ):
        stop()
        refused = await site.upload(secrets.token_bytes(LEAF_BYTES + 1))
        assert (refused.status_code, refused.json()["code"]) == (503, "ipfs-unreachable")
        assert int(refused.headers["retry-after"]) > 0
        assert await site.download(root) == content
        go_on()
        site.gateway.clock.forward(60)
        assert (await site.upload(secrets.token_bytes(LEAF_BYTES + 1))).status_code == 200
    await site.keep()
    assert (await site.behind(), await site.problems()) == (0, [])
