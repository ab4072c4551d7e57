"""The log's tail in a second place: sound after each step, and nothing ever waits for it."""

import shutil
from pathlib import Path

import httpx
import pytest

from platemark.errors import PlatemarkError
from platemark.protocol.checkpoint import NoteKey, open_checkpoint
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry, decode
from platemark.protocol.tiles import LogReader
from platemark_gateway.printlog import service, shipping
from platemark_gateway.printlog.files import LogFiles
from platemark_gateway.printlog.waiting import Waiting
from simulators.agent import Agent
from simulators.disasters import killed_at
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio


@pytest.fixture
def copy(gateway: SimulatedGateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("second")
    gateway.choose(ship_to=folder)
    return folder


async def publish(gateway: SimulatedGateway) -> None:
    while await service.sequence_once(gateway.container):
        pass


def read_copy(gateway: SimulatedGateway, copy: Path) -> tuple[list[bytes], list[bytes]]:
    """Return the entries under the copy's checkpoint, and those that wait beside it."""
    profile = gateway.container.profile
    files = LogFiles(copy)
    note = files.read_checkpoint()
    entries: list[bytes] = []
    if note is not None:
        checkpoint = open_checkpoint(note, NoteKey(profile.log_origin, profile.log_key))
        entries = list(LogReader(checkpoint.size, checkpoint.root, files.read).entries())
    waiting = Waiting.parse(files.read_waiting() or b"", gateway.container.vault)
    return entries, list(waiting.entries)


def tiles_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("tile/**/*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def make_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True)


def move(folder: Path, where: Path) -> Path:
    return folder.rename(where)


async def gauges(gateway: SimulatedGateway) -> dict[str, int]:
    lines = (await gateway.client.get("/metrics")).text.splitlines()
    return {line.split()[0]: int(float(line.split()[1])) for line in lines if line.startswith("platemark_ship")}


async def ready(gateway: SimulatedGateway) -> httpx.Response:
    return await gateway.client.get("/readyz")


async def test_the_copy_has_every_tile_and_every_entry_that_waits(
    agent: Agent, gateway: SimulatedGateway, copy: Path
) -> None:
    await agent.redeem(1)
    await publish(gateway)
    await agent.finish(1)
    await publish(gateway)
    await agent.redeem(2)
    assert await shipping.ship(gateway.container)
    entries, waiting = read_copy(gateway, copy)
    assert [type(decode(entry)) for entry in (*entries, *waiting)] == [RedeemedEntry, OutcomeEntry, RedeemedEntry]
    assert len(entries) == 2
    assert not await shipping.ship(gateway.container), "a second round finds nothing to do"
    assert tiles_below(copy) == tiles_below(gateway.container.settings.data / "log")
    await publish(gateway)
    assert await shipping.ship(gateway.container)
    assert [len(each) for each in read_copy(gateway, copy)] == [3, 0]


async def test_no_entry_is_missing_when_the_log_is_published_while_a_round_writes(
    agent: Agent, gateway: SimulatedGateway, copy: Path
) -> None:
    await agent.redeem(1)
    await publish(gateway)
    assert await shipping.ship(gateway.container)
    for sequence in (2, 3, 4):
        await agent.redeem(sequence)
        assert await shipping.ship(gateway.container)
        await publish(gateway)
        made = await shipping.prepare(gateway.container, copy)
        assert made is not None
        await agent.finish(sequence)
        await publish(gateway)
        assert shipping.write(gateway.container, copy, made)
        entries, waiting = read_copy(gateway, copy)
        found = [decode(entry) for entry in (*entries, *waiting)]
        assert [entry.sequence for entry in found if isinstance(entry, RedeemedEntry)] == list(range(1, sequence + 1))
    assert await shipping.ship(gateway.container)
    assert [len(each) for each in read_copy(gateway, copy)] == [7, 0]


async def test_what_lies_beside_the_copy_stays_when_its_checkpoint_has_moved_on(
    agent: Agent, gateway: SimulatedGateway, copy: Path
) -> None:
    await agent.redeem(1)
    made = await shipping.prepare(gateway.container, copy)
    assert made is not None
    await publish(gateway)
    later = await shipping.prepare(gateway.container, copy)
    assert later is not None
    await agent.redeem(2)
    await publish(gateway)
    assert await shipping.ship(gateway.container)
    before = read_copy(gateway, copy)
    assert shipping.write(gateway.container, copy, later), "there is more to do"
    assert read_copy(gateway, copy) == before


async def test_nothing_is_shipped_unless_it_is_wanted(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    assert not await shipping.ship(gateway.container)
    assert await gauges(gateway) == {}
    assert "copy" not in (await ready(gateway)).json()["parts"]


async def test_a_place_that_is_not_mounted_is_told_and_holds_nothing_up(
    agent: Agent, gateway: SimulatedGateway, copy: Path
) -> None:
    await shipping.ship(gateway.container)
    gateway.clock.forward(600)
    mounted = move(copy, copy.with_name("mounted"))
    await agent.redeem(1)
    for seconds in (5, 10):
        with pytest.raises(PlatemarkError) as caught:
            await shipping.ship(gateway.container)
        assert caught.value.code == "ship-target"
        gateway.clock.forward(5)
        assert await gauges(gateway) == {
            "platemark_ship_lag_entries": 1,
            "platemark_ship_lag_seconds": seconds,
            "platemark_ship_failing": 1,
        }
        answer = await ready(gateway)
        assert (answer.status_code, answer.json()["parts"]["copy"]) == (200, "failing")
        make_folder(copy)  # where the second place was mounted is now an empty folder
    await agent.redeem(2)
    shutil.rmtree(copy)
    move(mounted, copy)
    assert await shipping.ship(gateway.container)
    assert await gauges(gateway) == {
        "platemark_ship_lag_entries": 0,
        "platemark_ship_lag_seconds": 0,
        "platemark_ship_failing": 0,
    }
    assert (await ready(gateway)).json()["parts"]["copy"] == "ok"


async def test_a_place_that_takes_nothing_is_told(
    agent: Agent, gateway: SimulatedGateway, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shipping.ship(gateway.container)
    await agent.redeem(1)
    await publish(gateway)

    def full(_target: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("platemark_gateway.printlog.files.write_whole", full)
        with pytest.raises(PlatemarkError, match="No space left"):
            await shipping.ship(gateway.container)
    assert (await gauges(gateway))["platemark_ship_failing"] == 1
    await agent.redeem(2)
    assert await shipping.ship(gateway.container)
    assert [len(each) for each in read_copy(gateway, copy)] == [1, 1]


async def test_a_folder_with_something_else_is_left_alone(gateway: SimulatedGateway, copy: Path) -> None:
    (copy / "holiday.jpg").write_bytes(b"")
    with pytest.raises(PlatemarkError) as caught:
        await shipping.ship(gateway.container)
    assert caught.value.code == "ship-target"
    assert names(copy) == ["holiday.jpg"]


async def test_a_copy_that_is_ahead_is_never_set_back(agent: Agent, gateway: SimulatedGateway, copy: Path) -> None:
    await agent.redeem(1)
    await publish(gateway)
    own = gateway.container.settings.data / "log"
    older = own.with_name("older")
    shutil.copytree(own, older)
    await agent.redeem(2)
    await publish(gateway)
    await shipping.ship(gateway.container)
    note = (copy / "checkpoint").read_bytes()
    shutil.rmtree(own)
    older.rename(own)
    with pytest.raises(PlatemarkError) as caught:
        await shipping.ship(gateway.container)
    assert caught.value.code == "log-forked"
    assert (copy / "checkpoint").read_bytes() == note


async def test_a_kill_at_any_point_of_a_round_leaves_a_sound_copy(
    agent: Agent, gateway: SimulatedGateway, copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await agent.redeem(1)
    await publish(gateway)
    await shipping.ship(gateway.container)
    await agent.redeem(2)
    await publish(gateway)
    await agent.redeem(3)
    kept = tmp_path_factory.mktemp("kept") / "copy"
    shutil.copytree(copy, kept)
    plan = await shipping.prepare(gateway.container, copy)
    assert plan is not None
    sizes, number, died = set(), 0, True
    while died:
        number += 1
        shutil.rmtree(copy)
        shutil.copytree(kept, copy)
        died = killed_at(number, copy, lambda: shipping.write(gateway.container, copy, plan))
        entries, waiting = read_copy(gateway, copy)
        sequences = [decode(entry).token_id for entry in (*entries, *waiting)]
        assert len(sequences) >= 1
        sizes.add((len(entries), len(waiting)))
    assert sizes == {(1, 0), (2, 0), (2, 1)}
