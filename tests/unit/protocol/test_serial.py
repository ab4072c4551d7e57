import base64
import hashlib

import pytest

from golden import golden
from platemark.errors import MalformedError
from platemark.protocol.serial import grouped, parse_serial, serial_of
from platemark.protocol.units import TokenId


def test_a_serial_is_the_first_ten_bytes_of_a_tagged_digest() -> None:
    token = TokenId(7)
    digest = hashlib.sha256(b"platemark/v1/serial\0" + bytes(31) + b"\x07" + bytes(3) + b"\x02").digest()
    assert serial_of(token, 2) == base64.b32encode(digest[:10]).decode()
    assert len(serial_of(token, 2)) == 16


def test_a_serial_is_read_as_people_type_it() -> None:
    serial = golden("statements")["ids"]["serial"]
    assert parse_serial(serial) == serial
    assert parse_serial(f"  {grouped(serial).lower()}\n") == serial
    assert parse_serial(" ".join(serial)) == serial


@pytest.mark.parametrize("text", ["", "A" * 15, "A" * 17, "0" * 16, "1" * 16, "Ä" * 16, "A_" * 8, "A" * 65, 5, None])
def test_another_text_is_no_serial(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_serial(text)
    assert caught.value.code == "serial"


def test_labels_show_four_groups() -> None:
    assert grouped("ABCDEFGHIJKLMNOP") == "ABCD-EFGH-IJKL-MNOP"
