"""Runs the services of docker-compose.yml as plain processes on loopback, in the order and with the checks it names."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from composition.images import OPERATIONS, PATH, ROOT, check_of, command_of, image_of, owner_of, user_of
from composition.services import NotUnderstoodError, Places, Service, read_services

START_SECONDS: Final = 240
STOP_SECONDS: Final = 30
_STOP_SIGNALS: Final = {"postgres": signal.SIGINT}
"""Of images whose STOPSIGNAL is another than SIGTERM."""


@dataclass
class Running:
    """One service's process, and whether it was found well."""

    service: Service
    process: "subprocess.Popen[bytes]"
    log: Path
    environment: Mapping[str, str]
    places: Places
    is_well: bool = False

    def look(self) -> None:
        """See whether the service is well: its check passes, or it ended with 0 when it runs once.

        Errors: NotUnderstoodError when it ended otherwise.
        """
        if self.is_well:
            return
        ended = self.process.poll()
        if ended is not None and (ended != 0 or not self.service.is_done_once):
            raise NotUnderstoodError(f"{self.service.name} ended with {ended}:\n{self.tail()}")
        check = check_of(self.service)
        if check is None:
            self.is_well = ended == 0
        else:
            self.is_well = self._passes(check)

    def _passes(self, check: Sequence[str]) -> bool:
        words = [self.places.here(word) for word in check]
        try:
            done = subprocess.run(
                words, env=dict(self.environment), capture_output=True, check=False, timeout=self.service.check_seconds
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def tail(self) -> str:
        """Return the last lines that it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> int:
        """Ask it to end as a container engine does; return how it ended."""
        if self.process.poll() is None:
            name = self.service.image.partition(":")[0]
            self.process.send_signal(_STOP_SIGNALS.get(name, signal.SIGTERM))
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


class Composition:
    """Services of the file in a folder; `change` may leave some out or alter them before anything runs."""

    def __init__(
        self, folder: Path, variables: Mapping[str, str], change: Callable[[dict[str, Service]], dict[str, Service]]
    ) -> None:
        self.folder = folder
        proxy = free_port()
        chosen = {"PLATEMARK_URL": f"http://127.0.0.1:{proxy}", **variables}
        self.services = change(read_services(ROOT / "docker-compose.yml", chosen))
        for service in self.services.values():  # all that is not understood is said before anything runs
            command_of(service)
            check_of(service)
        self.ports = {
            f"{service.name}:{port}": free_port() for service in self.services.values() for port in service.ports
        }
        self.ports["proxy:8080"] = proxy
        self.running: dict[str, Running] = {}
        self._initialised: set[str] = set()
        subprocess.run([OPERATIONS / "make-secrets", folder / "secrets"], check=True, timeout=10)

    def url(self, name: str, port: int) -> str:
        """Return where a service listens."""
        return f"http://127.0.0.1:{self.ports[f'{name}:{port}']}"

    def volume(self, name: str) -> Path:
        """Return where a volume lies."""
        return self.folder / "volumes" / name

    def start(self) -> None:
        """Return when every service was found well, whether it ran before or not.

        Errors: NotUnderstoodError with the last lines of a service that was not.
        """
        ends_at = time.monotonic() + START_SECONDS
        while not (len(self.running) == len(self.services) and all(each.is_well for each in self.running.values())):
            for service in self.services.values():
                waits = [
                    name for name in service.depends_on if name not in self.running or not self.running[name].is_well
                ]
                if service.name not in self.running and not waits:
                    self.running[service.name] = self._run(service)
            for each in self.running.values():
                each.look()
            if time.monotonic() > ends_at:
                ill = [f"{each.service.name}:\n{each.tail()}" for each in self.running.values() if not each.is_well]
                raise NotUnderstoodError("not well in time: " + "\n".join(ill))
            time.sleep(0.3)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill a service, by default as a power cut does; `start` runs it again."""
        process = self.running.pop(name).process
        process.send_signal(number)
        process.wait(STOP_SECONDS)

    def stop(self) -> dict[str, int]:
        """End everything, what was started last first; return how each ended."""
        return {name: each.stop() for name, each in reversed(self.running.items())}

    def _run(self, service: Service) -> Running:
        image = image_of(service)
        places = Places(service, self.services, self.ports, self.folder / service.name)
        self._furnish(service, places)
        said = {**image.environment, **service.environment}
        environment = {name: places.here(value) for name, value in said.items()}
        environment |= {"PATH": PATH, "HOME": str(places.root)}
        if service.name not in self._initialised:
            image.first(service, environment, places)
            self._initialised.add(service.name)
        log = self.folder / f"{service.name}.log"
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [places.here(word) for word in command_of(service)],
                cwd=places.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                user=user_of(service),
            )
        return Running(service, process, log, environment, places)

    def _furnish(self, service: Service, places: Places) -> None:
        """Make what the container would find: its volumes, files and secrets, all its own user's."""
        owned = []
        for mount in service.mounts:
            target = places.path(mount.target)
            target.parent.mkdir(parents=True, exist_ok=True)
            if mount.is_file:
                target.write_text(places.here((ROOT / mount.source).read_text()))
                continue
            volume = self.volume(mount.source)
            volume.mkdir(parents=True, exist_ok=True)
            if not target.is_symlink():
                target.symlink_to(volume)
            owned.append(volume)
        for path in service.scratch:
            places.path(path).mkdir(parents=True, exist_ok=True)
            owned.append(places.path(path))
        for name in service.secrets:
            target = places.path(f"/run/secrets/{name}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / "secrets" / name, target)
            target.chmod(0o600)
            owned.append(target)
        for place in owned:
            os.chown(place, *owner_of(service))


def as_it_is(services: dict[str, Service]) -> dict[str, Service]:
    """Change nothing."""
    return services


@contextmanager
def composition(
    folder: Path, change: Callable[[dict[str, Service]], dict[str, Service]] = as_it_is, **variables: str
) -> Iterator[Composition]:
    """Give a composition whose services run while the block lasts, once they are started."""
    folder.chmod(0o755)  # PostgreSQL runs as somebody else
    made = Composition(folder, variables, change)
    try:
        yield made
    finally:
        made.stop()


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
