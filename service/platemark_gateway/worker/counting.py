"""The steps of counting, which the worker runs beside the outbox and the indexer."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from platemark_gateway.clock import Clock
from platemark_gateway.container import Container
from platemark_gateway.worker import (
    adopting,
    anchoring,
    ending,
    keeping,
    reconcile,
    sequencing,
    settling,
    shipping,
    witnessing,
)
from platemark_gateway.worker.loop import Step

ADOPT_SECONDS: Final = 2.0
COMPARE_SECONDS: Final = 15.0
COLLECT_SECONDS: Final = 15.0
END_SECONDS: Final = 2.0
KEEP_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 0.5
WITNESS_SECONDS: Final = 5.0


class Every:
    """A step that is taken at most once in so many seconds, and again at once while there is more."""

    def __init__(self, seconds: float, clock: Clock, step: Step) -> None:
        self._seconds = seconds
        self._clock = clock
        self._step = step
        self._not_before = clock.monotonic()

    async def __call__(self) -> bool:
        """Take the step if it is time; return whether there is more."""
        if self._clock.monotonic() < self._not_before:
            return False
        more = await self._step()
        if not more:
            self._not_before = self._clock.monotonic() + self._seconds
        return more


def steps(container: Container) -> Mapping[str, Step]:
    """Return what lets the log grow, counts go to the chain, tokens end, histories be compared and blocks be kept."""
    clock = container.clock
    return {
        "sequencing": partial(sequencing.step, container),
        "anchoring": partial(anchoring.step, container),
        "settling": Every(SETTLE_SECONDS, clock, partial(settling.step, container)),
        "adopting": Every(ADOPT_SECONDS, clock, partial(adopting.step, container)),
        "shipping": Every(container.settings.ship_seconds, clock, partial(shipping.step, container)),
        "witnessing": Every(WITNESS_SECONDS, clock, partial(witnessing.step, container)),
        "ending": Every(END_SECONDS, clock, ending.Ending(container)),
        "collecting": Every(COLLECT_SECONDS, clock, partial(keeping.collect, container)),
        "keeping": Every(KEEP_SECONDS, clock, partial(keeping.step, container)),
        "reconcile": Every(COMPARE_SECONDS, clock, partial(reconcile.step, container)),
    }
