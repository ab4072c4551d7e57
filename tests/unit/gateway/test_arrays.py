"""Arrays reach PostgreSQL as the values that they are packed from."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, BigInteger, Boolean, Integer, LargeBinary, String, bindparam, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from platemark_gateway.db.arrays import ArrayType
from platemark_gateway.db.session import Database
from platemark_gateway.db.types import Digest32Type, Uint256Type, UnixSecondsType
from simulators.databases import database_of

_DIALECT = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
KINDS: list[tuple[TypeEngine[Any], list[Any]]] = [
    (LargeBinary(), [b"a", None, b"", bytes(range(256))]),
    (BigInteger().with_variant(Integer(), "sqlite"), [0, -1, 2**63 - 1, -(2**63), None]),
    (String(64), ["", "ä\U0001f600", None, "'; --", '{"}']),
    (JSON(), [{"a": [1, "ü"]}, {}, [None]]),
    (Uint256Type(), [0, 2**256 - 1]),
    (UnixSecondsType(), [5, None]),
    (Digest32Type(), [bytes(32), None, b"\xff" * 32]),
    (Digest32Type(), []),
]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(await database_of("postgresql", tmp_path))
    yield database
    await database.close()


@pytest.mark.anyio
@pytest.mark.postgresql
@pytest.mark.parametrize("kind, values", KINDS, ids=[f"{kind!r}-{len(values)}" for kind, values in KINDS])
async def test_postgresql_reads_each_value_back(database: Database, kind: TypeEngine[Any], values: list[Any]) -> None:
    given = bindparam("given", type_=ArrayType(kind))
    async with database.read() as session:
        found = await session.scalars(select(func.unnest(given, type_=kind)), {"given": values})
    assert found.all() == values


def test_a_value_that_its_column_refuses_is_refused_here_too() -> None:
    pack = ArrayType(Digest32Type()).bind_processor(_DIALECT)
    with pytest.raises(ValueError, match="32 bytes were expected, not 31"):
        pack([bytes(32), bytes(31)])


def test_a_type_that_no_column_has_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(TypeError, match="no array"):
        ArrayType(Boolean()).bind_processor(_DIALECT)
