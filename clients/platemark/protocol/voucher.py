"""Redemptions: an agent asks for one print, and its signature is a cumulative voucher.

Sequence k, signed, says "at least k prints were requested". The signature covers the request digest, and that
covers everything the gateway answers from.

Source: docs/formats.md, redemption.
"""

from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol.accounts import AccountKey, recover, to_compact
from platemark.protocol.byte_text import (
    base64url,
    hex_text,
    parse_base64url,
    parse_hex,
    parse_signature,
    signature_text,
)
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.digests import detail_digest, recipient_digest, request_digest
from platemark.protocol.plain_text import line_of, lines_of
from platemark.protocol.sealing import PUBLIC_BYTES
from platemark.protocol.typed_data import Domain, Redemption
from platemark.protocol.units import (
    Address,
    Digest32,
    TokenId,
    address_text,
    digest_text,
    id_text,
    parse_digest,
    parse_id,
)

PRINT_ID_BYTES: Final = 16
LAST_SEQUENCE: Final = 65_535
MAX_PARTS: Final = 256
MAX_REFERENCES: Final = 32

_REQUEST_FIELDS: Final = frozenset({"tokenId", "sequence", "tokenDigest", "printId", "seenBlock", "seenHash", "detail"})


@dataclass(frozen=True, slots=True)
class IntendedPrint:
    """Where a print is meant to be made: the printer, the parts, the print centre's own references (orders, jobs)."""

    printer: str
    parts: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    def digest(self, salt: bytes) -> Digest32:
        """Return the salted digest (32-byte salt) that the request carries as its detail."""
        return detail_digest(salt, self.to_json())

    def to_json(self) -> dict[str, JsonValue]:
        """Return what is committed to."""
        return {"printer": self.printer, "parts": list(self.parts), "references": list(self.references)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"printer", "parts", "references"}))
        return cls(
            printer=line_of(found["printer"]),
            parts=lines_of(found["parts"], max_items=MAX_PARTS),
            references=lines_of(found["references"], max_items=MAX_REFERENCES),
        )


@dataclass(frozen=True, slots=True)
class RedemptionRequest:
    """Everything that a redemption signs.

    `sequence` 1 to 65,535; `print_id` 16 random bytes; `seen_block` and `seen_hash` a final block that the agent
    saw; `detail` the salted digest of where the print is meant to be made.
    """

    token_id: TokenId
    sequence: int
    token_digest: Digest32
    print_id: bytes
    recipient_digest: Digest32
    seen_block: int
    seen_hash: Digest32
    detail: Digest32

    def __post_init__(self) -> None:
        """Errors: MalformedError `print-id` or `integer-range`."""
        if len(self.print_id) != PRINT_ID_BYTES:
            raise MalformedError("a print id has 16 bytes", code="print-id")
        integer_of(self.sequence, low=1, high=LAST_SEQUENCE)
        integer_of(self.seen_block)

    def request_digest(self) -> Digest32:
        """Return the digest of all inputs but token id and sequence, which the struct holds itself."""
        return request_digest(
            self.token_digest, self.print_id, self.recipient_digest, self.seen_block, self.seen_hash, self.detail
        )

    def redemption(self) -> Redemption:
        """Return the EIP-712 struct that the agent signs."""
        return Redemption(self.token_id, self.sequence, self.request_digest())

    def sign(self, agent: AccountKey, domain: Domain) -> "SignedRequest":
        """Return the request with the agent's signature; the same request gives the same bytes."""
        return SignedRequest(self, agent.sign(self.redemption().digest(domain)))

    def to_json(self) -> dict[str, JsonValue]:
        """Return the request as JSON."""
        return {
            "tokenId": id_text(self.token_id),
            "sequence": self.sequence,
            "tokenDigest": digest_text(self.token_digest),
            "printId": hex_text(self.print_id),
            "recipientDigest": digest_text(self.recipient_digest),
            "seenBlock": self.seen_block,
            "seenHash": digest_text(self.seen_hash),
            "detail": digest_text(self.detail),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the request that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_REQUEST_FIELDS | {"recipientDigest"})
        return cls(
            token_id=TokenId(parse_id(found["tokenId"])),
            sequence=integer_of(found["sequence"], low=1, high=LAST_SEQUENCE),
            token_digest=parse_digest(found["tokenDigest"]),
            print_id=parse_hex(found["printId"], exact_bytes=PRINT_ID_BYTES),
            recipient_digest=parse_digest(found["recipientDigest"]),
            seen_block=integer_of(found["seenBlock"]),
            seen_hash=parse_digest(found["seenHash"]),
            detail=parse_digest(found["detail"]),
        )


