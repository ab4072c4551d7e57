"""The loop that lets the log grow, and writes the last entries of tokens that ended."""

from platemark_gateway.container import Container
from platemark_gateway.printlog import service


async def step(container: Container) -> bool:
    """Sequence what is waiting; return whether anything moved."""
    return await service.sequence_once(container)
