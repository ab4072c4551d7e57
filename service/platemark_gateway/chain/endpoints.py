"""Several nodes of one chain as one: each call goes to the first that is well, and none is well unless it was checked.

A node that is silent, slow, busy or answers nonsense is left alone for a while, longer each time, and asked again
afterwards. Before its first call, after each failure and every few minutes it must show the right chain and contracts.
A node that contradicts what is proven or agreed is the last choice for an hour, and no witness.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import structlog

from platemark.errors import PlatemarkError, UpstreamError
from platemark_gateway.chain.client import Caller, ChainClient, Rpc
from platemark_gateway.chain.errors import NodeError, NodeUnreachableError
from platemark_gateway.ports import EndpointHealth

T = TypeVar("T")

Check = Callable[[ChainClient], Awaitable[None]]
"""Passes when a node serves the right chain and contracts; raises otherwise."""

_PAUSES_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
_ACCUSED_SECONDS: Final = 3600.0
_CHECK_SECONDS: Final = 300.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class _State:
    """What is known of one node; times are monotonic seconds."""

    failures: int = 0
    resting_until: float = 0
    accused_until: float = 0
    contradictions: int = 0
    checked_at: float | None = None
    refusal: PlatemarkError | None = None
    """Why it is not used though it answers: another chain, other contracts."""
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Endpoints:
    """JSON-RPC of one chain over several nodes, preferred ones first; implements `client.Caller`."""

    name: str = "all endpoints"

    def __init__(self, rpcs: Sequence[Rpc], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Take the nodes; with one of them it is trusted, with more two must agree on whatever permits anything."""
        self.quorum = min(2, len(rpcs))
        rests = self.quorum > 1
        self._nodes = [_Node(rpc, name, monotonic, rests=rests) for rpc, name in zip(rpcs, _names(rpcs), strict=True)]

    def require(self, check: Check) -> None:
        """Use only nodes that pass this check from now on."""
        for node in self._nodes:
            node.require(check)

    async def close(self) -> None:
        """Close the connections."""
        for node in self._nodes:
            await node.rpc.close()

    async def call(self, method: str, *params: Any, retry: bool = True) -> Any:
        """Return a method's result from the first node that gives one; errors as `Rpc.call`, of the first that failed.

        A revert is a result. A call that must not be repeated goes to one node only.
        """
        return await self._first(lambda node: node.call(method, *params, retry=retry), repeats=retry)

    async def batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the results of one method for several parameters, in order, all from one node; errors as `call`."""
        return await self._first(lambda node: node.batch(method, params), repeats=True)

    async def send(self, raw: bytes) -> None:
        """Broadcast a signed transaction to all nodes that can be asked, so that no single one can hold it back.

        Errors: as `Rpc.call`, of the preferred node, when none takes it.
        """
        nodes = await self.callers()
        found = await asyncio.gather(*(node.send(raw) for node in nodes), return_exceptions=True)
        failed = [each for each in found if isinstance(each, BaseException)]
        if len(failed) < len(found):
            return
        for each in failed:
            if not isinstance(each, PlatemarkError):
                raise each
        raise next((each for each in failed if isinstance(each, NodeError)), failed[0])

    async def callers(self) -> "Sequence[_Node]":
        """Return the nodes that can be asked now, the preferred one first; accused ones only if there are no others.

        Errors: NodeUnreachableError, or what is wrong with the chain or the contracts of those that answer.
        """
        usable = [node for node in self._ordered() if await node.is_usable()]
        if usable:
            return [node for node in usable if not node.is_accused()] or usable
        raise next((node.state.refusal for node in self._nodes if node.state.refusal), None) or NodeUnreachableError()

    def accuse(self, fact: str) -> None:
        """Never called: only a single node contradicts anything."""
        raise AssertionError(f"no node is named that contradicts {fact}")

    def health(self) -> Sequence[EndpointHealth]:
        """Return how each node does."""
        found = [each for node in self._nodes for each in node.health()]
        return [replace(each, state="trusted") if self.quorum == 1 and each.state == "ok" else each for each in found]

    def _ordered(self) -> "list[_Node]":
        return sorted(self._nodes, key=lambda node: node.is_accused())  # stable: the order of the settings

    async def _first(self, ask: "Callable[[_Node], Awaitable[T]]", *, repeats: bool) -> T:
        first: PlatemarkError | None = None
        for node in self._ordered():
            if not await node.is_usable():
                continue
            try:
                return await ask(node)
            except (NodeUnreachableError, UpstreamError) as error:
                first = first or error
                if not repeats:
                    break
        if first is None:
            await self.callers()  # says why none can be asked
            raise NodeUnreachableError
        raise first


class _Node:
    """One node, with what is known of it; implements `client.Caller`."""

    quorum: int = 1

    def __init__(self, rpc: Rpc, name: str, monotonic: Callable[[], float], *, rests: bool) -> None:
        """Take the node; `rests` when there are others that can be asked while this one is left alone."""
        self.rpc = rpc
        self.name = name
        self._rests = rests
        self.state = _State()
        self._monotonic = monotonic
        self._check: Check | None = None

    def require(self, check: Check) -> None:
        self._check = check
        self.state.checked_at = None

    async def call(self, method: str, *params: Any, retry: bool = True) -> Any:
        return await self._noting(self.rpc.call(method, *params, retry=retry))

    async def batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        return await self._noting(self.rpc.batch(method, params))

    async def send(self, raw: bytes) -> None:
        await self._noting(self.rpc.send(raw))

    async def callers(self) -> Sequence[Caller]:
        return [self]

    def accuse(self, fact: str) -> None:
        self.state.contradictions += 1
        self.state.accused_until = self._monotonic() + _ACCUSED_SECONDS
        log.error("chain.endpoint.contradicts", endpoint=self.name, fact=fact)

    def is_accused(self) -> bool:
        return self._monotonic() < self.state.accused_until

    def health(self) -> Sequence[EndpointHealth]:
        state = "ok"
        if self.state.refusal is not None:
            state = self.state.refusal.code
        elif self.is_accused():
            state = "contradicts"
        elif self.state.failures:
            state = "away"
        return [EndpointHealth(self.name, state, self.state.contradictions)]

    async def is_usable(self) -> bool:
        """Return whether the node may be asked now, after checking it if that is due."""
        if self._rests and self._monotonic() < self.state.resting_until:
            return False
        if self._check is None or self._is_checked():
            return True
        async with self.state.checking:
            return self._is_checked() or await self._pass(self._check)

    def _is_checked(self) -> bool:
        at = self.state.checked_at
        return at is not None and self._monotonic() < at + _CHECK_SECONDS

    async def _pass(self, check: Check) -> bool:
        try:
            await self._noting(check(ChainClient(self.rpc)))
        except (NodeUnreachableError, UpstreamError):
            return False
        except PlatemarkError as error:
            self.state.refusal = error
            self._rest()
            log.warning("chain.endpoint.refused", endpoint=self.name, code=error.code)
            return False
        self.state.checked_at, self.state.refusal = self._monotonic(), None
        return True

    async def _noting(self, answer: Awaitable[T]) -> T:
        """Return an answer, and remember whether there was one. A node's refusal is an answer."""
        try:
            found = await answer
        except NodeError:
            self._is_well()
            raise
        except (NodeUnreachableError, UpstreamError) as error:
            self._rest()
            log.warning("chain.endpoint.failed", endpoint=self.name, code=error.code, failures=self.state.failures)
            raise
        self._is_well()
        return found

    def _is_well(self) -> None:
        if self.state.failures:
            log.info("chain.endpoint.recovered", endpoint=self.name)
        self.state.failures = 0

    def _rest(self) -> None:
        pause = _PAUSES_SECONDS[min(self.state.failures, len(_PAUSES_SECONDS) - 1)]
        self.state.failures += 1
        self.state.resting_until = self._monotonic() + pause
        self.state.checked_at = None


def _names(rpcs: Sequence[Rpc]) -> list[str]:
    """Return a name for each node: host and port, numbered where they are the same."""
    hosts = [rpc.name for rpc in rpcs]
    return [f"{host}#{hosts[: at + 1].count(host)}" if hosts.count(host) > 1 else host for at, host in enumerate(hosts)]
