"""The loop that sends the log's root to the chain."""

from platemark_gateway.container import Container
from platemark_gateway.printlog import service


async def step(container: Container) -> bool:
    """Anchor if it is time; return whether a transaction was queued."""
    return await service.anchor_once(container)
