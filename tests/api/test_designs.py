from dataclasses import replace

import httpx
import pytest
from sqlalchemy import func, select
from starlette.types import Message

from platemark.protocol.accounts import AccountKey
from platemark.protocol.digests import sha256
from platemark.protocol.manifest import Manifest
from platemark.protocol.typed_data import Publication, Recall
from platemark.protocol.units import Address, DesignId, Digest32, address_text, id_text
from platemark_gateway.main import create_app
from platemark_gateway.models.audit import AuditEntry
from platemark_gateway.models.chain import OutboxTransaction
from platemark_gateway.models.design import Design, Revision
from platemark_gateway.ports import BlockRef, ChainEvent, Contract
from simulators.gateway import SimulatedGateway
from simulators.people import Designer, signature_text

pytestmark = pytest.mark.anyio

STRANGER = AccountKey(b"\x0c" * 32)


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def count(gateway: SimulatedGateway, model: type) -> int:
    async with gateway.container.database.read() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


# --- registering --------------------------------------------------------------------------------------------


async def test_register_refuses_a_strangers_signature_and_keeps_nothing(designer: Designer) -> None:
    await designer.upload()
    registration = designer.registration()
    digest = registration.digest(designer.gateway.container.chain.deployment.registry_domain())
    body = {"registration": registration.to_json(), "signature": signature_text(STRANGER.sign(digest))}
    assert problem(await designer.post("/v1/designs", body)) == (401, "signature-invalid")
    assert await count(designer.gateway, Design) == 0
    assert await count(designer.gateway, OutboxTransaction) == 0


async def test_register_refuses_a_signature_for_other_contracts(designer: Designer) -> None:
    await designer.upload()
    registration = designer.registration()
    body = {"registration": registration.to_json(), "signature": designer.license_signature(registration)}
    assert problem(await designer.post("/v1/designs", body)) == (401, "signature-invalid")


@pytest.mark.parametrize(
    "field, value, expected",
    [
        ("edition", 1 << 40, (400, "integer-range")),
        ("edition", "7", (400, "integer-range")),
        ("commitment", "0x12", (400, "digest-length")),
        ("registrant", "0x12", (400, "address")),
        ("isPrivate", 1, (400, "canonical-form")),
        ("surprise", 1, (400, "canonical-form")),
    ],
)
async def test_register_refuses_ill_formed_registrations(
    designer: Designer, field: str, value: object, expected: tuple[int, str]
) -> None:
    await designer.upload()
    registration = designer.registration()
    body = {
        "registration": {**registration.to_json(), field: value},
        "signature": designer.registry_signature(registration),
    }
    assert problem(await designer.post("/v1/designs", body)) == expected


async def test_a_registration_that_the_chain_refuses_has_failed_and_may_be_tried_again(designer: Designer) -> None:
    await designer.upload()
    registration = designer.registration(resale_share=20_000)
    body = {"registration": registration.to_json(), "signature": designer.registry_signature(registration)}
    first = await designer.post("/v1/designs", body)
    await designer.gateway.chain.mine()
    path = f"/v1/designs/{first.json()['designId']}"
    failed = (await designer.gateway.client.get(path)).json()
    assert failed["status"] == "failed"
    transaction = await designer.gateway.client.get(f"/v1/transactions/{failed['transaction']}")
    assert transaction.json()["reason"] == "ShareAbove"
    again = await designer.post("/v1/designs", body)
    assert again.json()["status"] == "pending"
    assert again.json()["transaction"] != failed["transaction"]


