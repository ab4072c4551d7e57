"""What people sign about licences: sale, revision, move, batches of mints, returns, withdrawals; and lower editions."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.content_key import ContentKey
from platemark.protocol.deposit import make_deposit
from platemark.protocol.typed_data import (
    Acceptance,
    EditionLimit,
    Grant,
    MintBatch,
    Move,
    Publication,
    Return,
    Sale,
    Struct,
    Withdrawal,
)
from platemark.protocol.units import (
    ZERO_ADDRESS,
    Address,
    DesignId,
    Digest32,
    UnixSeconds,
    Wei,
    address_text,
    digest_text,
    id_text,
)
from platemark_gateway.models.chain import OutboxTransaction
from platemark_gateway.ports import BlockRef, ChainEvent, Contract
from simulators.agent import Agent
from simulators.chain import DEPLOYMENT
from simulators.gateway import SimulatedGateway
from simulators.people import Designer, signature_text

pytestmark = pytest.mark.anyio

STRANGER = AccountKey(b"\x0c" * 32)
HOLDER = AccountKey(b"\x0d" * 32)
OLD_GATEWAY = Address(b"\x01" * 20)
TOKEN = Address(b"\x70" * 20)


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def signed(name: str, struct: Struct, account: AccountKey) -> dict[str, Any]:
    signature = account.sign(struct.digest(DEPLOYMENT.license_domain()))
    return {name: struct.to_json(), "signature": signature_text(signature)}


async def shown(designer: Designer) -> dict[str, Any]:
    found: dict[str, Any] = (await designer.gateway.client.get(f"/v1/licenses/{id_text(designer.license_id)}")).json()
    return found


async def sent(gateway: SimulatedGateway, purpose: str) -> int:
    async with gateway.container.database.read() as session:
        rows = await session.scalars(select(OutboxTransaction).where(OutboxTransaction.purpose == purpose))
        return len(rows.all())


class AsPrinted(Designer):
    """A designer whose licence pays as printed, 5 units a print."""

    def document(self, **changes: Any) -> Any:
        return super().document(**({"price": Wei(5), "payout": 1} | changes))


async def bought(designer: Designer, buyer: Address, prints: int) -> None:
    """Let somebody buy, as a transaction of his own does."""
    chain = designer.gateway.chain
    events = chain.sell(designer.license_id, buyer, prints)
    block = BlockRef(len(chain.blocks), Digest32(b"\x0e" * 32), designer.gateway.clock.now())
    async with designer.gateway.container.database.begin() as session:
        await chain.feed(
            session,
            [
                ChainEvent(Contract.LICENSE, name, args, block, Digest32(bytes(32)), index)
                for index, (name, args) in enumerate(events)
            ],
        )
    await chain.mine()


# --- sale ---------------------------------------------------------------------------------------------------


async def sale(
    designer: Designer,
    *,
    on: bool = True,
    nonce: int = 1,
    account: AccountKey | None = None,
    owner: AccountKey | None = None,
) -> httpx.Response:
    made = Sale((owner or designer.account).address, designer.license_id, on, nonce, designer.deadline())
    path = f"/v1/licenses/{id_text(designer.license_id)}/sale"
    return await designer.post(path, signed("sale", made, account or designer.account))


async def test_a_sale_is_opened_and_ended_by_signature(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    for nonce, on in enumerate((True, False)):
        answer = await sale(designer, on=on, nonce=nonce)
        assert answer.status_code == 202
        await gateway.chain.mine()
        assert (await shown(designer))["onSale"] is on


async def test_the_same_sale_again_is_neither_sent_nor_paid_for(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    first, second = await sale(designer), await sale(designer)
    assert first.json() == second.json()
    await gateway.chain.mine()
    assert (await sale(designer)).json() == {"transaction": None}
    assert await sent(gateway, "license.sale") == 1


async def test_a_number_that_was_used_is_refused_before_anything_is_sent(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.licensed()
    await sale(designer, on=True)
    await gateway.chain.mine()
    assert problem(await sale(designer, on=False)) == (409, "nonce-used")
    assert await sent(gateway, "license.sale") == 1


async def test_only_the_owner_opens_a_sale(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    assert problem(await sale(designer, account=STRANGER)) == (401, "signature-invalid")
    assert problem(await sale(designer, account=STRANGER, owner=STRANGER)) == (403, "not-owner")
    gateway.clock.forward(1)
    late = Sale(designer.account.address, designer.license_id, True, 1, designer.deadline(-1))
    path = f"/v1/licenses/{id_text(designer.license_id)}/sale"
    assert problem(await designer.post(path, signed("sale", late, designer.account))) == (409, "deadline-passed")
    elsewhere = f"/v1/licenses/{id_text(9)}/sale"
    assert problem(await designer.post(elsewhere, signed("sale", late, designer.account))) == (409, "path-mismatch")
    assert await sent(gateway, "license.sale") == 0


async def test_what_needs_too_much_gas_is_not_paid_for(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    gateway.chain.gas = 1_000_001
    assert problem(await sale(designer)) == (409, "gas-excessive")
    gateway.chain.gas = 1_000_000
    assert (await sale(designer)).status_code == 202


async def test_acts_spend_the_days_quota_of_whoever_signed(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    gateway.choose(relays_per_day=4)  # two are spent: the registration and the offer
    assert (await sale(designer, nonce=1)).status_code == 202
    assert (await sale(designer, nonce=2)).status_code == 202
    assert problem(await sale(designer, nonce=3)) == (429, "limit-gas")


# --- batches of mints ---------------------------------------------------------------------------------------


async def mint_batch(designer: Designer, *grants: Grant, account: AccountKey | None = None) -> httpx.Response:
    made = MintBatch((account or designer.account).address, grants, 7, designer.deadline())
    return await designer.post("/v1/licenses/mints", signed("mintBatch", made, account or designer.account))


async def test_several_accounts_get_prints_under_one_signature(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    grants = [Grant(designer.license_id, Address(bytes([index]) * 20), index) for index in (1, 2, 3)]
    answer = await mint_batch(designer, *grants)
    assert answer.status_code == 202, answer.text
    await gateway.chain.mine()
    for grant in grants:
        assert await gateway.chain.balance(designer.license_id, grant.to) == grant.prints
    assert (await shown(designer))["minted"] == 6
    assert (await mint_batch(designer, *grants)).json() == {"transaction": None}


async def test_a_batch_above_the_cap_is_refused_whole(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    grants = [Grant(designer.license_id, HOLDER.address, 60), Grant(designer.license_id, STRANGER.address, 60)]
    assert problem(await mint_batch(designer, *grants)) == (409, "cap-exceeded")
    await gateway.chain.mine()
    assert await gateway.chain.balance(designer.license_id, HOLDER.address) == 0


async def test_a_batch_is_the_owners_and_of_a_size(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    grant = Grant(designer.license_id, HOLDER.address, 1)
    assert problem(await mint_batch(designer, grant, account=STRANGER)) == (403, "not-owner")
    assert problem(await mint_batch(designer)) == (400, "count-limit")
    assert problem(await mint_batch(designer, *[grant] * 101)) == (400, "count-limit")
    assert problem(await mint_batch(designer, Grant(designer.license_id + 1, HOLDER.address, 1))) == (  # type: ignore[arg-type]
        404,
        "license-unknown",
    )


async def test_a_batch_costs_the_quota_of_its_grants(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed()
    gateway.choose(relays_per_day=4)
    grants = [Grant(designer.license_id, Address(bytes([index]) * 20), 1) for index in (1, 2, 3)]
    assert problem(await mint_batch(designer, *grants)) == (429, "limit-gas")
    assert (await mint_batch(designer, *grants[:2])).status_code == 202


# --- a later revision ---------------------------------------------------------------------------------------


async def second_revision(designer: Designer) -> dict[str, Any]:
    """Publish another key for the same files, deposit it, and return the gateway's acceptance of that revision."""
    first_id = designer.design_id
    registration = designer.registration()
    designer.registration = lambda **_: registration  # type: ignore[method-assign]
    designer.key, designer.salt, designer.sealed = ContentKey(b"\x0a" * 32), b"\x08" * 32, b""
    await designer.upload()
    publication = Publication(first_id, 2, designer.commitment, designer.manifest().digest(), designer.deadline())
    assert (await designer.publish_revision(publication)).status_code == 202
    await designer.gateway.chain.mine()
    assert (await designer.publish_manifest(number=2)).status_code == 200
    made = make_deposit(
        designer.package,
        domain=DEPLOYMENT.registry_domain(),
        design_id=first_id,
        revision=2,
        gateway=designer.gateway.container.vault.account,
        deposit_public=designer.gateway.container.profile.deposit_key,
        deadline=designer.deadline(),
        account=designer.account,
    )
    deposit = {"deposit": made.deposit.to_json(), "signature": signature_text(made.signature)}
    answer = await designer.post(designer.path("/revisions/2/deposit"), deposit | {"sealed": base64url(made.sealed)})
    assert answer.status_code == 200, answer.text
    accepted = (await designer.accept(revision=2)).json()
    return {"acceptance": accepted["acceptance"], "acceptanceSignature": accepted["signature"]}


