"""Bodies of the licence endpoints."""

import uuid
from typing import Annotated, Any

from pydantic import Field

from platemark_gateway.ports import FactStatus
from platemark_gateway.wire import (
    AcceptanceField,
    AccountSignature,
    AddressField,
    DesignIdField,
    DesignIdInput,
    DigestField,
    LicenseIdField,
    MintBatchField,
    MintField,
    MoveField,
    ReturnField,
    SaleField,
    TermsField,
    Wire,
    WithdrawalField,
)

Document = Annotated[dict[str, Any], Field(description="the terms document (docs/formats.md)")]


class AcceptanceRequest(Wire):
    """Terms that a designer wants to offer for a deposited revision."""

    design_id: DesignIdInput
    revision: Annotated[int, Field(ge=1, le=65_535)]
    terms: TermsField
    terms_document: Document


class AcceptanceAnswer(Wire):
    """The gateway's word that it can deliver, and its account's signature."""

    acceptance: AcceptanceField
    signature: AccountSignature


class OfferRequest(Wire):
    """An offer, signed by the design's owner, with the gateway's acceptance."""

    terms: TermsField
    on_sale: bool
    deadline: Annotated[int, Field(ge=0, lt=1 << 40)]
    signature: AccountSignature
    acceptance: AcceptanceField
    acceptance_signature: AccountSignature
    terms_document: Document


class LicenseView(Wire):
    """A licence; `gateway` serves it now, `status` says how firmly its offer stands on chain."""

    license_id: LicenseIdField
    design_id: DesignIdField
    revision: int
    key_commitment: DigestField
    gateway: AddressField
    terms: dict[str, Any]
    minted: int
    on_sale: bool
    status: FactStatus
    terms_cid: str | None
    transaction: uuid.UUID | None


class LicensePage(Wire):
    """A page of licences, the ids ascending; `cursor` asks for the next one."""

    items: list[LicenseView]
    cursor: str | None


class MintRequest(Wire):
    """Prints for an account, signed by the design's owner."""

    mint: MintField
    signature: AccountSignature


class MintBatchRequest(Wire):
    """Prints of several licences for several accounts, all or none, signed by the owner of all their designs."""

    mint_batch: MintBatchField
    signature: AccountSignature


class SaleRequest(Wire):
    """The sale of a licence opened or ended, signed by the design's owner."""

    sale: SaleField
    signature: AccountSignature


class RaiseRequest(Wire):
    """This gateway's acceptance of a later revision of a licence's design."""

    acceptance: AcceptanceField
    acceptance_signature: AccountSignature


class MoveRequest(Wire):
    """A licence moved to this gateway, signed by the design's owner, with this gateway's acceptance."""

    move: MoveField
    signature: AccountSignature
    acceptance: AcceptanceField
    acceptance_signature: AccountSignature
    terms_document: Document


class ReturnRequest(Wire):
    """Unreserved prints, paid as printed, given back for their price; signed by their holder."""

    returned: Annotated[ReturnField, Field(alias="return")]
    signature: AccountSignature


class WithdrawalRequest(Wire):
    """What is owed to a payee, paid out to the account that the payee signed."""

    withdrawal: WithdrawalField
    signature: AccountSignature


class OwedView(Wire):
    """What is owed in one currency, in its smallest unit; zero is the chain's coin."""

    currency: AddressField
    owed: Annotated[str, Field(pattern="^[0-9]{1,78}$", examples=["1500000000000000"])]


class EarningsView(Wire):
    """What PrintLicense owes an account, by the chain's latest block, in every currency it ever owed some of."""

    payee: AddressField
    items: list[OwedView]


class BalanceAnswer(Wire):
    """Prints that an account holds and has not reserved."""

    prints: int
