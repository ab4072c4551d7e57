"""Backups are whole or not there; a restore leaves the old gateway or the new one, wherever it is killed."""

import json
import re
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from platemark.errors import LocalError, PlatemarkError
from platemark.protocol.checkpoint import NoteKey, open_checkpoint
from platemark.protocol.log_entry import ClosedEntry, OutcomeEntry, RedeemedEntry, Result, decode
from platemark.protocol.tiles import LogReader
from platemark.protocol.units import Digest32
from platemark_gateway.errors import VaultError
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogEntry, LogHead
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import service, shipping, waiting
from platemark_gateway.printlog.waiting import Waiting
from platemark_gateway.recovery import restoring
from platemark_gateway.recovery.backup import back_up
from platemark_gateway.recovery.manifest import open_backup
from platemark_gateway.recovery.restoring import finish, restore
from platemark_gateway.recovery.state import in_use
from platemark_gateway.worker import reconcile
from simulators.agent import Agent
from simulators.disasters import Stored, killed_at
from simulators.gateway import PASSPHRASE, SimulatedGateway

pytestmark = pytest.mark.anyio

SECRET = SecretStr(PASSPHRASE)


@pytest.fixture
def stored(gateway: SimulatedGateway, database_url: str) -> Stored:
    return Stored(gateway, database_url)


async def publish(gateway: SimulatedGateway) -> None:
    while await service.sequence_once(gateway.container):
        pass


def read_log(gateway: SimulatedGateway) -> LogReader:
    profile = gateway.container.profile
    files = service.files_of(gateway.container)
    checkpoint = open_checkpoint(files.read_checkpoint() or b"", NoteKey(profile.log_origin, profile.log_key))
    return LogReader(checkpoint.size, checkpoint.root, files.read)


async def quarantine_of(gateway: SimulatedGateway) -> str | None:
    async with gateway.container.database.read() as session:
        return (await session.scalars(select(LogHead))).one().quarantine


async def check_that_all_agree(gateway: SimulatedGateway, token_id: int) -> list[bytes]:
    """Return the log's entries after database, log and chain were found to say the same."""
    log = read_log(gateway)
    entries = list(log.entries())
    async with gateway.container.database.read() as session:
        rows = (await session.scalars(select(LogEntry).order_by(LogEntry.position))).all()
        prints = {row.leaf_hash for row in await session.scalars(select(Print))}
        outcomes = {row.leaf_hash for row in await session.scalars(select(PrintOutcome))}
        token = await session.get_one(Token, token_id)
        head = (await session.scalars(select(LogHead))).one()
    assert [row.entry for row in rows] == entries
    assert (head.size, head.root) == (log.size, log.root)
    decoded = [(decode(row.entry), row.leaf_hash) for row in rows]
    assert {leaf for entry, leaf in decoded if isinstance(entry, RedeemedEntry)} == prints
    assert {leaf for entry, leaf in decoded if isinstance(entry, OutcomeEntry)} == outcomes
    sequences = [entry.sequence for entry, _ in decoded if isinstance(entry, RedeemedEntry)]
    assert sequences == list(range(1, token.released + 1)), "each print is there once, in order"
    chain = await gateway.container.chain.gateway(gateway.container.vault.account)
    assert chain.size <= head.size
    return entries


# --- the drill: an old backup, the log's own tiles or a shipped copy ------------------------------------------


