"""Pieces for tests of the gateway's chain code: a database, a node that fails on command, anvil, deployed contracts."""

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from chain_process import running_chain
from platemark.protocol.accounts import AccountKey
from platemark.protocol.deployment import created_address, creation_code
from platemark.protocol.typed_data import Registration
from platemark.protocol.units import Address, BasisPoints, DesignId, Digest32, address_text, digest32
from platemark_gateway.chain.client import ChainClient, Rpc
from platemark_gateway.chain.contracts import AbiCalls
from platemark_gateway.chain.indexer import Handler, Index, Indexer
from platemark_gateway.chain.submitter import Outbox, Policy, Signer, Submitter
from platemark_gateway.chain.transactions import Fees, sign_transaction, transaction_hash
from platemark_gateway.clock import Clock
from platemark_gateway.db.session import Database
from platemark_gateway.ports import ChainEvent, ChainProgress, Contract, Deployment
from simulators.clock import SeededRandomness
from simulators.databases import database_of, make_tables
from trusted import authorities

ROOT = Path(__file__).resolve().parent.parent


class NodeDiedError(Exception):
    """The process under test is meant to die here."""


class Wire(httpx.AsyncBaseTransport):
    """Carries JSON-RPC to a node and lets a test interfere with single methods."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport(verify=authorities())
        self.before: dict[str, Callable[[], None]] = {}
        self.after: dict[str, Callable[[], None]] = {}
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.calls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(await request.aread())
        methods = [each["method"] for each in (body if isinstance(body, list) else [body])]
        self.calls += methods
        for method in methods:
            self.before.get(method, _nothing)()
        if len(methods) == 1 and methods[0] in self.answers:
            first = body[0] if isinstance(body, list) else body
            replacement = self.answers[methods[0]](first)
            if replacement is not None:
                answer = {"jsonrpc": "2.0", "id": first["id"], **replacement}
                return httpx.Response(200, json=[answer] if isinstance(body, list) else answer)
        response = await self._inner.handle_async_request(request)
        for method in methods:
            self.after.get(method, _nothing)()
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def _nothing() -> None:
    pass


def die() -> None:
    raise NodeDiedError


def refuse() -> None:
    raise httpx.ConnectError("refused")


@asynccontextmanager
async def connected(url: str, wire: Wire | None = None) -> AsyncIterator[ChainClient]:
    rpc = Rpc(url, transport=wire or Wire())
    try:
        yield ChainClient(rpc)
    finally:
        await rpc.close()


@asynccontextmanager
async def fresh_database(folder: Path, kind: str = "sqlite") -> AsyncIterator[Database]:
    database = Database(await database_of(kind, folder))
    await make_tables(database)
    try:
        yield database
    finally:
        await database.close()


@dataclass
class Sender:
    """An account with its outbox; `submitter()` is what a freshly started process would have."""

    key: AccountKey
    database: Database
    client: ChainClient
    chain_id: int
    clock: Clock
    outbox: Outbox
    policy: Policy

    def submitter(self) -> Submitter:
        return Submitter(
            self.database,
            self.client,
            self.chain_id,
            Signer(self.key.address, self.key.sign),
            self.clock,
            self.policy,
        )


async def make_sender(database: Database, client: ChainClient, clock: Clock, policy: Policy | None = None) -> Sender:
    key = AccountKey(secrets.token_bytes(32))
    return Sender(
        key=key,
        database=database,
        client=client,
        chain_id=await client.chain_id(),
        clock=clock,
        outbox=Outbox(key.address, clock, SeededRandomness(secrets.token_hex(4))),
        policy=policy or Policy(),
    )


async def fresh_contracts(client: ChainClient, key: AccountKey) -> Deployment:
    """Create contracts of a test's own by plain transactions: their addresses follow from the account, not the code."""
    chain_id = await client.chain_id()
    registry, block = await _create(client, key, chain_id, creation_code("DesignRegistry"))
    print_license, _ = await _create(client, key, chain_id, creation_code("PrintLicense", registry))
    return Deployment(chain_id, registry, print_license, created_address(print_license, 1), block)


async def create_contract(client: ChainClient, key: AccountKey, code: bytes) -> Address:
    """Create a contract and return its address."""
    return (await _create(client, key, await client.chain_id(), code))[0]


