"""What designers do with designs, as decisions over rows; endpoints open the transactions.

Whoever signs is checked outside of any transaction, also of one that reads: a contract wallet is asked over the
network, and takes its time.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import VerificationError
from platemark.protocol import digests
from platemark.protocol.cid import Cid, raw_block, raw_cid
from platemark.protocol.content_key import KeyPackage, wrapping_context
from platemark.protocol.manifest import Manifest
from platemark.protocol.typed_data import EditionLimit, Publication, Recall, Registration
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    UnixSeconds,
    digest_text,
    id_text,
)
from platemark_gateway.audit import journal
from platemark_gateway.auth import signatures
from platemark_gateway.auth.scopes import Principal
from platemark_gateway.clock import chain_now
from platemark_gateway.container import Container
from platemark_gateway.db import locks
from platemark_gateway.designs import repository
from platemark_gateway.designs.errors import (
    DeadlinePassedError,
    DesignUnknownError,
    NotOwnerError,
    NotPublishedError,
    PrivateDesignError,
    RevisionRecalledError,
    RevisionTakenError,
)
from platemark_gateway.designs.schemas import DesignPage, DesignView, RevisionState, RevisionView
from platemark_gateway.errors import not_final
from platemark_gateway.models.design import Design, Revision
from platemark_gateway.ports import ChainProgress, Contract, FactStatus
from platemark_gateway.ratelimit import quotas

PAGE = 50


# --- reading ------------------------------------------------------------------------------------------------


async def view(session: AsyncSession, container: Container, design_id: DesignId) -> DesignView:
    """Return a design as clients see it; errors: DesignUnknownError."""
    found = await repository.design(session, design_id)
    if found is None:
        raise DesignUnknownError
    (made,) = await _views(session, container, [found])
    return made


async def page(
    session: AsyncSession, container: Container, *, owner: Address | None, after: DesignId | None
) -> DesignPage:
    """Return a page of designs, of one owner or of all."""
    rows = await repository.page(session, owner=owner, after=after, limit=PAGE + 1)
    shown = rows[:PAGE]
    cursor = id_text(shown[-1].design_id) if len(rows) > PAGE else None
    return DesignPage(items=await _views(session, container, shown), cursor=cursor)


async def owner_of(session: AsyncSession, design_id: DesignId) -> Address:
    """Return a design's owner; errors: DesignUnknownError."""
    found = await repository.design(session, design_id)
    if found is None:
        raise DesignUnknownError
    return found.owner


async def is_recalled(session: AsyncSession, design_id: DesignId, number: int) -> bool:
    """Return whether a revision may no longer be printed: recalled in any block, or by a recall signed here."""
    found = await repository.revision(session, design_id, number)
    return found is None or _recalled(found)


async def require_owner(session: AsyncSession, caller: Address, design_id: DesignId, number: int) -> None:
    """Pass when a revision's design belongs to the caller.

    Errors: DesignUnknownError, to everybody else as for what is not there.
    """
    found = await repository.design(session, design_id)
    if found is None or found.owner != caller or await repository.revision(session, design_id, number) is None:
        raise DesignUnknownError


async def final_revision(session: AsyncSession, container: Container, design_id: DesignId, number: int) -> Revision:
    """Return a revision whose publication is final and which was not recalled.

    Errors: DesignUnknownError, `awaiting-finality`, RevisionRecalledError.
    """
    found = await repository.revision(session, design_id, number)
    if found is None:
        raise DesignUnknownError
    if _recalled(found):
        raise RevisionRecalledError
    await require_final(session, container, found.seen_block)
    return found


async def require_final(session: AsyncSession, container: Container, seen_block: int | None) -> None:
    """Pass when a fact seen in `seen_block` is final; errors: those of `errors.not_final`."""
    progress = await container.index.progress(session)
    if progress is None or progress.status(seen_block) is not FactStatus.FINAL:
        raise not_final(container.settings.finality_seconds, progress.dispute if progress else None)


