"""Builds a gateway from its settings and runs it.

The flow:

1. open the vault, or make one at the first start
2. reach the chain; on the embedded chain, ask its faucet for coins
3. read where the contracts stand and check their code; on the embedded chain, deploy them at the first start
4. bring the database to the newest revision
5. declare the profile on chain unless it is declared already, and store its block
6. open the print log: compare it with the last checkpoint and anchor
7. serve and work
"""

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import LocalError
from platemark.protocol.byte_text import base64url, parse_base64url
from platemark.protocol.checkpoint import private_key_text
from platemark.protocol.cid import Cid, Codec, raw_block
from platemark.protocol.deployment import DEPLOYER, DeploymentRecord, contracts_of
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.typed_data import Declaration
from platemark.protocol.units import Address, Digest32, UnixSeconds, Wei, address_text, digest_text
from platemark_gateway import profiles, telemetry
from platemark_gateway.audit import journal
from platemark_gateway.blobs.folder import FolderBlocks
from platemark_gateway.blobs.kubo import KuboBlocks
from platemark_gateway.blobs.nodes import NodeBlocks
from platemark_gateway.chain.client import ChainClient, ContractReader, Rpc
from platemark_gateway.chain.contracts import AbiCalls
from platemark_gateway.chain.deploy import FILE_NAME as DEPLOYMENT_FILE
from platemark_gateway.chain.deploy import (
    deploy,
    deployment_of,
    is_current,
    read_deployment,
    read_record,
    record_of,
    verify_deployment,
    write_record,
)
from platemark_gateway.chain.endpoints import Endpoints
from platemark_gateway.chain.errors import NodeError
from platemark_gateway.chain.files import write_atomically
from platemark_gateway.chain.indexer import Index, Indexer
from platemark_gateway.chain.listening import listen, run_server
from platemark_gateway.chain.senders import Senders
from platemark_gateway.chain.submitter import Outbox, Policy, Signer, sending_account
from platemark_gateway.clock import Clock, SystemClock
from platemark_gateway.container import Container
from platemark_gateway.db import migrations
from platemark_gateway.db.session import Database
from platemark_gateway.errors import NotFoundError, UnavailableError, VaultError
from platemark_gateway.ids import SystemRandomness
from platemark_gateway.main import create_app
from platemark_gateway.metrics import Metrics
from platemark_gateway.models.profile import StoredProfile
from platemark_gateway.ports import (
    BlockNode,
    BlockStore,
    ChainReader,
    Contract,
    Deployment,
    FactStatus,
    GatewayState,
    KeyKind,
    KeyVault,
)
from platemark_gateway.printlog.exporting import Exported, export
from platemark_gateway.printlog.files import LogFiles
from platemark_gateway.printlog.service import leave_epoch, open_log
from platemark_gateway.recovery.restoring import finish
from platemark_gateway.recovery.state import STATE_FILE, VAULT, in_use, read_state
from platemark_gateway.settings import Settings, without_credentials
from platemark_gateway.vault.files import FileVault
from platemark_gateway.vault.passphrases import passphrase_of
from platemark_gateway.witnesses import Witnesses
from platemark_gateway.worker.loop import Worker
from platemark_gateway.worker.projections import PROJECTIONS
from platemark_gateway.worker.reporting import report
from platemark_gateway.worker.steps import steps_of

_LOW_BALANCE: Final = Wei(10**17)
FINAL_SECONDS: Final = 300
"""How long commands wait for a transaction of the gateway to be final."""
STATEMENT_SECONDS: Final = 86_400
"""How long what the gateway's account signs for the ledger may be brought there."""


class Sending(Protocol):
    """What sends the outbox (`Senders`)."""

    async def run_once(self) -> bool:
        """Do what is due; return whether anything moved."""
        ...


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway that is ready to serve or to work."""

    container: Container
    worker: Worker


# --- commands -----------------------------------------------------------------------------------------------


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; one line of JSON on stdout says that it answers."""
    telemetry.configure(as_json=settings.log_json, level=settings.log_level)
    preferred = _last_port(settings.data) if settings.port == 0 else None
    with listen(settings.host, settings.port, preferred) as listener:
        url = settings.url or f"http://{_host(settings)}:{listener.getsockname()[1]}"
        _run(_serve(settings.with_url(url), listener))