async def _create(client: ChainClient, key: AccountKey, chain_id: int, code: bytes) -> tuple[Address, int]:
    raw = sign_transaction(
        key.sign,
        chain_id=chain_id,
        nonce=await client.nonce(key.address, "pending"),
        fees=Fees(10**11, 10**9),
        gas=8_000_000,
        to=None,
        value=0,
        data=code,
    )
    await client.send(raw)
    for _ in range(500):  # a node may answer before the block stands
        receipt = await client.receipt(transaction_hash(raw))
        if receipt is not None:
            assert receipt.contract is not None
            return receipt.contract, receipt.block_number
        await asyncio.sleep(0.02)
    raise AssertionError("the contract is in no block")


@dataclass
class Recorder:
    """A projection that remembers events, and forgets them when it is rewound; fails on command."""

    names: Sequence[str] = ("DesignRegistered", "GatewayDeclared")
    events: list[ChainEvent] = field(default_factory=list)
    rewinds: list[int] = field(default_factory=list)
    fails: bool = False

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return dict.fromkeys(self.names, self._take)

    async def rewind(self, session: AsyncSession, block: int) -> None:
        self.rewinds.append(block)
        self.events = [each for each in self.events if each.block.number <= block]

    async def _take(self, session: AsyncSession, event: ChainEvent) -> None:
        if self.fails:
            raise NodeDiedError
        self.events.append(event)

    def designs(self) -> list[int]:
        return [each.args["designId"] for each in self.events if each.name == "DesignRegistered"]


@dataclass
class World:
    """Contracts on a chain, an account with coins, and calls of them."""

    client: ChainClient
    deployment: Deployment
    key: AccountKey

    async def call(self, contract: Contract, function: str, arguments: Sequence[Any]) -> Digest32:
        raw = sign_transaction(
            self.key.sign,
            chain_id=self.deployment.chain_id,
            nonce=await self.client.nonce(self.key.address, "pending"),
            fees=Fees(10**11, 10**9),
            gas=500_000,
            to=self.deployment.address(contract),
            value=0,
            data=AbiCalls().encode(contract, function, arguments),
        )
        await self.client.send(raw)
        sent = transaction_hash(raw)
        for _ in range(500):  # a node may answer before the block stands
            if await self.client.receipt(sent) is not None:
                return sent
            await asyncio.sleep(0.02)
        raise AssertionError("the transaction is in no block")

    async def register(self) -> DesignId:
        registration = Registration(
            registrant=self.key.address,
            commitment=digest32(secrets.token_bytes(32)),
            manifest_digest=digest32(secrets.token_bytes(32)),
            is_private=False,
            parent_id=DesignId(0),
            resale_share=BasisPoints(0),
            derivative_share=BasisPoints(0),
            edition=5,
        )
        await self.call(Contract.REGISTRY, "register", [registration.arguments()])
        return DesignId(int.from_bytes(registration.digest(self.deployment.registry_domain()), "big"))

    async def declare(self) -> Digest32:
        profile = digest32(secrets.token_bytes(32))
        await self.call(Contract.LEDGER, "declareGateway", [profile, False])
        return profile


async def make_world(client: ChainClient, key: AccountKey) -> World:
    return World(client, await fresh_contracts(client, key), key)


async def catch_up(indexer: Indexer) -> None:
    for _ in range(50):
        if not await indexer.run_once():
            return
    raise AssertionError("the indexer never comes to rest")


async def progress(database: Database) -> ChainProgress:
    async with database.read() as session:
        found = await Index(confirmations=2).progress(session)
    assert found is not None
    return found


