"""What a stranger can settle from a log, and what nobody's word can put into it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from platemark.auditor import settle
from platemark.auditor.evidence import ANOTHER_MIRROR, Origin
from platemark.auditor.settle import Plan, open_unsigned, plan, send, settled_prints
from platemark.errors import VerificationError
from platemark.protocol.accounts import AccountKey, to_compact
from platemark.protocol.log_entry import LogEntry, RedeemedEntry, Result
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.units import LicenseId, TokenId, UnixSeconds, address_text
from platemark.protocol.voucher import VoucherUse
from platemark.verify.facts import ChainFacts
from platemark.verify.steps import Step
from sample_chain import FACTS, RESERVATION_FACT, SampleLog, closed, ended, redeemed
from sample_documents import DESIGNER, GATEWAY, LEDGER_DOMAIN, LICENSE_ID, OUTCOME_ENTRY, PROFILE, TOKEN_ID, word
from sample_evidence import MemoryLog, evidence, logged, with_reservation

ORIGIN = Origin.parse(PROFILE.log_origin)
OPENS_AT = UnixSeconds(RESERVATION_FACT.permission.expires_at + SETTLE_BY_ANYBODY_SECONDS)


def planned(log: SampleLog, facts: ChainFacts = FACTS, *, now: UnixSeconds = OPENS_AT) -> Plan:
    return plan(facts, ORIGIN, open_unsigned(MemoryLog(log)), now=now)


def use_of(entry: RedeemedEntry) -> VoucherUse:
    r, vs = to_compact(entry.signature)
    return VoucherUse(TOKEN_ID, entry.sequence, 0, entry.request_digest(), r, vs)


def forged(sequence: int) -> RedeemedEntry:
    entry = redeemed(sequence)
    return replace(entry, signature=AccountKey(b"\x01" * 32).sign(entry.redemption().digest(LEDGER_DOMAIN)))


def test_highest_voucher_of_a_token_is_settled() -> None:
    found = planned(logged(redeemed(1), ended(1), redeemed(2), redeemed(3)))
    assert found.uses == {LICENSE_ID: (use_of(redeemed(3)),)}
    assert (found.count, found.settled, found.too_early) == (1, 0, {})


def test_order_in_the_log_does_not_matter() -> None:
    assert planned(logged(redeemed(2), redeemed(1))).uses == {LICENSE_ID: (use_of(redeemed(2)),)}


def test_strangers_wait_until_three_days_after_expiry() -> None:
    log = logged(redeemed(1))
    early = planned(log, now=UnixSeconds(OPENS_AT - 1))
    assert (early.count, early.too_early) == (0, {TOKEN_ID: OPENS_AT})
    assert planned(log, now=OPENS_AT).count == 1


HINDRANCES: Mapping[str, LogEntry | bytes] = {
    "bytes that are no entry": b"\x01\x09",
    "a voucher by another key": forged(2),
    "a sequence that was never reserved": redeemed(12),
    "a token of nobody": replace(redeemed(1), token_id=TokenId(7)),
    "a signature that is none": redeemed(2).to_bytes()[:-65] + bytes(65),
    "an outcome": OUTCOME_ENTRY,
    "a closing": closed(0, 0),
}


@pytest.mark.parametrize("name", HINDRANCES)
def test_gateway_cannot_hinder_a_settlement_by_what_it_logs(name: str) -> None:
    assert planned(logged(redeemed(1), HINDRANCES[name])).uses == {LICENSE_ID: (use_of(redeemed(1)),)}


COUNTED: Mapping[str, ChainFacts] = {
    "settled by the gateway": with_reservation(burned=2, settled_sequence=2),
    "settled with what was given back": with_reservation(burned=1, voided=1, settled_sequence=2),
    "settled by somebody whose event is not told": with_reservation(burned=2),
    "closed": with_reservation(closed=(2, 0), returned=8, burned=2),
    "reclaimed after it was settled": with_reservation(returned=8, burned=2, settled_sequence=2),
}


@pytest.mark.parametrize("name", COUNTED)
def test_what_the_chain_counts_is_not_settled_again(name: str) -> None:
    found = planned(logged(redeemed(1), redeemed(2)), COUNTED[name])
    assert (found.count, found.settled) == (0, 1)


RETURNED: Mapping[str, tuple[SampleLog, ChainFacts, int]] = {
    "nothing was settled": (logged(redeemed(1), redeemed(2)), with_reservation(returned=10), 2),
    "one was settled": (logged(redeemed(1), redeemed(2)), with_reservation(returned=9, burned=1), 1),
    "one was given back": (
        logged(redeemed(1), ended(1, Result.FAILED, spare_used=True), redeemed(2)),
        with_reservation(returned=10),
        1,
    ),
    "more are said to be given back than the terms allow": (
        logged(
            *(redeemed(number) for number in (1, 2, 3)),
            *(ended(number, Result.FAILED, spare_used=True) for number in (1, 2, 3)),
        ),
        with_reservation(returned=10),
        2,
    ),
    "an outcome that no agent signed": (
        logged(redeemed(1), replace(ended(1, Result.FAILED, spare_used=True), signature=forged(1).signature)),
        with_reservation(returned=10),
        1,
    ),
}


@pytest.mark.parametrize("name", RETURNED)
def test_prints_that_went_back_unsettled_are_named_and_not_called_settled(name: str) -> None:
    log, facts, prints = RETURNED[name]
    found = planned(log, facts)
    assert (found.count, found.settled, found.returned) == (0, 0, {TOKEN_ID: prints})


def test_prints_that_a_stranger_cannot_give_back_are_named() -> None:
    log = logged(redeemed(1), ended(1, Result.FAILED, spare_used=True), redeemed(2), redeemed(3))
    assert planned(log).given_back == {TOKEN_ID: 1}
    assert planned(log, with_reservation(burned=1, voided=1, settled_sequence=2)).given_back == {}
    assert planned(log, now=UnixSeconds(OPENS_AT - 1)).given_back == {}


def test_what_is_left_of_a_settlement_is_settled() -> None:
    assert planned(logged(redeemed(1), redeemed(2)), with_reservation(burned=1, settled_sequence=1)).count == 1


def test_tokens_of_another_gateway_are_left_alone() -> None:
    facts = with_reservation(permission=replace(RESERVATION_FACT.permission, gateway=DESIGNER.address))
    assert planned(logged(redeemed(1)), facts).count == 0


def test_log_is_read_whoever_signed_its_checkpoint() -> None:
    files = MemoryLog(logged(redeemed(1)))
    origin, size, root, *_ = files.files["checkpoint"].split(b"\n")
    note = b"\n".join([origin, size, root, b"", "— somebody AAAAAAAA".encode(), b""])
    files.files["checkpoint"] = note
    assert open_unsigned(files).size == 1


DAMAGES: Mapping[str, tuple[str, Callable[[bytes], bytes | None], Step, str]] = {
    "no checkpoint's form": ("checkpoint", lambda _: b"\x00\xff", Step.ANCHOR, "note"),
    "a checkpoint of a larger log": (
        "checkpoint",
        lambda data: data.replace(b"\n2\n", b"\n3\n", 1),
        Step.INCLUSION,
        "log-tile",
    ),
    "a checkpoint with another root": (
        "checkpoint",
        lambda data: data.replace(data.split(b"\n")[2], b"A" * 43 + b"=", 1),
        Step.INCLUSION,
        "log-root",
    ),
    "a bundle that is missing": ("tile/entries/000.p/2", lambda _: None, Step.INCLUSION, "log-tile"),
    "a bundle that ends early": ("tile/entries/000.p/2", lambda data: data[:-1], Step.INCLUSION, "log-tile"),
    "a bundle with more behind it": ("tile/entries/000.p/2", lambda data: data + b"\x00", Step.INCLUSION, "log-tile"),
    "a bundle with another byte": (
        "tile/entries/000.p/2",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        Step.INCLUSION,
        "log-tile",
    ),
    "hashes that are missing": ("tile/0/000.p/2", lambda _: None, Step.INCLUSION, "log-tile"),
    "hashes that end early": ("tile/0/000.p/2", lambda data: data[:-1], Step.INCLUSION, "log-tile"),
    "hashes with another byte": (
        "tile/0/000.p/2",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        Step.INCLUSION,
        "log-root",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_log_settles_nothing_and_names_the_step(name: str) -> None:
    path, damage, step, code = DAMAGES[name]
    files = MemoryLog(logged(redeemed(1), redeemed(2)))
    assert plan(FACTS, ORIGIN, open_unsigned(files), now=OPENS_AT).count == 1
    damaged = damage(files.files[path])
    if damaged is None:
        del files.files[path]
    else:
        assert damaged != files.files[path]
        files.files[path] = damaged
    with pytest.raises(VerificationError) as raised:
        plan(FACTS, ORIGIN, open_unsigned(files), now=OPENS_AT)
    assert (raised.value.step, raised.value.code, raised.value.hint) == (step.label, code, ANOTHER_MIRROR)


# --- sending --------------------------------------------------------------------------------------------------------


def uses(count: int, first: int = 0) -> tuple[VoucherUse, ...]:
    return tuple(VoucherUse(TokenId(first + at), 1, 0, word("a"), word("b"), word("c")) for at in range(count))


def test_settlement_is_sent_in_one_transaction_with_a_batch_for_each_licence() -> None:
    found = evidence()
    given = Plan({LicenseId(1): uses(2), LicenseId(2): uses(1, 2)}, 0, {})
    sent = send(found, FACTS, ORIGIN, given, DESIGNER)
    (transaction,) = found.endpoint.sent
    assert len(sent) == 1
    assert (transaction.sender, transaction.function) == (DESIGNER.address, "settle")
    gateway, batches = transaction.arguments
    assert gateway == address_text(GATEWAY.address)
    assert batches == [(1, [use.arguments() for use in uses(2)]), (2, [use.arguments() for use in uses(1, 2)])]


def test_large_settlement_is_cut_into_transactions_that_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "USES_PER_TRANSACTION", 3)
    found = evidence()
    given = Plan({LicenseId(1): uses(4), LicenseId(2): uses(4, 4)}, 0, {})
    assert len(send(found, FACTS, ORIGIN, given, DESIGNER)) == 3
    batches = [transaction.arguments[1] for transaction in found.endpoint.sent]
    sizes = [[(license_id, len(group)) for license_id, group in batch] for batch in batches]
    assert sizes == [[(1, 3)], [(1, 1), (2, 2)], [(2, 2)]]
    sent = [use for batch in batches for _, group in batch for use in group]
    assert sent == [use.arguments() for use in uses(8)]


def test_nothing_to_settle_sends_nothing() -> None:
    found = evidence()
    assert send(found, FACTS, ORIGIN, Plan({}, 1, {}), DESIGNER) == []
    assert found.endpoint.sent == []


def test_prints_that_the_chain_counts_are_those_of_one_gateway() -> None:
    facts = with_reservation(burned=3)
    assert settled_prints(facts, GATEWAY.address) == 3
    assert settled_prints(facts, DESIGNER.address) == 0
