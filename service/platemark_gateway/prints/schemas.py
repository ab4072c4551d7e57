"""Bodies of redemptions and outcomes."""

from typing import Annotated, Any

from pydantic import Field

from platemark.protocol.byte_text import base64url, hex_text, parse_base64url, parse_hex
from platemark.protocol.receipt import MAX_BYTES
from platemark.protocol.voucher import LAST_SEQUENCE, PRINT_ID_BYTES
from platemark_gateway.wire import (
    AgentSignature,
    BytesField,
    DigestField,
    OutcomeField,
    Text,
    TokenIdInput,
    Wire,
)


def _print_id(value: Any) -> bytes:
    return parse_hex(value, exact_bytes=PRINT_ID_BYTES)


def _statement(value: Any) -> bytes:
    return parse_base64url(value, max_bytes=MAX_BYTES)


def _salt(value: Any) -> bytes:
    return parse_base64url(value, max_bytes=32, exact_bytes=32)


PrintIdField = Annotated[
    bytes, Text(_print_id, hex_text, {"type": "string", "pattern": "^0x[0-9a-f]{32}$", "examples": ["0x" + "5a" * 16]})
]
StatementField = Annotated[
    bytes, Text(_statement, base64url, {"type": "string", "pattern": "^[A-Za-z0-9_-]*$", "description": "base64url"})
]
SaltField = Annotated[
    bytes,
    Text(_salt, base64url, {"type": "string", "pattern": "^[A-Za-z0-9_-]{43}$", "description": "32 bytes, base64url"}),
]


class RedemptionOrder(Wire):
    """A signed redemption (docs/formats.md, redemption); the same bytes again have the same answer."""

    token_id: TokenIdInput
    sequence: Annotated[int, Field(ge=1, le=LAST_SEQUENCE)]
    token_digest: DigestField
    print_id: PrintIdField
    recipient_key: BytesField
    seen_block: Annotated[int, Field(ge=0, lt=2**53)]
    seen_hash: DigestField
    detail: DigestField
    signature: AgentSignature


class ReleaseAnswer(Wire):
    """The signed release (compact JWS) and the key package, sealed to the recipient key."""

    release: str
    sealed_key: BytesField
    sequence: int
    prints_left: int
    spares_left: int


class PlateOrder(Wire):
    """Redemptions of different tokens that are printed together: all are counted, or none is."""

    redemptions: Annotated[list[RedemptionOrder], Field(min_length=1, max_length=64)]


class PlateAnswer(Wire):
    """The releases, in the order of the redemptions."""

    releases: list[ReleaseAnswer]


class OutcomeReport(Wire):
    """How a print ended, with the receipt: `envelope_signature` is the agent's over the DSSE envelope."""

    outcome: OutcomeField
    signature: AgentSignature
    statement: StatementField
    salt: SaltField
    envelope_signature: AgentSignature


class OutcomeAnswer(Wire):
    """The signed promise of inclusion and the receipt with both signatures (DSSE)."""

    promise: str
    receipt: dict[str, Any]
    spare_used: bool
    prints_left: int
    spares_left: int
