"""Errors as problem documents (RFC 9457); the only module that knows HTTP status codes.

    kind, code → {type: "/problems/<code>", title, status, detail, code, hint?, step?, expected?, found?,
                  place?, correlationId?, retryAfter?}

A retryable answer has the header Retry-After. An unknown error shows a correlation id and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from platemark.errors import Kind, PlatemarkError, TryLaterError, VerificationError
from platemark.protocol.codes import CODES
from platemark_gateway import telemetry
from platemark_gateway.errors import GatewayError, Limit, LimitedError, PlateError

HANDLED: Final = (PlatemarkError, RequestValidationError, HTTPException)
"""Errors that are answers; any other is a mistake of ours."""
MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[Kind, int]] = {
    Kind.MALFORMED: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.LIMITED: 429,
    Kind.UNCONFIRMED: 409,
    Kind.UPSTREAM: 502,
    Kind.UNAVAILABLE: 503,
    Kind.INTERNAL: 500,
}
_CODE_STATUS: Final[Mapping[str, int]] = {"too-large": 413, "request-schema": 422, "route-unknown": 404, "method": 405}
_HTTP_CODES: Final[Mapping[int, str]] = {404: "route-unknown", 405: "method"}
_RETRY_SECONDS: Final[Mapping[Kind, int]] = {
    Kind.LIMITED: 10,
    Kind.UNCONFIRMED: 5,
    Kind.UPSTREAM: 5,
    Kind.UNAVAILABLE: 5,
}
_MAX_FIELDS_NAMED: Final = 5


def status_of(error: PlatemarkError) -> int:
    """Return the HTTP status of an error."""
    return _CODE_STATUS.get(error.code, STATUS[error.kind])


def document(error: PlatemarkError, correlation_id: str) -> dict[str, Any]:
    """Return the problem document of an error."""
    status = status_of(error)
    if error.kind is Kind.INTERNAL:
        return _internal(correlation_id)
    problem: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": CODES[error.code].title if error.code in CODES else error.kind.value,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "correlationId": correlation_id,
    }
    hint = error.hint or (CODES[error.code].hint if error.code in CODES else None)
    if hint:
        problem["hint"] = hint
    if isinstance(error, VerificationError):
        problem |= {"step": error.step, "expected": error.expected, "found": error.found}
    if isinstance(error, GatewayError) and error.expected is not None:
        problem["expected"] = error.expected
    if isinstance(error, PlateError):
        problem["place"] = error.place
    if (seconds := _retry_after(error)) is not None:
        problem["retryAfter"] = seconds
    return problem


def response(error: PlatemarkError) -> Response:
    """Return the HTTP response of an error."""
    telemetry.note_refusal(error.code)
    problem = document(error, telemetry.correlation_id())
    headers = {"Cache-Control": "no-store"}
    if "retryAfter" in problem:
        headers["Retry-After"] = str(problem["retryAfter"])
    if isinstance(error, LimitedError):
        headers |= _limit_headers(error.limit, problem["retryAfter"])
    if problem["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(problem), problem["status"], headers, MEDIA_TYPE)


def unknown_response() -> Response:
    """Return the answer to an error that nobody foresaw: a correlation id and nothing else."""
    telemetry.note_refusal("internal")
    problem = _internal(telemetry.correlation_id())
    return Response(json.dumps(problem), 500, {"Cache-Control": "no-store"}, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let the app answer every error with a problem document."""

    async def on_error(_request: Request, error: Exception) -> Response:
        return answer_to(error)

    for kind in HANDLED:
        app.add_exception_handler(kind, on_error)


def answer_to(error: Exception) -> Response:
    """Return the answer to an error of a `HANDLED` kind."""
    if isinstance(error, PlatemarkError):
        if error.kind is Kind.INTERNAL:
            telemetry.log().error("gateway.internal", code=error.code, exc_info=error)
        return response(error)
    if isinstance(error, RequestValidationError):
        return response(_SchemaError(error.errors()))
    if isinstance(error.__cause__, PlatemarkError):  # refused while FastAPI was reading the body
        return response(error.__cause__)
    return response(_RoutingError(error.status_code if isinstance(error, HTTPException) else 500))


class _SchemaError(PlatemarkError):
    """The request's fields are not what the endpoint takes; names the fields, never their values."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        named = [
            f"{'.'.join(str(part) for part in error['loc'])[:100]}: {str(error['msg'])[:200]}"
            for error in errors[:_MAX_FIELDS_NAMED]
        ]
        super().__init__("; ".join(named) or "the request does not fit", kind=Kind.MALFORMED, code="request-schema")


class _RoutingError(PlatemarkError):
    """No such address, or not with this method."""

    def __init__(self, status: int) -> None:
        code = _HTTP_CODES.get(status, "request-schema")
        super().__init__("there is nothing at this address for this method", kind=Kind.MALFORMED, code=code)


def _limit_headers(limit: Limit, seconds: int) -> dict[str, str]:
    """Return which limit was reached and when there is more; source: RateLimit header fields for HTTP (IETF draft)."""
    return {
        "RateLimit-Policy": f'"{limit.name}";q={limit.most};w={limit.window_seconds}',
        "RateLimit": f'"{limit.name}";r=0;t={seconds}',
    }


def _internal(correlation_id: str) -> dict[str, Any]:
    return {
        "type": "/problems/internal",
        "title": "Something went wrong in the gateway",
        "status": 500,
        "code": "internal",
        "correlationId": correlation_id,
    }


def _retry_after(error: PlatemarkError) -> int | None:
    given = error.retry_after_seconds if isinstance(error, (GatewayError, TryLaterError)) else None
    if given is not None:
        return max(1, given)
    return _RETRY_SECONDS.get(error.kind)
