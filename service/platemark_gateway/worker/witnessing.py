"""The loop that asks witnesses for the cosignatures that the published checkpoint lacks."""

from platemark_gateway.container import Container
from platemark_gateway.printlog import service


async def step(container: Container) -> bool:
    """Ask them; return False: those that are away are asked again later."""
    await service.ask_witnesses(container)
    return False
