"""A gateway process of its own beside the simulated one: same database, vault and folder; it can be killed anywhere.

    python -m simulators.counting '{"folder": …, "database": …, "now": …, "step": "serve", "die": "statement 3"}'

It prints `{"ready": true, "url": …}` and serves, or takes one step and prints its result. `die` names a point at
which the process kills itself with SIGKILL, so that nothing is cleaned up.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from sqlalchemy import event, select

from platemark_gateway.blobs.nodes import NodeBlocks
from platemark_gateway.chain.indexer import Index
from platemark_gateway.chain.listening import listen, run_server
from platemark_gateway.chain.submitter import Outbox
from platemark_gateway.container import Container
from platemark_gateway.db.session import Database
from platemark_gateway.errors import UnavailableError
from platemark_gateway.main import create_app
from platemark_gateway.metrics import Metrics
from platemark_gateway.models.chain import ChainBlock, ChainProgress
from platemark_gateway.models.registry import load_models
from platemark_gateway.ports import BlockRef
from platemark_gateway.printlog import service as printlog
from platemark_gateway.prints import service
from platemark_gateway.settings import Settings
from platemark_gateway.vault.files import FileVault
from simulators.blocks import MemoryBlocks
from simulators.chain import SimulatedCalls, SimulatedChain
from simulators.clock import ManualClock, SeededRandomness
from simulators.gateway import PASSPHRASE, URL, SimulatedGateway, profile_of

TESTS: Final = Path(__file__).resolve().parent.parent


class IndexedChain(SimulatedChain):
    """The chain as the database has indexed it: blocks only, nothing else is asked in a redemption."""

    async def final_block(self) -> BlockRef:
        """Return the last final block that was indexed."""
        async with self._database.read() as session:
            row = await session.get_one(ChainProgress, 1)
        return BlockRef(row.final_number, row.final_hash, row.final_timestamp)

    async def block_at(self, number: int) -> BlockRef | None:
        """Return an indexed block."""
        async with self._database.read() as session:
            row = await session.scalar(select(ChainBlock).where(ChainBlock.number == number))
        return None if row is None else BlockRef(row.number, row.hash, row.timestamp)


def die() -> None:
    """End this process as a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)


# --- the parent's side --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended: killed, or with a result."""

    killed: bool
    result: Any


def _command(gateway: SimulatedGateway, step: str, point: str | None) -> list[str]:
    order = {
        "folder": str(gateway.container.settings.data),
        "database": gateway.container.database.engine.url.render_as_string(hide_password=False),
        "now": gateway.clock.now(),
        "step": step,
        "die": point,
    }
    return [sys.executable, "-m", "simulators.counting", json.dumps(order)]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(TESTS), "PYTHONWARNINGS": "default"}


@contextlib.contextmanager
def running(gateway: SimulatedGateway, *, die_at: str | None = None) -> Iterator[str]:
    """Run another process of a gateway and give its URL."""
    process = subprocess.Popen(
        _command(gateway, "serve", die_at),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1])
        yield str(json.loads(line)["url"])
    finally:
        process.kill()
        process.communicate()


async def take_step(gateway: SimulatedGateway, step: str, *, die_at: str | None = None) -> Ended:
    """Take one step in another process and say how it ended."""
    process = await asyncio.create_subprocess_exec(
        *_command(gateway, step, die_at),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
    )
    out, error = await process.communicate()
    if process.returncode == -signal.SIGKILL:
        return Ended(killed=True, result=None)
    if process.returncode != 0:
        raise AssertionError(error.decode())
    return Ended(killed=False, result=json.loads(out))


# --- the child's side ---------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _container(order: dict[str, Any]) -> AsyncIterator[Container]:
    load_models()
    folder = Path(order["folder"])
    settings = Settings(data=folder, url=URL)
    clock = ManualClock(order["now"])
    randomness = SeededRandomness(f"process {os.getpid()}")
    database = Database(order["database"])
    vault = FileVault.open(folder / "vault", PASSPHRASE)
    try:
        yield Container(
            settings=settings,
            clock=clock,
            randomness=randomness,
            database=database,
            chain=IndexedChain(database, clock, ()),
            index=Index(settings.confirmations),
            calls=SimulatedCalls(),
            transactions=Outbox(vault.account, clock, randomness),
            vault=vault,
            blocks=NodeBlocks([MemoryBlocks()], clock, Metrics()),
            profile=profile_of(vault, settings),
        )
    finally:
        await database.close()


def _arm(container: Container, point: str | None) -> None:
    """Let the process die at a point: `statement N` of the database, or a named one."""
    kind, _, number = (point or "").partition(" ")
    match kind:
        case "":
            return
        case "statement":
            _die_at_statement(container, int(number))
        case "commit":
            event.listen(container.database.engine.sync_engine, "commit", lambda _connection: die())
        case "committed":
            _die_at_answer(before=True)
        case "answered":
            _die_at_answer(before=False)
        case "tiles":
            _die_after("write_tiles")
        case "head":
            _die_after("commit_head")
        case "positions":
            _die_after("assign")
        case _:
            raise AssertionError(point)


def _die_at_statement(container: Container, number: int) -> None:
    count = 0

    def before(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            die()

    event.listen(container.database.engine.sync_engine, "before_cursor_execute", before)


def _die_at_answer(*, before: bool) -> None:
    original = service.answer

    def answer(container: Container, counted: service.Counted, recipient_public: bytes) -> service.Answer:
        if before:
            die()
        made = original(container, counted, recipient_public)
        die()
        return made

    service.answer = answer


def _die_after(name: str) -> None:
    original = getattr(printlog, name)

    if asyncio.iscoroutinefunction(original):

        async def step(*values: Any) -> Any:
            await original(*values)
            die()

        setattr(printlog, name, step)
        return

    def blocking(*values: Any) -> Any:
        original(*values)
        die()

    setattr(printlog, name, blocking)


async def _serve(container: Container) -> None:
    with listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def announce() -> None:
            sys.stdout.write(json.dumps({"ready": True, "url": url}) + "\n")
            sys.stdout.flush()

        await run_server(create_app(container), listener, announce)


async def _main(order: dict[str, Any]) -> None:
    async with _container(order) as container:
        _arm(container, order["die"])
        if order["step"] == "serve":
            await _serve(container)
            return
        try:
            result: Any = await printlog.sequence_once(container)
        except UnavailableError as error:
            result = error.code
        sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    from platemark_gateway import telemetry

    telemetry.configure(as_json=True, level="ERROR")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(json.loads(sys.argv[1])))
