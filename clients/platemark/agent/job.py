"""A print made ready: everything that can fail for local reasons, checked before anything is redeemed.

    1  the token is this agent's, valid, and not in its last hour
    2  manifest and terms are the blocks that token, licence and chain name
    3  printer, slicer and material can do what manifest and terms demand
    4  every ciphertext that is needed is here, whole and unchanged

A job holds ciphertext only; the key comes with the release.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from platemark.agent.printers.printing import Printer
from platemark.agent.registered import ChainView, RegisteredRevision
from platemark.agent.slicers.choice import choose_slicer
from platemark.agent.slicers.slicing import Slicer
from platemark.agent.spool import TokenRecord
from platemark.errors import Kind, LocalError, MalformedError, RefusedError, UpstreamError, VerificationError
from platemark.geometry.mesh import check_fits, turned_size
from platemark.protocol.cid import Cid, Codec, read_file
from platemark.protocol.license_terms import Demands
from platemark.protocol.manifest import Manifest, ManifestFile, Part, Process
from platemark.protocol.permission import LAST_RELEASE_BEFORE_EXPIRY_SECONDS
from platemark.protocol.plain_text import reason_of
from platemark.protocol.receipt import Material
from platemark.protocol.terms_document import TermsDocument, check_digest
from platemark.protocol.token import PrintToken
from platemark.protocol.typed_data import Terms, license_domain
from platemark.protocol.units import Digest32, LicenseId, UnixSeconds, digest_text, id_text
from platemark.sdk.answers import LicenseState
from platemark.sdk.ipfs import BlockSource

MAX_SEALED_BYTES: Final = 1 << 30
"""What one print may fetch; ciphertext waits in memory for its key."""


class LicenseDesk(Protocol):
    """The part of a gateway that shows licences."""

    def license(self, license_id: LicenseId) -> LicenseState:
        """Return a licence."""
        ...


@dataclass(frozen=True, slots=True)
class Body:
    """One body of a product: which part, and which copy of it (0 and up)."""

    part: str
    index: int


@dataclass(frozen=True, slots=True)
class Product:
    """What one print of a token is: enough to say how it ended, also when nothing may be released any more."""

    record: TokenRecord
    token: PrintToken
    manifest: Manifest
    material: Material | None

    def bodies(self) -> tuple[Body, ...]:
        """Return every body of the product, in the manifest's order."""
        return tuple(Body(part.name, index) for part in self.manifest.parts for index in range(part.quantity))

    def part(self, name: str) -> Part:
        """Return the part of that name."""
        return next(part for part in self.manifest.parts if part.name == name)


@dataclass(frozen=True, slots=True, repr=False)
class Job(Product):
    """One product of a token, ready to be redeemed and printed."""

    terms: Terms
    document: TermsDocument
    registered: RegisteredRevision
    sealed: Mapping[int, bytes]

    def __repr__(self) -> str:
        return f"Job({id_text(self.token.token_id)}, {self.manifest.title!r})"


def reopen(record: TokenRecord, *, blocks: BlockSource, material: Material | None) -> Product:
    """Return what a print of this token was, after it was made: for its outcome, which may come after expiry or recall.

    The manifest is the one that the token names; it was compared with the chain before anything was redeemed.

    Errors: VerificationError `block-mismatch`; UpstreamError `block-unavailable`; MalformedError.
    """
    token = record.token()
    return Product(record, token, Manifest.parse(_block(blocks, token.manifest)), material)


def prepare(
    record: TokenRecord,
    *,
    desk: LicenseDesk,
    blocks: BlockSource,
    chain: ChainView,
    printers: Sequence[Printer],
    slicers: Sequence[Slicer],
    material: Material | None,
    now: UnixSeconds,
) -> Job:
    """Return a print of this token that any of `printers` can make, all local checks passed.

    Errors: RefusedError `token-not-yet`, `token-expired`, `process-not-offered`, `material-…`,
        `nozzle-too-large`, `protection-not-kept`, `supports-not-made`, `part-does-not-fit`; VerificationError
        `revision-recalled` with the owner's reason where it is at hand, `block-mismatch`, `manifest-digest`, `terms-…`,
        `ciphertext`; UpstreamError `block-unavailable`; LocalError `too-large`.
    """
    token = record.token()
    check_time(token, now)
    registered = _registered(token, chain, blocks)
    manifest = _manifest(token, registered, blocks)
    terms, document = _terms(record, token, desk, blocks)
    demands = document.demands()
    _check_material(manifest, demands, material)
    for printer in printers:
        check_printer(manifest, demands, printer, slicers)
    return Job(record, token, manifest, material, terms, document, registered, _sealed(manifest, blocks))


def check_time(token: PrintToken, now: UnixSeconds) -> None:
    """Refuse a token that is not valid yet, has expired, or is in its last hour.

    Errors: RefusedError `token-not-yet`, `token-expired`.
    """
    if now < token.not_before:
        raise RefusedError("the token is not valid yet", kind=Kind.CONFLICT, code="token-not-yet")
    if now + LAST_RELEASE_BEFORE_EXPIRY_SECONDS >= token.expires_at:
        raise RefusedError(
            "the token has expired, or is in its last hour, in which no key is released",
            kind=Kind.CONFLICT,
            code="token-expired",
            hint="obtain a new token; unused prints return to their holder",
        )


