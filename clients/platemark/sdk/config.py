"""Where a person's Platemark files live, and which gateway and chain endpoint are meant.

Each value comes from the first that has it: the command's option, the environment (PLATEMARK_HOME,
PLATEMARK_GATEWAY, PLATEMARK_RPC), the home's `config.json`.

    home/
      config.json            {gateway?, rpc?}
      keys/<name>.json       encrypted account keys
      gateways/<host>.json   what each gateway was found to be, pinned at first use
      designs/<id>/          manifest, registration, recovery kit, progress of a registration
      agent/                 an agent's seed and spool
      audits/<log>.sqlite3   how far an audit of a log has come that was interrupted
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platemark.errors import MalformedError, UsageError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue, object_of, text_of
from platemark.sdk.files import make_folder, read_limited, write_whole
from platemark.sdk.transport import checked_url

_MAX_CONFIG_BYTES: Final = 64 << 10
_FIELDS: Final = frozenset({"gateway", "rpc"})


@dataclass(frozen=True, slots=True)
class Home:
    """The folder with a person's Platemark files; nothing is made before it is needed."""

    path: Path

    @property
    def config(self) -> Path:
        """The file with the defaults."""
        return self.path / "config.json"

    @property
    def keys(self) -> Path:
        """The folder of account keys."""
        return self.path / "keys"

    @property
    def designs(self) -> Path:
        """The folder with one folder per design."""
        return self.path / "designs"

    @property
    def agent(self) -> Path:
        """The folder of a print centre's agent."""
        return self.path / "agent"

    @property
    def witness(self) -> Path:
        """The folder of a witness of print logs."""
        return self.path / "witness"

    def audit(self, origin: str) -> Path:
        """Return the file of an audit of the log with this origin that is under way."""
        name = hashlib.sha256(origin.encode()).hexdigest()[:16]
        return self.path / "audits" / f"{name}.sqlite3"

    def pinned(self, gateway_url: str) -> Path:
        """Return the file that remembers what the gateway at an address was found to be."""
        name = hashlib.sha256(gateway_url.encode()).hexdigest()[:16]
        return self.path / "gateways" / f"{name}.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works with."""

    home: Home
    gateway: str | None
    rpc: str | None

    def gateway_url(self) -> str:
        """Return the gateway's address; UsageError `gateway-url` when none was given."""
        if self.gateway is None:
            raise UsageError(
                "no gateway was named",
                code="gateway-url",
                hint="give --gateway URL, set PLATEMARK_GATEWAY, or run: platemark gateway use URL",
            )
        return self.gateway

    def rpc_url(self) -> str:
        """Return the chain endpoint's address; UsageError `rpc-url` when none was given."""
        if self.rpc is None:
            raise UsageError(
                "no chain endpoint was named",
                code="rpc-url",
                hint="give --rpc URL, set PLATEMARK_RPC, or run: platemark gateway use URL --rpc URL",
            )
        return self.rpc


def settings(
    environment: Mapping[str, str], *, home: str | None = None, gateway: str | None = None, rpc: str | None = None
) -> Settings:
    """Return the settings of a command from its options, the environment and the home's config.

    Errors: MalformedError `config`; UsageError `gateway-url` for an address that is none; LocalError.
    """
    place = Home(home_path(environment, home))
    saved = read_config(place)
    chosen_gateway = gateway or environment.get("PLATEMARK_GATEWAY") or saved.get("gateway")
    chosen_rpc = rpc or environment.get("PLATEMARK_RPC") or saved.get("rpc")
    return Settings(
        place,
        checked_url(chosen_gateway) if chosen_gateway else None,
        checked_url(chosen_rpc, secret_parts=True) if chosen_rpc else None,
    )


def home_path(environment: Mapping[str, str], option: str | None = None) -> Path:
    """Return the folder of a person's files: the option, PLATEMARK_HOME, or the system's place for such data."""
    named = option or environment.get("PLATEMARK_HOME")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("platemark", appauthor=False)


def read_config(home: Home) -> dict[str, str]:
    """Return the saved defaults.

    Errors: MalformedError `config` when the file is not what `write_config` wrote.
    """
    if not home.config.exists():
        return {}
    try:
        value = canonical.parse(read_limited(home.config, max_bytes=_MAX_CONFIG_BYTES), max_bytes=_MAX_CONFIG_BYTES)
        found = object_of(value, fields=frozenset(), optional=_FIELDS)
        return {key: text_of(item, max_length=2048) for key, item in found.items()}
    except MalformedError as error:
        raise MalformedError(
            f"{home.config}: {error.message}", code="config", hint="correct the file or delete it"
        ) from error


def write_config(home: Home, *, gateway: str | None, rpc: str | None) -> None:
    """Save the defaults, whole or not at all; a None leaves that default out."""
    make_folder(home.path)
    value: dict[str, JsonValue] = {}
    if gateway is not None:
        value["gateway"] = checked_url(gateway)
    if rpc is not None:
        value["rpc"] = checked_url(rpc, secret_parts=True)
    write_whole(home.config, canonical.encode(value) + b"\n")
