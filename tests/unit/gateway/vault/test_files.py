import base64
import json
import pickle
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from platemark.errors import LocalError, PlatemarkError
from platemark.protocol.accounts import recover
from platemark.protocol.jws import key_id, verify_bytes
from platemark.protocol.sealing import seal
from platemark.protocol.units import Address, Digest32
from platemark_gateway.errors import VaultError
from platemark_gateway.ports import KeyKind, KeyVault
from platemark_gateway.vault import document
from platemark_gateway.vault.document import FILE_NAME, KEY_NAMES
from platemark_gateway.vault.files import FileVault
from simulators.disasters import killed_at

PASSPHRASE = "a passphrase for tests"
CHEAP = 1 << 10


@pytest.fixture
def vault(tmp_path: Path) -> FileVault:
    return FileVault.create(tmp_path / "vault", PASSPHRASE, scrypt_n=CHEAP)


def code_of(error: PlatemarkError) -> str:
    return error.code


def test_a_vault_opens_as_it_was_made(vault: FileVault, tmp_path: Path) -> None:
    again = FileVault.open(tmp_path / "vault", PASSPHRASE)
    assert again.account == vault.account
    for kind in KeyKind:
        assert again.public_keys(kind) == vault.public_keys(kind)
    assert again.unwrap(vault.wrap(b"content", b"row 1"), b"row 1") == b"content"
    assert again.mac("credential", b"x") == vault.mac("credential", b"x")


def test_the_files_are_the_owners_alone(vault: FileVault, tmp_path: Path) -> None:
    del vault
    folder = tmp_path / "vault"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


def test_the_file_shows_no_secret(tmp_path: Path) -> None:
    drawn: list[bytes] = []

    def draw(count: int) -> bytes:
        drawn.append(bytes([len(drawn) + 1]) * count)
        return drawn[-1]

    FileVault.create(tmp_path, PASSPHRASE, random_bytes=draw, scrypt_n=CHEAP)
    data = (tmp_path / FILE_NAME).read_bytes()
    for secret in drawn[: len(KEY_NAMES)]:
        assert secret not in data
        assert secret.hex().encode() not in data
        assert base64.b64encode(secret) not in data


@pytest.mark.parametrize("passphrase", ["another passphrase", PASSPHRASE + " ", "", "A passphrase for tests"])
def test_another_passphrase_opens_nothing(vault: FileVault, tmp_path: Path, passphrase: str) -> None:
    del vault
    with pytest.raises(VaultError) as caught:
        FileVault.open(tmp_path / "vault", passphrase)
    assert caught.value.code == "vault-passphrase"


