"""Products of several owners on one plate: all of their prints are counted, or none is."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.content_key import ContentKey
from platemark.protocol.permission import AgentSeed
from platemark.protocol.units import Digest32, id_text
from platemark.protocol.voucher import SignedRequest
from platemark_gateway.db import locks
from platemark_gateway.errors import UnavailableError
from platemark_gateway.models.audit import AuditEntry
from platemark_gateway.models.print import Print
from platemark_gateway.models.printlog import LogEntry
from platemark_gateway.models.token import Token
from platemark_gateway.printlog.service import open_log
from platemark_gateway.prints import desk as desks
from platemark_gateway.prints import service
from platemark_gateway.prints.service import Order
from platemark_gateway.tokens import repository
from simulators.agent import Agent
from simulators.chain import DEPLOYMENT
from simulators.databases import database_of
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def other(gateway: SimulatedGateway, agent: Agent) -> Agent:
    """An agent of another holder, for another designer's design, with a token for 2 prints."""
    designer = Designer(
        gateway,
        account=AccountKey(b"\x43" * 32),
        plaintext=b"solid other\n" + bytes(64) + b"endsolid other\n",
        salt=b"\x17" * 32,
        key=ContentKey(b"\x19" * 32),
    )
    made = Agent(gateway, designer, holder=AccountKey(b"\x56" * 32), seed=AgentSeed(b"\x67" * 32), salt=word(2))
    await designer.licensed(made.holder.address, prints=20)
    return await made.reserved(prints=2)


@pytest.fixture
async def third(gateway: SimulatedGateway, agent: Agent) -> Agent:
    """Another token of the first agent's licence, for 2 prints."""
    return await Agent(gateway, agent.designer, salt=word(3)).reserved(prints=2)


def word(value: int) -> Digest32:
    return Digest32(bytes([value]) * 32)


async def send(agent: Agent, *parts: tuple[Agent, SignedRequest]) -> httpx.Response:
    return await agent.post("/v1/prints/plate", {"redemptions": [each.body(signed) for each, signed in parts]})


def refused(answer: httpx.Response, status: int, code: str, place: int) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"], problem["place"]) == (status, code, place), answer.text
    return problem


async def counted(gateway: SimulatedGateway) -> int:
    """Return how many prints are counted; counts, rows and entries must agree."""
    async with gateway.container.database.read() as session:
        released = await session.scalar(select(func.sum(Token.released))) or 0
        prints = await session.scalar(select(func.count()).select_from(Print)) or 0
        entries = await session.scalar(select(func.count()).select_from(LogEntry).where(LogEntry.kind == 1)) or 0
    assert released == prints == entries
    return released


async def test_prints_of_several_owners_are_counted_together(
    agent: Agent, other: Agent, third: Agent, gateway: SimulatedGateway
) -> None:
    parts = [(each, each.request(1)) for each in (agent, other, third)]
    answer = await send(agent, *parts)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    releases = answer.json()["releases"]
    for (each, signed), found in zip(parts, releases, strict=True):
        each.verify(signed, found)
    assert [found["printsLeft"] for found in releases] == [9, 1, 1]
    assert await counted(gateway) == 3


async def test_the_same_redemptions_again_have_the_same_releases(
    agent: Agent, other: Agent, gateway: SimulatedGateway
) -> None:
    parts = [(agent, agent.request(1)), (other, other.request(1))]
    first, again = await send(agent, *parts), await send(agent, *reversed(parts))
    releases = [found["release"] for found in first.json()["releases"]]
    assert [found["release"] for found in again.json()["releases"]] == releases[::-1]
    assert (await other.redeem(1))["release"] == releases[1]
    assert await counted(gateway) == 2


async def test_what_was_counted_alone_may_stand_on_a_plate(
    agent: Agent, other: Agent, gateway: SimulatedGateway
) -> None:
    alone = await agent.redeem(1)
    answer = await send(agent, (agent, agent.request(1)), (other, other.request(1)))
    assert answer.json()["releases"][0]["release"] == alone["release"]
    assert await counted(gateway) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_refusal_counts_nothing_of_the_plate(
    agent: Agent, other: Agent, third: Agent, gateway: SimulatedGateway, place: int
) -> None:
    owners = [agent, other, third]
    parts = [(each, each.request(2 if at == place else 1)) for at, each in enumerate(owners)]
    assert refused(await send(agent, *parts), 409, "sequence-expected", place)["expected"] == 1
    assert await counted(gateway) == 0
    answer = await send(agent, *((each, each.request(1)) for each in owners))
    assert answer.status_code == 200, "what was refused together is still there for the same bytes"
    assert await counted(gateway) == 3


