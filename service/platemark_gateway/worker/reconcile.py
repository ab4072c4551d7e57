"""The loop that compares what the database says with what was published and anchored, and ends tokens."""

from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.printlog import service as printlog
from platemark_gateway.printlog.rebuild import rebuild
from platemark_gateway.prints import service as prints


async def step(container: Container) -> bool:
    """Compare the history with checkpoint and chain, which sets or lifts the quarantine; return whether to look again.

    A database that is merely behind its own published log, as an old backup is, is brought up to it. When a quarantine
    ends, the lists of tiles that the chain names are made again where they were lost.

    Errors: those of `rebuild`; NotComparedError: the step is tried again. The quarantine stays.
    """
    was_closed = await printlog.is_quarantined(container)
    if await printlog.check(container, ask_chain=True) is None:
        if was_closed:
            await printlog.list_tiles_again(container)
        return False
    if not await rebuild(container):
        return False
    if await printlog.check(container, ask_chain=True) is None:
        await printlog.list_tiles_again(container)
    return True


async def end_tokens(container: Container) -> bool:
    """Write the last log entry of tokens that ended; return whether there may be more. Waits out a quarantine."""
    try:
        async with container.database.begin() as session:
            return await prints.end_finished(session, container) > 0
    except UnavailableError as error:
        if error.code == "quarantine":
            return False
        raise
