"""What lies in a gateway's data folder, by name, and the lock that keeps a restore away from a running gateway.

vault/               the keys, encrypted
gateway.json         what this gateway is: account, contracts, log
deployment.json      where the contracts stand
gateway.sqlite3      the database, unless another one is named
log/                 tiles and checkpoint
blocks/              IPFS blocks, unless a node keeps them
passphrase           of `dev` alone; never in a backup
chain/               of `dev` alone: the embedded chain; never in a backup
.lock                held by whoever uses the folder
.restore/            a restore that is under way
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from platemark.errors import LocalError, MalformedError
from platemark.protocol.canonical import parse

STATE_FILE: Final = "gateway.json"
DEPLOYMENT_FILE: Final = "deployment.json"
VAULT: Final = "vault"
LOG: Final = "log"
BLOCKS: Final = "blocks"
CHAIN: Final = "chain"
LOCK: Final = ".lock"


def read_state(folder: Path) -> Mapping[str, Any] | None:
    """Return what `serve` wrote into `gateway.json`, or None before the first start.

    Errors: LocalError `state-damaged`.
    """
    try:
        found = parse((folder / STATE_FILE).read_bytes(), max_bytes=16_384)
    except FileNotFoundError:
        return None
    except MalformedError as error:
        raise LocalError(f"{STATE_FILE} is damaged", code="state-damaged", hint="restore a backup") from error
    if not isinstance(found, Mapping):
        raise LocalError(f"{STATE_FILE} is damaged", code="state-damaged", hint="restore a backup")
    return found


def own_chain(folder: Path) -> str | None:
    """Return where the embedded chain that lies in a data folder answers, or answered last; None without one."""
    try:
        found = parse((folder / CHAIN / "chain.json").read_bytes(), max_bytes=16_384)
    except (OSError, MalformedError):
        return None
    return str(found["url"]) if isinstance(found, Mapping) and "url" in found else None


@contextmanager
def in_use(folder: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold a data folder, with others or `alone`, while the block lasts; a killed process holds nothing.

    Errors: LocalError `gateway-running` when somebody else uses it in a way that excludes this one.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            raise LocalError(
                f"{folder} is in use by another process",
                code="gateway-running",
                hint="stop the gateway and its workers first" if alone else "wait until the restore has ended",
            ) from error
        yield
