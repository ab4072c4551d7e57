"""A revision made ready: its files checked, sealed and staged, its manifest and commitment computed.

    1 every mesh is read within limits and checked to bound a solid that can be printed
    2 one pass over each file hashes the plaintext, seals it, hashes the ciphertext, computes its IPFS identifier
      and writes it to the staging folder
    3 manifest, files root and commitment follow

What is staged is what is uploaded, as often as it takes: sealing the same file again would give other bytes.
"""

import hashlib
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from platemark.errors import LocalError, MalformedError, UsageError
from platemark.protocol.cid import Cid, raw_cid, unixfs_cid
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.digests import sha256
from platemark.protocol.manifest import (
    MAX_FILE_BYTES,
    Constraints,
    Manifest,
    ManifestFile,
    Part,
    check_counts,
    named_hash,
)
from platemark.protocol.merkle import files_root
from platemark.protocol.plain_text import line_of, name_of_file
from platemark.protocol.sealed_file import seal, sealed_bytes
from platemark.protocol.units import Address, DesignId, Digest32
from platemark.sdk.files import disk_errors, make_folder, whole_file, write_whole

if TYPE_CHECKING:
    from platemark.geometry.mesh import Mesh, MeshFacts

CHUNK_BYTES: Final = 1 << 20
PREVIEW_PIXELS: Final = 512
_ATTACHMENTS: Final[Mapping[str, str]] = {
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".step": "model/step",
    ".stp": "model/step",
    ".txt": "text/plain",
}

