"""Sign-in and API keys."""

import uuid

from fastapi import APIRouter, Request, Response, status

from platemark_gateway.auth import callers, repository, service
from platemark_gateway.auth.callers import Caller, SignedIn, bearer
from platemark_gateway.auth.schemas import (
    ApiKeyList,
    ApiKeyRequest,
    ApiKeyView,
    ChallengeAnswer,
    ChallengeRequest,
    NewApiKey,
    QuotaList,
    QuotaView,
    SignInAnswer,
    SignInRequest,
)
from platemark_gateway.auth.scopes import Scope
from platemark_gateway.container import Services
from platemark_gateway.db.session import Reading, Writing
from platemark_gateway.ratelimit import quotas
from platemark_gateway.ratelimit.buckets import Buckets

router = APIRouter(prefix="/v1", tags=["sign-in"])


@router.post("/sign-in/challenges")
async def make_challenge(body: ChallengeRequest, container: Services, session: Writing) -> ChallengeAnswer:
    """Return a message for the account to sign; it is good for one sign-in."""
    message = await service.challenge(session, container, body.address)
    return ChallengeAnswer(
        domain=message.domain,
        uri=message.uri,
        chain_id=message.chain_id,
        nonce=message.nonce,
        issued_at=message.issued_at,
        expiration_time=message.expires_at,
        text=message.text(),
    )


@router.post("/sign-in")
async def sign_in(body: SignInRequest, container: Services, response: Response) -> SignInAnswer:
    """Return a session for the account that signed the message."""
    # A contract wallet is asked over the network: before the transaction, which must stay short.
    message = await service.check_message(container, body.message, body.signature)
    async with container.database.answering() as session:
        secret, row = await service.sign_in(session, container, message)
    response.headers["Cache-Control"] = "no-store"
    return SignInAnswer(
        session=secret, expires_at=row.expires_at, address=row.address, scopes=[Scope(scope) for scope in row.scopes]
    )


@router.delete("/sign-in", status_code=status.HTTP_204_NO_CONTENT)
async def sign_out(request: Request, caller: SignedIn, container: Services, session: Writing) -> None:
    """End the session that the request came with."""
    await service.sign_out(session, container, caller, bearer(request) or "")


@router.post("/api-keys", status_code=status.HTTP_201_CREATED)
async def make_key(
    body: ApiKeyRequest, caller: SignedIn, container: Services, session: Writing, response: Response
) -> NewApiKey:
    """Return a new key for a machine; its secret is never shown again."""
    secret, row = await service.make_key(session, container, caller, body.name, frozenset(body.scopes))
    response.headers["Cache-Control"] = "no-store"
    return NewApiKey(id=row.id, key=secret, name=row.name, scopes=[Scope(scope) for scope in row.scopes])


@router.get("/api-keys")
async def list_keys(caller: SignedIn, session: Reading) -> ApiKeyList:
    """Return the caller's keys, newest first, without their secrets."""
    rows = await repository.keys_of(session, caller.address)
    return ApiKeyList(
        items=[
            ApiKeyView(
                id=row.id,
                name=row.name,
                scopes=[Scope(scope) for scope in row.scopes],
                created_at=row.created_at,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]
    )


@router.delete("/api-keys/{key_id}", status_code=status.HTTP_204_NO_CONTENT)
async def revoke_key(key_id: uuid.UUID, caller: SignedIn, container: Services, session: Writing) -> None:
    """Revoke a key; from now on it opens nothing."""
    await service.revoke_key(session, container, caller, key_id)


@router.get("/quotas")
async def list_quotas(request: Request, caller: Caller, container: Services, session: Reading) -> QuotaList:
    """Return what the caller may still do today: transactions that the gateway pays, bytes to upload, requests."""
    settings, clock = container.settings, container.clock
    is_gateway = caller.address == container.vault.account
    limits = {
        quotas.RELAYS: settings.relays_per_day_in_all if is_gateway else settings.relays_per_day,
        quotas.UPLOADS: settings.blob_bytes_per_day,
    }
    spent = await quotas.spent(session, clock, caller.address)
    buckets: Buckets = request.app.state.buckets
    left = buckets.left(callers.bucket_of(caller.address))
    requests = buckets.limit
    return QuotaList(
        items=[
            *(
                QuotaView(
                    name=name,
                    most=most,
                    window_seconds=quotas.DAY_SECONDS,
                    left=max(0, most - spent.get(name, 0)),
                    whole_in_seconds=quotas.seconds_left(clock),
                )
                for name, most in limits.items()
            ),
            QuotaView(
                name=requests.name,
                most=requests.most,
                window_seconds=requests.window_seconds,
                left=left,
                whole_in_seconds=-(-(requests.most - left) * requests.window_seconds // requests.most),
            ),
        ]
    )
