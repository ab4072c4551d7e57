import pytest
from sqlalchemy import select

from platemark.protocol import merkle
from platemark.protocol.cid import Cid, Codec
from platemark.protocol.digests import sha256
from platemark.protocol.log_entry import Result
from platemark.protocol.passport import Form, Passport
from platemark.protocol.serial import grouped, serial_of
from platemark.protocol.units import Digest32, id_text
from platemark.verify.passport import verify_passport
from platemark.verify.report import Verdict
from platemark_gateway.models.design import Revision
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway
from simulators.growth import anchor, sequence
from simulators.people import Designer

pytestmark = pytest.mark.anyio


async def anchored(gateway: SimulatedGateway) -> None:
    await sequence(gateway)
    await anchor(gateway)


async def status(agent: Agent, sequence: int = 1) -> str:
    serial = serial_of(agent.token_id, sequence)
    answer = (await agent.gateway.client.get(f"/v1/parts/{serial}")).json()
    if answer["status"] != "unknown":
        assert (answer["tokenId"], answer["sequence"]) == (id_text(agent.token_id), sequence)
        assert (answer["designId"], answer["revision"]) == (id_text(agent.designer.design_id), 1)
    return str(answer["status"])


async def passport(agent: Agent, sequence: int = 1) -> Passport:
    answer = await agent.gateway.client.get(f"/v1/parts/{serial_of(agent.token_id, sequence)}/passport")
    assert answer.status_code == 200, answer.text
    return Passport.parse(answer.content)


async def test_a_part_is_provisional_until_its_entries_are_anchored(agent: Agent, gateway: SimulatedGateway) -> None:
    assert await status(agent) == "unknown"
    await agent.redeem(1)
    assert await status(agent) == "provisional"
    await anchored(gateway)
    assert await status(agent) == "provisional", "it may still fail"
    await agent.finish(1)
    assert await status(agent) == "provisional", "the outcome is not anchored yet"
    await anchored(gateway)
    assert await status(agent) == "valid"


