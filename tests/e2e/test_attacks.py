"""What somebody tried to have called valid: each attempt is told for what it is, with its step."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evidence_copy import Kept, failures
from life import Life
from platemark.protocol import canonical, log_entry
from platemark.protocol.accounts import AccountKey
from platemark.protocol.checkpoint import Checkpoint, NoteSigner, sign_checkpoint
from platemark.protocol.cid import raw_cid
from platemark.protocol.digests import sha256
from platemark.protocol.jws import SigningKey
from platemark.protocol.passport import Anchor, LoggedEntry, Passport
from platemark.protocol.release import Release
from platemark.protocol.tiles import Edge, grow, tiles_between
from platemark.protocol.typed_data import ledger_domain
from platemark.protocol.units import Digest32, UnixSeconds, address_text, digest_text, parse_address
from platemark.sdk.agent_seed import read_or_make_seed
from platemark.sdk.chain import ChainClient
from platemark.sdk.ipfs import FolderSource
from platemark_gateway.vault.files import FileVault
from stack import PASSPHRASE, Chain, Ended, command

TEN_DAYS = 10 * 86_400


@pytest.fixture
def chain(life: Life, tmp_path: Path) -> Iterator[Chain]:
    """A copy of the chain, on which a test may act."""
    found = life.stack.running_chain.copy(tmp_path / "chain")
    yield found
    found.stop()


def passport_of(life: Life, serial: str) -> Passport:
    return Passport.parse(life.passports[serial].read_bytes())


def send(life: Life, chain: Chain, account: AccountKey, function: str, *arguments: Any) -> Digest32:
    """Send a transaction to the ledger and wait until it is final."""
    client = ChainClient(chain.url)
    try:
        chain_id, ledger = life.stack.ready["chainId"], parse_address(life.ledger)
        transaction = client.transact(account, "PrintLedger", ledger, function, *arguments, chain_id=chain_id)
        client.wait(transaction)
    finally:
        client.close()
    return transaction


def stranger(chain: Chain) -> AccountKey:
    found = AccountKey(secrets.token_bytes(32))
    chain.fund(address_text(found.address))
    return found


def gateway_account(life: Life) -> AccountKey:
    """Return the account of the gateway that is gone, from what was saved of it."""
    return FileVault.open(life.folder / "saved" / "vault", PASSPHRASE)._account


def rogue_gateway(life: Life, chain: Chain, folder: Path) -> tuple[Passport, Kept]:
    """Let a second gateway log and release print 4 of a token of the first, for an agent that colludes."""
    old = passport_of(life, life.unsettled.serial(0))
    chain_id, ledger = old.profile.chain_id, old.profile.ledger
    seed = read_or_make_seed(next((life.folder / "centre").rglob("seed.json")), PASSPHRASE)
    agent = seed.agent_key(chain_id, ledger, old.permission.salt)
    assert agent.address == old.permission.agent
    rogue, release_key, log_key = stranger(chain), SigningKey(secrets.token_bytes(32)), secrets.token_bytes(32)
    origin = f"{chain_id}/{address_text(ledger)}/{address_text(rogue.address)}/1"
    signer = NoteSigner.from_seed(origin, log_key)
    profile = replace(
        old.profile,
        gateway=rogue.address,
        release_key=release_key.public_bytes,
        log_key=signer.key.public_key,
        log_origin=origin,
    )
    send(life, chain, rogue, "declareGateway", profile.digest(), False)

    entry = replace(old.redeemed_entry(), sequence=4, print_id=secrets.token_bytes(16))
    entry = replace(entry, signature=agent.sign(entry.redemption().digest(ledger_domain(chain_id, ledger))))
    grown = grow(Edge.empty(), [entry.to_bytes()])
    listing = canonical.encode(
        {
            "version": 1,
            "origin": origin,
            "size": 1,
            "root": digest_text(grown.root),
            "tiles": [
                {"path": tile.path, "sha256": digest_text(sha256(grown.files[tile.path]))}
                for tile in tiles_between(0, 1)
            ],
        }
    )
    kept = Kept.of(life).copied(folder).at(chain.url)
    kept = replace(kept, log=folder / "rogue")
    checkpoint = sign_checkpoint(Checkpoint(origin, 1, grown.root), signer)
    for name, data in {**grown.files, "checkpoint": checkpoint}.items():
        written(kept.log / name, data)
    for data in (listing, profile.encode()):
        written(FolderSource(kept.blocks).path(raw_cid(data)), data)
    tiles_digest = raw_cid(listing).digest
    gateway = address_text(rogue.address)
    transaction = send(life, chain, rogue, "anchor", gateway, 1, 1, grown.root, tiles_digest)
    mined = chain.rpc("eth_getTransactionReceipt", "0x" + transaction.hex())
    anchor = Anchor(
        rogue.address,
        1,
        1,
        grown.root,
        tiles_digest,
        int(mined["blockNumber"], 16),
        Digest32(bytes.fromhex(mined["blockHash"][2:])),
        transaction,
    )
    release = Release(
        origin=origin,
        leaf_hash=log_entry.leaf_hash(entry),
        token_id=entry.token_id,
        sequence=4,
        print_id=entry.print_id,
        key_commitment=old.manifest.key_commitment,
        manifest_digest=old.manifest.digest(),
        merge_by=UnixSeconds(4_000_000_000),
        profile_digest=profile.digest(),
    )
    passport = replace(
        old,
        profile=profile,
        sequence=4,
        redeemed=LoggedEntry(entry.to_bytes(), 0, ()),
        outcome=None,
        receipt=None,
        detail=None,
        release=release.sign(release_key),
        anchor=anchor,
    )
    return passport, kept


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_print_that_only_another_gateway_logged_is_not_valid(life: Life, chain: Chain, tmp_path: Path) -> None:
    passport, kept = rogue_gateway(life, chain, tmp_path)
    path = written(tmp_path / "rogue.json", passport.encode())
    for ended in (kept.audit_passport(path), kept.audit_passport(path, "--offline")):
        assert (ended.exit_code, failures(ended)) == (3, [(10, "gateway-mismatch")])
    part = kept.audit_part(passport.serial)
    assert (part.exit_code, failures(part)) == (3, [(7, "gateway-mismatch")])
    assert part.value["facts"]["status"] == kept.audit_passport(path).value["facts"]["status"] == "unknown"
    assert failures(kept.audit_log()) == [(7, "entry-without-reservation")]


def without(life: Life, serial: str, folder: Path, *names: str) -> Path:
    """Return the file of a passport without some of its parts."""
    value = json.loads(life.passports[serial].read_bytes())
    for name in names:
        del value[name]
    return written(folder / "stripped.json", json.dumps(value).encode())


def told(ended: Ended) -> tuple[Any, Any]:
    return ended.value["facts"]["status"], ended.value["facts"]["outcome"]


def test_voided_part_is_not_valid_without_its_outcome(life: Life, tmp_path: Path) -> None:
    path = without(life, life.settled.serial(1), tmp_path, "outcome", "receipt")
    kept = Kept.of(life)
    ended = kept.audit_passport(path)
    assert (ended.exit_code, told(ended)) == (0, ("provisional", "not shown"))
    looked_up = kept.audit_passport(path, "--tiles", str(life.log))
    assert (looked_up.exit_code, told(looked_up)) == (0, ("voided", "failed"))
    offline = command("audit", "passport", str(path), "--offline", "--json")
    assert offline.value["facts"]["outcome"] == "not shown"
    assert any(item["detail"].startswith("outcome not shown") for item in offline.value["findings"])


def test_passports_are_found_in_the_log_with_their_tokens(life: Life) -> None:
    for serial, path in life.passports.items():
        ended = Kept.of(life).audit_passport(path, "--tiles", str(life.log), "--blocks", str(life.blocks))
        assert (ended.exit_code, failures(ended)) == (0, []), ended.stdout
        assert told(ended) == told(Kept.of(life).audit_part(serial))


def test_another_transaction_of_the_anchor_fails_step_12(life: Life, tmp_path: Path) -> None:
    value = json.loads(life.passports[life.settled.serial(0)].read_bytes())
    value["anchor"]["transaction"] = "0x" + "77" * 32
    path = written(tmp_path / "passport.json", json.dumps(value).encode())
    ended = Kept.of(life).audit_passport(path)
    assert (ended.exit_code, failures(ended)) == (3, [(12, "anchor-transaction")])
    offline = command("audit", "passport", str(path), "--offline", "--json")
    unchecked = [item["detail"] for item in offline.value["findings"] if item["verdict"] == "not checked"]
    assert any("transaction" in detail for detail in unchecked)


def test_reclaimed_prints_are_named_and_not_called_settled(life: Life, chain: Chain) -> None:
    chain.travel_to(life.unsettled.expires_at + TEN_DAYS + 60)
    permission = passport_of(life, life.unsettled.serial(0)).permission
    send(life, chain, stranger(chain), "reclaim", permission.arguments())
    kept = Kept.of(life).at(chain.url)
    lost = {life.unsettled.token_id: 2}
    ended = kept.audit_log()
    assert (ended.exit_code, ended.value["facts"]["returnedUnsettled"]) == (0, lost)
    line = f"token {life.unsettled.token_id}: 2 printed, returned to the holder unsettled"
    assert line in [item["detail"] for item in ended.value["findings"]]
    assert kept.audit_part(life.unsettled.serial(0)).value["facts"]["returnedUnsettled"] == lost
    settle = ("audit", "settle", "--tiles", str(life.log), "--dry-run", "--rpc", chain.url)
    planned = command(*settle, "--json").value
    assert (planned["toSettle"], planned["settledAlready"], planned["returnedUnsettled"]) == (0, 1, lost)
    assert line in command(*settle).stdout


HUGE = b"9" * 5000


@pytest.mark.parametrize("which", ["chain id", "epoch"])
def test_checkpoint_with_a_huge_number_fails_step_12(life: Life, tmp_path: Path, which: str) -> None:
    kept = Kept.of(life).copied(tmp_path)
    note = (kept.log / "checkpoint").read_bytes()
    at = note.index(b"/") if which == "chain id" else note.index(b"\n")
    (kept.log / "checkpoint").write_bytes((b"" if which == "chain id" else note[:at]) + HUGE + note[at:])
    for ended in (
        kept.audit_log(),
        kept.audit_part(life.settled.serial(0)),
        command("audit", "settle", "--tiles", str(kept.log), "--rpc", life.rpc, "--json"),
    ):
        assert (ended.exit_code, ended.error_code) == (3, "checkpoint")
        assert "12 anchor" in ended.stdout + ended.stderr


def test_checkpoint_is_not_taken_on_an_older_profile_when_the_newest_is_withheld(
    life: Life, chain: Chain, tmp_path: Path
) -> None:
    old = passport_of(life, life.settled.serial(0)).profile
    new = replace(old, url="https://moved.example", release_key=SigningKey(secrets.token_bytes(32)).public_bytes)
    account = gateway_account(life)
    send(life, chain, account, "declareGateway", new.digest(), False)
    kept = Kept.of(life).copied(tmp_path / "kept").at(chain.url)
    assert failures(kept.audit_log()) == [(10, "profile-withheld")]
    assert failures(kept.audit_part(life.settled.serial(0))) == [(10, "profile-withheld")]
    written(FolderSource(kept.blocks).path(new.cid()), new.encode())
    assert failures(kept.audit_log()) == []
    passport = life.passports[life.settled.serial(0)]
    assert failures(kept.audit_passport(passport)) == []  # it was anchored before
    provisional = without(life, life.settled.serial(0), tmp_path, "anchor")
    assert failures(kept.audit_passport(provisional)) == [(10, "profile-replaced")]