def key_package(container: Container, row: Revision) -> KeyPackage:
    """Return the content key and the commitment's opening that were deposited for a revision.

    Errors: NotPublishedError when nothing was deposited; VaultError when the row was moved or altered;
        VerificationError `key-commitment`.
    """
    if row.wrapped_package is None or row.key_commitment is None:
        raise NotPublishedError
    package = KeyPackage.from_bytes(container.vault.unwrap(row.wrapped_package, package_context(container, row)))
    package.key.check(row.key_commitment)
    return package


def package_context(container: Container, row: Revision) -> bytes:
    """Return the associated data under which a revision's key is wrapped."""
    deployment = container.chain.deployment
    if row.key_commitment is None:
        raise NotPublishedError
    return wrapping_context(deployment.chain_id, deployment.registry, row.design_id, row.revision, row.key_commitment)


# --- registering --------------------------------------------------------------------------------------------


async def check_registration(container: Container, registration: Registration, signature: bytes) -> DesignId:
    """Return the design's id.

    A registration that names a parent is tried on the chain's state first: whether the parent is there, and how long
    its line is, only the registry knows.

    Errors: UnauthenticatedError when the registrant did not sign; ConflictError `design-unknown`, `parent-too-deep`;
        UnavailableError when there is a parent and the chain cannot be asked.
    """
    digest = registration.digest(container.chain.deployment.registry_domain())
    await signatures.check(container.chain, registration.registrant, digest, signature)
    if registration.parent_id:
        await container.chain.try_call(Contract.REGISTRY, "registerBySig", [registration.arguments(), signature])
    return DesignId(int.from_bytes(digest, "big"))


async def register(
    session: AsyncSession, container: Container, design_id: DesignId, registration: Registration, signature: bytes
) -> None:
    """Note a checked registration and have it sent; again is harmless, and sends again what failed.

    Errors: LimitedError `limit-gas`.
    """
    await locks.take(session, f"register:{id_text(design_id)}")
    found = await repository.design(session, design_id, lock=True)
    if found is not None and found.seen_block is not None:
        return
    transaction = await relay(
        session,
        container,
        payer=registration.registrant,
        purpose="design.register",
        contract=Contract.REGISTRY,
        function="registerBySig",
        arguments=[registration.arguments(), signature],
        dedupe_key=f"register:{id_text(design_id)}",
    )
    if found is not None:
        found.transaction_id = transaction
        return
    now = container.clock.now()
    session.add(
        Design(
            design_id=design_id,
            registrant=registration.registrant,
            owner=registration.registrant,
            is_private=registration.is_private,
            parent_id=registration.parent_id,
            resale_share=registration.resale_share,
            derivative_share=registration.derivative_share,
            edition=registration.edition,
            edition_limit=registration.edition,
            transaction_id=transaction,
            created_at=now,
        )
    )
    await session.flush()
    session.add(
        Revision(
            design_id=design_id,
            revision=1,
            commitment=registration.commitment,
            manifest_digest=registration.manifest_digest,
            transaction_id=transaction,
            created_at=now,
        )
    )
    journal.record(
        session, container.clock, actor=registration.registrant, action="design.register", subject=id_text(design_id)
    )


async def check_signed(
    container: Container, statement: Publication | Recall | EditionLimit, signature: bytes
) -> Address:
    """Return the design's owner, who signed a statement that is still good.

    Errors: DesignUnknownError, DeadlinePassedError, UnauthenticatedError.
    """
    async with container.database.read() as session:
        owner = await owner_of(session, statement.design_id)
        await require_deadline(session, container, statement.deadline)
    digest = statement.digest(container.chain.deployment.registry_domain())
    await signatures.check(container.chain, owner, digest, signature)
    return owner


