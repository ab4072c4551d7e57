import json
import subprocess
import sys
from pathlib import Path

import pytest

from platemark.errors import LocalError, MalformedError, UsageError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import address_text
from platemark.sdk.keystore import KeyStore, address_of, decrypt, encrypt

ROUNDS = 1 << 12
SECRET = bytes.fromhex("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d")
ADDRESS = "008aeeda4d805471df9b2a5b0f38a0c3bcba786b"

# The test vectors of the Web3 Secret Storage Definition; the passphrase is "testpassword".
OFFICIAL = {
    "scrypt": {
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
            "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32,
                "n": 262144,
                "r": 1,
                "p": 8,
                "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
            },
            "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3,
        "address": ADDRESS,
    },
    "pbkdf2": {
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
            "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
            "kdf": "pbkdf2",
            "kdfparams": {
                "c": 262144,
                "dklen": 32,
                "prf": "hmac-sha256",
                "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
            },
            "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3,
        "address": ADDRESS,
    },
}


def _store(folder: Path) -> KeyStore:
    return KeyStore(folder / "keys", rounds=ROUNDS)


def test_the_definitions_own_vector_opens() -> None:
    key = decrypt(json.dumps(OFFICIAL["pbkdf2"]).encode(), "testpassword")
    assert key.secret() == SECRET
    assert key.address.hex() == ADDRESS


def test_the_definitions_scrypt_vector_is_refused_since_rfc_7914_forbids_its_rounds() -> None:
    with pytest.raises(MalformedError, match="scrypt parameters"):
        decrypt(json.dumps(OFFICIAL["scrypt"]).encode(), "testpassword")


def test_our_files_open_with_eth_keyfile() -> None:
    from eth_keyfile.keyfile import decode_keyfile_json

    data = encrypt(AccountKey(SECRET), "pass phrase ü", rounds=ROUNDS)
    assert decode_keyfile_json(json.loads(data), "pass phrase ü".encode()) == SECRET


def test_files_of_eth_keyfile_open() -> None:
    from eth_keyfile.keyfile import create_keyfile_json

    made = create_keyfile_json(SECRET, b"pw", kdf="scrypt", iterations=ROUNDS)
    assert decrypt(json.dumps(made).encode(), "pw").secret() == SECRET


def test_a_new_key_is_kept_encrypted_and_comes_back(tmp_path: Path) -> None:
    store = _store(tmp_path)
    made = store.create("main", "passphrase")
    assert store.unlock("main", "passphrase").secret() == made.secret()
    assert made.secret().hex() not in (tmp_path / "keys" / "main.json").read_text()
    assert [entry.name for entry in store.entries()] == ["main"]


def test_a_wrong_passphrase_is_told(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.create("main", "passphrase")
    with pytest.raises(LocalError) as caught:
        store.unlock("main", "Passphrase")
    assert caught.value.code == "passphrase-wrong"


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    store = _store(tmp_path)
    first = store.create("main", "passphrase")
    with pytest.raises(UsageError):
        store.create("main", "passphrase")
    assert store.unlock("main", "passphrase").secret() == first.secret()


@pytest.mark.parametrize("name", ["", "../up", "Main", "a/b", ".hidden", "x" * 65])
def test_a_name_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        _store(tmp_path).create(name, "passphrase")
    assert caught.value.code == "key-name"
    assert not (tmp_path / "keys").exists()


def test_an_empty_passphrase_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        _store(tmp_path).create("main", "")
    assert caught.value.code == "passphrase-empty"
    assert not list((tmp_path / "keys").iterdir())


def test_the_key_is_chosen_by_name_address_or_because_it_is_the_only_one(tmp_path: Path) -> None:
    store = _store(tmp_path)
    with pytest.raises(UsageError) as caught:
        store.entry(None)
    assert caught.value.hint == "make one: platemark keys new"
    one = store.create("one", "passphrase")
    assert store.entry(None).name == "one"
    assert store.entry(address_text(one.address)).name == "one"
    store.create("two", "passphrase")
    with pytest.raises(UsageError) as caught:
        store.entry(None)
    assert caught.value.hint == "choose: --key one | two"
    store.create("main", "passphrase")
    assert store.entry(None).name == "main"


def test_other_files_in_the_folder_are_left_out(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.create("main", "passphrase")
    (tmp_path / "keys" / "notes.json").write_text("{}")
    (tmp_path / "keys" / "UPPER.json").write_text("{}")
    assert [entry.name for entry in store.entries()] == ["main"]


def _changed(**changes: object) -> bytes:
    crypto = dict(OFFICIAL["pbkdf2"]["crypto"])  # type: ignore[call-overload]
    document = {**OFFICIAL["pbkdf2"], "crypto": crypto}
    for path, value in changes.items():
        place = document if path in document else crypto
        if path in {"n", "r", "p", "c", "dklen", "salt", "prf"}:
            crypto["kdfparams"] = {**crypto["kdfparams"], path: value}
        else:
            place[path] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version":3}',
        _changed(version=4),
        _changed(cipher="aes-256-ctr"),
        _changed(kdf="argon2"),
        _changed(c=0),
        _changed(c=10**9),
        _changed(c="262144"),
        _changed(dklen=16),
        _changed(salt="zz"),
        _changed(prf="hmac-sha512"),
        _changed(mac="00"),
        _changed(ciphertext="00" * 31),
        _changed(ciphertext=None),
    ],
)
def test_broken_or_greedy_files_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decrypt(data, "testpassword")


@pytest.mark.parametrize("n", [0, 3, 1 << 21])
def test_scrypt_that_would_take_too_much_is_refused(n: int) -> None:
    document = json.loads(json.dumps(OFFICIAL["scrypt"]))
    document["crypto"]["kdfparams"]["n"] = n
    with pytest.raises(MalformedError):
        decrypt(json.dumps(document).encode(), "testpassword")


def test_a_file_that_names_another_address_is_refused() -> None:
    with pytest.raises(MalformedError, match="another address"):
        decrypt(_changed(address="11" * 20), "testpassword")


def test_the_address_is_read_without_the_passphrase() -> None:
    assert address_of(json.dumps(OFFICIAL["scrypt"]).encode()).hex() == ADDRESS


def test_a_key_that_a_person_makes_takes_2_to_the_17_rounds(tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase for tests")
    options = [f"--home={tmp_path / 'home'}", f"--passphrase-file={secret}"]
    subprocess.run([sys.executable, "-m", "platemark.cli", *options, "keys", "new", "ada"], check=True)
    (file,) = (tmp_path / "home" / "keys").iterdir()
    assert json.loads(file.read_text())["crypto"]["kdfparams"]["n"] == 1 << 17
