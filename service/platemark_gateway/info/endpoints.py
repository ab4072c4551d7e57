"""The gateway's profile, health and transactions."""

import uuid
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark_gateway import profiles
from platemark_gateway.container import Services
from platemark_gateway.db.session import Reading
from platemark_gateway.errors import NotFoundError
from platemark_gateway.info import gauges, health
from platemark_gateway.info.schemas import Finality, GatewayAnswer, Health, TransactionAnswer
from platemark_gateway.metrics import CONTENT_TYPE
from platemark_gateway.models.printlog import LogHead
from platemark_gateway.ports import FactStatus
from platemark_gateway.ratelimit.middleware import is_inside

router = APIRouter(tags=["gateway"])

_VERSION: Final = version("platemark-gateway")


@router.get("/v1/gateway")
async def gateway(container: Services, session: Reading) -> GatewayAnswer:
    """Return what this gateway is; check the profile's digest against the chain before believing it."""
    digest = await session.scalar(select(LogHead.profile_digest).order_by(LogHead.epoch.desc()).limit(1))
    profile = container.profile if digest is None else await profiles.profile_of(session, container, digest)
    depth = container.settings.final_depth
    return GatewayAnswer(
        name=container.settings.name,
        version=_VERSION,
        chain_id=profile.chain_id,
        registry=profile.registry,
        license=profile.license,
        ledger=profile.ledger,
        gateway=profile.gateway,
        profile=profile.to_json(),
        profile_digest=profile.digest(),
        url=profile.url,
        log_origin=profile.log_origin,
        merge_delay_seconds=profile.merge_delay_seconds,
        finality=Finality(
            tag="finalized" if depth is None else f"{depth} blocks on top",
            seconds_typical=container.settings.finality_seconds,
        ),
        state="quarantine" if await _quarantined(session) else "ready",
    )


@router.get("/v1/transactions/{transaction_id}")
async def transaction(transaction_id: uuid.UUID, container: Services, session: Reading) -> TransactionAnswer:
    """Return how far a transaction has come; once it is final, the gateway has read what it did."""
    found = await container.transactions.view(session, transaction_id)
    if found is None:
        raise NotFoundError("there is no such transaction", code="transaction-unknown")
    progress = await container.index.progress(session)
    is_read = progress is not None and progress.status(found.block) is FactStatus.FINAL
    return TransactionAnswer(
        id=found.id,
        purpose=found.purpose,
        status="confirmed" if found.status == "final" and not is_read else found.status,
        hash=found.hash,
        reason=found.reason,
        waiting_for=found.waiting_for,
    )


@router.get("/livez", include_in_schema=False)
async def live() -> dict[str, str]:
    """Answer that the process runs."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": Health}})
async def ready(request: Request, container: Services, response: Response) -> Health:
    """Answer whether the gateway can serve, and how each of its parts is."""
    found = await health.examine(container, request.app.state.worker_health)
    if not found.is_ready:
        response.status_code = 503
    return Health(
        status="ok" if found.is_ready else "unavailable",
        parts=dict(found.parts),
        replica_behind_roots=found.replica_behind_roots,
    )


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, container: Services) -> Response:
    """Return what this process counted and how the gateway is, for Prometheus; nobody outside is answered."""
    settings = container.settings
    if not is_inside(request.scope, settings.trusted_proxies, settings.metrics_networks):
        raise NotFoundError("there is nothing at this address for this method", code="route-unknown")
    lines = [*container.metrics.lines(), *await gauges.measure(container)]
    return Response("\n".join(lines) + "\n", media_type=CONTENT_TYPE)


async def _quarantined(session: AsyncSession) -> bool:
    reason = await session.scalar(select(LogHead.quarantine).order_by(LogHead.epoch.desc()).limit(1))
    return reason is not None
