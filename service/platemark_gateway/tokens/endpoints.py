"""Reservations and print tokens over HTTP.

Whatever asks the chain happens before the transaction, which stays short.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response, status

from platemark.protocol.units import TokenId, UnixSeconds, id_text, parse_address, parse_id
from platemark_gateway.auth import signatures
from platemark_gateway.auth.callers import Anybody
from platemark_gateway.container import Services
from platemark_gateway.db.session import Reading
from platemark_gateway.errors import UnauthenticatedError
from platemark_gateway.tokens import service
from platemark_gateway.tokens.schemas import (
    CloseOffer,
    CloseOrder,
    IssuedToken,
    ReservationList,
    ReservationRelay,
    ReservationView,
    StopOrder,
    TokenOrder,
)

router = APIRouter(prefix="/v1", tags=["tokens"])

TokenPath = Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="a print token's id")]


@router.post("/reservations", status_code=status.HTTP_202_ACCEPTED)
async def reserve(body: ReservationRelay, container: Services) -> ReservationView:
    """Bring a holder's permission to the ledger; the same one again changes nothing."""
    await service.check_relay(container, body.reservation, body.signature)
    async with container.database.answering() as session:
        row = await service.relay(session, container, body.reservation, body.signature)
        state = await service.state_of(session, container, row.token_id)
    return view_of(state)


@router.get("/reservations")
async def list_reservations(
    container: Services,
    session: Reading,
    holder: Annotated[str, Query(pattern="^0x[0-9a-fA-F]{40}$")],
    cursor: Annotated[str | None, Query(pattern="^0x[0-9a-f]{64}$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> ReservationList:
    """Return a holder's reservations, in the order of their ids."""
    after = None if cursor is None else TokenId(parse_id(cursor))
    states = await service.list_of(session, container, parse_address(holder), after=after, limit=limit)
    return ReservationList(
        items=[view_of(state) for state in states],
        cursor=id_text(states[-1].row.token_id) if len(states) == limit else None,
    )


@router.get("/reservations/{token_id}")
async def reservation(token_id: TokenPath, container: Services, session: Reading) -> ReservationView:
    """Return a reservation's status and counts."""
    return view_of(await service.state_of(session, container, TokenId(parse_id(token_id))))


@router.post("/tokens")
async def issue_token(body: TokenOrder, container: Services, response: Response) -> IssuedToken:
    """Return the print token of a final reservation, sealed to its agent."""
    await service.check_ledger(container, body.request.token_id)
    async with container.database.answering() as session:
        sealed, expires_at = await service.issue(session, container, body.request, body.recipient_key, body.signature)
    response.headers["Cache-Control"] = "no-store"
    return IssuedToken(token=sealed, expires_at=expires_at)


@router.post("/tokens/{token_id}/stop")
async def stop_token(token_id: TokenPath, body: StopOrder, container: Services) -> ReservationView:
    """End a token's releases at once, for its holder."""
    service.check_path(TokenId(parse_id(token_id)), body.stop.token_id)
    async with container.database.read() as reading:
        holder = await service.holder_of(reading, container, body.stop.token_id)
    digest = body.stop.digest(container.chain.deployment.ledger_domain())
    await signatures.check(container.chain, holder, digest, body.signature)
    async with container.database.answering() as session:
        await service.stop(session, container, body.stop, body.signature)
        state = await service.state_of(session, container, body.stop.token_id)
    return view_of(state)


@router.post("/tokens/{token_id}/close")
async def close_token(
    token_id: TokenPath, body: CloseOrder, caller: Anybody, container: Services, response: Response
) -> CloseOffer:
    """Offer to close a token on its counts (its holder signed in), or close it with the holder's signature (202)."""
    token, deadline = TokenId(parse_id(token_id)), UnixSeconds(body.deadline)
    if body.holder_signature is None:
        if caller is None:
            raise UnauthenticatedError(
                "sign in as the token's holder first", code="sign-in-needed", hint="POST /v1/sign-in/challenges"
            )
        async with container.database.answering() as session:
            close, signature = await service.offer_close(session, container, token, deadline, caller.address)
        return CloseOffer(close=close, gateway_signature=signature)
    async with container.database.read() as reading:
        digest = await service.closing_digest(reading, container, token, deadline)
        holder = await service.holder_of(reading, container, token)
    await signatures.check(container.chain, holder, digest, body.holder_signature)
    async with container.database.answering() as session:
        close, signature, transaction = await service.close(
            session, container, token, deadline, digest, body.holder_signature
        )
    response.status_code = status.HTTP_202_ACCEPTED
    return CloseOffer(close=close, gateway_signature=signature, transaction=str(transaction))


def view_of(state: service.TokenState) -> ReservationView:
    """Return a token's state as the wire has it."""
    row = state.row
    return ReservationView(
        token_id=row.token_id,
        status=str(state.status),
        reservation=service.permission_of(row),
        spares=row.spares,
        released=row.released,
        voided=row.voided,
        next_sequence=row.released + 1,
        prints_left=service.prints_left(row),
        spares_left=row.spares - row.voided,
        stopped=row.stopped_at is not None,
        closed=row.closed_block is not None or row.reclaimed_block is not None,
        issued=row.wrapped_token is not None,
        lost=row.is_lost,
        burned=state.burned,
        settled_sequence=state.settled_sequence,
        retry_after_seconds=state.retry_after_seconds,
        transaction=None if row.transaction_id is None else str(row.transaction_id),
    )