async def test_a_licence_is_raised_by_the_gateways_acceptance_alone(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.licensed()
    path = f"/v1/licenses/{id_text(designer.license_id)}/revision"
    body = await second_revision(designer)
    assert (await designer.post(path, body)).status_code == 202
    await gateway.chain.mine()
    view = await shown(designer)
    assert (view["revision"], view["keyCommitment"]) == (2, digest_text(designer.key.commitment()))
    assert (await designer.post(path, body)).json() == {"transaction": None}


async def test_an_acceptance_that_the_gateway_did_not_give_raises_nothing(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.licensed()
    path = f"/v1/licenses/{id_text(designer.license_id)}/revision"
    body = await second_revision(designer)
    forged = Acceptance.from_json(body["acceptance"])
    for changed, code in (
        (replace(forged, gateway=OLD_GATEWAY), "acceptance"),
        (replace(forged, terms_digest=Digest32(b"\x01" * 32)), "acceptance"),
        (replace(forged, key_commitment=Digest32(b"\x01" * 32)), "acceptance"),
        (replace(forged, deadline=designer.deadline(9)), "acceptance"),
        (replace(forged, deadline=UnixSeconds(5)), "deadline-passed"),
    ):
        assert problem(await designer.post(path, body | {"acceptance": changed.to_json()})) == (409, code)
    assert await sent(gateway, "license.raise") == 0


# --- moving -------------------------------------------------------------------------------------------------


class Moving(Designer):
    """A designer whose licence was offered with another gateway, which is known from the chain alone."""

    def document(self, **changes: Any) -> Any:
        return super().document(**({"gateway": OLD_GATEWAY} | changes))

    async def offered_elsewhere(self) -> "Moving":
        await self.deposited()
        chain, terms = self.gateway.chain, self.terms()
        values = dict(zip(terms.arguments_order(), (getattr(terms, name) for name in terms.__slots__), strict=True))
        chain.place(terms, revision=1)
        block = BlockRef(len(chain.blocks), Digest32(b"\x0e" * 32), self.gateway.clock.now())
        args = {
            "licenseId": self.license_id,
            "designId": self.design_id,
            "gateway": OLD_GATEWAY,
            "revision": 1,
            "keyCommitment": self.key.commitment(),
            "terms": values,
            "onSale": False,
        }
        async with self.gateway.container.database.begin() as session:
            await chain.feed(
                session, [ChainEvent(Contract.LICENSE, "LicenseOffered", args, block, Digest32(bytes(32)), 0)]
            )
        await chain.mine()
        return self

    async def move(self, **changes: Any) -> httpx.Response:
        answer = await self.accept()
        assert answer.status_code == 200, answer.text
        made = Move(self.account.address, self.license_id, self.gateway.container.vault.account, 3, self.deadline())
        made = replace(made, **{name: changes.pop(name) for name in list(changes) if name in Move.__slots__})
        body = signed("move", made, changes.pop("account", self.account)) | {
            "acceptance": answer.json()["acceptance"],
            "acceptanceSignature": answer.json()["signature"],
            "termsDocument": self.document().to_json(),
        }
        return await self.post(f"/v1/licenses/{id_text(self.license_id)}/moves", body | changes)


@pytest.fixture
async def moving(gateway: SimulatedGateway) -> Moving:
    return await Moving(gateway).offered_elsewhere()


async def test_a_licence_moves_here_and_is_served(gateway: SimulatedGateway, moving: Moving) -> None:
    assert (await shown(moving))["gateway"] == address_text(OLD_GATEWAY)
    assert (await moving.move()).status_code == 202
    await gateway.chain.mine()
    view = await shown(moving)
    assert view["gateway"] == address_text(gateway.container.vault.account)
    assert view["terms"]["gateway"] == address_text(OLD_GATEWAY)  # the terms stay as they were offered
    assert gateway.blocks.blocks[view["termsCid"]] == moving.document().encode()
    assert (await moving.move()).json() == {"transaction": None}
    agent = Agent(gateway, moving, prints=4)
    assert (await moving.mint(agent.holder.address, 10)).status_code == 202
    await gateway.chain.mine()
    assert (await agent.reserve()).status_code == 202
    await gateway.chain.mine()
    assert (await agent.order_token()).status_code == 200


async def test_before_it_moved_nothing_is_reserved_here(gateway: SimulatedGateway, moving: Moving) -> None:
    agent = Agent(gateway, moving, prints=4)
    assert (await moving.mint(agent.holder.address, 10)).status_code == 202
    await gateway.chain.mine()
    answer = await agent.reserve()
    assert problem(answer) == (409, "license-moved")
    assert answer.json()["expected"] == address_text(OLD_GATEWAY)


@pytest.mark.parametrize(
    "changes, found",
    [
        ({"account": STRANGER}, (401, "signature-invalid")),
        ({"account": STRANGER, "owner": STRANGER.address}, (403, "not-owner")),
        ({"gateway": OLD_GATEWAY}, (409, "terms-foreign")),
        ({"deadline": UnixSeconds(5)}, (409, "deadline-passed")),
        ({"acceptanceSignature": "0x" + "11" * 65}, (409, "acceptance")),
        ({"termsDocument": {}}, (400, None)),
    ],
)
async def test_a_move_that_is_not_right_is_refused(
    gateway: SimulatedGateway, moving: Moving, changes: dict[str, Any], found: tuple[int, str | None]
) -> None:
    answer = await moving.move(**changes)
    assert answer.status_code == found[0], answer.text
    assert found[1] in {None, answer.json()["code"]}
    assert await sent(gateway, "license.move") == 0


async def test_terms_that_nobody_offered_are_not_accepted_for_another_gateway(gateway: SimulatedGateway) -> None:
    stranger = await Moving(gateway).deposited()
    assert problem(await stranger.accept()) == (409, "terms-foreign")


async def moved_away(designer: Designer, block: BlockRef) -> ChainEvent:
    args = {
        "licenseId": designer.license_id,
        "gateway": OLD_GATEWAY,
        "revision": 1,
        "keyCommitment": designer.key.commitment(),
    }
    return ChainEvent(Contract.LICENSE, "LicenseMoved", args, block, Digest32(bytes(32)), 0)


async def test_a_licence_that_moved_away_takes_no_reservations_and_its_old_ones_go_on(
    gateway: SimulatedGateway, agent: Agent
) -> None:
    assert (await agent.order_token()).status_code == 200
    block = BlockRef(len(gateway.chain.blocks), Digest32(b"\x0e" * 32), gateway.clock.now())
    async with gateway.container.database.begin() as session:
        await gateway.chain.feed(session, [await moved_away(agent.designer, block)])
    late = Agent(gateway, agent.designer, salt=Digest32(b"\x02" * 32), prints=2)
    assert problem(await late.reserve()) == (409, "license-moved")
    body = await agent.designer.accept()
    raised = {"acceptance": body.json()["acceptance"], "acceptanceSignature": body.json()["signature"]}
    path = f"/v1/licenses/{id_text(agent.designer.license_id)}/revision"
    assert problem(await agent.designer.post(path, raised)) == (409, "license-moved")
    assert (await agent.redeem(1))["printsLeft"] == 9
    assert (await agent.finish(1))["printsLeft"] == 9
    await gateway.chain.reorganise(block.number - 1)
    assert (await shown(agent.designer))["gateway"] == address_text(gateway.container.vault.account)
    assert (await late.reserve()).status_code == 202


# --- returning and earning ----------------------------------------------------------------------------------


async def returned(designer: Designer, prints: int, *, account: AccountKey = HOLDER, nonce: int = 5) -> httpx.Response:
    made = Return(HOLDER.address, designer.license_id, prints, nonce, designer.deadline())
    path = f"/v1/licenses/{id_text(designer.license_id)}/returns"
    return await designer.post(path, signed("return", made, account))


async def owed(gateway: SimulatedGateway, account: AccountKey) -> list[dict[str, str]]:
    answer = await gateway.client.get(f"/v1/payees/{address_text(account.address)}/earnings")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, str]] = answer.json()["items"]
    return items


