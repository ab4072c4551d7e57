"""Parts: what a serial stands for today, and the passport that shows it without us."""

import asyncio
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.cid import Cid
from platemark.protocol.jws import Signer
from platemark.protocol.manifest import Manifest
from platemark.protocol.passport import Anchor, LoggedEntry, Passport, ReceiptPart, Status
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import Receipt
from platemark.protocol.release import Release
from platemark.protocol.tiles import LogReader
from platemark.protocol.typed_data import Registration, Terms
from platemark.protocol.units import Digest32, TokenId, UnixSeconds
from platemark_gateway import profiles
from platemark_gateway.container import Container
from platemark_gateway.errors import VaultError
from platemark_gateway.models.design import Design, Revision
from platemark_gateway.models.license import License
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogAnchor
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import errors, repository, service
from platemark_gateway.prints.service import envelope_of
from platemark_gateway.tokens.service import now_of, permission_of


@dataclass(frozen=True, slots=True)
class Part:
    """A serial's print, where there is one, and its status."""

    serial: str
    status: Status
    known: Print | None = None
    token: Token | None = None
    recall_reason: Digest32 | None = None


@dataclass(frozen=True, slots=True)
class _Documents:
    """Everything of one part that the database holds."""

    serial: str
    known: Print
    outcome: PrintOutcome | None
    token: Token
    design: Design
    first: Revision
    revision: Revision
    license: License
    anchor: LogAnchor | None
    profile: GatewayProfile
    positions: dict[Digest32, tuple[int | None, bytes]]


async def look_up(session: AsyncSession, container: Container, serial: str) -> Part:
    """Return what a serial stands for today; an unknown one is an answer, no error."""
    known = await repository.print_with(session, serial)
    token = None if known is None else await repository.token_of(session, known.token_id)
    if known is None or token is None:
        return Part(serial, Status.UNKNOWN)
    _, _, revision, _ = await repository.documents_of(session, token)
    outcome = await repository.outcome_of(session, known.token_id, known.sequence)
    anchor = await _anchor(
        session, container, await repository.positions(session, known.token_id, _leaves(known, outcome))
    )
    if outcome is not None and outcome.result != 1:
        status = Status.VOIDED
    elif revision is not None and (revision.recalled_block is not None or revision.recall_signed_at is not None):
        status = Status.RECALLED
    elif anchor is None or (outcome is None and may_still_end(token, await now_of(session, container))):
        status = Status.PROVISIONAL
    else:
        status = Status.VALID
    reason = revision.recall_reason if revision is not None and status is Status.RECALLED else None
    return Part(serial, status, known, token, reason)


def may_still_end(token: Token, now: UnixSeconds) -> bool:
    """Whether a print without an outcome may yet have failed; afterwards it counts as made."""
    return now < token.expires_at + SETTLE_BY_ANYBODY_SECONDS


async def passport(container: Container, serial: str) -> Passport:
    """Return a part's public passport; without an anchor it is provisional, and of a private design without a receipt.

    The digest of G-code in a receipt would let whoever slices a guess of the file confirm it; its agent has it.

    Errors: NotFoundError `serial-unknown`; ConflictError `passport-incomplete`; UnavailableError.
    """
    async with container.database.read() as session:
        documents = await _documents(session, container, serial)
    manifest = await _manifest(container, documents)
    signer = _signer(container, documents.profile)
    anchor = documents.anchor
    profile = documents.profile
    logged = await asyncio.to_thread(_logged, container, documents, anchor)
    outcome = documents.outcome
    envelope = None if outcome is None else envelope_of(container, outcome, documents.token.agent, profile)
    receipt = None
    material = ""
    if envelope is not None and outcome is not None and outcome.receipt_salt is not None:
        if not documents.design.is_private:
            receipt = ReceiptPart(envelope, outcome.receipt_salt)
        stated = Receipt.parse(envelope.statement).material
        material = stated.name if stated else ""
    return Passport(
        registration=_registration(documents),
        revision=documents.token.revision,
        manifest=manifest,
        terms=Terms.from_json(documents.license.terms),
        profile=profile,
        permission=permission_of(documents.token),
        permission_signature=documents.token.holder_signature or b"",
        token_digest=documents.known.token_digest,
        release=_release(documents).sign(signer),
        sequence=documents.known.sequence,
        redeemed=logged[documents.known.leaf_hash],
        outcome=None if outcome is None else logged[outcome.leaf_hash],
        receipt=receipt,
        anchor=None if anchor is None else _stated_anchor(anchor),
        material=material,
        warnings=manifest.warnings,
    )


def _signer(container: Container, profile: GatewayProfile) -> Signer:
    try:
        return profiles.signer_of(container, profile)
    except VaultError as error:
        if error.code != "vault-key-missing":
            raise
        raise errors.signer_lost() from error


