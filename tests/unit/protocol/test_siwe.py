from dataclasses import replace
from typing import Any

import pytest
from eth_account.messages import _hash_eip191_message, encode_defunct

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError
from platemark.protocol.accounts import recover
from platemark.protocol.siwe import SignInMessage, personal_digest
from platemark.protocol.units import UnixSeconds, address_text

FIXED = golden("sign_in")
MESSAGE = SignInMessage.parse(FIXED["text"])


def test_the_message_is_erc_4361s_text() -> None:
    lines = FIXED["text"].split("\n")
    assert lines[0] == "prints.example:8443 wants you to sign in with your Ethereum account:"
    assert lines[1] == FIXED["address"] == address_text(MESSAGE.address)
    assert lines[2:5] == ["", "Sign in to Platemark.", ""]
    assert [line.partition(": ")[0] for line in lines[5:]] == [
        "URI",
        "Version",
        "Chain ID",
        "Nonce",
        "Issued At",
        "Expiration Time",
    ]
    assert MESSAGE.text() == FIXED["text"]
    assert (MESSAGE.issued_at, MESSAGE.expires_at) == (sample.NOW, sample.NOW + 600)


def test_wallets_sign_the_same_digest() -> None:
    assert bytes(MESSAGE.digest()) == bytes(_hash_eip191_message(encode_defunct(text=FIXED["text"])))
    assert MESSAGE.digest().hex() == FIXED["digest"][2:]
    assert recover(MESSAGE.digest(), bytes.fromhex(FIXED["signature"][2:])) == MESSAGE.address
    assert bytes(personal_digest("ü".encode())) == bytes(_hash_eip191_message(encode_defunct(text="ü")))


@pytest.mark.parametrize(
    "old, new",
    [
        ("Version: 1", "Version: 2"),
        ("Chain ID: 31337", "Chain ID: 031337"),
        ("Chain ID: 31337", "Chain ID: 0x7a69"),
        ("Nonce: k7rGq2vT9xWb", "Nonce: short"),
        ("Nonce: k7rGq2vT9xWb", "Nonce: k7rGq2vT 9xWb"),
        ("\nURI", "\n\nURI"),
        ("Sign in to Platemark.", "Sign in.\nURI: https://evil.example"),
        ("Sign in to Platemark.", " Sign in"),
        ("Issued At: 2026", "Issued At: 26"),
        ("Issued At: 2026-09-21T14:13:20Z", "Issued At: 2026-9-21T14:13:20Z"),
        ("Issued At: 2026-09-21T14:13:20Z", "Issued At: 2026-09-21T14:13:20.000Z"),
        ("Issued At: 2026-09-21T14:13:20Z", "Issued At: 2026-09-21T14:13:20+00:00"),
        ("Issued At: 2026-09-21T14:13:20Z", "Issued At: 2027-09-21T14:13:20Z"),
        ("Issued At: 2026-09-21T14:13:20Z", "Issued At: 2026-02-30T14:13:20Z"),
        ("prints.example:8443 wants", "prints.example:8443\twants"),
        ("prints.example:8443 wants", "prints.example/login wants"),
        ("URI: https://prints.example:8443", "URI: javascript:alert(1)"),
        ("14:23:20Z", "14:23:20Z\nRequest ID: 7"),
        ("14:23:20Z", "14:23:20Z\n"),
    ],
)
def test_another_text_is_refused(old: str, new: str) -> None:
    assert old in FIXED["text"]
    with pytest.raises(MalformedError):
        SignInMessage.parse(FIXED["text"].replace(old, new, 1))


def test_an_address_without_its_checksum_is_refused() -> None:
    with pytest.raises(MalformedError) as caught:
        SignInMessage.parse(FIXED["text"].replace(FIXED["address"], FIXED["address"].lower()))
    assert caught.value.code == "sign-in-message"


@pytest.mark.parametrize("text", [None, 5, b"text", "", "x" * 3000], ids=lambda value: str(value)[:5])
def test_what_is_no_text_of_ours_is_refused(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        SignInMessage.parse(text)
    assert caught.value.code == "sign-in-message"


@pytest.mark.parametrize(
    "change",
    [
        {"domain": "a b"},
        {"uri": "ftp://a"},
        {"nonce": "seven77"},
        {"chain_id": 0},
        {"issued_at": UnixSeconds(-1)},
        {"expires_at": sample.NOW},
        {"expires_at": UnixSeconds(10**12)},
        {"statement": "two\nlines"},
    ],
)
def test_a_message_that_could_not_be_read_back_is_not_made(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        replace(MESSAGE, **change)
