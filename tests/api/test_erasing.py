"""After an erasure nothing that the gateway kept of a person is left but what counts, and every proof holds."""

import itertools
import json
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from platemark.errors import PlatemarkError
from platemark.protocol import merkle
from platemark.protocol.accounts import AccountKey
from platemark.protocol.log_entry import Result
from platemark.protocol.passport import Passport
from platemark.protocol.permission import AgentSeed
from platemark.protocol.receipt import Attempt, Material, Printer
from platemark.protocol.serial import serial_of
from platemark.protocol.tiles import LogReader
from platemark.protocol.units import Address, Digest32, UnixSeconds, Wei, address_text, id_text
from platemark.verify.passport import verify_passport
from platemark.verify.report import Verdict
from platemark.verify.steps import Step
from platemark_gateway.erasing import Erased, erase
from platemark_gateway.models.audit import AuditEntry
from platemark_gateway.models.base import Base
from platemark_gateway.models.chain import OutboxAttempt, OutboxTransaction
from platemark_gateway.models.idempotency import IdempotentAnswer
from platemark_gateway.models.printlog import LogEntry, LogHead
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import service
from simulators.agent import DAY, Agent
from simulators.disasters import Interrupted, interrupted_at
from simulators.gateway import SimulatedGateway
from simulators.growth import anchor, sequence

pytestmark = pytest.mark.anyio

COUNTS = {
    "chain_events.args",
    "designs.owner",
    "designs.registrant",
    "design_owners.owner",
    "license_credits.payee",
    "licenses.terms",
    "outbox_attempts.raw",
    "outbox_transactions.data",
    "tokens.holder",
}
"""Where an account stays: the count, and the gateway's copy of the chain."""


@dataclass
class Person:
    """A holder with an agent, and every mark that the two leave at a gateway."""

    agent: Agent
    name: str
    headers: dict[str, str] = field(default_factory=dict)
    key_request: dict[str, str] = field(default_factory=dict)
    key: dict[str, Any] = field(default_factory=dict)

    @property
    def account(self) -> AccountKey:
        return self.agent.holder

    @property
    def address(self) -> Address:
        return self.account.address

    def marks(self) -> dict[str, bytes]:
        """Return what is found of the person before an erasure, and of nobody else."""
        return {
            "key's name": f"{self.name}'s laptop".encode(),
            "key's id": str(self.key["id"]).encode(),
            "request": f"{self.name}-asked".encode(),
            "agent's request": f"{self.name}-prints".encode(),
            "receipt": f"{self.name}'s printer".encode(),
            "lot": f"lot of {self.name}".encode(),
            "salt": self.agent.receipt_salt,
            "account of an act": address_text(self.address).encode(),
        }

    async def live(self) -> None:
        """Sign in, make a key, upload something, print two parts and report them."""
        gateway, agent = self.agent.gateway, self.agent
        asked = {"X-Request-Id": f"{self.name}-asked"}
        self.headers = await gateway.sign_in(self.account) | asked
        self.key_request = {"Idempotency-Key": f"key-of-{self.name}"}
        self.key = (await self.make_key()).json()
        stored = await gateway.client.post("/v1/blobs", content=self.name.encode(), headers=self.headers)
        assert stored.status_code == 200
        prints = {"X-Request-Id": f"{self.name}-prints"}
        for number, result in ((1, Result.COMPLETED), (2, Result.FAILED)):
            answer = await gateway.client.post("/v1/prints", json=agent.body(agent.request(number)), headers=prints)
            assert answer.status_code == 200, answer.text
            assert (await agent.send_report(self.report(number, result))).status_code == 200

    async def make_key(self) -> httpx.Response:
        """Make a key, or have the same answer again."""
        body = {"name": f"{self.name}'s laptop", "scopes": ["centre"]}
        return await self.agent.gateway.client.post("/v1/api-keys", json=body, headers=self.headers | self.key_request)

    def report(self, number: int, result: Result = Result.COMPLETED) -> dict[str, Any]:
        now = UnixSeconds(self.agent.gateway.clock.now())
        printer = Printer(f"{self.name}'s printer", "simulated", "simulated")
        attempt = Attempt(printer, Digest32(b"\x0a" * 32), now, now, result)
        material = Material("PLA", f"lot of {self.name}")
        return self.agent.report(number, result, attempts=(attempt,), material=material)


@pytest.fixture
async def anna(gateway: SimulatedGateway, agent: Agent) -> Person:
    """Somebody who lived; the log is anchored. Somebody else lived beside them: `agent.designer`, and `ben`."""
    del gateway
    agent.receipt_salt = b"\xa7" * 32
    person = Person(agent, "anna")
    await person.live()
    return person


