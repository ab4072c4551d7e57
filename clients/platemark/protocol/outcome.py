"""Outcomes: how a print ended, signed by the agent, and the gateway's promise to log it.

Source: docs/formats.md, outcome.
"""

from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import jws
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.byte_text import parse_signature, signature_text
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.jws import Signer
from platemark.protocol.log_entry import Result
from platemark.protocol.plain_text import line_of
from platemark.protocol.typed_data import Domain, Outcome
from platemark.protocol.units import (
    Address,
    Digest32,
    TokenId,
    UnixSeconds,
    address_text,
    digest_text,
    id_text,
    parse_digest,
    parse_id,
)
from platemark.protocol.voucher import LAST_SEQUENCE

__all__ = [
    "PROMISE_TYPE",
    "Promise",
    "Result",
    "SignedOutcome",
    "gives_back",
    "parse_result",
    "result_text",
    "sign_outcome",
]

PROMISE_TYPE: Final = "platemark-promise+jwt"
VERSION: Final = 1

_PROMISE_FIELDS: Final = frozenset(
    {"version", "origin", "leafHash", "tokenId", "sequence", "result", "spareUsed", "mergeBy", "profileDigest"}
)


def result_text(result: Result) -> str:
    """Return the word for a result in receipts, on screens and in commands: completed, failed, cancelled, rejected."""
    return result.name.lower()


def parse_result(value: JsonValue) -> Result:
    """Return the result of a word or of a number (1 to 4); errors: MalformedError `result`."""
    for result in Result:
        if value == result_text(result) or (value == int(result) and type(value) is int):
            return result
    raise MalformedError("a result is completed, failed, cancelled or rejected", code="result")


def gives_back(result: Result) -> bool:
    """Return whether a print that ended so is given back while its token has spares."""
    return result is not Result.COMPLETED


@dataclass(frozen=True, slots=True)
class SignedOutcome:
    """An outcome with the agent's signature (65 bytes)."""

    outcome: Outcome
    signature: bytes

    def verify(self, agent: Address, domain: Domain) -> None:
        """Pass when `agent` signed; `domain` is the PrintLedger's.

        Errors: MalformedError or VerificationError `signature-invalid`.
        """
        found = recover(self.outcome.digest(domain), self.signature)
        if found != agent:
            raise VerificationError(
                "the outcome is not signed by the token's agent",
                step="outcome",
                code="signature-invalid",
                expected=address_text(agent),
                found=address_text(found),
            )

    def result(self) -> Result:
        """Return how the print ended; errors: MalformedError `result`."""
        return parse_result(self.outcome.result)

    def to_json(self) -> dict[str, JsonValue]:
        """Return `{outcome, signature}`."""
        return {"outcome": self.outcome.to_json(), "signature": signature_text(self.signature)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"outcome", "signature"}))
        signed = cls(Outcome.from_json(found["outcome"]), parse_signature(found["signature"]))
        signed.result()
        integer_of(signed.outcome.sequence, low=1, high=LAST_SEQUENCE)
        return signed


def sign_outcome(
    token_id: TokenId, sequence: int, result: Result, receipt_digest: Digest32, *, agent: AccountKey, domain: Domain
) -> SignedOutcome:
    """Return the agent's statement of how sequence `sequence` ended."""
    outcome = Outcome(token_id, sequence, int(result), receipt_digest)
    return SignedOutcome(outcome, agent.sign(outcome.digest(domain)))


@dataclass(frozen=True, slots=True)
class Promise:
    """A gateway's promise that an outcome's leaf will be in an anchored root by `merge_by`."""

    origin: str
    leaf_hash: Digest32
    token_id: TokenId
    sequence: int
    result: Result
    spare_used: bool
    merge_by: UnixSeconds
    profile_digest: Digest32

    def to_json(self) -> dict[str, JsonValue]:
        """Return the claims as the JWS holds them."""
        return {
            "version": VERSION,
            "origin": self.origin,
            "leafHash": digest_text(self.leaf_hash),
            "tokenId": id_text(self.token_id),
            "sequence": self.sequence,
            "result": int(self.result),
            "spareUsed": self.spare_used,
            "mergeBy": self.merge_by,
            "profileDigest": digest_text(self.profile_digest),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the claims that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_PROMISE_FIELDS)
        integer_of(found["version"], low=VERSION, high=VERSION)
        spare_used = found["spareUsed"]
        if not isinstance(spare_used, bool):
            raise MalformedError("spareUsed is true or false", code="canonical-form")
        return cls(
            origin=line_of(found["origin"]),
            leaf_hash=parse_digest(found["leafHash"]),
            token_id=TokenId(parse_id(found["tokenId"])),
            sequence=integer_of(found["sequence"], low=1, high=LAST_SEQUENCE),
            result=parse_result(integer_of(found["result"])),
            spare_used=spare_used,
            merge_by=UnixSeconds(integer_of(found["mergeBy"])),
            profile_digest=parse_digest(found["profileDigest"]),
        )

    def sign(self, key: Signer) -> str:
        """Return the promise as a compact JWS by the gateway's release key."""
        return jws.sign(key, PROMISE_TYPE, self.to_json())

    @classmethod
    def verify(cls, text: str, release_public: bytes) -> Self:
        """Return the claims of a promise that the release key (32 bytes) signed; errors as `jws.verify`."""
        return cls.from_json(jws.verify(text, PROMISE_TYPE, release_public))
