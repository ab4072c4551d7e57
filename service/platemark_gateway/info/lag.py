"""How far the log's copy in the second place is behind, from what the worker notes in `shipping.json`.

shipping.json   {"mark", "entryId", "failing", "at"}: the copy's mark, the newest entry in it, what is wrong, when
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark_gateway.container import Container
from platemark_gateway.models.printlog import LogEntry

STATE_FILE: Final = "shipping.json"


@dataclass(frozen=True, slots=True)
class Lag:
    """What the second place lacks: entries, for how many seconds the oldest of them, and the code of what is wrong."""

    entries: int
    seconds: int
    failing: str | None


def read_state(data: Path) -> Mapping[str, Any]:
    """Return what the worker noted last; nothing before the first round. Blocks."""
    try:
        found: Mapping[str, Any] = json.loads((data / STATE_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found


async def lag(session: AsyncSession, container: Container) -> Lag | None:
    """Return how far the second place is behind; None when nothing is shipped."""
    if container.settings.ship_to is None:
        return None
    found = await asyncio.to_thread(read_state, container.settings.data)
    missing = LogEntry.id > int(found.get("entryId", 0))
    entries = await session.scalar(select(func.count()).select_from(LogEntry).where(missing)) or 0
    oldest = await session.scalar(select(LogEntry.created_at).where(missing).order_by(LogEntry.id).limit(1))
    seconds = 0 if oldest is None else max(0, container.clock.now() - oldest)
    return Lag(entries, seconds, found.get("failing"))
