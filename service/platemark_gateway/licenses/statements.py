"""What people sign about licences, brought to the chain for them: sale, revision, move, mints, returns, withdrawals.

1. `check_…` reads rows: the licence is known and the deadline is to come. Then, outside of any transaction, that
   whoever must sign did. It returns an act.
2. `is_new` asks the chain: an act that was brought before is done; one that the contract would refuse, or that needs
   more gas than its kind may, is refused here, before anybody pays.
3. `send` books the quota and writes the outbox's row, in the caller's transaction. The same act again is one row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import MalformedError
from platemark.protocol.cid import Cid
from platemark.protocol.typed_data import Acceptance, MintBatch, Move, Return, Sale, Struct, Withdrawal
from platemark.protocol.units import Address, Digest32, LicenseId, address_text, id_text
from platemark_gateway.audit import journal
from platemark_gateway.auth import signatures
from platemark_gateway.container import Container
from platemark_gateway.designs import service as designs
from platemark_gateway.licenses import repository, service
from platemark_gateway.licenses.errors import (
    AcceptanceInvalidError,
    LicenseMovedError,
    LicenseUnknownError,
    TermsForeignError,
)
from platemark_gateway.licenses.schemas import EarningsView, OwedView
from platemark_gateway.models.license import License
from platemark_gateway.ports import RELAY_GAS, Contract

MOST_GRANTS: Final = 100
_GRANT_GAS: Final = 120_000
_MOST_CURRENCIES: Final = 50


@dataclass(frozen=True, slots=True)
class Act:
    """A signed act as PrintLicense takes it.

    `nonce` is the number that `payer` signed it under, None where the contract keeps none; `relays` is what it costs
    of the payer's quota, `most_gas` what it may cost the gateway.
    """

    payer: Address
    purpose: str
    function: str
    arguments: Sequence[Any]
    digest: Digest32
    subject: str
    nonce: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    relays: int = 1
    most_gas: int = RELAY_GAS


# --- what the design's owner signs --------------------------------------------------------------------------


async def check_sale(container: Container, sale: Sale, signature: bytes) -> Act:
    """Return the act of opening or ending a sale, signed by the design's owner.

    Errors: LicenseUnknownError, NotOwnerError, DeadlinePassedError, UnauthenticatedError.
    """
    async with container.database.read() as session:
        await service.require_owner(session, (await service.known(session, sale.license_id)).design_id, sale.owner)
        await designs.require_deadline(session, container, sale.deadline)
    digest = await _signed(container, sale.owner, sale, signature)
    return Act(
        sale.owner,
        "license.sale",
        "setSaleBySig",
        [sale.arguments(), signature],
        digest,
        id_text(sale.license_id),
        sale.nonce,
        {"onSale": sale.on_sale},
    )


async def check_raise(
    container: Container, license_id: LicenseId, acceptance: Acceptance, signature: bytes
) -> Act | None:
    """Return the act of raising a licence to a revision that this gateway accepted; None when it stands already.

    Errors: LicenseUnknownError, LicenseMovedError, AcceptanceInvalidError, DeadlinePassedError, and those of
        `designs.final_revision`.
    """
    async with container.database.read() as session:
        row = await service.known(session, license_id)
        _require_ours(container, row)
        await _check_acceptance(session, container, row, acceptance)
        owner = await designs.owner_of(session, row.design_id)
    await service.check_acceptance_signed(container, acceptance, signature)
    if acceptance.revision == row.revision:
        return None
    return Act(
        owner,
        "license.raise",
        "accept",
        [license_id, acceptance.arguments(), signature],
        acceptance.digest(container.chain.deployment.license_domain()),
        id_text(license_id),
        detail={"revision": acceptance.revision},
    )


async def check_move(
    container: Container,
    move: Move,
    signature: bytes,
    acceptance: Acceptance,
    acceptance_signature: bytes,
    document: Mapping[str, Any],
) -> tuple[Act | None, bytes]:
    """Return the act of moving a licence to this gateway, None when it is here, and the checked terms document.

    The gateway that served it so far is not asked: reservations that were made with it stay with it.

    Errors: LicenseUnknownError, TermsForeignError, AcceptanceInvalidError, NotOwnerError, DeadlinePassedError,
        UnauthenticatedError; those of `service.check_document` and `designs.final_revision`.
    """
    async with container.database.read() as session:
        row = await service.known(session, move.license_id)
        if row.seen_block is None:
            raise LicenseUnknownError
        if move.gateway != container.vault.account:
            raise TermsForeignError("gateway")
        data = service.check_document(service.terms_of(row), document)
        await _check_acceptance(session, container, row, acceptance)
        await service.require_owner(session, row.design_id, move.owner)
        await designs.require_deadline(session, container, move.deadline)
    await service.check_acceptance_signed(container, acceptance, acceptance_signature)
    digest = await _signed(container, move.owner, move, signature)
    if row.gateway == container.vault.account:
        return None, data
    act = Act(
        move.owner,
        "license.move",
        "setGatewayBySig",
        [move.arguments(), signature, acceptance.arguments(), acceptance_signature],
        digest,
        id_text(move.license_id),
        move.nonce,
        {"from": address_text(row.gateway), "revision": acceptance.revision},
    )
    return act, data


async def note_document(session: AsyncSession, license_id: LicenseId, cid: Cid) -> None:
    """Note where the terms document of a licence lies that another gateway took the offer of."""
    row = await repository.license_row(session, license_id, lock=True)
    if row is None:
        raise LicenseUnknownError
    row.terms_cid = cid.text


async def check_mint_batch(container: Container, minting: MintBatch, signature: bytes) -> Act:
    """Return the act of minting prints of one owner's licences, all or none.

    Errors: MalformedError `count-limit`; LicenseUnknownError, NotOwnerError, DeadlinePassedError,
        UnauthenticatedError.
    """
    if not 1 <= len(minting.grants) <= MOST_GRANTS:
        raise MalformedError(f"a batch has 1 to {MOST_GRANTS} grants", code="count-limit")
    async with container.database.read() as session:
        for license_id in {grant.license_id for grant in minting.grants}:
            await service.require_owner(session, (await service.known(session, license_id)).design_id, minting.owner)
        await designs.require_deadline(session, container, minting.deadline)
    digest = await _signed(container, minting.owner, minting, signature)
    return Act(
        minting.owner,
        "license.mint-batch",
        "mintBatchBySig",
        [minting.arguments(), signature],
        digest,
        id_text(minting.grants[0].license_id),
        minting.nonce,
        {"grants": len(minting.grants), "prints": sum(grant.prints for grant in minting.grants)},
        relays=len(minting.grants),
        most_gas=RELAY_GAS + _GRANT_GAS * len(minting.grants),
    )


# --- what holders and payees sign ---------------------------------------------------------------------------


async def check_return(container: Container, returned: Return, signature: bytes) -> Act:
    """Return the act of giving unreserved prints back for their price, signed by their holder.

    Errors: LicenseUnknownError, DeadlinePassedError, UnauthenticatedError.
    """
    async with container.database.read() as session:
        await service.known(session, returned.license_id)
        await designs.require_deadline(session, container, returned.deadline)
    digest = await _signed(container, returned.holder, returned, signature)
    return Act(
        returned.holder,
        "license.return",
        "returnPrintsBySig",
        [returned.arguments(), signature],
        digest,
        id_text(returned.license_id),
        returned.nonce,
        {"prints": returned.prints},
    )


async def check_withdrawal(container: Container, withdrawal: Withdrawal, signature: bytes) -> Act:
    """Return the act of paying out what is owed to a payee, to the account that the payee signed.

    Errors: DeadlinePassedError, UnauthenticatedError.
    """
    async with container.database.read() as session:
        await designs.require_deadline(session, container, withdrawal.deadline)
    digest = await _signed(container, withdrawal.payee, withdrawal, signature)
    return Act(
        withdrawal.payee,
        "license.withdraw",
        "withdrawBySig",
        [withdrawal.arguments(), signature],
        digest,
        address_text(withdrawal.payee),
        withdrawal.nonce,
        {"currency": address_text(withdrawal.currency), "to": address_text(withdrawal.to)},
    )


async def currencies(session: AsyncSession, payee: Address) -> Sequence[Address]:
    """Return the currencies in which licences ever owed something to an account, at most 50, the latest first."""
    return await repository.currencies_of(session, payee, limit=_MOST_CURRENCIES)


async def earnings(container: Container, payee: Address, currencies: Sequence[Address]) -> EarningsView:
    """Return what the contract owes an account in some currencies; asks the chain, so outside a transaction."""
    return EarningsView(
        payee=payee,
        items=[
            OwedView(currency=currency, owed=str(await container.chain.owed(payee, currency)))
            for currency in currencies
        ],
    )


# --- steps 2 and 3 ------------------------------------------------------------------------------------------


async def is_new(container: Container, act: Act) -> bool:
    """Return whether an act has still to be brought to the chain, which would take it.

    Errors: of kind CONFLICT with the contract's code, `nonce-used` for a number that was used for another act or
        cancelled, `gas-excessive`; UnavailableError.
    """
    if act.nonce is not None and await container.chain.statement(act.payer, act.nonce) == act.digest:
        return False
    await container.chain.try_call(Contract.LICENSE, act.function, act.arguments, most_gas=act.most_gas)
    return True


async def send(session: AsyncSession, container: Container, act: Act) -> UUID:
    """Have a new act sent and return the transaction's id; again is harmless.

    Errors: LimitedError `limit-gas`.
    """
    transaction = await designs.relay(
        session,
        container,
        payer=act.payer,
        purpose=act.purpose,
        contract=Contract.LICENSE,
        function=act.function,
        arguments=act.arguments,
        dedupe_key=f"{act.purpose}:{act.subject}:{act.digest.hex()}",
        relays=act.relays,
    )
    journal.record(
        session, container.clock, actor=act.payer, action=act.purpose, subject=act.subject, detail=act.detail
    )
    return transaction


def _require_ours(container: Container, row: License) -> None:
    if row.gateway != container.vault.account:
        raise LicenseMovedError(row.gateway)


async def _signed(container: Container, account: Address, struct: Struct, signature: bytes) -> Digest32:
    """Return the digest of a statement that an account signed; asks the chain, so outside a transaction."""
    digest = struct.digest(container.chain.deployment.license_domain())
    await signatures.check(container.chain, account, digest, signature)
    return digest


async def _check_acceptance(session: AsyncSession, container: Container, row: License, acceptance: Acceptance) -> None:
    """Pass when an acceptance is for this licence's terms and a key that this gateway still holds."""
    terms = service.terms_of(row)
    service.require_acceptance_for(container, terms, acceptance)
    await designs.require_deadline(session, container, acceptance.deadline)
    revision = await designs.final_revision(session, container, terms.design_id, acceptance.revision)
    if revision.deposited_at is None or revision.key_commitment != acceptance.key_commitment:
        raise AcceptanceInvalidError("is for another key")
