"""The loop that ends tokens, as long as clock and chain agree on what has expired."""

from dataclasses import replace

from platemark_gateway.clock import CLOCK_AHEAD, is_ahead, stopped
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError
from platemark_gateway.worker import reconcile


class Ending:
    """Ends tokens; what a token's last log entry says is for ever, so it waits while the clock is far ahead.

    A chain on which nothing happens is silent: then nobody can tell, and tokens wait for its next block. When blocks
    arrive that are older than they can be, the clock is wrong, or the node is still reading the chain.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        self._head: int | None = None
        self._is_wrong = False

    async def __call__(self) -> bool:
        """End what has ended; return whether there may be more.

        Errors: UnavailableError `clock-ahead` since a block has arrived that is older than it can be.
        """
        async with self._container.database.read() as session:
            progress = await self._container.index.progress(session)
        if progress is None:
            return False
        has_moved = self._head is not None and progress.head.number > self._head
        self._head = progress.head.number
        clock = stopped(self._container.clock)
        if not is_ahead(clock, progress.head.timestamp):
            self._is_wrong = False
            return await reconcile.end_tokens(replace(self._container, clock=clock))
        self._is_wrong = self._is_wrong or has_moved
        if self._is_wrong:
            ahead = clock.now() - progress.head.timestamp
            raise UnavailableError(f"the clock is {ahead} seconds ahead of the chain's newest block", code=CLOCK_AHEAD)
        return False
