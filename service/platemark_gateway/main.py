"""The application: middleware, slices and documentation, around a container that somebody else built."""

import functools
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from platemark.errors import PlatemarkError
from platemark_gateway import problems
from platemark_gateway.auth.endpoints import router as auth_router
from platemark_gateway.container import Container
from platemark_gateway.designs.endpoints import router as designs_router
from platemark_gateway.edge import BodyLimit, Cors, Direct, SecurityHeaders
from platemark_gateway.files.endpoints import router as files_router
from platemark_gateway.idempotency import Idempotency
from platemark_gateway.info.endpoints import router as info_router
from platemark_gateway.licenses.endpoints import payees_router
from platemark_gateway.licenses.endpoints import router as licenses_router
from platemark_gateway.printlog.endpoints import router as printlog_router
from platemark_gateway.prints.endpoints import redeem_route
from platemark_gateway.prints.endpoints import router as prints_router
from platemark_gateway.ratelimit.buckets import Buckets
from platemark_gateway.ratelimit.middleware import RateLimit
from platemark_gateway.settlement.endpoints import router as settlement_router
from platemark_gateway.telemetry import RequestContext
from platemark_gateway.tokens.endpoints import router as tokens_router

UPLOADS: Final = "/v1/blobs"
PUBLIC: Final = ("/ipfs/", "/log/", "/v1/gateway", "/v1/openapi.json", "/v1/parts/")
"""What is the same for everybody and evidence for anybody: pages of every origin may read it."""
TAGS: Final = (
    ("gateway", "What this gateway is, its blocks and its transactions."),
    ("sign-in", "Sessions for people (ERC-4361), API keys for machines."),
    ("designs", "Register, publish, deposit, reveal and recall designs."),
    ("licenses", "Accept, offer, mint, move and return licences; what they earned."),
    ("tokens", "Reservations and the print tokens issued for them."),
    ("prints", "One request a product: release, outcome, passport."),
    ("log", "The print log, as C2SP tiles."),
    ("settlement", "Counts that go to the chain."),
)
ROUTERS: Final = (
    info_router,
    auth_router,
    files_router,
    designs_router,
    licenses_router,
    payees_router,
    tokens_router,
    prints_router,
    printlog_router,
    settlement_router,
)
_PROBLEM: Final = {
    "description": "An error (RFC 9457); `code` is stable, docs/errors.md lists all.",
    "content": {
        problems.MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "code"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "code": {"type": "string"},
                    "hint": {"type": "string"},
                    "correlationId": {"type": "string"},
                    "retryAfter": {"type": "integer", "description": "seconds; also in the header Retry-After"},
                    "step": {"type": "string"},
                    "expected": {},
                    "found": {},
                    "place": {"type": "integer", "description": "which redemption of a plate, from 0"},
                },
            },
            "example": {
                "type": "/problems/awaiting-finality",
                "title": "The chain has not settled this yet",
                "status": 409,
                "detail": "the chain has not made this final yet",
                "code": "awaiting-finality",
                "hint": "ask again in a moment",
                "correlationId": "5f1d7a84db00d2fc",
                "retryAfter": 15,
            },
        }
    },
}


@functools.cache
def _routes() -> Sequence[BaseRoute]:
    """Return the routes of all applications: FastAPI works out once, at the first request, how each is served."""
    everything = APIRouter(responses={"4XX": _PROBLEM, "5XX": _PROBLEM})
    for router in ROUTERS:
        everything.include_router(router)
    return everything.routes


def create_app(container: Container) -> FastAPI:
    """Return the gateway's application; it neither opens nor closes what the container holds."""
    app = FastAPI(
        title="Platemark gateway",
        version="1",
        summary="Counts prints, releases keys, keeps the print log.",
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS],
        routes=list(_routes()),
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,  # whereto, the Host header would say, which is the caller's word
        # FastAPI's own would tell exporters that the environment names what errors say, and costs each request.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.container = container
    app.state.worker_health = None
    app.state.buckets = Buckets(
        container.clock,
        per_minute=container.settings.requests_per_minute,
        tracked=container.settings.tracked_callers,
    )
    problems.install(app)
    settings = container.settings

    def refuse(error: PlatemarkError) -> ASGIApp:
        return problems.response(error)

    # The last one added is the outermost.
    app.add_middleware(Direct, route=redeem_route(), answered=problems.HANDLED, refuse=problems.answer_to)
    app.add_middleware(Idempotency, container=container, streams=frozenset({UPLOADS}), refuse=refuse)
    app.add_middleware(
        BodyLimit, limit_bytes=settings.body_bytes, path_limits={UPLOADS: settings.blob_bytes}, refuse=refuse
    )
    app.add_middleware(
        RateLimit,
        buckets=app.state.buckets,
        trusted_proxies=settings.trusted_proxies,
        refuse=refuse,
    )
    app.add_middleware(Cors, origins=settings.cors_origins, public=PUBLIC)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestContext, unknown=problems.unknown_response, metrics=container.metrics)
    return app
