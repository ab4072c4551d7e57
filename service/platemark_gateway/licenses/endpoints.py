"""Licences: acceptance, offer, mint, balances."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from platemark.protocol.typed_data import Offer
from platemark.protocol.units import (
    ZERO_ADDRESS,
    DesignId,
    LicenseId,
    UnixSeconds,
    address_text,
    parse_address,
    parse_id,
)
from platemark_gateway.auth.callers import Designer
from platemark_gateway.container import Container, Services
from platemark_gateway.db.session import Reading, Writing
from platemark_gateway.designs.schemas import Accepted
from platemark_gateway.errors import ConflictError
from platemark_gateway.licenses import service, statements
from platemark_gateway.licenses.errors import TermsForeignError
from platemark_gateway.licenses.schemas import (
    AcceptanceAnswer,
    AcceptanceRequest,
    BalanceAnswer,
    EarningsView,
    LicensePage,
    LicenseView,
    MintBatchRequest,
    MintRequest,
    MoveRequest,
    OfferRequest,
    RaiseRequest,
    ReturnRequest,
    SaleRequest,
    WithdrawalRequest,
)
from platemark_gateway.ports import Contract

router = APIRouter(prefix="/v1/licenses", tags=["licenses"])
payees_router = APIRouter(prefix="/v1/payees", tags=["licenses"])

LicensePath = Annotated[str, Path(description="0x and 64 lowercase hexadecimal digits", max_length=66)]


@router.post("/acceptances")
async def accept(body: AcceptanceRequest, caller: Designer, container: Services, session: Writing) -> AcceptanceAnswer:
    """Return the gateway's acceptance of terms for a revision whose key it holds and has compared in full."""
    if body.terms.design_id != body.design_id:
        raise TermsForeignError("design")
    service.check_document(body.terms, body.terms_document)
    acceptance, signature = await service.accept(session, container, caller, body.revision, body.terms)
    return AcceptanceAnswer(acceptance=acceptance, signature=signature)


@router.post("", status_code=status.HTTP_202_ACCEPTED)
async def offer(body: OfferRequest, container: Services) -> LicenseView:
    """Have an offer sent to the chain; the owner's signature is all it needs.

    An offer in a token is tried first: only the chain knows whether there is a contract at the token's address.
    """
    made = Offer(body.terms, body.on_sale, UnixSeconds(body.deadline))
    document = service.check_document(body.terms, body.terms_document)
    license_id = await service.check_offer(container, made, body.signature, body.acceptance, body.acceptance_signature)
    if body.terms.currency != ZERO_ADDRESS:
        arguments = service.offer_arguments(made, body.signature, body.acceptance, body.acceptance_signature)
        await container.chain.try_call(Contract.LICENSE, "offerBySig", arguments)
    cid = await service.store_document(container, document)
    async with container.database.answering() as session:
        await service.offer(
            session, container, license_id, made, body.signature, body.acceptance, body.acceptance_signature, cid
        )
        await session.flush()
        return await service.view(session, container, license_id)


@router.get("")
async def list_licenses(
    container: Services,
    session: Reading,
    design_id: Annotated[str | None, Query(alias="designId", max_length=66)] = None,
    cursor: Annotated[str | None, Query(max_length=66)] = None,
) -> LicensePage:
    """Return licences, those of one design or all, in pages."""
    return await service.page(
        session,
        container,
        design_id=None if design_id is None else DesignId(parse_id(design_id)),
        after=None if cursor is None else LicenseId(parse_id(cursor)),
    )


@router.get("/{license_id}")
async def read(license_id: LicensePath, container: Services, session: Reading) -> LicenseView:
    """Return a licence and its terms."""
    return await service.view(session, container, LicenseId(parse_id(license_id)))


@router.post("/{license_id}/mints", status_code=status.HTTP_202_ACCEPTED)
async def mint(license_id: LicensePath, body: MintRequest, container: Services) -> Accepted:
    """Have prints minted to an account; the owner's signature is all it needs."""
    _same_license(license_id, body.mint.license_id)
    await service.check_mint(container, body.mint, body.signature)
    async with container.database.answering() as session:
        return Accepted(transaction=await service.mint(session, container, body.mint, body.signature))


@router.get("/{license_id}/balances/{address}")
async def balance(license_id: LicensePath, address: str, container: Services) -> BalanceAnswer:
    """Return how many prints an account holds and has not reserved, by the chain's latest block."""
    prints = await container.chain.balance(LicenseId(parse_id(license_id)), parse_address(address))
    return BalanceAnswer(prints=prints)


@router.post("/mints", status_code=status.HTTP_202_ACCEPTED)
async def mint_batch(body: MintBatchRequest, container: Services) -> Accepted:
    """Have prints of several licences minted to several accounts, all or none, under one signature."""
    act = await statements.check_mint_batch(container, body.mint_batch, body.signature)
    return await _sent(container, act)


@router.post("/{license_id}/sale", status_code=status.HTTP_202_ACCEPTED)
async def set_sale(license_id: LicensePath, body: SaleRequest, container: Services) -> Accepted:
    """Have the sale to strangers opened or ended; the owner's signature is all it needs."""
    _same_license(license_id, body.sale.license_id)
    act = await statements.check_sale(container, body.sale, body.signature)
    return await _sent(container, act)


@router.post("/{license_id}/revision", status_code=status.HTTP_202_ACCEPTED)
async def raise_revision(license_id: LicensePath, body: RaiseRequest, container: Services) -> Accepted:
    """Have a licence raised to a later revision, for which this gateway gave its acceptance."""
    act = await statements.check_raise(
        container, LicenseId(parse_id(license_id)), body.acceptance, body.acceptance_signature
    )
    return await _sent(container, act)


@router.post("/{license_id}/moves", status_code=status.HTTP_202_ACCEPTED)
async def move(license_id: LicensePath, body: MoveRequest, container: Services) -> Accepted:
    """Have a licence moved to this gateway; its reservations with another one go on there."""
    _same_license(license_id, body.move.license_id)
    act, document = await statements.check_move(
        container, body.move, body.signature, body.acceptance, body.acceptance_signature, body.terms_document
    )
    cid = await service.store_document(container, document)
    async with container.database.answering() as session:
        await statements.note_document(session, body.move.license_id, cid)
    return await _sent(container, act)


@router.post("/{license_id}/returns", status_code=status.HTTP_202_ACCEPTED)
async def return_prints(license_id: LicensePath, body: ReturnRequest, container: Services) -> Accepted:
    """Have unreserved prints, paid as printed, returned; their price is owed to the holder who signed."""
    _same_license(license_id, body.returned.license_id)
    act = await statements.check_return(container, body.returned, body.signature)
    return await _sent(container, act)


@payees_router.get("/{address}/earnings")
async def earnings(address: str, container: Services) -> EarningsView:
    """Return what the contract owes an account: from sales, counted prints and returned ones."""
    payee = parse_address(address)
    async with container.database.read() as reading:
        currencies = await statements.currencies(reading, payee)
    return await statements.earnings(container, payee, currencies)


@payees_router.post("/{address}/withdrawals", status_code=status.HTTP_202_ACCEPTED)
async def withdraw(address: str, body: WithdrawalRequest, container: Services) -> Accepted:
    """Have what is owed to a payee paid out; the payee's signature is all it needs."""
    if parse_address(address) != body.withdrawal.payee:
        raise ConflictError(
            "the body names another payee than the address",
            code="path-mismatch",
            expected=address_text(parse_address(address)),
        )
    act = await statements.check_withdrawal(container, body.withdrawal, body.signature)
    return await _sent(container, act)


async def _sent(container: Container, act: statements.Act | None) -> Accepted:
    if act is None or not await statements.is_new(container, act):
        return Accepted(transaction=None)
    async with container.database.answering() as session:
        return Accepted(transaction=await statements.send(session, container, act))


def _same_license(path: str, named: LicenseId) -> None:
    if parse_id(path) != named:
        raise ConflictError("the body names another licence than the address", code="path-mismatch", expected=path)
