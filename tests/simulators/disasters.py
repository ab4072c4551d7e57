"""What befalls a gateway: its backup is taken, its machine is lost, a process dies between two calls of the disk.

stored = Stored(gateway, database_url)   real backups of a simulated gateway
stored.back_up(folder)
await stored.lose(); await stored.bring_back(folder, tail=copy)
interrupted_at(container, number)        work that ends before its n-th statement of the database
killed_at(number, work)                  a child that does `work` and kills itself before its n-th change of the disk
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import event, text

from platemark.protocol.units import address_text
from platemark_gateway.container import Container
from platemark_gateway.models.chain import ChainProgress
from platemark_gateway.ports import ChainEvent
from platemark_gateway.recovery.backup import back_up
from platemark_gateway.recovery.manifest import Manifest
from platemark_gateway.recovery.restoring import Restored, restore
from platemark_gateway.settings import Settings
from simulators.gateway import PASSPHRASE, SimulatedGateway

_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"})


def write_state(gateway: SimulatedGateway) -> None:
    """Write what `serve` would have written into the data folder."""
    profile = gateway.container.profile
    data = gateway.container.settings.data
    state = {
        "url": profile.url,
        "chainId": profile.chain_id,
        "gateway": address_text(profile.gateway),
        "ledger": address_text(profile.ledger),
        "logOrigin": profile.log_origin,
    }
    (data / "gateway.json").write_text(json.dumps(state))
    (data / "deployment.json").write_text("{}")


class Stored:
    """A simulated gateway whose state is backed up and restored by the real programs."""

    def __init__(self, gateway: SimulatedGateway, database_url: str) -> None:
        self.gateway = gateway
        self.settings: Settings = gateway.container.settings.model_copy(
            update={"database_url": SecretStr(database_url)}
        )
        self._events: list[ChainEvent] = []
        write_state(gateway)

    async def mine(self) -> None:
        """Make a block and remember its events."""
        self._events += await self.gateway.chain.mine()

    def back_up(self, folder: Path) -> Manifest:
        """Take a backup."""
        return back_up(self.settings, folder, self.gateway.clock)

    async def lose(self) -> None:
        """Lose the machine: data folder and database are gone, with everything in them."""
        database = self.gateway.container.database
        if not database.is_sqlite:
            async with database.engine.begin() as connection:
                await connection.execute(text("DROP SCHEMA public CASCADE"))
                await connection.execute(text("CREATE SCHEMA public"))
        await database.close()
        for path in self.settings.data.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    async def bring_back(self, folder: Path, *, tail: Path | None = None, replace: bool = False) -> Restored:
        """Restore a backup, and let the index read what it missed."""
        await self.gateway.container.database.close()
        done = restore(self.settings, folder, SecretStr(PASSPHRASE), self.gateway.clock, tail=tail, replace=replace)
        async with self.gateway.container.database.begin() as session:
            known = (await session.get_one(ChainProgress, 1)).indexed_number
            await self.gateway.chain.feed(session, [event for event in self._events if event.block.number > known])
            await self.gateway.chain._progress(session)
        return done


def killed_at(number: int, below: Path, work: Callable[[], object]) -> bool:
    """Do `work` in a child that dies before its `number`-th change of the disk; return whether it came to that."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, arguments: Sequence[Any]) -> None:
            nonlocal count
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if (writes or event in _CHANGES) and str(below) in str(arguments[0]):
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            work()
        except BaseException:  # noqa: BLE001 (the child must not go on as a test)
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the work failed in the child"
    return False


class Interrupted(Exception):  # noqa: N818 (what happens to a process)
    """The process ends here."""


@contextmanager
def interrupted_at(container: Container, number: int) -> Iterator[list[int]]:
    """Interrupt what happens inside before its `number`-th statement of the database; gives how many there were."""
    count = [0]

    def before(*_: Any) -> None:
        count[0] += 1
        if count[0] == number:
            raise Interrupted

    engine = container.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", before)
    try:
        yield count
    finally:
        event.remove(engine, "before_cursor_execute", before)