def work(settings: Settings) -> None:
    """Run the worker alone until SIGTERM or SIGINT, beside gateways that serve without one."""
    telemetry.configure(as_json=settings.log_json, level=settings.log_level)
    state = read_state(settings.data)
    url = settings.url or (str(state["url"]) if state else None)
    if url is None:
        raise LocalError("the gateway's address is not known yet", code="state-missing", hint="start `serve` first")
    _run(_work(settings.with_url(url)))


async def deploy_contracts(
    settings: Settings, *, deployments: Path | None = None, own_deployer: bool = False
) -> dict[str, Any]:
    """Bring the contracts to their places, unless they are there, and return the record of the deployment.

    The first of the chain's endpoints is used. The record is written into the data folder, and as `<chain id>.json`
    into the folder `deployments` if that is given. Keys and coins are needed only when something must be sent.

    Errors: LocalError `funds-missing` when the account has no coins; those of the vault, the chain and `deploy`.
    """
    rpc = Rpc(settings.rpc_urls()[0], timeout_seconds=settings.rpc_timeout_seconds)
    try:
        client = ChainClient(rpc)
        path = settings.data / DEPLOYMENT_FILE
        listed = None if deployments is None else deployments / f"{await client.chain_id()}.json"
        found = read_record(path)
        if found is None and listed is not None:
            found = read_record(listed)
        made = await _settled(client, found) if found is not None else None
        if made is None:
            made = await deploy(client, lambda: _payer(settings, client), own_deployer=own_deployer)
        for target in (path, listed):
            if target is not None and read_record(target) != made:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_record(target, made)
        return made.to_json()
    finally:
        await rpc.close()


async def _settled(client: ChainClient, found: DeploymentRecord) -> DeploymentRecord:
    """Return a record that was written before, checked, and drawn up anew when it is not of the chain as it is now."""
    await verify_deployment(client, deployment_of(found))
    deployer = DEPLOYER if found.details is None else found.details.deployer
    if found.contracts != contracts_of(deployer) or await is_current(client, found):
        return found
    drawn = await record_of(client, found.chain_id, found.contracts, deployer, [None, None])
    return drawn if found.details is None or await is_current(client, drawn) else found


async def _payer(settings: Settings, client: ChainClient) -> Signer:
    settings.data.mkdir(parents=True, exist_ok=True)
    vault = await asyncio.to_thread(_open_vault, settings)
    signer = Signer(vault.account, vault.sign_digest)
    sys.stderr.write(f"deploying with the gateway's account {address_text(signer.address)}\n")
    if await client.balance_of(signer.address) == 0 and not await _fund(client, signer.address):
        raise LocalError(
            "the gateway's account has no coins on this chain",
            code="funds-missing",
            hint=f"send some to {address_text(signer.address)}",
        )
    return signer


async def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision."""
    if settings.database_url is None:
        settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database())
    try:
        await migrations.upgrade(database)
    finally:
        await database.close()


async def export_log(settings: Settings, target: Path) -> Exported:
    """Bring a folder up to the log and what an audit of it reads; nothing of the gateway needs to run.

    Errors: LocalError `state-missing` before the first start; as `exporting.export`.
    """
    if read_state(settings.data) is None:
        raise LocalError("there is no gateway in the data folder", code="state-missing", hint="name it with --data")
    database = Database(settings.database())
    try:
        blocks = blocks_of(settings, SystemClock(), Metrics())
        return await export(database, blocks, LogFiles(settings.data / "log"), target)
    finally:
        await database.close()


async def log_key_text(settings: Settings) -> str:
    """Return the log's private key as C2SP tools read it, after the audit table says that it left.

    Errors: LocalError `state-missing` before the first start; those of the vault; UnavailableError
        `database-unreachable`.
    """
    state = read_state(settings.data)
    if state is None:
        raise LocalError("the log's name is not known yet", code="state-missing", hint="start `serve` first")
    vault = open_vault(settings)
    secret = vault.export_log_key(parse_base64url(str(state.get("logKey", "")), max_bytes=32))
    await _record_export(settings, "log-key.export", str(state["logOrigin"]))
    return private_key_text(str(state["logOrigin"]), secret)


async def account_key_text(settings: Settings) -> str:
    """Return the account's private key, 64 hexadecimal digits, after the audit table says that it left.

    With it a lost vault gives way to another one of the same gateway.

    Errors: those of the vault; UnavailableError `database-unreachable`.
    """
    vault = open_vault(settings)
    secret = vault.export_account()
    await _record_export(settings, "account-key.export", address_text(vault.account))
    return secret.hex()


async def _record_export(settings: Settings, action: str, subject: str) -> None:
    database = Database(settings.database())
    try:
        async with database.begin() as session:
            journal.record(session, SystemClock(), actor="operator", action=action, subject=subject)
    finally:
        await database.close()


# --- building -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Build a gateway, steps 1 to 6, and close everything in the end.

    Errors: LocalError, GatewayError: a gateway that cannot be sure of its keys, contracts or chain does not start.
    """
    async with building(settings) as (container, senders):
        await _declare(container, senders)  # step 5
        await open_log(container)  # step 6
        indexer = Indexer(container.database, senders.client, container.chain.deployment, PROJECTIONS)
        worker = Worker(
            steps_of(container, indexer, senders),
            pause_seconds=settings.poll_seconds,
            clock=container.clock,
            metrics=container.metrics,
            report=partial(report, container.database),
        )
        yield Running(container, worker)