async def test_a_part_without_an_outcome_counts_as_made_when_none_can_come(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await anchored(gateway)
    gateway.clock.forward(agent.expires_at + 3 * 86_400 - gateway.clock.now() - 1)
    assert await status(agent) == "provisional"
    gateway.clock.forward(1)
    assert await status(agent) == "valid"


async def test_a_failed_part_is_voided_and_a_recalled_one_recalled(agent: Agent) -> None:
    await agent.redeem(1)
    await agent.redeem(2)
    await agent.finish(1, Result.FAILED)
    await agent.finish(2)
    await agent.designer.recall()
    assert await status(agent, 1) == "voided"
    assert await status(agent, 2) == "recalled"


async def test_a_recalled_part_names_the_block_with_the_reason_before_and_after_the_chain_has_it(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    async def reason(number: int) -> object:
        answer = await gateway.client.get(f"/v1/parts/{serial_of(agent.token_id, number)}")
        return answer.json()["recallReasonCid"]

    await agent.redeem(1)
    await agent.redeem(2)
    await agent.finish(1, Result.FAILED)
    await agent.finish(2)
    assert await reason(2) is None
    await agent.designer.recall()
    named = Cid(Codec.RAW, Digest32(b"\x01" * 32)).text
    assert await reason(2) == named
    await gateway.chain.mine()
    assert await reason(2) == named
    assert await reason(1) is None, "it was never good"


async def test_a_recall_shows_in_the_next_answer_whoever_saw_it_first(agent: Agent, gateway: SimulatedGateway) -> None:
    """As soon as it is signed here, or any block has it; nothing in between may keep what was said before."""
    await agent.redeem(1)
    await agent.finish(1)
    await anchored(gateway)
    assert await status(agent) == "valid"
    await agent.designer.recall()
    assert await status(agent) == "recalled"
    async with gateway.container.database.begin() as session:
        revision = (await session.scalars(select(Revision))).one()
        revision.recall_signed_at = None
    assert await status(agent) == "valid", "no block has the recall yet"
    await gateway.chain.mine(final=False)
    assert await status(agent) == "recalled"
    path = f"/v1/parts/{serial_of(agent.token_id, 1)}"
    for told in (path, f"{path}/passport", "/v1/parts/part.js"):
        assert (await gateway.client.get(told)).headers["cache-control"] == "no-cache"
    page = await gateway.client.get(path, headers={"Accept": "text/html"})
    assert page.headers["cache-control"] == "no-cache"


async def test_a_serial_is_read_as_people_write_it(agent: Agent) -> None:
    await agent.redeem(1)
    written = grouped(serial_of(agent.token_id, 1)).lower()
    assert (await agent.gateway.client.get(f"/v1/parts/{written}")).json()["status"] == "provisional"
    assert (await agent.gateway.client.get("/v1/parts/not-a-serial-at-all")).status_code == 400


async def test_a_passport_proves_both_entries_against_the_anchor(agent: Agent, gateway: SimulatedGateway) -> None:
    await agent.redeem(1)
    await agent.redeem(2)
    await agent.finish(1)
    await anchored(gateway)
    found = await passport(agent)
    assert (found.serial, found.form, found.provisional) == (serial_of(agent.token_id, 1), Form.PUBLIC, False)
    anchor = found.anchor
    assert anchor is not None
    assert found.outcome is not None
    for logged in (found.redeemed, found.outcome):
        leaf = merkle.leaf_hash(logged.entry)
        merkle.verify_inclusion(leaf, logged.index, anchor.size, logged.proof, anchor.root)
    block = await gateway.chain.block_at(anchor.block_number)
    assert block is not None
    assert anchor.block_hash == block.hash
    assert found.design_id == agent.designer.design_id
    assert found.license_id == agent.designer.license_id
    assert found.permission == agent.permission()
    assert found.manifest == agent.designer.manifest()
    assert found.material == "PLA"
    assert found.receipt is not None
    found.receipt.envelope.verify_gateway(gateway.container.profile.release_key)
    found.receipt.envelope.verify_agent(agent.key.address)


async def test_a_passport_stays_the_same_when_the_log_is_anchored_again(
    agent: Agent, gateway: SimulatedGateway
) -> None:
    await agent.redeem(1)
    await agent.finish(1)
    await anchored(gateway)
    path = f"/v1/parts/{serial_of(agent.token_id, 1)}/passport"
    first = (await gateway.client.get(path)).content
    await agent.redeem(2)
    await anchored(gateway)
    assert (await gateway.client.get(path)).content == first


async def test_a_private_designs_passport_opens_nothing_that_confirms_a_guess(gateway: SimulatedGateway) -> None:
    designer = Designer(gateway, private=True)
    agent = Agent(gateway, designer)
    await designer.licensed(agent.holder.address)
    await agent.reserved()
    await agent.redeem(1)
    await agent.finish(1)
    await anchored(gateway)
    found = await passport(agent)
    assert (found.form, found.receipt, found.material) == (Form.PUBLIC, None, "PLA")
    report = verify_passport(found)
    report.raise_if_failed()
    skipped = {each.detail for each in report.findings if each.verdict is Verdict.NOT_CHECKED}
    assert skipped >= {"content not disclosed", "receipt not disclosed"}
    gcode = agent.receipt(1, Result.COMPLETED).attempts[0].gcode_sha256
    for closed in (sha256(designer.plaintext), designer.root, designer.salt, agent.receipt_salt, gcode):
        assert bytes(closed).hex().encode() not in found.encode()


async def test_a_passport_without_an_anchor_is_provisional(agent: Agent) -> None:
    answer = await agent.redeem(1)
    found = await passport(agent)
    assert found.provisional
    assert (found.outcome, found.receipt) == (None, None)
    assert found.release == answer["release"]


async def test_an_unknown_serial_has_no_passport(agent: Agent) -> None:
    answer = await agent.gateway.client.get(f"/v1/parts/{serial_of(agent.token_id, 9)}/passport")
    assert (answer.status_code, answer.json()["code"]) == (404, "serial-unknown")


async def test_a_passport_needs_the_holders_signature(agent: Agent, gateway: SimulatedGateway) -> None:
    from sqlalchemy import update

    from platemark_gateway.models.token import Token

    await agent.redeem(1)
    async with gateway.container.database.begin() as session:
        await session.execute(update(Token).values(holder_signature=None))
    answer = await agent.gateway.client.get(f"/v1/parts/{serial_of(agent.token_id, 1)}/passport")
    assert (answer.status_code, answer.json()["code"]) == (409, "passport-incomplete")
    assert (await agent.reserve()).status_code == 202, "the holder sends the permission again"
    await passport(agent)
