"""What a designer's machine remembers of each design, so that a registration can go on after any interruption.

    designs/<design id>/
      design.json              {version, title, gateway, chainId, registry, registration}
      r<revision>/
        manifest.json          the manifest's bytes
        statement.json         what was signed: {signature} and from revision 2 on {publication}
        recovery.kit           the content key, encrypted under the passphrase
        staged/                ciphertexts and pictures, until the gateway holds the key

A folder is filled under another name and renamed when it is whole: a record that is there is complete.
"""

import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platemark.designer.preparing import StagedFile, remove_staged
from platemark.errors import LocalError, MalformedError, UsageError
from platemark.protocol import canonical
from platemark.protocol.byte_text import parse_account_signature, signature_text
from platemark.protocol.canonical import JsonValue, integer_of, object_of, text_of
from platemark.protocol.cid import Cid
from platemark.protocol.manifest import MAX_BYTES, Manifest
from platemark.protocol.recovery_kit import USUAL_COST, RecoveryKit
from platemark.protocol.typed_data import Publication, Registration, registry_domain
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    address_text,
    digest_text,
    id_text,
    parse_address,
    parse_digest,
)
from platemark.sdk.files import disk_errors, make_folder, read_limited, sync_folder, write_whole
from platemark.sdk.recovery import read_kit, write_kit

VERSION: Final = 1
_FOLDER: Final = re.compile(r"0x[0-9a-f]{64}")
_REVISION: Final = re.compile(r"r([1-9][0-9]{0,4})")
_STAGED: Final = re.compile(r"[0-9]{1,3}\.(sealed|png)")
_UNFINISHED: Final = ".new-"


@dataclass(frozen=True, slots=True)
class DesignRecord:
    """A design of ours: what was registered, where."""

    design_id: DesignId
    title: str
    gateway: str
    chain_id: int
    registry: Address
    registration: Registration
    folder: Path

    def revisions(self) -> list[int]:
        """Return the numbers of the recorded revisions."""
        with disk_errors(self.folder):
            found = [_REVISION.fullmatch(path.name) for path in self.folder.iterdir()]
        return sorted(int(match[1]) for match in found if match)

    def revision(self, number: int) -> "RevisionRecord":
        """Return a recorded revision.

        Errors: UsageError `revision-unknown`; MalformedError `record`.
        """
        folder = self.folder / f"r{number}"
        if not folder.is_dir():
            raise UsageError(
                f"this machine has no revision {number} of the design",
                code="revision-unknown",
                hint="it was registered elsewhere: open its recovery kit there, or bring it here",
            )
        return read_revision(folder, number)


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """A revision of ours: its manifest, and the signature that registers or publishes it."""

    number: int
    manifest: Manifest
    signature: bytes
    publication: Publication | None
    folder: Path

    @property
    def kit_path(self) -> Path:
        """The file with the content key."""
        return self.folder / "recovery.kit"

    def kit(self, passphrase: str) -> RecoveryKit:
        """Return the recovery kit, opened; errors as `read_kit`."""
        return read_kit(self.kit_path, passphrase)

    def staged(self) -> list[StagedFile]:
        """Return the ciphertexts and pictures that are still here, for uploading; none once they were taken.

        Errors: LocalError `staged-missing` when some are there and some are not.
        """
        place = self.folder / "staged"
        if not place.is_dir():
            return []
        return [read_staged(path) for path in sorted(place.glob("*.json"))]

    def drop_staged(self) -> None:
        """Delete the ciphertexts; the gateway has them and the kit has the key."""
        remove_staged(self.folder / "staged")


class DesignRecords:
    """The folder of a designer's records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[DesignRecord]:
        """Return every design that is recorded here; a record that cannot be read is left out."""
        if not self.folder.is_dir():
            return []
        with disk_errors(self.folder):
            names = sorted(path.name for path in self.folder.iterdir() if _FOLDER.fullmatch(path.name))
        found = []
        for name in names:
            try:
                found.append(read_design(self.folder / name))
            except (MalformedError, LocalError):
                continue
        return found

    def find(self, design_id: DesignId) -> DesignRecord | None:
        """Return a design's record, or None when it is not ours; MalformedError `record` when it is broken."""
        folder = self.folder / id_text(design_id)
        return read_design(folder) if folder.is_dir() else None

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Give a folder to fill; it is deleted unless `keep` renamed it."""
        make_folder(self.folder)
        folder = make_folder(self.folder / f"{_UNFINISHED}{secrets.token_hex(8)}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, folder: Path, target: Path) -> None:
        """Give a filled folder its lasting name; LocalError `file-exists` when that is taken."""
        with disk_errors(target):
            if target.exists():
                raise LocalError(
                    f"{target}: it exists already", code="file-exists", hint="run: platemark design resume"
                )
            folder.rename(target)
        sync_folder(target.parent)


def write_design(
    folder: Path, *, title: str, gateway: str, chain_id: int, registry: Address, registration: Registration
) -> None:
    """Write a design's record into its folder."""
    value: dict[str, JsonValue] = {
        "version": VERSION,
        "title": title,
        "gateway": gateway,
        "chainId": chain_id,
        "registry": address_text(registry),
        "registration": registration.to_json(),
    }
    write_whole(folder / "design.json", canonical.encode(value) + b"\n")