@contextlib.contextmanager
def finished_and_in_use(settings: Settings) -> Iterator[None]:
    """Hold the data folder, after a restore that was killed has been finished.

    Errors: LocalError `gateway-running` while a restore is under way.
    """
    finish(settings)
    with in_use(settings.data):
        yield


class Replacing(StrEnum):
    """What becomes of the declared profile when a gateway is built."""

    NOTHING = "nothing"
    """Its keys must be in the vault; address and merge delay are those of the settings."""
    LOST = "lost"
    """Keys that the vault lacks give way to its newest; everything else stays as it was declared."""


@contextlib.asynccontextmanager
async def building(
    settings: Settings, replacing: Replacing = Replacing.NOTHING
) -> AsyncIterator[tuple[Container, Senders]]:
    """Take steps 1 to 4, beside a gateway that may be running: everything is open and nothing is declared yet.

    Errors: as `running`.
    """
    with finished_and_in_use(settings):
        async with _built(settings, replacing) as built:
            yield built


@contextlib.asynccontextmanager
async def _built(settings: Settings, replacing: Replacing) -> AsyncIterator[tuple[Container, Senders]]:
    vault = await asyncio.to_thread(_open_vault, settings)  # step 1
    endpoints = endpoints_of(settings)
    witnesses = Witnesses.of(settings)
    database = Database(settings.database(), pool_size=settings.database_connections)
    try:
        client = ChainClient(endpoints, final_depth=settings.final_depth)
        signer = Signer(vault.account, vault.sign_digest)
        deployment = await _deployment(settings, endpoints, client, signer)  # steps 2, 3
        await migrations.upgrade(database)  # step 4
        clock = SystemClock()
        randomness = SystemRandomness(clock)
        chain = ContractReader(client, deployment)
        senders = Senders(database, client, deployment.chain_id, vault, clock, _policy(settings))
        metrics = Metrics()
        blocks = blocks_of(settings, clock, metrics)
        state = await chain.gateway(vault.account)
        async with database.read() as session:
            declared = await _declared_profile(session, blocks, state.profile_digest)
            sender = await sending_account(session, vault.account)
        if replacing is Replacing.NOTHING:
            await _require_sender(chain, vault, sender)
        if sender != vault.account and await client.balance_of(sender) < _LOW_BALANCE:
            await _fund(client, sender)
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
            blocks=blocks,
            profile=_profile(settings, vault, deployment, state, declared, replacing),
            witnesses=witnesses,
            metrics=metrics,
        )
        yield container, senders
    finally:
        await witnesses.close()
        await endpoints.close()
        await database.close()


