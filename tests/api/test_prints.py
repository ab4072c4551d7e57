import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update
from starlette.types import Message

from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.jws import header_key_id
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry, Result, decode
from platemark.protocol.outcome import Promise
from platemark.protocol.permission import AgentSeed
from platemark.protocol.receipt import Envelope
from platemark.protocol.release import Release
from platemark.protocol.units import Digest32, TokenId, digest_text
from platemark_gateway.main import create_app
from platemark_gateway.models.design import Revision
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogEntry, LogHead
from platemark_gateway.models.token import Token
from simulators import growth
from simulators.agent import DAY, Agent
from simulators.chain import DEPLOYMENT
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    return problem


async def rows_of(gateway: SimulatedGateway) -> tuple[int, int, int, int]:
    """Return released, prints, entries of redemptions, and outcomes: what every test's counts must agree on."""
    async with gateway.container.database.read() as session:
        released = await session.scalar(select(func.sum(Token.released))) or 0
        prints = await session.scalar(select(func.count()).select_from(Print)) or 0
        entries = await session.scalar(select(func.count()).select_from(LogEntry).where(LogEntry.kind == 1)) or 0
        outcomes = await session.scalar(select(func.count()).select_from(PrintOutcome)) or 0
    return released, prints, entries, outcomes


# --- the good way -----------------------------------------------------------------------------------------


async def test_redemption_counts_once_and_releases_the_key(agent: Agent, gateway: SimulatedGateway) -> None:
    answer = await agent.redeem(1)
    assert (answer["sequence"], answer["printsLeft"], answer["sparesLeft"]) == (1, 9, 1)
    assert await rows_of(gateway) == (1, 1, 1, 0)


async def test_release_names_the_leaf_of_the_entry_that_was_logged(agent: Agent, gateway: SimulatedGateway) -> None:
    signed = agent.request(1)
    release, _ = agent.verify(signed, (await agent.send(signed)).json())
    async with gateway.container.database.read() as session:
        row = (await session.scalars(select(LogEntry))).one()
    entry = decode(row.entry)
    assert isinstance(entry, RedeemedEntry)
    assert entry.redemption() == signed.request.redemption()
    assert release.leaf_hash == row.leaf_hash
    assert release.origin == gateway.container.profile.log_origin
    assert release.merge_by == gateway.chain.blocks[-1].timestamp + gateway.container.settings.merge_delay_seconds


async def test_the_same_bytes_have_the_same_release(agent: Agent, gateway: SimulatedGateway) -> None:
    signed = agent.request(1)
    first, second = await agent.send(signed), await agent.send(signed)
    gateway.clock.forward(60)
    third = await agent.send(signed)
    assert first.json()["release"] == second.json()["release"] == third.json()["release"]
    agent.verify(signed, third.json())
    assert await rows_of(gateway) == (1, 1, 1, 0)


async def test_an_older_sequence_is_answered_again_after_later_ones(agent: Agent) -> None:
    first = await agent.redeem(1)
    await agent.redeem(2)
    assert (await agent.redeem(1))["release"] == first["release"]


async def test_all_prints_and_spares_can_be_used_but_no_more(agent: Agent, gateway: SimulatedGateway) -> None:
    for sequence in range(1, 11):
        await agent.redeem(sequence)
    refused(await agent.send(agent.request(11)), 409, "count-spent")
    assert (await agent.finish(1, Result.FAILED))["spareUsed"] is True
    await agent.redeem(11)
    assert (await agent.finish(11, Result.FAILED))["spareUsed"] is False
    refused(await agent.send(agent.request(12)), 409, "count-spent")
    assert await rows_of(gateway) == (11, 11, 11, 2)


# --- what is refused ---------------------------------------------------------------------------------------


