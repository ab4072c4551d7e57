"""One account that sends gives way to another: nothing under way is lost, and a kill anywhere leaves one of the two."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import delete, event, func, select, update

from chain_process import ChainProcess, running_chain
from chain_stack import Wire, connected
from platemark.errors import LocalError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address
from platemark_gateway import rotation, succession
from platemark_gateway.chain.client import ChainClient
from platemark_gateway.chain.senders import Senders, leaving, succeed
from platemark_gateway.chain.submitter import FUND, Policy, sending_account
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError, VaultError
from platemark_gateway.models.chain import OutboxAttempt, OutboxTransaction, SendingAccount
from platemark_gateway.ports import KeyKind
from platemark_gateway.recovery.state import VAULT
from platemark_gateway.serving import Replacing, building, open_vault, running
from platemark_gateway.settings import Settings
from platemark_gateway.vault.files import FileVault
from simulators.databases import DATABASES, database_of
from simulators.gateway import PASSPHRASE

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    with running_chain(tmp_path_factory.mktemp("chain")) as running:
        yield running


@dataclass(frozen=True)
class Site:
    """A gateway as the operator's command has it, behind a wire that a test can cut."""

    settings: Settings
    container: Container
    senders: Senders
    vault: FileVault
    client: ChainClient

    async def put(self, key: str) -> None:
        async with self.container.database.begin() as session:
            await self.container.transactions.enqueue(
                session, purpose="test", to=self.vault.account, data=b"", dedupe_key=key
            )

    async def row(self, key: str) -> OutboxTransaction:
        async with self.container.database.read() as session:
            found = await session.scalar(select(OutboxTransaction).where(OutboxTransaction.dedupe_key == key))
        assert found is not None
        return found

    async def sender(self) -> Address:
        async with self.container.database.read() as session:
            return await sending_account(session, self.vault.account)

    async def is_operator(self, account: Address) -> bool:
        return await self.container.chain.is_operator(self.vault.account, account)

    async def replace(self) -> Address:
        return await succession.replace_sender(self.container, self.senders, self.vault)

    async def drain(self) -> None:
        while await self.senders.run_once():
            pass


@asynccontextmanager
async def site_of(settings: Settings, wire: Wire | None = None) -> AsyncIterator[Site]:
    async with (
        building(settings, Replacing.LOST) as (container, _),
        connected(settings.rpc_urls()[0], wire) as client,
    ):
        vault = open_vault(settings)
        chain_id = container.chain.deployment.chain_id
        senders = Senders(container.database, client, chain_id, vault, container.clock, Policy())
        yield Site(settings, container, senders, vault, client)