async def _serve(settings: Settings, listener: Any) -> None:
    async with running(settings) as gateway:
        stop = asyncio.Event()
        working = asyncio.create_task(gateway.worker.run(stop)) if settings.worker else None

        def announce() -> None:
            state = _state(gateway.container)
            write_atomically(settings.data / STATE_FILE, json.dumps(state, indent=1) + "\n")
            listening = f"http://{_host(settings)}:{listener.getsockname()[1]}"
            sys.stdout.write(json.dumps({"ready": True, "listening": listening} | state) + "\n")
            sys.stdout.flush()

        app = create_app(gateway.container)
        app.state.worker_health = gateway.worker.health if settings.worker else None
        ended = asyncio.Event()
        if working is not None:
            # A worker that ends by itself ends the gateway: what it releases must come into its log.
            working.add_done_callback(lambda _: ended.set())
        try:
            await run_server(app, listener, announce, ended)  # step 7
        finally:
            stop.set()
            if working is not None:
                await working


async def _work(settings: Settings) -> None:
    import signal

    async with running(settings) as gateway:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        sys.stdout.write(json.dumps({"ready": True, "worker": True}) + "\n")
        sys.stdout.flush()
        await gateway.worker.run(stop)


def open_vault(settings: Settings) -> FileVault:
    """Return the vault that is there; errors: those of `FileVault.open` and `passphrase_of`."""
    return FileVault.open(settings.data / VAULT, passphrase_of(settings).get_secret_value())


def _open_vault(settings: Settings) -> FileVault:
    if FileVault.exists(settings.data / VAULT):
        return open_vault(settings)
    if (settings.data / STATE_FILE).exists():
        raise LocalError(
            "this gateway had a vault, which is not there any more",
            code="vault-missing",
            hint="restore it from its backup; docs/recovery.md says what to do without one",
        )
    return FileVault.create(settings.data / VAULT, passphrase_of(settings).get_secret_value())


def endpoints_of(settings: Settings) -> Endpoints:
    """Return the chain's endpoints; a read that fails goes to the next one, or once more to the only one."""
    urls = settings.rpc_urls()
    tries = 2 if len(urls) == 1 else 1
    return Endpoints([Rpc(url, timeout_seconds=settings.rpc_timeout_seconds, tries=tries) for url in urls])


def _policy(settings: Settings) -> Policy:
    return Policy(
        confirmations=settings.confirmations,
        fee_limit=settings.fee_limit_wei,
        wei_per_day=settings.spend_wei_per_day,
        reserve_percent=settings.spend_reserve_percent,
    )


async def _deployment(settings: Settings, endpoints: Endpoints, client: ChainClient, signer: Signer) -> Deployment:
    path = settings.data / DEPLOYMENT_FILE
    found = read_deployment(path)
    if found is not None:
        endpoints.require(partial(verify_deployment, deployment=found))
    embedded = False
    if found is None or await client.balance_of(signer.address) < _LOW_BALANCE:
        embedded = await _fund(client, signer.address)
    if found is not None:
        return found
    if not embedded:
        raise LocalError(
            "it is not known where the contracts stand",
            code="deployment-missing",
            hint=f"run `platemark-gateway deploy`, or put {DEPLOYMENT_FILE} into the data folder",
        )
    made = await deploy(client, lambda: _ready(signer))
    write_record(path, made)
    deployment = deployment_of(made)
    endpoints.require(partial(verify_deployment, deployment=deployment))
    return deployment


async def _ready(signer: Signer) -> Signer:
    return signer


async def _fund(client: ChainClient, account: Address) -> bool:
    """Ask the embedded chain for coins; return False on any other chain, which has no such method."""
    try:
        await client.fund(account)
    except NodeError:
        return False
    return True


async def _require_sender(chain: ChainReader, vault: KeyVault, sender: Address) -> None:
    """Pass when the account that sends is in the vault and may act for the gateway.

    Errors: VaultError `vault-key-missing`; LocalError `sender-withdrawn`.
    """
    if not vault.holds_sender(sender):
        raise VaultError(
            "the vault lacks the key of the account that sends transactions",
            code="vault-key-missing",
            hint="restore the vault's newest backup; docs/recovery.md says what to do without one",
        )
    if not await chain.is_operator(vault.account, sender):
        raise LocalError(
            f"{address_text(sender)}, which sends transactions, is no operator of this gateway any more",
            code="sender-withdrawn",
            hint="put another account in its place: platemark-gateway keys rotate sender",
        )


