"""A log as a folder for static hosts: whole at all times, taken up again where it stopped."""

import errno
import shutil
from pathlib import Path

import pytest

from kubo_process import running_kubo
from platemark.errors import PlatemarkError
from platemark.protocol.checkpoint import Checkpoint, NoteKey, NoteSigner, open_checkpoint, sign_checkpoint
from platemark.protocol.cid import Cid, Codec, raw_cid
from platemark.protocol.digests import sha256
from platemark.protocol.merkle import EMPTY_ROOT
from platemark.protocol.tiles import LogReader
from platemark.sdk.ipfs import ExportedSource
from platemark.verify.inclusion import read_listing
from platemark_gateway.blobs.kubo import KuboBlocks
from platemark_gateway.printlog import repository, service
from platemark_gateway.printlog.errors import LogForkedError
from platemark_gateway.printlog.exporting import Exported, export, export_car
from platemark_gateway.printlog.files import LogFiles, write_whole
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway
from simulators.growth import anchor, sequence

pytestmark = pytest.mark.anyio


async def exported(gateway: SimulatedGateway, target: Path) -> Exported:
    container = gateway.container
    return await export(container.database, container.blocks, service.files_of(container), target)


def read(gateway: SimulatedGateway, target: Path) -> list[bytes]:
    """Return the entries that a folder gives to whoever has the log's key."""
    profile = gateway.container.profile
    note = (target / "checkpoint").read_bytes()
    checkpoint = open_checkpoint(note, NoteKey(profile.log_origin, profile.log_key))
    return list(LogReader(checkpoint.size, checkpoint.root, LogFiles(target).read).entries())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_folder_has_what_an_audit_reads(gateway: SimulatedGateway, agent: Agent, tmp_path: Path) -> None:
    target = tmp_path / "export"
    for number in (1, 2):
        await agent.redeem(number)
        await sequence(gateway)
        await anchor(gateway)
    await agent.redeem(3)
    await sequence(gateway)
    found = await exported(gateway, target)
    assert (found.size, found.missing) == (3, 0)
    assert len(read(gateway, target)) == 3
    for size in (1, 2, 3):
        assert (target / f"tile/0/000.p/{size}").exists(), "what an anchor lists"
    source = ExportedSource(target)
    named = [path.name for path in (target / "ipfs").iterdir()]
    assert len(named) == found.blocks
    for name in named:
        source.get(Cid.parse(name))
    profile = raw_cid(gateway.container.profile.encode())
    assert source.get(profile) == gateway.container.profile.encode()
    purposes = {name for name in named if name != profile.text}
    assert len(purposes) == 4, "two lists of tiles, a manifest, terms"
    assert not list(target.rglob(".*.*")), "nothing temporary is left"


async def test_the_same_again_changes_nothing_and_later_it_grows(
    gateway: SimulatedGateway, agent: Agent, tmp_path: Path
) -> None:
    target = tmp_path / "export"
    await agent.redeem(1)
    await sequence(gateway)
    await exported(gateway, target)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.parent != target}
    await exported(gateway, target)
    assert before == {path: path.stat().st_mtime_ns for path in target.rglob("*") if path.parent != target}
    await agent.redeem(2)
    await sequence(gateway)
    await exported(gateway, target)
    assert len(read(gateway, target)) == 2
    assert before.keys() < set(target.rglob("*"))


