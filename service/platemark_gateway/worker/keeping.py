"""The loop that checks and repairs what the gateway promised to keep on its block nodes."""

from platemark_gateway.container import Container
from platemark_gateway.files import keeping


async def collect(container: Container) -> bool:
    """Note roots that others' rows name; return whether there may be more."""
    return await keeping.collect(container)


async def step(container: Container) -> bool:
    """Check a piece of one root and repair it; return whether there may be more to do."""
    return await keeping.keep_once(container)