def write_revision(
    folder: Path,
    *,
    manifest: Manifest,
    signature: bytes,
    publication: Publication | None,
    kit: RecoveryKit,
    passphrase: str,
    staged: tuple[StagedFile, ...],
    kit_cost: int = USUAL_COST,
) -> None:
    """Write a revision's record into its folder; the staged files lie in `folder/staged` already."""
    write_whole(folder / "manifest.json", manifest.encode())
    write_kit(folder / "recovery.kit", kit, passphrase, cost=kit_cost)
    for file in staged:
        write_staged(file)
    write_statement(folder, signature, publication)


def write_statement(folder: Path, signature: bytes, publication: Publication | None) -> None:
    """Write what was signed for a revision, in place of what was signed before."""
    value: dict[str, JsonValue] = {"version": VERSION, "signature": signature_text(signature)}
    if publication is not None:
        value["publication"] = publication.to_json()
    write_whole(folder / "statement.json", canonical.encode(value) + b"\n")


def read_design(folder: Path) -> DesignRecord:
    """Return the record in a folder, whose name is the registration's digest.

    Errors: LocalError; MalformedError `record`.
    """
    found = _read(
        folder / "design.json", frozenset({"version", "title", "gateway", "chainId", "registry", "registration"})
    )
    registration = Registration.from_json(found["registration"])
    chain_id, registry = integer_of(found["chainId"], low=1), parse_address(found["registry"])
    digest = registration.digest(registry_domain(chain_id, registry))
    if digest_text(digest) != folder.name:
        raise MalformedError(f"{folder}: the registration is another design's", code="record")
    return DesignRecord(
        design_id=DesignId(int.from_bytes(digest, "big")),
        title=text_of(found["title"]),
        gateway=text_of(found["gateway"]),
        chain_id=chain_id,
        registry=registry,
        registration=registration,
        folder=folder,
    )


def read_revision(folder: Path, number: int) -> RevisionRecord:
    """Return the revision in a folder; errors: LocalError, MalformedError."""
    manifest = Manifest.parse(read_limited(folder / "manifest.json", max_bytes=MAX_BYTES))
    found = _read(folder / "statement.json", frozenset({"version", "signature"}), frozenset({"publication"}))
    publication = Publication.from_json(found["publication"]) if "publication" in found else None
    return RevisionRecord(number, manifest, parse_account_signature(found["signature"]), publication, folder)


def write_staged(file: StagedFile) -> None:
    """Write beside a staged file what it is."""
    value: dict[str, JsonValue] = {
        "name": file.path.name,
        "cid": file.cid.text,
        "sha256": digest_text(file.sha256),
        "bytes": file.length_bytes,
    }
    write_whole(file.path.with_name(f"{file.path.name}.json"), canonical.encode(value))


def read_staged(path: Path) -> StagedFile:
    """Return the staged file that a description beside it names; LocalError `staged-missing`, MalformedError."""
    found = _read(path, frozenset({"name", "cid", "sha256", "bytes"}))
    name = text_of(found["name"], max_length=64)
    if not _STAGED.fullmatch(name):
        raise MalformedError(f"{path}: it names a file that is not beside it", code="record")
    file = StagedFile(
        path.with_name(name),
        Cid.parse(found["cid"]),
        Digest32(parse_digest(found["sha256"])),
        integer_of(found["bytes"]),
    )
    if not file.path.is_file() or file.path.stat().st_size != file.length_bytes:
        raise LocalError(
            f"{file.path}: a ciphertext that was to be uploaded is gone",
            code="staged-missing",
            hint="register the design again; nothing was counted",
        )
    return file


def _read(path: Path, fields: frozenset[str], optional: frozenset[str] = frozenset()) -> Mapping[str, JsonValue]:
    try:
        value = canonical.parse(read_limited(path, max_bytes=1 << 20))
        return object_of(value, fields=fields, optional=optional)
    except MalformedError as error:
        raise MalformedError(f"{path}: {error.message}", code="record") from error