@pytest.mark.parametrize("from_copy", [False, True], ids=["own tiles", "shipped copy"])
async def test_an_old_backup_is_restored_and_log_database_and_chain_agree(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory, from_copy: bool
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy, anchor_seconds=1)
    await agent.redeem(1)
    await publish(gateway)
    stored.back_up(backup)

    await agent.finish(1)
    await agent.redeem(2)
    report = agent.report(2, Result.FAILED)
    await agent.send_report(report)
    await publish(gateway)
    gateway.clock.forward(60)
    assert await service.anchor_once(gateway.container)
    await stored.mine()
    asked = agent.request(3)
    released, _ = agent.verify(asked, (await agent.send(asked)).json())
    if from_copy:
        assert await shipping.ship(gateway.container)
    before = read_log(gateway)

    if from_copy:
        await stored.lose()
        done = await stored.bring_back(backup, tail=copy)
        assert (done.log_size, done.log_from) == (before.size, "the shipped copy")
    else:
        done = await stored.bring_back(backup, replace=True)
        assert (done.log_size, done.log_from) == (before.size, "the data folder")
    assert await service.open_log(gateway.container) is not None
    refused = await agent.send(agent.request(2))
    assert (refused.status_code, refused.json()["code"]) == (503, "quarantine")
    assert await reconcile.step(gateway.container)
    assert await quarantine_of(gateway) is None
    state = await agent.state()
    assert (state["released"], state["voided"]) == (3 if from_copy else 2, 1)

    again, _ = agent.verify(asked, (await agent.send(asked)).json())
    assert again.leaf_hash == released.leaf_hash, "released once, under one content"
    assert (await agent.send_report(report)).json()["spareUsed"] is True
    await agent.redeem(4)
    await publish(gateway)
    entries = await check_that_all_agree(gateway, agent.token_id)
    assert entries[: before.size] == list(before.entries())
    kinds = [type(decode(entry)) for entry in entries]
    assert kinds == [RedeemedEntry, OutcomeEntry, RedeemedEntry, OutcomeEntry, RedeemedEntry, RedeemedEntry]
    gateway.clock.forward(60)
    assert await service.anchor_once(gateway.container), "the log goes on to be anchored"


