import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, delete, event, func, select

from platemark.protocol.accounts import AccountKey
from platemark_gateway.auth import service as auth
from platemark_gateway.db.session import Database
from platemark_gateway.errors import UnavailableError
from platemark_gateway.models.access import ApiKey
from platemark_gateway.models.idempotency import IdempotentAnswer
from simulators.databases import database_of
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio

ALICE = AccountKey(b"\x0a" * 32)
KEY = {"Idempotency-Key": "0123456789abcdef"}
BODY = {"name": "slicer", "scopes": ["centre"]}


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def keys_made(gateway: SimulatedGateway) -> int:
    async with gateway.container.database.read() as session:
        return await session.scalar(select(func.count()).select_from(ApiKey)) or 0


async def test_the_same_key_and_body_have_the_same_answer(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE) | KEY
    first = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    again = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["idempotent-replay"] == "true"
    assert again.headers["cache-control"] == "no-store"
    assert "idempotent-replay" not in first.headers
    assert await keys_made(gateway) == 1


async def test_the_same_key_with_another_body_is_a_conflict(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE) | KEY
    await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    other = await gateway.client.post("/v1/api-keys", json=BODY | {"name": "other"}, headers=headers)
    assert problem(other) == (409, "idempotency-conflict")
    assert await keys_made(gateway) == 1


async def test_keys_of_different_callers_do_not_meet(gateway: SimulatedGateway) -> None:
    first = await gateway.client.post("/v1/api-keys", json=BODY, headers=await gateway.sign_in(ALICE) | KEY)
    bob = await gateway.sign_in(AccountKey(b"\x0b" * 32))
    second = await gateway.client.post("/v1/api-keys", json=BODY, headers=bob | KEY)
    assert first.json()["key"] != second.json()["key"]
    assert await keys_made(gateway) == 2


async def test_two_at_once_are_served_once(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE) | KEY
    answers = await asyncio.gather(*(gateway.client.post("/v1/api-keys", json=BODY, headers=headers) for _ in range(8)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert await keys_made(gateway) == 1


async def test_a_refusal_is_not_kept(gateway: SimulatedGateway) -> None:
    designer = Designer(gateway)
    await designer.upload()
    await designer.register()
    designer.session |= KEY
    body = {"salt": "0x" + designer.salt.hex(), "filesRoot": "0x" + designer.root.hex()}
    assert problem(await designer.post(designer.path("/revisions/1/reveal"), body)) == (409, "awaiting-finality")
    await gateway.chain.mine()
    assert (await designer.post(designer.path("/revisions/1/reveal"), body)).status_code == 202


async def test_answers_lie_encrypted_and_are_forgotten_after_a_day(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE) | KEY
    made = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    async with gateway.container.database.read() as session:
        row = (await session.scalars(select(IdempotentAnswer))).one()
    assert row.wrapped_answer is not None
    assert made.json()["key"].encode() not in row.wrapped_answer
    gateway.clock.forward(86_401)
    headers = await gateway.sign_in(ALICE) | KEY
    again = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    assert "idempotent-replay" not in again.headers
    async with gateway.container.database.read() as session:
        rows = (await session.scalars(select(IdempotentAnswer))).all()
    assert [each.key_digest for each in rows] != [row.key_digest]
    assert len(rows) == 1


async def test_a_dead_attempt_does_not_block_for_ever(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE) | KEY
    await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    async with gateway.container.database.begin() as session:
        row = (await session.scalars(select(IdempotentAnswer))).one()
        row.wrapped_answer = None  # as if the process had died before it answered
    gateway.clock.forward(121)
    assert (await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)).status_code == 201


async def test_an_attempt_that_was_given_up_does_not_answer_for_the_next(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    principal_of, reached, go_on = auth.principal_of, asyncio.Event(), asyncio.Event()

    async def slow_once(*given: Any) -> Any:
        if not reached.is_set():
            reached.set()
            await go_on.wait()
        return await principal_of(*given)

    headers = await gateway.sign_in(ALICE) | KEY
    monkeypatch.setattr(auth, "principal_of", slow_once)
    first = asyncio.create_task(gateway.client.post("/v1/api-keys", json=BODY | {"name": "slow"}, headers=headers))
    await reached.wait()
    gateway.clock.forward(121)
    second = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    go_on.set()
    assert ((await first).status_code, second.status_code) == (201, 201)
    again = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    assert again.content == second.content


@pytest.mark.postgresql
async def test_a_row_that_is_forgotten_while_it_is_looked_for_is_claimed_anew(
    tmp_path: Path,
) -> None:
    """SQLite has one writer at a time, so there the row cannot go between the two statements."""
    async with simulated_gateway(tmp_path, database_url=await database_of("postgresql", tmp_path)) as gateway:
        headers = await gateway.sign_in(ALICE) | KEY
        await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
        other = create_engine(gateway.container.database.engine.url)
        forgotten: list[int] = []

        def forget(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.startswith("INSERT INTO idempotent") and not forgotten:
                with other.begin() as connection:
                    forgotten.append(connection.execute(delete(IdempotentAnswer)).rowcount)

        event.listen(gateway.container.database.engine.sync_engine, "after_cursor_execute", forget)
        answer = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
        other.dispose()
        assert (forgotten, answer.status_code) == ([1], 201)
        assert await keys_made(gateway) == 2


@pytest.mark.parametrize("begun", [1, 2], ids=["while it is served", "before the answer is kept"])
async def test_a_database_that_goes_away_is_told_as_that(
    gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    begin, begins = Database.begin, 0

    @contextlib.asynccontextmanager
    async def begin_until(database: Database) -> AsyncIterator[Any]:
        nonlocal begins
        begins += 1
        if begins > begun:
            raise UnavailableError("away", code="database-unreachable")
        async with begin(database) as session:
            yield session

    headers = await gateway.sign_in(ALICE) | KEY
    with monkeypatch.context() as patch:
        patch.setattr(Database, "begin", begin_until)
        answer = await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)
    assert problem(answer) == (503, "database-unreachable")
    assert answer.headers["retry-after"] == "5"
    assert await keys_made(gateway) == begun - 1
    gateway.clock.forward(121)
    assert (await gateway.client.post("/v1/api-keys", json=BODY, headers=headers)).status_code == 201


@pytest.mark.parametrize("key", ["short", "x" * 129, "with space in it"])
async def test_an_ill_formed_key_is_refused(gateway: SimulatedGateway, key: str) -> None:
    answer = await gateway.client.post("/v1/api-keys", json=BODY, headers={"Idempotency-Key": key})
    assert problem(answer) == (400, "idempotency-key")


async def test_a_body_above_the_limit_is_refused_with_a_key_too(gateway: SimulatedGateway) -> None:
    content = b" " * (gateway.container.settings.body_bytes + 1)
    assert problem(await gateway.client.post("/v1/api-keys", content=content, headers=KEY)) == (413, "too-large")


async def test_a_kept_answer_does_not_outlive_the_sign_in(gateway: SimulatedGateway) -> None:
    session = await gateway.sign_in(ALICE)
    made = await gateway.client.post("/v1/api-keys", json=BODY, headers=session | KEY)
    assert made.status_code == 201
    assert (await gateway.client.delete("/v1/sign-in", headers=session)).status_code == 204
    again = await gateway.client.post("/v1/api-keys", json=BODY, headers=session | KEY)
    assert problem(again) == (401, "credential-invalid")
    assert made.json()["key"] not in again.text
