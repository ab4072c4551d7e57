from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.log_entry import ClosedEntry, CloseReason, Result, decode
from platemark.protocol.permission import AgentSeed
from platemark.protocol.token import PrintToken
from platemark.protocol.typed_data import Close
from platemark.protocol.units import Address, Digest32, TokenId, UnixSeconds, address_text, id_text
from platemark_gateway.errors import UnavailableError
from platemark_gateway.models.chain import OutboxTransaction
from platemark_gateway.models.printlog import LogEntry
from platemark_gateway.models.token import Token
from platemark_gateway.ports import ChainEvent, Contract
from platemark_gateway.tokens import projection
from platemark_gateway.worker import reconcile, reserving
from simulators.agent import DAY, Agent
from simulators.chain import DEPLOYMENT
from simulators.gateway import SimulatedGateway
from simulators.people import Designer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def holder(gateway: SimulatedGateway) -> Agent:
    """An agent whose holder has 10 prints and has not reserved any."""
    made = Agent(gateway, Designer(gateway))
    await made.designer.licensed(made.holder.address, prints=10)
    return made


async def transactions(gateway: SimulatedGateway, purpose: str) -> int:
    async with gateway.container.database.read() as session:
        rows = await session.scalars(select(OutboxTransaction).where(OutboxTransaction.purpose == purpose))
        return len(rows.all())


# --- the permission ---------------------------------------------------------------------------------------


async def test_a_permission_becomes_a_final_reservation(holder: Agent, gateway: SimulatedGateway) -> None:
    answer = await holder.reserve()
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["spares"]) == ("pending", 0)
    await gateway.chain.mine(final=False)
    assert (await holder.state())["status"] == "seen"
    await gateway.chain.finalise()
    state = await holder.state()
    assert (state["status"], state["nextSequence"], state["printsLeft"]) == ("final", 1, 3)
    assert state["reservation"] == holder.permission().to_json()


async def test_relaying_twice_sends_once(holder: Agent, gateway: SimulatedGateway) -> None:
    assert (await holder.reserve()).status_code == 202
    assert (await holder.reserve()).status_code == 202
    await gateway.chain.mine()
    assert (await holder.reserve()).json()["status"] == "final"
    assert await transactions(gateway, "reserve") == 1


async def test_a_holder_finds_the_reservations(holder: Agent, gateway: SimulatedGateway) -> None:
    other = Agent(gateway, holder.designer, salt=Digest32(b"\x02" * 32))
    await holder.reserve()
    await other.reserve()
    path = f"/v1/reservations?holder={address_text(holder.holder.address)}&limit=1"
    first = (await gateway.client.get(path)).json()
    second = (await gateway.client.get(f"{path}&cursor={first['cursor']}")).json()
    found = {item["tokenId"] for page in (first, second) for item in page["items"]}
    assert found == {id_text(holder.token_id), id_text(other.token_id)}


async def test_reservations_spend_the_quota_of_all_accounts_together(holder: Agent, gateway: SimulatedGateway) -> None:
    other = Agent(gateway, holder.designer, salt=Digest32(b"\x02" * 32))
    gateway.choose(relays_per_day_in_all=4)  # three are spent: the registration, the offer and the mint
    assert (await holder.reserve()).status_code == 202
    assert (await holder.reserve()).status_code == 202, "the same one is brought once"
    answer = await other.reserve()
    assert (answer.status_code, answer.json()["code"]) == (429, "limit-gas")
    assert "all accounts" in answer.json()["detail"]


async def test_tokens_of_another_gateway_do_not_end_the_list(holder: Agent, gateway: SimulatedGateway) -> None:
    other = Agent(gateway, holder.designer, salt=Digest32(b"\x02" * 32))
    await holder.reserve()
    await other.reserve()
    async with gateway.container.database.begin() as session:
        row = await session.get_one(Token, holder.token_id)
        values = {column.key: getattr(row, column.key) for column in Token.__table__.columns}
        session.add(Token(**values | {"token_id": TokenId(1), "gateway": Address(b"\x01" * 20)}))
    path = f"/v1/reservations?holder={address_text(holder.holder.address)}&limit=2"
    found = {item["tokenId"] for item in (await gateway.client.get(path)).json()["items"]}
    assert found == {id_text(holder.token_id), id_text(other.token_id)}


