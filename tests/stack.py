"""The whole of Platemark as real processes in a folder: chain, gateway, and people who run `platemark` commands.

    stack = Stack.start(folder)     the embedded chain, with time travel, and a gateway
    person = stack.person("ada")    a home of its own; `run` must succeed, `attempt` tells how it ended
    stack.stop_gateway()            the chain goes on

Commands run in this process, one after the other, so that web3 is imported once.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from platemark.cli.demo.processes import Server, gateway_program
from platemark.cli.main import run
from platemark_gateway.recovery.state import STATE_FILE, VAULT
from platemark_gateway.vault.files import FileVault
from trusted import authorities

PASSPHRASE: Final = "twelve or more characters"
COINS: Final = 10**20
SETTINGS: Final = {"ANCHOR_SECONDS": "1", "SETTLE_SECONDS": "1", "POLL_SECONDS": "0.25", "LOG_LEVEL": "WARNING"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def value(self) -> Mapping[str, Any]:
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    @property
    def error_code(self) -> str | None:
        error = self.value.get("error")
        return error["code"] if isinstance(error, dict) else None

    @property
    def complaints(self) -> list[str]:
        """The lines that say what went wrong."""
        return [line for line in self.stderr.splitlines() if line.startswith("platemark: ")]


def command(*argv: str) -> Ended:
    """Run one command of `platemark` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(argv)
    return Ended(argv, int(code), out.getvalue(), err.getvalue())


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a home of their own."""

    home: Path
    passphrase_file: Path
    rpc: str
    gateway: str | None

    def attempt(self, *argv: str, rpc: str | None = None, gateway: str | None = None) -> Ended:
        where = [f"--home={self.home}", f"--passphrase-file={self.passphrase_file}", f"--rpc={rpc or self.rpc}"]
        if gateway or self.gateway:
            where.append(f"--gateway={gateway or self.gateway}")
        return command(*where, "--json", *argv)

    def run(self, *argv: str, rpc: str | None = None) -> Mapping[str, Any]:
        ended = self.attempt(*argv, rpc=rpc)
        assert ended.exit_code == 0, (argv, ended.stdout, ended.stderr)
        return ended.value

    def make_print(self, token: str, *options: str) -> Mapping[str, Any]:
        ended = self.attempt("print", token, "--slicer", "basic", "--material", "PLA", *options)
        failed = ended.exit_code == 1 and ended.value.get("result") == "failed"
        assert failed or ended.exit_code == 0, (token, options, ended.stdout, ended.stderr)
        return ended.value


class Chain:
    """An embedded chain as a process, and plain JSON-RPC to it."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        argv = [gateway_program(), "chain", "--data", str(folder), "--time-travel"]
        self.server = Server("chain", argv, log=log, environment=os.environ)
        self.url = str(self.server.ready()["url"])

    def rpc(self, method: str, *params: Any) -> Any:
        return json_rpc(self.url, method, *params)

    def fund(self, address: str) -> None:
        self.rpc("platemark_fund", address, hex(COINS))

    def timestamp(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def travel_to(self, moment: int) -> None:
        """Mine a block at `moment`, which is in the future."""
        self.rpc("evm_increaseTime", moment - self.timestamp())
        self.rpc("evm_mine")
        while self.timestamp() < moment:  # the wall clock may be ahead of the last block, never behind it
            self.rpc("evm_increaseTime", moment - self.timestamp())
            self.rpc("evm_mine")

    def copy(self, folder: Path) -> "Chain":
        """Start another process with a copy of this chain; the original goes on."""
        shutil.copytree(self.folder, folder)
        for name in ("chain.json", "chain.lock"):
            (folder / name).unlink(missing_ok=True)
        return Chain(folder, folder.with_suffix(".log"))

    def stop(self) -> None:
        self.server.stop()


def get(url: str) -> httpx.Response:
    """Return an answer, on a connection of its own."""
    return httpx.get(url, timeout=30, trust_env=False, verify=authorities())


def json_rpc(url: str, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    answer = httpx.post(url, json=body, timeout=30, trust_env=False, verify=authorities()).json()
    assert "error" not in answer, answer
    return answer["result"]


@dataclass
class Stack:
    """A chain and a gateway in a folder."""

    folder: Path
    rpc: str
    options: tuple[str, ...] = ()
    chain: Chain | None = None
    gateway: Server | None = None
    url: str = ""
    ready: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """The gateway's data folder."""
        return self.folder / "gateway"

    @property
    def running_chain(self) -> Chain:
        """The embedded chain of this stack."""
        assert self.chain is not None
        return self.chain

    def start_gateway(self, **settings: str) -> None:
        """Start the gateway; `settings` go into its environment."""
        environment = {f"PLATEMARK_GATEWAY_{name}": value for name, value in (SETTINGS | settings).items()}
        environment["PLATEMARK_GATEWAY_PASSPHRASE"] = PASSPHRASE
        make_vault(self.data, PASSPHRASE)
        argv = [gateway_program(), "serve", "--data", str(self.data), "--rpc", self.rpc, "--port", "0", *self.options]
        self.gateway = Server(
            "gateway", argv, log=self.folder / "gateway.log", environment={**os.environ, **environment}
        )
        self.ready = self.gateway.ready(120)
        self.url = str(self.ready["url"])

    def stop_gateway(self) -> None:
        if self.gateway is not None:
            self.gateway.process.send_signal(signal.SIGCONT)
            self.gateway.stop()
            self.gateway = None

    @contextmanager
    def asleep_afterwards(self) -> Iterator[None]:
        """Hold the gateway still between uses: one that waits looks for work many times a second."""
        assert self.gateway is not None
        self.gateway.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.gateway.process.send_signal(signal.SIGSTOP)

    def person(self, name: str, *, coins: bool = False) -> Person:
        """Return somebody with a key, and coins if they are to pay for transactions."""
        secret = self.folder / "passphrase"
        secret.write_text(PASSPHRASE)
        person = Person(self.folder / name, secret, self.rpc, self.url or None)
        address = str(person.run("keys", "new", name)["address"])
        if coins:
            fund(self.rpc, address)
        return person

    def close(self) -> None:
        self.stop_gateway()
        if self.chain is not None:
            self.chain.stop()


def make_vault(data: Path, passphrase: str) -> None:
    """Give a gateway that never ran a vault whose passphrase is stretched little: each start waits for that."""
    if not FileVault.exists(data / VAULT) and not (data / STATE_FILE).exists():
        FileVault.create(data / VAULT, passphrase, scrypt_n=1 << 10)


def licensed_cube(folder: Path, designer: Person, centre: Person) -> str:
    """Let a designer register a cube and give a centre 30 of a licence's 40 prints; return the licence."""
    path = folder / "cube.stl"
    path.write_bytes(cube_stl())
    design = str(designer.run("design", "register", str(path), "--title", "Cube")["designId"])
    licence = str(designer.run("license", "offer", design, "--cap", "40")["licenseId"])
    holder = str(centre.run("keys", "list")["keys"][0]["address"])
    designer.run("license", "mint", licence, "--to", holder, "--prints", "30")
    return licence


def fund(rpc: str, address: str) -> None:
    """Give an account coins, on the embedded chain or on anvil."""
    try:
        json_rpc(rpc, "platemark_fund", address, hex(COINS))
    except AssertionError:
        json_rpc(rpc, "anvil_setBalance", address, hex(COINS))


@contextmanager
def running_stack(folder: Path, **settings: str) -> Iterator[Stack]:
    """Run the embedded chain and a gateway while the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = Chain(folder / "chain", folder / "chain.log")
    stack = Stack(folder, chain.url, chain=chain)
    try:
        stack.start_gateway(**settings)
        yield stack
    finally:
        stack.close()


def wait_for(what: str, holds: Callable[[], bool], *, seconds: float = 60) -> None:
    """Return once `holds`; an AssertionError names `what` otherwise."""
    ends_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_at, f"waited in vain for {what}"
        time.sleep(0.1)


def dead_url() -> str:
    """Return an address on this machine where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def cube_stl(size_mm: int = 10, name: str = "cube") -> bytes:
    """Return a cube, standing on its base, as an STL text."""
    corners = [(x, y, z) for z in (0, size_mm) for y in (0, size_mm) for x in (0, size_mm)]
    faces = [
        (0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4),
        (2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5),
    ]  # fmt: skip
    lines = [f"solid {name}"]
    for face in faces:
        lines.append("facet normal 0 0 0\nouter loop")
        lines += [f"vertex {x} {y} {z}" for x, y, z in (corners[index] for index in face)]
        lines.append("endloop\nendfacet")
    return ("\n".join([*lines, f"endsolid {name}"]) + "\n").encode()
