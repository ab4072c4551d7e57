"""What `platemark-gateway support-bundle` writes: one JSON file that helps others to help, without a secret.

Everything is named here that goes in; nothing goes in because it happens to be there. Addresses of people, ids of
designs and tokens, and texts of errors that others wrote stay out.
"""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from platemark.errors import PlatemarkError
from platemark_gateway.clock import Clock, SystemClock
from platemark_gateway.diagnosis import examine, reading
from platemark_gateway.models.audit import AuditEntry
from platemark_gateway.models.base import Base
from platemark_gateway.models.blocks import KeptRoot
from platemark_gateway.models.chain import ChainProgress, OutboxTransaction
from platemark_gateway.models.registry import load_models
from platemark_gateway.models.work import WorkerStep
from platemark_gateway.settings import Settings, without_credentials

_PACKAGES: Final = ("platemark", "platemark-gateway", "fastapi", "sqlalchemy", "web3", "ipfshttpclient", "cryptography")
_DAY_SECONDS: Final = 86_400


async def bundle(settings: Settings, clock: Clock | None = None) -> dict[str, Any]:
    """Return the bundle's content; whatever cannot be read is named instead of raised."""
    now = clock or SystemClock()
    findings = await examine(settings, now)
    return {
        "version": 1,
        "madeAt": now.now(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in _PACKAGES},
        "settings": shown(settings),
        "findings": [{"part": each.part, "level": each.level, "text": each.text} for each in findings],
        "database": await _tables(settings, now),
    }


def shown(settings: Settings) -> dict[str, Any]:
    """Return the settings as they may be shown: of secrets and files only whether they are set."""
    return {
        name: _database(settings) if name == "database_url" else _shown(getattr(settings, name))
        for name in type(settings).model_fields
    }


def _shown(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return without_credentials(value)
        case tuple() | list():
            return [_shown(each) for each in value]
        case SecretStr() | Path():
            return "set"
        case IPv4Network() | IPv6Network():
            return str(value)
        case _:
            return "not shown"


def _database(settings: Settings) -> str | None:
    if settings.database_url is None:
        return None
    url = make_url(settings.database())
    return f"{url.drivername}://{url.host or ''}{'' if url.port is None else f':{url.port}'}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


async def _tables(settings: Settings, clock: Clock) -> Mapping[str, Any]:
    load_models()
    try:
        async with reading(settings) as session:
            rows = {
                name: await session.scalar(select(func.count()).select_from(table))
                for name, table in sorted(Base.metadata.tables.items())
            }
            progress = await session.get(ChainProgress, 1)
            outbox = select(OutboxTransaction.purpose, OutboxTransaction.status, OutboxTransaction.code, func.count())
            grouped = outbox.group_by(OutboxTransaction.purpose, OutboxTransaction.status, OutboxTransaction.code)
            acts = select(AuditEntry.action, func.count()).where(AuditEntry.at > clock.now() - _DAY_SECONDS)
            kept = select(KeptRoot.purpose, KeptRoot.problem, func.count()).group_by(KeptRoot.purpose, KeptRoot.problem)
            return {
                "rows": rows,
                "chain": None
                if progress is None
                else {
                    "chainId": progress.chain_id,
                    "head": progress.head_number,
                    "indexed": progress.indexed_number,
                    "final": progress.final_number,
                },
                "outbox": [list(row) for row in await session.execute(grouped)],
                "actsOfTheLastDay": [list(row) for row in await session.execute(acts.group_by(AuditEntry.action))],
                "kept": [list(row) for row in await session.execute(kept)],
                "workerSteps": [
                    {
                        "step": row.step,
                        "succeededAt": row.succeeded_at,
                        "failedAt": row.failed_at,
                        "failures": row.failures,
                        "code": row.code,
                    }
                    for row in await session.scalars(select(WorkerStep).order_by(WorkerStep.step))
                ],
            }
    except PlatemarkError as error:
        return {"unreadable": error.code}
    except SQLAlchemyError as error:
        return {"unreadable": type(error).__name__}
