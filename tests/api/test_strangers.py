"""A stranger learns nothing from a refusal: what is another's is refused as what is not there.

Designs, licences, reservations, settlements and parts are public: they are on chain, or in the log. Everything else
is walked here from the interface's own description, so that a new address must be placed.
"""

from typing import Any

import httpx
import pytest

from platemark.protocol.accounts import AccountKey
from platemark.protocol.serial import serial_of
from platemark.protocol.units import address_text, id_text
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

STRANGER = AccountKey(b"\x0b" * 32)

PUBLIC = {
    "GET /ipfs/{cid}",
    "HEAD /ipfs/{cid}",
    "GET /log/checkpoint",
    "GET /log/tile/{path}",
    "GET /readyz",
    "GET /v1/designs",
    "GET /v1/designs/{design_id}",
    "GET /v1/gateway",
    "GET /v1/licenses",
    "GET /v1/licenses/{license_id}",
    "GET /v1/licenses/{license_id}/balances/{address}",
    "GET /v1/parts/{serial}",
    "GET /v1/parts/{serial}/passport",
    "GET /v1/payees/{address}/earnings",
    "GET /v1/reservations",
    "GET /v1/reservations/{token_id}",
    "GET /v1/settlements",
    "GET /v1/transactions/{transaction_id}",  # of transactions on chain; the id is known to whoever caused it
}
"""What anybody may read: it follows from the chain, the log and IPFS."""
OWN = {"GET /v1/api-keys", "GET /v1/quotas"}
"""What shows the caller's own and takes no name of anything."""
OWNERS = {"GET /v1/designs/{design_id}/revisions/{number}/affected"}
"""What shows the owner what it names, and to others says as of what is not there (test_affected.py)."""


