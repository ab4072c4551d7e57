from dataclasses import replace
from typing import Any

import httpx
import pytest

from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.typed_data import Acceptance, Mint, Offer
from platemark.protocol.units import ZERO_ADDRESS, Address, DesignId, Digest32, UnixSeconds, address_text, id_text
from platemark_gateway.ports import BlockRef, ChainEvent, Contract
from simulators.gateway import SimulatedGateway
from simulators.people import Designer, signature_text

pytestmark = pytest.mark.anyio

STRANGER = AccountKey(b"\x0c" * 32)
HOLDER = Address(b"\x77" * 20)


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# --- acceptance ---------------------------------------------------------------------------------------------


async def test_the_acceptance_is_signed_by_the_gateways_account(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    answer = (await designer.accept()).json()
    acceptance = Acceptance.from_json(answer["acceptance"])
    assert acceptance.key_commitment == designer.key.commitment()
    assert (acceptance.design_id, acceptance.revision) == (designer.design_id, 1)
    assert acceptance.terms_digest == designer.document().digest()
    digest = acceptance.digest(gateway.container.chain.deployment.license_domain())
    assert recover(digest, bytes.fromhex(answer["signature"][2:])) == gateway.container.vault.account


async def test_nothing_is_accepted_before_the_key_was_deposited(designer: Designer) -> None:
    await designer.registered()
    assert problem(await designer.accept()) == (409, "key-not-deposited")
    await designer.publish_manifest()
    assert problem(await designer.accept()) == (409, "key-not-deposited")


async def test_only_the_owner_gets_an_acceptance(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    owner, designer.session = designer.session, await gateway.sign_in(STRANGER)
    assert problem(await designer.accept()) == (403, "not-owner")
    designer.session = {}
    assert problem(await designer.accept()) == (401, "sign-in-needed")
    designer.session = owner
    assert (await designer.accept()).status_code == 200


async def test_a_key_without_the_scope_gets_no_acceptance(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    made = await designer.post("/v1/api-keys", {"name": "printer", "scopes": ["centre"]})
    designer.session = {"Authorization": f"Bearer {made.json()['key']}"}
    assert problem(await designer.accept()) == (403, "scope")


async def test_accept_refuses_a_document_that_is_not_the_terms(designer: Designer) -> None:
    await designer.deposited()
    other = designer.document(title="Another title").to_json()
    assert problem(await designer.accept(termsDocument=other)) == (409, "terms-digest")
    wrong = designer.terms(cap=99)
    assert problem(await designer.accept(terms=wrong.to_json())) == (409, "terms-differ")
    garbage = {**designer.document().to_json(), "sentences": []}
    assert problem(await designer.accept(termsDocument=garbage)) == (400, "terms-document")


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"gateway": Address(b"\x01" * 20)}, "terms-foreign"),
    ],
)
async def test_accept_refuses_terms_it_cannot_serve(designer: Designer, changes: dict[str, Any], code: str) -> None:
    await designer.deposited()
    document = designer.document(**changes)
    body = {"terms": document.terms(Digest32(b"\x05" * 32)).to_json(), "termsDocument": document.to_json()}
    assert problem(await designer.accept(**body)) == (409, code)


async def test_accept_refuses_terms_of_another_design(designer: Designer) -> None:
    await designer.deposited()
    assert problem(await designer.accept(designId=id_text(5))) == (409, "terms-foreign")
    assert problem(await designer.accept(revision=2)) == (404, "design-unknown")


# --- offer --------------------------------------------------------------------------------------------------


