"""Checkpoints and their witnesses, who may be away, ahead, behind, slow or opposed: the log goes on."""

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from platemark.protocol import merkle
from platemark.protocol.checkpoint import Note, NoteKey, open_checkpoint
from platemark.protocol.units import Digest32
from platemark_gateway.models.printlog import LogEntry, LogHead, LogWitness
from platemark_gateway.printlog import service, shipping
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio


async def grow(gateway: SimulatedGateway, count: int) -> None:
    """Let the log grow by entries that no redemption wrote."""
    async with gateway.container.database.begin() as session:
        start = len((await session.scalars(select(LogEntry.id))).all())
        for number in range(start, start + count):
            entry = b"entry %d" % number
            leaf, now = merkle.leaf_hash(entry), gateway.clock.now()
            session.add(LogEntry(kind=1, token_id=number, entry=entry, leaf_hash=leaf, created_at=now))
    while await service.sequence_once(gateway.container):
        pass


async def published(gateway: SimulatedGateway) -> Note:
    answer = await gateway.client.get("/log/checkpoint")
    profile = gateway.container.profile
    open_checkpoint(answer.content, NoteKey(profile.log_origin, profile.log_key))
    return Note.parse(answer.content)


async def cosigners(gateway: SimulatedGateway) -> set[str]:
    """Return who cosigned the published checkpoint, each checked."""
    note = await published(gateway)
    names = {line.name for line in note.signatures} - {gateway.container.profile.log_origin}
    for witness in gateway.container.witnesses:
        if witness.key.name in names:
            assert witness.key.verify(note) is not None
    return names


async def told(gateway: SimulatedGateway, name: str) -> tuple[str, str]:
    """Return what health and metrics tell of a witness: its state, and whether it fails."""
    state = (await gateway.client.get("/readyz")).json()["parts"][f"witness-{name}"]
    metrics = (await gateway.client.get("/metrics")).text
    failing = re.search(rf'platemark_witness_failing{{witness="{name}"}} (\d)', metrics)
    assert failing is not None
    return state, failing[1]


async def test_a_checkpoint_is_published_with_the_cosignatures_of_its_witnesses(gateway: SimulatedGateway) -> None:
    one, two = gateway.witnessed("one.test", "two.test")
    assert await told(gateway, "one.test") == ("waiting", "0")
    await grow(gateway, 3)
    assert await cosigners(gateway) == {"one.test", "two.test"}
    await grow(gateway, 300)
    assert await cosigners(gateway) == {"one.test", "two.test"}
    assert (one.size, two.size) == (303, 303)
    assert await told(gateway, "two.test") == ("ok", "0")
    assert 'platemark_witness_size{witness="one.test"} 303' in (await gateway.client.get("/metrics")).text


async def test_a_witness_that_is_away_stops_nothing_and_cosigns_later(gateway: SimulatedGateway) -> None:
    _, two = gateway.witnessed("one.test", "two.test")
    two.is_away = True
    await grow(gateway, 3)
    assert await cosigners(gateway) == {"one.test"}
    assert await told(gateway, "two.test") == ("witness-unreachable", "1")
    assert (await gateway.client.get("/readyz")).status_code == 200
    two.is_away = False
    assert not await service.ask_witnesses(gateway.container), "it is left alone for a while"
    assert two.asked == 1
    gateway.clock.forward(5)
    assert await service.ask_witnesses(gateway.container)
    assert await cosigners(gateway) == {"one.test", "two.test"}
    assert await told(gateway, "two.test") == ("ok", "0")
    assert not await service.ask_witnesses(gateway.container), "nothing is lacking"
    assert two.asked == 2


async def test_the_longer_a_witness_is_away_the_more_rarely_it_is_asked(gateway: SimulatedGateway) -> None:
    (one,) = gateway.witnessed("one.test")
    one.is_away = True
    await grow(gateway, 1)
    for pause in (5, 10, 20, 40, 80, 160, 320, 600, 600):
        gateway.clock.forward(pause - 1)
        await service.ask_witnesses(gateway.container)
        asked = one.asked
        gateway.clock.forward(1)
        await service.ask_witnesses(gateway.container)
        assert one.asked == asked + 1
    assert (await row_of(gateway)).failures == one.asked == 10
    gateway.clock.forward(599)
    await service.ask_witnesses(gateway.container)
    assert one.asked == 10
    gateway.clock.forward(1)
    await service.ask_witnesses(gateway.container)
    assert one.asked == 11


async def row_of(gateway: SimulatedGateway) -> LogWitness:
    async with gateway.container.database.read() as session:
        return (await session.scalars(select(LogWitness))).one()


