"""A gateway of several processes on the components of production, seen as the simulated one is by agents and designers.

Processes come from docker-compose.yml (`composition`): PostgreSQL, Kubo, three gateways without a worker, one worker;
the chain is anvil, behind an endpoint that can be told to lie, to be slow or to be away.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import func, select

from chain_stack import Anvil, running_anvil
from composition.running import Composition, composition
from composition.services import Service
from faults.disk import Disk, disk_at
from lying_rpc import Lie, lying_rpc
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.units import UnixSeconds
from platemark_gateway.blobs.nodes import NodeBlocks
from platemark_gateway.chain.client import ChainClient, ContractReader, Rpc
from platemark_gateway.chain.contracts import AbiCalls
from platemark_gateway.chain.deploy import FILE_NAME, read_deployment
from platemark_gateway.chain.indexer import Index
from platemark_gateway.chain.submitter import Outbox
from platemark_gateway.container import Container
from platemark_gateway.db.session import Database
from platemark_gateway.metrics import Metrics
from platemark_gateway.models.chain import ChainProgress, OutboxTransaction
from platemark_gateway.models.registry import load_models
from platemark_gateway.ports import ChainEvent, Deployment
from platemark_gateway.settings import Settings
from platemark_gateway.vault.files import FileVault
from simulators.blocks import MemoryBlocks
from simulators.chain import SimulatedChain
from simulators.clock import ManualClock, SeededRandomness
from simulators.gateway import SimulatedGateway
from simulators.people import Designer

GATEWAYS: Final = ("gateway-1", "gateway-2", "gateway-3")
SETTINGS: Final = {
    "ANCHOR_SECONDS": "2",
    "SETTLE_SECONDS": "2",
    "POLL_SECONDS": "0.2",
    "FINALITY_SECONDS": "1",
    "RPC_TIMEOUT_SECONDS": "3",
    "LOG_LEVEL": "WARNING",
}
LICENSED: Final = 50_000
_WAIT_SECONDS: Final = 120
_UNFINISHED: Final = ("queued", "sent", "seen", "confirmed")


class WallClock(ManualClock):
    """The machine's clock, for agents whose gateway is real."""

    def now(self) -> UnixSeconds:
        return UnixSeconds(int(time.time()))


class FollowedChain(SimulatedChain):
    """A real chain's final block, as an agent sees it; `mine` waits until what was sent is final and indexed."""

    def __init__(self, database: Database, clock: ManualClock, client: ChainClient, deployment: Deployment) -> None:
        super().__init__(database, clock, ())
        self.reader = ContractReader(client, deployment)
        self.final_number = 0

    @property
    def deployment(self) -> Deployment:
        return self.reader.deployment

    async def follow(self) -> None:
        """Take the block that the gateway has seen as final for what agents sign from here on."""
        async with self._database.read() as session:
            row = await session.get_one(ChainProgress, 1)
        found = await self.reader.block_at(row.final_number)
        assert found is not None
        self.blocks = [found]

    async def mine(self, *, final: bool = True) -> list[ChainEvent]:
        """Return when no transaction waits and the index has come to what is final now; what was in it is not told.

        Errors: AssertionError when that takes too long.
        """
        assert final, "a real chain decides by itself"
        ends_at = time.monotonic() + _WAIT_SECONDS
        waiting = select(func.count()).select_from(OutboxTransaction).where(OutboxTransaction.status.in_(_UNFINISHED))
        while True:
            async with self._database.read() as session:
                left = await session.scalar(waiting)
            if not left:
                break
            assert time.monotonic() < ends_at, f"{left} transactions are not final"
            await asyncio.sleep(0.2)
        wanted = (await self.reader.final_block()).number
        while True:
            async with self._database.read() as session:
                indexed = await session.scalar(select(ChainProgress.final_number))
            if (indexed or 0) >= wanted:
                break
            assert time.monotonic() < ends_at, "the index does not come to the final block"
            await asyncio.sleep(0.2)
        await self.follow()
        return []


class AnyGateway(httpx.AsyncBaseTransport):
    """Sends each request to the next gateway, and to the one after it when nobody listens there, as a proxy does."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._turn = itertools.count()
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=256))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        first = next(self._turn)
        for number in range(len(self._urls)):
            url = self._urls[(first + number) % len(self._urls)]
            request.url = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
            try:
                return await self._inner.handle_async_request(request)
            except httpx.ConnectError:
                if number == len(self._urls) - 1:
                    raise
        raise AssertionError

    async def aclose(self) -> None:
        await self._inner.aclose()


class Endpoint:
    """What the chain's endpoint does to each answer, changed while the gateways run."""

    def __init__(self) -> None:
        self.lie: Lie = honest

    def __call__(self, method: str, params: Sequence[Any], result: Any) -> Any:
        return self.lie(method, params, result)


