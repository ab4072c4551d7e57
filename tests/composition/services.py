"""What docker-compose.yml says, as values: nothing in it is passed over, what is not understood is an error."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

_RUN: Final = frozenset(
    {"image", "command", "environment", "expose", "volumes", "secrets", "depends_on", "healthcheck", "networks"}
)
"""Keys that are acted upon."""
_CONTAINED: Final = frozenset(
    {
        "build", "cap_drop", "logging", "ports", "profiles", "read_only", "restart", "security_opt", "shm_size",
        "stop_grace_period", "tmpfs", "user",
    }
)  # fmt: skip
"""Keys that mean something to a container engine only; the profile decides nothing here, since all services run."""
_VARIABLE: Final = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")


class NotUnderstoodError(Exception):
    """The file says something that cannot be run without containers."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A place in a container: a volume's, or a file's of this repository."""

    source: str
    target: str

    @property
    def is_file(self) -> bool:
        return self.source.startswith("./")


@dataclass(frozen=True, slots=True)
class Service:
    """One service, with variables filled in."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ports: tuple[int, ...]
    mounts: tuple[Mount, ...]
    scratch: tuple[str, ...]
    secrets: tuple[str, ...]
    depends_on: Mapping[str, str]
    check: tuple[str, ...] | None
    check_seconds: int
    addresses: tuple[str, ...]

    @property
    def is_done_once(self) -> bool:
        """Whether others wait for its end; it has no health then."""
        return self.check is None


def read_services(path: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """Return all services; `variables` are what a shell would have set.

    Errors: NotUnderstoodError names the service and the key.
    """
    document = YAML(typ="safe").load(path.read_text())
    named = _filled(document["services"], variables)
    services = {name: _service(name, body) for name, body in named.items()}
    for service in services.values():
        for other, condition in service.depends_on.items():
            awaited = "service_completed_successfully" if services[other].is_done_once else "service_healthy"
            if condition != awaited:
                raise NotUnderstoodError(f"{service.name}: waits for {condition} of {other}, which has {awaited}")
    for variable in variables:
        if f"${{{variable}:-" not in path.read_text():
            raise NotUnderstoodError(f"nothing reads the variable {variable}")
    return services


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    match value:
        case str():
            return _VARIABLE.sub(lambda found: variables.get(found[1], found[2]), value)
        case dict():
            return {key: _filled(item, variables) for key, item in value.items()}
        case list():
            return [_filled(item, variables) for item in value]
        case _:
            return value


def _service(name: str, body: Mapping[str, Any]) -> Service:
    unknown = body.keys() - _RUN - _CONTAINED
    if unknown:
        raise NotUnderstoodError(f"{name}: {', '.join(sorted(unknown))}")
    check = body.get("healthcheck", {}).get("test")
    if check is not None and check[0] != "CMD":
        raise NotUnderstoodError(f"{name}: a health check that is no list of words behind CMD")
    networks = body.get("networks", [])
    found = networks.values() if isinstance(networks, dict) else []
    return Service(
        name=name,
        image=body["image"],
        command=tuple(body["command"]),
        environment=body.get("environment", {}),
        ports=tuple(int(port) for port in body.get("expose", [])),
        mounts=tuple(_mount(text) for text in body.get("volumes", [])),
        scratch=tuple(body.get("tmpfs", [])),
        secrets=tuple(body.get("secrets", [])),
        depends_on={other: each["condition"] for other, each in body.get("depends_on", {}).items()},
        check=None if check is None else tuple(check[1:]),
        check_seconds=int(body.get("healthcheck", {}).get("timeout", "0s").removesuffix("s")),
        addresses=tuple(each["ipv4_address"] for each in found if each),
    )


def _mount(text: str) -> Mount:
    source, target, *_ = text.split(":")
    return Mount(source, target)


class Places:
    """Names, ports and paths of one service's container, in terms of this machine."""

    def __init__(self, service: Service, services: Mapping[str, Service], ports: Mapping[str, int], root: Path) -> None:
        """`ports` has this machine's port of each `service:port`; `root` is where the container's paths begin."""
        self.root = root
        places = {"0.0.0.0": "127.0.0.1"}  # noqa: S104 (it is taken out of the file)
        for other in services.values():
            for address in other.addresses:
                places[address] = "127.0.0.1"
            for port in other.ports:
                here = ports[f"{other.name}:{port}"]
                places[f"{other.name}:{port}"] = f"127.0.0.1:{here}"
                places[f"/dns4/{other.name}/tcp/{port}"] = f"/ip4/127.0.0.1/tcp/{here}"
        for port in service.ports:
            places[str(port)] = str(ports[f"{service.name}:{port}"])
        for path in self.paths_of(service):
            places[path] = str(self.path(path))
        longest_first = sorted(places, key=len, reverse=True)
        self._places = places
        self._pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(each)}(?![\w.])" for each in longest_first))

    @staticmethod
    def paths_of(service: Service) -> Sequence[str]:
        """Return the container's paths that are the service's own."""
        secrets = [f"/run/secrets/{name}" for name in service.secrets]
        return [*(mount.target for mount in service.mounts), *service.scratch, *secrets]

    def path(self, path: str) -> Path:
        """Return where a path of the container is here."""
        return self.root / path.lstrip("/")

    def here(self, text: str) -> str:
        """Return a text with its names, ports and paths replaced, each once."""
        return self._pattern.sub(lambda found: self._places[found[0]], text)