async def publish(session: AsyncSession, container: Container, publication: Publication, signature: bytes) -> None:
    """Note a checked later revision and have it sent; again is harmless.

    Errors: RevisionTakenError unless it is the next one, or this very one.
    """
    design = await repository.design(session, publication.design_id, lock=True)
    if design is None:
        raise DesignUnknownError
    rows = (await repository.revisions(session, [publication.design_id]))[publication.design_id]
    latest = max((row.revision for row in rows if row.seen_block is not None), default=0)
    found = next((row for row in rows if row.revision == publication.revision), None)
    same = found is not None and (found.commitment, found.manifest_digest) == (
        publication.commitment,
        publication.manifest_digest,
    )
    if found is not None and found.seen_block is not None and same:
        return
    if publication.revision != latest + 1 or latest == 0:
        raise RevisionTakenError(latest + 1)
    digest = digests.sha256(publication.digest(container.chain.deployment.registry_domain()))
    transaction = await relay(
        session,
        container,
        payer=design.owner,
        purpose="design.publish",
        contract=Contract.REGISTRY,
        function="publishBySig",
        arguments=[publication.arguments(), signature],
        dedupe_key=f"publish:{digest.hex()}",
    )
    if found is None:
        found = Revision(
            design_id=publication.design_id,
            revision=publication.revision,
            commitment=publication.commitment,
            manifest_digest=publication.manifest_digest,
            created_at=container.clock.now(),
        )
        session.add(found)
    elif not same:
        replace_content(found, publication.commitment, publication.manifest_digest)
    found.transaction_id = transaction
    journal.record(
        session,
        container.clock,
        actor=design.owner,
        action="design.publish",
        subject=id_text(design.design_id),
        detail={"revision": publication.revision},
    )


def replace_content(row: Revision, commitment: Digest32, manifest_digest: Digest32) -> None:
    """Let a revision be another one, which has neither manifest nor deposit yet."""
    row.commitment = commitment
    row.manifest_digest = manifest_digest
    row.manifest_cid = row.key_commitment = row.wrapped_package = row.deposited_at = None


# --- manifest, reveal, recall -------------------------------------------------------------------------------


async def check_manifest(
    session: AsyncSession, container: Container, principal: Principal, design_id: DesignId, number: int, data: bytes
) -> Manifest:
    """Return the manifest in `data`, which is the one that a final revision names.

    Errors: NotOwnerError, `awaiting-finality`, RevisionRecalledError; VerificationError `manifest-digest`,
        `manifest-design`; MalformedError for a manifest that is none.
    """
    design, row = await _owned(session, principal, design_id, number)
    if _recalled(row):
        raise RevisionRecalledError
    await require_final(session, container, row.seen_block)
    found = digests.sha256(data)
    if found != row.manifest_digest:
        raise VerificationError(
            "these are not the manifest's bytes that were registered",
            step="manifest",
            code="manifest-digest",
            expected=digest_text(row.manifest_digest),
            found=digest_text(found),
        )
    manifest = Manifest.parse(data)
    expected = (design.registrant, design.is_private, design.parent_id)
    if (manifest.registrant, manifest.private, manifest.parent_id or 0) != expected:
        raise VerificationError(
            "the manifest contradicts the registration",
            step="manifest",
            code="manifest-design",
            expected="registrant, privacy and parent as registered",
            found="others",
        )
    return manifest


async def store_manifest(container: Container, data: bytes) -> Cid:
    """Store a checked manifest as a block and return its identifier."""
    block = raw_block(data)
    await container.blocks.put(block.cid, block.data)
    await container.blocks.pin(block.cid)
    return block.cid


async def note_manifest(
    session: AsyncSession, container: Container, principal: Principal, design_id: DesignId, number: int, data: bytes
) -> Cid:
    """Note that a stored manifest is published; everything is checked again under the row's lock."""
    await repository.design(session, design_id, lock=True)
    await check_manifest(session, container, principal, design_id, number, data)
    row = await repository.revision(session, design_id, number, lock=True)
    if row is None:
        raise DesignUnknownError
    cid = raw_cid(data)
    if row.manifest_cid is None:
        row.manifest_cid = cid.text
        journal.record(
            session,
            container.clock,
            actor=principal.address,
            action="design.manifest",
            subject=id_text(design_id),
            detail={"revision": number, "cid": cid.text},
        )
    return cid


