"""A witness of print logs (C2SP tlog-witness): cosigns what continues that which it cosigned before, and nothing else.

    <folder>/key              the witness's private key (skey), of type 4
    <folder>/witness.sqlite3  the logs that it knows: origin, keys, and size and root of what it cosigned last

The rule is one: size and root are on the disk before a signature over them exists, so that no crash, no second process
and no order of requests can make it sign two roots of one size. A folder that is restored from a backup has forgotten
what came after: such a witness begins anew, under another key.
"""

import contextlib
import secrets
import socket
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Self

from platemark.auditor.evidence import Evidence
from platemark.auditor.replay import accepted_gateway, find_profiles, profile_reader
from platemark.errors import LocalError, MalformedError, UsageError
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, KeyType, NoteKey, NoteSigner, private_key_text
from platemark.protocol.units import Digest32
from platemark.protocol.witness import (
    MAX_REQUEST_BYTES,
    PATH,
    SIZE_MEDIA_TYPE,
    AddCheckpoint,
    Verdict,
    decide,
    encode_conflict,
)
from platemark.sdk.clock import Clock
from platemark.sdk.files import make_folder, read_limited, write_whole
from platemark.verify.inclusion import check_epoch, check_profile

_KEY_FILE: Final = "key"
_DATABASE: Final = "witness.sqlite3"
_KEY_BYTES: Final = 4096
_WAIT_SECONDS: Final = 10
_TEXT: Final = "text/plain; charset=utf-8"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS logs (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS keys (origin TEXT NOT NULL REFERENCES logs, key TEXT NOT NULL, PRIMARY KEY (origin, key));
"""
_REFUSALS: Final[Mapping[Verdict, tuple[HTTPStatus, str]]] = {
    Verdict.MALFORMED: (HTTPStatus.BAD_REQUEST, "the old size is above the checkpoint's"),
    Verdict.NOT_SIGNED: (HTTPStatus.FORBIDDEN, "no known key of this log signed the checkpoint"),
    Verdict.INCONSISTENT: (HTTPStatus.UNPROCESSABLE_ENTITY, "the checkpoint does not continue what was cosigned"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers: status, body, and the body's media type."""

    status: HTTPStatus
    body: bytes
    media_type: str = _TEXT


@dataclass(frozen=True, slots=True)
class WitnessedLog:
    """A log that a witness knows: its keys under its origin, and size and root of what was cosigned last."""

    origin: str
    keys: tuple[NoteKey, ...]
    size: int
    root: Digest32


class WitnessLogs:
    """The logs that a witness knows, in a database that is on the disk before anything is told."""

    def __init__(self, folder: Path) -> None:
        """Open the database of a folder, or make it; errors: LocalError `witness-state`."""
        self._lock = threading.Lock()
        with _disk():
            self._database = sqlite3.connect(
                folder / _DATABASE, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.execute("PRAGMA synchronous = EXTRA")
            self._database.executescript(_TABLES)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def add(self, key: NoteKey) -> None:
        """Know a log by its key, whose name is the origin; one that is known gets a further key.

        Errors: UsageError `note-key` for a key that signs no log; LocalError `witness-state`.
        """
        if key.key_type is not KeyType.ED25519:
            raise UsageError("a log's key is of type 1", code="note-key")
        with self._turn():
            self._database.execute("INSERT OR IGNORE INTO logs VALUES (?, 0, ?)", (key.name, merkle.EMPTY_ROOT))
            self._database.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (key.name, key.text))

    def all(self) -> Sequence[WitnessedLog]:
        """Return every known log; errors: LocalError `witness-state`."""
        with self._turn():
            origins = self._database.execute("SELECT origin FROM logs ORDER BY origin").fetchall()
            found = [self._find(origin) for (origin,) in origins]
        return [log for log in found if log is not None]

    def judge(self, request: AddCheckpoint, checkpoint: Checkpoint) -> tuple[Verdict, int] | None:
        """Return the verdict on a request, and the size that was cosigned last; None for an unknown log.

        After COSIGN, size and root are on the disk.

        Errors: LocalError `witness-state`.
        """
        with self._turn():
            log = self._find(checkpoint.origin)
            if log is None:
                return None
            verdict = decide(request, checkpoint, log.keys, log.size, log.root)
            if verdict is Verdict.COSIGN and checkpoint.size > log.size:
                self._database.execute(
                    "UPDATE logs SET size = ?, root = ? WHERE origin = ?",
                    (checkpoint.size, checkpoint.root, checkpoint.origin),
                )
            return verdict, log.size

    def _find(self, origin: str) -> WitnessedLog | None:
        row = self._database.execute("SELECT size, root FROM logs WHERE origin = ?", (origin,)).fetchone()
        if row is None:
            return None
        keys = self._database.execute("SELECT key FROM keys WHERE origin = ? ORDER BY key", (origin,)).fetchall()
        return WitnessedLog(origin, tuple(NoteKey.parse(key) for (key,) in keys), row[0], Digest32(row[1]))

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the database alone, also against other processes; what was written is synced when the block ends."""
        with _disk(), self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


class Witness:
    """A key and the logs that it cosigns."""

    def __init__(self, signer: NoteSigner, logs: WitnessLogs, clock: Clock) -> None:
        self._signer = signer
        self.logs: WitnessLogs = logs
        self._clock = clock

    @classmethod
    def open(cls, folder: Path, clock: Clock) -> Self:
        """Return the witness of a folder.

        Errors: LocalError `witness-missing` where there is none, `witness-state`; MalformedError `note-key`.
        """
        try:
            text = read_limited(folder / _KEY_FILE, max_bytes=_KEY_BYTES).decode("ascii", errors="replace").strip()
        except LocalError as error:
            if error.code != "file-missing":
                raise
            raise LocalError(
                f"there is no witness in {folder}",
                code="witness-missing",
                hint="make its key: platemark audit witness new NAME",
            ) from error
        signer = NoteSigner.parse(text)
        if signer.key.key_type is not KeyType.COSIGNATURE:
            raise MalformedError("a witness's key is of type 4", code="note-key")
        return cls(signer, WitnessLogs(folder), clock)

    @staticmethod
    def create(folder: Path, name: str) -> NoteKey:
        """Make a witness's key in a folder and return its public part; a key that is there stays.

        Errors: MalformedError `note-key` for a name that no key has; LocalError `file-exists`.
        """
        seed = secrets.token_bytes(32)
        key = NoteSigner.from_seed(name, seed, KeyType.COSIGNATURE).key
        make_folder(folder)
        secret = private_key_text(name, seed, KeyType.COSIGNATURE)
        write_whole(folder / _KEY_FILE, secret.encode() + b"\n", replace=False)
        return key

    @property
    def key(self) -> NoteKey:
        """The key that verifies its cosignatures."""
        return self._signer.key

    def close(self) -> None:
        """Close the database."""
        self.logs.close()

    def answer(self, body: bytes) -> Answer:
        """Return the answer to a request's body; errors: LocalError `witness-state`, after which nothing was signed."""
        try:
            request = AddCheckpoint.parse(body)
            checkpoint = Checkpoint.parse(request.note.text)
        except MalformedError as error:
            return _refusal(HTTPStatus.BAD_REQUEST, error.message)
        found = self.logs.judge(request, checkpoint)
        if found is None:
            return _refusal(HTTPStatus.NOT_FOUND, "this log is not known here")
        verdict, size = found
        if verdict is Verdict.CONFLICT:
            return Answer(HTTPStatus.CONFLICT, encode_conflict(size), SIZE_MEDIA_TYPE)
        if verdict is not Verdict.COSIGN:
            return _refusal(*_REFUSALS[verdict])
        line = self._signer.cosign(request.note.text, self._clock.now()).line()
        return Answer(HTTPStatus.OK, line.encode())


class WitnessServer(ThreadingHTTPServer):
    """Serves a witness on an address of this machine; a proxy before it gives it TLS."""

    daemon_threads = True

    def __init__(self, witness: Witness, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Errors: LocalError `port-in-use`."""
        self.witness: Witness = witness
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise LocalError(f"{host}:{port} cannot be listened on", code="port-in-use") from error

    @property
    def url(self) -> str:
        """The address below which `add-checkpoint` is."""
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if self.address_family is socket.AF_INET6 else f"http://{host!s}:{port}"


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "platemark"
    sys_version = ""
    timeout = _WAIT_SECONDS

    def do_POST(self) -> None:
        """Answer a request for a cosignature."""
        if self.path != PATH:
            self._send(_refusal(HTTPStatus.NOT_FOUND, "there is only add-checkpoint here"))
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
            self.close_connection = True
            self._send(_refusal(HTTPStatus.BAD_REQUEST, f"a request says its length, at most {MAX_REQUEST_BYTES}"))
            return
        body = self.rfile.read(int(length))
        try:
            answer = self.server.witness.answer(body)
        except LocalError as error:
            answer = _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, error.message)
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.media_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


def declared_log_key(evidence: Evidence) -> NoteKey:
    """Return the key of a gateway's log, as the chain declares it for the epoch that grows.

    The checkpoint only says where to look.

    Errors: VerificationError with the step that failed; UpstreamError.
    """
    origin = evidence.origin()
    facts = evidence.facts(evidence.contracts(origin.chain_id, origin.ledger))
    gateway = accepted_gateway(facts, origin.gateway, evidence)
    check_epoch(gateway, origin.epoch)
    (profile,) = find_profiles(profile_reader(evidence), gateway, origin, 0)
    check_profile(profile, gateway, facts.contracts)
    return NoteKey(profile.log_origin, profile.log_key)


def _refusal(status: HTTPStatus, message: str) -> Answer:
    return Answer(status, f"{message}\n".encode())


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LocalError(f"the witness's database cannot be used: {error}", code="witness-state") from error