async def _documents(session: AsyncSession, container: Container, serial: str) -> _Documents:
    known = await repository.print_with(session, serial)
    token = None if known is None else await repository.token_of(session, known.token_id)
    if known is None or token is None:
        raise errors.part_unknown()
    design, first, revision, license_row = await repository.documents_of(session, token)
    if design is None or first is None or revision is None or license_row is None:
        raise errors.passport_incomplete("the design's registration or terms")
    if token.holder_signature is None:
        raise errors.passport_incomplete(
            "the holder's signature of the permission, which others relayed or a restore lost,",
            hint="the print centre has it: platemark outcome TOKEN --resend",
        )
    outcome = await repository.outcome_of(session, known.token_id, known.sequence)
    positions = await repository.positions(session, known.token_id, _leaves(known, outcome))
    anchor = await _anchor(session, container, positions)
    return _Documents(
        serial=serial,
        known=known,
        outcome=outcome,
        token=token,
        design=design,
        first=first,
        revision=revision,
        license=license_row,
        anchor=anchor,
        profile=await _profile(session, container, known, positions),
        positions=positions,
    )


def _leaves(known: Print, outcome: PrintOutcome | None) -> list[Digest32]:
    return [known.leaf_hash] if outcome is None else [known.leaf_hash, outcome.leaf_hash]


async def _anchor(
    session: AsyncSession, container: Container, positions: dict[Digest32, tuple[int | None, bytes]]
) -> LogAnchor | None:
    """Return the first final anchor over all of a part's entries, so that its passport stays the same from then on."""
    progress = await container.index.progress(session)
    head = await repository.head(session)
    placed = [position for position, _ in positions.values() if position is not None]
    if progress is None or head is None or not placed or len(placed) < len(positions):
        return None
    return await repository.anchor_over(
        session, container.vault.account, head.epoch, max(placed), up_to_block=progress.final.number
    )


def _logged(container: Container, documents: _Documents, anchor: LogAnchor | None) -> dict[Digest32, LoggedEntry]:
    """Return the part's entries with their proofs against the anchor's root; without an anchor, without proofs."""
    files = service.files_of(container)
    reader = None if anchor is None else LogReader(anchor.size, anchor.root, files.read)
    found = {}
    for leaf, (position, entry) in documents.positions.items():
        proof = () if reader is None or position is None else tuple(reader.inclusion_proof(position))
        found[leaf] = LoggedEntry(entry, position or 0, proof)
    return found


async def _manifest(container: Container, documents: _Documents) -> Manifest:
    if documents.revision.manifest_cid is None:
        raise errors.passport_incomplete("the manifest")
    return Manifest.parse(await container.blocks.get(Cid.parse(documents.revision.manifest_cid)))


async def _profile(
    session: AsyncSession,
    container: Container,
    known: Print,
    positions: dict[Digest32, tuple[int | None, bytes]],
) -> GatewayProfile:
    """Return the profile whose keys speak for a print.

    That is the one it was released under, if that was still in force when the entry was anchored first; otherwise the
    one in force then, and the one that is declared now for what no anchor covers (docs/verification.md, step 10).
    """
    progress = await container.index.progress(session)
    final = progress.final.number if progress else 0
    declared = await profiles.declarations(session, container.vault.account, up_to_block=final)
    position, _ = positions[known.leaf_hash]
    anchor = None
    if position is not None:
        anchor = await repository.first_anchor(session, container.vault.account, position, up_to_block=final)
    if anchor is None or anchor.seen_block is None:
        in_force = declared[-1].profile_digest if declared else known.profile_digest
        return await profiles.profile_of(session, container, in_force)
    block, in_force = anchor.seen_block, known.profile_digest
    for number, found in enumerate(declared, 1):
        later = declared[number] if number < len(declared) else None
        if found.seen_block <= block and any(found.profile_digest):
            if found.profile_digest == known.profile_digest and (later is None or later.seen_block >= block):
                return await profiles.profile_of(session, container, known.profile_digest)
            in_force = found.profile_digest
    return await profiles.profile_of(session, container, in_force)


def _registration(documents: _Documents) -> Registration:
    design = documents.design
    return Registration(
        registrant=design.registrant,
        commitment=documents.first.commitment,
        manifest_digest=documents.first.manifest_digest,
        is_private=design.is_private,
        parent_id=design.parent_id,
        resale_share=design.resale_share,
        derivative_share=design.derivative_share,
        edition=design.edition,
    )


def _release(documents: _Documents) -> Release:
    known = documents.known
    return Release(
        origin=documents.profile.log_origin,
        leaf_hash=known.leaf_hash,
        token_id=TokenId(known.token_id),
        sequence=known.sequence,
        print_id=known.print_id,
        key_commitment=known.key_commitment,
        manifest_digest=known.manifest_digest,
        merge_by=UnixSeconds(known.merge_by),
        profile_digest=documents.profile.digest(),
    )


def _stated_anchor(anchor: LogAnchor) -> Anchor | None:
    if anchor.seen_block is None or anchor.seen_hash is None or anchor.transaction_hash is None:
        return None
    return Anchor(
        gateway=anchor.gateway,
        epoch=anchor.epoch,
        size=anchor.size,
        root=anchor.root,
        tiles_digest=anchor.tiles_digest,
        block_number=anchor.seen_block,
        block_hash=anchor.seen_hash,
        transaction=anchor.transaction_hash,
    )
