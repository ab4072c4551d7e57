"""Settlements over HTTP: what was sent to the ledger, and "now" for the operator."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Query, status

from platemark_gateway.auth.callers import Operator
from platemark_gateway.container import Services
from platemark_gateway.db.session import Reading, Writing
from platemark_gateway.settlement import service
from platemark_gateway.settlement.schemas import (
    SettlementAnswer,
    SettlementList,
    SettlementOrder,
    SettlementView,
    UseView,
)

router = APIRouter(prefix="/v1/settlements", tags=["settlement"])


@router.post("", status_code=status.HTTP_202_ACCEPTED)
async def request_settlement(
    body: SettlementOrder, caller: Operator, container: Services, session: Writing
) -> SettlementAnswer:
    """Ask the worker to settle now."""
    await service.request(session, container, caller.address, body.license_id)
    return SettlementAnswer(requested=True)


@router.get("")
async def list_settlements(
    container: Services,
    session: Reading,
    cursor: uuid.UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> SettlementList:
    """Return settlements, newest first; the cursor is the id of the last one."""
    states = await service.page(session, container, before=cursor, limit=limit)
    return SettlementList(
        items=[_view(state) for state in states],
        cursor=str(states[-1].row.id) if len(states) == limit else None,
    )


def _view(state: service.SettlementState) -> SettlementView:
    return SettlementView(
        id=state.row.id,
        transaction=state.row.transaction_id,
        status="failed" if state.transaction is None else state.transaction.status,
        created_at=state.row.created_at,
        uses=[
            UseView(token_id=use.token_id, license_id=use.license_id, sequence=use.sequence, voided=use.voided)
            for use in state.uses
        ],
    )
