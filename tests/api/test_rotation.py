"""Keys give way to new ones: nothing is signed with a key that no profile declares, and nothing signed is lost."""

from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from platemark.protocol.jws import header_key_id, key_id
from platemark.protocol.log_entry import RedeemedEntry, decode
from platemark.protocol.passport import Passport
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.release import Release
from platemark.protocol.serial import serial_of
from platemark.protocol.voucher import SignedRequest
from platemark_gateway import profiles, rotation, serving
from platemark_gateway.container import Container
from platemark_gateway.models.printlog import LogEntry, LogHead
from platemark_gateway.models.profile import Declaration
from platemark_gateway.ports import KeyKind
from platemark_gateway.printlog import service
from platemark_gateway.vault.files import FileVault
from simulators.agent import Agent
from simulators.disasters import Interrupted, interrupted_at
from simulators.gateway import PASSPHRASE, SimulatedGateway

pytestmark = pytest.mark.anyio


def elsewhere(gateway: SimulatedGateway) -> FileVault:
    """Return the vault as another process has it: the operator's command."""
    return FileVault.open(gateway.vault_folder, PASSPHRASE)


async def order(gateway: SimulatedGateway, profile: GatewayProfile, *, new_epoch: bool = False) -> None:
    """Store a profile and order its declaration, as `keys rotate` does."""
    container = gateway.container
    async with container.database.begin() as session:
        await profiles.keep(session, profile, container.clock.now())
        if new_epoch:
            await service.leave_epoch(session, container)
        await container.transactions.enqueue(
            session,
            purpose="gateway.declare",
            to=container.chain.deployment.ledger,
            data=serving.declaration_call(container, profile, new_epoch=new_epoch),
            dedupe_key=profiles.declaration_key(profile),
        )


@pytest.fixture
async def first(agent: Agent, gateway: SimulatedGateway) -> GatewayProfile:
    """The profile in force at first; the index has seen its declaration."""
    profile = gateway.container.profile
    async with gateway.container.database.begin() as session:
        session.add(
            Declaration(gateway=profile.gateway, seen_block=1, log_index=0, epoch=1, profile_digest=profile.digest())
        )
    return profile


async def head_of(container: Container) -> LogHead:
    async with container.database.read() as session:
        return (await session.scalars(select(LogHead).order_by(LogHead.epoch.desc()).limit(1))).one()


async def publish(gateway: SimulatedGateway) -> None:
    while await service.sequence_once(gateway.container):
        pass


async def anchored(gateway: SimulatedGateway) -> None:
    await publish(gateway)
    gateway.clock.forward(600)
    assert await service.anchor_once(gateway.container)
    await gateway.chain.mine()


async def signed_by(agent: Agent, sequence: int, request: SignedRequest | None = None) -> bytes:
    """Redeem a print and return the release key under whose name it was signed."""
    answer = await agent.send(request or agent.request(sequence))
    assert answer.status_code == 200, answer.text
    text = answer.json()["release"]
    vault = agent.gateway.container.vault
    return next(each for each in vault.public_keys(KeyKind.RELEASE) if key_id(each) == header_key_id(text))


async def test_releases_are_signed_with_the_new_key_once_its_profile_is_final(
    agent: Agent, gateway: SimulatedGateway, first: GatewayProfile
) -> None:
    new_key = elsewhere(gateway).add_key(KeyKind.RELEASE)
    profile = replace(first, release_key=new_key)
    request = agent.request(1)
    assert await signed_by(agent, 1, request) == first.release_key, "a key in the vault is in force when it is declared"
    await order(gateway, profile)
    assert not await service.adopt(gateway.container)
    await gateway.chain.mine(final=False)
    assert not await service.adopt(gateway.container)
    assert await signed_by(agent, 2) == first.release_key
    await gateway.chain.finalise()
    assert await service.adopt(gateway.container)
    assert not await service.adopt(gateway.container)
    assert await signed_by(agent, 3) == new_key
    assert await signed_by(agent, 1, request) == first.release_key, "the same bytes again give the same release"
    shown = (await gateway.client.get("/v1/gateway")).json()
    assert GatewayProfile.from_json(shown["profile"]) == profile
    await agent.take_token()
    await agent.finish(3)
    await agent.finish(1)


async def test_a_passport_speaks_under_the_key_that_was_in_force_when_its_entry_was_anchored(
    agent: Agent, gateway: SimulatedGateway, first: GatewayProfile
) -> None:
    await signed_by(agent, 1)
    await anchored(gateway)
    await signed_by(agent, 2)
    second = replace(first, release_key=elsewhere(gateway).add_key(KeyKind.RELEASE))
    await order(gateway, second)
    await gateway.chain.mine()
    assert await service.adopt(gateway.container)
    await signed_by(agent, 3)
    for sequence, provisional in ((1, first), (2, second), (3, second)):
        assert await profile_in_passport(agent, sequence) == provisional
    await anchored(gateway)
    for sequence, expected in ((1, first), (2, second), (3, second)):
        assert await profile_in_passport(agent, sequence) == expected


