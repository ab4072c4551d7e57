import pytest
from sqlalchemy import Column, MetaData, Table, insert, select

from platemark.protocol.units import UINT256_MAX
from platemark_gateway.db.session import Database
from platemark_gateway.db.types import AddressType, Digest32Type, Uint256Type, UnixSecondsType

pytestmark = pytest.mark.anyio

TABLE = Table(
    "values_of_types",
    MetaData(),
    Column("number", Uint256Type, primary_key=True),
    Column("digest", Digest32Type),
    Column("address", AddressType),
    Column("at", UnixSecondsType),
)


async def test_values_come_back_as_they_went_and_numbers_sort(empty_database: Database) -> None:
    numbers = [0, 1, 255, 256, 1 << 128, UINT256_MAX]
    async with empty_database.begin() as session:
        await (await session.connection()).run_sync(TABLE.metadata.create_all)
        for number in reversed(numbers):
            row = {"number": number, "digest": b"\x01" * 32, "address": b"\x02" * 20, "at": 2**40}
            await session.execute(insert(TABLE).values(row))
        await session.execute(insert(TABLE).values(number=7))
    async with empty_database.read() as session:
        found = (await session.execute(select(TABLE).order_by(TABLE.c.number))).all()
    assert [row.number for row in found] == sorted([*numbers, 7])
    assert tuple(found[0]) == (0, b"\x01" * 32, b"\x02" * 20, 2**40)
    assert tuple(found[2]) == (7, None, None, None)


@pytest.mark.parametrize(
    "kind, value",
    [
        (Digest32Type(), b"\x01" * 31),
        (Digest32Type(), b"\x01" * 33),
        (AddressType(), b"\x01" * 19),
        (AddressType(), b""),
        (Uint256Type(), -1),
        (Uint256Type(), 1 << 256),
    ],
)
def test_values_of_another_size_are_refused(kind: Digest32Type | AddressType | Uint256Type, value: object) -> None:
    with pytest.raises(ValueError, match=r"bytes were expected|unsigned 256-bit"):
        kind.process_bind_param(value, None)  # type: ignore[arg-type]
