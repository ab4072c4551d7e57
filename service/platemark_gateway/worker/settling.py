"""The loop that sends final counts to the chain."""

from platemark_gateway.container import Container
from platemark_gateway.settlement import service


async def step(container: Container) -> bool:
    """Settle if it is time; return whether anything moved."""
    return await service.settle_once(container)
