"""What a redemption asks of PostgreSQL is found by indexes, whatever the tables held when its plans were made."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from platemark_gateway.printlog.service import open_log
from platemark_gateway.prints.desk import Desk
from simulators.agent import Agent
from simulators.databases import database_of
from simulators.gateway import simulated_gateway
from simulators.people import Designer

pytestmark = [pytest.mark.anyio, pytest.mark.postgresql]

_READS = re.compile(r"(Seq Scan|Index[A-Za-z ]* Scan|Bitmap Heap Scan) (?:Backward )?(?:using \w+ )?on (\w+)")


async def test_plans_that_are_made_while_tables_are_small_read_none_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: dict[str, str] = {}
    execute = psycopg.AsyncCursor.execute

    async def explained(cursor: psycopg.AsyncCursor[Any], query: str | bytes, values: Any = None, **named: Any) -> Any:
        sql = query.decode() if isinstance(query, bytes) else query
        if sql.split(None, 1)[0] in {"SELECT", "WITH"} and sql not in plans:
            async with cursor.connection.cursor() as beside:
                await execute(beside, ("EXPLAIN " + sql).encode(), values)
                plans[sql] = "\n".join(line for (line,) in await beside.fetchall())
        return await execute(cursor, query, values, **named)

    async with simulated_gateway(tmp_path, database_url=await database_of("postgresql", tmp_path)) as gateway:
        assert await open_log(gateway.container) is None
        designer = Designer(gateway)
        agent = Agent(gateway, designer)
        await designer.licensed(agent.holder.address, prints=20)
        await agent.reserved(prints=10)
        desk, public = Desk(gateway.container), agent.recipient.public_bytes
        await desk.redeem(agent.request(1), public)
        async with gateway.container.database.begin() as session:
            await session.execute(text("ANALYZE"))  # as autovacuum does, soon after the first rows
        monkeypatch.setattr(psycopg.AsyncCursor, "execute", explained)
        await desk.redeem(agent.request(2), public)
    counting = [plan for sql, plan in plans.items() if "FOR NO KEY UPDATE" not in sql]
    read = {found[2]: found[1] for plan in counting for found in _READS.finditer(plan)}
    assert {"chain_progress", "prints", "tokens", "log_entries", "log_heads", "revisions"} <= read.keys()
    assert {table for table, how in read.items() if how == "Seq Scan"} == set()
