"""Kubo daemons of a test's own, offline on loopback, which can be killed, frozen, filled and robbed of blocks.

with running_kubo(folder) as kubo:
    KuboBlocks(kubo.api, timeout_seconds=5)
"""

import base64
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from platemark.protocol.cid import Cid
from trusted import authorities

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60


def ipfs_program() -> str | None:
    """Return Kubo's ipfs, where there is one."""
    built = ROOT / ".tools" / "ipfs"
    return os.environ.get("PLATEMARK_TEST_IPFS_PROGRAM") or (str(built) if built.exists() else shutil.which("ipfs"))


class KuboProcess:
    """A daemon and its repository; started again, it has the same address."""

    def __init__(self, folder: Path) -> None:
        program = ipfs_program()
        assert program is not None
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.api = ""
        self._command("init", "--profile=test")
        self._command("config", "profile", "apply", "unixfs-v1-2025")

    def start(self) -> None:
        """Run the daemon until it answers."""
        told = self._folder / "api"
        told.unlink(missing_ok=True)
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "daemon", "--offline"], env=self._environment(), stdout=output, stderr=output
            )
        deadline = time.monotonic() + _START_SECONDS
        while not (told.exists() and told.read_text()):
            assert self._process.poll() is None, (self._folder / "output").read_text()
            assert time.monotonic() < deadline, "Kubo does not start"
            time.sleep(0.05)
        if not self.api:
            self.api = told.read_text().strip()
            self._command("config", "Addresses.API", self.api)

    def kill(self) -> None:
        """End the daemon as a crash does."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(20)

    def freeze(self) -> None:
        """Let the daemon take connections and answer nothing."""
        self._signal(signal.SIGSTOP)
        while not self._is_stopped():
            time.sleep(0.01)

    def _is_stopped(self) -> bool:
        """Return whether none of the daemon's threads goes on: they stop one after the other."""
        assert self._process is not None
        threads = Path(f"/proc/{self._process.pid}/task").glob("*/stat")
        return {path.read_text().rpartition(")")[2].split()[0] for path in threads} == {"T"}

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def fill(self) -> None:
        """Let every write of more than 4 KiB to a file fail, as on a full disk."""
        self._limit(4096)

    def make_room(self) -> None:
        """Let it write again."""
        self._limit(resource.RLIM_INFINITY)

    def collect_garbage(self) -> None:
        """Remove every block that is not pinned."""
        self._post("repo/gc")

    def unpin(self, root: Cid) -> None:
        """Lose a pin."""
        self._post("pin/rm", arg=root.text)

    def add_car(self, file: Path) -> None:
        """Import a CAR and pin its roots."""
        self._command("dag", "import", "--api", self.api, str(file))

    def root_of(self, folder: Path) -> Cid:
        """Return the identifier that Kubo gives a folder."""
        return Cid.parse(self._command("add", "--recursive", "--quieter", "--api", self.api, str(folder)).strip())

    @property
    def gateway(self) -> str:
        """Where the daemon serves content by path, over HTTP."""
        return (self._folder / "gateway").read_text().strip()

    def file(self, cid: Cid) -> Path:
        """Return where a block lies."""
        name = base64.b32encode(cid.to_bytes()[2:]).decode().rstrip("=")
        return self._folder / "blocks" / name[-3:-1] / f"{name}.data"

    def close(self) -> None:
        """End the daemon, frozen or not."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _post(self, path: str, **arguments: Any) -> None:
        host, port = self.api.split("/")[2], self.api.split("/")[4]
        answer = httpx.post(
            f"http://{host}:{port}/api/v0/{path}", params=arguments, timeout=30, trust_env=False, verify=authorities()
        )
        assert answer.status_code == 200, answer.text

    def _limit(self, size: int) -> None:
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _command(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, *arguments], env=self._environment(), capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "IPFS_PATH": str(self._folder)}


@contextlib.contextmanager
def running_kubo(folder: Path) -> Iterator[KuboProcess]:
    """Run a daemon in an empty folder."""
    kubo = KuboProcess(folder)
    try:
        kubo.start()
        yield kubo
    finally:
        kubo.close()
