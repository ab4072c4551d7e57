from dataclasses import replace
from typing import Any

import pytest

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError, RefusedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.recovery_kit import LOWEST_COST, RecoveryKit, open_kit, seal_kit

FIXED = golden("recovery_kit")
FILE = canonical.encode(FIXED["file"])
KIT = RecoveryKit(sample.CHAIN_ID, sample.REGISTRY, sample.REGISTRATION, 1, sample.PACKAGE, sample.MANIFEST)


def test_the_fixed_kit_opens() -> None:
    kit = open_kit(FILE, FIXED["passphrase"])
    assert kit == KIT
    assert kit.to_json() == FIXED["kit"]
    assert kit.design_id(sample.REGISTRY_DOMAIN) == sample.DESIGN_ID


def test_a_kit_is_sealed_anew_each_time() -> None:
    first, second = (seal_kit(KIT, "eight ch", cost=LOWEST_COST) for _ in range(2))
    assert first != second
    assert open_kit(first, "eight ch") == open_kit(second, "eight ch") == KIT


def test_a_kit_hides_its_key() -> None:
    for secret in (repr(KIT), str(FIXED["file"])):
        assert sample.CONTENT_KEY.secret().hex() not in secret
        assert FIXED["kit"]["package"] not in secret


def test_one_passphrase_typed_on_two_systems_is_one_passphrase() -> None:
    sealed = seal_kit(KIT, "Schlu\u0308ssel", cost=LOWEST_COST)
    assert open_kit(sealed, "Schl\u00fcssel") == KIT


def test_a_wrong_passphrase_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        open_kit(FILE, "correct horse battery stapler")
    assert caught.value.code == "passphrase-wrong"


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        seal_kit(KIT, "seven77")
    assert caught.value.code == "passphrase-short"


@pytest.mark.parametrize("cost", [13, 21])
def test_an_unreasonable_cost_is_refused(cost: int) -> None:
    with pytest.raises(MalformedError) as caught:
        seal_kit(KIT, "long enough", cost=cost)
    assert caught.value.code == "integer-range"


@pytest.mark.parametrize(
    "part, change, code",
    [
        ("kdf", {"n": 1 << 15}, "passphrase-wrong"),
        ("kdf", {"n": 1 << 13}, "integer-range"),
        ("kdf", {"n": 1 << 40}, "integer-range"),
        ("kdf", {"n": (1 << 14) + 1}, "recovery-kit"),
        ("kdf", {"r": 16}, "recovery-kit"),
        ("kdf", {"p": 2}, "recovery-kit"),
        ("kdf", {"name": "pbkdf2"}, "recovery-kit"),
        ("kdf", {"salt": "AAAA"}, "base64url"),
        ("cipher", {"name": "AES-128-GCM"}, "recovery-kit"),
        ("cipher", {"nonce": "AAAA"}, "base64url"),
        ("cipher", {"nonce": "A" * 16}, "passphrase-wrong"),
    ],
)
def test_an_altered_header_is_refused(part: str, change: dict[str, Any], code: str) -> None:
    altered = FIXED["file"] | {part: FIXED["file"][part] | change}
    with pytest.raises((MalformedError, RefusedError)) as caught:
        open_kit(canonical.encode(altered), FIXED["passphrase"])
    assert caught.value.code == code


@pytest.mark.parametrize(
    "change, code",
    [
        ({"version": 2}, "integer-range"),
        ({"ciphertext": "AAAA"}, "passphrase-wrong"),
        ({"ciphertext": 5}, "base64url"),
        ({"hint": "a horse"}, "canonical-form"),
    ],
)
def test_an_altered_file_is_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises((MalformedError, RefusedError)) as caught:
        open_kit(canonical.encode(FIXED["file"] | change), FIXED["passphrase"])
    assert caught.value.code == code


def test_a_kit_whose_key_is_not_its_manifests_is_refused() -> None:
    package = KeyPackage(ContentKey(bytes(32)), sample.CONTENT_SALT, sample.PACKAGE.files_root)
    with pytest.raises(VerificationError) as caught:
        RecoveryKit.from_json(replace(KIT, package=package).to_json())
    assert caught.value.code == "key-commitment"