async def withdraw(designer: Designer, account: AccountKey, **changes: Any) -> httpx.Response:
    made = Withdrawal(account.address, ZERO_ADDRESS, STRANGER.address, Wei(0), 6, designer.deadline())
    body = signed("withdrawal", replace(made, **changes), account)
    return await designer.post(f"/v1/payees/{address_text(account.address)}/withdrawals", body)


async def test_prints_paid_as_printed_are_returned_for_their_price(gateway: SimulatedGateway) -> None:
    designer = await AsPrinted(gateway).licensed()
    await bought(designer, HOLDER.address, 10)
    assert (await shown(designer))["minted"] == 10
    assert await owed(gateway, designer.account) == []
    assert (await returned(designer, 4)).status_code == 202
    await gateway.chain.mine()
    assert (await shown(designer))["minted"] == 6
    assert await owed(gateway, HOLDER) == [{"currency": address_text(ZERO_ADDRESS), "owed": "20"}]
    assert problem(await returned(designer, 7, nonce=8)) == (409, "erc1155-insufficient-balance")
    assert problem(await returned(designer, 1, account=STRANGER, nonce=8)) == (401, "signature-invalid")


async def test_a_rewind_takes_a_return_back(gateway: SimulatedGateway) -> None:
    designer = await AsPrinted(gateway).licensed()
    await bought(designer, HOLDER.address, 10)
    last = len(gateway.chain.blocks) - 1
    await returned(designer, 4)
    await gateway.chain.mine(final=False)
    assert (await shown(designer))["minted"] == 6
    await gateway.chain.reorganise(last)
    assert (await shown(designer))["minted"] == 10
    assert await owed(gateway, HOLDER) == []