def honest(_method: str, _params: Sequence[Any], result: Any) -> Any:
    """Pass on what the chain says."""
    return result


class Publisher(Designer):
    """A designer whose licence is as large as one may be: prints and spares of a reservation have 16 bits."""

    def document(self, **changes: Any) -> TermsDocument:
        return super().document(**({"cap": LICENSED} | changes))


@dataclass
class Site:
    """Everything that a case may break, and the gateway as agents see it."""

    processes: Composition
    anvil: Anvil
    endpoint: Endpoint
    disk: Disk | None
    """What PostgreSQL's files lie on; None where this process may not mount one, and they lie in a folder."""
    gateway: SimulatedGateway
    chain: FollowedChain

    @property
    def urls(self) -> list[str]:
        return [self.processes.url(name, 8080) for name in GATEWAYS]

    @property
    def database(self) -> Database:
        return self.gateway.container.database

    async def restored(self) -> None:
        """Return when everything runs and is well again."""
        await asyncio.to_thread(self.processes.start)


def _of_production(services: dict[str, Service]) -> dict[str, Service]:
    """Return the services of the suite: a third gateway, quick settings, no proxy, no Prometheus and another chain."""
    chosen = {name: each for name, each in services.items() if name not in {"proxy", "prometheus", "chain"}}
    chosen["gateway-3"] = replace(chosen["gateway-2"], name="gateway-3")
    quick = {f"PLATEMARK_GATEWAY_{name}": value for name, value in SETTINGS.items()}
    for name, each in chosen.items():
        needs = {other: condition for other, condition in each.depends_on.items() if other in chosen}
        is_ours = each.image.startswith("platemark-gateway")
        environment = {**each.environment, **quick} if is_ours else each.environment
        chosen[name] = replace(each, depends_on=needs, environment=environment)
    chosen["worker"] = replace(chosen["worker"], check=("python", "-c", "pass"))  # doctor takes seconds
    return chosen


@contextmanager
def _processes(folder: Path) -> Iterator[tuple[Composition, Anvil, Endpoint, Disk | None]]:
    endpoint = Endpoint()
    with running_anvil("--block-time", "1") as anvil, lying_rpc(anvil.url, endpoint) as rpc:
        variables = {"PLATEMARK_RPC_URL": rpc, "PLATEMARK_REQUESTS_PER_MINUTE": "1000000"}
        place = folder / "volumes" / "postgresql"
        with disk_at(place) as disk, composition(folder, _of_production, **variables) as made:
            assert made.volume("postgresql") == place
            vault = FileVault.create(made.volume("gateway") / "vault", _passphrase(made))
            anvil.fund(vault.account, 10**24)
            made.start()
            yield made, anvil, endpoint, disk


def _passphrase(made: Composition) -> str:
    return (made.folder / "secrets" / "gateway-passphrase").read_text().strip()


@asynccontextmanager
async def running_site(folder: Path) -> AsyncIterator[Site]:
    """Run a site in an empty folder while the block lasts."""
    load_models()
    with _processes(folder) as (made, anvil, endpoint, disk):
        data = made.volume("gateway")
        clock, randomness = WallClock(), SeededRandomness()
        password = (folder / "secrets" / "postgresql-password").read_text().strip()
        address = f"127.0.0.1:{made.ports['postgresql:5432']}"
        database = Database(f"postgresql+psycopg://platemark:{password}@{address}/platemark")
        rpc = Rpc(anvil.url)
        client = httpx.AsyncClient(
            transport=AnyGateway([made.url(name, 8080) for name in GATEWAYS]),
            base_url="http://gateway.invalid",
            timeout=40,
        )
        try:
            vault = FileVault.open(data / "vault", _passphrase(made))
            deployment = read_deployment(data / FILE_NAME)
            assert deployment is not None
            chain = FollowedChain(database, clock, ChainClient(rpc), deployment)
            profile = GatewayProfile.from_json((await client.get("/v1/gateway")).json()["profile"])
            settings = Settings(data=data, url=profile.url)
            blocks = MemoryBlocks()
            container = Container(
                settings=settings,
                clock=clock,
                randomness=randomness,
                database=database,
                chain=chain,
                index=Index(settings.confirmations),
                calls=AbiCalls(),
                transactions=Outbox(vault.account, clock, randomness),
                vault=vault,
                blocks=NodeBlocks([blocks], clock, Metrics()),
                profile=profile,
            )
            gateway = SimulatedGateway(container, chain, blocks, MemoryBlocks("replica"), clock, client, data / "vault")
            await chain.mine()
            yield Site(made, anvil, endpoint, disk, gateway, chain)
        finally:
            await client.aclose()
            await rpc.close()
            await database.close()