@dataclass(frozen=True, slots=True)
class VoucherUse:
    """A use as `PrintLedger.settle` takes it; `r` and `vs` are the agent's signature in EIP-2098."""

    token_id: TokenId
    sequence: int
    voided: int
    request_digest: Digest32
    r: bytes
    vs: bytes

    def arguments(self) -> tuple[int, int, int, bytes, bytes, bytes]:
        """Return the members in the order of the Solidity struct."""
        return (self.token_id, self.sequence, self.voided, self.request_digest, self.r, self.vs)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A redemption request with the agent's signature (65 bytes): what is sent, stored and settled."""

    request: RedemptionRequest
    signature: bytes

    def signer(self, domain: Domain) -> Address:
        """Return whose signature it is; `domain` is the PrintLedger's.

        Errors: MalformedError `signature-invalid`.
        """
        return recover(self.request.redemption().digest(domain), self.signature)

    def verify(self, agent: Address, domain: Domain) -> None:
        """Pass when `agent` signed.

        Errors: MalformedError or VerificationError `signature-invalid`.
        """
        found = self.signer(domain)
        if found != agent:
            raise VerificationError(
                "the redemption is not signed by the token's agent",
                step="voucher",
                code="signature-invalid",
                expected=address_text(agent),
                found=address_text(found),
            )

    def use(self, voided: int) -> VoucherUse:
        """Return the use that settles this sequence, with the gateway's cumulative count of voided prints."""
        r, vs = to_compact(self.signature)
        request = self.request
        return VoucherUse(request.token_id, request.sequence, voided, request.request_digest(), r, vs)

    def to_json(self) -> dict[str, JsonValue]:
        """Return request and signature as JSON, as the agent's spool keeps them."""
        return {**self.request.to_json(), "signature": signature_text(self.signature)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_REQUEST_FIELDS | {"recipientDigest", "signature"})
        request = {name: item for name, item in found.items() if name != "signature"}
        return cls(RedemptionRequest.from_json(request), parse_signature(found["signature"]))

    def to_body(self, recipient_public: bytes) -> dict[str, JsonValue]:
        """Return the body of POST /v1/prints: the recipient key itself in place of its digest."""
        body = self.to_json()
        del body["recipientDigest"]
        return {**body, "recipientKey": base64url(recipient_public)}

    @classmethod
    def from_body(cls, value: JsonValue) -> tuple[Self, bytes]:
        """Return the request in such a body, and the recipient key (1,216 bytes); errors: MalformedError."""
        found = object_of(value, fields=_REQUEST_FIELDS | {"recipientKey", "signature"})
        public = parse_base64url(found["recipientKey"], max_bytes=PUBLIC_BYTES, exact_bytes=PUBLIC_BYTES)
        request = {name: item for name, item in found.items() if name not in {"recipientKey", "signature"}}
        request["recipientDigest"] = digest_text(recipient_digest(public))
        return cls(RedemptionRequest.from_json(request), parse_signature(found["signature"])), public


def burned(sequence: int, voided: int, prints: int) -> int:
    """Return how many prints of a reservation are used up for good.

    Pure. The on-chain twin is `PrintLedger._burned`; tests/vectors/burned.json has cases for both.

    Args:
        sequence: Highest voucher, 0 to prints + spares.
        voided: Outcomes that gave their print back, 0 to 65,535.
        prints: Size of the reservation, 1 to 65,535.

    Returns:
        Prints, 0 to `prints`.

    Errors: MalformedError `integer-range`.
    """
    integer_of(prints, low=1, high=LAST_SEQUENCE)
    integer_of(sequence, high=LAST_SEQUENCE)
    integer_of(voided, high=LAST_SEQUENCE)
    return min(max(sequence - voided, 0), prints)
