"""The loop that keeps a copy of the log's tail in a second place."""

from platemark_gateway.container import Container
from platemark_gateway.printlog import shipping


async def step(container: Container) -> bool:
    """Ship what is new; never asks to come back at once, so that a busy log is shipped in larger parts.

    Errors: those of `shipping.ship`; the worker tells them and tries again.
    """
    await shipping.ship(container)
    return False
