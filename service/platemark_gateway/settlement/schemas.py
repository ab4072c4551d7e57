"""Bodies of settlements."""

import uuid

from platemark_gateway.wire import LicenseIdField, LicenseIdInput, TokenIdField, Wire


class SettlementOrder(Wire):
    """Settle now: one licence, or all."""

    license_id: LicenseIdInput | None = None


class SettlementAnswer(Wire):
    """The worker will settle what can be settled."""

    requested: bool


class UseView(Wire):
    """A token's cumulative count in a settlement."""

    token_id: TokenIdField
    license_id: LicenseIdField
    sequence: int
    voided: int


class SettlementView(Wire):
    """One `settle` transaction; `status` is queued, sent, seen, confirmed, final or failed."""

    id: uuid.UUID
    transaction: uuid.UUID
    status: str
    created_at: int
    uses: list[UseView]


class SettlementList(Wire):
    """Settlements, newest first."""

    items: list[SettlementView]
    cursor: str | None = None
