"""Each numbered step of docs/verification.md: with its evidence altered, the report fails in exactly that step."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from evidence_copy import Kept, checked_steps, failures, flip
from life import Life
from lying_rpc import Lie as RpcLie
from lying_rpc import after, answer, block_field, call_word, event_word, hidden, lying_rpc, other_code
from platemark.protocol import log_entry
from platemark.protocol.accounts import AccountKey
from platemark.protocol.jws import SigningKey
from platemark.protocol.log_entry import RedeemedEntry
from platemark.protocol.passport import Passport
from platemark.protocol.release import Release
from platemark.protocol.typed_data import Domain, Recall
from platemark.protocol.units import DesignId, Digest32, UnixSeconds, address_text, parse_address, parse_id
from platemark.sdk.chain import ChainClient
from platemark.sdk.keystore import KeyStore
from stack import PASSPHRASE, Chain, Ended

T = TypeVar("T")

ON_CHAIN: Mapping[str, tuple[tuple[RpcLie, ...], int, str]] = {
    "0 an event of a registration is hidden": (
        (hidden("DesignRegistry", "DesignRegistered"),),
        0,
        "endpoint-contradicts",
    ),
    "0 a recall is invented in storage": (
        (call_word("DesignRegistry", "isPrintable", 0, 0),),
        0,
        "endpoint-contradicts",
    ),
    "0 an anchor is hidden": ((hidden("PrintLedger", "Anchored"),), 0, "endpoint-contradicts"),
    "0 a declaration is hidden": ((hidden("PrintLedger", "GatewayDeclared"),), 0, "endpoint-contradicts"),
    "0 a reservation has more spares": ((event_word("PrintLedger", "Reserved", 4, 9),), 0, "endpoint-contradicts"),
    "0 another chain": ((answer("eth_chainId", "0x1"),), 0, "wrong-chain"),
    "3 another share": ((event_word("DesignRegistry", "DesignRegistered", 4, 7),), 3, "design-digest"),
    "3 another salt": ((event_word("DesignRegistry", "ContentRevealed", 0, 7),), 3, "commitment"),
    "5 another cap": ((event_word("PrintLicense", "LicenseOffered", 7, 21),), 5, "license-digest"),
    "5 another key accepted": ((event_word("PrintLicense", "LicenseOffered", 1, 7),), 5, "key-commitment"),
    "6 a sale is hidden": ((hidden("PrintLicense", "PrintsSold"),), 6, "credited-mismatch"),
    "6 the making of prints is hidden": ((hidden("PrintLicense", "TransferSingle", at=0),), 6, "minted-mismatch"),
    "7 the permission is altered": ((event_word("PrintLedger", "Reserved", 7, 7),), 7, "permission-digest"),
    "7 another agent in storage": ((call_word("PrintLedger", "reservationOf", 0, 7),), 7, "agent-mismatch"),
    "7 a reservation is hidden": ((hidden("PrintLedger", "Reserved"),), 7, "entry-without-reservation"),
    "12 another root in storage": ((call_word("PrintLedger", "anchorAt", 0, 7),), 12, "anchor-storage"),
    "13 more burned than logged": ((call_word("PrintLedger", "reservationOf", 3, 9),), 13, "burned-above-log"),
    "13 more given back than failed": (
        (call_word("PrintLedger", "reservationOf", 4, 2),),
        13,
        "voided-without-outcome",
    ),
}


CONTRADICTS_THE_ESCROW = {"7 a reservation is hidden", "13 more burned than logged"}
"""Lies that the ledger's balance of units finds too."""


def fails_only(ended: Ended, step: int, code: str, *, escrow: bool = False) -> None:
    assert ended.exit_code == 3
    expected = [(6, "escrow-mismatch")] * escrow + [(step, code)]
    assert failures(ended) == expected, json.dumps(ended.value, indent=1)


@pytest.mark.parametrize("name", ON_CHAIN)
def test_lie_of_the_endpoint_fails_its_step(life: Life, name: str) -> None:
    lies, step, code = ON_CHAIN[name]
    with lying_rpc(life.rpc, *lies) as rpc:
        fails_only(Kept.of(life).at(rpc).audit_log(), step, code, escrow=name in CONTRADICTS_THE_ESCROW)


@pytest.mark.parametrize("name", ["3 another salt", "6 a sale is hidden", "13 more burned than logged"])
def test_lie_of_one_endpoint_is_found_by_a_second(life: Life, name: str) -> None:
    lies, *_ = ON_CHAIN[name]
    with lying_rpc(life.rpc, *lies) as rpc:
        ended = Kept.of(life).audit_log("--also-rpc", rpc)
    assert ended.exit_code == 3
    assert failures(ended) == [(0, "endpoints-disagree")]


def test_second_endpoint_with_another_final_block_or_other_contracts_is_named(life: Life) -> None:
    lies = (block_field("hash", "0x" + "77" * 32), other_code(life.ledger))
    for lie, code in zip(lies, ("endpoints-disagree", "contract-code"), strict=True):
        with lying_rpc(life.rpc, lie) as rpc:
            fails_only(Kept.of(life).audit_log("--also-rpc", rpc), 0, code)


