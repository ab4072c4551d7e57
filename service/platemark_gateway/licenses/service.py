"""Acceptances, offers and mints, as decisions over rows; endpoints open the transactions.

Whoever signs is checked outside of any transaction, as in `designs`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import VerificationError
from platemark.protocol import canonical
from platemark.protocol.cid import Cid, raw_block
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.typed_data import Acceptance, Mint, Offer, Terms
from platemark.protocol.units import (
    Address,
    DesignId,
    LicenseId,
    UnixSeconds,
    address_text,
    digest_text,
    id_text,
)
from platemark_gateway.audit import journal
from platemark_gateway.auth import signatures
from platemark_gateway.auth.scopes import Principal
from platemark_gateway.clock import chain_now
from platemark_gateway.container import Container
from platemark_gateway.db import locks
from platemark_gateway.designs import service as designs
from platemark_gateway.designs.errors import NotOwnerError
from platemark_gateway.errors import UnauthenticatedError
from platemark_gateway.licenses import repository
from platemark_gateway.licenses.errors import (
    AcceptanceInvalidError,
    LicenseUnknownError,
    NotDepositedError,
    TermsForeignError,
)
from platemark_gateway.licenses.schemas import LicensePage, LicenseView
from platemark_gateway.models.license import License
from platemark_gateway.ports import Contract

PAGE: Final = 50


# --- reading ------------------------------------------------------------------------------------------------


async def view(session: AsyncSession, container: Container, license_id: LicenseId) -> LicenseView:
    """Return a licence as clients see it; errors: LicenseUnknownError."""
    found = await repository.license_row(session, license_id)
    if found is None:
        raise LicenseUnknownError
    (made,) = await _views(session, container, [found])
    return made


async def page(
    session: AsyncSession, container: Container, *, design_id: DesignId | None, after: LicenseId | None
) -> LicensePage:
    """Return a page of licences, of one design or of all."""
    rows = await repository.page(session, design_id=design_id, after=after, limit=PAGE + 1)
    shown = rows[:PAGE]
    cursor = id_text(shown[-1].license_id) if len(rows) > PAGE else None
    return LicensePage(items=await _views(session, container, shown), cursor=cursor)


async def known(session: AsyncSession, license_id: LicenseId) -> License:
    """Return a licence's row; errors: LicenseUnknownError."""
    found = await repository.license_row(session, license_id)
    if found is None:
        raise LicenseUnknownError
    return found


# --- acceptance ---------------------------------------------------------------------------------------------


def check_document(terms: Terms, document: Mapping[str, Any]) -> bytes:
    """Return the terms document's bytes, which the terms name and do not contradict.

    Errors: MalformedError; VerificationError `terms-digest`, `terms-differ`.
    """
    data = canonical.encode(document)
    parsed = TermsDocument.parse(data)
    if parsed.digest() != terms.terms_digest:
        raise VerificationError(
            "the terms name another document",
            step="terms",
            code="terms-digest",
            expected=digest_text(terms.terms_digest),
            found=digest_text(parsed.digest()),
        )
    parsed.check_terms(terms)
    return data


