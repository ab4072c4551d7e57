"""A gateway process is killed at each point of a redemption and of the log's growth; what comes back is exact."""

import asyncio
from collections.abc import Sequence

import httpx
import pytest
from sqlalchemy import func, select

from platemark.protocol.checkpoint import NoteKey, open_checkpoint
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry, decode
from platemark.protocol.tiles import LogReader
from platemark.protocol.units import Digest32
from platemark_gateway.models.print import Print
from platemark_gateway.models.printlog import LogEntry, LogHead
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import service as printlog
from simulators.agent import Agent
from simulators.counting import running, take_step
from simulators.databases import DATABASES
from simulators.gateway import SimulatedGateway
from trusted import authorities

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
only_postgresql = pytest.mark.parametrize("gateway", DATABASES[1:], indirect=True)


async def counted(gateway: SimulatedGateway) -> int:
    """Return how many prints are counted; count, rows and entries must agree."""
    async with gateway.container.database.read() as session:
        released = await session.scalar(select(func.sum(Token.released))) or 0
        prints = await session.scalar(select(func.count()).select_from(Print)) or 0
        entries = await session.scalar(select(func.count()).select_from(LogEntry)) or 0
    assert released == prints == entries
    return released


async def answer_of_a_process_that_dies(
    gateway: SimulatedGateway, path: str, body: object, die_at: str | None
) -> dict[str, object] | None:
    """Return the answer of another process, or None when it died before it answered."""
    with running(gateway, die_at=die_at) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=authorities()) as client:
            try:
                answer = await client.post(path, json=body)
            except httpx.TransportError:
                return None
            assert answer.status_code == 200, answer.text
            found: dict[str, object] = answer.json()
            return found


async def redeem_in_a_process_that_dies(agent: Agent, die_at: str | None) -> dict[str, object] | None:
    return await answer_of_a_process_that_dies(agent.gateway, "/v1/prints", agent.body(agent.request(1)), die_at)


@pytest.mark.parametrize("point, expected", [("commit", {0, 1}), ("committed", {1}), ("answered", {1})])
async def test_a_kill_around_the_commit_leaves_the_same_answer(
    agent: Agent, gateway: SimulatedGateway, point: str, expected: set[int]
) -> None:
    await agent.reserved(prints=3)
    assert await redeem_in_a_process_that_dies(agent, point) is None
    assert await counted(gateway) in expected
    first = await agent.redeem(1)
    assert await redeem_in_a_process_that_dies(agent, None) is not None
    assert (await agent.redeem(1))["release"] == first["release"]
    assert await counted(gateway) == 1
    await agent.redeem(2)
    assert await counted(gateway) == 2


async def test_a_kill_before_any_statement_leaves_nothing_half_done(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.reserved(prints=3)
    died = 0
    while (answer := await redeem_in_a_process_that_dies(agent, f"statement {died + 1}")) is None:
        assert await counted(gateway) == 0
        died += 1
    assert died >= 5, "a redemption reads, locks, and writes at least"
    assert (await agent.redeem(1))["release"] == answer["release"]
    assert await counted(gateway) == 1


@pytest.mark.parametrize("point, expected", [("commit", {0, 2}), ("committed", {2}), ("answered", {2})])
async def test_a_kill_around_a_plates_commit_leaves_all_of_it_or_nothing(
    agent: Agent, gateway: SimulatedGateway, point: str, expected: set[int]
) -> None:
    other = Agent(gateway, agent.designer, salt=Digest32(b"\x07" * 32))
    await agent.reserved(prints=3)
    await other.reserved(prints=3)
    plate = {"redemptions": [each.body(each.request(1)) for each in (agent, other)]}
    assert await answer_of_a_process_that_dies(gateway, "/v1/prints/plate", plate, point) is None
    assert await counted(gateway) in expected
    first = await agent.redeem(1)
    answer = await answer_of_a_process_that_dies(gateway, "/v1/prints/plate", plate, None)
    assert answer is not None
    releases = answer["releases"]
    assert isinstance(releases, list)
    assert releases[0]["release"] == first["release"]
    assert await counted(gateway) == 2


CROWD = 8
"""Of agents that redeem at once."""


async def releases_of_a_crowd(agents: Sequence[Agent], die_at: str) -> list[str | None]:
    """Let each agent redeem in another process at once; return each one's release, None where it died before it."""
    with running(agents[0].gateway, die_at=die_at) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=authorities()) as client:

            async def redeem(agent: Agent) -> str | None:
                try:
                    answer = await client.post("/v1/prints", json=agent.body(agent.request(1)))
                except httpx.TransportError:
                    return None
                assert answer.status_code == 200, answer.text
                release: str = answer.json()["release"]
                return release

            return await asyncio.gather(*map(redeem, agents))


