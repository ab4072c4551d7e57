"""A vault that is lost takes deposits and tokens along, and no count: a lost token is closed, never issued again."""

import itertools
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select

from platemark.agent.renewing import renewal_salt
from platemark_gateway.container import Container
from platemark_gateway.forgetting import Forgotten, forget_unreadable
from platemark_gateway.models.audit import AuditEntry
from platemark_gateway.models.token import Token
from platemark_gateway.vault.files import FileVault
from simulators.agent import Agent
from simulators.disasters import Interrupted, interrupted_at
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio


def lose_wrapping(gateway: SimulatedGateway) -> None:
    """Let the gateway go on with the vault of another wrapping key, as after `keys import-account`."""
    vault = gateway.container.vault
    assert isinstance(vault, FileVault)
    vault._wrapping = AESGCM(b"\x5a" * 32)


async def forget(container: Container) -> Forgotten:
    async with container.database.begin() as session:
        return await forget_unreadable(session, container)


async def row_of(agent: Agent) -> Token:
    async with agent.gateway.container.database.read() as session:
        found = await session.get(Token, agent.token_id)
    assert found is not None
    return found


async def test_a_lost_token_is_closed_on_its_counts_and_never_issued_again(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    lose_wrapping(gateway)
    assert await forget(gateway.container) == Forgotten(deposits=1, tokens=1)
    assert await forget(gateway.container) == Forgotten(deposits=0, tokens=0)
    state = await agent.state()
    assert (state["lost"], state["issued"], state["released"]) == (True, False, 1)
    await agent.designer.deposit()
    assert (await agent.order_token()).json()["code"] == "token-lost", "its prints cite the token that was"
    assert (await agent.send(agent.request(2))).json()["code"] == "token-lost"
    offered = await agent.offer_close(gateway.clock.now() + 600)
    assert (await agent.close(offered.json())).status_code == 202
    await gateway.chain.mine()
    assert (await agent.state())["closed"] is True
    assert await gateway.chain.balance(agent.designer.license_id, agent.holder.address) == 20 - 1


async def test_a_token_takes_the_place_of_a_lost_one_once_its_key_is_deposited_again(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    lose_wrapping(gateway)
    await forget(gateway.container)
    offered = await agent.offer_close(gateway.clock.now() + 600)
    await agent.close(offered.json())
    await gateway.chain.mine()
    agent.salt, agent.prints = renewal_salt(agent.token_id), agent.prints - 1
    await agent.reserve()
    await gateway.chain.mine()
    assert (await agent.order_token()).json()["code"] == "key-not-deposited"
    await agent.designer.deposit()
    await agent.take_token()
    for sequence in range(1, agent.prints + 1):
        await agent.redeem(sequence)
    assert (await agent.send(agent.request(agent.prints + 1))).json()["code"] == "count-spent"


async def test_a_kill_while_it_is_forgotten_forgets_all_or_nothing(agent: Agent, gateway: SimulatedGateway) -> None:
    lose_wrapping(gateway)
    for number in itertools.count(1):
        with interrupted_at(gateway.container, number) as count, suppress(Interrupted):
            await forget(gateway.container)
        if count[0] < number:
            break
        assert not (await row_of(agent)).is_lost
    assert (await row_of(agent)).is_lost
    async with gateway.container.database.read() as session:
        acts = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "vault.lost"))).all()
    assert [act.detail for act in acts] == [{"deposits": 1, "tokens": 1}]
