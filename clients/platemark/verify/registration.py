"""Steps 1 to 4: the file is in the manifest, the manifest was registered, the revision stands."""

from collections.abc import Iterable, Mapping

from platemark.protocol.digests import commitment, sha256
from platemark.protocol.manifest import Manifest, named_hash
from platemark.protocol.merkle import files_root
from platemark.protocol.units import DesignId, Digest32, address_text, digest_text, id_text
from platemark.verify.facts import Contracts, DesignFact, RevisionFact
from platemark.verify.steps import Step, fail, require


def check_file(plaintext_sha256: Digest32, manifest: Manifest, *, salt: bytes = b"") -> int:
    """Return the index of the file in the manifest; the content `salt` (32 bytes) opens a private one.

    Errors: VerificationError `file-unknown`.
    """
    digest = named_hash(plaintext_sha256, private=manifest.private, salt=salt)
    indices = [file.index for file in manifest.files if file.sha256 == digest]
    require(
        bool(indices),
        Step.FILE,
        "the manifest does not name this file",
        code="file-unknown",
        expected=" or ".join(digest_text(file.sha256) for file in manifest.files[:4]),
        found=digest_text(digest),
        hint="a file that was saved again is another file",
    )
    return indices[0]


def check_manifest(data: bytes, revision: RevisionFact) -> Manifest:
    """Return the manifest, whose bytes are those that were registered.

    Errors: VerificationError `manifest-digest`; MalformedError for its form.
    """
    found = sha256(data)
    require(
        found == revision.manifest_digest,
        Step.MANIFEST,
        "the manifest is not the one that was registered",
        code="manifest-digest",
        expected=digest_text(revision.manifest_digest),
        found=digest_text(found),
    )
    return Manifest.parse(data)


def check_registration(design: DesignFact, contracts: Contracts) -> None:
    """Pass when the design's id is the digest of its registration.

    Errors: VerificationError `design-digest`.
    """
    found = int.from_bytes(design.registration.digest(contracts.registry_domain), "big")
    require(
        found == design.design_id,
        Step.REGISTRATION,
        "the design's id is not the digest of its registration",
        code="design-digest",
        expected=id_text(design.design_id),
        found=id_text(found),
    )


def check_commitment(design: DesignFact, revision: RevisionFact, salt: bytes, root: Digest32) -> None:
    """Pass when the registrant committed to these files: `salt` and `root` open the commitment.

    Errors: VerificationError `commitment`.
    """
    found = commitment(design.registration.registrant, salt, root)
    require(
        found == revision.commitment,
        Step.REGISTRATION,
        "the registrant committed to other files",
        code="commitment",
        expected=digest_text(revision.commitment),
        found=digest_text(found),
    )


def check_root(manifest: Manifest, root: Digest32) -> None:
    """Pass when the files that a public manifest names have this root; a private one names salted hashes.

    Errors: VerificationError `files-root`.
    """
    found = files_root(file.sha256 for file in manifest.files)
    require(
        found == root,
        Step.REGISTRATION,
        "the files of the manifest have another root than was committed to",
        code="files-root",
        expected=digest_text(root),
        found=digest_text(found),
    )


def check_registrant(design: DesignFact, manifest: Manifest) -> None:
    """Pass when the manifest names the registrant who registered it.

    Errors: VerificationError `registrant`.
    """
    require(
        manifest.registrant == design.registration.registrant,
        Step.REGISTRATION,
        "the manifest names another registrant",
        code="registrant",
        expected=address_text(design.registration.registrant),
        found=address_text(manifest.registrant),
    )


def check_revision(design: DesignFact, number: int) -> RevisionFact:
    """Return a revision that was published and is not recalled.

    Errors: VerificationError `revision-unknown`, `revision-recalled`.
    """
    revision = design.revisions.get(number)
    if revision is None:
        fail(
            Step.REVISION,
            f"revision {number} was never published",
            code="revision-unknown",
            expected=f"one of 1 to {max(design.revisions, default=0)}",
            found=number,
        )
    if revision.recalled is not None:
        fail(
            Step.REVISION,
            f"revision {number} was recalled by the design's owner",
            code="revision-recalled",
            expected="not recalled",
            found=f"recalled in block {revision.recalled.number}",
        )
    return revision


def claims(root: Digest32, designs: Mapping[DesignId, DesignFact]) -> list[tuple[DesignFact, RevisionFact]]:
    """Return everybody who revealed these files, the earliest commitment first; all after the first are rivals."""
    found: Iterable[tuple[DesignFact, RevisionFact]] = (
        (design, revision)
        for design in designs.values()
        for revision in design.revisions.values()
        if revision.files_root == root
    )
    return sorted(found, key=lambda claim: (claim[1].block.number, claim[0].design_id))