class Anvil:
    """A running anvil."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(trust_env=False, timeout=30, verify=authorities())

    def rpc(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._http.post(self.url, json=body).json()
        assert "error" not in answer, answer
        return answer["result"]

    def fund(self, address: Address, wei: int = 10**20) -> None:
        self.rpc("anvil_setBalance", address_text(address), hex(wei))

    def mine(self, count: int = 1) -> None:
        self.rpc("anvil_mine", hex(count))

    def reorg(self, depth: int, transactions: Sequence[Any] = ()) -> None:
        self.rpc("anvil_reorg", depth, list(transactions))

    def close(self) -> None:
        self._http.close()


@contextmanager
def running_anvil(*options: str) -> Iterator[Anvil]:
    # npm's launcher starts the program as a child that would outlive it: start the program itself.
    packaged = sorted((ROOT / "contracts" / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    program = os.environ.get("PLATEMARK_TEST_ANVIL") or (str(packaged[0]) if packaged else shutil.which("anvil"))
    assert program is not None
    command = [program, "--port", "0", "--slots-in-an-epoch", "1", "--accounts", "1", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        deadline = time.monotonic() + 30
        for line in process.stdout:
            found = re.search(r"Listening on (\S+)", line)
            if found:
                break
            assert time.monotonic() < deadline, "anvil does not start"
        else:
            raise AssertionError("anvil ended")
        # It logs every transaction and would stop at a full pipe.
        drain = threading.Thread(target=deque, args=(process.stdout,), kwargs={"maxlen": 0}, daemon=True)
        drain.start()
        anvil = Anvil(f"http://{found[1]}")
        try:
            yield anvil
        finally:
            anvil.close()
            process.kill()
            drain.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True)
class Node:
    """A chain of one kind, by the methods that give coins and make blocks on it."""

    kind: str
    url: str

    def give(self, account: Address) -> None:
        """Let an account have ten coins."""
        coins = hex(10 * 10**18)
        match self.kind:
            case "geth":  # in development mode it has one rich account
                self._pay(address_text(account), coins)
            case "embedded":
                self.rpc("platemark_fund", address_text(account), coins)
            case _:
                self.rpc("anvil_setBalance", address_text(account), coins)

    def mine(self, count: int = 1) -> None:
        """Make blocks."""
        if self.kind not in {"geth", "embedded"}:
            self.rpc("anvil_mine", hex(count))
            return
        for _ in range(count):
            if self.kind == "geth":
                self._pay("0x" + "99" * 20, "0x1")
            else:
                self.rpc("evm_mine")

    def rpc(self, method: str, *params: Any) -> Any:
        answer = self._ask(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    def _ask(self, method: str, *params: Any) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer: dict[str, Any] = httpx.post(
            self.url, json=body, trust_env=False, timeout=30, verify=authorities()
        ).json()
        return answer

    def _pay(self, to: str, value: str) -> None:
        (rich,) = self.rpc("eth_accounts")
        sent = self.rpc("eth_sendTransaction", {"from": rich, "to": to, "value": value})
        deadline = time.monotonic() + 20
        while self._ask("eth_getTransactionReceipt", sent).get("result") is None:  # geth may still be indexing
            assert time.monotonic() < deadline, "the coins do not arrive"
            time.sleep(0.05)


@contextmanager
def running_node(kind: str, folder: Path) -> Iterator[Node]:
    """Run a chain: `embedded`, `geth`, or the name of a fork that anvil knows."""
    match kind:
        case "embedded":
            with running_chain(folder / "chain", "--time-travel") as chain:
                yield Node(kind, chain.url)
        case "geth":
            with running_geth("--rpc.allow-unprotected-txs") as url:
                yield Node(kind, url)
        case _:
            with running_anvil("--hardfork", kind) as anvil:
                yield Node(kind, anvil.url)


def geth_program() -> str | None:
    """Return go-ethereum's geth, where there is one."""
    built = ROOT / ".tools" / "geth"
    return os.environ.get("PLATEMARK_TEST_GETH") or (str(built) if built.exists() else shutil.which("geth"))


@contextmanager
def running_geth(*options: str) -> Iterator[str]:
    """Run geth in development mode, which mines each transaction at once; yield its JSON-RPC address."""
    program = geth_program()
    assert program is not None
    command = [program, "--dev", "--http", "--http.port", "0", "--http.api", "eth,net,web3", "--authrpc.port", "0"]
    command += ["--port", "0", "--nodiscover", "--ipcdisable", *options]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "output").open("w+") as output:
        process = subprocess.Popen([*command, "--datadir", f"{folder}/data"], stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            told = Path(folder, "output")
            while not (found := re.search(r"HTTP server started +endpoint=(\S+) +auth=false", told.read_text())):
                assert process.poll() is None, told.read_text()
                assert time.monotonic() < deadline, "geth does not start"
                time.sleep(0.1)
            yield f"http://{found[1]}"
        finally:
            process.kill()
            process.wait(20)