async def test_an_export_that_stops_anywhere_leaves_a_sound_log_and_goes_on(
    gateway: SimulatedGateway, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "export"
    await agent.redeem(1)
    await sequence(gateway)
    await exported(gateway, target)
    for number in (2, 3):
        await agent.redeem(number)
        await sequence(gateway)
        await anchor(gateway)
    await exported(gateway, tmp_path / "whole")
    left = 0

    def failing(path: Path, data: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "no space")
        write_whole(path, data)

    for module in ("exporting", "files"):
        monkeypatch.setattr(f"platemark_gateway.printlog.{module}.write_whole", failing)
    codes: list[str] = []
    while True:
        left = 1
        try:
            await exported(gateway, target)
            break
        except PlatemarkError as error:
            codes.append(error.code)
        assert len(read(gateway, target)) == 1, "the checkpoint comes last"
    assert codes == ["export-target"] * len(codes)
    assert len(codes) > 4
    assert files(target).items() >= files(tmp_path / "whole").items() - {(".lock", b"")}
    assert len(read(gateway, target)) == 3


async def test_blocks_that_are_gone_are_counted(gateway: SimulatedGateway, agent: Agent, tmp_path: Path) -> None:
    await agent.redeem(1)
    await sequence(gateway)
    whole = await exported(gateway, tmp_path / "whole")
    for node in (gateway.blocks, gateway.replica):
        node.blocks.clear()
    found = await exported(gateway, tmp_path / "export")
    assert (found.missing, found.blocks + found.missing) == (2, whole.blocks)
    assert len(read(gateway, tmp_path / "export")) == 1


async def test_the_log_of_another_gateway_is_not_written_over(
    gateway: SimulatedGateway, agent: Agent, tmp_path: Path
) -> None:
    await agent.redeem(1)
    await sequence(gateway)
    folder, stranger = tmp_path / "export", NoteSigner.from_seed("31337/0x01/0x02/1", b"\x01" * 32)
    folder.mkdir()
    note = sign_checkpoint(Checkpoint(stranger.key.name, 0, EMPTY_ROOT), stranger)
    (folder / "checkpoint").write_bytes(note)
    with pytest.raises(LogForkedError):
        await exported(gateway, folder)
    assert files(folder) == {"checkpoint": note}
    (folder / "checkpoint").unlink()
    await exported(gateway, folder)
    (folder / "tile/0/000.p/1").write_bytes(b"\x05" * 32)
    with pytest.raises(LogForkedError):
        await exported(gateway, folder)
    (service.files_of(gateway.container)._folder / "tile/0/000.p/1").unlink()
    with pytest.raises(LogForkedError):
        await exported(gateway, tmp_path / "another")


async def test_a_folder_that_is_ahead_keeps_its_checkpoint(
    gateway: SimulatedGateway, agent: Agent, tmp_path: Path
) -> None:
    await agent.redeem(1)
    await sequence(gateway)
    older = service.files_of(gateway.container).read_checkpoint()
    assert older is not None
    await agent.redeem(2)
    await sequence(gateway)
    await exported(gateway, tmp_path / "export")
    (service.files_of(gateway.container)._folder / "checkpoint").write_bytes(older)
    await exported(gateway, tmp_path / "export")
    assert len(read(gateway, tmp_path / "export")) == 2


async def test_a_log_without_checkpoint_is_not_exported(gateway: SimulatedGateway, tmp_path: Path) -> None:
    with pytest.raises(PlatemarkError) as caught:
        await exported(gateway, tmp_path / "export")
    assert caught.value.code == "log-empty"
    assert not (tmp_path / "export").exists()


@pytest.mark.kubo
async def test_an_ipfs_node_takes_the_log_as_one_file(gateway: SimulatedGateway, agent: Agent, tmp_path: Path) -> None:
    for number in (1, 2):
        await agent.redeem(number)
        await sequence(gateway)
        await anchor(gateway)
    target, car = tmp_path / "export", tmp_path / "log.car"
    await exported(gateway, target)
    made = export_car(target, car)
    parts = {sha256(path.read_bytes()) for path in target.rglob("*") if path.is_file() and path.name != ".lock"}
    folders = [path for path in (target / "tile", *(target / "tile").rglob("*")) if path.is_dir()]
    assert made.blocks == len(parts) + len(folders) + 1
    with running_kubo(tmp_path / "kubo") as kubo:
        kubo.add_car(car)
        node = KuboBlocks(kubo.api, timeout_seconds=10)
        async with gateway.container.database.read() as session:
            anchors = await repository.anchors(session, gateway.container.vault.account, 1)
        assert await node.is_pinned(made.root)
        shutil.copytree(target / "tile", tmp_path / "alone" / "tile")
        shutil.copy(target / "checkpoint", tmp_path / "alone")
        assert kubo.root_of(tmp_path / "alone") == made.root
        for found in anchors:
            cid = Cid(Codec.RAW, found.tiles_digest)
            assert await node.is_pinned(cid)
            origin = gateway.container.profile.log_origin
            listing = read_listing(await node.get(cid), origin=origin, size=found.size, root=found.root)
            for path, digest in listing.items():
                assert await node.get(Cid(Codec.RAW, digest)) == (target / path).read_bytes()


async def test_a_car_that_cannot_be_written_leaves_nothing(
    gateway: SimulatedGateway, agent: Agent, tmp_path: Path
) -> None:
    await agent.redeem(1)
    await sequence(gateway)
    await exported(gateway, tmp_path / "export")
    (tmp_path / "place").mkdir()
    with pytest.raises(PlatemarkError) as caught:
        export_car(tmp_path / "export", tmp_path / "place")
    assert caught.value.code == "export-target"
    assert not [path for path in files(tmp_path) if path.startswith(".")]