@pytest.mark.parametrize("contract", ["ledger", "license", "registry"])
def test_step_0_fails_for_other_code(life: Life, contract: str) -> None:
    with lying_rpc(life.rpc, other_code(life.stack.ready[contract])) as rpc:
        kept = Kept.of(life).at(rpc)
        for ended in (
            kept.audit_log(),
            kept.audit_part(life.settled.serial(0)),
            kept.audit_passport(life.passports[life.settled.serial(0)]),
            kept.audit_file(life.design_file),
            kept.audit_design(),
        ):
            fails_only(ended, 0, "contract-code")


def test_step_1_fails_for_a_file_that_was_saved_again(life: Life, tmp_path: Path) -> None:
    saved = tmp_path / "again.stl"
    shutil.copy(life.design_file, saved)
    flip(saved)
    fails_only(Kept.of(life).audit_file(saved), 1, "file-unknown")


def test_step_2_fails_for_an_altered_manifest(life: Life, tmp_path: Path) -> None:
    kept = Kept.of(life).copied(tmp_path)
    passport = passport_of(life)
    flip(kept.block(passport.registration.manifest_digest))
    for ended in (kept.audit_log(), kept.audit_design()):
        fails_only(ended, 2, "block-mismatch")


def test_missing_manifest_is_told_and_no_discrepancy(life: Life, tmp_path: Path) -> None:
    kept = Kept.of(life).copied(tmp_path)
    kept.block(passport_of(life).registration.manifest_digest).unlink()
    ended = kept.audit_log()
    assert ended.exit_code == 0
    assert 2 not in checked_steps(ended)


