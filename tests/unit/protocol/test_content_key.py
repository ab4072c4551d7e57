import copy
import hashlib
import pickle

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from golden import golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.content_key import ContentKey, KeyPackage, wrapping_context
from platemark.protocol.units import Address, DesignId, Digest32

SECRET = bytes(range(32))


def test_keys_and_commitments_are_as_they_were() -> None:
    vector = golden("content_key")
    key = ContentKey(bytes.fromhex(vector["key"]))
    assert key.commitment().hex() == vector["commitment"]
    for row in vector["fileKeys"]:
        assert key.file_key(row["index"]).hex() == row["key"]


def test_file_keys_follow_rfc_5869_step_by_step() -> None:
    import hmac

    pseudorandom = hmac.digest(bytes(32), SECRET, "sha256")
    info = b"platemark/v1/file\x00\x00\x00\x00\x07"
    assert ContentKey(SECRET).file_key(7) == HKDFExpand(SHA256(), 32, info).derive(pseudorandom)


def test_each_file_has_its_own_key() -> None:
    key = ContentKey(SECRET)
    assert len({key.file_key(index) for index in range(100)} | {SECRET}) == 101


def test_the_commitment_names_one_key() -> None:
    key = ContentKey(SECRET)
    assert key.commitment() == hashlib.sha256(b"platemark/v1/key\0" + SECRET).digest()
    key.check(key.commitment())
    with pytest.raises(VerificationError) as caught:
        key.check(ContentKey(bytes(32)).commitment())
    assert caught.value.code == "key-commitment"
    assert SECRET.hex() not in str(vars(caught.value))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_keys_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(MalformedError) as caught:
        ContentKey(bytes(length))
    assert caught.value.code == "content-key"


def test_generated_keys_come_from_the_given_randomness() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return SECRET

    assert ContentKey.generate(random).secret() == SECRET
    assert asked == [32]
    assert ContentKey.generate() != ContentKey.generate()


def test_keys_are_compared_and_hashed_by_value() -> None:
    assert ContentKey(SECRET) == ContentKey(SECRET)
    assert ContentKey(SECRET) != ContentKey(bytes(32))
    assert ContentKey(SECRET) != SECRET
    assert len({ContentKey(SECRET), ContentKey(SECRET)}) == 1


def test_a_key_is_neither_shown_nor_pickled_nor_copied() -> None:
    key = ContentKey(SECRET)
    package = KeyPackage(key, bytes(32), Digest32(bytes(32)))
    for shown in (repr(key), str(key), f"{key}", repr(package), str(package)):
        assert SECRET.hex() not in shown
        assert repr(SECRET) not in shown
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            take(key)


def test_packages_survive_their_bytes() -> None:
    vector = golden("content_key")
    package = KeyPackage.from_bytes(bytes.fromhex(vector["package"]))
    assert package.to_bytes().hex() == vector["package"]
    assert package.key.secret().hex() == vector["key"]
    assert package.commitment(Address(bytes.fromhex(vector["registrant"]))).hex() == vector["contentCommitment"]


@pytest.mark.parametrize("length", [0, 32, 95, 97])
def test_packages_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(MalformedError):
        KeyPackage.from_bytes(bytes(length))


@pytest.mark.parametrize("salt, root", [(31, 32), (33, 32), (32, 31), (32, 0)])
def test_packages_with_odd_fields_are_refused(salt: int, root: int) -> None:
    with pytest.raises(MalformedError):
        KeyPackage(ContentKey(SECRET), bytes(salt), Digest32(bytes(root)))


def test_a_wrapped_key_is_bound_to_its_row() -> None:
    vector = golden("content_key")
    commitment = Digest32(bytes.fromhex(vector["commitment"]))
    registry = Address(bytes.fromhex(vector["wrappingContext"])[51:71])
    context = wrapping_context(31337, registry, DesignId(7), 2, commitment)
    assert context.hex() == vector["wrappingContext"]
    others = {
        wrapping_context(31338, registry, DesignId(7), 2, commitment),
        wrapping_context(31337, Address(bytes(20)), DesignId(7), 2, commitment),
        wrapping_context(31337, registry, DesignId(8), 2, commitment),
        wrapping_context(31337, registry, DesignId(7), 3, commitment),
        wrapping_context(31337, registry, DesignId(7), 2, Digest32(bytes(32))),
    }
    assert len(others | {context}) == 6
