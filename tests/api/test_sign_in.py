import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select

from platemark.protocol.accounts import AccountKey
from platemark.protocol.siwe import SignInMessage
from platemark.protocol.units import Address, Digest32, address_text
from platemark_gateway.models.access import ApiKey, Session
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

ALICE = AccountKey(b"\x0a" * 32)
BOB = AccountKey(b"\x0b" * 32)


async def challenge(gateway: SimulatedGateway, account: AccountKey = ALICE) -> SignInMessage:
    answer = await gateway.client.post("/v1/sign-in/challenges", json={"address": address_text(account.address)})
    assert answer.status_code == 200, answer.text
    return SignInMessage.parse(answer.json()["text"])


async def sign_in(gateway: SimulatedGateway, message: SignInMessage, account: AccountKey = ALICE) -> tuple[int, str]:
    signature = "0x" + account.sign(message.digest()).hex()
    answer = await gateway.client.post("/v1/sign-in", json={"message": message.text(), "signature": signature})
    return answer.status_code, answer.json().get("code", "")


async def test_the_challenge_has_the_fields_of_its_text(gateway: SimulatedGateway) -> None:
    answer = await gateway.client.post("/v1/sign-in/challenges", json={"address": address_text(ALICE.address)})
    body = answer.json()
    message = SignInMessage.parse(body["text"])
    assert body["domain"] == message.domain == "gateway.test"
    assert body["uri"] == message.uri == "http://gateway.test"
    assert body["chainId"] == message.chain_id == 31_337
    assert body["nonce"] == message.nonce
    assert (body["issuedAt"], body["expirationTime"]) == (message.issued_at, message.expires_at)


async def test_a_session_opens_what_needs_one(gateway: SimulatedGateway) -> None:
    refused = await gateway.client.get("/v1/api-keys")
    assert (refused.status_code, refused.json()["code"]) == (401, "sign-in-needed")
    assert refused.headers["www-authenticate"] == "Bearer"
    headers = await gateway.sign_in(ALICE)
    assert (await gateway.client.get("/v1/api-keys", headers=headers)).json() == {"items": []}


async def test_a_nonce_is_good_for_one_sign_in(gateway: SimulatedGateway) -> None:
    message = await challenge(gateway)
    assert (await sign_in(gateway, message))[0] == 200
    assert await sign_in(gateway, message) == (401, "nonce-spent")


async def test_one_of_many_that_sign_in_with_the_same_message_succeeds(gateway: SimulatedGateway) -> None:
    message = await challenge(gateway)
    answers = await asyncio.gather(*(sign_in(gateway, message) for _ in range(8)))
    assert sorted(answers) == [(200, ""), *[(401, "nonce-spent")] * 7]


async def test_a_message_that_was_never_issued_signs_nobody_in(gateway: SimulatedGateway) -> None:
    message = replace(await challenge(gateway), nonce="0123456789abcdef")
    assert await sign_in(gateway, message) == (401, "nonce-spent")


async def test_a_nonce_of_one_account_is_none_of_another(gateway: SimulatedGateway) -> None:
    message = replace(await challenge(gateway, ALICE), address=BOB.address)
    assert await sign_in(gateway, message, BOB) == (401, "nonce-spent")


async def test_a_challenge_expires(gateway: SimulatedGateway) -> None:
    message = await challenge(gateway)
    gateway.clock.forward(gateway.container.settings.challenge_seconds + 1)
    assert await sign_in(gateway, message) == (401, "nonce-spent")


async def test_somebody_elses_key_signs_nobody_in(gateway: SimulatedGateway) -> None:
    assert await sign_in(gateway, await challenge(gateway), BOB) == (401, "signature-invalid")


@pytest.mark.parametrize(
    "changes", [{"domain": "evil.test"}, {"uri": "http://evil.test"}, {"chain_id": 1}], ids=["domain", "uri", "chain"]
)
async def test_a_message_for_another_place_signs_nobody_in(
    gateway: SimulatedGateway, changes: dict[str, object]
) -> None:
    message = replace(await challenge(gateway), **changes)  # type: ignore[arg-type]
    assert await sign_in(gateway, message) == (401, "sign-in-foreign")


async def test_a_contract_wallet_signs_in_by_its_own_rule(gateway: SimulatedGateway) -> None:
    wallet = Address(b"\xc0" * 20)
    gateway.chain.contract_wallets[wallet] = lambda _digest, signature: signature == b"\x01" * 96
    answer = await gateway.client.post("/v1/sign-in/challenges", json={"address": address_text(wallet)})
    for signature, status in ((b"\x02" * 96, 401), (b"\x01" * 96, 200)):
        body = {"message": answer.json()["text"], "signature": "0x" + signature.hex()}
        assert (await gateway.client.post("/v1/sign-in", json=body)).status_code == status


async def test_a_contract_wallet_cannot_sign_in_while_the_chain_is_away(gateway: SimulatedGateway) -> None:
    answer = await gateway.client.post("/v1/sign-in/challenges", json={"address": address_text(Address(b"\xc0" * 20))})
    gateway.chain.is_away = True
    body = {"message": answer.json()["text"], "signature": "0x" + "11" * 96}
    refused = await gateway.client.post("/v1/sign-in", json=body)
    assert (refused.status_code, refused.json()["code"]) == (503, "rpc-unreachable")
    assert int(refused.headers["retry-after"]) >= 1


