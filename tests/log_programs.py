"""Programs of others for transparency logs, built from tests/interop/logcheck: a checker, a writer and a witness.

check(place, key)               the checker's complaint, or None
write(folder, inputs, secret)   lets tessera write, or continue, a log
with running_litewitness(folder, {origin: key}) as witness:
    witness.url, witness.key
"""

import base64
import contextlib
import hashlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from platemark.protocol.checkpoint import NoteKey
from platemark.protocol.merkle import EMPTY_ROOT

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAMS: Final = ("logcheck", "posix-oneshot", "litewitness")
WITNESS_NAME: Final = "witness.example.test/lite"
_START_SECONDS: Final = 60


def programs_folder() -> Path | None:
    """Return the folder that holds all of the programs, where there is one; litewitness needs OpenSSH's agent."""
    folder = Path(os.environ.get("PLATEMARK_TEST_LOG_PROGRAMS") or ROOT / ".tools")
    whole = all((folder / name).exists() for name in PROGRAMS) and shutil.which("ssh-agent") is not None
    return folder if whole else None


def _program(name: str) -> str:
    folder = programs_folder()
    assert folder is not None
    return str(folder / name)


def check(place: Path | str, key: NoteKey, witnesses: Sequence[NoteKey] = ()) -> str | None:
    """Return what the checker says against a log, or None when it passes, cosigned by all of these witnesses."""
    options = [f"-witness={witness.text}" for witness in witnesses]
    done = subprocess.run(
        [_program("logcheck"), *options, str(place), key.text], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stderr or "refused without a word" if done.returncode else None


def write(folder: Path, inputs: Path, secret: str, policy: str | None = None) -> None:
    """Let tessera add each file of `inputs` to its log in `folder`; with a witness policy, as the witnesses allow."""
    key = inputs.parent / "secret"
    key.write_text(secret)
    argv = [_program("posix-oneshot"), f"--storage_dir={folder}", f"--entries={inputs}/*", f"--private_key={key}"]
    if policy is not None:
        file = inputs.parent / "policy"
        file.write_text(policy)
        argv.append(f"--witness_policy_file={file}")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Litewitness:
    """A running witness: its address, its key, and its database."""

    url: str
    key: NoteKey
    database: Path

    def trust(self, origin: str, key: NoteKey) -> None:
        """Let it cosign a log that it has never seen."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=30)) as database, database:
            database.execute("INSERT INTO log VALUES (?, 0, ?)", (origin, base64.b64encode(EMPTY_ROOT).decode()))
            database.execute("INSERT INTO key VALUES (?, ?)", (origin, key.text))


@contextlib.contextmanager
def running_litewitness(folder: Path, logs: Mapping[str, NoteKey]) -> Iterator[Litewitness]:
    """Run litewitness with a key of its own in an ssh-agent; it knows these logs by their origins."""
    folder.mkdir(parents=True, exist_ok=True)
    secret = Ed25519PrivateKey.generate()
    key = folder / "key"
    key.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    key.chmod(0o600)
    public = secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    fingerprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    with contextlib.ExitStack() as stack:
        # The path of a socket is short, that of a test's folder often not.
        agent = f"/tmp/platemark-agent-{os.getpid()}-{os.urandom(4).hex()}"
        _running(stack, folder / "agent.log", "ssh-agent", "-D", "-a", agent)
        stack.callback(Path(agent).unlink, missing_ok=True)
        _wait(Path(agent).exists)
        environment = {**os.environ, "SSH_AUTH_SOCK": agent}
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, capture_output=True, check=True, timeout=30)
        port = _free_port()
        database, output = folder / "witness.db", folder / "witness.log"
        _running(
            stack, output, _program("litewitness"), f"-db={database}", f"-ssh-agent={agent}", f"-name={WITNESS_NAME}",
            f"-key={fingerprint}", f"-listen=127.0.0.1:{port}",
        )  # fmt: skip
        _wait(lambda: _answers(port))
        told = re.search(r"vkey=\"?([^\s\"]+)", output.read_text())
        assert told is not None, output.read_text()
        witness = Litewitness(f"http://127.0.0.1:{port}", NoteKey.parse(told[1]), database)
        for origin, log_key in logs.items():
            witness.trust(origin, log_key)
        yield witness


def _running(stack: contextlib.ExitStack, log: Path, *argv: str) -> None:
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)

    def end() -> None:
        process.kill()
        process.wait(20)

    stack.callback(end)


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "a program of others does not start"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
