"""Entries that no checkpoint covers yet, as bytes that lie beside a copy of the log.

    waiting   {"version": 1, "origin", "size", "entries": [base64url …], "mac"}

`entries` follow the `size` entries of some checkpoint of that origin, in the order in which they were written; those
that a later checkpoint covers are in both. `mac` is the vault's over all of it, so that nobody else's entries are
counted. Only the gateway that wrote it reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import VerificationError
from platemark.protocol import canonical
from platemark.protocol.byte_text import base64url, parse_base64url
from platemark.protocol.canonical import JsonValue, integer_of, list_of, object_of, text_of
from platemark_gateway.ports import KeyVault

VERSION: Final = 1
MOST_ENTRIES: Final = 100_000
_MAX_BYTES: Final = 1 << 26
_MAC: Final = "log-waiting"
_FIELDS: Final = frozenset({"version", "origin", "size", "entries", "mac"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """The entries after the first `size` of a log, oldest first."""

    origin: str
    size: int
    entries: Sequence[bytes]

    def _stated(self) -> dict[str, JsonValue]:
        entries: list[JsonValue] = [base64url(entry) for entry in self.entries]
        return {"version": VERSION, "origin": self.origin, "size": self.size, "entries": entries}

    def encode(self, vault: KeyVault) -> bytes:
        """Return the file's bytes."""
        stated = self._stated()
        return canonical.encode({**stated, "mac": base64url(vault.mac(_MAC, canonical.encode(stated)))})

    @classmethod
    def parse(cls, data: bytes, vault: KeyVault) -> Self:
        """Return what `encode` wrote with the same vault.

        Errors: MalformedError; VerificationError `waiting-foreign` for another vault's file, or one that was changed.
        """
        found = object_of(canonical.decode(data, max_bytes=_MAX_BYTES), fields=_FIELDS)
        integer_of(found["version"], low=VERSION, high=VERSION)
        items = list_of(found["entries"], max_items=MOST_ENTRIES)
        made = cls(
            text_of(found["origin"]),
            integer_of(found["size"]),
            [parse_base64url(item, max_bytes=0xFFFF) for item in items],
        )
        if base64url(vault.mac(_MAC, canonical.encode(made._stated()))) != found["mac"]:
            raise VerificationError(
                "the waiting entries beside the log are not this vault's, or were changed",
                step="waiting",
                code="waiting-foreign",
                expected="what this gateway shipped",
                found="something else",
            )
        return made