async def test_a_session_ends_with_its_time(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE)
    gateway.clock.forward(gateway.container.settings.session_seconds + 1)
    answer = await gateway.client.get("/v1/api-keys", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "credential-invalid")


async def test_a_session_ends_when_its_owner_says_so(gateway: SimulatedGateway) -> None:
    headers = await gateway.sign_in(ALICE)
    assert (await gateway.client.delete("/v1/sign-in", headers=headers)).status_code == 204
    assert (await gateway.client.get("/v1/api-keys", headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "header", ["Bearer pms_unknown", "Bearer x", "Basic YTpi", "Bearer", "Bearer pmk_" + "a" * 300]
)
async def test_a_bad_credential_is_refused(gateway: SimulatedGateway, header: str) -> None:
    answer = await gateway.client.get("/v1/api-keys", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "credential-invalid")


async def test_a_key_works_until_it_is_revoked_and_is_shown_once(gateway: SimulatedGateway) -> None:
    session = await gateway.sign_in(ALICE)
    made = await gateway.client.post("/v1/api-keys", json={"name": "slicer", "scopes": ["centre"]}, headers=session)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    assert (await gateway.client.post("/v1/blobs", content=b"block", headers=key)).is_success
    listed = await gateway.client.get("/v1/api-keys", headers=session)
    assert [item["name"] for item in listed.json()["items"]] == ["slicer"]
    assert made.json()["key"] not in listed.text
    gone = await gateway.client.delete(f"/v1/api-keys/{made.json()['id']}", headers=session)
    assert gone.status_code == 204
    assert (await gateway.client.post("/v1/blobs", content=b"block", headers=key)).status_code == 401


@pytest.mark.parametrize("name", ["", "a\0b", "two\nlines", "\u202egnp.exe", " padded", "a" * 81])
async def test_a_keys_name_is_one_line_of_visible_text(gateway: SimulatedGateway, name: str) -> None:
    session = await gateway.sign_in(ALICE)
    answer = await gateway.client.post("/v1/api-keys", json={"name": name, "scopes": ["centre"]}, headers=session)
    assert (answer.status_code, answer.json()["code"]) == (400, "plain-text")


async def test_a_key_does_no_more_than_its_scopes(gateway: SimulatedGateway) -> None:
    session = await gateway.sign_in(ALICE)
    made = await gateway.client.post("/v1/api-keys", json={"name": "slicer", "scopes": ["centre"]}, headers=session)
    key = {"Authorization": f"Bearer {made.json()['key']}"}
    accepted = await gateway.client.post("/v1/licenses/acceptances", json={}, headers=key)
    assert (accepted.status_code, accepted.json()["code"]) == (403, "scope")


async def test_a_key_neither_makes_nor_lists_nor_revokes_keys(gateway: SimulatedGateway) -> None:
    session = await gateway.sign_in(ALICE)
    body = {"name": "slicer", "scopes": ["centre"]}
    made = (await gateway.client.post("/v1/api-keys", json=body, headers=session)).json()
    key = {"Authorization": f"Bearer {made['key']}"}
    answers = [
        await gateway.client.post("/v1/api-keys", json=body, headers=key),
        await gateway.client.get("/v1/api-keys", headers=key),
        await gateway.client.delete(f"/v1/api-keys/{made['id']}", headers=key),
        await gateway.client.delete("/v1/sign-in", headers=key),
    ]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(403, "session-needed")] * 4
    listed = (await gateway.client.get("/v1/api-keys", headers=session)).json()["items"]
    assert [(each["id"], each["revokedAt"]) for each in listed] == [(made["id"], None)]


async def test_only_the_gateways_own_account_is_an_operator(gateway: SimulatedGateway) -> None:
    body = {"name": "root", "scopes": ["operator"]}
    stranger = await gateway.client.post("/v1/api-keys", json=body, headers=await gateway.sign_in(ALICE))
    assert (stranger.status_code, stranger.json()["code"]) == (403, "scope")
    own = await gateway.client.post("/v1/api-keys", json=body, headers=await gateway.sign_in(gateway.operator()))
    assert own.status_code == 201


async def test_a_foreign_key_is_not_there(gateway: SimulatedGateway) -> None:
    session = await gateway.sign_in(ALICE)
    made = await gateway.client.post("/v1/api-keys", json={"name": "mine", "scopes": ["centre"]}, headers=session)
    foreign = await gateway.client.delete(f"/v1/api-keys/{made.json()['id']}", headers=await gateway.sign_in(BOB))
    assert (foreign.status_code, foreign.json()["code"]) == (404, "api-key-unknown")


async def test_the_database_holds_no_secret(gateway: SimulatedGateway) -> None:
    session = await gateway.sign_in(ALICE)
    made = await gateway.client.post("/v1/api-keys", json={"name": "slicer", "scopes": ["centre"]}, headers=session)
    secrets = [session["Authorization"].removeprefix("Bearer "), made.json()["key"]]
    async with gateway.container.database.read() as reading:
        sessions = (await reading.scalars(select(Session))).all()
        keys = (await reading.scalars(select(ApiKey))).all()
    stored = repr([{name: value for name, value in vars(row).items() if name[0] != "_"} for row in [*sessions, *keys]])
    assert (len(sessions), len(keys)) == (1, 1)
    assert all(secret not in stored for secret in secrets)
    assert all(secret.encode().hex() not in stored for secret in secrets)
    assert Digest32(sessions[0].secret_mac) == gateway.container.vault.mac("credential", secrets[0].encode())
