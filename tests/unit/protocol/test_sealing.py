"""HPKE, checked against published vectors and against a second implementation of its key schedule, below."""

import copy
import hashlib
import hmac
import pickle
from typing import Any

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from golden import cases, golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import sealing
from platemark.protocol.sealing import RecipientKey, check_public, deposit_info, release_info, seal, token_info
from platemark.protocol.units import Address, DesignId, Digest32, TokenId

SEED = bytes(range(32))
INFO = b"platemark/v1/test\0"
KEM_ID = 0x647A


def shared_secret(seed: bytes, encapsulated: bytes, public: bytes) -> bytes:
    """Return X-Wing's shared secret: SHA3-256(ML-KEM's ‖ X25519's ‖ ephemeral key ‖ public key ‖ label)."""
    expanded = hashlib.shake_256(seed).digest(96)
    lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).decapsulate(encapsulated[:1088])
    ephemeral = encapsulated[1088:]
    curve = X25519PrivateKey.from_private_bytes(expanded[64:]).exchange(X25519PublicKey.from_public_bytes(ephemeral))
    return hashlib.sha3_256(lattice + curve + ephemeral + public[1184:] + rb"\.//^\ "[:-1]).digest()


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """Return (shared secret, encapsulated key) of X-Wing for a public key."""
    lattice, lattice_text = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    private = X25519PrivateKey.generate()
    ephemeral = private.public_key().public_bytes_raw()
    curve = private.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    secret = hashlib.sha3_256(lattice + curve + ephemeral + public[1184:] + rb"\.//^\ "[:-1]).digest()
    return secret, lattice_text + ephemeral


