"""A release opened: verified, the key package taken out, every file decrypted in memory and compared.

    1  the release is signed by the gateway and answers this very request; its leaf is the request's
    2  key and manifest are those of the design; the package opens the registrant's commitment
    3  each file decrypts, and its plaintext is the one that the manifest names, before anybody reads a byte of it

Nothing here touches a disk; `forbid_dumps` keeps the process's memory out of core files and debuggers.
"""

import contextlib
import ctypes
import hashlib
import resource
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from platemark.agent.job import Job
from platemark.agent.machine import Answer, Request
from platemark.errors import MalformedError, VerificationError
from platemark.geometry.mesh import Mesh, check_mesh, read_mesh, turned
from platemark.protocol import log_entry
from platemark.protocol.content_key import KeyPackage
from platemark.protocol.log_entry import RedeemedEntry
from platemark.protocol.manifest import check_file
from platemark.protocol.merkle import files_root
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.release import Release, check_answers, open_package
from platemark.protocol.sealed_file import open_sealed
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.units import Digest32, digest_text
from platemark.verify.keys import KeyHistory

_NOT_DUMPABLE: Final = 4


def forbid_dumps() -> None:
    """Keep this process's memory out of core files, and other processes of the same user from reading it."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    with contextlib.suppress(OSError, AttributeError):  # no C library, or one without prctl
        ctypes.CDLL(None).prctl(_NOT_DUMPABLE, 0, 0, 0, 0)


def redeemed_leaf(request: Request) -> Digest32:
    """Return the hash of the log leaf that a request becomes."""
    wanted = request.signed.request
    entry = RedeemedEntry(
        token_id=wanted.token_id,
        sequence=wanted.sequence,
        token_digest=wanted.token_digest,
        print_id=wanted.print_id,
        recipient_digest=wanted.recipient_digest,
        seen_block=wanted.seen_block,
        seen_hash=wanted.seen_hash,
        detail=wanted.detail,
        signature=request.signed.signature,
    )
    return log_entry.leaf_hash(entry)


def stated_profile(digest: Digest32, profiles: Sequence[GatewayProfile]) -> GatewayProfile:
    """Return the profile that a statement names, or the first for one that names another."""
    return next((profile for profile in profiles if profile.digest() == digest), profiles[0])


def verify_release(job: Job, request: Request, answer: Answer, keys: KeyHistory) -> Release:
    """Return the release in an answer, which the gateway signed for this request and this design.

    Errors: VerificationError `release-mismatch`, `signature-invalid`, `release-key`, `profile-replaced`; MalformedError
        `jws`.
    """
    known = keys.profiles_of(answer.release, since=request.signed.request.seen_block)
    release = Release.verify(answer.release, known[0].release_key)
    profile = stated_profile(release.profile_digest, known)
    check_answers(release, request.signed.request)
    pairs = (
        ("leaf", digest_text(redeemed_leaf(request)), digest_text(release.leaf_hash)),
        ("log", profile.log_origin, release.origin),
        ("profile", digest_text(profile.digest()), digest_text(release.profile_digest)),
        ("manifest", digest_text(job.token.manifest.digest), digest_text(release.manifest_digest)),
        ("key", digest_text(job.manifest.key_commitment), digest_text(release.key_commitment)),
    )
    for what, expected, found in pairs:
        if expected != found:
            raise VerificationError(
                f"the release is for another {what}",
                step="release",
                code="release-mismatch",
                expected=expected,
                found=found,
                hint="keep this agent's files: the release is evidence against the gateway",
            )
    return release


def open_release(job: Job, release: Release, answer: Answer, recipient: RecipientKey) -> KeyPackage:
    """Return the key package of a release: its key fits the manifest, its root the registrant's commitment.

    Errors: VerificationError `key-commitment`, `sealed-key`, `commitment`, `files-root`.
    """
    package = open_package(answer.sealed_key, answer.release, release, recipient)
    found = package.commitment(job.registered.registrant)
    if found != job.registered.commitment:
        raise VerificationError(
            "the registrant committed to other files than the gateway delivers",
            step="commitment",
            code="commitment",
            expected=digest_text(job.registered.commitment),
            found=digest_text(found),
        )
    if not job.manifest.private:
        _check_root(package, (file.sha256 for file in job.manifest.files))
    return package


def decrypt_meshes(job: Job, package: KeyPackage) -> Mapping[str, Mesh]:
    """Return the mesh of every part, turned as it shall lie on the bed; all plaintexts are compared first.

    Errors: VerificationError `sealed-file`, `file-mismatch`, `files-root`; MalformedError `mesh-…`.
    """
    plaintexts: dict[int, bytes] = {}
    hashes: list[Digest32] = []
    for index, sealed in job.sealed.items():
        plain = _decrypt(job, package, index, sealed)
        digest = Digest32(hashlib.sha256(plain).digest())
        check_file(job.manifest, index, digest, size_bytes=len(plain), salt=package.salt)
        plaintexts[index] = plain
        hashes.append(digest)
    if job.manifest.private:
        _check_root(package, hashes)
    meshes: dict[str, Mesh] = {}
    for part in job.manifest.parts:
        mesh = read_mesh(plaintexts[part.file], name=job.manifest.files[part.file].media_type)
        check_mesh(mesh)
        meshes[part.name] = turned(mesh, part.orientation)
    return meshes


def _decrypt(job: Job, package: KeyPackage, index: int, sealed: bytes) -> bytes:
    most = job.manifest.files[index].size_bytes
    plain = bytearray()
    for segment in open_sealed(package.key.file_key(index), [sealed]):
        plain += segment
        if len(plain) > most:
            raise MalformedError("a file is longer than its manifest says", code="too-large")
    return bytes(plain)


def _check_root(package: KeyPackage, hashes: Iterable[Digest32]) -> None:
    found = files_root(hashes)
    if found != package.files_root:
        raise VerificationError(
            "the files have another root than was committed to",
            step="files-root",
            code="files-root",
            expected=digest_text(package.files_root),
            found=digest_text(found),
        )