def blocks_of(settings: Settings, clock: Clock, metrics: Metrics) -> NodeBlocks:
    """Return the settings' block nodes; nothing is called yet."""
    timeout = settings.ipfs_timeout_seconds
    nodes: list[BlockNode] = [
        FolderBlocks(settings.data / "blocks")
        if settings.ipfs_api is None
        else KuboBlocks(settings.ipfs_api, timeout_seconds=timeout)
    ]
    if settings.ipfs_replica_api is not None:
        nodes.append(KuboBlocks(settings.ipfs_replica_api, name="replica", timeout_seconds=timeout))
    return NodeBlocks(nodes, clock, metrics)


async def _declared_profile(session: AsyncSession, blocks: BlockStore, digest: Digest32) -> GatewayProfile | None:
    """Return the profile that is declared, or None when there is none, or it cannot be had."""
    stored = await session.get(StoredProfile, digest)
    if stored is not None:
        return GatewayProfile.parse(stored.profile)
    try:
        return GatewayProfile.parse(await blocks.get(Cid(Codec.RAW, digest))) if any(digest) else None
    except NotFoundError:
        return None


def _profile(
    settings: Settings,
    vault: KeyVault,
    deployment: Deployment,
    state: GatewayState,
    declared: GatewayProfile | None,
    replacing: Replacing,
) -> GatewayProfile:
    """Return what this gateway is to declare: the keys that it declared, where it is now.

    Without a declaration the vault's newest keys; keys are changed by `keys rotate` alone.

    Errors: LocalError `profile-unknown` when it cannot be told which of several keys are declared; VaultError
        `vault-key-missing` when the vault lacks one.
    """
    keys = {kind: vault.public_keys(kind) for kind in KeyKind}
    if declared is not None:
        found = {kind: profiles.public_key(declared, kind) for kind in KeyKind}
        missing = [kind for kind in KeyKind if found[kind] not in keys[kind]]
        if missing and replacing is Replacing.NOTHING:
            raise VaultError(
                f"the vault lacks the {' and '.join(missing)} key that is declared on chain",
                code="vault-key-missing",
                hint="restore the vault's newest backup; docs/recovery.md says what to do without one",
            )
        found |= {kind: keys[kind][-1] for kind in missing}
        if replacing is Replacing.NOTHING:
            return replace(declared, url=settings.public_url(), merge_delay_seconds=settings.merge_delay_seconds)
        profile = replace(
            declared,
            release_key=found[KeyKind.RELEASE],
            log_key=found[KeyKind.LOG],
            deposit_key=found[KeyKind.DEPOSIT],
        )
        return profile.in_epoch(state.epoch + 1) if KeyKind.LOG in missing else profile
    if any(state.profile_digest) and any(len(each) > 1 for each in keys.values()):
        raise LocalError(
            "it is not known which keys are declared: neither database nor blocks have the profile",
            code="profile-unknown",
            hint="restore the database, or the profile's block",
        )
    ledger, account = address_text(deployment.ledger), address_text(vault.account)
    return GatewayProfile(
        chain_id=deployment.chain_id,
        registry=deployment.registry,
        license=deployment.license,
        ledger=deployment.ledger,
        gateway=vault.account,
        url=settings.public_url(),
        log_key=keys[KeyKind.LOG][-1],
        release_key=keys[KeyKind.RELEASE][-1],
        deposit_key=keys[KeyKind.DEPOSIT][-1],
        log_origin=f"{deployment.chain_id}/{ledger}/{account}/{state.epoch or 1}",
        merge_delay_seconds=settings.merge_delay_seconds,
    )


async def _declare(container: Container, senders: Senders) -> None:
    """Let the chain say what the profile says, and wait until that is final.

    Errors: UnavailableError `profile-undeclared` when the chain refuses, or takes too long.
    """
    profile = container.profile
    declared = await container.chain.gateway(profile.gateway)
    if declared.profile_digest == profile.digest():
        await _keep_block(container, profile)
        return
    await declare(container, senders, profile)


async def _keep_block(container: Container, profile: GatewayProfile) -> None:
    block = raw_block(profile.encode())
    await container.blocks.put(block.cid, block.data)
    await container.blocks.pin(block.cid)