async def accept(
    session: AsyncSession, container: Container, principal: Principal, revision: int, terms: Terms
) -> tuple[Acceptance, bytes]:
    """Return the gateway's signed acceptance of terms whose document was checked.

    It is given only for a final revision whose key was deposited, which means: decrypted and compared in full. The
    terms name this gateway, or are those of a licence on chain that its owner wants to move here.

    Errors: NotOwnerError, TermsForeignError, NotDepositedError, and those of `designs.final_revision`.
    """
    await require_owner(session, terms.design_id, principal.address)
    if terms.gateway != container.vault.account:
        offered = await repository.license_row(session, terms.license_id(container.chain.deployment.license_domain()))
        if offered is None or offered.seen_block is None:
            raise TermsForeignError("gateway")
    row = await designs.final_revision(session, container, terms.design_id, revision)
    if row.deposited_at is None or row.key_commitment is None:
        raise NotDepositedError
    # The key must still open: a vault that was exchanged accepts nothing that it cannot deliver.
    designs.key_package(container, row)
    progress = await container.index.progress(session)
    now = chain_now(container.clock, progress.head.timestamp if progress else UnixSeconds(0))
    acceptance = Acceptance(
        gateway=container.vault.account,
        design_id=terms.design_id,
        revision=revision,
        key_commitment=row.key_commitment,
        terms_digest=terms.terms_digest,
        deadline=UnixSeconds(now + container.settings.acceptance_seconds),
    )
    signature = container.vault.sign_digest(acceptance.digest(container.chain.deployment.license_domain()))
    journal.record(
        session,
        container.clock,
        actor=principal.address,
        action="license.accept",
        subject=id_text(terms.design_id),
        detail={"revision": revision, "termsDigest": digest_text(terms.terms_digest)},
    )
    return acceptance, signature


async def store_document(container: Container, data: bytes) -> Cid:
    """Store a checked terms document as a block and return its identifier."""
    block = raw_block(data)
    await container.blocks.put(block.cid, block.data)
    await container.blocks.pin(block.cid)
    return block.cid


# --- offer and mint -----------------------------------------------------------------------------------------


async def check_offer(
    container: Container,
    offer: Offer,
    signature: bytes,
    acceptance: Acceptance,
    acceptance_signature: bytes,
) -> LicenseId:
    """Return the licence's id for an offer by the design's owner that this gateway accepted.

    Errors: DesignUnknownError, TermsForeignError, AcceptanceInvalidError, DeadlinePassedError,
        UnauthenticatedError.
    """
    terms = offer.terms
    domain = container.chain.deployment.license_domain()
    async with container.database.read() as session:
        owner = await designs.owner_of(session, terms.design_id)
        if terms.gateway != container.vault.account:
            raise TermsForeignError("gateway")
        require_acceptance_for(container, terms, acceptance)
        await designs.require_deadline(session, container, offer.deadline)
        await designs.require_deadline(session, container, acceptance.deadline)
        row = await designs.final_revision(session, container, terms.design_id, acceptance.revision)
        if row.key_commitment != acceptance.key_commitment:
            raise AcceptanceInvalidError("is for another key")
    await check_acceptance_signed(container, acceptance, acceptance_signature)
    await signatures.check(container.chain, owner, offer.digest(domain), signature)
    return terms.license_id(domain)


async def check_acceptance_signed(container: Container, acceptance: Acceptance, signature: bytes) -> None:
    """Pass when this gateway's account, or one that may act for it, signed an acceptance.

    Errors: AcceptanceInvalidError.
    """
    digest = acceptance.digest(container.chain.deployment.license_domain())
    try:
        await signatures.check(container.chain, container.vault.account, digest, signature)
    except UnauthenticatedError:
        raise AcceptanceInvalidError("is not signed by this gateway") from None


def require_acceptance_for(container: Container, terms: Terms, acceptance: Acceptance) -> None:
    """Pass when an acceptance names this gateway and these terms; errors: AcceptanceInvalidError."""
    if acceptance.gateway != container.vault.account:
        raise AcceptanceInvalidError("is another gateway's")
    if (acceptance.design_id, acceptance.terms_digest) != (terms.design_id, terms.terms_digest):
        raise AcceptanceInvalidError("is for other terms")


async def require_owner(session: AsyncSession, design_id: DesignId, account: Address) -> None:
    """Pass when an account owns a design; errors: DesignUnknownError, NotOwnerError."""
    if await designs.owner_of(session, design_id) != account:
        raise NotOwnerError


def offer_arguments(
    offer: Offer, signature: bytes, acceptance: Acceptance, acceptance_signature: bytes
) -> list[object]:
    """Return what PrintLicense's `offerBySig` takes."""
    return [
        offer.terms.arguments(),
        offer.on_sale,
        offer.deadline,
        signature,
        acceptance.arguments(),
        acceptance_signature,
    ]


