"""Daily quotas in the database: what an account may make the gateway pay for or store."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import Address
from platemark_gateway.clock import Clock
from platemark_gateway.errors import Limit, LimitedError
from platemark_gateway.models.access import Spending

RELAYS: Final = "gas"
UPLOADS: Final = "uploads"
_CODES: Final = {RELAYS: "limit-gas", UPLOADS: "limit-uploads"}
DAY_SECONDS: Final = 86_400


async def spend(
    session: AsyncSession,
    clock: Clock,
    *,
    address: Address,
    quota: str,
    amount: int,
    limit: int,
    whose: str = "this account",
) -> None:
    """Book `amount` of an account's quota of today, in the caller's transaction; a refusal says `whose` it is.

    Errors: LimitedError `limit-gas` or `limit-uploads` when it would pass `limit`; nothing is booked then.
    """
    now = clock.now()
    key = {"address": address, "quota": quota, "day": now // DAY_SECONDS}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    await session.execute(insert(Spending).values(**key, spent=0).on_conflict_do_nothing())
    booked = await session.scalar(
        update(Spending)
        .where(
            Spending.address == address,
            Spending.quota == quota,
            Spending.day == key["day"],
            Spending.spent + amount <= limit,
        )
        .values(spent=Spending.spent + amount)
        .returning(Spending.spent)
    )
    if booked is None:
        raise LimitedError(
            f"today's quota of {whose} does not suffice",
            code=_CODES[quota],
            retry_after_seconds=seconds_left(clock),
            limit=Limit(quota, limit, DAY_SECONDS),
            hint="GET /v1/quotas",
        )


async def spend_relays(
    session: AsyncSession, clock: Clock, *, payer: Address, gateway: Address, amount: int, limit: int, limit_in_all: int
) -> None:
    """Book transactions that the gateway pays, in the payer's quota of today and in that of all accounts together.

    Errors: LimitedError `limit-gas`.
    """
    limits = {payer: (limit, "this account"), gateway: (limit_in_all, "all accounts together")}
    for address, (most, whose) in limits.items():
        await spend(session, clock, address=address, quota=RELAYS, amount=amount, limit=most, whose=whose)


async def spent(session: AsyncSession, clock: Clock, address: Address) -> Mapping[str, int]:
    """Return what an account used today, by quota; what it never used is missing."""
    today = select(Spending).where(Spending.address == address, Spending.day == clock.now() // DAY_SECONDS)
    return {row.quota: row.spent for row in await session.scalars(today)}


def seconds_left(clock: Clock) -> int:
    """Return in how many seconds the quotas begin anew, at midnight UTC."""
    return DAY_SECONDS - clock.now() % DAY_SECONDS