@pytest.fixture(params=DATABASES)
async def settings(request: pytest.FixtureRequest, chain: ChainProcess, tmp_path: Path) -> Settings:
    url = await database_of(request.param, tmp_path)
    chosen = Settings(
        data=tmp_path / "gateway",
        rpc_url=chain.url,
        database_url=url,
        passphrase=SecretStr(PASSPHRASE),
        poll_seconds=0.02,
        url="http://gateway.test",
    )
    chosen.data.mkdir()
    async with running(chosen):
        pass  # the profile is declared
    return chosen


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 (what is waited for happens in other tasks' transactions)
            await asyncio.sleep(0.02)


async def test_a_new_account_sends_while_the_earlier_one_finishes_and_is_withdrawn(
    settings: Settings, chain: ChainProcess
) -> None:
    wire = Wire()
    async with site_of(settings, wire) as site:
        own = site.vault.account
        await site.put("before")
        await site.drain()
        first = await site.replace()
        await site.put("between")
        await site.drain()
        assert [(await site.row(key)).account for key in ("before", "between")] == [own, first]
        assert await site.client.balance_of(first) > 9 * await site.client.balance_of(own), "the coins went along"
        assert await site.is_operator(first)

        def hold_coins(request: Any) -> dict[str, Any] | None:
            raw = bytes.fromhex(request["params"][0][2:])
            is_transfer = len(raw) < 150 and bytes(site.vault.senders[-1]) in raw
            return {"error": {"code": -32000, "message": "txpool is full"}} if is_transfer else None

        wire.answers["eth_sendRawTransaction"] = hold_coins
        replacing = asyncio.create_task(site.replace())

        async def has_begun() -> bool:
            return await site.sender() != first

        await until(has_begun)
        second = await site.sender()
        chain.fund(second)
        await site.put("after")

        async def is_sent() -> bool:
            return (await site.row("after")).status == "final"

        await until(is_sent)
        assert (await site.row("after")).account == second
        fund = f"{FUND}:{second.hex()}"

        async def is_held() -> bool:
            return (await site.row(fund)).status == "sent"

        await until(is_held)
        assert (await site.row(fund)).account == first
        assert await site.is_operator(first), "an account is not withdrawn while something of it is under way"
        assert not replacing.done()
        wire.answers.clear()
        async with site.container.database.begin() as session:
            await session.execute(update(OutboxTransaction).values(not_before=0))
        assert await replacing == second
        assert (await site.row(fund)).status == "final"
        assert [await site.is_operator(account) for account in (own, first, second)] == [True, False, True]
    states = [(key.state, key.kind) for key in await rotation.states(settings) if key.kind == "sender"]
    assert states == [("old", "sender"), ("old", "sender"), ("declared", "sender")]
    async with running(settings) as gateway:
        assert await sender_of(gateway.container) == second, "a gateway that starts sends by the new account"


async def sender_of(container: Container) -> Address:
    async with container.database.read() as session:
        return await sending_account(session, container.vault.account)


async def test_what_is_not_signed_goes_over_and_nonces_are_each_accounts_own(
    settings: Settings, chain: ChainProcess
) -> None:
    async with site_of(settings) as site:
        await site.put("first")
        nonce = await site.client.nonce(site.vault.account)
        assert await site.senders.submitter(site.vault.account).sign_next()
        await site.put("second")
        new = site.vault.add_sender()
        async with site.container.database.begin() as session:
            await succeed(session, site.vault.account, new, site.container.clock.now())
        assert not await site.senders.submitter(site.vault.account).sign_next()
        assert [(await site.row(key)).account for key in ("first", "second")] == [site.vault.account, new]
        chain.fund(new)
        await site.drain()
        assert [(await site.row(key)).status for key in ("first", "second")] == ["final", "final"]
        assert ((await site.row("first")).nonce, (await site.row("second")).nonce) == (nonce, 0)


async def test_an_account_without_coins_takes_no_place(
    settings: Settings, chain: ChainProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site_of(settings) as site:

        async def nothing(*_: Any) -> int:
            return 0

        monkeypatch.setattr(succession, "_movable", nothing)
        with pytest.raises(UnavailableError, match="send it some") as refused:
            await site.replace()
        assert refused.value.code == "sender-unfinished"
        assert await site.sender() == site.vault.account
        (waiting,) = site.vault.senders[1:]
        chain.fund(waiting)
        assert await site.replace() == waiting, "the account that waits is not made twice"


# --- losses ---------------------------------------------------------------------------------------------------


async def test_a_lost_account_gives_way_to_the_gateways_own_and_is_withdrawn(
    settings: Settings, chain: ChainProcess
) -> None:
    async with site_of(settings) as site:
        lost = await site.replace()
        await site.put("stuck")
        assert await site.senders.submitter(lost).sign_next()
        await site.put("queued")
        account = site.vault.export_account()
    shutil.rmtree(settings.data / VAULT)
    rotation.import_account(settings, account.hex())
    with pytest.raises(VaultError) as refused:
        async with running(settings):
            pass
    assert refused.value.code == "vault-key-missing"
    chain.fund(AccountKey(account).address)
    await rotation.rotate(settings, tuple(KeyKind))
    async with site_of(settings) as site:
        await site.drain()
        for key in ("stuck", "queued"):
            row = await site.row(key)
            assert (row.account, row.status) == (site.vault.account, "final")
        assert await site.is_operator(lost), "a lost key is not a leaked one: it is withdrawn by the next rotation"
        assert await site.replace() not in {lost, site.vault.account}
        assert not await site.is_operator(lost)


async def test_a_database_from_before_a_rotation_is_told_and_healed(settings: Settings) -> None:
    async with site_of(settings) as site:
        first = await site.replace()
        second = await site.replace()
        async with site.container.database.begin() as session:
            await session.execute(delete(SendingAccount).where(SendingAccount.address == second))
            await session.execute(update(SendingAccount).where(SendingAccount.address == first).values(ended_at=None))
            await session.execute(delete(OutboxAttempt))
            await session.execute(delete(OutboxTransaction))
    with pytest.raises(LocalError) as refused:
        async with running(settings):
            pass
    assert refused.value.code == "sender-withdrawn"
    async with site_of(settings) as site:
        assert await site.sender() == first
        assert await site.replace() == second, "an account that waits in the vault needs no other"
    async with running(settings):
        pass


# --- kills ----------------------------------------------------------------------------------------------------


class Killed(Exception):  # noqa: N818 (what happens to a process)
    """The process ends here."""


class CountedWire(Wire):
    """Ends the process before its `number`-th request."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.left -= 1
        if self.left == 0:
            raise Killed
        return await super().handle_async_request(request)


@contextmanager
def killed_at(site: Site, wire: CountedWire, kind: str, number: int) -> Iterator[list[int]]:
    """Kill what happens inside before its `number`-th statement or request; gives how many there were."""
    left = [number]

    def before(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    engine = site.container.database.engine.sync_engine
    wire.left = number if kind == "request" else 0
    if kind == "statement":
        event.listen(engine, "before_cursor_execute", before)
    try:
        with suppress(Killed):
            yield left
    finally:
        if kind == "statement":
            event.remove(engine, "before_cursor_execute", before)
        else:
            left[0], wire.left = wire.left, 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["statement", "request"])
async def test_a_succession_that_is_killed_anywhere_is_finished_by_the_same_command(
    settings: Settings, kind: str
) -> None:
    wire = CountedWire()
    async with site_of(settings, wire) as site:
        was_killed = True
        for sent, number in enumerate((*range(1, 12), *(12 + round(each**1.6) for each in range(40))), 1):
            await site.put(str(sent))
            before, made = await site.sender(), len(site.vault.senders)
            with killed_at(site, wire, kind, number) as left:
                await site.replace()
            was_killed = left[0] <= 0
            assert await site.sender() in {before, site.vault.senders[-1]}, "the earlier one or the new one"
            if was_killed:
                await site.replace()
            sender = await site.sender()
            assert (len(site.vault.senders), site.vault.senders[-1]) == (made + 1, sender), "one, however often"
            assert await site.is_operator(sender)
            assert before == site.vault.account or not await site.is_operator(before)
            await site.drain()
            async with site.container.database.read() as session:
                assert not await leaving(session)
                assert set(await session.scalars(select(OutboxTransaction.status))) == {"final"}
                found = select(func.count()).select_from(OutboxTransaction).where(OutboxTransaction.purpose == "test")
                assert await session.scalar(found) == sent
            if not was_killed:
                break
        assert not was_killed, "every point was reached"
