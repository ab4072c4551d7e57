"""What one command runs with: its global options, and what they open when it is needed."""

import getpass
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import typer

from platemark.cli.ui import Ui
from platemark.errors import LocalError, UpstreamError, UsageError

if TYPE_CHECKING:
    from platemark.agent.spool import Spool
    from platemark.designer.records import DesignRecords
    from platemark.protocol.accounts import AccountKey
    from platemark.protocol.permission import AgentSeed
    from platemark.sdk.chain import ChainClient
    from platemark.sdk.clock import Clock
    from platemark.sdk.config import Settings
    from platemark.sdk.gateway import GatewayClient
    from platemark.sdk.keystore import KeyStore
    from platemark.sdk.trust import TrustedGateway
    from platemark.sdk.waiting import Patience

EVERYWHERE: Final = (
    "--json, --home, --gateway, --rpc, --key, --passphrase-file and --patience go with every command: platemark --help"
)
"""The epilog of each group's help."""

_CHECKED: Final = "the gateway is checked against it: is it running, and is --rpc (or PLATEMARK_RPC) right?"


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """The options that go with every command."""

    as_json: bool = False
    home: str | None = None
    gateway: str | None = None
    rpc: str | None = None
    key: str | None = None
    passphrase_file: Path | None = None
    patience_seconds: int = 1800


@dataclass(slots=True)
class Unfinished:
    """What a command has begun and not finished yet: `hint` says how to go on, or what to look at first."""

    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A gateway that passed its checks, spoken to as somebody or nobody, and its chain where there is one."""

    client: "GatewayClient"
    gateway: "TrustedGateway"
    chain: "ChainClient | None"
    clock: "Clock"


class Invocation:
    """One run of the command line; everything is opened late and at most once."""

    def __init__(
        self, options: GlobalOptions, environment: Mapping[str, str], *, unfinished: Unfinished | None = None
    ) -> None:
        self.options = options
        self.unfinished = unfinished or Unfinished()
        """What is said of an interruption."""
        self.environment = environment
        self.ui = Ui(as_json=options.as_json)
        self.opened = ExitStack()
        """What the command opened and `close` closes."""

    def close(self) -> None:
        """Close what was opened; called when the command has ended."""
        self.opened.close()

    @cached_property
    def settings(self) -> "Settings":
        """The home, the gateway's and the chain endpoint's addresses."""
        from platemark.sdk.config import settings

        return settings(self.environment, home=self.options.home, gateway=self.options.gateway, rpc=self.options.rpc)

    @cached_property
    def keys(self) -> "KeyStore":
        """The account keys."""
        from platemark.sdk.keystore import KeyStore

        return KeyStore(self.settings.home.keys)

    @cached_property
    def designs(self) -> "DesignRecords":
        """What this machine knows of its own designs."""
        from platemark.designer.records import DesignRecords

        return DesignRecords(self.settings.home.designs)

    @cached_property
    def account(self) -> "AccountKey":
        """The account that signs, unlocked."""
        entry = self.keys.entry(self.options.key)
        return self.keys.unlock(entry.name, self.passphrase)

    @cached_property
    def agent_seed(self) -> "AgentSeed":
        """The agent's seed, made at first use."""
        from platemark.sdk.agent_seed import read_or_make_seed

        return read_or_make_seed(self.settings.home.agent / "seed.json", self.passphrase)

    @contextmanager
    def spool(self) -> Iterator["Spool"]:
        """Give the agent's durable memory."""
        from platemark.agent.spool import Spool

        with Spool(self.settings.home.agent / "spool") as spool:
            yield spool

    @cached_property
    def passphrase(self) -> str:
        """The passphrase of keys and recovery kits: from PLATEMARK_PASSPHRASE, a file, or the terminal."""
        return self._passphrase(again=False)

    @cached_property
    def new_passphrase(self) -> str:
        """A passphrase for something new, asked for twice on a terminal."""
        return self._passphrase(again=True)

    @cached_property
    def chain(self) -> "ChainClient | None":
        """The chain endpoint, if one was named."""
        if self.settings.rpc is None:
            return None
        return self.required_chain

    @cached_property
    def required_chain(self) -> "ChainClient":
        """The chain endpoint; UsageError `rpc-url` when none was named."""
        from platemark.sdk.chain import ChainClient

        chain = ChainClient(self.settings.rpc_url())
        self.opened.callback(chain.close)
        return chain

    @cached_property
    def clock(self) -> "Clock":
        """The later of this machine's clock and the chain's newest block, where an endpoint was named."""
        from platemark.sdk.clock import ChainClock, WallClock

        return WallClock() if self.chain is None else ChainClock(self.chain, WallClock())

    @property
    def patience(self) -> "Patience":
        """How long the command waits until something is final."""
        from platemark.sdk.waiting import Patience

        return Patience(self.options.patience_seconds)

    @contextmanager
    def connect(self, account: "AccountKey | None" = None, *, forbids: bool = False) -> Iterator[Connection]:
        """Give the gateway, checked and pinned, spoken to as `account`; errors of `check_gateway`.

        What only `forbids` something is also said while the chain endpoint is away: to a gateway that is in all what
        was pinned, and it is told what was not looked up. Whatever permits, spends or agrees on counts waits.
        """
        from platemark.sdk.gateway import GatewayClient
        from platemark.sdk.trust import check_gateway

        with GatewayClient(self.settings.gateway_url(), account=account) as client:
            pin = self.settings.home.pinned(client.url)
            try:
                found = Connection(client, check_gateway(client, pin=pin, chain=self.chain), self.chain, self.clock)
            except UpstreamError as error:
                if error.code != "rpc-unreachable":
                    raise
                if not (forbids and pin.exists()):
                    raise UpstreamError(error.message, code=error.code, hint=_CHECKED) from error
                found = self._pinned(client, pin)
            yield found

    def _pinned(self, client: "GatewayClient", pin: Path) -> Connection:
        """Return a gateway that is in all what was pinned, without its chain."""
        from platemark.sdk.clock import WallClock
        from platemark.sdk.trust import check_gateway

        found = check_gateway(client, pin=pin, chain=None)
        self.ui.tell(
            "warning: the chain endpoint cannot be reached, so this goes by what was pinned: whether the gateway's "
            "keys are still the declared ones was not looked up; look when it is back: platemark gateway show"
        )
        return Connection(client, found, None, WallClock())

    def _passphrase(self, *, again: bool) -> str:
        if self.options.passphrase_file is not None:
            from platemark.sdk.files import read_limited

            text = read_limited(self.options.passphrase_file, max_bytes=4096).decode(errors="replace")
            return text.rstrip("\r\n")
        if found := self.environment.get("PLATEMARK_PASSPHRASE"):
            return found
        if not sys.stdin.isatty():
            raise LocalError(
                "there is no passphrase, and no terminal to ask for one",
                code="passphrase-missing",
                hint="set PLATEMARK_PASSPHRASE or give --passphrase-file FILE",
            )
        passphrase = getpass.getpass("passphrase: ", stream=sys.stderr)
        if again and getpass.getpass("once more: ", stream=sys.stderr) != passphrase:
            raise UsageError("the two passphrases differ", code="passphrase-wrong")
        return passphrase


def invocation(context: typer.Context) -> Invocation:
    """Return what the command runs with."""
    return cast("Invocation", context.find_root().obj)


def environment() -> Mapping[str, str]:
    """Return the process's environment."""
    return os.environ
