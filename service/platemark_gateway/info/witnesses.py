"""How each witness of the log is, from what was noted when it was asked last."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import UnixSeconds
from platemark_gateway.container import Container
from platemark_gateway.models.printlog import LogHead, LogWitness


@dataclass(frozen=True, slots=True)
class WitnessState:
    """A witness by its name: `ok`, `waiting` (never asked), or the code of what is wrong; what it cosigned last."""

    name: str
    state: str
    size: int
    cosigned_at: UnixSeconds | None


async def witness_states(session: AsyncSession, container: Container) -> Sequence[WitnessState]:
    """Return how each witness of the settings is for the epoch that grows."""
    epoch = select(func.max(LogHead.epoch)).scalar_subquery()
    rows = {row.witness: row for row in await session.scalars(select(LogWitness).where(LogWitness.epoch == epoch))}
    found = []
    for witness in container.witnesses:
        row = rows.get(witness.key.text)
        if row is None:
            found.append(WitnessState(witness.key.name, "waiting", 0, None))
        else:
            found.append(WitnessState(witness.key.name, row.code or "ok", row.size, row.cosigned_at))
    return found
