"""Print centres that redeem and report one print after the other, whatever happens to the gateway meanwhile.

Each keeps to the agent's rules: a request is signed once and sent as the same bytes until it is answered; what is
answered is verified and kept.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from faults.site import LICENSED, Publisher, Site
from platemark.protocol.accounts import AccountKey
from platemark.protocol.log_entry import Result
from platemark.protocol.units import Digest32
from simulators.agent import Agent

PRINTS: Final = 4_000
"""Of one token."""
_OF_ONE_DESIGNER: Final = 12
_ANSWER_SECONDS: Final = 180
_PAUSE_SECONDS: Final = 0.1
_AGAIN: Final = frozenset({429, 502, 503})
_LATER: Final = frozenset({"awaiting-finality", "backlog-unanchored"})
"""Refusals that end by themselves; any other is a fault."""


@dataclass
class Centre:
    """One agent at work; `held` has the release of each sequence, as it was answered."""

    agent: Agent
    held: dict[int, str] = field(default_factory=dict)
    reported: dict[int, bool] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    """Answers that were no release, by code; `no answer` when a connection broke."""
    slowest_seconds: float = 0

    async def print_next(self) -> None:
        """Redeem the next print, verify and keep its release, and report how it ended."""
        sequence = len(self.held) + 1
        signed = self.agent.request(sequence)
        began = time.monotonic()
        answer = await self._answered("/v1/prints", self.agent.body(signed))
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        self.agent.verify(signed, answer)
        self.held[sequence] = answer["release"]
        result = Result.FAILED if sequence % 25 == 0 else Result.COMPLETED
        body = self.agent.report(sequence, result)
        told = await self._answered(f"/v1/prints/{body['outcome']['tokenId']}/{sequence}/outcome", body)
        self.reported[sequence] = told["spareUsed"]

    async def _answered(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        ends_at = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                answer = await self.agent.post(path, body)
            except httpx.TransportError:
                self.met["no answer"] += 1
            else:
                if answer.status_code == 200:
                    found: dict[str, Any] = answer.json()
                    return found
                code = answer.json()["code"]
                assert answer.status_code in _AGAIN or code in _LATER, answer.text
                self.met[code] += 1
            assert time.monotonic() < ends_at, f"no answer: {dict(self.met)}"
            await asyncio.sleep(_PAUSE_SECONDS)


async def open_centres(site: Site, count: int) -> list[Centre]:
    """Return centres whose tokens are issued: an agent each, and a designer for every twelve."""
    agents: list[Agent] = []
    while len(agents) < count:
        designer = Publisher(site.gateway, account=AccountKey(_salt(len(agents) + 1)))
        numbers = range(len(agents) + 1, min(count, len(agents) + _OF_ONE_DESIGNER) + 1)
        agents += [Agent(site.gateway, designer, salt=_salt(number), prints=PRINTS) for number in numbers]
        await designer.licensed(agents[0].holder.address, prints=LICENSED)
    return await _issued(site, agents)


async def add_centre(site: Site, centres: Sequence[Centre], prints: int) -> Centre:
    """Return one more centre, with a token of a few prints; it is not one of `centres`."""
    agent = Agent(site.gateway, centres[0].agent.designer, salt=_salt(1000 + time.monotonic_ns() % 60_000))
    agent.prints = prints
    return (await _issued(site, [agent]))[0]


def _salt(number: int) -> Digest32:
    return Digest32(number.to_bytes(2, "big") * 16)


async def _issued(site: Site, agents: Sequence[Agent]) -> list[Centre]:
    for agent in agents:
        answer = await agent.reserve()
        assert answer.status_code == 202, answer.text
    ends_at = time.monotonic() + _ANSWER_SECONDS
    for agent in agents:
        while (await agent.order_token()).json().get("code") == "awaiting-finality":
            assert time.monotonic() < ends_at, "a reservation does not become final"
            await asyncio.sleep(_PAUSE_SECONDS)
        await agent.take_token()
    await site.chain.follow()
    return [Centre(agent) for agent in agents]


@asynccontextmanager
async def load(centres: Sequence[Centre]) -> AsyncIterator[None]:
    """Let all centres print while the block lasts; then each finishes the print it is at."""
    stop = asyncio.Event()

    async def work(centre: Centre) -> None:
        while not stop.is_set() and len(centre.held) < centre.agent.prints:
            await centre.print_next()

    async with asyncio.TaskGroup() as group:
        for centre in centres:
            group.create_task(work(centre))
        try:
            yield
        finally:
            stop.set()
