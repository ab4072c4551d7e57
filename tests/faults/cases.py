"""What is broken, one case after the other; each returns when all of it works again, and says what it did."""

import asyncio
import contextlib
import resource
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
from sqlalchemy import text

from faults.load import Centre, add_centre, load
from faults.site import GATEWAYS, Site, honest
from platemark.errors import PlatemarkError
from platemark.protocol import sealed_file

CLIENTS: Final = 64
_WAIT_SECONDS: Final = 60
_AWAY: Final = "database-unreachable"


@dataclass
class Stage:
    """What a case has to work with; `seconds` is how long a fault lasts."""

    site: Site
    centres: list[Centre]
    seconds: float


class NotRunError(Exception):
    """This machine cannot be broken in this way; the text says why."""


Case = Callable[[Stage], Awaitable[str]]


async def last_print(stage: Stage) -> str:
    """64 clients ask at once for the last print of a token, over three processes."""
    centre = await add_centre(stage.site, stage.centres, prints=2)
    await centre.print_next()
    agent = centre.agent
    rivals = [agent.request(2, print_id=number.to_bytes(16, "big")) for number in range(1, CLIENTS + 1)]
    urls = stage.site.urls

    async def ask(number: int) -> httpx.Response:
        async with httpx.AsyncClient(base_url=urls[number % len(urls)], timeout=60, trust_env=False) as client:
            return await client.post("/v1/prints", json=agent.body(rivals[number]))

    answers = await asyncio.gather(*(ask(number) for number in range(CLIENTS)))
    codes = Counter(answer.json().get("code", "released") for answer in answers)
    assert codes == {"released": 1, "sequence-expected": CLIENTS - 1}, codes
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    agent.verify(rivals[winner], answers[winner].json())
    centre.held[2] = answers[winner].json()["release"]
    await agent.finish(2)
    centre.reported[2] = False
    stage.centres.append(centre)
    return f"{CLIENTS} clients, 1 released, {CLIENTS - 1} refused"


async def gateways_killed(stage: Stage) -> str:
    """Each gateway in turn is killed with SIGKILL under load and started again."""
    async with load(stage.centres):
        for name in GATEWAYS:
            await asyncio.sleep(stage.seconds / len(GATEWAYS))
            stage.site.processes.kill(name)
            await stage.site.restored()
    return f"kill -9 of {len(GATEWAYS)} gateways, one after the other"


async def all_gateways_killed(stage: Stage) -> str:
    """All gateways are killed in the same moment under load."""
    async with load(stage.centres):
        await asyncio.sleep(stage.seconds / 2)
        for name in GATEWAYS:
            stage.site.processes.kill(name)
        await stage.site.restored()
        await asyncio.sleep(stage.seconds / 2)
    return "kill -9 of all gateways at once"


async def worker_killed(stage: Stage) -> str:
    """The worker is killed again and again while it sequences, signs and sends."""
    kills = 4
    async with load(stage.centres):
        for number in range(kills):
            # It takes a while to start: the pauses end at other points of its work each time.
            await asyncio.sleep(stage.seconds / kills + 0.37 * number)
            stage.site.processes.kill("worker")
            await stage.site.restored()
    return f"kill -9 of the worker, {kills} times"


async def postgresql_restarted(stage: Stage) -> str:
    """PostgreSQL stops at once, without a checkpoint, and recovers from its write-ahead log, twice."""
    async with load(stage.centres):
        for _ in range(2):
            await asyncio.sleep(stage.seconds / 2)
            stage.site.processes.kill("postgresql", signal.SIGQUIT)
            await stage.site.restored()
    return "immediate stop and crash recovery, twice"


async def kubo_down(stage: Stage) -> str:
    """The first Kubo node is killed: prints go on, an upload waits. Then the second one: nobody notices."""
    designer = stage.centres[0].agent.designer
    sealed = b"".join(sealed_file.seal(designer.key.file_key(0), [designer.plaintext]))

    async def upload() -> httpx.Response:
        return await stage.site.gateway.client.post("/v1/blobs", content=sealed, headers=designer.session)

    async with load(stage.centres):
        stage.site.processes.kill("kubo")
        before = _held(stage)
        refused = await upload()
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True), refused.text
        await asyncio.sleep(stage.seconds)
        meanwhile = _held(stage) - before
        assert meanwhile > 0, "no print without Kubo"
        await stage.site.restored()
        stage.site.processes.kill("kubo-replica")
        accepted = await upload()
        assert accepted.status_code == 200, accepted.text
        await stage.site.restored()
    refusal = refused.json()["code"]
    return f"first node: {meanwhile} prints meanwhile, an upload answered {refusal}; second node: uploads go on"


async def rpc_down(stage: Stage) -> str:
    """The chain's endpoint breaks every connection."""

    def broken(_method: str, _params: Sequence[Any], _result: Any) -> Any:
        raise ConnectionResetError

    return await _with_endpoint(stage, broken, "every connection broken")


async def rpc_slow(stage: Stage) -> str:
    """The chain's endpoint answers after more seconds than it is waited for."""

    def slow(_method: str, _params: Sequence[Any], result: Any) -> Any:
        time.sleep(4)
        return result

    return await _with_endpoint(stage, slow, "every answer after 4 s, waited for 3 s")


