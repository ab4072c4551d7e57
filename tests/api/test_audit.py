"""The audit table tells every act that matters: who, what, to which thing, in which request."""

import re
from pathlib import Path

import pytest
from sqlalchemy import select

from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import address_text, id_text
from platemark_gateway.models.audit import AuditEntry
from platemark_gateway.prints import service as prints
from simulators.agent import DAY, Agent
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

SERVICE = Path(__file__).resolve().parents[2] / "service" / "platemark_gateway"
ALICE = AccountKey(b"\x0a" * 32)

ACTS = {
    "DELETE /v1/api-keys/{key_id}": "api-key.revoke",
    "DELETE /v1/sign-in": "sign-out",
    "POST /v1/api-keys": "api-key.make",
    "POST /v1/blobs": "blob.store",
    "POST /v1/designs": "design.register",
    "POST /v1/designs/{design_id}/edition": "design.edition",
    "POST /v1/designs/{design_id}/revisions": "design.publish",
    "POST /v1/designs/{design_id}/revisions/{number}/deposit": "design.deposit",
    "POST /v1/designs/{design_id}/revisions/{number}/manifest": "design.manifest",
    "POST /v1/designs/{design_id}/revisions/{number}/recall": "design.recall",
    "POST /v1/designs/{design_id}/revisions/{number}/reveal": "design.reveal",
    "POST /v1/licenses": "license.offer",
    "POST /v1/licenses/acceptances": "license.accept",
    "POST /v1/licenses/mints": "license.mint-batch",
    "POST /v1/licenses/{license_id}/mints": "license.mint",
    "POST /v1/licenses/{license_id}/moves": "license.move",
    "POST /v1/licenses/{license_id}/returns": "license.return",
    "POST /v1/licenses/{license_id}/revision": "license.raise",
    "POST /v1/licenses/{license_id}/sale": "license.sale",
    "POST /v1/log/anchor": "log.anchor.request",
    "POST /v1/payees/{address}/withdrawals": "license.withdraw",
    "POST /v1/prints": "print.release",
    "POST /v1/prints/plate": "print.release",
    "POST /v1/prints/{token_id}/{sequence}/outcome": "print.outcome",
    "POST /v1/reservations": "token.reserve",
    "POST /v1/settlements": "settlement.request",
    "POST /v1/sign-in": "sign-in",
    "POST /v1/tokens": "token.issue",
    "POST /v1/tokens/{token_id}/close": "token.close",
    "POST /v1/tokens/{token_id}/stop": "token.stop",
}
SILENT = {"POST /v1/sign-in/challenges"}  # anybody may ask for one; it opens nothing


async def entries(gateway: SimulatedGateway, action: str) -> list[AuditEntry]:
    async with gateway.container.database.read() as session:
        query = select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id)
        return list(await session.scalars(query))


async def test_every_act_of_the_interface_has_its_word(gateway: SimulatedGateway) -> None:
    described = (await gateway.client.get("/v1/openapi.json")).json()
    acts = {
        f"{method.upper()} {path}"
        for path, methods in described["paths"].items()
        for method in methods
        if method not in {"get", "head"}
    }
    assert acts == set(ACTS) | SILENT
    written = {word for file in SERVICE.rglob("*.py") for word in re.findall(r'action="([a-z.-]+)"', file.read_text())}
    # An act by signature is told under the purpose of its transaction.
    written |= set(re.findall(r'"(license\.[a-z-]+)"', (SERVICE / "licenses" / "statements.py").read_text()))
    assert set(ACTS.values()) - written == set()


async def test_a_life_is_told_act_by_act(agent: Agent, gateway: SimulatedGateway) -> None:
    headers = {**await gateway.sign_in(gateway.operator()), "X-Request-Id": "an-order-of-ours"}
    made = await gateway.client.post("/v1/api-keys", json={"name": "ci", "scopes": ["auditor"]}, headers=headers)
    key_id = made.json()["id"]
    assert (await gateway.client.delete(f"/v1/api-keys/{key_id}", headers=headers)).status_code == 204
    await agent.redeem(1)
    await agent.finish(1)
    for path in ("/v1/log/anchor", "/v1/settlements"):
        assert (await gateway.client.post(path, json={}, headers=headers)).status_code == 202
    assert (await agent.stop()).status_code == 200
    assert (await gateway.client.delete("/v1/sign-in", headers=headers)).status_code == 204
    gateway.clock.forward(60 * DAY)
    async with gateway.container.database.begin() as session:
        assert await prints.end_finished(session, gateway.container) == 1

    operator, machine = address_text(gateway.operator().address), address_text(agent.key.address)
    token = id_text(agent.token_id)
    for action, actor, subject in (
        ("api-key.make", operator, key_id),
        ("api-key.revoke", operator, key_id),
        ("print.release", machine, token),
        ("print.outcome", machine, token),
        ("log.anchor.request", operator, gateway.container.profile.log_origin),
        ("settlement.request", operator, "all licenses"),
        ("token.stop", address_text(agent.holder.address), token),
        ("token.end", "gateway", token),
        ("sign-out", operator, operator),
    ):
        assert [(each.actor, each.subject) for each in await entries(gateway, action)] == [(actor, subject)], action
    (made_entry,) = await entries(gateway, "api-key.make")
    assert made_entry.correlation_id == "an-order-of-ours"
    for action in ("blob.store", "design.register", "design.deposit", "license.offer", "token.reserve", "token.issue"):
        assert await entries(gateway, action), action


async def test_a_release_is_told_once_with_the_request_that_brought_it(agent: Agent, gateway: SimulatedGateway) -> None:
    signed = agent.request(1)
    for request_id in ("the-first-request", "the-same-again"):
        answer = await gateway.client.post("/v1/prints", json=agent.body(signed), headers={"X-Request-Id": request_id})
        assert answer.status_code == 200
    assert [(each.detail, each.correlation_id) for each in await entries(gateway, "print.release")] == [
        ({"sequence": 1}, "the-first-request")
    ]
