import pytest

from platemark.errors import MalformedError
from platemark.protocol import byte_text


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xfb\xef\xbe", bytes(range(7))])
def test_base64url_has_neither_padding_nor_plus_nor_slash(data: bytes) -> None:
    text = byte_text.base64url(data)
    assert not set(text) & set("+/=")
    assert byte_text.parse_base64url(text, max_bytes=7) == data


@pytest.mark.parametrize(
    "text",
    ["AA==", "A", "AB", "AAB", "AA\n", "+/+/", "AAAA ", "ÄÄ", 5, None, b"AA", "A" * 100],
    ids=repr,
)
def test_base64url_in_another_form_is_refused(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        byte_text.parse_base64url(text, max_bytes=8)
    assert caught.value.code == "base64url"


def test_base64url_of_a_wrong_length_is_refused() -> None:
    assert byte_text.parse_base64url("AAAA", max_bytes=8, exact_bytes=3) == bytes(3)
    for text, exact in (("AAAA", 4), ("", 3), ("AAAAAAAAAAAA", None)):
        with pytest.raises(MalformedError, match="were expected"):
            byte_text.parse_base64url(text, max_bytes=8, exact_bytes=exact)


@pytest.mark.parametrize("text", ["00", "0X00", "0xAB", "0x0", "0x0g", "0x00\n", 0, None], ids=repr)
def test_hexadecimal_digits_in_another_form_are_refused(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        byte_text.parse_hex(text)
    assert caught.value.code == "hex"


def test_hexadecimal_digits_of_a_wrong_length_are_refused() -> None:
    assert byte_text.parse_hex("0x0102", exact_bytes=2) == b"\x01\x02"
    assert byte_text.parse_hex("0x", max_bytes=0) == b""
    for text, exact, most in (("0x01", 2, 9), ("0x010203", 2, 9), ("0x0102", None, 1)):
        with pytest.raises(MalformedError):
            byte_text.parse_hex(text, exact_bytes=exact, max_bytes=most)


def test_an_agents_signature_has_65_bytes_and_an_accounts_at_least() -> None:
    assert byte_text.parse_signature(byte_text.signature_text(bytes(65))) == bytes(65)
    assert byte_text.parse_account_signature(byte_text.hex_text(bytes(4096))) == bytes(4096)
    for size in (0, 64, 4097):
        with pytest.raises(MalformedError):
            byte_text.parse_account_signature(byte_text.hex_text(bytes(size)))
    for size in (64, 66):
        with pytest.raises(MalformedError):
            byte_text.parse_signature(byte_text.hex_text(bytes(size)))
