"""DSSE envelopes of in-toto Statements: what is signed, and the JSON around it.

Source: DSSE v1 (envelope, PAE), in-toto Statement v1; docs/formats.md, receipt.
"""

import base64
import binascii
from typing import Final

from platemark.errors import MalformedError
from platemark.protocol.canonical import JsonValue, object_of
from platemark.protocol.plain_text import line_of

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


def pre_authentication(statement: bytes) -> bytes:
    """Return DSSE's PAE of a statement: what is signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(statement), statement)


def base64_text(data: bytes) -> str:
    """Return standard base64, as the specification writes it."""
    return base64.b64encode(data).decode()


def parse_base64(value: JsonValue, *, max_bytes: int) -> bytes:
    """Return what `base64_text` wrote, at most `max_bytes`; errors: MalformedError `envelope`."""
    if not isinstance(value, str) or len(value) > max_bytes * 4 // 3 + 4:
        raise MalformedError("base64 was expected", code="envelope")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("base64 was expected", code="envelope") from error
    if base64_text(data) != value or len(data) > max_bytes:
        raise MalformedError("base64 in its only form was expected", code="envelope")
    return data


def parse_signature(value: JsonValue, exact_bytes: int) -> tuple[str, bytes]:
    """Return key id and signature of an envelope's member; errors: MalformedError `envelope`."""
    found = object_of(value, fields=frozenset({"keyid", "sig"}))
    signature = parse_base64(found["sig"], max_bytes=exact_bytes)
    if len(signature) != exact_bytes:
        raise MalformedError("a signature in the envelope has a wrong length", code="envelope")
    return line_of(found["keyid"], max_length=64), signature
