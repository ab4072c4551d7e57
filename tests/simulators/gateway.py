"""A whole gateway in one process: the real application, database, outbox and vault; chain and blocks in memory.

async with simulated_gateway(tmp_path) as gateway:
    answer = await gateway.client.get("/v1/gateway")
    await gateway.chain.mine()
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from platemark.protocol.accounts import AccountKey
from platemark.protocol.checkpoint import NoteKey
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.siwe import personal_digest
from platemark.protocol.units import address_text
from platemark_gateway.blobs.nodes import NodeBlocks
from platemark_gateway.chain.indexer import Index
from platemark_gateway.chain.submitter import Outbox
from platemark_gateway.container import Container
from platemark_gateway.db.session import Database
from platemark_gateway.main import create_app
from platemark_gateway.metrics import Metrics
from platemark_gateway.ports import BlockNode, GatewayState, KeyKind
from platemark_gateway.settings import Settings
from platemark_gateway.vault.files import FileVault
from platemark_gateway.worker import reserving
from platemark_gateway.worker.projections import PROJECTIONS
from simulators.blocks import MemoryBlocks
from simulators.chain import DEPLOYMENT, SimulatedCalls, SimulatedChain
from simulators.clock import ManualClock, SeededRandomness
from simulators.databases import make_tables
from simulators.witness import SimulatedWitness

PASSPHRASE = "a passphrase for tests"
URL = "http://gateway.test"


@dataclass
class SimulatedGateway:
    """Everything a test may want to hold of a running gateway."""

    container: Container
    chain: SimulatedChain
    blocks: MemoryBlocks
    replica: MemoryBlocks
    clock: ManualClock
    client: httpx.AsyncClient
    vault_folder: Path

    async def sign_in(self, account: AccountKey) -> dict[str, str]:
        """Return the headers of a new session of an account."""
        challenge = await self.client.post("/v1/sign-in/challenges", json={"address": address_text(account.address)})
        message = challenge.json()["text"]
        signature = account.sign(personal_digest(message.encode()))
        answer = await self.client.post("/v1/sign-in", json={"message": message, "signature": "0x" + signature.hex()})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['session']}"}

    def choose(self, **changes: Any) -> None:
        """Change settings of the running gateway (limits of middleware are fixed when the application is made)."""
        settings = self.container.settings.model_copy(update=changes)
        object.__setattr__(self.container, "settings", settings)

    def witnessed(self, *names: str) -> list[SimulatedWitness]:
        """Give the gateway witnesses that know its log, and return them."""
        profile = self.container.profile
        made = [SimulatedWitness(name, NoteKey(profile.log_origin, profile.log_key)) for name in names]
        object.__setattr__(self.container, "witnesses", tuple(made))
        return made

    def operator(self) -> AccountKey:
        """Return the gateway's own account (tests reach into the vault for it)."""
        vault = self.container.vault
        assert isinstance(vault, FileVault)
        return vault._account


def profile_of(vault: FileVault, settings: Settings) -> GatewayProfile:
    """Return what a simulated gateway with these keys declares."""
    return GatewayProfile(
        chain_id=DEPLOYMENT.chain_id,
        registry=DEPLOYMENT.registry,
        license=DEPLOYMENT.license,
        ledger=DEPLOYMENT.ledger,
        gateway=vault.account,
        url=URL,
        log_key=vault.public_keys(KeyKind.LOG)[0],
        release_key=vault.public_keys(KeyKind.RELEASE)[0],
        deposit_key=vault.public_keys(KeyKind.DEPOSIT)[0],
        log_origin=f"{DEPLOYMENT.chain_id}/{address_text(DEPLOYMENT.ledger)}/{address_text(vault.account)}/1",
        merge_delay_seconds=settings.merge_delay_seconds,
    )


@contextlib.asynccontextmanager
async def simulated_gateway(
    folder: Path,
    *,
    database_url: str | None = None,
    settings: Mapping[str, Any] | None = None,
    nodes: Sequence[BlockNode] | None = None,
) -> AsyncIterator[SimulatedGateway]:
    """Run a gateway in `folder`, on SQLite or the given empty database; its block nodes are in memory unless given."""
    clock = ManualClock()
    randomness = SeededRandomness()
    chosen = Settings(data=folder, url=URL, **(settings or {}))
    database = Database(database_url or f"sqlite+aiosqlite:///{folder / 'gateway.sqlite3'}")
    await make_tables(database)
    vault_folder = folder / "vault"
    vault = FileVault.create(vault_folder, PASSPHRASE, random_bytes=randomness.token_bytes, scrypt_n=1 << 10)
    chain = SimulatedChain(database, clock, PROJECTIONS)
    blocks, replica, metrics = MemoryBlocks(), MemoryBlocks("replica"), Metrics()
    profile = profile_of(vault, chosen)
    chain._state.gateways[vault.account] = GatewayState(profile.digest(), 1, 0)
    container = Container(
        settings=chosen,
        clock=clock,
        randomness=randomness,
        database=database,
        chain=chain,
        index=Index(chosen.confirmations),
        calls=SimulatedCalls(),
        transactions=Outbox(vault.account, clock, randomness),
        vault=vault,
        blocks=NodeBlocks(nodes or [blocks, replica], clock, metrics),
        profile=profile,
        metrics=metrics,
    )
    chain.before_mining.append(partial(reserving.step, container))
    await chain.mine()
    transport = httpx.ASGITransport(create_app(container), client=("127.0.0.1", 50_000))
    try:
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            yield SimulatedGateway(container, chain, blocks, replica, clock, client, vault_folder)
    finally:
        await database.close()