def check_printer(manifest: Manifest, demands: Demands, printer: Printer, slicers: Sequence[Slicer]) -> Slicer:
    """Return the slicer with which a printer can make this product as terms and manifest demand; errors above."""
    constraints = manifest.constraints
    if constraints.process is not Process.FDM:
        raise RefusedError(
            f"the design is for {constraints.process.value}, the printers here are FDM",
            kind=Kind.CONFLICT,
            code="process-not-offered",
        )
    if constraints.nozzle_mm is not None and printer.nozzle_mm > constraints.nozzle_mm:
        raise RefusedError(
            f"the design allows a nozzle of {constraints.nozzle_mm} mm, {printer.name} has {printer.nozzle_mm} mm",
            kind=Kind.CONFLICT,
            code="nozzle-too-large",
        )
    slicer = choose_slicer(slicers, printer, demands.protection, needs_supports=bool(constraints.supports))
    for part in manifest.parts:
        size = turned_size(part.bounding_box_mm, part.orientation)
        check_fits(size, printer.volume_mm, printer=f"printer {printer.name}")
    return slicer


def needed_files(manifest: Manifest) -> tuple[ManifestFile, ...]:
    """Return the files that a print decrypts: those of its parts, and all when only they open a private root."""
    used = {part.file for part in manifest.parts}
    return tuple(file for file in manifest.files if manifest.private or file.index in used)


def _registered(token: PrintToken, chain: ChainView, blocks: BlockSource) -> RegisteredRevision:
    try:
        return chain.revision(token.design_id, token.revision)
    except VerificationError as error:
        reason = None if error.code != "revision-recalled" else _reason(token, chain, blocks)
        if reason is None:
            raise
        raise VerificationError(
            f"revision {token.revision} was recalled; the reason in its owner's words: “{reason}”",
            step=error.step,
            code=error.code,
            expected=error.expected,
            found=error.found,
            hint=error.hint,
        ) from error


def _reason(token: PrintToken, chain: ChainView, blocks: BlockSource) -> str | None:
    """Return why a revision was recalled, where the chain names a block of text that is at hand."""
    try:
        digest = chain.recall_reason(token.design_id, token.revision)
        data = None if digest is None else _block(blocks, Cid(Codec.RAW, digest))
    except (UpstreamError, VerificationError):
        return None
    return None if data is None else reason_of(data)


def _manifest(token: PrintToken, registered: RegisteredRevision, blocks: BlockSource) -> Manifest:
    if token.manifest != Cid(Codec.RAW, registered.manifest_digest):
        raise VerificationError(
            "the token names another manifest than was registered",
            step="manifest",
            code="manifest-digest",
            expected=digest_text(registered.manifest_digest),
            found=token.manifest.text,
        )
    manifest = Manifest.parse(_block(blocks, token.manifest))
    if manifest.registrant != registered.registrant:
        raise VerificationError(
            "the manifest names another registrant than the chain",
            step="manifest",
            code="registrant",
            expected=registered.registrant.hex(),
            found=manifest.registrant.hex(),
        )
    return manifest


def _terms(
    record: TokenRecord, token: PrintToken, desk: LicenseDesk, blocks: BlockSource
) -> tuple[Terms, TermsDocument]:
    """Return the terms, which are those of the licence because their digest is its id, and their document."""
    terms = desk.license(token.license_id).terms
    domain = license_domain(record.profile.chain_id, record.profile.license)
    if terms.license_id(domain) != token.license_id or terms.design_id != token.design_id:
        raise VerificationError(
            "the gateway shows other terms than those of the licence",
            step="terms",
            code="license-digest",
            expected=id_text(token.license_id),
            found=id_text(terms.license_id(domain)),
        )
    return terms, check_digest(terms, _block(blocks, Cid(Codec.RAW, terms.terms_digest)))


def _check_material(manifest: Manifest, demands: Demands, material: Material | None) -> None:
    for allowed in (demands.materials, manifest.constraints.materials):
        if not allowed:
            continue
        if material is None:
            raise RefusedError(
                f"the design is printed in {' or '.join(allowed)}; nobody said what is loaded",
                kind=Kind.CONFLICT,
                code="material-unknown",
                hint="give --material",
            )
        if material.name.casefold() not in {name.casefold() for name in allowed}:
            raise RefusedError(
                f"{material.name} is not allowed: {' or '.join(allowed)}",
                kind=Kind.FORBIDDEN,
                code="material-not-allowed",
                hint=f"load {' or '.join(allowed)} and say so with --material",
            )


def _sealed(manifest: Manifest, blocks: BlockSource) -> Mapping[int, bytes]:
    files = needed_files(manifest)
    if sum(file.sealed_bytes for file in files) > MAX_SEALED_BYTES:
        raise LocalError("the design is too large for this agent's memory", code="too-large")
    return {file.index: _ciphertext(file, blocks) for file in files}


def _ciphertext(file: ManifestFile, blocks: BlockSource) -> bytes:
    data = b"".join(read_file(file.sealed_cid, blocks.get, max_bytes=file.sealed_bytes))
    found = Digest32(hashlib.sha256(data).digest())
    if found != file.sealed_sha256 or len(data) != file.sealed_bytes:
        raise VerificationError(
            f"the ciphertext of {file.name} is not the one that the manifest names",
            step="ciphertext",
            code="ciphertext",
            expected=f"{digest_text(file.sealed_sha256)}, {file.sealed_bytes} bytes",
            found=f"{digest_text(found)}, {len(data)} bytes",
            hint="ask another IPFS node for it",
        )
    return data


def _block(blocks: BlockSource, cid: Cid) -> bytes:
    data = blocks.get(cid)
    cid.check(data)
    if cid.codec is not Codec.RAW:
        raise MalformedError("a document is a single raw block", code="cid")
    return data
