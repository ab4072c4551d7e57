"""How each witness of the log is, from what was noted when it was asked last."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.checkpoint import NoteKey
from platemark.protocol.units import UnixSeconds
from platemark_gateway.models.printlog import LogHead, LogWitness


@dataclass(frozen=True, slots=True)
class WitnessState:
    """A witness by its name: `ok`, `waiting` (never asked), or the code of what is wrong; what it cosigned last."""

    name: str
    state: str
    size: int
    cosigned_at: UnixSeconds | None


async def witness_states(session: AsyncSession, witnesses: Iterable[NoteKey]) -> Sequence[WitnessState]:
    """Return how each of these witnesses, by their keys, is for the epoch that grows."""
    epoch = select(func.max(LogHead.epoch)).scalar_subquery()
    rows = {row.witness: row for row in await session.scalars(select(LogWitness).where(LogWitness.epoch == epoch))}
    found = []
    for key in witnesses:
        row = rows.get(key.text)
        if row is None:
            found.append(WitnessState(key.name, "waiting", 0, None))
        else:
            found.append(WitnessState(key.name, row.code or "ok", row.size, row.cosigned_at))
    return found