@pytest.fixture
async def ben(gateway: SimulatedGateway, anna: Person) -> Person:
    """A stranger to the person."""
    agent = Agent(
        gateway,
        anna.agent.designer,
        holder=AccountKey(b"\x57" * 32),
        seed=AgentSeed(b"\x68" * 32),
        salt=Digest32(b"\x02" * 32),
        receipt_salt=b"\xb7" * 32,
    )
    assert (await agent.designer.mint(agent.holder.address, nonce=2)).is_success
    await gateway.chain.mine()
    person = Person(await agent.reserved(prints=3), "ben")
    await person.live()
    await sequence(gateway)
    await anchor(gateway)
    return person


def written(value: Any) -> bytes:
    """Return a value of a row as bytes in which marks can be looked for."""
    match value:
        case bytes():
            return value
        case uuid.UUID() | Decimal():
            return str(value).encode()
        case _:
            return json.dumps(value).encode()


async def dump(gateway: SimulatedGateway) -> dict[str, list[dict[str, bytes]]]:
    """Return every row of every table."""
    async with gateway.container.database.read() as session:
        return {
            table.name: [
                {name: written(value) for name, value in row._mapping.items()}
                for row in await session.execute(select(table))
            ]
            for table in Base.metadata.sorted_tables
        }


def columns(found: dict[str, list[dict[str, bytes]]], mark: bytes) -> set[str]:
    return {
        f"{table}.{name}"
        for table, rows in found.items()
        for row in rows
        for name, value in row.items()
        if mark in value
    }


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mentions(row: dict[str, bytes], person: Person) -> bool:
    marks = [*person.marks().values(), bytes(person.address), id_text(person.agent.token_id).encode()]
    marks += [person.agent.token_id.to_bytes(32, "big")]
    return any(mark in value for value in row.values() for mark in marks)


async def erased(gateway: SimulatedGateway, subject: Address | str) -> Erased:
    container = gateway.container
    return await erase(container.database, container.vault, container.clock, subject)


async def passport(gateway: SimulatedGateway, person: Person, number: int = 1) -> Passport:
    answer = await gateway.client.get(f"/v1/parts/{serial_of(person.agent.token_id, number)}/passport")
    assert answer.status_code == 200, answer.text
    found = Passport.parse(answer.content)
    verify_passport(found).raise_if_failed()
    return found


async def check_log(gateway: SimulatedGateway) -> list[bytes]:
    """Return the log's entries, which are the database's under the same root."""
    async with gateway.container.database.read() as session:
        head = (await session.scalars(select(LogHead))).one()
        entries = list(await session.scalars(select(LogEntry.entry).order_by(LogEntry.position)))
    reader = LogReader(head.size, head.root, service.files_of(gateway.container).read)
    assert list(reader.entries()) == entries
    return entries


async def test_nothing_of_a_person_is_left_but_what_counts_and_every_proof_holds(
    gateway: SimulatedGateway, anna: Person, ben: Person, tmp_path: Path
) -> None:
    before, log = await dump(gateway), await check_log(gateway)
    for what, mark in anna.marks().items():
        assert columns(before, mark), f"the {what} is looked for in vain"
    left = columns(before, bytes(anna.address)) - COUNTS
    assert left == {f"{table}.address" for table in ("challenges", "sessions", "api_keys", "spendings")}
    assert (await passport(gateway, anna)).receipt is not None

    found = await erased(gateway, anna.address)
    assert found.rows["receipts"] == 2
    assert (found.stays["prints"], found.stays["reservations"], found.open_tokens) == (2, 1, 1)

    after = await dump(gateway)
    for what, mark in anna.marks().items():
        assert columns(after, mark) - COUNTS == set(), what
    assert columns(after, bytes(anna.address)) <= COUNTS
    for name in ("challenges", "sessions", "api_keys", "spendings", "idempotent_answers"):
        assert not [row for row in after[name] if mentions(row, anna)]
    for path, data in files(tmp_path).items():
        found_there = {what for what, mark in anna.marks().items() if mark in data}
        assert found_there <= {"account of an act"}, path  # as a holder, in copies of the chain's events

    for number in (1, 2):
        shown = await passport(gateway, anna, number)
        assert shown.receipt is None
        findings = verify_passport(shown).findings
        assert {each.verdict for each in findings if each.step is Step.RECEIPT} == {Verdict.NOT_CHECKED}
        assert shown.anchor is not None
        assert shown.outcome is not None
        for logged in (shown.redeemed, shown.outcome):
            leaf = merkle.leaf_hash(logged.entry)
            merkle.verify_inclusion(leaf, logged.index, shown.anchor.size, logged.proof, shown.anchor.root)
    assert await check_log(gateway) == log
    state = await anna.agent.state()
    assert (state["released"], state["voided"]) == (2, 1)
    await anna.agent.redeem(3)


