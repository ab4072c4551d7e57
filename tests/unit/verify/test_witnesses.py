from collections.abc import Callable

import pytest

from platemark.errors import UsageError, VerificationError
from platemark.protocol.checkpoint import KeyType, Note, NoteKey, NoteSigner
from platemark.protocol.units import UnixSeconds
from platemark.verify.policy import Policy
from platemark.verify.witnesses import check_cosignature, check_wanted, unknown_cosigners

TEXT = "log.example.test\n3\nJuepCLEeDgtaydy1MBABTLXvSvOXbV6jWV1IpMD7cYs=\n"
LOG = NoteSigner.from_seed("log.example.test", b"\x01" * 32)
ONE, TWO, THREE = (
    NoteSigner.from_seed(f"witness.example.test/w{number}", bytes([number]) * 32, KeyType.COSIGNATURE)
    for number in (1, 2, 3)
)


def note(*witnesses: NoteSigner) -> Note:
    lines = (each.cosign(TEXT, UnixSeconds(1000 + at)) for at, each in enumerate(witnesses))
    return Note(TEXT, (LOG.sign(TEXT), *lines))


def test_who_cosigned_is_told_with_the_time() -> None:
    found = note(ONE, TWO)
    assert [check_cosignature(found, each.key) for each in (ONE, TWO, THREE)] == [1000, 1001, None]


def test_a_wrong_cosignature_is_a_discrepancy() -> None:
    wrong = ONE.cosign(TEXT.replace("3", "4"), UnixSeconds(1000))
    with pytest.raises(VerificationError) as caught:
        check_cosignature(note().with_signatures(wrong), ONE.key)
    assert caught.value.code == "note-signature"


def test_the_name_of_a_witness_under_another_key_is_unknown() -> None:
    other = NoteSigner.from_seed(ONE.key.name, b"\x09" * 32, KeyType.COSIGNATURE)
    found = note(other, TWO)
    assert check_cosignature(found, ONE.key) is None
    assert unknown_cosigners(found, [LOG.key, ONE.key]) == [ONE.key.name, TWO.key.name]
    assert unknown_cosigners(found, [LOG.key, other.key, TWO.key]) == []


@pytest.mark.parametrize("wanted", range(4))
@pytest.mark.parametrize("given", range(4))
def test_as_many_as_are_wanted_must_have_cosigned(wanted: int, given: int) -> None:
    keys = [ONE.key, TWO.key, THREE.key]
    policy = Policy(witnesses=tuple(keys), witnesses_wanted=wanted)
    if given >= wanted:
        check_wanted(policy, keys[:given])
        return
    with pytest.raises(VerificationError) as caught:
        check_wanted(policy, keys[:given])
    assert caught.value.code == "witnesses-missing"
    assert caught.value.expected == f"{wanted} of {', '.join(key.name for key in keys)}"
    assert caught.value.found == (", ".join(key.name for key in keys[:given]) or "none")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Policy(witnesses_wanted=1),
        lambda: Policy(witnesses_wanted=-1),
        lambda: Policy(witnesses=(ONE.key, ONE.key)),
        lambda: Policy(witnesses=(ONE.key, NoteKey(ONE.key.name, bytes(32), KeyType.COSIGNATURE))),
        lambda: Policy(witnesses=(LOG.key,)),
    ],
)
def test_a_policy_that_cannot_be_met_is_refused(make: Callable[[], Policy]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert caught.value.code == "witnesses"