async def offer(
    session: AsyncSession,
    container: Container,
    license_id: LicenseId,
    offer: Offer,
    signature: bytes,
    acceptance: Acceptance,
    acceptance_signature: bytes,
    terms_cid: Cid,
) -> None:
    """Note a checked offer and have it sent; again is harmless, and sends again what failed.

    Errors: LimitedError `limit-gas`.
    """
    await locks.take(session, f"offer:{id_text(license_id)}")
    found = await repository.license_row(session, license_id, lock=True)
    if found is not None and found.seen_block is not None:
        found.terms_cid = terms_cid.text
        return
    payer = await designs.owner_of(session, offer.terms.design_id)
    transaction = await designs.relay(
        session,
        container,
        payer=payer,
        purpose="license.offer",
        contract=Contract.LICENSE,
        function="offerBySig",
        arguments=offer_arguments(offer, signature, acceptance, acceptance_signature),
        dedupe_key=f"offer:{id_text(license_id)}",
    )
    if found is not None:
        found.transaction_id = transaction
        return
    session.add(
        License(
            license_id=license_id,
            design_id=offer.terms.design_id,
            gateway=offer.terms.gateway,
            revision=acceptance.revision,
            key_commitment=acceptance.key_commitment,
            terms=offer.terms.to_json(),
            terms_cid=terms_cid.text,
            on_sale=offer.on_sale,
            minted=0,
            transaction_id=transaction,
            created_at=container.clock.now(),
        )
    )
    journal.record(session, container.clock, actor=payer, action="license.offer", subject=id_text(license_id))


async def check_mint(container: Container, mint: Mint, signature: bytes) -> None:
    """Pass when a mint is still good, and signed by the design's owner.

    Errors: LicenseUnknownError, NotOwnerError, DeadlinePassedError, UnauthenticatedError.
    """
    async with container.database.read() as session:
        await require_owner(session, (await known(session, mint.license_id)).design_id, mint.owner)
        await designs.require_deadline(session, container, mint.deadline)
    digest = mint.digest(container.chain.deployment.license_domain())
    await signatures.check(container.chain, mint.owner, digest, signature)


async def mint(session: AsyncSession, container: Container, mint: Mint, signature: bytes) -> UUID:
    """Have a checked mint sent and return the transaction's id; again is harmless.

    Errors: LimitedError `limit-gas`.
    """
    digest = mint.digest(container.chain.deployment.license_domain())
    transaction = await designs.relay(
        session,
        container,
        payer=mint.owner,
        purpose="license.mint",
        contract=Contract.LICENSE,
        function="mintBySig",
        arguments=[mint.arguments(), signature],
        dedupe_key=f"mint:{digest.hex()}",
    )
    journal.record(
        session,
        container.clock,
        actor=mint.owner,
        action="license.mint",
        subject=id_text(mint.license_id),
        detail={"prints": mint.prints, "to": address_text(mint.to)},
    )
    return transaction


async def _views(session: AsyncSession, container: Container, rows: Sequence[License]) -> list[LicenseView]:
    progress = await container.index.progress(session)
    return [
        LicenseView(
            license_id=row.license_id,
            design_id=row.design_id,
            revision=row.revision,
            key_commitment=row.key_commitment,
            gateway=row.gateway,
            terms=row.terms,
            minted=row.minted,
            on_sale=row.on_sale,
            status=await designs.status_of(session, container, progress, row.seen_block, row.transaction_id),
            terms_cid=row.terms_cid,
            transaction=row.transaction_id,
        )
        for row in rows
    ]


async def final_license(session: AsyncSession, container: Container, license_id: LicenseId) -> License:
    """Return a licence whose offer is final; errors: LicenseUnknownError, `awaiting-finality`."""
    row = await known(session, license_id)
    await designs.require_final(session, container, row.seen_block)
    return row


def terms_of(row: License) -> Terms:
    """Return a licence's terms."""
    return Terms.from_json(row.terms)
