"""The synchronous client against the simulated gateway: requests cross into the event loop where it runs."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from platemark.protocol.accounts import AccountKey
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.transport import Retries
from platemark.sdk.trust import TrustedGateway, check_gateway
from platemark.sdk.waiting import Patience
from simulators.gateway import URL, SimulatedGateway, simulated_gateway


class BridgeTransport(httpx.BaseTransport):
    """Carries a synchronous client's requests to the application; remembers what was asked."""

    def __init__(self, portal: BlockingPortal, gateway: SimulatedGateway) -> None:
        self._portal = portal
        self._gateway = gateway
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        body = request.read()
        return self._portal.call(self._send, request, body)

    async def _send(self, request: httpx.Request, body: bytes) -> httpx.Response:
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=body)
        answer = await self._gateway.client.send(copy)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@dataclass
class RunningGateway:
    """A simulated gateway in a thread of its own, and how to reach it."""

    simulated: SimulatedGateway
    transport: BridgeTransport
    portal: BlockingPortal

    def mine(self) -> None:
        """Let the chain take in what waits; it is final at once."""
        self.portal.call(self.simulated.chain.mine)

    def client(self, account: AccountKey | None = None) -> GatewayClient:
        """Return a client that does not wait between attempts."""
        return GatewayClient(URL, account=account, transport=self.transport, retries=Retries(attempts=1))

    def trusted(self) -> TrustedGateway:
        """Return the gateway after the checks that need no chain."""
        with self.client() as client:
            return check_gateway(client, pin=None, chain=None)

    def patience(self, seconds: float = 60) -> Patience:
        """Return patience that mines a block instead of sleeping."""
        return Patience(seconds, sleep=lambda _: self.mine())


@contextlib.contextmanager
def running_gateway(folder: Path) -> Iterator[RunningGateway]:
    """Run a simulated gateway in `folder` while the block lasts."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(simulated_gateway(folder)) as simulated:
        yield RunningGateway(simulated, BridgeTransport(portal, simulated), portal)
