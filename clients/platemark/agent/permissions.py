"""Signed permissions that have not become print tokens yet, so that a crash in between loses none.

pending/<token id>.json    {version, gateway, reservation, signature}
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platemark.errors import MalformedError
from platemark.protocol import canonical
from platemark.protocol.byte_text import parse_account_signature, signature_text
from platemark.protocol.canonical import JsonValue, integer_of, object_of, text_of
from platemark.protocol.typed_data import Reservation
from platemark.protocol.units import TokenId, id_text
from platemark.sdk.files import disk_errors, make_folder, read_limited, write_whole

VERSION: Final = 1
_MAX_FILE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class SignedPermission:
    """A permission, its holder's signature, and the address of the gateway that is to serve it."""

    gateway: str
    reservation: Reservation
    signature: bytes


class Permissions:
    """The folder of signed permissions whose tokens are still to come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, token_id: TokenId, permission: SignedPermission) -> None:
        """Write a permission down before it is brought to the chain."""
        make_folder(self._folder)
        value: dict[str, JsonValue] = {
            "version": VERSION,
            "gateway": permission.gateway,
            "reservation": permission.reservation.to_json(),
            "signature": signature_text(permission.signature),
        }
        write_whole(self._path(token_id), canonical.encode(value) + b"\n")

    def drop(self, token_id: TokenId) -> None:
        """Forget a permission: its token is in the spool, or will never be."""
        path = self._path(token_id)
        with disk_errors(path):
            path.unlink(missing_ok=True)

    def all(self) -> Iterator[SignedPermission]:
        """Yield the permissions in the order of their ids; errors: LocalError, MalformedError `record`."""
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.glob("*.json")):
            yield _read(path)

    def _path(self, token_id: TokenId) -> Path:
        return self._folder / f"{id_text(token_id)}.json"


def _read(path: Path) -> SignedPermission:
    try:
        found = object_of(
            canonical.parse(read_limited(path, max_bytes=_MAX_FILE_BYTES)),
            fields=frozenset({"version", "gateway", "reservation", "signature"}),
        )
        integer_of(found["version"], low=VERSION, high=VERSION)
        return SignedPermission(
            text_of(found["gateway"]),
            Reservation.from_json(found["reservation"]),
            parse_account_signature(found["signature"]),
        )
    except MalformedError as error:
        raise MalformedError(f"{path}: {error.message}", code="record", hint="delete the file") from error
