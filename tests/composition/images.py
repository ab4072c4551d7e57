"""What an image brings that the file does not say: its programs, its defaults, and what its entry point does first."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from composition.services import NotUnderstoodError, Places, Service

ROOT: Final = Path(__file__).resolve().parents[2]
OPERATIONS: Final = ROOT / "service" / "operations"


def _search_path() -> str:
    postgresql = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    folders = [Path(sys.executable).parent, ROOT / ".tools", *postgresql[-1:], Path("/usr/sbin")]
    return os.pathsep.join([*(str(folder) for folder in folders), os.environ["PATH"]])


PATH: Final = _search_path()


def nothing_first(_service: Service, _environment: Mapping[str, str], _places: Places) -> None:
    """An entry point that only starts the command."""


def _initialise_postgresql(service: Service, environment: Mapping[str, str], places: Places) -> None:
    """Make a cluster with its user, password and database, as the image does at its first start."""
    data = Path(environment["PGDATA"])
    options = service.environment["POSTGRES_INITDB_ARGS"].split()
    user, database = service.environment["POSTGRES_USER"], service.environment["POSTGRES_DB"]
    password = places.here(service.environment["POSTGRES_PASSWORD_FILE"])
    _do(
        ["initdb", "--username", user, f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync", *options],
        service,
        environment,
    )
    _do(["postgres", "--single", "-D", str(data), "postgres"], service, environment, told=f"CREATE DATABASE {database}")


def _initialise_kubo(service: Service, environment: Mapping[str, str], places: Places) -> None:
    """Make a repository with the profile that is asked for; it listens where the image lets it listen."""
    _do(["ipfs", "init", f"--profile={service.environment['IPFS_PROFILE']}"], service, environment)
    for name, value in (
        ("Addresses.API", places.here("/ip4/127.0.0.1/tcp/5001")),
        ("Addresses.Gateway", "/ip4/127.0.0.1/tcp/0"),
    ):
        _do(["ipfs", "config", name, value], service, environment)
    _do(["ipfs", "config", "--json", "Addresses.Swarm", "[]"], service, environment)


def _do(argv: list[str], service: Service, environment: Mapping[str, str], told: str = "") -> None:
    done = subprocess.run(
        argv,
        env=dict(environment),
        input=told,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        user=user_of(service),
    )
    if done.returncode != 0:
        raise NotUnderstoodError(f"{service.name}: {' '.join(argv)}: {done.stdout}{done.stderr}")


@dataclass(frozen=True, slots=True)
class Image:
    """An image whose programs this machine has."""

    programs: frozenset[str]
    entry: tuple[str, ...] = ()
    """What stands before the command."""
    options: tuple[str, ...] = ()
    """What is added behind the command: loopback and places, where the image has other defaults."""
    environment: Mapping[str, str] = field(default_factory=dict)
    first: Callable[[Service, Mapping[str, str], Places], None] = nothing_first
    user: str | None = None
    """The account that runs it, when this process is root and the program refuses that."""


IMAGES: Final[Mapping[str, Image]] = {
    "platemark-gateway": Image(frozenset({"platemark-gateway", "python"})),
    "nginxinc/nginx-unprivileged": Image(frozenset({"nginx", "wget"})),
    "postgres": Image(
        frozenset({"postgres", "pg_isready"}),
        options=("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=/var/run/postgresql"),
        environment={"PGDATA": "/var/lib/postgresql/data", "PGPORT": "5432"},
        first=_initialise_postgresql,
        user="postgres",
    ),
    "ipfs/kubo": Image(
        frozenset({"ipfs"}), entry=("ipfs",), environment={"IPFS_PATH": "/data/ipfs"}, first=_initialise_kubo
    ),
    "prom/prometheus": Image(frozenset({"prometheus", "wget"}), entry=("prometheus",)),
}


def image_of(service: Service) -> Image:
    """Return what is known of a service's image; errors: NotUnderstoodError."""
    name, _, tag = service.image.partition(":")
    if name not in IMAGES or tag in {"", "latest"}:
        raise NotUnderstoodError(f"{service.name}: nothing is known of the image {service.image}")
    return IMAGES[name]


def command_of(service: Service) -> list[str]:
    """Return the whole command of a service; errors: NotUnderstoodError for a program that its image does not have."""
    image = image_of(service)
    return _known(service, [*image.entry, *service.command, *image.options])


def check_of(service: Service) -> list[str] | None:
    """Return a service's health check; errors as `command_of`."""
    return None if service.check is None else _known(service, list(service.check))


def _known(service: Service, words: list[str]) -> list[str]:
    if words[0] not in image_of(service).programs:
        raise NotUnderstoodError(f"{service.name}: nothing is known of the command {words[0]}")
    if shutil.which(words[0], path=PATH) is None:
        raise NotUnderstoodError(f"{service.name}: this machine has no {words[0]}")
    return words


def user_of(service: Service) -> str | None:
    """Return the account that runs a service, or None for this process's own."""
    return image_of(service).user if os.geteuid() == 0 else None


def owner_of(service: Service) -> tuple[int, int]:
    """Return user and group of a service's files."""
    user = user_of(service)
    if user is None:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid
