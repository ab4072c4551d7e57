"""The print token: what a gateway signs and seals to one agent for one reservation.

A compact JWS by the gateway's release key. The same reservation gives the same claims and, Ed25519 being
deterministic, the same text: its SHA-256 is the token digest that every redemption cites.

Source: docs/formats.md, print token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import jws
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.cid import Cid
from platemark.protocol.digests import recipient_digest, token_digest
from platemark.protocol.jws import Signer
from platemark.protocol.profile import url_of
from platemark.protocol.sealing import RecipientKey, seal, token_info
from platemark.protocol.typed_data import Domain, TokenRequest
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    address_text,
    digest_text,
    id_text,
    parse_address,
    parse_digest,
    parse_id,
)

TYPE: Final = "platemark-print-token+jwt"
VERSION: Final = 1
MAX_PRINTS: Final = 65_535

_FIELDS: Final = frozenset(
    {
        "version",
        "tokenId",
        "chainId",
        "ledger",
        "licenseId",
        "designId",
        "revision",
        "manifest",
        "agent",
        "recipientDigest",
        "prints",
        "spares",
        "notBefore",
        "expiresAt",
        "gatewayUrl",
        "profileDigest",
    }
)


@dataclass(frozen=True, slots=True)
class PrintToken:
    """The claims of a print token; `prints` and `spares` as reserved on chain, times in Unix seconds."""

    token_id: TokenId
    chain_id: int
    ledger: Address
    license_id: LicenseId
    design_id: DesignId
    revision: int
    manifest: Cid
    agent: Address
    recipient_digest: Digest32
    prints: int
    spares: int
    not_before: UnixSeconds
    expires_at: UnixSeconds
    gateway_url: str
    profile_digest: Digest32

    def to_json(self) -> dict[str, JsonValue]:
        """Return the claims as the JWS holds them."""
        return {
            "version": VERSION,
            "tokenId": id_text(self.token_id),
            "chainId": self.chain_id,
            "ledger": address_text(self.ledger),
            "licenseId": id_text(self.license_id),
            "designId": id_text(self.design_id),
            "revision": self.revision,
            "manifest": self.manifest.text,
            "agent": address_text(self.agent),
            "recipientDigest": digest_text(self.recipient_digest),
            "prints": self.prints,
            "spares": self.spares,
            "notBefore": self.not_before,
            "expiresAt": self.expires_at,
            "gatewayUrl": self.gateway_url,
            "profileDigest": digest_text(self.profile_digest),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the claims that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_FIELDS)
        integer_of(found["version"], low=VERSION, high=VERSION)
        token = cls(
            token_id=TokenId(parse_id(found["tokenId"])),
            chain_id=integer_of(found["chainId"], low=1),
            ledger=parse_address(found["ledger"]),
            license_id=LicenseId(parse_id(found["licenseId"])),
            design_id=DesignId(parse_id(found["designId"])),
            revision=integer_of(found["revision"], low=1, high=65_535),
            manifest=Cid.parse(found["manifest"]),
            agent=parse_address(found["agent"]),
            recipient_digest=parse_digest(found["recipientDigest"]),
            prints=integer_of(found["prints"], low=1, high=MAX_PRINTS),
            spares=integer_of(found["spares"], high=MAX_PRINTS),
            not_before=UnixSeconds(integer_of(found["notBefore"])),
            expires_at=UnixSeconds(integer_of(found["expiresAt"])),
            gateway_url=url_of(found["gatewayUrl"]),
            profile_digest=parse_digest(found["profileDigest"]),
        )
        if token.prints + token.spares > MAX_PRINTS or token.expires_at <= token.not_before:
            raise MalformedError("a token's counts or times are impossible", code="token-claims")
        return token

    def sign(self, key: Signer) -> str:
        """Return the token as a compact JWS by the gateway's release key."""
        return jws.sign(key, TYPE, self.to_json())

    @classmethod
    def verify(cls, text: str, release_public: bytes) -> Self:
        """Return the claims of a token that the release key (32 bytes) signed; errors as `jws.verify`."""
        return cls.from_json(jws.verify(text, TYPE, release_public))


def digest(text: str) -> Digest32:
    """Return the digest that redemptions cite."""
    return token_digest(text)


def seal_token(text: str, token_id: TokenId, recipient_public: bytes) -> bytes:
    """Return a token's text sealed to its agent's recipient key (1,216 bytes)."""
    return seal(recipient_public, token_info(token_id, recipient_digest(recipient_public)), text.encode())


def open_token(sealed: bytes, token_id: TokenId, key: RecipientKey) -> str:
    """Return the text of a sealed token, not yet verified.

    Errors: MalformedError `jws` when what was sealed is no text; `sealed-key` when it does not open.
    """
    try:
        return key.open(token_info(token_id, key.digest), sealed).decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("what was sealed is no token", code="jws") from error


def check_token(token: PrintToken, expected: Mapping[str, JsonValue]) -> None:
    """Pass when the claims named in `expected` (as in `to_json`) are what the token says.

    Errors: VerificationError `token-claims` naming the first that differs.
    """
    claims = token.to_json()
    for name, value in expected.items():
        if claims[name] != value:
            raise VerificationError(
                f"the token says another {name}",
                step="token",
                code="token-claims",
                expected=str(value)[:200],
                found=str(claims[name])[:200],
            )


def sign_request(
    token_id: TokenId, recipient_public: bytes, deadline: UnixSeconds, *, agent: AccountKey, domain: Domain
) -> tuple[TokenRequest, bytes]:
    """Return an agent's request for its token, and the signature; `domain` is the PrintLedger's."""
    request = TokenRequest(token_id, recipient_digest(recipient_public), deadline)
    return request, agent.sign(request.digest(domain))


def requesting_agent(request: TokenRequest, recipient_public: bytes, signature: bytes, domain: Domain) -> Address:
    """Return which agent asks for a token to be sealed to `recipient_public`.

    Errors: MalformedError `signature-invalid`; VerificationError `recipient-mismatch` for another key than the
        request names.
    """
    found = recipient_digest(recipient_public)
    if request.recipient_digest != found:
        raise VerificationError(
            "the recipient key is not the one in the request",
            step="token-request",
            code="recipient-mismatch",
            expected=digest_text(request.recipient_digest),
            found=digest_text(found),
        )
    return recover(request.digest(domain), signature)
