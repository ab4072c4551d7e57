"""A process is killed at each point of a transaction's sending; what comes back sends it, once, and books it once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from chain_process import ChainProcess, running_chain
from chain_stack import Sender, connected, fresh_database, make_sender
from platemark_gateway.chain.submitter import Policy
from platemark_gateway.clock import SystemClock
from platemark_gateway.models.chain import ChainSpending, OutboxAttempt, OutboxTransaction
from simulators.clock import ManualClock
from simulators.databases import DATABASES
from simulators.sending import sending_processes

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

POINTS = {"statement": 12, "commit": 4, "rpc": 8}
"""Kinds of points, and how many of each a sending has at least."""
WITHIN = ("statement", "commit")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    with running_chain(tmp_path_factory.mktemp("chain")) as running:
        yield running


@pytest.fixture(scope="module")
def take() -> Iterator[Callable[..., bool]]:
    with sending_processes() as taking:
        yield taking


async def finish(sender: Sender) -> None:
    for _ in range(4):
        if not await sender.submitter().run_once():
            return


async def check(sender: Sender, sent: int) -> None:
    """Pass when so many transactions are final, each was mined once, and their costs are booked."""
    async with sender.database.read() as session:
        statuses = (await session.scalars(select(OutboxTransaction.status))).all()
        attempts = await session.scalar(select(func.count()).select_from(OutboxAttempt))
        booked = (await session.scalars(select(OutboxTransaction.booked))).all()
        spent = (await session.scalars(select(ChainSpending.wei))).all()
    assert statuses == ["final"] * sent
    assert attempts == sent
    assert await sender.client.nonce(sender.key.address) == sent
    assert sum(each or 0 for each in booked) == sum(spent)


@pytest.mark.parametrize(
    "database, kind",
    [
        ("sqlite", "rpc"),  # the database has no part in these
        *(pytest.param(*database.values, kind, marks=database.marks) for database in DATABASES for kind in WITHIN),
    ],
)
async def test_a_kill_anywhere_in_a_sending_loses_and_doubles_nothing(
    chain: ChainProcess, take: Callable[..., bool], tmp_path: Path, database: str, kind: str
) -> None:
    clock = ManualClock(SystemClock().now())
    async with fresh_database(tmp_path, database) as opened, connected(chain.url) as client:
        sender = await make_sender(opened, client, clock, Policy(wei_per_day=10**18))
        chain.fund(sender.key.address)
        sent = 0
        for point in range(1, 80):
            sent += 1
            async with opened.begin() as session:
                await sender.outbox.enqueue(
                    session, purpose="test", to=sender.key.address, data=b"", dedupe_key=str(point)
                )
            killed = take(
                url=chain.url,
                chain=chain.chain_id,
                database=opened.engine.url.render_as_string(hide_password=False),
                secret=sender.key.secret().hex(),
                now=clock.now(),
                die=f"{kind} {point}",
            )
            await finish(sender)
            await check(sender, sent)
            clock.forward(100)
            if not killed:
                break
        assert sent > POINTS[kind]