async def _declaration_key(session: AsyncSession, container: Container, profile: GatewayProfile) -> str:
    """Return the outbox's key of this declaration: one on its way is not queued twice, one that is over may be."""
    again = 0
    while True:
        key = profiles.declaration_key(profile, again)
        view = await container.transactions.find(session, key)
        if view is None or view.status != FactStatus.FINAL:
            return key
        again += 1


async def declare(container: Container, senders: Sending, profile: GatewayProfile, *, new_epoch: bool = False) -> None:
    """Store a profile where everybody finds it, declare it, and wait until that is final.

    A new epoch closes the log in the transaction that orders the declaration. A kill anywhere leaves the old profile
    declared or the new one; the same call again goes on where the first one was.

    Errors: UnavailableError `profile-undeclared` when the chain refuses, or takes too long.
    """
    await _keep_block(container, profile)
    async with container.database.begin() as session:
        await profiles.keep(session, profile, container.clock.now())
        if new_epoch:
            await leave_epoch(session, container)
        transaction = await container.transactions.enqueue(
            session,
            purpose="gateway.declare",
            to=container.chain.deployment.ledger,
            data=declaration_call(container, profile, new_epoch=new_epoch),
            dedupe_key=await _declaration_key(session, container, profile),
        )
        journal.record(
            session,
            container.clock,
            actor=journal.GATEWAY,
            action="gateway.declare",
            subject=digest_text(profile.digest()),
            detail={"url": profile.url},
        )
    try:
        await until_final(container, senders, transaction)
    except UnfinishedError as error:
        raise UnavailableError(f"the gateway's profile is not on chain: {error}", code="profile-undeclared") from error


def declaration_call(container: Container, profile: GatewayProfile, *, new_epoch: bool) -> bytes:
    """Return the call that declares a profile as the gateway's account signs it: any account may send it."""
    declaration = Declaration(
        gateway=profile.gateway,
        profile_digest=profile.digest(),
        new_epoch=new_epoch,
        nonce=int.from_bytes(container.randomness.token_bytes(16), "big"),
        deadline=UnixSeconds(container.clock.now() + STATEMENT_SECONDS),
    )
    signature = container.vault.sign_digest(declaration.digest(container.chain.deployment.ledger_domain()))
    return container.calls.encode(Contract.LEDGER, "declareGatewayBySig", [declaration.arguments(), signature])


class UnfinishedError(Exception):
    """A transaction failed, or was not final in time; its text says which."""


async def until_final(container: Container, senders: Sending, transaction: uuid.UUID) -> None:
    """Send what is in the outbox until one transaction of it is final; errors: UnfinishedError."""
    deadline = container.clock.monotonic() + FINAL_SECONDS
    while container.clock.monotonic() < deadline:
        if await senders.run_once():
            continue
        async with container.database.read() as session:
            view = await container.transactions.view(session, transaction)
        if view is not None and view.status == "final":
            return
        if view is not None and view.status == "failed":
            raise UnfinishedError(f"the chain refuses it: {view.reason}")
        await asyncio.sleep(container.settings.poll_seconds)
    raise UnfinishedError("it is not final yet")


def _host(settings: Settings) -> str:
    return f"[{settings.host}]" if ":" in settings.host else settings.host


def update_state(folder: Path, profile: GatewayProfile) -> None:
    """Let the data folder name a new profile, if it named one: commands that ask no chain read it there."""
    state = read_state(folder)
    if state is not None:
        write_atomically(folder / STATE_FILE, json.dumps({**state, **_named(profile)}, indent=1) + "\n")


def _state(container: Container) -> dict[str, Any]:
    return {
        "url": container.profile.url,
        "rpcUrl": without_credentials(container.settings.rpc_urls()[0]),
        **_named(container.profile),
    }


def _named(profile: GatewayProfile) -> dict[str, Any]:
    return {
        "chainId": profile.chain_id,
        "gateway": address_text(profile.gateway),
        "registry": address_text(profile.registry),
        "license": address_text(profile.license),
        "ledger": address_text(profile.ledger),
        "logOrigin": profile.log_origin,
        "logKey": base64url(profile.log_key),
        "profileDigest": digest_text(profile.digest()),
    }


def _last_port(folder: Path) -> int | None:
    state = read_state(folder)
    port = str(state.get("url", "")).rpartition(":")[2] if state else ""
    return int(port) if port.isdigit() else None


def _run(main: Any) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
