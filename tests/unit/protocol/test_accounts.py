import pytest

from golden import cases, golden
from platemark.errors import MalformedError
from platemark.protocol.accounts import AccountKey, check_signature, recover, to_compact
from platemark.protocol.units import Digest32, address_text, keccak256, parse_address

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = AccountKey(bytes(31) + b"\x01")
DIGEST = keccak256(b"a digest")


@pytest.mark.parametrize("case", cases("values", "accounts"))
def test_keys_have_the_addresses_that_others_published(case: dict[str, str]) -> None:
    assert address_text(AccountKey(bytes.fromhex(case["secret"])).address) == case["address"]


@pytest.mark.parametrize("case", cases("values", "compact"))
def test_compact_signatures_are_those_of_eip_2098(case: dict[str, str]) -> None:
    r, vs = to_compact(bytes.fromhex(case["signature"]))
    assert (r.hex(), vs.hex()) == (case["r"], case["vs"])
    assert recover(Digest32(bytes.fromhex(case["digest"])), bytes.fromhex(case["signature"])) == parse_address(
        case["address"]
    )


def test_signatures_name_their_signer() -> None:
    signature = KEY.sign(DIGEST)
    assert recover(DIGEST, signature) == KEY.address
    assert recover(keccak256(b"another"), signature) != KEY.address
    assert KEY.sign(DIGEST) == signature


def test_signatures_are_those_of_the_wallets_library() -> None:
    from eth_account import Account

    for row in golden("typed_data")["structs"]:
        digest = bytes.fromhex(row["digest"][2:])
        theirs = Account.unsafe_sign_hash(digest, golden("typed_data")["secret"])
        assert theirs.signature.hex() == row["signature"][2:]


@pytest.mark.parametrize("secret", [b"", bytes(31), bytes(33), bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32])
def test_impossible_keys_are_refused(secret: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        AccountKey(secret)
    assert caught.value.code == "account-key"


def test_the_largest_key_is_possible() -> None:
    assert AccountKey((ORDER - 1).to_bytes(32, "big")).secret() == (ORDER - 1).to_bytes(32, "big")


def test_a_key_does_not_show_its_secret() -> None:
    key = AccountKey(bytes(range(1, 33)))
    assert bytes(range(1, 33)).hex() not in repr(key)
    assert key.address.hex() in repr(key)


def malleable(signature: bytes) -> bytes:
    """Return the other signature that plain ECDSA would take for the same message."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


GOOD = KEY.sign(DIGEST)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        GOOD[:64],
        GOOD + b"\0",
        GOOD[:64] + b"\0",
        GOOD[:64] + b"\1",
        GOOD[:64] + b"\x1d",
        malleable(GOOD),
        bytes(32) + GOOD[32:],
        GOOD[:32] + bytes(32) + GOOD[64:],
        ORDER.to_bytes(32, "big") + GOOD[32:],
        b"\xff" * 32 + GOOD[32:],
    ],
    ids=["empty", "short", "long", "v 0", "v 1", "v 29", "upper s", "r 0", "s 0", "r is the order", "r too large"],
)
def test_signatures_of_any_other_form_are_refused(bad: bytes) -> None:
    for refuse in (check_signature, lambda signature: recover(DIGEST, signature)):
        with pytest.raises(MalformedError) as caught:
            refuse(bad)
        assert caught.value.code == "signature-invalid"


def test_a_signature_that_fits_no_key_is_refused() -> None:
    no_point = (5).to_bytes(32, "big") + GOOD[32:]  # x = 5 is on no point of the curve
    check_signature(no_point)
    with pytest.raises(MalformedError) as caught:
        recover(DIGEST, no_point)
    assert caught.value.code == "signature-invalid"