async def test_offer_refuses_a_strangers_signature(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    body = await designer.offer_body()
    offer = Offer(designer.terms(), on_sale=False, deadline=UnixSeconds(body["deadline"]))
    digest = offer.digest(gateway.container.chain.deployment.license_domain())
    body["signature"] = signature_text(STRANGER.sign(digest))
    assert problem(await designer.post("/v1/licenses", body)) == (401, "signature-invalid")
    assert problem(await gateway.client.get(f"/v1/licenses/{id_text(designer.license_id)}")) == (404, "license-unknown")


async def test_offer_refuses_other_values_than_were_signed(designer: Designer) -> None:
    await designer.deposited()
    body = await designer.offer_body()
    assert problem(await designer.post("/v1/licenses", body | {"onSale": True})) == (401, "signature-invalid")
    later = body | {"deadline": body["deadline"] + 1}
    assert problem(await designer.post("/v1/licenses", later)) == (401, "signature-invalid")


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"design_id": DesignId(5)}, "acceptance"),
        ({"terms_digest": Digest32(b"\x01" * 32)}, "acceptance"),
        ({"key_commitment": Digest32(b"\x01" * 32)}, "acceptance"),
        ({"deadline": UnixSeconds(1_900_000_000)}, "acceptance"),
        ({"deadline": UnixSeconds(5)}, "deadline-passed"),
    ],
)
async def test_offer_refuses_an_acceptance_that_the_gateway_did_not_give(
    designer: Designer, changes: dict[str, Any], code: str
) -> None:
    await designer.deposited()
    body = await designer.offer_body()
    acceptance = replace(Acceptance.from_json(body["acceptance"]), **changes)
    assert problem(await designer.post("/v1/licenses", body | {"acceptance": acceptance.to_json()})) == (409, code)


async def test_offer_refuses_a_recalled_revision(designer: Designer) -> None:
    await designer.deposited()
    body = await designer.offer_body()
    await designer.recall()
    assert problem(await designer.post("/v1/licenses", body)) == (409, "revision-recalled")