async def described(gateway: SimulatedGateway) -> set[str]:
    paths = (await gateway.client.get("/v1/openapi.json")).json()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def refusal(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
    told = answer.json()
    del told["correlationId"]
    told.pop("retryAfter", None)
    return answer.status_code, told


async def test_every_address_that_is_read_is_public_or_the_callers_own(gateway: SimulatedGateway) -> None:
    reading = {each for each in await described(gateway) if each.startswith(("GET", "HEAD"))}
    assert reading == PUBLIC | OWN | OWNERS


async def test_public_addresses_answer_everybody_alike(agent: Agent, gateway: SimulatedGateway) -> None:
    """Who asks makes no difference: there is no view for owners to compare with."""
    await agent.redeem(1)
    stranger = await gateway.sign_in(STRANGER)
    owner = agent.designer.session
    names = {
        "design_id": id_text(agent.designer.design_id),
        "license_id": id_text(agent.designer.license_id),
        "token_id": id_text(agent.token_id),
        "address": address_text(agent.holder.address),
        "serial": serial_of(agent.token_id, 1),
    }
    query = {"holder": names["address"]}
    compared = 0
    for operation in sorted(PUBLIC):
        method, path = operation.split()
        try:
            path = path.format_map(names)
        except KeyError:
            continue
        answers = [
            await gateway.client.request(method, path, params=query, headers=headers)
            for headers in ({}, stranger, owner)
        ]
        assert len({(answer.status_code, answer.content) for answer in answers if answer.status_code < 400}) <= 1
        assert len({answer.status_code for answer in answers}) == 1, operation
        compared += 1
    assert compared >= 12


async def test_an_api_key_of_another_is_as_one_that_is_not_there(agent: Agent, gateway: SimulatedGateway) -> None:
    made = await gateway.client.post(
        "/v1/api-keys", json={"name": "ci", "scopes": ["auditor"]}, headers=agent.designer.session
    )
    theirs, nowhere = made.json()["id"], "00000000-0000-7000-8000-000000000000"
    stranger = await gateway.sign_in(STRANGER)
    refusals = [
        refusal(await gateway.client.delete(f"/v1/api-keys/{key_id}", headers=stranger)) for key_id in (theirs, nowhere)
    ]
    assert refusals[0] == refusals[1]
    assert refusals[0][0] == 404
    assert (await gateway.client.get("/v1/api-keys", headers=stranger)).json() == {"items": []}


WRITING_ANONYMOUS = {
    "POST /v1/designs",
    "POST /v1/designs/{design_id}/edition",
    "POST /v1/designs/{design_id}/revisions",
    "POST /v1/designs/{design_id}/revisions/{number}/deposit",
    "POST /v1/designs/{design_id}/revisions/{number}/recall",
    "POST /v1/licenses",
    "POST /v1/licenses/mints",
    "POST /v1/licenses/{license_id}/mints",
    "POST /v1/licenses/{license_id}/moves",
    "POST /v1/licenses/{license_id}/returns",
    "POST /v1/licenses/{license_id}/revision",
    "POST /v1/licenses/{license_id}/sale",
    "POST /v1/payees/{address}/withdrawals",
    "POST /v1/prints",
    "POST /v1/prints/plate",
    "POST /v1/prints/{token_id}/{sequence}/outcome",
    "POST /v1/reservations",
    "POST /v1/sign-in",
    "POST /v1/sign-in/challenges",
    "POST /v1/tokens",
    "POST /v1/tokens/{token_id}/close",
    "POST /v1/tokens/{token_id}/stop",
}
"""What a signature inside the body permits, whoever brings it."""
SESSION = {
    "DELETE /v1/api-keys/{key_id}",
    "DELETE /v1/sign-in",
    "POST /v1/api-keys",
    "POST /v1/blobs",
    "POST /v1/designs/{design_id}/revisions/{number}/manifest",
    "POST /v1/designs/{design_id}/revisions/{number}/reveal",
    "POST /v1/licenses/acceptances",
    "POST /v1/log/anchor",
    "POST /v1/settlements",
}
"""What needs somebody who is signed in."""


async def test_every_address_that_changes_something_asks_for_a_signature_or_a_session(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    writing = {each for each in await described(gateway) if not each.startswith(("GET", "HEAD"))}
    assert writing == WRITING_ANONYMOUS | SESSION
    there = {
        "design_id": id_text(agent.designer.design_id),
        "number": "1",
        "key_id": "00000000-0000-7000-8000-000000000000",
    }
    nowhere = there | {"design_id": "0x" + "ee" * 32, "number": "7"}
    for operation in sorted(SESSION | OWNERS):
        method, path = operation.split()
        answers = [refusal(await gateway.client.request(method, path.format_map(names))) for names in (there, nowhere)]
        assert answers[0] == answers[1], operation
        assert (answers[0][0], answers[0][1]["code"]) == (401, "sign-in-needed"), operation


async def test_operators_addresses_refuse_strangers_whatever_they_name(agent: Agent, gateway: SimulatedGateway) -> None:
    stranger = await gateway.sign_in(STRANGER)
    bodies = [{"licenseId": id_text(agent.designer.license_id)}, {"licenseId": "0x" + "ee" * 32}]
    refusals = [refusal(await gateway.client.post("/v1/settlements", json=body, headers=stranger)) for body in bodies]
    assert refusals[0] == refusals[1]
    assert refusals[0][1]["code"] == "scope"


async def test_a_strangers_report_learns_no_more_of_a_print_that_is_there(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    """Prints are in the public log, but what a centre made of them before is not."""
    await agent.redeem(1)
    stranger = Agent(gateway, agent.designer, holder=STRANGER, salt=agent.salt)
    body = stranger.report(1)
    path = f"/v1/prints/{id_text(agent.token_id)}"
    body["outcome"]["tokenId"] = id_text(agent.token_id)
    there = refusal(await gateway.client.post(f"{path}/1/outcome", json=body))
    body["outcome"]["sequence"] = 2
    nowhere = refusal(await gateway.client.post(f"{path}/2/outcome", json=body))
    assert there[0] == nowhere[0]
    assert there[1]["code"] == nowhere[1]["code"]


async def test_a_guess_at_a_credential_is_refused_alike_whatever_is_wrong_with_it(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    session = agent.designer.session["Authorization"].removeprefix("Bearer ")
    made = await gateway.client.post(
        "/v1/api-keys", json={"name": "ci", "scopes": ["auditor"]}, headers=agent.designer.session
    )
    revoked = made.json()["key"]
    await gateway.client.delete(f"/v1/api-keys/{made.json()['id']}", headers=agent.designer.session)
    guesses = [revoked, session[:-1], session + "x", "pms_", "pmk_" + "x" * 43, "x" * 500, "pms_" + "é" * 43]
    refusals = [
        refusal(
            await gateway.client.get("/v1/api-keys", headers=[(b"Authorization", f"Bearer {guess}".encode("latin-1"))])
        )
        for guess in guesses
    ]
    assert all(each == refusals[0] for each in refusals)
    assert refusals[0][0] == 401