def key_schedule(suite: tuple[int, int, int], secret: bytes, info: bytes, key_bytes: int) -> tuple[bytes, bytes]:
    """Return (key, base nonce) of RFC 9180's base mode with HKDF-SHA256, section 5.1."""
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in suite)

    def extract(salt: bytes, label: bytes, material: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite_id + label + material, "sha256")

    def expand(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
        labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite_id + label + context
        return hmac.digest(key, labeled + b"\x01", "sha256")[:length]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    prk = extract(secret, b"secret", b"")
    return expand(prk, b"key", context, key_bytes), expand(prk, b"base_nonce", context, 12)


@pytest.mark.parametrize("case", cases("published_sealing", "xWing") + cases("published_sealing", "hpkePq"))
def test_seeds_give_the_published_keys_and_secrets(case: dict[str, str]) -> None:
    key = RecipientKey(bytes.fromhex(case["seed"]))
    assert key.public_bytes.hex().startswith(case["publicStart"])
    assert key.public_bytes.hex().endswith(case["publicEnd"])
    secret = shared_secret(key.seed(), bytes.fromhex(case["encapsulated"]), key.public_bytes)
    assert secret.hex() == case["sharedSecret"]


@pytest.mark.parametrize("case", cases("published_sealing", "xWing") + cases("published_sealing", "hpkePq"))
def test_we_open_what_was_sealed_with_published_encapsulations(case: dict[str, str]) -> None:
    key, nonce = key_schedule((KEM_ID, 1, 2), bytes.fromhex(case["sharedSecret"]), INFO, 32)
    body = AESGCM(key).encrypt(nonce, b"a key package", None)
    sealed = bytes([1]) + bytes.fromhex(case["encapsulated"]) + body
    assert RecipientKey(bytes.fromhex(case["seed"])).open(INFO, sealed) == b"a key package"


@pytest.mark.parametrize("case", cases("published_sealing", "hpkePq"))
def test_the_library_opens_the_published_hybrid_message(case: dict[str, str]) -> None:
    value = {name: bytes.fromhex(text) for name, text in case.items() if name != "name"}
    key, nonce = key_schedule((KEM_ID, 1, 3), value["sharedSecret"], value["info"], 32)
    assert (key, nonce) == (value["key"], value["baseNonce"])
    assert ChaCha20Poly1305(key).decrypt(nonce, value["ciphertext"], value["aad"]) == value["plaintext"]
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    message = value["encapsulated"] + value["ciphertext"]
    private = RecipientKey(value["seed"])._private
    opened = openssl.hpke._decrypt_with_aad(suite, message, private, info=value["info"], aad=value["aad"])
    assert opened == value["plaintext"]


@pytest.mark.parametrize("case", cases("published_sealing", "rfc9180"))
def test_the_library_opens_the_message_of_rfc_9180(case: dict[str, str]) -> None:
    value = {name: bytes.fromhex(text) for name, text in case.items() if name != "name"}
    assert key_schedule((0x20, 1, 1), value["sharedSecret"], value["info"], 16) == (value["key"], value["baseNonce"])
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    message = value["encapsulated"] + value["ciphertext"]
    private = X25519PrivateKey.from_private_bytes(value["private"])
    opened = openssl.hpke._decrypt_with_aad(suite, message, private, info=value["info"], aad=value["aad"])
    assert opened == value["plaintext"]


def test_the_second_implementation_opens_what_we_seal_and_we_what_it_seals() -> None:
    recipient = RecipientKey(SEED)
    sealed = seal(recipient.public_bytes, INFO, b"ours")
    secret = shared_secret(SEED, sealed[1:1121], recipient.public_bytes)
    key, nonce = key_schedule((KEM_ID, 1, 2), secret, INFO, 32)
    assert AESGCM(key).decrypt(nonce, sealed[1121:], None) == b"ours"
    secret, encapsulated = encapsulate(recipient.public_bytes)
    key, nonce = key_schedule((KEM_ID, 1, 2), secret, INFO, 32)
    theirs = b"\x01" + encapsulated + AESGCM(key).encrypt(nonce, b"theirs", None)
    assert recipient.open(INFO, theirs) == b"theirs"


@pytest.mark.parametrize("case", cases("sealed_bytes", "valid"))
def test_what_was_sealed_before_still_opens(case: dict[str, str]) -> None:
    key = RecipientKey(bytes.fromhex(case["seed"]))
    opened = key.open(bytes.fromhex(case["info"]), bytes.fromhex(case["sealed"]))
    assert opened.hex() == case["plaintext"]


@pytest.mark.parametrize("size", [0, 1, 96, 5000])
def test_sealed_bytes_are_as_long_as_said_and_open(size: int) -> None:
    key = RecipientKey.generate()
    sealed = seal(key.public_bytes, INFO, bytes(size))
    assert len(sealed) == size + sealing.OVERHEAD_BYTES
    assert key.open(INFO, sealed) == bytes(size)


def test_another_purpose_key_or_byte_opens_nothing() -> None:
    key = RecipientKey(SEED)
    sealed = seal(key.public_bytes, INFO, b"secret")
    flips = [bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]]) for at in (1, 500, 1088, 1089, 1120, 1121, 1142)]
    for info, recipient, data in (
        (INFO + b"x", key, sealed),
        (b"", key, sealed),
        (INFO, RecipientKey(bytes(32)), sealed),
        (INFO, key, sealed[:-1]),
        (INFO, key, sealed + b"\0"),
        *((INFO, key, flip) for flip in flips),
    ):
        with pytest.raises(VerificationError) as caught:
            recipient.open(info, data)
        assert caught.value.code == "sealed-key"


def test_other_versions_and_stumps_are_malformed() -> None:
    key = RecipientKey(SEED)
    sealed = seal(key.public_bytes, INFO, b"")
    for data in (b"", b"\x01", sealed[:-1], b"\x00" + sealed[1:], b"\x02" + sealed[1:]):
        with pytest.raises(MalformedError) as caught:
            key.open(INFO, data)
        assert caught.value.code == "sealed-key"


def test_an_ephemeral_key_of_small_order_opens_nothing() -> None:
    key = RecipientKey(SEED)
    sealed = seal(key.public_bytes, INFO, b"secret")
    with pytest.raises(VerificationError):
        key.open(INFO, sealed[:1089] + bytes(32) + sealed[1121:])