async def test_a_stranger_keeps_everything(gateway: SimulatedGateway, anna: Person, ben: Person) -> None:
    before = await dump(gateway)
    await erased(gateway, anna.address)
    after = await dump(gateway)
    for table, rows in before.items():
        gone = [row for row in rows if row not in after[table]]
        if table == "idempotent_answers":
            assert len(gone) == 1, "what it says is encrypted"
            continue
        assert [row for row in gone if not mentions(row, anna)] == [], table
        assert [row for row in gone if mentions(row, ben)] == [], table
    again = await ben.make_key()
    assert (again.json()["id"], again.headers["idempotent-replay"]) == (ben.key["id"], "true")
    assert (await passport(gateway, ben)).receipt is not None
    refused = await anna.make_key()
    assert (refused.status_code, refused.json()["code"]) == (401, "credential-invalid")


async def test_an_erasure_tells_how_much_and_of_nobody(gateway: SimulatedGateway, anna: Person, ben: Person) -> None:
    del ben
    first = await erased(gateway, anna.address)
    again = await erased(gateway, anna.address)
    assert sum(again.rows.values()) == 0
    assert again.stays == first.stays
    async with gateway.container.database.read() as session:
        acts = (await session.scalars(select(AuditEntry).where(AuditEntry.action == "erase"))).all()
    told: Counter[str] = Counter()
    for act in acts:
        assert (act.actor, list(act.detail)) == ("operator", ["rows"])
        told[act.subject] += act.detail["rows"]
    assert told == +Counter(first.rows)
    assert {"answers", "challenges", "sessions", "api-keys", "quotas", "receipts", "acts"} == set(told)


async def test_the_acts_stay_without_who_acted(gateway: SimulatedGateway, anna: Person, ben: Person) -> None:
    async def acts() -> list[AuditEntry]:
        async with gateway.container.database.read() as session:
            query = select(AuditEntry).where(AuditEntry.action != "erase").order_by(AuditEntry.id)
            return list(await session.scalars(query))

    before = await acts()
    await erased(gateway, anna.address)
    after = await acts()
    assert [(each.id, each.at, each.action) for each in before] == [(each.id, each.at, each.action) for each in after]
    token = id_text(anna.agent.token_id)
    counted = [each for each in after if each.action in {"print.release", "print.outcome"} and each.subject == token]
    assert [(each.actor, each.correlation_id, each.detail["sequence"]) for each in counted] == [
        ("erased", None, number) for number in (1, 1, 2, 2)
    ]
    (minted, other) = [each for each in after if each.action == "license.mint"]
    assert (minted.actor, minted.detail) == (address_text(anna.agent.designer.account.address), {})
    assert other.detail["to"] == address_text(ben.address)


async def test_killed_anywhere_it_is_finished_by_the_same_command(
    gateway: SimulatedGateway, anna: Person, ben: Person
) -> None:
    log = await check_log(gateway)
    for number in itertools.count(1):
        with interrupted_at(gateway.container, number) as count, suppress(Interrupted):
            await erased(gateway, anna.address)
        if count[0] < number:
            break
    assert number > 20
    found = await dump(gateway)
    for what, mark in anna.marks().items():
        assert columns(found, mark) - COUNTS == set(), what
    told = Counter[str]()
    async with gateway.container.database.read() as session:
        for act in await session.scalars(select(AuditEntry).where(AuditEntry.action == "erase")):
            told[act.subject] += act.detail["rows"]
    assert (told["receipts"], told["api-keys"], told["answers"]) == (2, 1, 1), "what was erased was told, once"
    assert await check_log(gateway) == log
    assert (await passport(gateway, ben)).receipt is not None


async def test_a_receipt_that_was_erased_stays_away_when_it_is_reported_again(
    gateway: SimulatedGateway, anna: Person, ben: Person
) -> None:
    del ben
    report = anna.report(1)
    first = await anna.agent.send_report(report)
    await erased(gateway, anna.address)
    again = await anna.agent.send_report(report)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await passport(gateway, anna)).receipt is None


