"""An old backup is restored under a log that has gone on: nothing is released before all of it is counted again."""

import contextlib
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from platemark.errors import VerificationError
from platemark.protocol.checkpoint import NoteKey, open_checkpoint
from platemark.protocol.log_entry import ClosedEntry, OutcomeEntry, RedeemedEntry, Result, decode
from platemark.protocol.tiles import LogReader
from platemark.protocol.units import Digest32
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogEntry, LogHead
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import service
from platemark_gateway.printlog.errors import LogForkedError
from platemark_gateway.worker import reconcile
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio


async def publish(gateway: SimulatedGateway) -> None:
    while await service.sequence_once(gateway.container):
        pass


@dataclass(frozen=True)
class Backup:
    """What an old backup remembers of counts and log."""

    tokens: dict[int, dict[str, Any]]
    entries: int
    head: dict[str, Any]


async def back_up(gateway: SimulatedGateway) -> Backup:
    async with gateway.container.database.read() as session:
        tokens = (await session.scalars(select(Token))).all()
        head = (await session.scalars(select(LogHead))).one()
        entries = (await session.scalars(select(LogEntry.id).order_by(LogEntry.id.desc()).limit(1))).first()
    names = ("released", "voided", "stopped_at", "stop_signature", "ended_at")
    return Backup(
        {row.token_id: {name: getattr(row, name) for name in names} for row in tokens},
        entries or 0,
        {name: getattr(head, name) for name in ("assigned", "size", "root")},
    )


async def restore(gateway: SimulatedGateway, backup: Backup) -> None:
    """Let the database be as it was; the log's folder stays as it is."""
    async with gateway.container.database.begin() as session:
        lost = (await session.scalars(select(LogEntry).where(LogEntry.id > backup.entries))).all()
        leaves = [row.leaf_hash for row in lost]
        await session.execute(delete(PrintOutcome).where(PrintOutcome.leaf_hash.in_(leaves)))
        await session.execute(delete(Print).where(Print.leaf_hash.in_(leaves)))
        await session.execute(delete(LogEntry).where(LogEntry.id > backup.entries))
        size = backup.head["assigned"]
        await session.execute(update(LogEntry).where(LogEntry.position >= size).values(position=None))
        for token_id, values in backup.tokens.items():
            await session.execute(update(Token).where(Token.token_id == token_id).values(**values))
        await session.execute(update(LogHead).values(**backup.head))


async def head_of(gateway: SimulatedGateway) -> LogHead:
    async with gateway.container.database.read() as session:
        return (await session.scalars(select(LogHead))).one()


def read_log(gateway: SimulatedGateway) -> LogReader:
    profile = gateway.container.profile
    files = service.files_of(gateway.container)
    checkpoint = open_checkpoint(files.read_checkpoint() or b"", NoteKey(profile.log_origin, profile.log_key))
    return LogReader(checkpoint.size, checkpoint.root, files.read)


async def test_a_restored_backup_counts_everything_again_before_it_releases(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await publish(gateway)
    await agent.redeem(2)
    backup = await back_up(gateway)
    await agent.finish(1)
    await agent.redeem(3)
    report = agent.report(2, Result.FAILED)
    first_answer = (await agent.send_report(report)).json()
    await publish(gateway)
    unpublished = agent.request(4)
    released, _ = agent.verify(unpublished, (await agent.send(unpublished)).json())
    before = read_log(gateway)

    await restore(gateway, backup)
    assert await service.open_log(gateway.container) is not None
    refused = await agent.send(agent.request(3))
    assert (refused.status_code, refused.json()["code"]) == (503, "quarantine")
    assert await reconcile.step(gateway.container)
    state = await agent.state()
    assert (state["released"], state["voided"], state["nextSequence"]) == (3, 1, 4)
    head = await head_of(gateway)
    assert (head.size, head.root, head.quarantine) == (before.size, before.root, None)

    again, _ = agent.verify(unpublished, (await agent.send(unpublished)).json())
    assert again.leaf_hash == released.leaf_hash, "the promise that the agent holds can be kept"
    await agent.redeem(3)
    answer = (await agent.send_report(report)).json()
    assert (answer["spareUsed"], answer["receipt"]) == (True, first_answer["receipt"])
    await agent.redeem(5)
    await publish(gateway)
    log = read_log(gateway)
    assert log.old_root(before.size) == before.root
    kinds = [
        (type(entry), entry.sequence) for entry in map(decode, log.entries()) if not isinstance(entry, ClosedEntry)
    ]
    assert kinds == [
        (RedeemedEntry, 1),
        (RedeemedEntry, 2),
        (OutcomeEntry, 1),
        (RedeemedEntry, 3),
        (OutcomeEntry, 2),
        (RedeemedEntry, 4),
        (RedeemedEntry, 5),
    ]


async def test_a_token_that_ended_stays_ended(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    backup = await back_up(gateway)
    await agent.finish(1)
    await agent.stop()
    assert await reconcile.end_tokens(gateway.container)
    await publish(gateway)
    await restore(gateway, backup)
    await reconcile.step(gateway.container)
    assert (await agent.state())["stopped"], "the log says why it ended"
    assert (await agent.send(agent.request(2))).json()["code"] == "token-stopped"


async def test_a_log_whose_tokens_are_not_indexed_waits_for_the_index(agent: Agent, gateway: SimulatedGateway) -> None:
    backup = await back_up(gateway)
    await agent.redeem(1)
    await publish(gateway)
    await restore(gateway, backup)
    async with gateway.container.database.begin() as session:
        row = await session.get_one(Token, agent.token_id)
        values = {column.key: getattr(row, column.key) for column in Token.__table__.columns}
        await session.delete(row)
    with pytest.raises(Exception, match="has not been read"):
        await reconcile.step(gateway.container)
    assert (await head_of(gateway)).quarantine is not None
    async with gateway.container.database.begin() as session:
        session.add(Token(**values))
    assert await reconcile.step(gateway.container)
    await agent.redeem(1)
    await agent.redeem(2)


async def test_a_forked_database_is_never_mended(agent: Agent, gateway: SimulatedGateway) -> None:
    backup = await back_up(gateway)
    await agent.redeem(1)
    await publish(gateway)
    published = service.files_of(gateway.container).read_checkpoint()
    await restore(gateway, backup)
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogHead).values(size=0, assigned=0, root=Digest32(b"\x01" * 32)))
    with pytest.raises(LogForkedError):
        await reconcile.step(gateway.container)
    assert (await agent.send(agent.request(1))).json()["code"] == "quarantine"
    assert service.files_of(gateway.container).read_checkpoint() == published


async def test_an_entry_that_was_changed_in_the_tiles_is_not_counted(agent: Agent, gateway: SimulatedGateway) -> None:
    backup = await back_up(gateway)
    await agent.redeem(1)
    await publish(gateway)
    await restore(gateway, backup)
    path = gateway.container.settings.data / "log" / "tile" / "entries" / "000.p" / "1"
    change_last_byte(path)
    with pytest.raises(VerificationError):
        await reconcile.step(gateway.container)
    assert (await agent.state())["released"] == 0
    with contextlib.suppress(VerificationError):
        await reconcile.step(gateway.container)
    assert (await head_of(gateway)).quarantine is not None


def change_last_byte(path: Any) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
