"""Whoever waits for the chain waits alone: no connection of the database is held meanwhile.

A contract wallet may take its time over a signature that anybody sends, and the chain's node may be slow; the
connections of the database are few, and redemptions need them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import httpx
import pytest
from sqlalchemy.pool import QueuePool

from platemark.errors import MalformedError
from platemark.protocol.typed_data import EditionLimit, Grant, MintBatch, Publication, Return, Sale, Withdrawal
from platemark.protocol.units import ZERO_ADDRESS, Digest32, Wei, address_text, id_text
from platemark_gateway.auth import signatures
from simulators.agent import Agent
from simulators.chain import DEPLOYMENT
from simulators.gateway import SimulatedGateway
from simulators.people import Designer, signature_text

pytestmark = pytest.mark.anyio

ASKED = ("balance", "block_at", "final_block", "is_signed_by", "reservation", "statement", "try_call")
WRONG = signature_text(b"\x5a" * 65)


def held(gateway: SimulatedGateway) -> int:
    pool = gateway.container.database.engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


def acts(agent: Agent) -> dict[str, Callable[[], Awaitable[httpx.Response]]]:
    """Return a request of each kind that has the chain asked; signatures of ordinary accounts are right."""
    designer, deadline = agent.designer, agent.designer.deadline()
    license_path = f"/v1/licenses/{id_text(designer.license_id)}"
    sale = Sale(designer.account.address, designer.license_id, True, 11, deadline)
    batch = MintBatch(designer.account.address, (Grant(designer.license_id, agent.holder.address, 1),), 12, deadline)
    returned = Return(agent.holder.address, designer.license_id, 1, 13, deadline)
    withdrawal = Withdrawal(
        payee=agent.holder.address,
        currency=ZERO_ADDRESS,
        to=agent.holder.address,
        at_least=Wei(1),
        nonce=14,
        deadline=deadline,
    )
    publication = Publication(designer.design_id, 2, Digest32(b"\x07" * 32), Digest32(b"\x08" * 32), deadline)
    limit = EditionLimit(designer.design_id, 20, deadline)

    def by_holder(struct: Any) -> str:
        return signature_text(agent.holder.sign(struct.digest(DEPLOYMENT.license_domain())))

    async def raised() -> httpx.Response:
        given = (await designer.accept()).json()
        body = {"acceptance": given["acceptance"], "acceptanceSignature": given["signature"]}
        return await designer.post(f"{license_path}/revision", body)

    async def closed() -> httpx.Response:
        return await agent.close((await agent.offer_close(agent.gateway.clock.now() + 600)).json())

    return {
        "publication": lambda: designer.publish_revision(publication),
        "edition": lambda: designer.post(
            designer.path("/edition"), {"limit": limit.to_json(), "signature": designer.registry_signature(limit)}
        ),
        "offer": designer.offer,
        "mint": lambda: designer.mint(agent.holder.address, 1, nonce=15),
        "sale": lambda: designer.post(
            f"{license_path}/sale", {"sale": sale.to_json(), "signature": designer.license_signature(sale)}
        ),
        "raise": raised,
        "mint batch": lambda: designer.post(
            "/v1/licenses/mints", {"mintBatch": batch.to_json(), "signature": designer.license_signature(batch)}
        ),
        "return": lambda: designer.post(
            f"{license_path}/returns", {"returned": returned.to_json(), "signature": by_holder(returned)}
        ),
        "withdrawal": lambda: designer.post(
            f"/v1/payees/{address_text(agent.holder.address)}/withdrawals",
            {"withdrawal": withdrawal.to_json(), "signature": by_holder(withdrawal)},
        ),
        "reservation": agent.reserve,
        "token": agent.order_token,
        "redemption": lambda: agent.send(agent.request(1)),
        "deposit": designer.deposit,
        "stop": agent.stop,
        "close": closed,
        "recall": designer.recall,
    }


async def test_no_connection_is_held_while_the_chain_is_asked(
    agent: Agent, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def answer(*given: Any, **named: Any) -> Any:
            seen.append(held(gateway))
            return await ask(*given, **named)

        return answer

    def nobody(*_given: Any) -> NoReturn:
        raise MalformedError("a contract wallet's", code="signature")

    monkeypatch.setattr(signatures, "recover", nobody)
    for name in ASKED:
        monkeypatch.setattr(gateway.chain, name, watched(getattr(gateway.chain, name)))
    for name, act in acts(agent).items():
        seen.clear()
        await act()
        assert (name, set(seen)) == (name, {0})


async def test_a_wallet_that_never_answers_stops_no_redemption(
    agent: Agent, gateway: SimulatedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = asyncio.Barrier(33), asyncio.Event()

    async def asleep(*_given: Any) -> bool:
        await asked.wait()
        await answered.wait()
        return False

    monkeypatch.setattr(gateway.chain, "is_signed_by", asleep)
    designer: Designer = agent.designer
    sale = Sale(designer.account.address, designer.license_id, True, 1, designer.deadline())
    path = f"/v1/licenses/{id_text(designer.license_id)}/sale"
    body = {"sale": sale.to_json(), "signature": WRONG}
    waiting = [asyncio.create_task(gateway.client.post(path, json=body)) for _ in range(32)]
    await asked.wait()
    await agent.redeem(1)
    answered.set()
    assert {(await each).status_code for each in waiting} == {401}
