"""The release: a gateway's signed answer to a redemption, with the key package sealed to the agent.

It promises that the redemption's leaf will stand in an anchored root by `mergeBy`; kept by the agent, it convicts
a gateway that hides a print.

Source: docs/formats.md, release.
"""

from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import VerificationError
from platemark.protocol import jws
from platemark.protocol.byte_text import hex_text, parse_hex
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.content_key import KeyPackage
from platemark.protocol.jws import Signer
from platemark.protocol.plain_text import line_of
from platemark.protocol.sealing import RecipientKey, release_info, seal
from platemark.protocol.units import Digest32, TokenId, UnixSeconds, digest_text, id_text, parse_digest, parse_id
from platemark.protocol.voucher import LAST_SEQUENCE, PRINT_ID_BYTES, RedemptionRequest

TYPE: Final = "platemark-release+jwt"
VERSION: Final = 1

_FIELDS: Final = frozenset(
    {
        "version",
        "origin",
        "leafHash",
        "tokenId",
        "sequence",
        "printId",
        "keyCommitment",
        "manifestDigest",
        "mergeBy",
        "profileDigest",
    }
)


@dataclass(frozen=True, slots=True)
class Release:
    """The claims of a release; `origin` is the log's, `merge_by` Unix seconds."""

    origin: str
    leaf_hash: Digest32
    token_id: TokenId
    sequence: int
    print_id: bytes
    key_commitment: Digest32
    manifest_digest: Digest32
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
            "printId": hex_text(self.print_id),
            "keyCommitment": digest_text(self.key_commitment),
            "manifestDigest": digest_text(self.manifest_digest),
            "mergeBy": self.merge_by,
            "profileDigest": digest_text(self.profile_digest),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the claims that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=_FIELDS)
        integer_of(found["version"], low=VERSION, high=VERSION)
        return cls(
            origin=line_of(found["origin"]),
            leaf_hash=parse_digest(found["leafHash"]),
            token_id=TokenId(parse_id(found["tokenId"])),
            sequence=integer_of(found["sequence"], low=1, high=LAST_SEQUENCE),
            print_id=parse_hex(found["printId"], exact_bytes=PRINT_ID_BYTES),
            key_commitment=parse_digest(found["keyCommitment"]),
            manifest_digest=parse_digest(found["manifestDigest"]),
            merge_by=UnixSeconds(integer_of(found["mergeBy"])),
            profile_digest=parse_digest(found["profileDigest"]),
        )

    def sign(self, key: Signer) -> str:
        """Return the release as a compact JWS: committed rows and the key determine every byte."""
        return jws.sign(key, TYPE, self.to_json())

    @classmethod
    def verify(cls, text: str, release_public: bytes) -> Self:
        """Return the claims of a release that the release key (32 bytes) signed; errors as `jws.verify`."""
        return cls.from_json(jws.verify(text, TYPE, release_public))


def check_answers(release: Release, request: RedemptionRequest) -> None:
    """Pass when a release answers this very request.

    Errors: VerificationError `release-mismatch`.
    """
    pairs = (
        ("token", id_text(request.token_id), id_text(release.token_id)),
        ("sequence", str(request.sequence), str(release.sequence)),
        ("print id", hex_text(request.print_id), hex_text(release.print_id)),
    )
    for what, expected, found in pairs:
        if expected != found:
            raise VerificationError(
                f"the release is for another {what}",
                step="release",
                code="release-mismatch",
                expected=expected,
                found=found,
            )


def seal_package(package: KeyPackage, release_jws: str, recipient_public: bytes) -> bytes:
    """Return the key package sealed to the agent's recipient key for this release only."""
    return seal(recipient_public, release_info(release_jws), package.to_bytes())


def open_package(sealed: bytes, release_jws: str, release: Release, key: RecipientKey) -> KeyPackage:
    """Return the package that came with a release; its key fits the release's commitment.

    Errors: `sealed-key` when it does not open; VerificationError `key-commitment`.
    """
    package = KeyPackage.from_bytes(key.open(release_info(release_jws), sealed))
    package.key.check(release.key_commitment)
    return package