async def profile_in_passport(agent: Agent, sequence: int) -> GatewayProfile:
    serial = serial_of(agent.token_id, sequence)
    answer = await agent.gateway.client.get(f"/v1/parts/{serial}/passport")
    assert answer.status_code == 200, answer.text
    passport = Passport.parse(answer.content)
    release = Release.verify(passport.release, passport.profile.release_key)
    assert (release.profile_digest, release.origin) == (passport.profile.digest(), passport.profile.log_origin)
    return passport.profile


async def test_a_deposit_that_was_sealed_to_the_old_key_is_taken(
    gateway: SimulatedGateway, agent: Agent, first: GatewayProfile
) -> None:
    new_key = elsewhere(gateway).add_key(KeyKind.DEPOSIT)
    await order(gateway, replace(first, deposit_key=new_key))
    await gateway.chain.mine()
    assert await service.adopt(gateway.container)
    for key in (first.deposit_key, new_key):
        assert (await agent.designer.deposit(public=key)).status_code == 200


async def test_a_new_log_key_begins_an_epoch_with_what_was_anchored_byte_for_byte(
    agent: Agent, gateway: SimulatedGateway, first: GatewayProfile
) -> None:
    await signed_by(agent, 1)
    await anchored(gateway)
    await signed_by(agent, 2)
    await publish(gateway)
    last = await head_of(gateway.container)
    files = service.files_of(gateway.container)
    leaked = files.read_checkpoint()
    new_key = elsewhere(gateway).add_key(KeyKind.LOG)
    profile = replace(first.in_epoch(2), log_key=new_key)
    await order(gateway, profile, new_epoch=True)

    refused = await agent.send(agent.request(3))
    assert refused.json()["code"] == "quarantine"
    assert await service.check(gateway.container, ask_chain=True) == service.LEAVING
    gateway.clock.forward(600)
    assert not await service.anchor_once(gateway.container), "no root of the old epoch follows the order"
    await gateway.chain.mine()
    assert await service.adopt(gateway.container)
    head = await head_of(gateway.container)
    assert (head.epoch, head.size, head.origin) == (2, 1, profile.log_origin)
    await signed_by(agent, 3)
    await anchored(gateway)
    assert await service.check(gateway.container, ask_chain=True) is None
    assert (files.published(await service.key_of(gateway.container, await head_of(gateway.container)))) is not None
    async with gateway.container.database.read() as session:
        rows = (await session.scalars(select(LogEntry).order_by(LogEntry.position))).all()
        heads = await session.scalar(select(func.count()).select_from(LogHead))
    entries = [decode(row.entry) for row in rows]
    assert [entry.sequence for entry in entries if isinstance(entry, RedeemedEntry)] == [1, 2, 3]
    assert heads == 2
    kept = gateway.container.settings.data / "log" / "checkpoint.1"
    assert kept.read_bytes() == leaked
    assert last.size == 2
    for sequence, expected in ((1, first), (2, profile), (3, profile)):
        assert await profile_in_passport(agent, sequence) == expected


async def test_a_profile_that_is_not_ours_on_the_ledger_ends_releases(
    agent: Agent, gateway: SimulatedGateway, first: GatewayProfile
) -> None:
    stranger = replace(first, url="https://stranger.example")
    async with gateway.container.database.begin() as session:
        await gateway.container.transactions.enqueue(
            session,
            purpose="gateway.declare",
            to=gateway.container.chain.deployment.ledger,
            data=serving.declaration_call(gateway.container, stranger, new_epoch=False),
            dedupe_key="stranger",
        )
    await gateway.chain.mine()
    assert not await service.adopt(gateway.container)
    reason = await service.check(gateway.container, ask_chain=True)
    assert reason is not None
    assert "did not make" in reason
    assert (await agent.send(agent.request(1))).json()["code"] == "quarantine"


# --- interruptions --------------------------------------------------------------------------------------------


class MiningSenders:
    """Stands in for what sends the outbox: each round makes a final block of it."""

    def __init__(self, gateway: SimulatedGateway) -> None:
        self._gateway = gateway

    async def run_once(self) -> bool:
        await self._gateway.chain.mine()
        return False


async def test_a_rotation_that_is_interrupted_anywhere_is_finished_by_the_same_command(
    agent: Agent, gateway: SimulatedGateway, first: GatewayProfile
) -> None:
    container, vault = gateway.container, elsewhere(gateway)
    senders = MiningSenders(gateway)
    profile, number, interrupted = first, 0, True
    while interrupted:
        number += 1
        made = len(vault.public_keys(KeyKind.RELEASE))
        wanted = rotation.next_profile(vault, profile, 1, [KeyKind.RELEASE])
        with interrupted_at(container, number) as count, suppress(Interrupted):
            await serving.declare(container, senders, wanted)
        interrupted = count[0] >= number
        declared = (await container.chain.gateway(first.gateway)).profile_digest
        assert declared in {profile.digest(), wanted.digest()}, "the old one or the new one"
        if declared == profile.digest():
            wanted = rotation.next_profile(elsewhere(gateway), profile, 1, [KeyKind.RELEASE])
        await serving.declare(container, senders, wanted)
        assert (await container.chain.gateway(first.gateway)).profile_digest == wanted.digest()
        assert len(elsewhere(gateway).public_keys(KeyKind.RELEASE)) == made + 1, "one new key, however often it is said"
        await service.adopt(container)
        profile = wanted
        if number <= agent.prints:
            assert await signed_by(agent, number) == profile.release_key
    assert number > 5
