import base64
import hashlib

import pytest

from golden import golden
from platemark.protocol import digests
from platemark.protocol.units import Address, Digest32, TokenId, keccak256


def word(name: str) -> Digest32:
    return keccak256(f"platemark vectors: {name}".encode())


def account(name: str) -> Address:
    return Address(word(name)[12:])


PUBLIC = bytes((i + (i >> 8) + (i >> 16)) % 251 for i in range(1216))
TOKEN = TokenId(int.from_bytes(word("token"), "big"))

MADE = {
    "commitment": digests.commitment(account("registrant"), word("salt"), word("files root")),
    "keyCommitment": digests.key_commitment(word("content key")),
    "tokenDigest": digests.token_digest("eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"),
    "recipientDigest": digests.recipient_digest(PUBLIC),
    "requestDigest": digests.request_digest(
        word("token digest"), word("print id")[:16], word("recipient"), 17, word("block"), word("detail")
    ),
    "detailDigest": digests.detail_digest(word("salt"), {"parts": ["lid", "body"], "printer": "bay 4"}),
    "receiptDigest": digests.receipt_digest(word("salt"), b'{"_type":"https://in-toto.io/Statement/v1"}'),
    "serialDigest": digests.serial_digest(TOKEN, 3),
    "privateFileHash": digests.private_file_hash(word("salt"), word("file")),
}


@pytest.mark.parametrize("name", sorted(MADE))
def test_digests_are_as_they_were(name: str) -> None:
    assert MADE[name].hex() == golden("digests")["digests"][name]


def test_every_digest_has_its_vector() -> None:
    assert MADE.keys() == golden("digests")["digests"].keys()


def test_digests_are_of_the_bytes_that_the_page_names() -> None:
    """Each input written out once more, by hand."""
    block = (17).to_bytes(8, "big")
    inputs = {
        "commitment": b"platemark/v1/content\0" + account("registrant") + word("salt") + word("files root"),
        "keyCommitment": b"platemark/v1/key\0" + word("content key"),
        "tokenDigest": b"eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl",
        "recipientDigest": b"platemark/v1/recipient\0" + PUBLIC,
        "requestDigest": b"platemark/v1/request\0"
        + word("token digest")
        + word("print id")[:16]
        + word("recipient")
        + block
        + word("block")
        + word("detail"),
        "detailDigest": b"platemark/v1/commit\0" + word("salt") + b'{"parts":["lid","body"],"printer":"bay 4"}',
        "receiptDigest": b"platemark/v1/receipt\0" + word("salt") + b'{"_type":"https://in-toto.io/Statement/v1"}',
        "serialDigest": b"platemark/v1/serial\0" + word("token") + b"\0\0\0\3",
        "privateFileHash": b"platemark/v1/private-file\0" + word("salt") + word("file"),
    }
    assert {name: hashlib.sha256(data).digest() for name, data in inputs.items()} == MADE


def test_a_serial_has_sixteen_characters() -> None:
    assert len(base64.b32encode(MADE["serialDigest"][:10])) == 16