OnBytes = Callable[[str, int, int], None]
"""Told how far a file has come: its name, bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A file that may go into a design; the last three are there when it is a mesh."""

    path: Path
    name: str
    media_type: str
    size_bytes: int
    facts: "MeshFacts | None" = None
    mesh: "Mesh | None" = None
    sha256: Digest32 | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a designer says about a revision.

    `quantities` and `turns` (whole degrees about x, y, z) are by file name; one body as it lies is the default.
    """

    title: str
    constraints: Constraints
    private: bool = False
    quantities: Mapping[str, int] = field(default_factory=dict)
    turns: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    parent_id: DesignId | None = None
    previews: bool = True


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file in the staging folder, ready for IPFS."""

    path: Path
    cid: Cid
    sha256: Digest32
    length_bytes: int

    def chunks(self) -> Iterator[bytes]:
        """Yield the file's bytes from the beginning."""
        with disk_errors(self.path), self.path.open("rb") as stream:
            yield from _chunks(stream)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A revision that is ready to be registered."""

    manifest: Manifest
    package: KeyPackage
    staged: tuple[StagedFile, ...]

    def commitment(self) -> Digest32:
        """Return what its registration commits to."""
        return self.package.commitment(self.manifest.registrant)


def inspect_file(path: Path) -> Inspection:
    """Return what a file is; a mesh was read within limits and bounds a solid that can be printed.

    Errors: LocalError; MalformedError `mesh-…` (`mesh-too-large` before a byte is read), `file-name`, `file-empty`.
    """
    from platemark.geometry.mesh import LIMITS, MEDIA_TYPES, check_mesh, read_mesh

    with disk_errors(path):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise LocalError(f"{path}: it is no regular file", code="file-kind", hint="name a file")
    name = name_of_file(path.name)
    size = status.st_size
    if size == 0:
        raise MalformedError(f"{path}: the file is empty", code="file-empty", hint="export it again")
    ending = path.suffix.lower()
    if ending in _ATTACHMENTS:
        if size > MAX_FILE_BYTES:
            raise MalformedError(f"{path}: more than {MAX_FILE_BYTES:,} bytes", code="too-large")
        return Inspection(path, name, _ATTACHMENTS[ending], size)
    if ending not in MEDIA_TYPES:
        raise MalformedError(
            f"{path}: {ending or 'no ending'} is nothing that a design is made of",
            code="mesh-format",
            hint=f"meshes: {' '.join(MEDIA_TYPES)}; documents beside them: {' '.join(_ATTACHMENTS)}",
        )
    if size > LIMITS.file_bytes:
        raise MalformedError(
            f"{path}: {size:,} bytes, more than the {LIMITS.file_bytes:,} that a mesh may have",
            code="mesh-too-large",
            hint="simplify it in the program that made it",
        )
    with disk_errors(path):
        data = path.read_bytes()
    try:
        mesh = read_mesh(data, name=name)
        return Inspection(path, name, MEDIA_TYPES[ending], len(data), check_mesh(mesh), mesh, sha256(data))
    except MalformedError as error:
        raise MalformedError(f"{path}: {error.message}", code=error.code, hint=error.hint) from error


def prepare(
    paths: Sequence[Path],
    description: Description,
    *,
    registrant: Address,
    staging: Path,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
    on_bytes: OnBytes | None = None,
) -> Prepared:
    """Return a revision made ready, with its ciphertexts in `staging`.

    Args:
        paths: The files in their order; at least one mesh.
        description: What the designer says about it.
        registrant: The account that will register it.
        staging: A folder for the ciphertexts; made when it is not there.
        randomness: Gives the content key, the content salt and the salts of the sealed files.
        on_bytes: Told of progress.

    Errors: those of `inspect_file`; UsageError `description` for quantities of files that are not there;
        MalformedError `count-limit`, `manifest-files`; LocalError `file-changed`, `disk-full`.
    """
    check_counts(files=len(paths), parts=len(paths), warnings=len(description.warnings))
    line_of(description.title)
    inspections = [inspect_file(path) for path in paths]
    _check_description(description, inspections)
    make_folder(staging)
    key, salt = ContentKey.generate(randomness), randomness(32)
    files: list[ManifestFile] = []
    staged: list[StagedFile] = []
    roots: list[Digest32] = []
    for index, inspection in enumerate(inspections):
        digest, sealed = _seal_file(
            inspection, key.file_key(index), staging / f"{index}.sealed", randomness, on_bytes or _quiet
        )
        roots.append(digest)
        staged.append(sealed)
        files.append(
            ManifestFile(
                index=index,
                name=inspection.name,
                media_type=inspection.media_type,
                size_bytes=inspection.size_bytes,
                sha256=named_hash(digest, private=description.private, salt=salt),
                sealed_cid=sealed.cid,
                sealed_bytes=sealed.length_bytes,
                sealed_sha256=sealed.sha256,
            )
        )
    previews = _previews(inspections, staging) if description.previews and not description.private else []
    manifest = Manifest(
        title=description.title,
        registrant=registrant,
        private=description.private,
        files=tuple(files),
        key_commitment=key.commitment(),
        parts=tuple(_parts(inspections, description)),
        constraints=description.constraints,
        previews=tuple(preview.cid for preview in previews),
        warnings=description.warnings,
        parent_id=description.parent_id,
    )
    manifest.encode()
    return Prepared(manifest, KeyPackage(key, salt, files_root(roots)), (*staged, *previews))


def _check_description(description: Description, inspections: Sequence[Inspection]) -> None:
    meshes = {inspection.name for inspection in inspections if inspection.facts is not None}
    if not meshes:
        raise UsageError("a design has at least one mesh", code="description", hint="name an STL, OBJ or 3MF file")
    for name in (*description.quantities, *description.turns):
        if name not in meshes:
            raise UsageError(
                f"{name!r} is none of the design's meshes", code="description", hint=f"meshes: {', '.join(meshes)}"
            )


def _parts(inspections: Sequence[Inspection], description: Description) -> Iterator[Part]:
    for index, inspection in enumerate(inspections):
        if inspection.facts is not None:
            yield Part(
                name=inspection.name,
                file=index,
                quantity=description.quantities.get(inspection.name, 1),
                orientation=description.turns.get(inspection.name, (0, 0, 0)),
                bounding_box_mm=inspection.facts.size_mm,
                volume_mm3=inspection.facts.volume_mm3,
            )


def _seal_file(
    inspection: Inspection,
    file_key: bytes,
    target: Path,
    randomness: Callable[[int], bytes],
    on_bytes: OnBytes,
) -> tuple[Digest32, StagedFile]:
    """Seal a file into `target` in one pass and return its plaintext's SHA-256 and what was written."""
    plain, sealed = hashlib.sha256(), hashlib.sha256()
    lengths = {"plain": 0, "sealed": 0}

    def read() -> Iterator[bytes]:
        with disk_errors(inspection.path), inspection.path.open("rb") as stream:
            for chunk in _chunks(stream):
                plain.update(chunk)
                lengths["plain"] += len(chunk)
                on_bytes(inspection.name, lengths["plain"], inspection.size_bytes)
                yield chunk

    def written(chunks: Iterable[bytes], stream: BinaryIO) -> Iterator[bytes]:
        for chunk in chunks:
            sealed.update(chunk)
            lengths["sealed"] += len(chunk)
            stream.write(chunk)
            yield chunk

    with whole_file(target) as output:
        cid = unixfs_cid(written(seal(file_key, read(), random_bytes=randomness), output))
    digest = Digest32(plain.digest())
    whole = lengths == {"plain": inspection.size_bytes, "sealed": sealed_bytes(inspection.size_bytes)}
    if not whole or inspection.sha256 not in {None, digest}:
        raise LocalError(
            f"{inspection.path}: the file changed while it was read", code="file-changed", hint="run it again"
        )
    return digest, StagedFile(target, cid, Digest32(sealed.digest()), lengths["sealed"])


def _previews(inspections: Sequence[Inspection], staging: Path) -> list[StagedFile]:
    """Return pictures of the meshes: a mesh itself is never shown."""
    from platemark.geometry.preview import render_png
    from platemark.protocol.manifest import MAX_PREVIEWS

    found: list[StagedFile] = []
    for inspection in inspections:
        if inspection.mesh is None or len(found) == MAX_PREVIEWS:
            continue
        picture = render_png(inspection.mesh, size_pixels=PREVIEW_PIXELS)
        path = staging / f"{len(found)}.png"
        write_whole(path, picture)
        found.append(StagedFile(path, raw_cid(picture), sha256(picture), len(picture)))
    return found


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _quiet(name: str, done: int, total: int) -> None:
    """Say nothing."""


def remove_staged(staging: Path) -> None:
    """Delete a staging folder and the ciphertexts in it, as far as they are there."""
    if not staging.is_dir():
        return
    with disk_errors(staging):
        for path in staging.iterdir():
            path.unlink()
        staging.rmdir()
