"""The loop that brings the permissions that wait to the ledger."""

from platemark_gateway.container import Container
from platemark_gateway.tokens import reserving


async def step(container: Container) -> bool:
    """Queue what waits, several in one transaction; return whether there may be more."""
    return await reserving.reserve_waiting(container)