@pytest.mark.parametrize("change", ["short", "long", "empty", "modulus", "small order"])
def test_weak_or_odd_public_keys_are_refused(change: str) -> None:
    public = RecipientKey(SEED).public_bytes
    odd = {
        "short": public[:-1],
        "long": public + b"\0",
        "empty": b"",
        "modulus": b"\xff" * 1184 + public[1184:],
        "small order": public[:1184] + bytes(32),
    }[change]
    for refuse in (lambda: seal(odd, INFO, b""), lambda: check_public(odd)):
        with pytest.raises(MalformedError) as caught:
            refuse()
        assert caught.value.code == "recipient-key"


def test_a_sound_public_key_passes() -> None:
    check_public(RecipientKey(SEED).public_bytes)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seeds_of_other_lengths_are_refused(length: int) -> None:
    for make in (RecipientKey, RecipientKey.from_seed):
        with pytest.raises(MalformedError) as caught:
            make(bytes(length))
        assert caught.value.code == "recipient-key"
    with pytest.raises(MalformedError):
        RecipientKey.derive(bytes(length), 1, Address(bytes(20)), bytes(32))
    with pytest.raises(MalformedError):
        RecipientKey.derive(SEED, 1, Address(bytes(20)), bytes(length))


def test_derived_keys_and_purposes_are_as_they_were() -> None:
    vector: dict[str, Any] = golden("recipient_key")
    ledger = Address(bytes.fromhex(vector["ledger"]))
    salt = bytes.fromhex(vector["salt"])
    key = RecipientKey.derive(bytes.fromhex(vector["agentSeed"]), vector["chainId"], ledger, salt)
    assert key.seed().hex() == vector["seed"]
    assert hashlib.sha256(key.public_bytes).hexdigest() == vector["publicSha256"]
    assert key.digest.hex() == vector["digest"]


def test_each_permission_chain_and_ledger_has_its_own_key() -> None:
    ledger, salt = Address(bytes(20)), bytes(32)
    seeds = {
        RecipientKey.derive(SEED, 1, ledger, salt).seed(),
        RecipientKey.derive(bytes(32), 1, ledger, salt).seed(),
        RecipientKey.derive(SEED, 2, ledger, salt).seed(),
        RecipientKey.derive(SEED, 1, Address(b"\x01" * 20), salt).seed(),
        RecipientKey.derive(SEED, 1, ledger, b"\x01" * 32).seed(),
    }
    assert len(seeds) == 5


def test_purposes_name_everything_they_are_for() -> None:
    address, other, word = Address(bytes(20)), Address(b"\x01" * 20), Digest32(bytes(32))
    one = Digest32(b"\x01" * 32)
    infos = {
        deposit_info(1, address, DesignId(1), 1, word, address),
        deposit_info(2, address, DesignId(1), 1, word, address),
        deposit_info(1, other, DesignId(1), 1, word, address),
        deposit_info(1, address, DesignId(2), 1, word, address),
        deposit_info(1, address, DesignId(1), 2, word, address),
        deposit_info(1, address, DesignId(1), 1, one, address),
        deposit_info(1, address, DesignId(1), 1, word, other),
        token_info(TokenId(1), word),
        token_info(TokenId(2), word),
        token_info(TokenId(1), one),
        release_info("a.b.c"),
        release_info("a.b.d"),
    }
    assert len(infos) == 12
    assert release_info("a.b.c") == b"platemark/v1/release\0" + hashlib.sha256(b"a.b.c").digest()


def test_a_key_is_neither_shown_nor_pickled_nor_copied() -> None:
    key = RecipientKey(SEED)
    assert SEED.hex() not in repr(key)
    assert key.digest.hex() in repr(key)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(key)


def test_generated_keys_come_from_the_given_randomness() -> None:
    assert RecipientKey.generate(lambda count: SEED[:count]).public_bytes == RecipientKey.from_seed(SEED).public_bytes
    assert RecipientKey.generate().seed() != RecipientKey.generate().seed()