async def test_the_status_follows_the_chain(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.upload()
    await designer.register()
    await gateway.chain.mine(final=False)
    assert (await gateway.client.get(designer.path())).json()["status"] == "seen"
    await gateway.chain.mine(final=False)
    assert (await gateway.client.get(designer.path())).json()["status"] == "confirmed"
    await gateway.chain.finalise()
    assert (await gateway.client.get(designer.path())).json()["status"] == "final"


async def test_a_reorganisation_takes_the_registration_back_and_brings_it_again(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.upload()
    await designer.register()
    await gateway.chain.mine(final=False)
    await gateway.chain.reorganise(1)
    back = (await gateway.client.get(designer.path())).json()
    assert (back["status"], back["revisions"][0]["status"]) == ("pending", "pending")
    await gateway.chain.mine()
    assert (await gateway.client.get(designer.path())).json()["status"] == "final"


async def test_the_day_has_only_so_many_relays(gateway: SimulatedGateway, designer: Designer) -> None:
    gateway.choose(relays_per_day=2)
    await designer.upload()
    answers = [await designer.register(edition=edition) for edition in (1, 2, 3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert problem(answers[2]) == (429, "limit-gas")
    assert 0 < int(answers[2].headers["retry-after"]) <= 86_400
    gateway.clock.forward(86_400)
    assert (await designer.register(edition=3)).status_code == 202


async def test_new_accounts_do_not_make_the_gateway_pay_without_end(gateway: SimulatedGateway) -> None:
    gateway.choose(relays_per_day_in_all=2)
    answers = []
    for number in range(1, 4):
        designer = Designer(gateway, account=AccountKey(bytes([number]) * 32))
        await designer.upload()
        answers.append(await designer.register())
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert problem(answers[2]) == (429, "limit-gas")
    assert await count(gateway, Design) == 2


async def test_designs_are_listed_by_owner_in_pages(
    gateway: SimulatedGateway, designer: Designer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platemark_gateway.designs.service.PAGE", 2)
    await designer.upload()
    ids = {(await designer.register(edition=edition)).json()["designId"] for edition in range(1, 6)}
    found, cursor = [], None
    while True:
        params = {"owner": address_text(designer.account.address)} | ({"cursor": cursor} if cursor else {})
        page = (await gateway.client.get("/v1/designs", params=params)).json()
        found += [item["designId"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert found == sorted(ids)
    nobody = await gateway.client.get("/v1/designs", params={"owner": address_text(STRANGER.address)})
    assert nobody.json() == {"items": [], "cursor": None}


async def test_an_unknown_design_is_not_there(gateway: SimulatedGateway) -> None:
    assert problem(await gateway.client.get(f"/v1/designs/{id_text(7)}")) == (404, "design-unknown")
    assert problem(await gateway.client.get("/v1/designs/7")) == (400, "digest-length")


# --- manifest -----------------------------------------------------------------------------------------------


async def test_the_manifest_waits_until_the_registration_is_final(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.upload()
    await designer.register()
    refused = await designer.publish_manifest()
    assert problem(refused) == (409, "awaiting-finality")
    assert refused.headers["retry-after"] == str(gateway.container.settings.finality_seconds)
    await gateway.chain.mine(final=False)
    assert problem(await designer.publish_manifest()) == (409, "awaiting-finality")
    assert designer.manifest().cid().text not in gateway.blocks.blocks
    await gateway.chain.finalise()
    assert (await designer.publish_manifest()).status_code == 200
    assert designer.manifest().cid().text in gateway.blocks.pinned


async def test_a_manifest_that_breaks_off_is_no_fault_of_the_gateway(designer: Designer) -> None:
    await designer.registered()
    messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": designer.path("/revisions/1/manifest"),
        "headers": [(b"authorization", designer.session["Authorization"].encode())],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }
    await create_app(designer.gateway.container)(scope, receive, send)
    assert sent[0]["status"] == 400
    assert b'"upload-broken"' in sent[1]["body"]


async def test_another_manifest_than_the_registered_one_is_refused(designer: Designer) -> None:
    await designer.registered()
    other = designer.manifest(title="Another cube").encode()
    answer = await designer.publish_manifest(other)
    assert problem(answer) == (409, "manifest-digest")
    assert answer.json()["expected"] == "0x" + designer.manifest().digest().hex()


async def test_a_stranger_cannot_publish_the_manifest(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.registered()
    designer.session = await gateway.sign_in(STRANGER)
    assert problem(await designer.publish_manifest()) == (403, "not-owner")
    designer.session = {}
    assert problem(await designer.publish_manifest()) == (401, "sign-in-needed")


@pytest.mark.parametrize(
    "changes", [{"private": True}, {"registrant": Address(b"\x01" * 20)}, {"parent_id": DesignId(5)}]
)
async def test_a_registered_manifest_that_contradicts_its_registration_is_refused(
    gateway: SimulatedGateway, designer: Designer, changes: dict[str, object]
) -> None:
    await designer.upload()
    wrong = replace(designer.manifest(), **changes)  # type: ignore[arg-type]
    await designer.register(manifest_digest=wrong.digest())
    await gateway.chain.mine()
    registration = designer.registration(manifest_digest=wrong.digest())
    design_id = id_text(
        int.from_bytes(registration.digest(gateway.container.chain.deployment.registry_domain()), "big")
    )
    path = f"/v1/designs/{design_id}/revisions/1/manifest"
    answer = await gateway.client.post(path, content=wrong.encode(), headers=designer.session)
    assert problem(answer) == (409, "manifest-design")


async def test_registered_bytes_that_are_no_manifest_are_refused(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.upload()
    digest = sha256(b"{}")
    made = await designer.register(manifest_digest=digest)
    await gateway.chain.mine()
    path = f"/v1/designs/{made.json()['designId']}/revisions/1/manifest"
    assert problem(await gateway.client.post(path, content=b"{}", headers=designer.session)) == (400, "canonical-form")


async def test_nothing_is_noted_when_the_block_store_is_away(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.registered()
    gateway.blocks.is_away = True
    assert problem(await designer.publish_manifest()) == (503, "ipfs-unreachable")
    gateway.blocks.is_away = False
    design = (await gateway.client.get(designer.path())).json()
    assert design["revisions"][0]["manifestCid"] is None
    assert (await designer.publish_manifest()).status_code == 200


# --- reveal, revisions, recall ------------------------------------------------------------------------------


async def test_reveal_refuses_what_does_not_open_the_commitment(designer: Designer) -> None:
    await designer.registered()
    body = {"salt": "0x" + "00" * 32, "filesRoot": "0x" + designer.root.hex()}
    assert problem(await designer.post(designer.path("/revisions/1/reveal"), body)) == (409, "commitment")


async def test_a_private_design_is_not_revealed(gateway: SimulatedGateway) -> None:
    designer = await Designer(gateway, private=True).registered()
    assert problem(await designer.reveal()) == (409, "design-private")


async def test_reveal_waits_for_finality_and_for_the_owner(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.upload()
    await designer.register()
    assert problem(await designer.reveal()) == (409, "awaiting-finality")
    designer.session = await gateway.sign_in(STRANGER)
    assert problem(await designer.reveal()) == (403, "not-owner")


def second(designer: Designer, revision: int = 2) -> Publication:
    manifest: Manifest = designer.manifest(title=f"A cube, revision {revision}")
    return Publication(designer.design_id, revision, designer.commitment, manifest.digest(), designer.deadline())


async def test_a_second_revision_is_published(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    publication = second(designer)
    assert (await designer.publish_revision(publication)).status_code == 202
    assert (await designer.publish_revision(publication)).status_code == 202
    await gateway.chain.mine()
    design = (await gateway.client.get(designer.path())).json()
    assert design["latestRevision"] == 2
    assert [each["state"] for each in design["revisions"]] == ["deposited", "registered"]
    manifest = designer.manifest(title="A cube, revision 2").encode()
    assert (await designer.publish_manifest(manifest, number=2)).status_code == 200
    body = {"salt": "0x" + designer.salt.hex(), "filesRoot": "0x" + designer.root.hex()}
    assert (await designer.post(designer.path("/revisions/2/reveal"), body)).status_code == 202
    await gateway.chain.mine()
    design = (await gateway.client.get(designer.path())).json()
    assert [each["revealed"] for each in design["revisions"]] == [False, True]


async def test_revisions_are_consecutive(designer: Designer) -> None:
    await designer.registered()
    answer = await designer.publish_revision(second(designer, 3))
    assert problem(answer) == (409, "revision-not-next")
    assert answer.json()["expected"] == 2


async def test_publish_refuses_an_old_signature_a_stranger_and_another_address(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.registered()
    late = replace(second(designer), deadline=designer.deadline(-1))
    assert problem(await designer.publish_revision(late)) == (409, "deadline-passed")
    publication = second(designer)
    digest = publication.digest(gateway.container.chain.deployment.registry_domain())
    body = {"publication": publication.to_json(), "signature": signature_text(STRANGER.sign(digest))}
    assert problem(await designer.post(designer.path("/revisions"), body)) == (401, "signature-invalid")
    elsewhere = f"/v1/designs/{id_text(3)}/revisions"
    assert problem(await designer.post(elsewhere, body)) == (409, "path-mismatch")


async def test_a_recall_holds_at_once_and_for_ever(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    assert (await designer.recall()).json()["revisions"][0]["state"] == "recalled"
    assert problem(await designer.accept()) == (409, "revision-recalled")
    assert problem(await designer.publish_manifest()) == (409, "revision-recalled")
    assert problem(await designer.deposit()) == (409, "revision-recalled")
    await gateway.chain.mine(final=False)
    await gateway.chain.reorganise(len(gateway.chain.blocks) - 2)
    assert (await gateway.client.get(designer.path())).json()["revisions"][0]["state"] == "recalled"


async def test_a_recall_seen_on_chain_holds_before_it_is_final(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    await designer.recall()
    async with gateway.container.database.begin() as session:
        row = (await session.scalars(select(Design))).one()
        revision = await session.get(Revision, (row.design_id, 1))
        assert revision is not None
        revision.recall_signed_at = None
    await gateway.chain.mine(final=False)
    assert problem(await designer.accept()) == (409, "revision-recalled")


async def test_recall_refuses_strangers(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.registered()
    impostor = Designer(gateway, account=STRANGER)
    impostor.cid, impostor.sealed = designer.cid, designer.sealed
    recall = Recall(designer.design_id, 1, Digest32(b"\x01" * 32), designer.deadline())
    body = {"recall": recall.to_json(), "signature": impostor.registry_signature(recall)}
    path = designer.path("/revisions/1/recall")
    assert problem(await designer.post(path, body)) == (401, "signature-invalid")
    body["signature"] = designer.registry_signature(recall)
    assert problem(await designer.post(designer.path("/revisions/2/recall"), body)) == (409, "path-mismatch")


async def test_a_sold_design_belongs_to_its_new_owner(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.registered()
    block = BlockRef(len(gateway.chain.blocks), Digest32(b"\x0e" * 32), gateway.clock.now())
    args = {"from": designer.account.address, "to": STRANGER.address, "tokenId": designer.design_id}
    event = ChainEvent(Contract.REGISTRY, "Transfer", args, block, Digest32(bytes(32)), 0)
    async with gateway.container.database.begin() as session:
        await gateway.chain.feed(session, [event])
    assert (await gateway.client.get(designer.path())).json()["owner"] == address_text(STRANGER.address)
    assert problem(await designer.publish_revision(second(designer))) == (401, "signature-invalid")
    await gateway.chain.reorganise(len(gateway.chain.blocks) - 1)
    assert (await gateway.client.get(designer.path())).json()["owner"] == address_text(designer.account.address)


async def test_acts_stand_in_the_audit_table(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed(Address(b"\x77" * 20))
    async with gateway.container.database.read() as session:
        query = select(AuditEntry).where(AuditEntry.actor != "gateway").order_by(AuditEntry.id)
        rows = (await session.scalars(query)).all()
    assert [row.action for row in rows] == [
        "sign-in",
        "blob.store",
        "design.register",
        "design.manifest",
        "design.deposit",
        "license.accept",
        "license.offer",
        "license.mint",
    ]
    assert {row.actor for row in rows} == {address_text(designer.account.address)}
    assert all(row.correlation_id not in {None, "none"} for row in rows)