async def test_offer_refuses_when_its_deadline_has_passed(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    body = await designer.offer_body()
    gateway.clock.forward(3601)
    assert problem(await designer.post("/v1/licenses", body)) == (409, "deadline-passed")


async def test_the_terms_document_is_stored_and_named(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    view = (await gateway.client.get(f"/v1/licenses/{id_text(designer.license_id)}")).json()
    assert view["termsCid"] == designer.document().cid().text
    assert gateway.blocks.blocks[view["termsCid"]] == designer.document().encode()
    assert view["terms"] == designer.terms().to_json()


async def test_licenses_are_listed_by_design(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    listed = (await gateway.client.get("/v1/licenses", params={"designId": id_text(designer.design_id)})).json()
    assert [item["licenseId"] for item in listed["items"]] == [id_text(designer.license_id)]
    nothing = await gateway.client.get("/v1/licenses", params={"designId": id_text(5)})
    assert nothing.json() == {"items": [], "cursor": None}


# --- mint ---------------------------------------------------------------------------------------------------


async def test_mint_refuses_strangers_and_old_signatures(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    path = f"/v1/licenses/{id_text(designer.license_id)}/mints"
    mint = Mint(designer.account.address, designer.license_id, HOLDER, 5, 1, designer.deadline())
    domain = gateway.container.chain.deployment.license_domain()
    stolen = {"mint": mint.to_json(), "signature": signature_text(STRANGER.sign(mint.digest(domain)))}
    assert problem(await designer.post(path, stolen)) == (401, "signature-invalid")
    own = replace(mint, owner=STRANGER.address)
    theirs = {"mint": own.to_json(), "signature": signature_text(STRANGER.sign(own.digest(domain)))}
    assert problem(await designer.post(path, theirs)) == (403, "not-owner")
    raised = {"mint": replace(mint, prints=50).to_json(), "signature": designer.license_signature(mint)}
    assert problem(await designer.post(path, raised)) == (401, "signature-invalid")
    late = replace(mint, deadline=designer.deadline(-1))
    old = {"mint": late.to_json(), "signature": designer.license_signature(late)}
    assert problem(await designer.post(path, old)) == (409, "deadline-passed")
    elsewhere = {"mint": mint.to_json(), "signature": designer.license_signature(mint)}
    assert problem(await designer.post(f"/v1/licenses/{id_text(9)}/mints", elsewhere)) == (409, "path-mismatch")
    await gateway.chain.mine()
    assert await gateway.chain.balance(designer.license_id, HOLDER) == 0


async def test_a_mint_above_the_cap_fails_with_the_contracts_reason(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.licensed(HOLDER, 60)
    second = await designer.mint(HOLDER, 60, nonce=2)
    await gateway.chain.mine()
    found = (await gateway.client.get(f"/v1/transactions/{second.json()['transaction']}")).json()
    assert (found["status"], found["reason"]) == ("failed", "CapExceeded")
    assert (await gateway.client.get(f"/v1/licenses/{id_text(designer.license_id)}")).json()["minted"] == 60


async def test_a_mint_of_an_unknown_license_is_refused(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    assert problem(await designer.mint(HOLDER)) == (404, "license-unknown")


async def test_the_same_mint_is_sent_once(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    first, second = await designer.mint(HOLDER, 5), await designer.mint(HOLDER, 5)
    assert first.json() == second.json()
    await gateway.chain.mine()
    assert await gateway.chain.balance(designer.license_id, HOLDER) == 5


async def test_balances_say_when_the_chain_is_away(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed(HOLDER, 5)
    path = f"/v1/licenses/{id_text(designer.license_id)}/balances/{address_text(HOLDER)}"
    gateway.chain.is_away = True
    assert problem(await gateway.client.get(path)) == (503, "rpc-unreachable")
    assert problem(await gateway.client.get(path.replace("0x", "0y"))) == (400, "digest-length")


# --- projection ---------------------------------------------------------------------------------------------


def event(designer: Designer, block: BlockRef, name: str, log_index: int = 0, **args: Any) -> ChainEvent:
    values = {"licenseId": designer.license_id, **args}
    return ChainEvent(Contract.LICENSE, name, values, block, Digest32(bytes(32)), log_index)


def transfer(
    designer: Designer, block: BlockRef, log_index: int, came_from: Address, to: Address, prints: int
) -> ChainEvent:
    args = {"from": came_from, "to": to, "id": designer.license_id, "value": prints}
    return ChainEvent(Contract.LICENSE, "TransferSingle", args, block, Digest32(bytes(32)), log_index)


async def test_later_events_change_a_license_and_a_rewind_takes_them_back(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.licensed(HOLDER, 5)
    path = f"/v1/licenses/{id_text(designer.license_id)}"
    before = (await gateway.client.get(path)).json()
    last = len(gateway.chain.blocks) - 1
    block = BlockRef(last + 1, Digest32(b"\x0e" * 32), gateway.clock.now())
    commitment = Digest32(b"\x0f" * 32)
    events = [
        event(designer, block, "LicenseAccepted", 0, revision=2, keyCommitment=commitment),
        event(designer, block, "SaleSet", 1, onSale=True),
        event(designer, block, "PrintsSold", 2, buyer=HOLDER, to=HOLDER, prints=7, paid=7),
        transfer(designer, block, 3, ZERO_ADDRESS, HOLDER, 7),
        transfer(designer, block, 4, ZERO_ADDRESS, HOLDER, 1),
        transfer(designer, block, 5, HOLDER, STRANGER.address, 2),
        transfer(designer, block, 6, HOLDER, ZERO_ADDRESS, 3),
    ]
    for _ in range(2):  # the same events again change nothing
        async with gateway.container.database.begin() as session:
            await gateway.chain.feed(session, events)
    found = (await gateway.client.get(path)).json()
    assert (found["revision"], found["keyCommitment"]) == (2, "0x" + commitment.hex())
    assert (found["onSale"], found["minted"]) == (True, 13)
    await gateway.chain.reorganise(last)
    assert (await gateway.client.get(path)).json() == before


async def test_an_offer_that_a_reorganisation_took_back_is_pending_and_comes_again(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.deposited()
    last = len(gateway.chain.blocks) - 1
    await designer.offer()
    await gateway.chain.mine(final=False)
    await gateway.chain.reorganise(last)
    path = f"/v1/licenses/{id_text(designer.license_id)}"
    assert (await gateway.client.get(path)).json()["status"] == "pending"
    await gateway.chain.mine()
    assert (await gateway.client.get(path)).json()["status"] == "final"