def test_a_short_passphrase_makes_no_vault(tmp_path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        FileVault.create(tmp_path, "short", scrypt_n=CHEAP)
    assert caught.value.code == "vault-passphrase"
    assert not FileVault.exists(tmp_path)


def test_a_vault_is_never_overwritten(vault: FileVault, tmp_path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        FileVault.create(tmp_path / "vault", PASSPHRASE, scrypt_n=CHEAP)
    assert caught.value.code == "vault-exists"
    assert FileVault.open(tmp_path / "vault", PASSPHRASE).account == vault.account


def test_two_that_make_a_vault_at_once_do_not_overwrite_each_other(
    vault: FileVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileVault, "exists", classmethod(lambda _cls, _folder: False))
    with pytest.raises(LocalError) as caught:
        FileVault.create(tmp_path / "vault", PASSPHRASE, scrypt_n=CHEAP)
    assert caught.value.code == "vault-exists"
    assert FileVault.open(tmp_path / "vault", PASSPHRASE).account == vault.account
    assert len(list((tmp_path / "vault").iterdir())) == 1


def test_a_vault_that_others_can_read_is_not_opened(vault: FileVault, tmp_path: Path) -> None:
    del vault
    (tmp_path / "vault" / FILE_NAME).chmod(0o640)
    with pytest.raises(LocalError) as caught:
        FileVault.open(tmp_path / "vault", PASSPHRASE)
    assert caught.value.code == "vault-permissions"


def test_a_missing_vault_is_not_made_by_opening(tmp_path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        FileVault.open(tmp_path, PASSPHRASE)
    assert caught.value.code == "vault-missing"
    assert list(tmp_path.iterdir()) == []


def test_exchanged_entries_do_not_open(vault: FileVault, tmp_path: Path) -> None:
    del vault
    path = tmp_path / "vault" / FILE_NAME
    document = json.loads(path.read_bytes())
    keys = document["keys"]
    keys["release"], keys["log"] = keys["log"], keys["release"]
    path.write_text(json.dumps(document))
    with pytest.raises(VaultError) as caught:
        FileVault.open(tmp_path / "vault", PASSPHRASE)
    assert caught.value.code == "vault-passphrase"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("keys"),
        lambda d: d["keys"].pop("log"),
        lambda d: d["keys"].update(extra="AAAA"),
        lambda d: d.update(version=2),
        lambda d: d["scrypt"].update(n=1 << 30),
        lambda d: d["scrypt"].update(n=3),
        lambda d: d["scrypt"].update(r=1 << 20),
        lambda d: d["scrypt"].update(salt="?"),
        lambda d: d["scrypt"].update(n="many"),
    ],
)
def test_a_damaged_file_is_refused_before_any_work(
    vault: FileVault, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    del vault
    path = tmp_path / "vault" / FILE_NAME
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(VaultError) as caught:
        FileVault.open(tmp_path / "vault", PASSPHRASE)
    assert caught.value.code == "vault-damaged"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'"' + b"x" * 70_000 + b'"'])
def test_a_file_that_is_no_vault_is_refused(vault: FileVault, tmp_path: Path, data: bytes) -> None:
    del vault
    (tmp_path / "vault" / FILE_NAME).write_bytes(data)
    with pytest.raises(VaultError) as caught:
        FileVault.open(tmp_path / "vault", PASSPHRASE)
    assert caught.value.code == "vault-damaged"


def test_keys_sign_and_open_and_differ(vault: FileVault) -> None:
    digest = Digest32(b"\x05" * 32)
    assert recover(digest, vault.sign_digest(digest)) == vault.account
    (log,), (release,), (deposit,) = (
        vault.public_keys(kind) for kind in (KeyKind.LOG, KeyKind.RELEASE, KeyKind.DEPOSIT)
    )
    verify_bytes(log, b"note", vault.sign_log(log, b"note"))
    verify_bytes(release, b"release", vault.release_signer(key_id(release)).sign(b"release"))
    assert log != release
    assert vault.open_deposit(b"info", seal(deposit, b"info", b"key")) == b"key"


def test_what_was_wrapped_opens_only_where_it_stands(vault: FileVault) -> None:
    wrapped = vault.wrap(b"\x01" * 96, b"row 1")
    assert len(wrapped) == 125
    assert vault.wrap(b"\x01" * 96, b"row 1") != wrapped
    flipped = bytearray(wrapped)
    flipped[60] ^= 1
    for other, aad in ((wrapped, b"row 2"), (bytes(flipped), b"row 1"), (wrapped[:-1], b"row 1"), (b"", b"row 1")):
        with pytest.raises(VaultError) as caught:
            vault.unwrap(other, aad)
        assert caught.value.code == "vault-unwrap"


def test_another_vault_opens_nothing(vault: FileVault, tmp_path: Path) -> None:
    other = FileVault.create(tmp_path / "other", PASSPHRASE, scrypt_n=CHEAP)
    with pytest.raises(VaultError):
        other.unwrap(vault.wrap(b"x", b""), b"")
    assert other.mac("credential", b"x") != vault.mac("credential", b"x")
    assert vault.mac("idempotency", b"x") != vault.mac("credential", b"x")