async def test_a_token_that_was_issued_after_the_backup_is_made_again_from_the_log(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup = tmp_path_factory.mktemp("away") / "backup"
    await agent.redeem(1)
    await publish(gateway)
    stored.back_up(backup)
    late = Agent(gateway, agent.designer, salt=Digest32(b"\x02" * 32), prints=3)
    assert (await late.reserve()).status_code == 202
    await stored.mine()
    await late.take_token()
    issued = late.token_text
    await late.redeem(1)
    await publish(gateway)
    await stored.bring_back(backup, replace=True)
    await service.open_log(gateway.container)
    assert await reconcile.step(gateway.container)
    await late.redeem(2)
    await late.take_token()
    assert late.token_text == issued


async def test_the_end_of_a_token_is_told_again_when_only_the_copy_knew_it(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    await agent.redeem(1)
    await agent.finish(1)
    await publish(gateway)
    stored.back_up(backup)
    await agent.stop()
    assert await reconcile.end_tokens(gateway.container)
    assert await shipping.ship(gateway.container)
    await come_back(stored, backup, copy)
    assert await reconcile.end_tokens(gateway.container)
    await publish(gateway)
    assert [type(decode(entry)) for entry in read_log(gateway).entries()][-1] is ClosedEntry
    assert (await agent.send(agent.request(2))).json()["code"] == "token-stopped"


async def come_back(stored: Stored, backup: Path, copy: Path) -> None:
    """Lose the machine, and restore a backup and a shipped copy, until database and log agree."""
    await stored.lose()
    await stored.bring_back(backup, tail=copy)
    await service.open_log(stored.gateway.container)
    await reconcile.step(stored.gateway.container)


async def stop(agent: Agent) -> None:
    assert (await agent.stop()).status_code == 200


async def offer_to_close(agent: Agent) -> None:
    assert (await agent.offer_close(agent.gateway.clock.now() + 3600)).status_code == 200


async def recall(agent: Agent) -> None:
    assert (await agent.designer.recall()).status_code == 202


@pytest.mark.parametrize(
    "act, code", [(stop, "token-stopped"), (offer_to_close, "token-closed"), (recall, "revision-recalled")]
)
async def test_what_forbade_before_the_loss_and_is_in_no_block_forbids_again(
    agent: Agent,
    gateway: SimulatedGateway,
    stored: Stored,
    tmp_path_factory: pytest.TempPathFactory,
    act: Callable[[Agent], Awaitable[None]],
    code: str,
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    await agent.redeem(1)
    await publish(gateway)
    stored.back_up(backup)
    await agent.redeem(2)
    await act(agent)
    before = await agent.state()
    assert (await agent.send(agent.request(3))).json()["code"] == code
    assert await shipping.ship(gateway.container)
    await come_back(stored, backup, copy)
    assert await quarantine_of(gateway) is None
    assert (await agent.send(agent.request(3))).json()["code"] == code
    assert (await agent.state()) == before
    await publish(gateway)
    await check_that_all_agree(gateway, agent.token_id)


async def test_what_forbids_already_stays_as_it_is(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    await agent.redeem(1)
    await publish(gateway)
    for act in (offer_to_close, stop, recall):
        await act(agent)
    stored.back_up(backup)
    before = await agent.state()
    await shipping.ship(gateway.container)
    await come_back(stored, backup, copy)
    assert await quarantine_of(gateway) is None
    assert (await agent.state()) == before


async def test_a_stop_of_what_no_block_has_yet_forbids_when_one_has_it(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    await agent.redeem(1)
    await publish(gateway)
    stored.back_up(backup)
    late = Agent(gateway, agent.designer, salt=Digest32(b"\x02" * 32), prints=3)
    assert (await late.reserve()).status_code == 202
    await stop(late)
    assert await shipping.ship(gateway.container)
    await come_back(stored, backup, copy)
    assert await quarantine_of(gateway) is None
    assert (await late.state())["stopped"]
    await agent.redeem(2)
    assert (await late.reserve()).status_code == 202, "anybody who has the permission brings it to the ledger"
    await stored.mine()
    assert (await late.order_token()).json()["code"] == "token-stopped"


async def test_stops_of_permissions_that_no_block_takes_any_more_are_left_out(
    agent: Agent, gateway: SimulatedGateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    late = Agent(gateway, agent.designer, salt=Digest32(b"\x02" * 32), prints=3)
    assert (await late.reserve()).status_code == 202
    await stop(late)
    await stop(agent)
    assert await shipping.ship(gateway.container)
    assert stops_in(gateway, copy) == {late.token_id, agent.token_id}
    gateway.clock.forward(10 * 365 * 86_400)
    await gateway.chain.mine()
    assert await shipping.ship(gateway.container)
    assert stops_in(gateway, copy) == {agent.token_id}


async def test_more_acts_than_a_file_may_have_are_cut_and_can_be_restored(
    agent: Agent,
    gateway: SimulatedGateway,
    stored: Stored,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    monkeypatch.setattr(waiting, "MOST_ACTS", 1)
    await agent.redeem(1)
    await agent.finish(1)
    stored.back_up(backup)
    await stop(agent)
    assert await reconcile.end_tokens(gateway.container)
    late = Agent(gateway, agent.designer, salt=Digest32(b"\x02" * 32), prints=3)
    assert (await late.reserve()).status_code == 202
    await stop(late)
    assert await shipping.ship(gateway.container)
    assert stops_in(gateway, copy) == {late.token_id}
    await come_back(stored, backup, copy)
    assert await quarantine_of(gateway) is None


def stops_in(gateway: SimulatedGateway, copy: Path) -> set[int]:
    """Return the tokens whose stops lie beside a copy."""
    found = Waiting.parse((copy / "waiting").read_bytes(), gateway.container.vault)
    domain = gateway.chain.deployment.ledger_domain()
    return {stop.permission.token_id(domain) for stop in found.forbidding.stops}


async def test_an_older_checkpoint_beside_newer_entries_is_refused_before_anything_is_touched(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    await agent.redeem(1)
    await publish(gateway)
    assert await shipping.ship(gateway.container)
    older = (copy / "checkpoint").read_bytes()
    stored.back_up(backup)
    await agent.redeem(2)
    await publish(gateway)
    await agent.redeem(3)
    assert await shipping.ship(gateway.container)
    (copy / "checkpoint").write_bytes(older)
    await stored.lose()
    with pytest.raises(PlatemarkError) as caught:
        await stored.bring_back(backup, tail=copy)
    assert caught.value.code == "waiting-ahead"


async def test_a_backup_of_a_gateway_that_has_not_counted_its_restore_yet_loses_no_print(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, copy = tmp_path_factory.mktemp("away"), tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    await agent.redeem(1)
    await publish(gateway)
    stored.back_up(folder / "first")
    await agent.redeem(2)
    await shipping.ship(gateway.container)
    await stored.lose()
    await stored.bring_back(folder / "first", tail=copy)
    stored.back_up(folder / "second")
    await stored.lose()
    await stored.bring_back(folder / "second")
    await service.open_log(gateway.container)
    assert await reconcile.step(gateway.container)
    assert (await agent.state())["released"] == 2
    await publish(gateway)
    await check_that_all_agree(gateway, agent.token_id)


async def test_entries_beside_a_copy_that_somebody_changed_are_refused_before_anything_is_touched(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup, copy = tmp_path_factory.mktemp("away") / "backup", tmp_path_factory.mktemp("copy")
    gateway.choose(ship_to=copy)
    await agent.redeem(1)
    await publish(gateway)
    stored.back_up(backup)
    await agent.redeem(2)
    await shipping.ship(gateway.container)
    tail = json.loads((copy / "waiting").read_text())
    assert len(tail["entries"]) == 1
    tail["entries"] = []
    (copy / "waiting").write_text(json.dumps(tail, separators=(",", ":"), sort_keys=True))
    with pytest.raises(PlatemarkError) as caught:
        await stored.bring_back(backup, tail=copy, replace=True)
    assert caught.value.code == "waiting-foreign"
    assert (await agent.state())["released"] == 2


# --- backups --------------------------------------------------------------------------------------------------


async def test_a_backup_holds_everything_and_shows_nothing_to_others(
    agent: Agent, gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backup = tmp_path_factory.mktemp("away") / "backup"
    data = stored.settings.data
    (data / "passphrase").write_text(PASSPHRASE)
    (data / "blocks" / "aa").mkdir(parents=True)
    (data / "blocks" / "aa" / "bafk").write_bytes(b"a block")
    await agent.redeem(1)
    await publish(gateway)
    manifest = stored.back_up(backup)
    assert manifest == open_backup(backup)
    dump = "database.sqlite3" if gateway.container.database.is_sqlite else "database.dump"
    assert {dump, "vault/vault.json", "gateway.json", "deployment.json", "log/checkpoint", "blocks/aa/bafk"} <= set(
        manifest.files
    )
    assert not any("passphrase" in path for path in manifest.files)
    for path in [backup, *backup.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
        if path.is_file():
            assert PASSPHRASE.encode() not in path.read_bytes()


async def test_a_backup_takes_no_name_that_is_taken(
    gateway: SimulatedGateway, stored: Stored, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("taken")
    with pytest.raises(LocalError) as caught:
        stored.back_up(folder)
    assert caught.value.code == "backup-exists"
    (stored.settings.data / "gateway.json").unlink()
    with pytest.raises(LocalError) as caught:
        stored.back_up(folder / "new")
    assert caught.value.code == "state-missing"


# --- what is refused ------------------------------------------------------------------------------------------

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What a restore refuses does not depend on the database."""


@pytest.fixture
def backup(stored: Stored, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of a gateway."""
    folder = tmp_path_factory.mktemp("away") / "backup"
    stored.back_up(folder)
    return folder


async def refused(stored: Stored, backup: Path, code: str, *, replace: bool = True) -> PlatemarkError:
    """Return the error when a restore is refused in one line and the data folder is as it was."""
    await stored.gateway.container.database.close()
    before = {path: path.read_bytes() for path in stored.settings.data.rglob("*") if path.is_file()}
    with pytest.raises(PlatemarkError) as caught:
        await stored.bring_back(backup, replace=replace)
    assert caught.value.code == code
    assert "\n" not in caught.value.message
    after = {path: path.read_bytes() for path in stored.settings.data.rglob("*") if path.is_file()}
    same = {path for path in before if path.name != "gateway.sqlite3-shm"} & set(after)
    assert {path for path in same if before[path] != after[path]} == set()
    assert not (stored.settings.data / ".restore").exists()
    return caught.value


@on_sqlite
async def test_a_gateway_that_is_there_is_not_replaced_unasked(stored: Stored, backup: Path) -> None:
    data = stored.settings.data
    (data / ".gateway.json.lock").touch()
    error = await refused(stored, backup, "restore-target", replace=False)
    assert error.message.startswith(f"{data} already holds a gateway's data: ")
    assert {"gateway.json", "vault"} <= set(re.findall(r"[^ ,;]+", error.message))
    assert ".lock" not in error.message
    assert error.hint is not None
    assert "--replace" in error.hint
    for name in ("gateway.json", "deployment.json", "vault", "log", "blocks"):
        if (data / name).exists():
            (data / name).rename(data.parent / name)
    error = await refused(stored, backup, "restore-target", replace=False)
    assert error.message == f"{data} is not empty: it holds gateway.sqlite3; nothing was changed"


@on_sqlite
async def test_a_damaged_or_foreign_backup_is_refused(stored: Stored, backup: Path) -> None:
    for path in (backup / name for name in open_backup(backup).files):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        await refused(stored, backup, "backup-damaged")
        path.unlink()
        await refused(stored, backup, "backup-damaged")
        path.write_bytes(whole)
    (backup / "more").write_bytes(b"")
    await refused(stored, backup, "backup-damaged")
    (backup / "more").unlink()
    manifest = (backup / "manifest.json").read_bytes()
    for other in (b"{}", manifest.replace(b"platemark-gateway-backup", b"another-program's-backup"), b""):
        (backup / "manifest.json").write_bytes(other)
        await refused(stored, backup, "backup-foreign")
    (backup / "manifest.json").unlink()
    await refused(stored, backup, "backup-foreign")


@on_sqlite
async def test_the_backup_of_another_gateway_is_refused(stored: Stored, backup: Path) -> None:
    state = stored.settings.data / "gateway.json"
    found = json.loads(state.read_text())
    state.write_text(json.dumps({**found, "chainId": found["chainId"] + 1}))
    await refused(stored, backup, "backup-foreign")


@on_sqlite
async def test_another_passphrase_restores_nothing(stored: Stored, backup: Path) -> None:
    with pytest.raises(VaultError) as caught:
        restore(stored.settings, backup, SecretStr("another passphrase"), stored.gateway.clock, replace=True)
    assert caught.value.code == "vault-passphrase"
    assert not (stored.settings.data / ".restore").exists()


@on_sqlite
async def test_a_gateway_that_runs_is_not_restored(stored: Stored, backup: Path) -> None:
    with in_use(stored.settings.data):
        await refused(stored, backup, "gateway-running")
        back_up(stored.settings, backup.with_name("another"), stored.gateway.clock)


@on_sqlite
async def test_a_folder_that_is_no_copy_of_the_log_is_refused(stored: Stored, backup: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        await stored.bring_back(backup, tail=tmp_path / "nowhere", replace=True)
    assert caught.value.code == "backup-foreign"


# --- kills ----------------------------------------------------------------------------------------------------


def released(database: Path) -> int:
    with closing(sqlite3.connect(database)) as found:
        return int(found.execute("SELECT max(released) FROM tokens").fetchone()[0])


@on_sqlite
async def test_a_kill_at_any_point_of_a_restore_leaves_the_old_gateway_or_the_new_one(
    agent: Agent, stored: Stored, backup: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await agent.redeem(1)
    await stored.gateway.container.database.close()
    kept = tmp_path_factory.mktemp("kept") / "data"
    shutil.copytree(stored.settings.data, kept)
    seen, number = set(), 0
    while True:
        number += 1
        data = tmp_path_factory.mktemp("killed") / "data"
        shutil.copytree(kept, data)
        url = SecretStr(f"sqlite+aiosqlite:///{data / 'gateway.sqlite3'}")
        settings = stored.settings.model_copy(update={"data": data, "database_url": url})

        def work(settings: object = settings) -> None:
            restore(settings, backup, SECRET, stored.gateway.clock, replace=True)  # type: ignore[arg-type]

        died = killed_at(number, data, work)
        finish(settings)
        assert not (data / ".restore" / "plan.json").exists()
        found = released(data / "gateway.sqlite3")
        replaced = sorted(path.name for path in data.glob("*.replaced-*"))
        assert bool(replaced) == (found == 0), "old and all of it, or new and all of it"
        if found == 0:
            assert {"vault", "gateway.json", "deployment.json"} <= {name.split(".replaced")[0] for name in replaced}
        seen.add(found)
        if died:
            restore(settings, backup, SECRET, stored.gateway.clock, replace=True)
            assert released(data / "gateway.sqlite3") == 0
        shutil.rmtree(data)
        if not died:
            break
    assert number > 15, "a restore changes the disk more often than that"
    assert seen == {0, 1}


@on_sqlite
async def test_a_kill_at_any_point_of_a_backup_leaves_none(
    stored: Stored, backup: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, number = tmp_path_factory.mktemp("partial"), 0
    while True:
        number += 1
        target = folder / "backup"
        died = killed_at(number, folder, lambda: back_up(stored.settings, folder / "backup", stored.gateway.clock))
        if target.exists():
            open_backup(target)
            shutil.rmtree(target)
        if not died:
            break
    assert number > 5
    assert list(folder.iterdir()) == []


@on_sqlite
async def test_what_a_killed_restore_left_is_finished_by_whoever_comes_next(stored: Stored, backup: Path) -> None:
    await stored.gateway.container.database.close()
    data = stored.settings.data
    again = partial(restore, stored.settings, backup, SECRET, stored.gateway.clock, replace=True)
    assert killed_at(1, data / ".restore" / "new" / "vault", again)
    assert not (data / ".restore" / restoring.PLAN).exists()
    with in_use(data), pytest.raises(LocalError) as caught:
        again()
    assert caught.value.code == "gateway-running"
    finish(stored.settings)
    assert again().log_size == 0