async def test_a_permission_of_somebody_else_is_refused(holder: Agent) -> None:
    permission = holder.permission()
    signature = AccountKey(b"\x12" * 32).sign(permission.digest(DEPLOYMENT.ledger_domain()))
    answer = await holder.reserve(permission, signature)
    assert (answer.status_code, answer.json()["code"]) == (401, "signature-invalid")


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"prints": 11}, "balance-short"),
        ({"gateway": b"\x01" * 20}, "gateway-mismatch"),
        ({"agent": bytes(20)}, "agent-zero"),
        ({"revision": 2}, "revision-not-accepted"),
        ({"expires_at": 1_800_000_100}, "expiry-invalid"),
        ({"license_id": 7}, "balance-short"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_a_permission_that_the_ledger_would_refuse_is_not_sent(
    holder: Agent, gateway: SimulatedGateway, changes: dict[str, Any], code: str
) -> None:
    answer = await holder.reserve(holder.permission(**changes))
    assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text
    assert await transactions(gateway, "reserve") == 0


async def test_a_late_permission_is_refused(holder: Agent, gateway: SimulatedGateway) -> None:
    gateway.clock.forward(3601)
    assert (await holder.reserve()).json()["code"] == "deadline-passed"


async def test_a_recalled_revision_is_not_reserved(holder: Agent) -> None:
    await holder.designer.recall()
    assert (await holder.reserve()).json()["code"] == "revision-recalled"


async def test_a_reservation_that_others_brought_is_known(holder: Agent, gateway: SimulatedGateway) -> None:
    await holder.reserve()
    await reserving.step(gateway.container)
    async with gateway.container.database.begin() as session:
        await session.delete(await session.get_one(Token, holder.token_id))
    await gateway.chain.mine()
    assert (await holder.state())["status"] == "final"
    assert (await holder.order_token()).status_code == 200


async def test_a_reorganisation_takes_a_reservation_back(holder: Agent, gateway: SimulatedGateway) -> None:
    await holder.reserve()
    keep = len(gateway.chain.blocks) - 1
    await gateway.chain.mine(final=False)
    await gateway.chain.reorganise(keep)
    assert (await holder.state())["status"] == "pending"
    await gateway.chain.mine()
    assert (await holder.state())["status"] == "final"


async def test_a_permission_waits_again_when_the_block_to_which_others_brought_it_is_gone(
    holder: Agent, gateway: SimulatedGateway
) -> None:
    await holder.reserve()
    keep = len(gateway.chain.blocks) - 1
    async with gateway.container.database.begin() as session:
        row = await session.get_one(Token, holder.token_id)
        row.seen_block, row.seen_hash, row.reserved_at = keep + 1, Digest32(b"\x09" * 32), gateway.clock.now()
    async with gateway.container.database.begin() as session:
        await projection.rewind(session, keep)
    assert (await holder.state())["status"] == "pending"
    await gateway.chain.mine()
    assert (await holder.state())["status"] == "final"


async def test_a_failed_reservation_says_so_and_can_be_tried_again(holder: Agent, gateway: SimulatedGateway) -> None:
    other = Agent(gateway, holder.designer, salt=Digest32(b"\x02" * 32), prints=8)
    await holder.reserve()
    await reserving.step(gateway.container)
    await other.reserve()
    await gateway.chain.mine()
    assert (await holder.state())["status"] == "final"
    assert (await other.state())["status"] == "failed"
    await holder.designer.mint(holder.holder.address, 10, nonce=2)
    await gateway.chain.mine()
    await other.reserve()
    await gateway.chain.mine()
    assert (await other.state())["status"] == "final"


# --- several that wait together ---------------------------------------------------------------------------


def waiting(holder: Agent, *prints: int) -> list[Agent]:
    """Return agents of one holder, each of whom wants so many prints."""
    return [
        Agent(holder.gateway, holder.designer, salt=Digest32(bytes([10 + index]) * 32), prints=count)
        for index, count in enumerate(prints)
    ]


async def test_reservations_that_wait_together_are_one_transaction(holder: Agent, gateway: SimulatedGateway) -> None:
    agents = waiting(holder, 3, 3, 4)
    for agent in agents:
        assert (await agent.reserve()).json()["transaction"] is None
    await gateway.chain.mine()
    states = [await agent.state() for agent in agents]
    assert {state["status"] for state in states} == {"final"}
    assert len({state["transaction"] for state in states}) == 1
    assert (await transactions(gateway, "reserve-batch"), await transactions(gateway, "reserve")) == (1, 0)


async def test_a_reservation_that_would_revert_does_not_hold_up_the_others(
    holder: Agent, gateway: SimulatedGateway
) -> None:
    agents = waiting(holder, 6, 6)  # each alone, but not both
    for agent in agents:
        await agent.reserve()
    await gateway.chain.mine()
    assert sorted([(await agent.state())["status"] for agent in agents]) == ["failed", "final"]
    assert (await transactions(gateway, "reserve-batch"), await transactions(gateway, "reserve")) == (0, 2)


async def test_a_batch_that_fails_after_all_is_taken_apart(holder: Agent, gateway: SimulatedGateway) -> None:
    agents = waiting(holder, 5, 5)
    for agent in agents:
        await agent.reserve()
    await reserving.step(gateway.container)
    async with gateway.container.database.begin() as session:
        row = await session.scalar(select(OutboxTransaction).where(OutboxTransaction.purpose == "reserve-batch"))
        assert row is not None
        row.status, row.reason = "failed", "out of luck"
    assert {(await agent.state())["status"] for agent in agents} == {"pending"}
    assert not (await agents[0].reserve()).is_error
    await gateway.chain.mine()
    assert {(await agent.state())["status"] for agent in agents} == {"final"}
    assert await transactions(gateway, "reserve") == 2


async def test_a_batch_that_needs_too_much_gas_is_not_sent(holder: Agent, gateway: SimulatedGateway) -> None:
    gateway.chain.gas = 10_000_000
    agents = waiting(holder, 5, 5)
    for agent in agents:
        await agent.reserve()
    await gateway.chain.mine()
    assert {(await agent.state())["status"] for agent in agents} == {"final"}
    assert await transactions(gateway, "reserve-batch") == 0


async def test_what_waits_goes_on_waiting_while_the_chain_is_away(holder: Agent, gateway: SimulatedGateway) -> None:
    agents = waiting(holder, 5, 5)
    for agent in agents:
        await agent.reserve()
    gateway.chain.is_away = True
    with pytest.raises(UnavailableError):
        await reserving.step(gateway.container)
    gateway.chain.is_away = False
    await gateway.chain.mine()
    assert {(await agent.state())["status"] for agent in agents} == {"final"}


async def test_an_unknown_token_is_not_found(gateway: SimulatedGateway) -> None:
    answer = await gateway.client.get(f"/v1/reservations/{id_text(7)}")
    assert (answer.status_code, answer.json()["code"]) == (404, "token-unknown")


# --- issue ------------------------------------------------------------------------------------------------


async def test_the_token_says_what_was_reserved(agent: Agent, gateway: SimulatedGateway) -> None:
    token = PrintToken.verify(agent.token_text, gateway.container.profile.release_key)
    assert (token.token_id, token.agent, token.prints, token.spares) == (agent.token_id, agent.key.address, 10, 1)
    assert token.design_id == agent.designer.design_id
    assert token.manifest == agent.designer.manifest().cid()
    assert token.recipient_digest == agent.recipient.digest
    assert token.profile_digest == gateway.container.profile.digest()


async def test_the_same_token_is_issued_again(agent: Agent, gateway: SimulatedGateway) -> None:
    first = agent.token_text
    gateway.clock.forward(3600)
    await agent.take_token()
    assert agent.token_text == first


async def test_no_token_before_the_reservation_is_final(holder: Agent, gateway: SimulatedGateway) -> None:
    await holder.reserve()
    await gateway.chain.mine(final=False)
    answer = await holder.order_token()
    assert (answer.status_code, answer.json()["code"]) == (409, "awaiting-finality")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_nobody_but_the_agent_gets_the_token(agent: Agent, gateway: SimulatedGateway) -> None:
    thief = Agent(gateway, agent.designer, seed=AgentSeed(b"\x13" * 32))
    stolen = await thief.order_token(request={**(await _request(thief)), "tokenId": id_text(agent.token_id)})
    assert (stolen.status_code, stolen.json()["code"]) == (401, "signature-invalid")


async def _request(agent: Agent) -> dict[str, Any]:
    from platemark.protocol.typed_data import TokenRequest

    deadline = UnixSeconds(agent.gateway.clock.now() + 600)
    return dict(TokenRequest(agent.token_id, agent.recipient.digest, deadline).to_json())


async def test_the_token_is_sealed_to_no_other_key(agent: Agent) -> None:
    other = AgentSeed(b"\x13" * 32).recipient_key(DEPLOYMENT.chain_id, DEPLOYMENT.ledger, agent.salt)
    answer = await agent.order_token(recipientKey=base64url(other.public_bytes))
    assert (answer.status_code, answer.json()["code"]) == (409, "recipient-mismatch")


async def test_a_token_stays_with_its_recipient_key(agent: Agent) -> None:
    from platemark.protocol.byte_text import signature_text
    from platemark.protocol.token import sign_request

    other = AgentSeed(b"\x13" * 32).recipient_key(DEPLOYMENT.chain_id, DEPLOYMENT.ledger, agent.salt)
    deadline = UnixSeconds(agent.gateway.clock.now() + 600)
    request, signature = sign_request(
        agent.token_id, other.public_bytes, deadline, agent=agent.key, domain=DEPLOYMENT.ledger_domain()
    )
    answer = await agent.order_token(
        request=request.to_json(), recipientKey=base64url(other.public_bytes), signature=signature_text(signature)
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "token-issued")


async def test_no_token_when_storage_contradicts_the_events(holder: Agent, gateway: SimulatedGateway) -> None:
    await holder.reserve()
    await gateway.chain.mine()
    permission, spares = gateway.chain._state.reservations[holder.token_id]
    gateway.chain._state.reservations[holder.token_id] = (replace(permission, prints=2), spares)
    answer = await holder.order_token()
    assert (answer.status_code, answer.json()["code"]) == (503, "chain-contradicts")


async def test_no_token_for_a_stopped_or_recalled_reservation(holder: Agent, gateway: SimulatedGateway) -> None:
    await holder.reserve()
    await gateway.chain.mine()
    await holder.designer.recall()
    assert (await holder.order_token()).json()["code"] == "revision-recalled"
    await holder.stop()
    assert (await holder.order_token()).json()["code"] == "token-stopped"


# --- stop and close ---------------------------------------------------------------------------------------


async def test_only_the_holder_stops_a_token(agent: Agent) -> None:
    agent.holder, real = AccountKey(b"\x12" * 32), agent.holder
    token_id = replace(agent.permission(), holder=real.address).token_id(DEPLOYMENT.ledger_domain())
    from platemark.protocol.byte_text import signature_text
    from platemark.protocol.typed_data import Stop

    stop = Stop(token_id, UnixSeconds(agent.gateway.clock.now() + 60))
    signature = signature_text(agent.holder.sign(stop.digest(DEPLOYMENT.ledger_domain())))
    path = f"/v1/tokens/{id_text(token_id)}/stop"
    answer = await agent.post(path, {"stop": stop.to_json(), "signature": signature})
    assert (answer.status_code, answer.json()["code"]) == (401, "signature-invalid")


async def test_a_late_stop_is_refused(agent: Agent, gateway: SimulatedGateway) -> None:
    answer = await agent.stop(deadline=UnixSeconds(gateway.clock.now() - 1))
    assert (answer.status_code, answer.json()["code"]) == (409, "deadline-passed")
    assert (await agent.stop()).status_code == 200
    assert (await agent.stop(deadline=UnixSeconds(1))).status_code == 200, "stopped already"


async def test_gateway_and_holder_close_a_token(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.redeem(2)
    await agent.finish(1)
    await agent.finish(2, Result.FAILED)
    offered = await agent.offer_close(gateway.clock.now() + 600)
    close = Close.from_json(offered.json()["close"])
    assert (close.released, close.voided) == (2, 1)
    answer = await agent.close(offered.json())
    assert answer.status_code == 202, answer.text
    assert (await agent.close(offered.json())).json()["transaction"] == answer.json()["transaction"]
    await gateway.chain.mine()
    assert (await agent.state())["closed"] is True
    balance = await gateway.chain.balance(agent.designer.license_id, agent.holder.address)
    assert balance == 20 - 1
    assert await reconcile.end_tokens(gateway.container)
    assert await last_entry(gateway) == ClosedEntry(agent.token_id, 2, 1, CloseReason.AGREED)


async def test_a_stopped_token_that_has_ended_still_gives_its_unused_prints_back(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    assert (await agent.stop()).status_code == 200
    assert await reconcile.end_tokens(gateway.container)
    assert await last_entry(gateway) == ClosedEntry(agent.token_id, 1, 0, CloseReason.STOPPED)
    offered = await agent.offer_close(gateway.clock.now() + 600)
    assert offered.status_code == 200, offered.text
    assert (await agent.close(offered.json())).status_code == 202
    await gateway.chain.mine()
    assert (await agent.state())["closed"] is True
    assert not await reconcile.end_tokens(gateway.container), "its last entry is written once"


async def last_entry(gateway: SimulatedGateway) -> object:
    async with gateway.container.database.read() as session:
        row = await session.scalar(select(LogEntry).order_by(LogEntry.id.desc()).limit(1))
    assert row is not None
    return decode(row.entry)


async def test_only_the_holder_is_offered_a_close(agent: Agent, gateway: SimulatedGateway) -> None:
    deadline = gateway.clock.now() + 600
    path = f"/v1/tokens/{id_text(agent.token_id)}/close"
    assert (await agent.post(path, {"deadline": deadline})).status_code == 401
    session = await gateway.sign_in(AccountKey(b"\x12" * 32))
    answer = await gateway.client.post(path, json={"deadline": deadline}, headers=session)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-holder")
    assert (await agent.state())["stopped"] is False
    await agent.redeem(1)


@pytest.mark.parametrize("seconds", [0, DAY + 60])
async def test_an_offer_to_close_has_a_near_deadline(agent: Agent, gateway: SimulatedGateway, seconds: int) -> None:
    answer = await agent.offer_close(gateway.clock.now() + seconds)
    assert (answer.status_code, answer.json()["code"]) == (409, "close-deadline")


async def test_what_was_not_offered_is_not_closed(agent: Agent, gateway: SimulatedGateway) -> None:
    close = Close(agent.token_id, 0, 0, UnixSeconds(gateway.clock.now() + 600))
    answer = await agent.close({"close": close.to_json()})
    assert (answer.status_code, answer.json()["code"]) == (409, "close-not-offered")
    offered = (await agent.offer_close(close.deadline)).json()
    lying = Close.from_json(offered["close"])
    agent_answer = await agent.close({"close": replace(lying, released=5).to_json()})
    assert (agent_answer.status_code, agent_answer.json()["code"]) == (401, "signature-invalid")


async def test_two_offers_have_the_same_counts(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    first = (await agent.offer_close(gateway.clock.now() + 300)).json()
    assert (await agent.finish(1, Result.FAILED))["spareUsed"] is False
    second = (await agent.offer_close(gateway.clock.now() + 600)).json()
    for offered in (first, second):
        assert (offered["close"]["released"], offered["close"]["voided"]) == (1, 0)


async def test_one_transaction_closes_a_token_whatever_deadlines_are_signed(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    offered = (await agent.offer_close(gateway.clock.now() + 600)).json()
    close = Close.from_json(offered["close"])
    signed = [{"close": replace(close, deadline=UnixSeconds(close.deadline - each)).to_json()} for each in range(5)]
    answers = [await agent.close(each) for each in signed]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["transaction"] for answer in answers}) == 1
    assert await transactions(gateway, "close") == 1
    await gateway.chain.mine()
    assert (await agent.state())["closed"] is True


async def test_a_close_that_failed_is_sent_again(agent: Agent, gateway: SimulatedGateway) -> None:
    offered = (await agent.offer_close(gateway.clock.now() + 600)).json()
    first = (await agent.close(offered)).json()["transaction"]
    failed = {"status": "failed", "reason": "a test says so", "code": "reverted", "ended_at": gateway.clock.now()}
    async with gateway.container.database.begin() as session:
        await session.execute(update(OutboxTransaction).where(OutboxTransaction.purpose == "close").values(failed))
    assert (await agent.close(offered)).json()["transaction"] != first
    await gateway.chain.mine()
    assert (await agent.state())["closed"] is True


# --- the end ----------------------------------------------------------------------------------------------


async def test_an_expired_token_ends_when_its_outcomes_are_in(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    gateway.clock.forward(agent.expires_at - gateway.clock.now())
    assert not await reconcile.end_tokens(gateway.container)
    await agent.finish(1, Result.FAILED)
    assert await reconcile.end_tokens(gateway.container)
    assert await last_entry(gateway) == ClosedEntry(agent.token_id, 1, 1, CloseReason.EXPIRED)
    assert not await reconcile.end_tokens(gateway.container), "a token ends once"


async def test_an_expired_token_ends_without_outcomes_three_days_later(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    delay = gateway.container.settings.merge_delay_seconds
    gateway.clock.forward(agent.expires_at + 3 * DAY - delay - gateway.clock.now() - 1)
    assert not await reconcile.end_tokens(gateway.container)
    gateway.clock.forward(1)
    assert await reconcile.end_tokens(gateway.container)
    assert await last_entry(gateway) == ClosedEntry(agent.token_id, 1, 0, CloseReason.EXPIRED)
    assert (await agent.send_report(agent.report(1))).json()["code"] == "outcome-late"


async def test_a_stopped_token_ends_when_its_outcomes_are_in(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.stop()
    assert not await reconcile.end_tokens(gateway.container)
    await agent.finish(1)
    assert await reconcile.end_tokens(gateway.container)
    assert await last_entry(gateway) == ClosedEntry(agent.token_id, 1, 0, CloseReason.STOPPED)


async def test_a_token_of_another_gateway_ends_in_the_log_of_that_one(agent: Agent, gateway: SimulatedGateway) -> None:
    elsewhere = Address(b"\x01" * 20)
    license_id, revision = agent.designer.license_id, agent.designer.key.commitment()
    permission = agent.permission(gateway=elsewhere)
    token_id = permission.token_id(DEPLOYMENT.ledger_domain())
    block = gateway.chain.blocks[gateway.chain.final_number]
    moved = {"licenseId": license_id, "gateway": elsewhere, "revision": 1, "keyCommitment": revision}
    reserved = {
        "tokenId": token_id,
        "licenseId": license_id,
        "holder": permission.holder,
        "gateway": elsewhere,
        "agent": permission.agent,
        "revision": 1,
        "prints": permission.prints,
        "spares": 0,
        "expiresAt": permission.expires_at,
        "salt": permission.salt,
        "deadline": permission.deadline,
    }
    events = [(Contract.LICENSE, "LicenseMoved", moved), (Contract.LEDGER, "Reserved", reserved)]
    async with gateway.container.database.begin() as session:
        await gateway.chain.feed(
            session,
            [
                ChainEvent(contract, name, args, block, Digest32(bytes(32)), index)
                for index, (contract, name, args) in enumerate(events)
            ],
        )
    gateway.clock.forward(agent.expires_at - gateway.clock.now())
    assert await reconcile.end_tokens(gateway.container)
    assert not await reconcile.end_tokens(gateway.container)
    async with gateway.container.database.read() as session:
        entries = [decode(row.entry) for row in await session.scalars(select(LogEntry))]
    assert entries == [ClosedEntry(agent.token_id, 0, 0, CloseReason.EXPIRED)]


async def test_events_of_other_gateways_are_left_alone(agent: Agent, gateway: SimulatedGateway) -> None:
    before = await agent.state()
    events = await gateway.chain.mine()
    assert events == []
    async with gateway.container.database.begin() as session:
        await projection.rewind(session, len(gateway.chain.blocks))
    assert await agent.state() == before