# --- several keys of a kind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_key_that_is_added_stands_beside_the_old_one(vault: FileVault, tmp_path: Path, kind: KeyKind) -> None:
    (old,) = vault.public_keys(kind)
    elsewhere = FileVault.open(tmp_path / "vault", PASSPHRASE)
    new = elsewhere.add_key(kind)
    assert elsewhere.public_keys(kind) == (old, new)
    assert vault.public_keys(kind) == (old,)
    assert vault.holds(kind, new), "another process's key is found when it is asked for"
    assert not vault.holds(kind, b"\x01" * 32)
    assert FileVault.open(tmp_path / "vault", PASSPHRASE).public_keys(kind) == (old, new)
    assert elsewhere.account == vault.account
    assert elsewhere.unwrap(vault.wrap(b"x", b""), b"") == b"x"
    assert (tmp_path / "vault" / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_accounts_that_send_stand_beside_the_gateways_own(vault: FileVault, tmp_path: Path) -> None:
    elsewhere = FileVault.open(tmp_path / "vault", PASSPHRASE)
    first, second = elsewhere.add_sender(), elsewhere.add_sender()
    digest = Digest32(b"\x07" * 32)
    assert elsewhere.senders == (vault.account, first, second)
    assert FileVault.open(tmp_path / "vault", PASSPHRASE).senders == elsewhere.senders
    assert vault.holds_sender(second), "another process's account is found when it is asked for"
    assert not vault.holds_sender(Address(b"\x01" * 20))
    assert recover(digest, elsewhere.sign_as(first, digest)) == first
    assert recover(digest, vault.sign_as(vault.account, digest)) == vault.account
    with pytest.raises(VaultError) as caught:
        vault.sign_as(Address(b"\x01" * 20), digest)
    assert caught.value.code == "vault-key-missing"


def test_old_and_new_keys_sign_and_open(vault: FileVault, tmp_path: Path) -> None:
    elsewhere = FileVault.open(tmp_path / "vault", PASSPHRASE)
    for kind in KeyKind:
        elsewhere.add_key(kind)
    for release in elsewhere.public_keys(KeyKind.RELEASE):
        verify_bytes(release, b"release", vault.release_signer(key_id(release)).sign(b"release"))
    for log in elsewhere.public_keys(KeyKind.LOG):
        verify_bytes(log, b"note", vault.sign_log(log, b"note"))
    for deposit in elsewhere.public_keys(KeyKind.DEPOSIT):
        assert vault.open_deposit(b"info", seal(deposit, b"info", b"key")) == b"key"
    foreign = FileVault.create(tmp_path / "foreign", PASSPHRASE, scrypt_n=CHEAP).public_keys(KeyKind.DEPOSIT)[0]
    with pytest.raises(PlatemarkError) as caught:
        vault.open_deposit(b"info", seal(foreign, b"info", b"key"))
    assert caught.value.code == "sealed-key"


def test_a_key_that_the_vault_lacks_signs_nothing(vault: FileVault) -> None:
    for use in (lambda: vault.release_signer("unknown"), lambda: vault.sign_log(b"\x01" * 32, b"note")):
        with pytest.raises(VaultError) as caught:
            use()
        assert caught.value.code == "vault-key-missing"


def test_a_vault_that_lost_a_key_between_others_is_damaged(vault: FileVault, tmp_path: Path) -> None:
    vault.add_key(KeyKind.RELEASE)
    vault.add_key(KeyKind.RELEASE)
    path = tmp_path / "vault" / FILE_NAME
    document = json.loads(path.read_bytes())
    del document["keys"]["release.2"]
    path.write_text(json.dumps(document))
    with pytest.raises(VaultError) as caught:
        FileVault.open(tmp_path / "vault", PASSPHRASE)
    assert caught.value.code == "vault-damaged"


def test_a_kill_at_any_point_of_adding_a_key_leaves_a_vault_that_opens(vault: FileVault, tmp_path: Path) -> None:
    seen, number, died = set(), 0, True
    while died:
        number += 1
        before = len(vault.public_keys(KeyKind.LOG))
        died = killed_at(number, tmp_path, partial(vault.add_key, KeyKind.LOG))
        vault = FileVault.open(tmp_path / "vault", PASSPHRASE)
        seen.add(len(vault.public_keys(KeyKind.LOG)) - before)
    assert seen == {0, 1}


def test_a_vault_around_a_kept_account_has_that_account_and_new_keys(vault: FileVault, tmp_path: Path) -> None:
    kept = FileVault.create(tmp_path / "new", PASSPHRASE, account=vault.export_account(), scrypt_n=CHEAP)
    assert kept.account == vault.account
    for kind in KeyKind:
        assert kept.public_keys(kind) != vault.public_keys(kind)


# --- what is shown ------------------------------------------------------------------------------------------------


def test_the_port_gives_no_private_key_away(vault: FileVault) -> None:
    names = {name for name in vars(KeyVault) if not name.startswith("_")}
    secrets = [vault.export_account(), vault.export_log_key(vault.public_keys(KeyKind.LOG)[0])]
    assert names == {
        "account",
        "holds",
        "holds_sender",
        "mac",
        "open_deposit",
        "public_keys",
        "release_signer",
        "sign_as",
        "sign_digest",
        "sign_log",
        "unwrap",
        "wrap",
    }
    signer = vault.release_signer(key_id(vault.public_keys(KeyKind.RELEASE)[0]))
    assert {name for name in dir(signer) if not name.startswith("_")} == {"key_id", "sign"}
    for shown in (repr(vault), str(vault), repr(signer), f"{vault!r} {signer}"):
        for secret in secrets:
            assert secret.hex() not in shown
            assert repr(secret) not in shown
    for kept in (vault, signer):
        with pytest.raises(TypeError):
            pickle.dumps(kept)


def test_a_traceback_out_of_the_vault_shows_no_secret(tmp_path: Path) -> None:
    FileVault.create(tmp_path / "vault", PASSPHRASE, scrypt_n=CHEAP)
    wrong = PASSPHRASE[::-1]
    with pytest.raises(VaultError) as caught:
        FileVault.open(tmp_path / "vault", wrong)
    told = "".join(traceback.format_exception(caught.value))
    assert "open" in told
    assert wrong not in told


def test_a_passphrase_that_is_stretched_ahead_opens_the_vault_once_and_another_does_not(
    vault: FileVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretched: list[str] = []
    stretch = document._stretched

    def counting(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
        stretched.append(passphrase)
        return stretch(passphrase, salt, n, r, p)

    monkeypatch.setattr(document, "_stretched", counting)
    document.stretch_ahead(tmp_path / "vault", PASSPHRASE)
    assert FileVault.open(tmp_path / "vault", PASSPHRASE).account == vault.account
    assert stretched == [PASSPHRASE]
    document.stretch_ahead(tmp_path / "vault", "another passphrase")
    assert FileVault.open(tmp_path / "vault", PASSPHRASE).account == vault.account
    with pytest.raises(VaultError, match="does not open"):
        FileVault.open(tmp_path / "vault", "another passphrase")
    assert stretched == [PASSPHRASE, "another passphrase", PASSPHRASE]


def test_nothing_is_stretched_ahead_for_a_vault_that_is_missing_or_damaged(vault: FileVault, tmp_path: Path) -> None:
    document.stretch_ahead(tmp_path / "nothing", PASSPHRASE)
    (tmp_path / "vault" / FILE_NAME).write_text("{}")
    document.stretch_ahead(tmp_path / "vault", PASSPHRASE)
    with pytest.raises(VaultError, match="damaged"):
        FileVault.open(tmp_path / "vault", PASSPHRASE)