@pytest.mark.parametrize("of_part", [False, True])
async def test_no_kept_answer_holds_a_receipt_that_was_erased(
    gateway: SimulatedGateway, anna: Person, ben: Person, of_part: bool
) -> None:
    async def reported(person: Person) -> httpx.Response:
        path = f"/v1/prints/{id_text(person.agent.token_id)}/1/outcome"
        key = {"Idempotency-Key": f"outcome-of-{person.name}"}
        return await gateway.client.post(path, json=person.report(1), headers=key)

    first = await reported(anna)
    assert (first.status_code, "receipt" in first.json()) == (200, True)
    await reported(ben)
    subject = serial_of(anna.agent.token_id, 1) if of_part else anna.address
    assert (await erased(gateway, subject)).rows["answers"] == (1 if of_part else 2)
    again = await reported(anna)
    assert (again.json(), "idempotent-replay" in again.headers) == (first.json(), False)
    assert "idempotent-replay" in (await reported(ben)).headers
    assert (await passport(gateway, anna)).receipt is None


async def test_of_a_part_the_receipt_is_erased_and_nothing_else(
    gateway: SimulatedGateway, anna: Person, ben: Person
) -> None:
    before = await dump(gateway)
    found = await erased(gateway, serial_of(anna.agent.token_id, 1))
    assert (found.rows, found.open_tokens) == ({"receipts": 1}, 0)
    after = await dump(gateway)
    assert {table for table, rows in before.items() if rows != after[table]} == {"print_outcomes", "audit_entries"}
    assert (await passport(gateway, anna, 1)).receipt is None
    assert (await passport(gateway, anna, 2)).receipt is not None
    assert sum((await erased(gateway, serial_of(anna.agent.token_id, 1))).rows.values()) == 0
    with pytest.raises(PlatemarkError) as refused:
        await erased(gateway, serial_of(ben.agent.token_id, 9))
    assert refused.value.code == "serial-unknown"


async def test_what_never_came_to_the_chain_is_erased_and_what_did_is_kept(
    gateway: SimulatedGateway, anna: Person, ben: Person
) -> None:
    del ben
    waiting = anna.agent.permission(salt=Digest32(b"\x09" * 32), deadline=UnixSeconds(gateway.clock.now() + 60))
    assert (await anna.agent.reserve(waiting)).status_code == 202
    account = gateway.container.vault.account
    calldata = bytes(12) + anna.address

    def transaction(status: str, **changes: Any) -> OutboxTransaction:
        values = {"data": calldata, "reason": None if status != "failed" else f"refused {address_text(anna.address)}"}
        return OutboxTransaction(
            id=gateway.container.randomness.new_id(),
            position=900,
            account=account,
            purpose="license.withdraw",
            dedupe_key=f"license.withdraw:{address_text(anna.address)}:{status}",
            to=account,
            value=Wei(0),
            created_at=gateway.clock.now(),
            status=status,
            **values | changes,
        )

    failed, reverted = transaction("failed"), transaction("failed", nonce=901, mined_hash=Digest32(b"\x01" * 32))
    attempt = OutboxAttempt(
        hash=Digest32(b"\x02" * 32),
        transaction_id=failed.id,
        raw=calldata,
        most_fee=Wei(1),
        priority_fee=Wei(1),
        cancels=False,
        signed_at=gateway.clock.now(),
    )
    async with gateway.container.database.begin() as session:
        session.add_all([failed, reverted])
        await session.flush()
        session.add(attempt)

    found = await erased(gateway, anna.address)
    assert (found.rows["reservations-never-made"], found.rows["transactions-never-mined"]) == (0, 1)
    gateway.clock.forward(60 + DAY)
    found = await erased(gateway, anna.address)
    assert (found.rows["reservations-never-made"], found.rows["transactions-never-mined"]) == (0, 0)
    gateway.clock.forward(1)
    assert (await erased(gateway, anna.address)).rows["reservations-never-made"] == 1
    async with gateway.container.database.read() as reading:
        kept = {row.id: row for row in await reading.scalars(select(OutboxTransaction))}
        assert (kept[failed.id].data, kept[failed.id].reason, kept[failed.id].dedupe_key) == (b"", "erased", "erased")
        assert kept[reverted.id].data == calldata
        assert await reading.get(OutboxAttempt, attempt.hash) is None
        assert [row.token_id for row in await reading.scalars(select(Token).where(Token.holder == anna.address))] == [
            anna.agent.token_id
        ]


async def test_the_gateways_own_account_is_not_erased(gateway: SimulatedGateway) -> None:
    with pytest.raises(PlatemarkError) as refused:
        await erased(gateway, gateway.container.vault.account)
    assert refused.value.code == "erasure-own-account"


async def test_an_answer_that_the_vault_cannot_open_goes_too(gateway: SimulatedGateway, anna: Person) -> None:
    async with gateway.container.database.begin() as session:
        await session.execute(update(IdempotentAnswer).values(wrapped_answer=b"of another vault"))
    assert (await erased(gateway, Address(b"\x11" * 20))).rows == {"answers": 1}
    del anna