async def reveal(
    session: AsyncSession,
    container: Container,
    principal: Principal,
    design_id: DesignId,
    number: int,
    *,
    salt: bytes,
    files_root: Digest32,
) -> None:
    """Have a public revision's content revealed on chain; again is harmless.

    Errors: NotOwnerError, PrivateDesignError, `awaiting-finality`; VerificationError `commitment`.
    """
    design, row = await _owned(session, principal, design_id, number, lock=True)
    if design.is_private:
        raise PrivateDesignError
    found = digests.commitment(design.registrant, salt, files_root)
    if found != row.commitment:
        raise VerificationError(
            "salt and files root do not open the commitment",
            step="commitment",
            code="commitment",
            expected=digest_text(row.commitment),
            found=digest_text(found),
        )
    if row.revealed_block is not None:
        return
    await require_final(session, container, row.seen_block)
    function, arguments = "revealRevision", [design_id, number, salt, files_root]
    if number == 1:
        function, arguments = "reveal", [_registration(design, row).arguments(), salt, files_root]
    await relay(
        session,
        container,
        payer=principal.address,
        purpose="design.reveal",
        contract=Contract.REGISTRY,
        function=function,
        arguments=arguments,
        dedupe_key=f"reveal:{id_text(design_id)}:{number}",
    )
    journal.record(
        session,
        container.clock,
        actor=principal.address,
        action="design.reveal",
        subject=id_text(design_id),
        detail={"revision": number},
    )


async def recall(session: AsyncSession, container: Container, recall: Recall, signature: bytes) -> None:
    """Stop releases of a revision from now on and have the recall sent; again is harmless.

    Errors: DesignUnknownError.
    """
    design = await repository.design(session, recall.design_id, lock=True)
    row = await repository.revision(session, recall.design_id, recall.revision, lock=True)
    if design is None or row is None or row.seen_block is None:
        raise DesignUnknownError
    if row.recall_signed_at is None:
        row.recall_signed_at = container.clock.now()
        row.recall_reason = recall.reason_digest
        journal.record(
            session,
            container.clock,
            actor=design.owner,
            action="design.recall",
            subject=id_text(design.design_id),
            detail={"revision": recall.revision},
        )
    if row.recalled_block is None:
        await relay(
            session,
            container,
            payer=design.owner,
            purpose="design.recall",
            contract=Contract.REGISTRY,
            function="recallBySig",
            arguments=[recall.arguments(), signature],
            dedupe_key=f"recall:{id_text(recall.design_id)}:{recall.revision}",
        )


# --- edition ------------------------------------------------------------------------------------------------


async def lower_edition(
    session: AsyncSession, container: Container, owner: Address, limit: EditionLimit, signature: bytes
) -> None:
    """Have a checked limit sent, unless it stands already; the edition that is shown changes with the chain's event.

    Errors: DesignUnknownError; LimitedError `limit-gas`.
    """
    design = await repository.design(session, limit.design_id, lock=True)
    if design is None:
        raise DesignUnknownError
    if design.edition_limit == limit.edition:
        return
    await relay(
        session,
        container,
        payer=owner,
        purpose="design.edition",
        contract=Contract.REGISTRY,
        function="lowerEditionBySig",
        arguments=[limit.arguments(), signature],
        dedupe_key=f"edition:{limit.digest(container.chain.deployment.registry_domain()).hex()}",
    )
    journal.record(
        session,
        container.clock,
        actor=owner,
        action="design.edition",
        subject=id_text(limit.design_id),
        detail={"edition": limit.edition},
    )


# --- shared with licences -----------------------------------------------------------------------------------