@only_postgresql
@pytest.mark.parametrize("number", range(3, 10))
async def test_a_kill_among_batches_that_follow_each_other_loses_no_answer(
    agent: Agent, gateway: SimulatedGateway, number: int
) -> None:
    agents = [Agent(gateway, agent.designer, salt=Digest32(bytes([salt] * 32))) for salt in range(1, CROWD + 1)]
    for each in agents:
        await each.reserved(prints=1)
    releases = await releases_of_a_crowd(agents, f"batches {number}")
    assert None in releases
    known = await counted(gateway)
    batches_before = (number - 1) // 4, (number - 1) // 3
    assert batches_before[0] <= known <= 2 * batches_before[1], "three statements and, while others wait, a commit"
    assert sum(release is not None for release in releases) <= known, "no key has left for what is not counted"
    for each, release in zip(agents, releases, strict=True):
        again = (await each.redeem(1))["release"]
        assert release in (again, None)
    assert await counted(gateway) == CROWD


async def read_log(gateway: SimulatedGateway) -> LogReader:
    profile = gateway.container.profile
    files = printlog.files_of(gateway.container)
    checkpoint = open_checkpoint(files.read_checkpoint() or b"", NoteKey(profile.log_origin, profile.log_key))
    return LogReader(checkpoint.size, checkpoint.root, files.read)


@pytest.mark.parametrize("point", ["positions", "tiles", "head"])
async def test_a_sequencer_killed_between_its_steps_goes_on(
    agent: Agent, gateway: SimulatedGateway, point: str
) -> None:
    await agent.reserved(prints=10)
    await agent.redeem(1)
    assert take_step(gateway, "sequence").result is True
    before = await read_log(gateway)
    await agent.redeem(2)
    assert take_step(gateway, "sequence", die_at=point).killed
    published = await read_log(gateway)
    assert (published.size, published.root) == (before.size, before.root), "nothing was signed"
    await agent.finish(2)
    while take_step(gateway, "sequence").result:
        pass
    log = await read_log(gateway)
    assert log.old_root(before.size) == before.root
    entries = [decode(entry) for entry in log.entries()]
    assert [(type(entry), entry.sequence) for entry in entries if not hasattr(entry, "released")] == [
        (RedeemedEntry, 1),
        (RedeemedEntry, 2),
        (OutcomeEntry, 2),
    ]
    async with gateway.container.database.read() as session:
        head = (await session.scalars(select(LogHead))).one()
    assert (head.size, head.root, head.quarantine) == (log.size, log.root, None)


async def test_a_sequencer_killed_before_any_statement_goes_on(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.reserved(prints=10)
    await agent.redeem(1)
    died = 0
    for number in range(1, 60):
        ended = take_step(gateway, "sequence", die_at=f"statement {number}")
        if not ended.killed:
            break
        died += 1
    assert died >= 5
    while take_step(gateway, "sequence").result:
        pass
    assert [type(decode(entry)) for entry in (await read_log(gateway)).entries()] == [RedeemedEntry]