async def test_a_spent_count_and_a_stopped_token_refuse_the_plate(
    agent: Agent, other: Agent, third: Agent, gateway: SimulatedGateway
) -> None:
    await other.redeem(1)
    await other.redeem(2)
    refused(await send(agent, (agent, agent.request(1)), (other, other.request(3))), 409, "count-spent", 1)
    assert (await third.stop()).status_code in {200, 202, 204}
    refused(await send(agent, (third, third.request(1)), (agent, agent.request(1))), 409, "token-stopped", 0)
    assert await counted(gateway) == 2


async def test_one_print_id_cannot_stand_twice(agent: Agent, other: Agent, gateway: SimulatedGateway) -> None:
    parts = [(each, each.request(1, print_id=b"\x0c" * 16)) for each in (agent, other)]
    refused(await send(agent, *parts), 409, "print-id-used", 1)
    assert await counted(gateway) == 0


async def test_a_voucher_by_another_key_refuses_the_plate(
    agent: Agent, other: Agent, gateway: SimulatedGateway
) -> None:
    forged = other.request(1).request.sign(AccountKey(b"\x12" * 32), DEPLOYMENT.ledger_domain())
    refused(await send(agent, (agent, agent.request(1)), (other, forged)), 401, "signature-invalid", 1)
    assert await counted(gateway) == 0


async def test_a_token_stands_once_on_a_plate(agent: Agent, gateway: SimulatedGateway) -> None:
    answer = await send(agent, (agent, agent.request(1)), (agent, agent.request(2)))
    assert (answer.status_code, answer.json()["code"]) == (400, "plate-repeats")
    assert await counted(gateway) == 0


async def test_a_short_recipient_key_is_refused(agent: Agent) -> None:
    body = agent.body(agent.request(1)) | {"recipientKey": base64url(b"\x01" * 32)}
    answer = await agent.post("/v1/prints/plate", {"redemptions": [body]})
    assert (answer.status_code, answer.json()["code"]) == (400, "recipient-key")


@pytest.mark.parametrize("number", [0, desks.MAX_BATCH + 1])
async def test_a_plate_has_a_smallest_and_a_largest_size(agent: Agent, number: int) -> None:
    body = agent.body(agent.request(1))
    answer = await agent.post("/v1/prints/plate", {"redemptions": [body] * number})
    assert (answer.status_code, answer.json()["code"]) == (422, "request-schema")


async def test_a_refused_plate_leaves_no_act_beside_a_print_of_its_batch(
    agent: Agent, other: Agent, gateway: SimulatedGateway
) -> None:
    third = await Agent(gateway, agent.designer, salt=Digest32(b"\x0d" * 32)).reserved(prints=2)

    def order(each: Agent, sequence: int) -> Order:
        return Order(each.request(sequence), each.recipient.public_bytes, each.key.address)

    async with gateway.container.database.statements() as statements:
        await service.count(statements, gateway.container, [[order(agent, 1), order(other, 7)], [order(third, 1)]])
    async with gateway.container.database.read() as reading:
        acts = await reading.scalars(select(AuditEntry.subject).where(AuditEntry.action == "print.release"))
        assert list(acts) == [id_text(third.token_id)]


async def somebody_waits(gateway: SimulatedGateway) -> bool:
    async with gateway.container.database.read() as session:
        found = await session.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
    return bool(found)


@pytest.mark.postgresql
async def test_what_locks_tokens_as_events_come_gives_way_to_a_plate(tmp_path: Path) -> None:
    """Each would wait for the other: the plate takes tokens in the order of their ids, events in that of the chain."""

    async def project() -> None:
        async with gateway.container.database.begin() as session:
            await locks.give_way(session)
            await repository.lock(session, last)
            has_last.set()
            while not await somebody_waits(gateway):
                pass
            await repository.lock(session, first)

    async with simulated_gateway(tmp_path, database_url=await database_of("postgresql", tmp_path)) as gateway:
        assert await open_log(gateway.container) is None
        agent = Agent(gateway, Designer(gateway))
        await agent.designer.licensed(agent.holder.address, prints=20)
        await agent.reserved(prints=2)
        third = await Agent(gateway, agent.designer, salt=word(3)).reserved(prints=2)
        first, last = sorted((agent.token_id, third.token_id))
        has_last = asyncio.Event()
        projected = asyncio.create_task(project())
        await has_last.wait()
        answer = await send(agent, (agent, agent.request(1)), (third, third.request(1)))
        with pytest.raises(UnavailableError):
            await projected
        assert answer.status_code == 200, answer.text
        assert await counted(gateway) == 2