async def relay(
    session: AsyncSession,
    container: Container,
    *,
    payer: Address,
    purpose: str,
    contract: Contract,
    function: str,
    arguments: Sequence[object],
    dedupe_key: str,
    relays: int = 1,
) -> UUID:
    """Put a call of a contract into the outbox, at the cost of the account's and the gateway's daily quota.

    Returns the transaction's id. `relays` is what it costs: a call that does the work of several counts as several.

    Errors: LimitedError `limit-gas`.
    """
    await quotas.spend_relays(
        session,
        container.clock,
        payer=payer,
        gateway=container.vault.account,
        amount=relays,
        limit=container.settings.relays_per_day,
        limit_in_all=container.settings.relays_per_day_in_all,
    )
    return await container.transactions.enqueue(
        session,
        purpose=purpose,
        to=container.chain.deployment.address(contract),
        data=container.calls.encode(contract, function, arguments),
        dedupe_key=dedupe_key,
    )


async def require_deadline(session: AsyncSession, container: Container, deadline: UnixSeconds) -> None:
    """Pass when a signature is still good for the chain; errors: DeadlinePassedError."""
    progress = await container.index.progress(session)
    head = progress.head.timestamp if progress is not None else UnixSeconds(0)
    if deadline < chain_now(container.clock, head):
        raise DeadlinePassedError


async def status_of(
    session: AsyncSession,
    container: Container,
    progress: ChainProgress | None,
    seen_block: int | None,
    transaction_id: UUID | None,
) -> FactStatus:
    """Return how firmly a relayed fact stands; FAILED when it is in no block and its transaction failed."""
    if seen_block is not None:
        return FactStatus.SEEN if progress is None else progress.status(seen_block)
    if transaction_id is not None:
        transaction = await container.transactions.view(session, transaction_id)
        if transaction is not None and transaction.status == "failed":
            return FactStatus.FAILED
    return FactStatus.PENDING


async def _owned(
    session: AsyncSession, principal: Principal, design_id: DesignId, number: int, *, lock: bool = False
) -> tuple[Design, Revision]:
    design = await repository.design(session, design_id, lock=lock)
    row = await repository.revision(session, design_id, number, lock=lock)
    if design is None or row is None:
        raise DesignUnknownError
    if principal.address not in {design.owner, design.registrant}:
        raise NotOwnerError
    return design, row


def _registration(design: Design, first: Revision) -> Registration:
    return Registration(
        registrant=design.registrant,
        commitment=first.commitment,
        manifest_digest=first.manifest_digest,
        is_private=design.is_private,
        parent_id=design.parent_id,
        resale_share=design.resale_share,
        derivative_share=design.derivative_share,
        edition=design.edition,
    )


def _recalled(row: Revision) -> bool:
    return row.recalled_block is not None or row.recall_signed_at is not None


async def _views(session: AsyncSession, container: Container, rows: Sequence[Design]) -> list[DesignView]:
    progress = await container.index.progress(session)
    revisions = await repository.revisions(session, [row.design_id for row in rows])
    made = []
    for row in rows:
        own = revisions[row.design_id]
        made.append(
            DesignView(
                design_id=row.design_id,
                registrant=row.registrant,
                owner=row.owner,
                status=await status_of(session, container, progress, row.seen_block, row.transaction_id),
                latest_revision=max((each.revision for each in own if each.seen_block is not None), default=1),
                is_private=row.is_private,
                parent_id=row.parent_id,
                resale_share=row.resale_share,
                derivative_share=row.derivative_share,
                registered_edition=row.edition,
                edition=row.edition_limit,
                revisions=[
                    RevisionView(
                        revision=each.revision,
                        commitment=each.commitment,
                        manifest_digest=each.manifest_digest,
                        manifest_cid=each.manifest_cid,
                        state=_state(each),
                        status=await status_of(session, container, progress, each.seen_block, each.transaction_id),
                        revealed=each.revealed_block is not None,
                        files_root=each.files_root,
                    )
                    for each in own
                ],
                transaction=row.transaction_id,
            )
        )
    return made


def _state(row: Revision) -> RevisionState:
    if _recalled(row):
        return "recalled"
    if row.deposited_at is not None:
        return "deposited"
    return "registered" if row.manifest_cid is None else "published"
