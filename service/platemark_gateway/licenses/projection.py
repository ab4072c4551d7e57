"""What PrintLicense's events mean for the rows of licences; called by the indexer."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.typed_data import Terms
from platemark.protocol.units import ZERO_ADDRESS, Address, LicenseId, Wei, parse_address
from platemark_gateway.licenses import repository
from platemark_gateway.models.license import License, LicenseChange, LicenseCredit
from platemark_gateway.ports import ChainEvent


async def _offered(session: AsyncSession, event: ChainEvent) -> None:
    args = event.args
    license_id = LicenseId(args["licenseId"])
    terms = Terms(*(args["terms"][name] for name in Terms.arguments_order()))
    row = await repository.license_row(session, license_id, lock=True)
    if row is None:
        row = License(
            license_id=license_id,
            design_id=terms.design_id,
            gateway=terms.gateway,
            revision=args["revision"],
            key_commitment=args["keyCommitment"],
            terms=terms.to_json(),
            on_sale=args["onSale"],
            minted=0,
            created_at=event.block.timestamp,
        )
        session.add(row)
    row.seen_block, row.seen_hash = event.block.number, event.block.hash
    await session.flush()
    # An offer is a change too: after a rewind the values are taken from the changes that are left.
    await _change(
        session, event, revision=args["revision"], key_commitment=args["keyCommitment"], gateway=terms.gateway
    )
    await _change(session, event, at=-1, on_sale=args["onSale"])


async def _accepted(session: AsyncSession, event: ChainEvent) -> None:
    await _change(session, event, revision=event.args["revision"], key_commitment=event.args["keyCommitment"])


async def _moved(session: AsyncSession, event: ChainEvent) -> None:
    args = event.args
    await _change(
        session, event, revision=args["revision"], key_commitment=args["keyCommitment"], gateway=args["gateway"]
    )


async def _sale_set(session: AsyncSession, event: ChainEvent) -> None:
    await _change(session, event, on_sale=event.args["onSale"])


async def _transferred(session: AsyncSession, event: ChainEvent) -> None:
    """Units out of nothing are prints that were given or sold; where else they go changes no licence."""
    if event.args["from"] == ZERO_ADDRESS:
        await _change(session, event, of=LicenseId(event.args["id"]), prints=event.args["value"])


async def _returned(session: AsyncSession, event: ChainEvent) -> None:
    args = event.args
    await _change(session, event, prints=-args["prints"])
    row = await repository.license_row(session, LicenseId(args["licenseId"]))
    if row is not None:
        currency = parse_address(row.terms["currency"])
        await _credit(session, event, args["holder"], currency, args["refund"], is_refund=True)


async def _credited(session: AsyncSession, event: ChainEvent) -> None:
    args = event.args
    await _credit(session, event, args["payee"], args["currency"], args["amount"], is_refund=False)


async def _credit(
    session: AsyncSession, event: ChainEvent, payee: Address, currency: Address, amount: int, *, is_refund: bool
) -> None:
    await session.merge(
        LicenseCredit(
            seen_block=event.block.number,
            log_index=event.log_index,
            license_id=LicenseId(event.args["licenseId"]),
            payee=payee,
            currency=currency,
            amount=Wei(amount),
            is_refund=is_refund,
        )
    )
    await session.flush()


async def _change(
    session: AsyncSession, event: ChainEvent, *, of: LicenseId | None = None, at: int = 1, **values: Any
) -> None:
    """Note a change `of` a licence, by default the one that the event names.

    `at` -1 gives an event's second value a place of its own (log indices are not negative).
    """
    license_id = LicenseId(event.args["licenseId"]) if of is None else of
    log_index = event.log_index if at == 1 else -1 - event.log_index
    await session.merge(
        LicenseChange(license_id=license_id, seen_block=event.block.number, log_index=log_index, **values)
    )
    await session.flush()
    await _recompute(session, license_id)


async def _recompute(session: AsyncSession, license_id: LicenseId) -> None:
    row = await repository.license_row(session, license_id, lock=True)
    if row is None:
        return
    accepted = await repository.latest_change(session, license_id, "revision")
    if accepted is not None and accepted.revision is not None and accepted.key_commitment is not None:
        row.revision, row.key_commitment = accepted.revision, accepted.key_commitment
    served = await repository.latest_change(session, license_id, "gateway")
    if served is not None and served.gateway is not None:
        row.gateway = served.gateway
    sale = await repository.latest_change(session, license_id, "on_sale")
    if sale is not None and sale.on_sale is not None:
        row.on_sale = sale.on_sale
    row.minted = await repository.minted(session, license_id)


async def rewind(session: AsyncSession, block: int) -> None:
    """Undo everything that was seen above `block`; offers that the gateway relayed stay as pending."""
    changed = (await session.scalars(select(LicenseChange.license_id).where(LicenseChange.seen_block > block))).all()
    await session.execute(delete(LicenseChange).where(LicenseChange.seen_block > block))
    await session.execute(delete(LicenseCredit).where(LicenseCredit.seen_block > block))
    await session.execute(update(License).where(License.seen_block > block).values(seen_block=None, seen_hash=None))
    await session.execute(delete(License).where(License.seen_block.is_(None), License.transaction_id.is_(None)))
    session.expire_all()
    for license_id in set(changed):
        await _recompute(session, license_id)
    await session.flush()


handlers: Final[Mapping[str, Callable[[AsyncSession, ChainEvent], Awaitable[None]]]] = {
    "LicenseOffered": _offered,
    "LicenseAccepted": _accepted,
    "LicenseMoved": _moved,
    "SaleSet": _sale_set,
    "TransferSingle": _transferred,
    "PrintsReturned": _returned,
    "Credited": _credited,
}