async def rpc_lying(stage: Stage) -> str:
    """The chain's endpoint hides every event and every receipt."""

    def hiding(method: str, _params: Sequence[Any], result: Any) -> Any:
        match method:
            case "eth_getLogs":
                return []
            case "eth_getTransactionReceipt":
                return None
            case _:
                return result

    return await _with_endpoint(stage, hiding, "events and receipts hidden")


async def chain_reorganised(stage: Stage) -> str:
    """Blocks that are not final are replaced by others, without their transactions, again and again."""
    times = 0
    async with load(stage.centres):
        ends_at = time.monotonic() + stage.seconds
        while time.monotonic() < ends_at:
            await asyncio.to_thread(stage.site.anvil.reorg, 1)
            times += 1
            await asyncio.sleep(1.3)
    return f"{times} reorganisations, one block deep"


async def disk_full(stage: Stage) -> str:
    """Nothing can be written to the disk by the worker and a gateway: no tile, no line of their own logs."""
    names = ("worker", GATEWAYS[0])
    async with load(stage.centres):
        limits = {}
        for name in names:
            pid = stage.site.processes.running[name].process.pid
            limits[pid] = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[pid][1]))
        await asyncio.sleep(stage.seconds)
        for pid, found in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, found)
    return f"no write for {stage.seconds:.0f} s to {' and '.join(names)}"


async def database_disk_full(stage: Stage) -> str:
    """PostgreSQL's disk is full, first for tables, then for the write-ahead log too, which ends it; then it has space.

    No gateway and no worker is started again.
    """
    site = stage.site
    if site.disk is None:
        raise NotRunError("this process may not mount a file system")
    running = {name: site.processes.running[name].process.pid for name in (*GATEWAYS, "worker")}
    async with load(stage.centres):
        await asyncio.sleep(stage.seconds / 2)
        try:
            site.disk.fill()
            await _refused(stage, _AWAY)
            assert b"No space left on device" in site.processes.running["postgresql"].log.read_bytes()
            await asyncio.sleep(stage.seconds)
            before = _held(stage)
            log_is_full = await _write_ahead_log_filled(site)
            await asyncio.sleep(stage.seconds / 2)
            assert _held(stage) - before <= len(stage.centres), "prints were counted on a disk without space"
        finally:
            site.disk.empty()
        if log_is_full:
            site.processes.kill("postgresql")  # it has ended by itself; an engine of containers starts it again
        await site.restored()
        held = _held(stage)
        await asyncio.sleep(stage.seconds / 2)
        await _until(lambda: _held(stage) > held, "a print when there is space again")
    assert running == {name: site.processes.running[name].process.pid for name in running}
    ended = "then for its write-ahead log, which ended it" if log_is_full else "its write-ahead log had room"
    return f"no space for tables, {ended}; gateways and worker went on by themselves"


async def _refused(stage: Stage, code: str) -> None:
    """Return when an agent was told a code, more often than before."""
    before = sum(centre.met[code] for centre in stage.centres)
    await _until(lambda: sum(centre.met[code] for centre in stage.centres) > before, f"an answer of {code}")


async def _until(holds: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + _WAIT_SECONDS
    while not holds():
        assert time.monotonic() < ends_at, f"waited in vain for {what}"
        await asyncio.sleep(0.1)


async def _write_ahead_log_filled(site: Site) -> bool:
    """Ask PostgreSQL for new files of its write-ahead log until it ends, for want of space."""
    process = site.processes.running["postgresql"].process
    ends_at = time.monotonic() + _WAIT_SECONDS / 2
    while process.poll() is None and time.monotonic() < ends_at:
        with contextlib.suppress(PlatemarkError):
            async with site.database.read() as session:
                await session.execute(text("SELECT pg_switch_wal()"))
        await asyncio.sleep(0.2)
    return process.poll() is not None


CASES: Final[dict[str, Case]] = {
    "last print": last_print,
    "gateway killed": gateways_killed,
    "all gateways killed": all_gateways_killed,
    "worker killed": worker_killed,
    "PostgreSQL stopped": postgresql_restarted,
    "Kubo down": kubo_down,
    "RPC down": rpc_down,
    "RPC slow": rpc_slow,
    "RPC lying": rpc_lying,
    "chain reorganised": chain_reorganised,
    "disk full": disk_full,
    "PostgreSQL's disk full": database_disk_full,
}


async def _with_endpoint(stage: Stage, lie: Callable[[str, Sequence[Any], Any], Any], told: str) -> str:
    async with load(stage.centres):
        await asyncio.sleep(stage.seconds / 2)  # the gateways come to know the block that agents cite
        before = _held(stage)
        stage.site.endpoint.lie = lie
        try:
            await asyncio.sleep(stage.seconds)
            meanwhile = _held(stage) - before
        finally:
            stage.site.endpoint.lie = honest
        await asyncio.sleep(stage.seconds / 2)
    closed = sum(centre.met["quarantine"] for centre in stage.centres)
    assert not closed, f"{closed} answers of a log in quarantine, while nothing contradicts it"
    return f"{told}; {meanwhile} prints meanwhile"


def _held(stage: Stage) -> int:
    return sum(len(centre.held) for centre in stage.centres)