@pytest.fixture(scope="module")
def recalled(life: Life, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A copy of the chain on which the designer has recalled the revision."""
    chain = life.stack.chain
    assert chain is not None
    copy = chain.copy(tmp_path_factory.mktemp("recalled") / "chain")
    client = ChainClient(copy.url)
    try:
        recall(client, copy, life)
        yield copy.url
    finally:
        client.close()
        copy.stop()


def recall(client: ChainClient, copy: Chain, life: Life) -> None:
    keys = KeyStore(life.folder / "designer" / "keys")
    account = keys.unlock("designer", PASSPHRASE)
    copy.fund(address_text(account.address))
    reason = passport_of(life).terms.terms_digest
    order = Recall(DesignId(parse_id(life.design_id)), 1, reason, UnixSeconds(copy.timestamp() + 86_400))
    registry = parse_address(life.stack.ready["registry"])
    fields = (order.design_id, order.revision, order.reason_digest, order.deadline)
    client.wait(
        client.transact(account, "DesignRegistry", registry, "recall", fields, chain_id=life.stack.ready["chainId"])
    )


def test_step_4_fails_for_parts_of_a_recalled_revision(life: Life, recalled: str) -> None:
    kept = Kept.of(life).at(recalled)
    part = kept.audit_part(life.settled.serial(0))
    passport = kept.audit_passport(life.passports[life.settled.serial(0)])
    for ended in (part, passport):
        fails_only(ended, 4, "revision-recalled")
        assert ended.value["facts"]["status"] == "recalled"


def test_recall_is_told_of_design_and_file_and_the_log_still_holds(life: Life, recalled: str) -> None:
    kept = Kept.of(life).at(recalled)
    for ended in (kept.audit_log(), kept.audit_design(), kept.audit_file(life.design_file)):
        assert ended.exit_code == 0
        told = [item["detail"] for item in ended.value["findings"] if item["step"] == 4]
        assert "recalled in block" in told[0]


def test_step_5_fails_for_altered_terms(life: Life, tmp_path: Path) -> None:
    kept = Kept.of(life).copied(tmp_path)
    flip(kept.block(passport_of(life).terms.terms_digest))
    fails_only(kept.audit_log(), 5, "block-mismatch")


def test_step_8_fails_for_a_request_that_no_agent_signed(life: Life, tmp_path: Path) -> None:
    def invent(entries: Sequence[bytes], domain: Domain) -> list[bytes]:
        last = [found for found in map(log_entry.decode, entries) if isinstance(found, RedeemedEntry)][-1]
        invented = replace(last, sequence=last.sequence + 1, print_id=bytes(16))
        signature = AccountKey(b"\x01" * 32).sign(invented.redemption().digest(domain))
        return [*entries, replace(invented, signature=signature).to_bytes()]

    fails_only(Kept.of(life).with_lie(tmp_path, invent).audit_log(), 8, "signature-invalid")


def test_step_8_fails_for_a_block_that_nobody_can_have_seen(life: Life) -> None:
    serial = life.settled.serial(0)
    seen = hex(passport_of(life).redeemed_entry().seen_block)
    kept = Kept.of(life)
    honest = kept.audit_part(serial).value["facts"]
    assert hex(honest["madeAfterBlock"]) == seen
    lie = block_field("hash", "0x" + "77" * 32, number=seen)  # the last thing that is collected is a gateway
    with lying_rpc(life.rpc, after("PrintLedger", "gateways", lie)) as rpc:
        fails_only(kept.at(rpc).audit_part(serial), 8, "seen-block")


def forged_profile(found: Passport) -> Passport:
    """Return the passport under keys of somebody who only says to be the gateway."""
    forger = SigningKey(b"\x01" * 32)
    profile = replace(found.profile, release_key=forger.public_bytes)
    release = replace(_release(found), profile_digest=profile.digest())
    return replace(found, profile=profile, release=release.sign(forger), receipt=None)


PASSPORTS: Mapping[str, tuple[Callable[[Passport], Passport], int, str]] = {
    "7 a permission that somebody else signed": (
        lambda found: replace(found, permission_signature=AccountKey(b"\x01" * 32).sign(Digest32(bytes(32)))),
        7,
        "not-holder",
    ),
    "9 another receipt's salt": (
        lambda found: replace(found, receipt=replace(_there(found.receipt), salt=bytes(32))),
        9,
        "receipt-mismatch",
    ),
    "9 a receipt that only the agent signed": (
        lambda found: replace(
            found,
            receipt=replace(
                _there(found.receipt),
                envelope=replace(_there(found.receipt).envelope, gateway_signature=bytes(64)),
            ),
        ),
        9,
        "signature-invalid",
    ),
    "10 a release by another key": (
        lambda found: replace(found, release=_release(found).sign(SigningKey(b"\x01" * 32))),
        10,
        "signature-invalid",
    ),
    "10 a forged profile": (forged_profile, 10, "profile-undeclared"),
    "11 another index": (
        lambda found: replace(found, redeemed=replace(found.redeemed, index=found.redeemed.index + 1)),
        11,
        "merkle-proof",
    ),
    "11 another proof": (
        lambda found: replace(found, redeemed=replace(found.redeemed, proof=found.redeemed.proof[:-1])),
        11,
        "merkle-proof",
    ),
    "12 another block of the anchor": (
        lambda found: replace(found, anchor=replace(_there(found.anchor), block_number=1)),
        12,
        "anchor-block",
    ),
}


@pytest.mark.parametrize("name", PASSPORTS)
def test_altered_passport_fails_its_step(life: Life, tmp_path: Path, name: str) -> None:
    change, step, code = PASSPORTS[name]
    path = tmp_path / "passport.json"
    path.write_bytes(change(passport_of(life)).encode())
    fails_only(Kept.of(life).audit_passport(path), step, code)


def test_step_10_fails_without_the_declared_profile(life: Life, tmp_path: Path) -> None:
    kept = Kept.of(life).copied(tmp_path)
    block = kept.block(passport_of(life).profile.digest())
    flip(block)
    fails_only(kept.audit_log(), 10, "block-mismatch")
    block.unlink()
    fails_only(kept.audit_log(), 10, "profile-withheld")
    fails_only(kept.audit_part(life.settled.serial(0)), 10, "profile-withheld")


def test_step_11_fails_for_an_altered_tile(life: Life, tmp_path: Path) -> None:
    kept = Kept.of(life).copied(tmp_path)
    flip(newest(kept.log / "tile" / "0"))
    fails_only(kept.audit_log(), 11, "log-root")
    fails_only(kept.audit_part(life.settled.serial(0)), 11, "log-root")


def test_step_12_fails_for_a_tile_of_an_old_anchor_that_is_withheld(life: Life, tmp_path: Path) -> None:
    kept = Kept.of(life).copied(tmp_path)
    anchored = [
        int(found["detail"].split()[2])
        for found in kept.audit_log().value["findings"]
        if found["detail"].startswith("root of ")
    ]
    (kept.log / "tile" / "0" / "000.p" / str(min(anchored))).unlink()
    fails_only(kept.audit_log(), 12, "tile-withheld")


def test_step_12_fails_for_a_checkpoint_that_somebody_else_signed(life: Life, tmp_path: Path) -> None:
    kept = Kept.of(life).copied(tmp_path)
    checkpoint = kept.log / "checkpoint"
    data = checkpoint.read_bytes()
    other = b"B" if data[-6:-5] == b"A" else b"A"  # still base64, of another signature
    checkpoint.write_bytes(data[:-6] + other + data[-5:])
    fails_only(kept.audit_log(), 12, "note-signature")


def test_the_whole_list_of_steps_is_covered() -> None:
    named = {int(name.split()[0]) for name in (*ON_CHAIN, *PASSPORTS)}
    assert named | {1, 2, 4, 8} == set(range(14))


def passport_of(life: Life) -> Passport:
    return Passport.parse(life.passports[life.settled.serial(0)].read_bytes())


def newest(level: Path) -> Path:
    return max((level / "000.p").iterdir(), key=lambda path: int(path.name))


def _release(found: Passport) -> Release:
    return Release.verify(found.release, found.profile.release_key)


def _there(value: T | None) -> T:
    assert value is not None
    return value
