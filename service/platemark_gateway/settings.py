"""The gateway's settings: read once from PLATEMARK_GATEWAY_* and flags, frozen, passed down."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, IPvAnyNetwork, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from platemark.errors import MalformedError
from platemark.protocol.checkpoint import KeyType, NoteKey

MIB = 1 << 20
_INSIDE = tuple(
    ip_network(network)
    for network in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
_DATABASES: Final = ("sqlite+aiosqlite:///", "postgresql+psycopg://")
_SEVERAL: Final = re.compile(r",\s*(?=https?://)")


def without_credentials(text: str) -> str:
    """Return an address without what may be a credential in it: user, password, path, query; other texts as they are.

    What stands before an address and a space, as a witness's public key does, stays.

    Endpoints of chains often carry their key in the path.
    """
    if "://" not in text:
        return text
    if len(several := _SEVERAL.split(text)) > 1:
        return ",".join(without_credentials(each) for each in several)
    key, space, text = text.rpartition(" ")
    url = urlsplit(text)
    host = url.netloc.rpartition("@")[2]
    more = "/…" if url.path.strip("/") or url.query or url.fragment else ""
    return f"{key}{space}{url.scheme}://{host}{more}"


def _witness(text: str) -> tuple[NoteKey, str]:
    """Return key and address of `VKEY URL`; errors: ValueError."""
    vkey, _, url = text.strip().partition(" ")
    try:
        key = NoteKey.parse(vkey)
    except MalformedError as error:
        raise ValueError(f"a witness's key is a vkey: {error.message}") from error
    if key.key_type is not KeyType.COSIGNATURE:
        raise ValueError("a witness's key is of type 4, which cosigns")
    if not url.startswith(("http://", "https://")):
        raise ValueError("after a witness's key stands its address, which begins with http:// or https://")
    return key, url.rstrip("/")


class Settings(BaseSettings):
    """What an operator may choose; every value has a limit, and defaults that run on one machine."""

    model_config = SettingsConfigDict(env_prefix="PLATEMARK_GATEWAY_", frozen=True, extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=80)] = "Platemark gateway"
    data: Path = Path("platemark-gateway")
    """Folder of the vault, the blocks, the log and, by default, the database."""
    database_url: SecretStr | None = None
    """`sqlite+aiosqlite:///…` or `postgresql+psycopg://…`; by default SQLite in the data folder."""
    database_connections: Annotated[int, Field(ge=1, le=100)] = 8
    rpc_url: Annotated[str, Field(max_length=4096)] = "http://127.0.0.1:8545"
    """The chain's JSON-RPC address, or several with commas between them, the preferred one first."""
    rpc_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8420
    url: str | None = None
    """Address under which clients reach the gateway; by default http://host:port."""
    passphrase: SecretStr | None = None
    passphrase_file: Path | None = None
    ipfs_api: str | None = None
    """Multiaddress of a Kubo node's API, such as /ip4/127.0.0.1/tcp/5001; by default blocks lie in a folder."""
    ipfs_replica_api: str | None = None
    """Multiaddress of a second Kubo node: everything is copied to it, and read from it while the first is away."""
    ipfs_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 20
    blocks_check_seconds: Annotated[int, Field(ge=60, le=30 * 86_400)] = 6 * 3600
    """How often everything that is kept on the block nodes is read, compared with its identifiers and repaired."""
    confirmations: Annotated[int, Field(ge=1, le=256)] = 2
    final_depth: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many blocks on top make a block final, on chains whose nodes do not say it; by default they say it."""
    finality_seconds: Annotated[int, Field(ge=1, le=86_400)] = 15
    """How long finality typically takes on this chain: what clients are told to wait."""
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    merge_delay_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600
    sequence_seconds: Annotated[float, Field(gt=0, le=60)] = 0.25
    """How often the sequencer looks for entries that wait for their place in the log."""
    anchor_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """How long an entry waits at most before the log's root is sent to the chain."""
    compare_within_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600
    """For how long releases rest on the last comparison of log and chain while the chain's endpoints are away."""
    ship_to: Path | None = None
    """Folder in a second place, mounted or synced, to which the log's tail is copied; by default there is none."""
    ship_seconds: Annotated[float, Field(gt=0, le=3600)] = 1
    """How often the log's tail is copied to the second place."""
    settle_seconds: Annotated[int, Field(ge=1, le=7 * 86_400)] = 900
    """How long counted prints gather, and how long after the last settlement, before they are sent to the chain."""
    witnesses: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    """Witnesses that are asked to cosign each checkpoint: `VKEY URL`, a key of type 4 and where add-checkpoint is."""
    witness_seconds: Annotated[float, Field(gt=0, le=60)] = 2
    """How long a checkpoint waits at most for its witnesses; whoever is late cosigns it later."""
    session_seconds: Annotated[int, Field(ge=60, le=86_400)] = 3600
    challenge_seconds: Annotated[int, Field(ge=30, le=3600)] = 600
    acceptance_seconds: Annotated[int, Field(ge=60, le=30 * 86_400)] = 86_400
    body_bytes: Annotated[int, Field(ge=1024, le=64 * MIB)] = 4 * MIB
    """Largest JSON body."""
    blob_bytes: Annotated[int, Field(ge=1024)] = 2048 * MIB
    """Largest uploaded file (ciphertext)."""
    blob_bytes_per_day: Annotated[int, Field(ge=1024)] = 64 * 1024 * MIB
    """What one account may upload in a day."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 6000
    """Of one address on the network, or one principal."""
    relays_per_day: Annotated[int, Field(ge=1)] = 2000
    """Transactions that the gateway pays for one account in a day."""
    relays_per_day_in_all: Annotated[int, Field(ge=1)] = 50_000
    """Transactions that the gateway pays for everybody in a day: accounts cost nothing, gas does."""
    spend_wei_per_day: Annotated[int, Field(ge=0)] = 10 * 10**18
    """What the transactions of a day may cost the gateway's account, gas and value."""
    spend_reserve_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """The part of it that only transactions which anchor the log or forbid something may use."""
    fee_limit_wei: Annotated[int, Field(ge=1)] = 500 * 10**9
    """What a unit of gas may cost at most; dearer times are waited out."""
    tracked_callers: Annotated[int, Field(ge=16, le=1_000_000)] = 50_000
    trusted_proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose X-Forwarded-For is believed."""
    metrics_networks: tuple[IPvAnyNetwork, ...] = _INSIDE
    """From where /metrics may be read: loopback and private networks, but not through a proxy that is not trusted."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call every endpoint, such as https://console.example, or `*`; what is public is open to
    all. No cookies are used, so a page gets nothing for which it does not send a session or key itself."""
    worker: bool = True
    log_json: bool = True
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    @field_validator("url")
    @classmethod
    def _no_slash(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("the gateway's address begins with http:// or https://")
        return None if value is None else value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(_DATABASES):
            raise ValueError(f"a database's address begins with {' or '.join(_DATABASES)}")
        return value

    @field_validator("rpc_url")
    @classmethod
    def _endpoints(cls, value: str) -> str:
        each = [url.strip() for url in _SEVERAL.split(value)]
        if not all(url.startswith(("http://", "https://")) for url in each):
            raise ValueError("the address of a chain endpoint begins with http:// or https://")
        if len(set(each)) != len(each):
            raise ValueError("a chain endpoint is named twice")
        return ",".join(each)

    @field_validator("witnesses")
    @classmethod
    def _keys_and_places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        pairs = [_witness(text) for text in value]
        if len({(key.name, key.key_id) for key, _ in pairs}) != len(pairs):
            raise ValueError("a witness is named twice")
        return value

    def witness_places(self) -> tuple[tuple[NoteKey, str], ...]:
        """Return each witness's key and address, without a slash at the end."""
        return tuple(map(_witness, self.witnesses))

    def rpc_urls(self) -> tuple[str, ...]:
        """Return the addresses of the chain's endpoints, the preferred one first."""
        return tuple(_SEVERAL.split(self.rpc_url))

    def database(self) -> str:
        """Return the database's URL."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data / 'gateway.sqlite3'}"

    def public_url(self) -> str:
        """Return the address under which clients reach the gateway, without a slash at the end."""
        return self.url or f"http://{self.host}:{self.port}"

    def with_url(self, url: str) -> Self:
        """Return the same settings with another public address (a free port was chosen)."""
        return self.model_copy(update={"url": url})
