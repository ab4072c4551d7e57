"""A backup's manifest: whose it is, and the size and SHA-256 of every file in it.

    manifest.json   canonical JSON; it is written last, so a folder without it is no backup

Version 1 has exactly these members; a later version has another number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from platemark.errors import LocalError, MalformedError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue, integer_of, list_of, object_of, text_of
from platemark.protocol.units import (
    Address,
    Digest32,
    UnixSeconds,
    address_text,
    digest_text,
    parse_address,
    parse_digest,
)
from platemark_gateway.recovery.copying import files_below, measure

FILE_NAME: Final = "manifest.json"
KIND: Final = "platemark-gateway-backup"
VERSION: Final = 1
_MAX_BYTES: Final = 1 << 28
_MAX_FILES: Final = 2_000_000
_FIELDS: Final = frozenset({"version", "kind", "madeAt", "chainId", "ledger", "gateway", "database", "files"})


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a backup: its size in bytes and its SHA-256."""

    size: int
    sha256: Digest32


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds; `database` is the kind of database that was dumped, `files` go by their paths."""

    made_at: UnixSeconds
    chain_id: int
    ledger: Address
    gateway: Address
    database: str
    files: Mapping[str, Stored]

    def encode(self) -> bytes:
        """Return the manifest's bytes."""
        files: list[JsonValue] = [
            {"path": path, "bytes": stored.size, "sha256": digest_text(stored.sha256)}
            for path, stored in sorted(self.files.items())
        ]
        return canonical.encode(
            {
                "version": VERSION,
                "kind": KIND,
                "madeAt": self.made_at,
                "chainId": self.chain_id,
                "ledger": address_text(self.ledger),
                "gateway": address_text(self.gateway),
                "database": self.database,
                "files": files,
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the manifest in canonical bytes; errors: MalformedError."""
        found = object_of(canonical.decode(data, max_bytes=_MAX_BYTES), fields=_FIELDS)
        integer_of(found["version"], low=VERSION, high=VERSION)
        if found["kind"] != KIND:
            raise MalformedError("this is no manifest of a gateway's backup", code="backup-foreign")
        files: dict[str, Stored] = {}
        for item in list_of(found["files"], max_items=_MAX_FILES):
            stored = object_of(item, fields=frozenset({"path", "bytes", "sha256"}))
            files[_path(text_of(stored["path"]))] = Stored(integer_of(stored["bytes"]), parse_digest(stored["sha256"]))
        return cls(
            made_at=UnixSeconds(integer_of(found["madeAt"])),
            chain_id=integer_of(found["chainId"], low=1),
            ledger=parse_address(found["ledger"]),
            gateway=parse_address(found["gateway"]),
            database=text_of(found["database"]),
            files=files,
        )


def open_backup(folder: Path) -> Manifest:
    """Return the manifest of a backup after every file was measured; nothing is changed.

    Errors: LocalError `backup-foreign` for something that is no backup of a gateway; `backup-damaged` for one that
        lacks a file, has another one, or has other bytes than were written.
    """
    try:
        data = (folder / FILE_NAME).read_bytes()
    except OSError as error:
        raise LocalError(
            f"{folder} is no backup: it has no {FILE_NAME}",
            code="backup-foreign",
            hint="name the folder that `platemark-gateway backup` made",
        ) from error
    try:
        manifest = Manifest.parse(data)
    except MalformedError as error:
        raise LocalError(f"{folder} is no backup of a gateway: {error.message}", code="backup-foreign") from error
    there = set(files_below(folder)) - {FILE_NAME}
    for path in sorted(there ^ set(manifest.files)):
        what = "has a file that was not written" if path in there else "lacks"
        raise _damaged(folder, f"{what}: {path}")
    for path, stored in manifest.files.items():
        if measure(folder / path) != (stored.size, stored.sha256):
            raise _damaged(folder, f"has other bytes than were written: {path}")
    return manifest


def _damaged(folder: Path, why: str) -> LocalError:
    return LocalError(f"the backup {folder} {why}", code="backup-damaged", hint="take another backup; nothing was done")


def _path(text: str) -> str:
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or path.as_posix() != text:
        raise MalformedError("a path in the manifest leads out of the backup", code="backup-foreign")
    return text
