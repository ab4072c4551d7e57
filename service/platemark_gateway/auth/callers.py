"""FastAPI dependencies: who calls. Each reads in a transaction of its own, before the endpoint's begins."""

from typing import Annotated

from fastapi import Depends, Request

from platemark.protocol.units import Address
from platemark_gateway.auth import service
from platemark_gateway.auth.scopes import Principal, Scope
from platemark_gateway.container import Container
from platemark_gateway.errors import UnauthenticatedError
from platemark_gateway.ratelimit.buckets import Buckets


def bearer(request: Request) -> str | None:
    """Return the credential of `Authorization: Bearer …`, or None without that header.

    Errors: UnauthenticatedError `credential-invalid` for another kind of authorization.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    kind, _, credential = header.partition(" ")
    if kind.lower() != "bearer" or not credential:
        raise UnauthenticatedError("send Authorization: Bearer <session or API key>", code="credential-invalid")
    return credential.strip()


def bucket_of(account: Address) -> str:
    """Return the name of the bucket from which an account's requests are taken, wherever they come from."""
    return f"account {account.hex()}"


async def _anybody(request: Request) -> Principal | None:
    credential = bearer(request)
    if credential is None:
        return None
    container: Container = request.app.state.container
    async with container.database.read() as session:
        principal = await service.principal_of(session, container, credential)
    buckets: Buckets = request.app.state.buckets
    buckets.spend(bucket_of(principal.address))
    return principal


async def _caller(request: Request) -> Principal:
    principal = await _anybody(request)
    if principal is None:
        raise UnauthenticatedError("sign in first", code="sign-in-needed", hint="POST /v1/sign-in/challenges")
    return principal


async def _signed_in(request: Request) -> Principal:
    principal = await _caller(request)
    principal.require_session()
    return principal


async def _designer(request: Request) -> Principal:
    principal = await _caller(request)
    principal.require(Scope.DESIGNER)
    return principal


async def _centre(request: Request) -> Principal:
    principal = await _caller(request)
    principal.require(Scope.CENTRE)
    return principal


async def _operator(request: Request) -> Principal:
    principal = await _caller(request)
    principal.require(Scope.OPERATOR)
    return principal


Anybody = Annotated[Principal | None, Depends(_anybody)]
"""The caller, or None for somebody who did not sign in; a bad credential is refused all the same."""
Caller = Annotated[Principal, Depends(_caller)]
SignedIn = Annotated[Principal, Depends(_signed_in)]
"""The caller with a session of its own: API keys are refused."""
Designer = Annotated[Principal, Depends(_designer)]
Centre = Annotated[Principal, Depends(_centre)]
Operator = Annotated[Principal, Depends(_operator)]