async def test_prints_paid_at_purchase_are_not_returned(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.licensed(HOLDER.address, 5)
    assert problem(await returned(designer, 1)) == (409, "not-returnable")


async def test_what_sales_earned_is_told_and_paid_out(gateway: SimulatedGateway) -> None:
    class Priced(Designer):
        def document(self, **changes: Any) -> Any:
            return super().document(**({"price": Wei(3)} | changes))

    designer = await Priced(gateway).licensed()
    assert problem(await withdraw(designer, designer.account)) == (409, "owed-too-little")
    await bought(designer, HOLDER.address, 10)
    coin = address_text(ZERO_ADDRESS)
    assert await owed(gateway, designer.account) == [{"currency": coin, "owed": "30"}]
    assert problem(await withdraw(designer, designer.account, at_least=Wei(31))) == (409, "owed-too-little")
    assert (await withdraw(designer, designer.account)).status_code == 202
    await gateway.chain.mine()
    assert await owed(gateway, designer.account) == [{"currency": coin, "owed": "0"}]
    assert (await withdraw(designer, designer.account)).json() == {"transaction": None}
    assert problem(await withdraw(designer, designer.account, to=HOLDER.address)) == (409, "nonce-used")
    assert problem(await withdraw(designer, HOLDER, payee=designer.account.address)) == (409, "path-mismatch")


async def test_an_offer_in_a_token_is_accepted(gateway: SimulatedGateway) -> None:
    class InTokens(Designer):
        def document(self, **changes: Any) -> Any:
            return super().document(**({"price": Wei(3), "currency": TOKEN} | changes))

    designer = await InTokens(gateway).licensed()
    await bought(designer, HOLDER.address, 2)
    assert await owed(gateway, designer.account) == [{"currency": address_text(TOKEN), "owed": "6"}]


# --- designs: parents and editions --------------------------------------------------------------------------


async def test_a_design_declares_its_parent(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.registered()
    child = Designer(gateway, account=STRANGER)
    await child.upload()
    registration = replace(child.registration(), parent_id=designer.design_id, derivative_share=500, edition=40)
    body = {"registration": registration.to_json(), "signature": child.registry_signature(registration)}
    answer = await child.post("/v1/designs", body)
    assert answer.status_code == 202, answer.text
    await gateway.chain.mine()
    found = (await gateway.client.get(f"/v1/designs/{answer.json()['designId']}")).json()
    assert (found["parentId"], found["status"]) == (id_text(designer.design_id), "final")
    assert (found["derivativeShare"], found["resaleShare"]) == (500, 500)
    assert (found["edition"], found["registeredEdition"]) == (40, 40)


async def test_a_parent_that_is_not_registered_is_refused_before_anything_is_sent(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await designer.upload()
    registration = replace(designer.registration(), parent_id=DesignId(5))
    body = {"registration": registration.to_json(), "signature": designer.registry_signature(registration)}
    assert problem(await designer.post("/v1/designs", body)) == (409, "design-unknown")
    assert await sent(gateway, "design.register") == 0


class Limited(Designer):
    """A designer of an edition of 50."""

    def registration(self, **changes: Any) -> Any:
        return super().registration(**({"edition": 50} | changes))

    async def lower(self, edition: int, account: AccountKey | None = None) -> httpx.Response:
        limit = EditionLimit(self.design_id, edition, self.deadline())
        signature = (account or self.account).sign(limit.digest(DEPLOYMENT.registry_domain()))
        body = {"limit": limit.to_json(), "signature": signature_text(signature)}
        return await self.post(self.path("/edition"), body)

    async def edition(self) -> tuple[int, int]:
        found = (await self.gateway.client.get(self.path())).json()
        return found["edition"], found["registeredEdition"]


async def test_an_edition_is_lowered_and_a_rewind_takes_that_back(gateway: SimulatedGateway) -> None:
    designer = Limited(gateway)
    await designer.registered()
    last = len(gateway.chain.blocks) - 1
    assert (await designer.lower(20)).status_code == 202
    assert await designer.edition() == (50, 50)
    await gateway.chain.mine(final=False)
    assert await designer.edition() == (20, 50)
    await gateway.chain.reorganise(last)
    assert await designer.edition() == (50, 50)
    await gateway.chain.mine()
    assert await designer.edition() == (20, 50)


async def test_a_design_whose_edition_was_lowered_is_still_revealed(gateway: SimulatedGateway) -> None:
    designer = Limited(gateway)
    await designer.registered()
    await designer.lower(20)
    await gateway.chain.mine()
    assert (await designer.reveal()).status_code == 202
    await gateway.chain.mine()
    found = (await gateway.client.get(designer.path())).json()
    assert found["revisions"][0]["filesRoot"] == digest_text(designer.root)


@pytest.mark.parametrize("edition, code", [(60, "edition-not-lowered"), (0, "edition-not-lowered")])
async def test_an_edition_is_not_raised(gateway: SimulatedGateway, edition: int, code: str) -> None:
    designer = Limited(gateway)
    await designer.registered()
    assert problem(await designer.lower(edition)) == (409, code)


async def test_only_the_owner_lowers_an_edition(gateway: SimulatedGateway, designer: Designer) -> None:
    limited = Limited(gateway)
    await limited.registered()
    assert problem(await limited.lower(20, account=STRANGER)) == (401, "signature-invalid")
    await designer.registered()
    limit = EditionLimit(designer.design_id, 20, designer.deadline())
    body = {"limit": limit.to_json(), "signature": designer.registry_signature(limit)}
    assert problem(await designer.post(designer.path("/edition"), body)) == (409, "edition-open")
    assert problem(await designer.post(limited.path("/edition"), body)) == (409, "path-mismatch")