async def test_a_gap_is_refused_with_the_expected_sequence(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    problem = refused(await agent.send(agent.request(3)), 409, "sequence-expected")
    assert problem["expected"] == 2
    assert await rows_of(gateway) == (1, 1, 1, 0)


async def test_other_bytes_for_a_used_sequence_are_refused(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    other = agent.request(1, print_id=b"\x77" * 16)
    assert refused(await agent.send(other), 409, "sequence-expected")["expected"] == 2
    assert await rows_of(gateway) == (1, 1, 1, 0)


async def test_a_print_id_is_used_once(agent: Agent) -> None:
    await agent.redeem(1)
    refused(await agent.send(agent.request(2, print_id=agent.request(1).request.print_id)), 409, "print-id-used")


async def test_a_voucher_of_another_agent_is_refused(agent: Agent, gateway: SimulatedGateway) -> None:
    foreign = agent.request(1).request.sign(AccountKey(b"\x12" * 32), DEPLOYMENT.ledger_domain())
    refused(await agent.send(foreign), 401, "signature-invalid")
    assert await rows_of(gateway) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 2},
        {"tokenDigest": digest_text(b"\x01" * 32)},
        {"printId": "0x" + "01" * 16},
        {"seenHash": digest_text(b"\x01" * 32)},
        {"seenBlock": 1},
        {"detail": digest_text(b"\x01" * 32)},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_nothing_that_was_signed_can_be_changed(
    agent: Agent, gateway: SimulatedGateway, changes: dict[str, Any]
) -> None:
    refused(await agent.send(agent.request(1), **changes), 401, "signature-invalid")
    assert await rows_of(gateway) == (0, 0, 0, 0)


async def test_the_key_is_sealed_to_nobody_but_the_tokens_recipient(agent: Agent, gateway: SimulatedGateway) -> None:
    thief = AgentSeed(b"\x13" * 32).recipient_key(DEPLOYMENT.chain_id, DEPLOYMENT.ledger, agent.salt)
    swapped = await agent.send(agent.request(1), recipientKey=base64url(thief.public_bytes))
    refused(swapped, 401, "signature-invalid")
    signed = agent.request(1, recipient_digest=thief.digest)
    own_agent_other_key = await agent.send(signed, recipientKey=base64url(thief.public_bytes))
    refused(own_agent_other_key, 409, "recipient-mismatch")
    assert await rows_of(gateway) == (0, 0, 0, 0)


async def test_a_redemption_must_cite_the_issued_token(agent: Agent) -> None:
    refused(await agent.send(agent.request(1, token_digest=Digest32(b"\x01" * 32))), 409, "token-digest")


async def test_a_token_that_was_not_issued_cannot_be_redeemed(agent: Agent) -> None:
    other = Agent(agent.gateway, agent.designer, salt=Digest32(b"\x02" * 32), prints=5, token_text=agent.token_text)
    assert (await other.reserve()).status_code == 202
    await agent.gateway.chain.mine()
    refused(await other.send(other.request(1)), 409, "token-not-issued")


async def test_an_unknown_token_is_not_found(agent: Agent) -> None:
    refused(await agent.send(agent.request(1, token_id=TokenId(7))), 404, "token-unknown")


async def test_the_seen_block_must_be_of_this_chain(agent: Agent) -> None:
    refused(await agent.send(agent.request(1, seen_hash=Digest32(b"\x01" * 32))), 409, "seen-block-unknown")


async def test_the_seen_block_must_be_final(agent: Agent, gateway: SimulatedGateway) -> None:
    await gateway.chain.mine(final=False)
    head = gateway.chain.blocks[-1]
    answer = await agent.send(agent.request(1, seen_block=head.number, seen_hash=head.hash))
    assert refused(answer, 409, "awaiting-finality")["retryAfter"] >= 1
    await gateway.chain.finalise()
    assert (await agent.send(agent.request(1))).status_code == 200


async def test_no_release_in_the_tokens_last_hour(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    gateway.clock.forward(agent.expires_at - gateway.clock.now() - 3700)
    await settle_backlog(gateway)
    gateway.clock.forward(99)
    assert agent.expires_at - gateway.clock.now() == 3601
    await agent.redeem(2)
    gateway.clock.forward(1)
    refused(await agent.send(agent.request(3)), 409, "token-expired")
    assert (await agent.send(agent.request(2))).status_code == 200, "what was released is answered again"


async def test_a_stopped_token_releases_nothing(agent: Agent) -> None:
    await agent.redeem(1)
    assert (await agent.stop()).json()["stopped"] is True
    refused(await agent.send(agent.request(2)), 409, "token-stopped")
    assert (await agent.finish(1))["spareUsed"] is False


async def test_a_recalled_revision_releases_nothing_as_soon_as_the_recall_is_signed(agent: Agent) -> None:
    await agent.redeem(1)
    assert (await agent.designer.recall()).status_code == 202
    refused(await agent.send(agent.request(2)), 409, "revision-recalled")
    await agent.gateway.chain.mine(final=False)
    refused(await agent.send(agent.request(2)), 409, "revision-recalled")


async def test_a_closing_token_releases_nothing_until_the_offer_is_over(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    assert (await agent.offer_close(gateway.clock.now() + 120)).status_code == 200
    refused(await agent.send(agent.request(2)), 409, "token-closed")
    gateway.clock.forward(121)
    refused(await agent.send(agent.request(2)), 409, "token-closed")
    await gateway.chain.mine()
    await agent.redeem(2)


async def test_no_release_while_entries_wait_too_long_for_their_anchor(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    gateway.clock.forward(gateway.container.settings.merge_delay_seconds - 60)
    await agent.redeem(2)
    gateway.clock.forward(120)
    problem = refused(await agent.send(agent.request(3)), 503, "backlog-unanchored")
    assert problem["retryAfter"] >= 1
    assert (await agent.send(agent.request(2))).status_code == 200, "what was released is answered again"
    await settle_backlog(gateway, final=False)
    refused(await agent.send(agent.request(3)), 503, "backlog-unanchored")
    await gateway.chain.finalise()
    await agent.redeem(3)


async def settle_backlog(gateway: SimulatedGateway, *, final: bool = True) -> None:
    await growth.sequence(gateway)
    await growth.anchor(gateway, final=final)


async def test_no_release_in_quarantine_and_before_the_log_is_opened(agent: Agent, gateway: SimulatedGateway) -> None:
    async with gateway.container.database.begin() as session:
        await session.execute(update(LogHead).values(quarantine="a test says so"))
    refused(await agent.send(agent.request(1)), 503, "quarantine")
    async with gateway.container.database.begin() as session:
        await session.delete((await session.scalars(select(LogHead))).one())
    refused(await agent.send(agent.request(1)), 503, "quarantine")


async def test_no_release_while_the_chain_is_away_and_nothing_is_counted(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    gateway.chain.is_away = True
    refused(await agent.send(agent.request(1)), 503, "rpc-unreachable")
    assert await rows_of(gateway) == (0, 0, 0, 0)
    gateway.chain.is_away = False
    await agent.redeem(1)


async def test_a_reservation_that_was_taken_back_by_the_chain_releases_nothing(gateway: SimulatedGateway) -> None:
    from simulators.people import Designer

    agent = Agent(gateway, Designer(gateway), prints=3)
    await agent.designer.licensed(agent.holder.address)
    await agent.reserve()
    keep = len(gateway.chain.blocks) - 1
    await gateway.chain.mine(final=False)
    refused(await agent.order_token(), 409, "awaiting-finality")
    await gateway.chain.reorganise(keep)
    refused(await agent.order_token(), 409, "awaiting-finality")
    await gateway.chain.mine()
    await agent.take_token()
    await agent.redeem(1)


# --- rows that somebody changed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"agent": b"\x01" * 20},
        {"prints": 11},
        {"expires_at": 4_000_000_000},
        {"revision": 2},
        {"holder": b"\x01" * 20},
    ],
    ids=lambda values: next(iter(values)),
)
async def test_a_changed_permission_row_releases_nothing(
    agent: Agent, gateway: SimulatedGateway, values: dict[str, Any]
) -> None:
    async with gateway.container.database.begin() as session:
        await session.execute(update(Token).values(**values))
    refused(await agent.send(agent.request(1)), 500, "internal")
    assert await rows_of(gateway) == (0, 0, 0, 0)


@pytest.mark.parametrize("values", [{"design_id": 7}, {"spares": 2}], ids=["design_id", "spares"])
async def test_a_row_that_contradicts_the_signed_token_releases_nothing(
    agent: Agent, gateway: SimulatedGateway, values: dict[str, Any]
) -> None:
    async with gateway.container.database.begin() as session:
        await session.execute(update(Token).values(**values))
    refused(await agent.send(agent.request(1)), 500, "internal")
    assert await rows_of(gateway) == (0, 0, 0, 0)


async def test_a_token_moved_to_another_row_does_not_open(agent: Agent, gateway: SimulatedGateway) -> None:
    other = Agent(gateway, agent.designer, salt=Digest32(b"\x02" * 32), prints=5, token_text=agent.token_text)
    await other.reserve()
    await gateway.chain.mine()
    async with gateway.container.database.begin() as session:
        first = await session.get_one(Token, agent.token_id)
        second = await session.get_one(Token, other.token_id)
        second.wrapped_token, second.recipient_digest = first.wrapped_token, first.recipient_digest
    refused(await other.send(other.request(1)), 500, "internal")


async def test_a_package_moved_to_another_revision_does_not_open(agent: Agent, gateway: SimulatedGateway) -> None:
    async with gateway.container.database.begin() as session:
        row = (await session.scalars(select(Revision))).one()
        row.key_commitment = Digest32(b"\x01" * 32)
    refused(await agent.send(agent.request(1)), 500, "internal")


# --- outcomes -----------------------------------------------------------------------------------------------


async def test_an_outcome_is_promised_and_countersigned(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    answer = await agent.finish(1)
    profile = gateway.container.profile
    promise = Promise.verify(answer["promise"], profile.release_key)
    async with gateway.container.database.read() as session:
        row = (await session.scalars(select(LogEntry).where(LogEntry.kind == 2))).one()
    entry = decode(row.entry)
    assert isinstance(entry, OutcomeEntry)
    assert (promise.leaf_hash, promise.result, promise.spare_used) == (row.leaf_hash, Result.COMPLETED, False)
    assert entry.receipt_digest == agent.receipt(1, Result.COMPLETED).digest(b"\x0b" * 32)
    envelope = Envelope.from_json(answer["receipt"])
    envelope.verify_agent(agent.key.address)
    envelope.verify_gateway(profile.release_key)


@pytest.mark.parametrize("result", [Result.FAILED, Result.CANCELLED, Result.REJECTED])
async def test_what_was_not_completed_gives_its_print_back_while_spares_last(agent: Agent, result: Result) -> None:
    await agent.redeem(1)
    await agent.redeem(2)
    first, second = await agent.finish(1, result), await agent.finish(2, result)
    assert (first["spareUsed"], first["printsLeft"], first["sparesLeft"]) == (True, 9, 0)
    assert (second["spareUsed"], second["printsLeft"], second["sparesLeft"]) == (False, 9, 0)


async def test_the_same_outcome_has_the_same_answer(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    body = agent.report(1, Result.FAILED)
    first = await agent.send_report(body)
    gateway.clock.forward(60)
    second = await agent.send_report(body)
    assert first.json() == second.json()
    assert await rows_of(gateway) == (1, 1, 1, 1)


async def test_an_outcome_is_final(agent: Agent) -> None:
    await agent.redeem(1)
    await agent.finish(1, Result.COMPLETED)
    refused(await agent.send_report(agent.report(1, Result.FAILED)), 409, "outcome-exists")
    assert (await agent.state())["voided"] == 0


async def test_an_outcome_needs_its_print(agent: Agent) -> None:
    refused(await agent.send_report(agent.report(1)), 404, "print-unknown")


async def test_an_outcome_of_another_agent_is_refused(agent: Agent) -> None:
    await agent.redeem(1)
    thief = Agent(agent.gateway, agent.designer, seed=AgentSeed(b"\x13" * 32))
    own, foreign = agent.report(1, Result.FAILED), thief.report(1, Result.FAILED)
    refused(await agent.send_report(own | {"signature": foreign["signature"]}), 409, "signature-invalid")
    envelope = {"envelopeSignature": foreign["envelopeSignature"]}
    refused(await agent.send_report(own | envelope), 409, "signature-invalid")


async def test_the_receipt_must_be_the_one_that_was_signed(agent: Agent) -> None:
    await agent.redeem(1)
    other = agent.report(1, slicer="another")
    refused(await agent.send_report(agent.report(1) | {"statement": other["statement"]}), 409, "receipt-digest")
    refused(await agent.send_report(agent.report(1) | {"salt": base64url(bytes(32))}), 409, "receipt-digest")


@pytest.mark.parametrize("changes", [{"revision": 2}, {"result": Result.COMPLETED}, {"sequence": 2}], ids=str)
async def test_receipt_and_outcome_must_agree(agent: Agent, changes: dict[str, Any]) -> None:
    await agent.redeem(1)
    refused(await agent.send_report(agent.report(1, Result.FAILED, **changes)), 409, "receipt-mismatch")


async def test_an_outcome_belongs_to_its_address(agent: Agent) -> None:
    await agent.redeem(1)
    body = agent.report(1)
    path = f"/v1/prints/{body['outcome']['tokenId']}/2/outcome"
    refused(await agent.post(path, body), 400, "path-mismatch")


async def test_outcomes_end_three_days_after_expiry(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.redeem(2)
    delay = gateway.container.settings.merge_delay_seconds
    gateway.clock.forward(agent.expires_at + 3 * DAY - delay - gateway.clock.now())
    await agent.finish(1, Result.FAILED)
    gateway.clock.forward(1)
    refused(await agent.send_report(agent.report(2, Result.FAILED)), 409, "outcome-late")
    assert (await agent.state())["voided"] == 1


async def test_a_frozen_token_gives_nothing_back(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    assert (await agent.offer_close(gateway.clock.now() + 600)).status_code == 200
    assert (await agent.finish(1, Result.FAILED))["spareUsed"] is False


async def test_statements_are_by_the_declared_release_key(agent: Agent, gateway: SimulatedGateway) -> None:
    answer = await agent.redeem(1)
    assert header_key_id(answer["release"]) == gateway.container.profile.release_key_id
    assert Release.verify(answer["release"], gateway.container.profile.release_key).sequence == 1


@pytest.mark.parametrize(
    "headers, content",
    [
        ({}, b"{}"),
        ({"Content-Type": "text/plain"}, b"{}"),
        ({"Content-Type": "application/json"}, b""),
        ({"Content-Type": "application/json"}, b'{"tokenId": "0x'),
        ({"Content-Type": "application/json"}, b"[]"),
        ({"Content-Type": "application/json"}, b"\xff\xfe"),
        ({"Content-Type": "application/json; charset=utf-8"}, b'{"sequence": 1}'),
    ],
)
async def test_a_redemption_is_a_json_object_with_all_its_fields(
    agent: Agent, headers: dict[str, str], content: bytes
) -> None:
    answer = await agent.gateway.client.post("/v1/prints", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "request-schema")
    assert answer.headers["x-request-id"]


async def test_a_redemption_that_is_too_large_is_refused(agent: Agent) -> None:
    async def longer() -> AsyncIterator[bytes]:
        for _ in range(agent.gateway.container.settings.body_bytes // 65_536 + 1):
            yield bytes(65_536)

    headers = {"Content-Type": "application/json"}
    answer = await agent.gateway.client.post("/v1/prints", content=longer(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


async def test_a_caller_that_leaves_before_its_request_is_whole_counts_nothing(agent: Agent) -> None:
    sent: list[Message] = []
    parts: list[Message] = [
        {"type": "http.request", "body": json.dumps(agent.body(agent.request(1))).encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return parts.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/prints",
        "headers": [(b"content-type", b"application/json")],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }
    await create_app(agent.gateway.container)(scope, receive, send)
    assert not sent
    assert (await agent.redeem(1))["printsLeft"] == 9
