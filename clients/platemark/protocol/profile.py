"""A gateway's profile: where it is and which keys are its, one raw IPFS block whose digest it declared on chain.

Source: docs/formats.md, gateway profile.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from platemark.errors import MalformedError
from platemark.protocol import canonical
from platemark.protocol.byte_text import base64url, parse_base64url
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.cid import Cid, raw_cid
from platemark.protocol.digests import sha256
from platemark.protocol.jws import key_id
from platemark.protocol.plain_text import line_of
from platemark.protocol.sealing import PUBLIC_BYTES
from platemark.protocol.units import Address, Digest32, address_text, parse_address

VERSION: Final = 1
MAX_BYTES: Final = 16_384
LONGEST_MERGE_DELAY_SECONDS: Final = 24 * 3600

_URL: Final = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(?:/[A-Za-z0-9._~%/-]*)?")
_FIELDS: Final = frozenset(
    {
        "version",
        "chainId",
        "registry",
        "license",
        "ledger",
        "gateway",
        "url",
        "logKey",
        "releaseKey",
        "depositKey",
        "logOrigin",
        "mergeDelaySeconds",
    }
)


@dataclass(frozen=True, slots=True)
class GatewayProfile:
    """What a gateway declares: `log_key` and `release_key` are Ed25519 (32 bytes), `deposit_key` HPKE (1,216)."""

    chain_id: int
    registry: Address
    license: Address
    ledger: Address
    gateway: Address
    url: str
    log_key: bytes
    release_key: bytes
    deposit_key: bytes
    log_origin: str
    merge_delay_seconds: int

    def __post_init__(self) -> None:
        """Errors: MalformedError `profile` for members that contradict each other."""
        url_of(self.url)
        origin = rf"{self.chain_id}/{address_text(self.ledger)}/{address_text(self.gateway)}/[1-9][0-9]{{0,9}}"
        if not re.fullmatch(origin, self.log_origin):
            raise MalformedError("the log's origin is not chain/ledger/gateway/epoch", code="profile")
        if len(self.log_key) != 32 or len(self.release_key) != 32 or self.log_key == self.release_key:
            raise MalformedError("log and release have two Ed25519 keys", code="profile")
        if len(self.deposit_key) != PUBLIC_BYTES:
            raise MalformedError(f"the deposit key has {PUBLIC_BYTES} bytes", code="profile")
        if not 1 <= self.merge_delay_seconds <= LONGEST_MERGE_DELAY_SECONDS:
            raise MalformedError("the merge delay is at most a day", code="profile")

    @property
    def release_key_id(self) -> str:
        """The `kid` of releases, tokens and promises."""
        return key_id(self.release_key)

    @property
    def epoch(self) -> int:
        """The log's epoch, 1 and up."""
        return int(self.log_origin.rpartition("/")[2])

    def in_epoch(self, epoch: int) -> Self:
        """Return the same profile for another epoch of the log."""
        return replace(self, log_origin=f"{self.log_origin.rpartition('/')[0]}/{epoch}")

    def to_json(self) -> dict[str, JsonValue]:
        """Return the profile as JSON."""
        return {
            "version": VERSION,
            "chainId": self.chain_id,
            "registry": address_text(self.registry),
            "license": address_text(self.license),
            "ledger": address_text(self.ledger),
            "gateway": address_text(self.gateway),
            "url": self.url,
            "logKey": base64url(self.log_key),
            "releaseKey": base64url(self.release_key),
            "depositKey": base64url(self.deposit_key),
            "logOrigin": self.log_origin,
            "mergeDelaySeconds": self.merge_delay_seconds,
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the profile that `to_json` wrote; errors: MalformedError for anything else."""
        found = object_of(value, fields=_FIELDS)
        integer_of(found["version"], low=VERSION, high=VERSION)
        return cls(
            chain_id=integer_of(found["chainId"], low=1),
            registry=parse_address(found["registry"]),
            license=parse_address(found["license"]),
            ledger=parse_address(found["ledger"]),
            gateway=parse_address(found["gateway"]),
            url=url_of(found["url"]),
            log_key=parse_base64url(found["logKey"], max_bytes=32),
            release_key=parse_base64url(found["releaseKey"], max_bytes=32),
            deposit_key=parse_base64url(found["depositKey"], max_bytes=PUBLIC_BYTES),
            log_origin=line_of(found["logOrigin"]),
            merge_delay_seconds=integer_of(found["mergeDelaySeconds"]),
        )

    def encode(self) -> bytes:
        """Return the profile's bytes: the IPFS block."""
        return canonical.encode(self.to_json())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the profile in canonical bytes of at most 16 KiB; errors as `from_json`."""
        return cls.from_json(canonical.decode(data, max_bytes=MAX_BYTES))

    def digest(self) -> Digest32:
        """Return the SHA-256 of the bytes: what `declareGateway` puts on chain."""
        return sha256(self.encode())

    def cid(self) -> Cid:
        """Return the block's identifier."""
        return raw_cid(self.encode())


def url_of(value: JsonValue) -> str:
    """Return `value` as an http or https address without query, fragment, credentials or final slash.

    Errors: MalformedError `url`.
    """
    if not isinstance(value, str) or len(value) > 1024 or not _URL.fullmatch(value) or value.endswith("/"):
        raise MalformedError("an address such as https://prints.example was expected", code="url")
    return value