async def test_a_witness_that_does_not_answer_is_waited_for_so_long_and_no_longer(gateway: SimulatedGateway) -> None:
    one, _ = gateway.witnessed("one.test", "two.test")
    gateway.choose(witness_seconds=0.05)
    one.hangs = True
    await grow(gateway, 3)
    assert await cosigners(gateway) == {"two.test"}
    assert await told(gateway, "one.test") == ("witness-unreachable", "1")


@pytest.mark.parametrize("knows", [0, 2])
async def test_a_witness_that_knows_less_than_was_thought_is_asked_from_there(
    gateway: SimulatedGateway, knows: int
) -> None:
    (one,) = gateway.witnessed("one.test")
    await grow(gateway, 2)
    two = (one.size, one.root)
    await grow(gateway, 3)
    one.size, one.root = two if knows else (0, merkle.EMPTY_ROOT)
    await grow(gateway, 4)
    assert await cosigners(gateway) == {"one.test"}
    assert one.size == 9


async def test_a_witness_that_knows_more_than_was_thought_is_asked_from_there(gateway: SimulatedGateway) -> None:
    gateway.witnessed("one.test")
    await grow(gateway, 5)
    async with gateway.container.database.begin() as session:
        (await session.scalars(select(LogWitness))).one().size = 1
    await grow(gateway, 5)
    assert await cosigners(gateway) == {"one.test"}


async def test_a_witness_that_saw_more_than_there_is_is_told_and_stops_nothing(gateway: SimulatedGateway) -> None:
    (one,) = gateway.witnessed("one.test")
    one.size, one.root = 50, Digest32(b"\x05" * 32)
    await grow(gateway, 5)
    assert await cosigners(gateway) == set()
    assert await told(gateway, "one.test") == ("witness-ahead", "1")


async def test_a_witness_that_another_process_asked_first_has_not_failed(gateway: SimulatedGateway) -> None:
    (one,) = gateway.witnessed("one.test")
    one.is_away = True
    await grow(gateway, 5)
    async with gateway.container.database.begin() as session:
        head = (await session.scalars(select(LogHead))).one()
        head.assigned, head.size = 9, 9
    one.is_away, one.size = False, 9
    gateway.clock.forward(5)
    assert not await service.ask_witnesses(gateway.container)
    row = await row_of(gateway)
    assert (one.asked, row.failures, row.code) == (2, 1, "witness-unreachable")


async def test_a_witness_that_saw_another_log_is_told_and_stops_nothing(gateway: SimulatedGateway) -> None:
    (one,) = gateway.witnessed("one.test")
    one.size, one.root = 2, Digest32(b"\x05" * 32)
    await grow(gateway, 5)
    assert await cosigners(gateway) == set()
    assert await told(gateway, "one.test") == ("witness-inconsistent", "1")


async def test_a_witness_that_does_not_know_the_log_is_told(gateway: SimulatedGateway) -> None:
    (one,) = gateway.witnessed("one.test")
    one.log_key = NoteKey("another.test", one.log_key.public_key)
    await grow(gateway, 1)
    assert await told(gateway, "one.test") == ("witness-unknown-log", "1")


async def test_a_checkpoint_that_moved_on_gets_no_cosignature_of_the_one_before(gateway: SimulatedGateway) -> None:
    await grow(gateway, 2)
    files = service.files_of(gateway.container)
    (one,) = gateway.witnessed("one.test")
    newer = b""

    def move_on() -> None:
        nonlocal newer
        newer = (files._folder / "checkpoint").read_bytes().replace(b"\n2\n", b"\n3\n")
        (files._folder / "checkpoint").write_bytes(newer)

    one.before = move_on
    assert not await service.ask_witnesses(gateway.container)
    assert files.read_checkpoint() == newer


async def test_nobody_is_asked_before_there_is_a_checkpoint_or_in_quarantine(gateway: SimulatedGateway) -> None:
    (one,) = gateway.witnessed("one.test")
    assert not await service.ask_witnesses(gateway.container)
    async with gateway.container.database.begin() as session:
        (await session.scalars(select(LogHead))).one().quarantine = "a test"
    assert not await service.ask_witnesses(gateway.container)
    assert one.asked == 0


async def test_a_late_cosignature_reaches_the_second_place(gateway: SimulatedGateway, tmp_path: Path) -> None:
    target = tmp_path / "second place"
    target.mkdir()
    gateway.choose(ship_to=target)
    (one,) = gateway.witnessed("one.test")
    one.is_away = True
    await grow(gateway, 2)
    assert await shipping.ship(gateway.container)
    one.is_away = False
    gateway.clock.forward(5)
    assert await service.ask_witnesses(gateway.container)
    assert await shipping.ship(gateway.container)
    assert one.key.verify(Note.parse((target / "checkpoint").read_bytes())) is not None
    assert not await shipping.ship(gateway.container)
