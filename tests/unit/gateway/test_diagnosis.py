"""The doctor tells everything that is wrong at once."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from platemark.protocol.cid import raw_cid
from platemark_gateway import diagnosis, support
from platemark_gateway.diagnosis import Finding, Level
from platemark_gateway.files import keeping
from platemark_gateway.models.blocks import KeptRoot, Purpose
from platemark_gateway.models.printlog import LogHead, LogWitness
from platemark_gateway.printlog.service import open_log
from platemark_gateway.settings import Settings
from platemark_gateway.worker.loop import StepState
from platemark_gateway.worker.reporting import report
from simulators.databases import DATABASES, database_of
from simulators.gateway import PASSPHRASE, SimulatedGateway, simulated_gateway

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DATABASES)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return await database_of(request.param, tmp_path)


@pytest.fixture
async def gateway(tmp_path: Path, database_url: str) -> AsyncIterator[SimulatedGateway]:
    async with simulated_gateway(tmp_path, database_url=database_url) as made:
        assert await open_log(made.container) is None
        yield made


def settings_of(gateway: SimulatedGateway, database_url: str, passphrase: str = PASSPHRASE) -> Settings:
    return Settings(
        data=gateway.container.settings.data,
        database_url=SecretStr(database_url),
        passphrase=SecretStr(passphrase),
        rpc_url="http://127.0.0.1:1",
    )


def told(findings: list[Finding], level: Level) -> dict[str, str]:
    return {each.part: each.text for each in findings if each.level is level}


async def test_everything_that_is_wrong_is_told_at_once(
    gateway: SimulatedGateway, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(1 << 40, 0, 1 << 20))
    lost = raw_cid(b"gone")
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogHead).values(quarantine="it is behind", quarantined_at=gateway.clock.now()))
        await keeping.note(session, gateway.container, lost, Purpose.TERMS)
        await session.execute(update(KeptRoot).values(problem="block-not-found"))
    failing = StepState(succeeded_at=gateway.clock.now(), failed_at=gateway.clock.now(), failures=7, code="disk-full")
    await report(gateway.container.database, {"outbox": failing})
    settings = settings_of(gateway, database_url, "not the passphrase").model_copy(
        update={"ipfs_api": "/ip4/127.0.0.1/tcp/1", "ipfs_replica_api": "/ip4/127.0.0.1/tcp/1"}
    )
    wrong = told(await diagnosis.examine(settings, gateway.clock), Level.WRONG)
    assert set(wrong) >= {
        "settings",
        "disk",
        "vault",
        "database",
        "log",
        "worker",
        "chain",
        "account",
        "blocks",
    }
    assert "[vault-passphrase]" in wrong["vault"]
    assert "[database-behind]" in wrong["database"]  # made without migrations
    assert "it is behind" in wrong["log"]
    assert wrong["worker"].startswith("outbox failed 7 times in a row, last with disk-full (hint: ")
    assert "[rpc-unreachable]" in wrong["chain"]
    assert "[ipfs-unreachable]" in wrong["blocks"]


async def test_a_step_that_lacks_what_the_log_needs_says_what_to_do(
    gateway: SimulatedGateway, database_url: str
) -> None:
    now = gateway.clock.now()
    failing = StepState(succeeded_at=now, failed_at=now, failures=3, code="index-behind")
    await report(gateway.container.database, {"reconcile": failing})
    wrong = told(await diagnosis.examine(settings_of(gateway, database_url), gateway.clock), Level.WRONG)
    assert wrong["worker"].startswith("reconcile failed 3 times in a row, last with index-behind (hint: wait until")
    assert "deposit a key again" in wrong["worker"]


async def test_a_root_that_is_lost_is_named(gateway: SimulatedGateway, database_url: str) -> None:
    lost = raw_cid(b"gone")
    async with gateway.container.database.begin() as session:
        await keeping.note(session, gateway.container, lost, Purpose.TERMS)
        await session.execute(update(KeptRoot).values(problem="block-not-found"))
    findings = await diagnosis.examine(settings_of(gateway, database_url), gateway.clock)
    assert Finding("blocks", f"terms {lost.text} is not whole [block-not-found]", Level.WRONG) in findings
    assert Finding("blocks", "lie in the data folder") in findings


async def test_each_witness_is_told_with_what_it_said_last(gateway: SimulatedGateway, database_url: str) -> None:
    one, two, new = gateway.witnessed("one.test", "two.test", "new.test")
    places = tuple(f"{each.key.text} http://127.0.0.1:1" for each in (one, two, new))
    async with gateway.container.database.begin() as session:
        for each, code in ((one, None), (two, "witness-unreachable")):
            session.add(LogWitness(epoch=1, witness=each.key.text, size=0, failures=0, code=code))
    settings = settings_of(gateway, database_url).model_copy(update={"witnesses": places})
    findings = await diagnosis.examine(settings, gateway.clock)
    assert [(each.text, each.level) for each in findings if each.part == "witness"] == [
        ("one.test cosigns", Level.WELL),
        ("two.test did not cosign last time: witness-unreachable", Level.NOTE),
        ("new.test was never asked", Level.NOTE),
    ]


async def test_what_works_is_well_and_what_should_be_known_is_noted(
    gateway: SimulatedGateway, database_url: str
) -> None:
    findings = await diagnosis.examine(settings_of(gateway, database_url), gateway.clock)
    assert {"settings", "data folder", "vault", "log", "outbox", "blocks"} <= set(told(findings, Level.WELL))
    assert told(findings, Level.NOTE)["worker"] == "has never worked"
    open_to_all = settings_of(gateway, database_url).model_copy(
        update={"url": "http://gateway.example", "cors_origins": ("*",), "host": "::"}
    )
    noted = [each.text for each in await diagnosis.examine(open_to_all, gateway.clock) if each.part == "settings"]
    assert len(noted) == 3


@pytest.mark.postgresql
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_with_another_time_of_day_is_named(gateway: SimulatedGateway, database_url: str) -> None:
    findings = await diagnosis.examine(settings_of(gateway, database_url), gateway.clock)  # which stands elsewhere
    assert "the database's clock is" in told(findings, Level.WRONG)["clock"]
    findings = await diagnosis.examine(settings_of(gateway, database_url))
    assert "clock" not in told(findings, Level.WRONG)


async def test_a_database_without_tables_is_named(gateway: SimulatedGateway, tmp_path: Path) -> None:
    file = tmp_path / "another.sqlite3"
    file.touch()
    wrong = told(await diagnosis.examine(settings_of(gateway, f"sqlite+aiosqlite:///{file}")), Level.WRONG)
    assert {"database", "state"} <= set(wrong)


async def test_a_database_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    """What was empty stays empty, so that a backup can be restored into it."""
    settings = Settings(data=tmp_path, passphrase=SecretStr(PASSPHRASE), rpc_url="http://127.0.0.1:1")
    wrong = told(await diagnosis.examine(settings), Level.WRONG)
    assert {"vault", "database", "state", "chain"} <= set(wrong)
    assert (await support.bundle(settings))["database"] == {"unreadable": "database-behind"}
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_a_database_that_is_not_there_is_not_made_for_an_account_that_is(
    gateway: SimulatedGateway, tmp_path: Path
) -> None:
    file = tmp_path / "another.sqlite3"
    wrong = told(await diagnosis.examine(settings_of(gateway, f"sqlite+aiosqlite:///{file}")), Level.WRONG)
    assert "database" in wrong
    assert not file.exists()
