"""The log of a simulated gateway grows when a test says so."""

from platemark_gateway.printlog import service
from simulators.gateway import SimulatedGateway


async def sequence(gateway: SimulatedGateway) -> None:
    """Give every entry that waits its place, and publish the checkpoint."""
    while await service.sequence_once(gateway.container):
        pass


async def anchor(gateway: SimulatedGateway, *, final: bool = True) -> None:
    """Anchor the published log in the next block."""
    async with gateway.container.database.begin() as session:
        await service.request_anchor(session, gateway.container, gateway.container.vault.account)
    assert await service.anchor_once(gateway.container)
    await gateway.chain.mine(final=final)
