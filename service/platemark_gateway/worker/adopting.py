"""The loop that goes over to the profile that the chain made final last."""

from platemark_gateway.container import Container
from platemark_gateway.printlog import service


async def step(container: Container) -> bool:
    """Go over to a newer profile if there is one; return whether to look again at once.

    Errors: VaultError `vault-key-missing` for a profile whose keys this machine's vault lacks; NotComparedError, after
        which the comparison is that of `reconcile`.
    """
    if not await service.adopt(container):
        return False
    await service.check(container, ask_chain=True)
    return True
