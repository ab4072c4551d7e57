"""What lies beside a copy of the log, and is in no checkpoint: entries that wait for one, and acts that forbid.

    waiting   {"version": 2, "origin", "size", "entries": [base64url …], "stops", "offers", "recalls", "mac"}
    stops     [{"permission", "at", "signature"} …]               of tokens that have not ended in the log
    offers    [{"tokenId", "released", "voided", "until"} …]      to close, as long as they can reach the ledger
    recalls   [{"designId", "revision", "at", "reasonDigest"} …]  signed, and in no final block

`entries` follow the `size` entries of some checkpoint of that origin, in the order in which they were written; those
that a later checkpoint covers are in both. Every print that came before one of the acts is in the checkpoint or among
the entries. `mac` is the vault's over all of it, so that nobody else's are taken. Only the gateway that wrote it reads
it. Version 1 had no acts. A stop has the holder's whole permission: who has that can still bring it to the ledger.

What is written is bounded, so that it can be read: there are never more entries than that unless the log stands still.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import VerificationError
from platemark.protocol import canonical
from platemark.protocol.byte_text import base64url, parse_base64url
from platemark.protocol.canonical import JsonValue, integer_of, list_of, object_of, text_of
from platemark.protocol.typed_data import Reservation
from platemark.protocol.units import (
    DesignId,
    Digest32,
    TokenId,
    UnixSeconds,
    digest_text,
    id_text,
    parse_digest,
    parse_id,
)
from platemark_gateway.ports import KeyVault

VERSION: Final = 2
MOST_ENTRIES: Final = 100_000
MOST_ENTRY_BYTES: Final = 1 << 25
"""Of all entries together."""
MOST_ACTS: Final = 20_000
"""Of each kind."""
MOST_SIGNATURE_BYTES: Final = 1 << 24
"""Of all stops together."""
_MAX_BYTES: Final = 1 << 27
_MAC: Final = "log-waiting"
_FIELDS: Final = frozenset({"version", "origin", "size", "entries", "mac"})
_ACTS: Final = ("stops", "offers", "recalls")
_STOPPED: Final = frozenset({"permission", "at", "signature"})
_OFFERED: Final = frozenset({"tokenId", "released", "voided", "until"})
_RECALLED: Final = frozenset({"designId", "revision", "at", "reasonDigest"})


@dataclass(frozen=True, slots=True)
class Stopped:
    """A token that its holder stopped: the permission that it is made of, and the holder's signature of the stop."""

    permission: Reservation
    at: UnixSeconds
    signature: bytes

    def to_json(self) -> JsonValue:
        """Return the act as JSON."""
        return {"permission": self.permission.to_json(), "at": self.at, "signature": base64url(self.signature)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` gave."""
        found = object_of(value, fields=_STOPPED)
        return cls(
            Reservation.from_json(found["permission"]),
            UnixSeconds(integer_of(found["at"])),
            parse_base64url(found["signature"], max_bytes=0xFFFF),
        )


@dataclass(frozen=True, slots=True)
class Offered:
    """The counts on which the gateway offered to close a token, and the last deadline of such an offer."""

    token_id: TokenId
    released: int
    voided: int
    until: UnixSeconds

    def to_json(self) -> JsonValue:
        """Return the act as JSON."""
        return {
            "tokenId": id_text(self.token_id),
            "released": self.released,
            "voided": self.voided,
            "until": self.until,
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` gave."""
        found = object_of(value, fields=_OFFERED)
        return cls(
            TokenId(parse_id(found["tokenId"])),
            integer_of(found["released"]),
            integer_of(found["voided"]),
            UnixSeconds(integer_of(found["until"])),
        )


@dataclass(frozen=True, slots=True)
class Recalled:
    """A revision whose owner signed its recall."""

    design_id: DesignId
    revision: int
    at: UnixSeconds
    reason_digest: Digest32

    def to_json(self) -> JsonValue:
        """Return the act as JSON."""
        return {
            "designId": id_text(self.design_id),
            "revision": self.revision,
            "at": self.at,
            "reasonDigest": digest_text(self.reason_digest),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` gave."""
        found = object_of(value, fields=_RECALLED)
        return cls(
            DesignId(parse_id(found["designId"])),
            integer_of(found["revision"]),
            UnixSeconds(integer_of(found["at"])),
            parse_digest(found["reasonDigest"]),
        )


@dataclass(frozen=True, slots=True)
class Forbidding:
    """Acts that end or hold up releases, and that no block tells yet."""

    stops: Sequence[Stopped] = ()
    offers: Sequence[Offered] = ()
    recalls: Sequence[Recalled] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """Return the acts of each kind as JSON."""
        acts: Mapping[str, Sequence[Stopped | Offered | Recalled]]
        acts = {"stops": self.stops, "offers": self.offers, "recalls": self.recalls}
        return {kind: [act.to_json() for act in found] for kind, found in acts.items()}

    @classmethod
    def from_json(cls, found: Mapping[str, JsonValue]) -> Self:
        """Return what `to_json` gave; none of a kind that is not there."""
        stops, offers, recalls = (list_of(found.get(kind, []), max_items=MOST_ACTS) for kind in _ACTS)
        return cls(
            [Stopped.from_json(each) for each in stops],
            [Offered.from_json(each) for each in offers],
            [Recalled.from_json(each) for each in recalls],
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """The entries after the first `size` of a log, oldest first, and the acts beside them."""

    origin: str
    size: int
    entries: Sequence[bytes]
    forbidding: Forbidding

    def check_follows(self, origin: str, size: int) -> None:
        """Pass when nothing is missing between a log's checkpoint and these entries.

        Errors: VerificationError `waiting-ahead`.
        """
        if self.origin == origin and self.size > size:
            raise VerificationError(
                "the checkpoint beside the waiting entries is older than they are: entries between them are missing",
                step="waiting",
                code="waiting-ahead",
                expected=f"a checkpoint of {self.size} entries",
                found=f"one of {size}",
            )

    def encode(self, vault: KeyVault) -> bytes:
        """Return the file's bytes."""
        entries: list[JsonValue] = [base64url(entry) for entry in self.entries]
        stated: dict[str, JsonValue] = {
            "version": VERSION,
            "origin": self.origin,
            "size": self.size,
            "entries": entries,
            **self.forbidding.to_json(),
        }
        return canonical.encode({**stated, "mac": _mac(stated, vault)})

    @classmethod
    def parse(cls, data: bytes, vault: KeyVault) -> Self:
        """Return what `encode` wrote with the same vault.

        Errors: MalformedError; VerificationError `waiting-foreign` for another vault's file, or one that was changed.
        """
        decoded = canonical.decode(data, max_bytes=_MAX_BYTES)
        found = object_of(decoded, fields=_FIELDS, optional=frozenset(_ACTS))
        integer_of(found["version"], low=1, high=VERSION)
        items = list_of(found["entries"], max_items=MOST_ENTRIES)
        made = cls(
            text_of(found["origin"]),
            integer_of(found["size"]),
            [parse_base64url(item, max_bytes=0xFFFF) for item in items],
            Forbidding.from_json(found),
        )
        if _mac({name: value for name, value in found.items() if name != "mac"}, vault) != found["mac"]:
            raise VerificationError(
                "the waiting entries beside the log are not this vault's, or were changed",
                step="waiting",
                code="waiting-foreign",
                expected="what this gateway shipped",
                found="something else",
            )
        return made


def _mac(stated: Mapping[str, JsonValue], vault: KeyVault) -> str:
    return base64url(vault.mac(_MAC, canonical.encode(dict(stated))))
