"""The manifest of a revision: what its files are, how a product is made of them, what printing it needs.

One raw IPFS block of canonical JSON, at most 1 MiB, whose SHA-256 stands in the registration. A unit of a licence
is one *product*: all `parts`, each in its quantity. Lengths are millimetres and volumes cubic millimetres, as
decimal texts. A private manifest names its files by salted hashes (`sha256` then is the salted one).

Source: docs/formats.md, manifest. Constraints: Open Know-How, tsdc:3DP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.cid import LEAF_BYTES, Cid, raw_cid
from platemark.protocol.decimals import decimal_text, parse_decimal
from platemark.protocol.digests import private_file_hash, sha256
from platemark.protocol.plain_text import items_of, line_of, lines_of, name_of_file, refuse_count
from platemark.protocol.sealed_file import sealed_bytes
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    address_text,
    digest_text,
    id_text,
    parse_address,
    parse_digest,
    parse_id,
)

VERSION: Final = 1
MAX_BYTES: Final = LEAF_BYTES
MAX_FILES: Final = 256
MAX_PARTS: Final = 256
MAX_QUANTITY: Final = 10_000
MAX_MATERIALS: Final = 32
MAX_ESTIMATES: Final = 16
MAX_PREVIEWS: Final = 16
MAX_WARNINGS: Final = 32
MAX_FILE_BYTES: Final = 1 << 40

_FIELDS: Final = frozenset(
    {
        "version",
        "title",
        "registrant",
        "private",
        "files",
        "keyCommitment",
        "parts",
        "constraints",
        "estimates",
        "previews",
        "warnings",
    }
)


class Process(StrEnum):
    """Open Know-How's `printing-process`."""

    FDM = "FDM"
    SLA = "SLA"
    SLS = "SLS"
    MJF = "MJF"
    DMLS = "DMLS"


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file: its plaintext by `sha256` (salted when private), its ciphertext by CID, size and hash."""

    index: int
    name: str
    media_type: str
    size_bytes: int
    sha256: Digest32
    sealed_cid: Cid
    sealed_bytes: int
    sealed_sha256: Digest32

    def __post_init__(self) -> None:
        """Errors: MalformedError `manifest-files` for a ciphertext that cannot be as long as it says."""
        if self.sealed_bytes != sealed_bytes(self.size_bytes):
            raise MalformedError(
                f"{self.name} cannot have {self.sealed_bytes} bytes when sealed", code="manifest-files"
            )

    def to_json(self) -> dict[str, JsonValue]:
        """Return the file as the manifest holds it."""
        return {
            "index": self.index,
            "name": self.name,
            "mediaType": self.media_type,
            "bytes": self.size_bytes,
            "sha256": digest_text(self.sha256),
            "sealed": {
                "cid": self.sealed_cid.text,
                "bytes": self.sealed_bytes,
                "sha256": digest_text(self.sealed_sha256),
            },
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the file that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"index", "name", "mediaType", "bytes", "sha256", "sealed"}))
        sealed = object_of(found["sealed"], fields=frozenset({"cid", "bytes", "sha256"}))
        return cls(
            index=integer_of(found["index"], high=MAX_FILES - 1),
            name=name_of_file(found["name"]),
            media_type=line_of(found["mediaType"], max_length=100),
            size_bytes=integer_of(found["bytes"], high=MAX_FILE_BYTES),
            sha256=parse_digest(found["sha256"]),
            sealed_cid=Cid.parse(sealed["cid"]),
            sealed_bytes=integer_of(sealed["bytes"]),
            sealed_sha256=parse_digest(sealed["sha256"]),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of body of the product.

    `orientation` is whole degrees (0 to 359) about the fixed axes x, then y, then z, as it should lie on the bed;
    `bounding_box_mm` is of the file as it is, before turning; `volume_mm3` of one body.
    """

    name: str
    file: int
    quantity: int
    orientation: tuple[int, int, int]
    bounding_box_mm: tuple[Decimal, Decimal, Decimal]
    volume_mm3: Decimal

    def to_json(self) -> dict[str, JsonValue]:
        """Return the part as the manifest holds it."""
        return {
            "name": self.name,
            "file": self.file,
            "quantity": self.quantity,
            "orientation": list(self.orientation),
            "boundingBoxMm": [decimal_text(side) for side in self.bounding_box_mm],
            "volumeMm3": decimal_text(self.volume_mm3),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the part that `to_json` wrote; errors: MalformedError."""
        names = frozenset({"name", "file", "quantity", "orientation", "boundingBoxMm", "volumeMm3"})
        found = object_of(value, fields=names)
        turn = items_of(found["orientation"], max_items=3, min_items=3, what="angles")
        box = items_of(found["boundingBoxMm"], max_items=3, min_items=3, what="sides")
        x, y, z = (integer_of(angle, high=359) for angle in turn)
        width, depth, height = (parse_decimal(side) for side in box)
        return cls(
            name=line_of(found["name"], max_length=120),
            file=integer_of(found["file"], high=MAX_FILES - 1),
            quantity=integer_of(found["quantity"], low=1, high=MAX_QUANTITY),
            orientation=(x, y, z),
            bounding_box_mm=(width, depth, height),
            volume_mm3=parse_decimal(found["volumeMm3"]),
        )


@dataclass(frozen=True, slots=True)
class Constraints:
    """What printing needs, in Open Know-How's words; `None` or nothing leaves it to the print centre.

    `materials` are the allowed ones; `infill_percent` and `resolution_mm` (layer height) as for the estimates;
    `supports` whether the design needs them; `nozzle_mm` the largest nozzle.
    """

    process: Process
    materials: tuple[str, ...] = ()
    infill_percent: Decimal | None = None
    resolution_mm: Decimal | None = None
    supports: bool | None = None
    nozzle_mm: Decimal | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the constraints as the manifest holds them; what is open is left out."""
        found: dict[str, JsonValue] = {
            "tsdc": "3DP",
            "printing-process": str(self.process),
            "material": list(self.materials),
        }
        if self.infill_percent is not None:
            found["infill"] = decimal_text(self.infill_percent)
        if self.resolution_mm is not None:
            found["resolution-mm"] = decimal_text(self.resolution_mm)
        if self.supports is not None:
            found["supports"] = self.supports
        if self.nozzle_mm is not None:
            found["nozzle-mm"] = decimal_text(self.nozzle_mm)
        return found

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the constraints that `to_json` wrote; errors: MalformedError."""
        found = object_of(
            value,
            fields=frozenset({"tsdc", "printing-process", "material"}),
            optional=frozenset({"infill", "resolution-mm", "supports", "nozzle-mm"}),
        )
        supports = found.get("supports")
        if (
            found["tsdc"] != "3DP"
            or not isinstance(supports, bool | None)
            or ("supports" in found and supports is None)
        ):
            raise MalformedError("the constraints are not those of tsdc 3DP", code="manifest-constraints")
        process = line_of(found["printing-process"])
        if process not in set(Process):
            raise MalformedError("the printing process is FDM, SLA, SLS, MJF or DMLS", code="manifest-constraints")
        infill = _number(found, "infill")
        if infill is not None and infill > 100:
            raise MalformedError("infill is at most 100 percent", code="manifest-constraints")
        return cls(
            process=Process(process),
            materials=lines_of(found["material"], max_items=MAX_MATERIALS, max_length=60),
            infill_percent=infill,
            resolution_mm=_number(found, "resolution-mm"),
            supports=supports,
            nozzle_mm=_number(found, "nozzle-mm"),
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one product takes, by one slicer with one profile (its SHA-256)."""

    slicer: str
    slicer_version: str
    profile_sha256: Digest32
    grams: Decimal
    minutes: Decimal

    def to_json(self) -> dict[str, JsonValue]:
        """Return the estimate as the manifest holds it."""
        return {
            "slicer": self.slicer,
            "slicerVersion": self.slicer_version,
            "profileSha256": digest_text(self.profile_sha256),
            "grams": decimal_text(self.grams),
            "minutes": decimal_text(self.minutes),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the estimate that `to_json` wrote; errors: MalformedError."""
        names = frozenset({"slicer", "slicerVersion", "profileSha256", "grams", "minutes"})
        found = object_of(value, fields=names)
        return cls(
            slicer=line_of(found["slicer"], max_length=60),
            slicer_version=line_of(found["slicerVersion"], max_length=60),
            profile_sha256=parse_digest(found["profileSha256"]),
            grams=parse_decimal(found["grams"]),
            minutes=parse_decimal(found["minutes"]),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A revision's manifest; it never names its own design, because the design's id depends on it."""

    title: str
    registrant: Address
    private: bool
    files: tuple[ManifestFile, ...]
    key_commitment: Digest32
    parts: tuple[Part, ...]
    constraints: Constraints
    estimates: tuple[Estimate, ...] = ()
    previews: tuple[Cid, ...] = ()
    warnings: tuple[str, ...] = ()
    parent_id: DesignId | None = None

    def __post_init__(self) -> None:
        """Errors: MalformedError `count-limit` or `manifest-files` (numbering, names, references)."""
        check_counts(
            files=len(self.files),
            parts=len(self.parts),
            estimates=len(self.estimates),
            previews=len(self.previews),
            warnings=len(self.warnings),
        )
        if [file.index for file in self.files] != list(range(len(self.files))):
            raise MalformedError("files are numbered from 0 in their order", code="manifest-files")
        if len({file.name.casefold() for file in self.files}) != len(self.files):
            raise MalformedError("two files have the same name", code="manifest-files")
        if len({part.name for part in self.parts}) != len(self.parts):
            raise MalformedError("two parts have the same name", code="manifest-files")
        if any(part.file >= len(self.files) for part in self.parts):
            raise MalformedError("a part refers to a file that is not there", code="manifest-files")

    def to_json(self) -> dict[str, JsonValue]:
        """Return the manifest as JSON."""
        found: dict[str, JsonValue] = {
            "version": VERSION,
            "title": self.title,
            "registrant": address_text(self.registrant),
            "private": self.private,
            "files": [file.to_json() for file in self.files],
            "keyCommitment": digest_text(self.key_commitment),
            "parts": [part.to_json() for part in self.parts],
            "constraints": self.constraints.to_json(),
            "estimates": [estimate.to_json() for estimate in self.estimates],
            "previews": [preview.text for preview in self.previews],
            "warnings": list(self.warnings),
        }
        if self.parent_id is not None:
            found["parentId"] = id_text(self.parent_id)
        return found

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the manifest that `to_json` wrote; counts are checked before anything is read.

        Errors: MalformedError, `count-limit` among them.
        """
        found = object_of(value, fields=_FIELDS, optional=frozenset({"parentId"}))
        integer_of(found["version"], low=VERSION, high=VERSION)
        files = items_of(found["files"], min_items=1, max_items=MAX_FILES, what="files")
        parts = items_of(found["parts"], min_items=1, max_items=MAX_PARTS, what="parts")
        estimates = items_of(found["estimates"], max_items=MAX_ESTIMATES, what="estimates")
        previews = items_of(found["previews"], max_items=MAX_PREVIEWS, what="previews")
        private = found["private"]
        if not isinstance(private, bool):
            raise MalformedError("private is true or false", code="canonical-form")
        return cls(
            title=line_of(found["title"]),
            registrant=parse_address(found["registrant"]),
            private=private,
            files=tuple(ManifestFile.from_json(file) for file in files),
            key_commitment=parse_digest(found["keyCommitment"]),
            parts=tuple(Part.from_json(part) for part in parts),
            constraints=Constraints.from_json(found["constraints"]),
            estimates=tuple(Estimate.from_json(estimate) for estimate in estimates),
            previews=tuple(Cid.parse(preview) for preview in previews),
            warnings=lines_of(found["warnings"], max_items=MAX_WARNINGS, max_length=500),
            parent_id=DesignId(parse_id(found["parentId"])) if "parentId" in found else None,
        )

    def encode(self) -> bytes:
        """Return the manifest's bytes, exactly those that `parse` accepts.

        Errors: MalformedError for texts that nobody could parse again, `too-large` above 1 MiB.
        """
        data = canonical.encode(self.to_json())
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the manifest in canonical bytes of at most 1 MiB; errors: MalformedError."""
        return cls.from_json(canonical.decode(data, max_bytes=MAX_BYTES))

    def digest(self) -> Digest32:
        """Return the SHA-256 of the bytes: what the registration holds."""
        return sha256(self.encode())

    def cid(self) -> Cid:
        """Return the identifier of the manifest's block."""
        return raw_cid(self.encode())

    def products(self) -> int:
        """Return how many bodies make one product, all parts together."""
        return sum(part.quantity for part in self.parts)


def check_counts(*, files: int, parts: int, estimates: int = 0, previews: int = 0, warnings: int = 0) -> None:
    """Pass when a manifest may have so many of each; ask before hashing, encrypting or measuring anything.

    Errors: MalformedError `count-limit`.
    """
    refuse_count(files, min_items=1, max_items=MAX_FILES, what="files")
    refuse_count(parts, min_items=1, max_items=MAX_PARTS, what="parts")
    refuse_count(estimates, max_items=MAX_ESTIMATES, what="estimates")
    refuse_count(previews, max_items=MAX_PREVIEWS, what="previews")
    refuse_count(warnings, max_items=MAX_WARNINGS, what="warnings")


def named_hash(plaintext_sha256: Digest32, *, private: bool, salt: bytes) -> Digest32:
    """Return the hash by which a manifest names a file; `salt` is the content salt, unused for a public design."""
    return private_file_hash(salt, plaintext_sha256) if private else plaintext_sha256


def check_file(manifest: Manifest, index: int, plaintext_sha256: Digest32, *, size_bytes: int, salt: bytes) -> None:
    """Pass when a decrypted file is the one that the manifest names.

    Errors: VerificationError `file-mismatch`.
    """
    file = manifest.files[index]
    found = named_hash(plaintext_sha256, private=manifest.private, salt=salt)
    if found != file.sha256 or size_bytes != file.size_bytes:
        raise VerificationError(
            f"{file.name} is not the file that the manifest names",
            step="file",
            code="file-mismatch",
            expected=f"{digest_text(file.sha256)}, {file.size_bytes} bytes",
            found=f"{digest_text(found)}, {size_bytes} bytes",
        )


def _number(found: Mapping[str, JsonValue], name: str) -> Decimal | None:
    return parse_decimal(found[name]) if name in found else None


def total_sealed_bytes(files: Sequence[ManifestFile]) -> int:
    """Return how many bytes of ciphertext a print fetches."""
    return sum(file.sealed_bytes for file in files)
