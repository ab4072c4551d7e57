import asyncio

import pytest
from sqlalchemy import select

from platemark.protocol.units import Address
from platemark_gateway.db.session import Database
from platemark_gateway.errors import LimitedError
from platemark_gateway.models.access import Spending
from platemark_gateway.ratelimit import quotas
from simulators.clock import ManualClock

pytestmark = pytest.mark.anyio

ALICE, BOB = Address(b"\x01" * 20), Address(b"\x02" * 20)


async def spend(database: Database, clock: ManualClock, amount: int, *, address: Address = ALICE) -> None:
    async with database.begin() as session:
        await quotas.spend(session, clock, address=address, quota=quotas.RELAYS, amount=amount, limit=10)


async def spent(database: Database) -> dict[tuple[Address, int], int]:
    async with database.read() as session:
        return {(row.address, row.day): row.spent for row in await session.scalars(select(Spending))}


async def test_a_quota_ends_and_begins_again_the_next_day(database: Database) -> None:
    clock = ManualClock(86_400 * 5 + 100)
    await spend(database, clock, 6)
    await spend(database, clock, 4)
    with pytest.raises(LimitedError) as caught:
        await spend(database, clock, 1)
    assert (caught.value.code, caught.value.retry_after_seconds) == ("limit-gas", 86_300)
    await spend(database, clock, 10, address=BOB)
    clock.forward(86_400)
    await spend(database, clock, 1)
    assert await spent(database) == {(ALICE, 5): 10, (BOB, 5): 10, (ALICE, 6): 1}


async def test_what_is_undone_is_not_spent(database: Database) -> None:
    clock = ManualClock(0)

    async def break_off() -> None:
        async with database.begin() as session:
            await quotas.spend(session, clock, address=ALICE, quota=quotas.RELAYS, amount=9, limit=10)
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await break_off()
    assert await spent(database) == {}


async def test_many_at_once_do_not_pass_the_limit(database: Database) -> None:
    clock = ManualClock(0)
    results = await asyncio.gather(*(spend(database, clock, 1) for _ in range(25)), return_exceptions=True)
    assert sum(result is None for result in results) == 10
    assert all(isinstance(result, LimitedError) for result in results if result is not None)
    assert await spent(database) == {(ALICE, 0): 10}
