"""A gateway process of its own beside the simulated one: same database, vault and folder; it can be killed anywhere.

    {"folder": …, "database": …, "now": …, "step": "serve", "die": "statement 3"}

is its order (`forking.py`): it says `{"url": …}` and serves, or takes one step and says its result. `die` names a point
at which the process kills itself with SIGKILL, so that nothing is cleaned up.
"""

import asyncio
import atexit
import contextlib
import functools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event, select

from platemark_gateway import telemetry
from platemark_gateway.blobs.nodes import NodeBlocks
from platemark_gateway.chain.indexer import Index
from platemark_gateway.chain.listening import listen, run_server
from platemark_gateway.chain.submitter import Outbox
from platemark_gateway.container import Container
from platemark_gateway.db.session import Database
from platemark_gateway.db.statements import DriverStatements
from platemark_gateway.errors import UnavailableError
from platemark_gateway.main import create_app
from platemark_gateway.metrics import Metrics
from platemark_gateway.models.chain import ChainBlock, ChainProgress
from platemark_gateway.models.registry import load_models
from platemark_gateway.ports import BlockRef
from platemark_gateway.printlog import service as printlog
from platemark_gateway.prints import desk, service
from platemark_gateway.settings import Settings
from platemark_gateway.vault.files import FileVault
from simulators.blocks import MemoryBlocks
from simulators.chain import SimulatedCalls, SimulatedChain
from simulators.clock import ManualClock, SeededRandomness
from simulators.forking import Process, Processes
from simulators.gateway import PASSPHRASE, URL, SimulatedGateway, profile_of


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


@functools.cache
def _processes() -> Processes:
    made = Processes("simulators.counting")
    atexit.register(made.close)
    return made


def _start(gateway: SimulatedGateway, step: str, point: str | None, log: Path | None = None) -> Process:
    return _processes().start(
        {
            "folder": str(gateway.container.settings.data),
            "database": gateway.container.database.engine.url.render_as_string(hide_password=False),
            "now": gateway.clock.now(),
            "step": step,
            "die": point,
            "log": None if log is None else str(log),
        }
    )


@contextlib.contextmanager
def running(gateway: SimulatedGateway, *, die_at: str | None = None, log: Path | None = None) -> Iterator[str]:
    """Run another process of a gateway and give its URL; with `log` it logs there what a gateway does."""
    process = _start(gateway, "serve", die_at, log)
    try:
        yield str(json.loads(process.said)["url"])
    finally:
        os.kill(process.pid, signal.SIGKILL)
        _processes().end(process)


def take_step(gateway: SimulatedGateway, step: str, *, die_at: str | None = None) -> Ended:
    """Take one step in another process and say how it ended."""
    process = _start(gateway, step, die_at)
    status = _processes().end(process)
    if status == -signal.SIGKILL:
        return Ended(killed=True, result=None)
    assert status == 0, f"the step failed: {status}"
    return Ended(killed=False, result=json.loads(process.said))


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
        case "batches":
            _die_among_small_batches(int(number))
        case "tiles":
            _die_after("write_tiles")
        case "head":
            _die_after("commit_head")
        case "positions":
            _die_after("assign")
        case _:
            raise AssertionError(point)


def _dying(number: int) -> Callable[..., None]:
    """Return what dies when it is called for the `number`th time."""
    count = 0

    def before(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            die()

    return before


def _die_before(before: Callable[..., None], owner: type, *names: str) -> None:
    """Call `before` ahead of each of those coroutine methods."""

    def told(original: Any) -> Any:
        async def run(*given: Any, **named: Any) -> Any:
            before()
            return await original(*given, **named)

        return run

    for name in names:
        setattr(owner, name, told(getattr(owner, name)))


def _die_at_statement(container: Container, number: int) -> None:
    if container.database.is_sqlite:
        event.listen(container.database.engine.sync_engine, "before_cursor_execute", _dying(number))
        return
    # Not SQLAlchemy's event: what counts prints passes it by.
    _die_before(_dying(number), psycopg.AsyncCursor, "execute")


def _die_among_small_batches(number: int) -> None:
    """Let batches be so small that they follow each other, and die before one of their statements or commits."""
    desk.MAX_BATCH = 2  # type: ignore[misc]  # a constant to all but this process, which is to die
    _die_before(_dying(number), DriverStatements, "rows", "commit_and_go_on")


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
            sys.stdout.write(json.dumps({"url": url}) + "\n")
            sys.stdout.flush()

        await run_server(create_app(container), listener, announce)


async def obey(order: dict[str, Any]) -> None:
    """Serve until killed, or take one step."""
    async with _container(order) as container:
        _arm(container, order["die"])
        if order["log"] is not None:
            sys.stderr = Path(order["log"]).open("a", encoding="utf-8")  # noqa: ASYNC230, SIM115 (open until it ends)
            telemetry.configure(as_json=True, level=container.settings.log_level)
        if order["step"] == "serve":
            await _serve(container)
            return
        try:
            result: Any = await printlog.sequence_once(container)
        except UnavailableError as error:
            result = error.code
        sys.stdout.write(json.dumps(result))
