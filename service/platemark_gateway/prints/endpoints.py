"""Redemptions and outcomes over HTTP. Agents sign every request, so nobody signs in here."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.routing import APIRoute

from platemark.errors import MalformedError
from platemark.protocol.digests import recipient_digest
from platemark.protocol.outcome import SignedOutcome
from platemark.protocol.sealing import PUBLIC_BYTES
from platemark.protocol.units import Digest32, TokenId, parse_id
from platemark.protocol.voucher import LAST_SEQUENCE, RedemptionRequest, SignedRequest
from platemark_gateway.container import Container, Services
from platemark_gateway.prints import service
from platemark_gateway.prints.desk import Desk
from platemark_gateway.prints.schemas import (
    OutcomeAnswer,
    OutcomeReport,
    PlateAnswer,
    PlateOrder,
    RedemptionOrder,
    ReleaseAnswer,
)
from platemark_gateway.prints.service import Answer
from platemark_gateway.wire import json_body, read_json

router = APIRouter(prefix="/v1/prints", tags=["prints"])


async def _desk(request: Request) -> Desk:
    """Return the process's desk; it is made with the first redemption."""
    state = request.app.state
    if not hasattr(state, "redemption_desk"):
        container: Container = state.container
        state.redemption_desk = Desk(container)
    desk: Desk = state.redemption_desk
    return desk


@router.post("", response_model=ReleaseAnswer, openapi_extra=json_body(RedemptionOrder))
async def redeem(request: Request) -> Response:
    """Count one print and return its release with the key, sealed to the agent."""
    body = await read_json(request, RedemptionOrder)
    answer = await (await _desk(request)).redeem(_signed(body), body.recipient_key)
    content = _answered(answer).model_dump_json()
    return Response(content, headers={"Cache-Control": "no-store"}, media_type="application/json")


def redeem_route() -> APIRoute:
    """Return the route of `redeem`: the request that comes once a print, and is served without FastAPI's help."""
    return next(route for route in router.routes if isinstance(route, APIRoute) and route.endpoint is redeem)


@router.post("/plate")
async def redeem_plate(body: PlateOrder, desk: Annotated[Desk, Depends(_desk)], response: Response) -> PlateAnswer:
    """Count prints of different tokens that are made on one plate, all of them or none.

    A refusal is that of the first redemption that is refused; `place` says which, from 0. The same redemptions again,
    together or one by one, have the same releases.
    """
    answers = await desk.redeem_plate([(_signed(each), each.recipient_key) for each in body.redemptions])
    response.headers["Cache-Control"] = "no-store"
    return PlateAnswer(releases=[_answered(each) for each in answers])


def _signed(body: RedemptionOrder) -> SignedRequest:
    """Step 1: the digest of what was sent; the recipient key itself is covered by it."""
    if len(body.recipient_key) != PUBLIC_BYTES:
        raise MalformedError(f"a recipient's public key has {PUBLIC_BYTES} bytes", code="recipient-key")
    request = RedemptionRequest(
        token_id=body.token_id,
        sequence=body.sequence,
        token_digest=body.token_digest,
        print_id=body.print_id,
        recipient_digest=recipient_digest(body.recipient_key),
        seen_block=body.seen_block,
        seen_hash=body.seen_hash,
        detail=body.detail,
    )
    return SignedRequest(request, body.signature)


def _answered(answer: Answer) -> ReleaseAnswer:
    return ReleaseAnswer(
        release=answer.release,
        sealed_key=answer.sealed_key,
        sequence=answer.sequence,
        prints_left=answer.prints_left,
        spares_left=answer.spares_left,
    )


@router.post("/{token_id}/{sequence}/outcome")
async def report_outcome(
    token_id: Annotated[str, Path(pattern="^0x[0-9a-f]{64}$")],
    sequence: Annotated[int, Path(ge=1, le=LAST_SEQUENCE)],
    body: OutcomeReport,
    container: Services,
) -> OutcomeAnswer:
    """Record the one final outcome of a print; the same report again has the same answer."""
    if (body.outcome.token_id, body.outcome.sequence) != (TokenId(parse_id(token_id)), sequence):
        raise MalformedError("the outcome is about another print than the address", code="path-mismatch")
    report = service.Report(
        signed=SignedOutcome(body.outcome, body.signature),
        receipt_salt=Digest32(body.salt),
        statement=body.statement,
        envelope_signature=body.envelope_signature,
    )
    async with container.database.read() as reading:
        envelope = await service.check_report(reading, container, report)
    async with container.database.answering() as session:
        answer = await service.record_outcome(session, container, report, envelope)
    return OutcomeAnswer(
        promise=answer.promise,
        receipt=dict(answer.receipt.to_json()),
        spare_used=answer.spare_used,
        prints_left=answer.prints_left,
        spares_left=answer.spares_left,
    )
