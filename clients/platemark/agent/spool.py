"""What an agent must never forget, on disk: its print tokens, signed requests, releases, attempts, outcomes.

One SQLite file with full synchronisation: when a method returns, its record survives a loss of power. Triggers
keep what was written from being changed, but for an erasure: of a print that is over, what opens the salted digests in
the log may be taken out; what convicts a gateway stays. No content key and no plaintext is ever written; release keys
stay sealed.

Several processes may share a spool. A token is claimed while its agent talks to a gateway, a use while it is
being printed; claims are file locks, so the system takes them back when a process dies.

    spool/
      spool.sqlite3
      claims/<token id>[-<sequence>]
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from platemark.agent.machine import Acknowledgement, Answer, Report, Request, TokenMachine, Use
from platemark.errors import Kind, LocalError, MalformedError, RefusedError
from platemark.protocol import canonical
from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import hex_text, parse_hex
from platemark.protocol.canonical import JsonValue, object_of, text_of
from platemark.protocol.permission import AgentSeed
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import Material
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.serial import serial_of
from platemark.protocol.token import PrintToken
from platemark.protocol.typed_data import Domain, Reservation, ledger_domain
from platemark.protocol.units import TokenId, id_text, parse_id
from platemark.sdk.files import disk_errors, make_folder, sync_folder

_VERSION: Final = 3
_RECORD_VERSION: Final = 1
_BUSY_SECONDS: Final = 30.0
_CLAIM_POLL_SECONDS: Final = 0.05
_SCHEMA: Final = """
CREATE TABLE tokens (
    token_id TEXT PRIMARY KEY CHECK (length(token_id) = 66),
    record BLOB NOT NULL
) STRICT;
CREATE TABLE uses (
    token_id TEXT NOT NULL REFERENCES tokens,
    sequence INTEGER NOT NULL CHECK (sequence >= 1),
    request BLOB NOT NULL,
    detail_salt BLOB NOT NULL CHECK (length(detail_salt) = 32),
    detail BLOB NOT NULL,
    release TEXT,
    sealed_key BLOB,
    result INTEGER CHECK (result BETWEEN 1 AND 4),
    report BLOB,
    promise TEXT,
    receipt BLOB,
    PRIMARY KEY (token_id, sequence),
    CHECK ((release IS NULL) = (sealed_key IS NULL)),
    CHECK ((result IS NULL) = (report IS NULL)),
    CHECK ((promise IS NULL) = (receipt IS NULL)),
    CHECK (report IS NULL OR release IS NOT NULL),
    CHECK (promise IS NULL OR report IS NOT NULL)
) STRICT;
CREATE TABLE attempts (
    token_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    started BLOB NOT NULL,
    ended BLOB,
    PRIMARY KEY (token_id, sequence, number),
    FOREIGN KEY (token_id, sequence) REFERENCES uses
) STRICT;
CREATE TRIGGER uses_follow BEFORE INSERT ON uses
WHEN new.sequence <> 1 + (SELECT count(*) FROM uses WHERE token_id = new.token_id AND release IS NOT NULL)
BEGIN SELECT raise(ABORT, 'a sequence follows the last release'); END;
CREATE TRIGGER uses_keep_release BEFORE UPDATE OF release, sealed_key ON uses WHEN old.release IS NOT NULL
BEGIN SELECT raise(ABORT, 'a release is never changed'); END;
CREATE TRIGGER uses_stay BEFORE DELETE ON uses BEGIN SELECT raise(ABORT, 'a use is never deleted'); END;
CREATE TRIGGER tokens_stay BEFORE DELETE ON tokens BEGIN SELECT raise(ABORT, 'a token is never deleted'); END;
CREATE TRIGGER tokens_keep BEFORE UPDATE ON tokens BEGIN SELECT raise(ABORT, 'a token is never changed'); END;
CREATE TRIGGER attempts_stay BEFORE DELETE ON attempts BEGIN SELECT raise(ABORT, 'an attempt is never deleted'); END;
CREATE TRIGGER attempts_keep BEFORE UPDATE ON attempts WHEN old.ended IS NOT NULL OR new.started <> old.started
BEGIN SELECT raise(ABORT, 'an attempt is never changed'); END;
"""
_KEEPING: Final = """
CREATE TRIGGER uses_keep_request BEFORE UPDATE OF token_id, sequence, request, detail_salt, detail ON uses
WHEN NOT (new.token_id IS old.token_id AND new.sequence IS old.sequence AND new.request IS old.request
    AND new.detail_salt IS zeroblob(32) AND new.detail IS CAST('null' AS BLOB))
BEGIN SELECT raise(ABORT, 'a request is never changed'); END;
CREATE TRIGGER uses_keep_report BEFORE UPDATE OF result, report ON uses WHEN old.report IS NOT NULL
    AND NOT (new.result IS old.result AND new.report IS x'' AND old.promise IS NOT NULL)
BEGIN SELECT raise(ABORT, 'an outcome is never changed'); END;
CREATE TRIGGER uses_keep_promise BEFORE UPDATE OF promise, receipt ON uses WHEN old.promise IS NOT NULL
    AND NOT (new.promise IS old.promise AND new.receipt IS x'')
BEGIN SELECT raise(ABORT, 'a promise is never changed'); END;
"""
"""Each update passes that only erases; everything else about these columns is kept."""
_FROM_FIRST: Final = """
DROP TRIGGER uses_keep_request;
DROP TRIGGER uses_keep_report;
DROP TRIGGER uses_keep_promise;
"""
_MATERIALS: Final = """
CREATE TABLE materials (
    token_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    material BLOB NOT NULL,
    PRIMARY KEY (token_id, sequence),
    FOREIGN KEY (token_id, sequence) REFERENCES uses
) STRICT;
PRAGMA user_version = 3;
"""
"""What was loaded for a use, until its outcome is told; an erasure takes it out."""
_TO_NEWEST: Final = (_SCHEMA + _KEEPING + _MATERIALS, _FROM_FIRST + _KEEPING + _MATERIALS, _MATERIALS)
"""What brings a file of version 0, which is empty, 1 or 2 to the newest one."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A print token as its agent keeps it: the permission, the token (compact JWS), who issued it."""

    reservation: Reservation
    holder_signature: bytes
    text: str
    profile: GatewayProfile

    @property
    def domain(self) -> Domain:
        """The PrintLedger's domain."""
        return ledger_domain(self.profile.chain_id, self.profile.ledger)

    @property
    def token_id(self) -> TokenId:
        """The token's id: the digest of the permission."""
        return self.reservation.token_id(self.domain)

    def token(self) -> PrintToken:
        """Return the token's claims; errors: VerificationError when the gateway's key did not sign them."""
        return PrintToken.verify(self.text, self.profile.release_key)

    def agent_key(self, seed: AgentSeed) -> AccountKey:
        """Return the key that signs this token's requests."""
        return seed.agent_key(self.profile.chain_id, self.profile.ledger, self.reservation.salt)

    def recipient_key(self, seed: AgentSeed) -> RecipientKey:
        """Return the key to which this token's releases are sealed."""
        return seed.recipient_key(self.profile.chain_id, self.profile.ledger, self.reservation.salt)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record as JSON."""
        return {
            "version": _RECORD_VERSION,
            "reservation": self.reservation.to_json(),
            "holderSignature": hex_text(self.holder_signature),
            "token": self.text,
            "profile": self.profile.to_json(),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the record that `to_json` wrote; errors: MalformedError."""
        names = frozenset({"version", "reservation", "holderSignature", "token", "profile"})
        found = object_of(value, fields=names)
        return cls(
            Reservation.from_json(found["reservation"]),
            parse_hex(found["holderSignature"]),
            text_of(found["token"], max_length=1 << 16),
            GatewayProfile.from_json(found["profile"]),
        )


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """A run on a printer: what was known when it started and, unless it was interrupted, how it ended."""

    number: int
    started: JsonValue
    ended: JsonValue


class Spool:
    """The agent's durable memory in one folder."""

    def __init__(self, folder: Path) -> None:
        """Open the spool, making it when it is not there.

        Errors: LocalError `spool-damaged`, `spool-newer`, `disk-…`.
        """
        self.folder = make_folder(folder)
        self._claims = make_folder(folder / "claims")
        self._path = folder / "spool.sqlite3"
        with self._disk():
            fresh = not self._path.exists()
            if fresh:
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._database.execute("PRAGMA synchronous = EXTRA")
            self._database.execute("PRAGMA foreign_keys = ON")
            with self._writing() as database:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version < _VERSION:
                    for statement in _statements(_TO_NEWEST[version]):
                        database.execute(statement)
                elif version != _VERSION:
                    raise LocalError(
                        "the agent's records are of a newer version", code="spool-newer", hint="update Platemark"
                    )
            sync_folder(folder)

    def close(self) -> None:
        """Close the file; claims that are still held end with their blocks."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- tokens ----------------------------------------------------------------------------------------

    def add(self, record: TokenRecord) -> TokenId:
        """Keep a print token; the same one again changes nothing.

        Errors: RefusedError `token-known` for another record of the same token.
        """
        data = canonical.encode(record.to_json())
        with self._writing() as database:
            database.execute(
                "INSERT INTO tokens VALUES (?, ?) ON CONFLICT DO NOTHING", (id_text(record.token_id), data)
            )
            (kept,) = database.execute(
                "SELECT record FROM tokens WHERE token_id = ?", (id_text(record.token_id),)
            ).fetchone()
        if TokenRecord.from_json(canonical.decode(kept)).text != record.text:
            raise RefusedError(
                "this agent holds another token of the same reservation", kind=Kind.CONFLICT, code="token-known"
            )
        return record.token_id

    def tokens(self) -> list[TokenRecord]:
        """Return all print tokens, in the order in which they came."""
        with self._disk():
            rows = self._database.execute("SELECT record FROM tokens ORDER BY rowid").fetchall()
        return [TokenRecord.from_json(canonical.decode(data)) for (data,) in rows]

    def token(self, token_id: TokenId) -> TokenRecord:
        """Return a print token; errors: RefusedError `token-unknown`."""
        with self._disk():
            row = self._database.execute(
                "SELECT record FROM tokens WHERE token_id = ?", (id_text(token_id),)
            ).fetchone()
        if row is None:
            raise RefusedError(
                "this agent holds no such token",
                kind=Kind.NOT_FOUND,
                code="token-unknown",
                hint="platemark token list shows those it holds",
            )
        return TokenRecord.from_json(canonical.decode(row[0]))

    # --- uses ------------------------------------------------------------------------------------------

    def machine(self, token_id: TokenId) -> TokenMachine:
        """Return the state of a token's agent, as recorded.

        Errors: RefusedError `token-unknown`; LocalError `spool-damaged`.
        """
        token = self.token(token_id).token()
        with self._disk():
            rows = self._database.execute(
                "SELECT request, detail_salt, detail, release, sealed_key, result, report, promise, receipt "
                "FROM uses WHERE token_id = ? ORDER BY sequence",
                (id_text(token_id),),
            ).fetchall()
        try:
            uses = [_use(row) for row in rows]
        except MalformedError as error:
            raise LocalError(
                f"the agent's records are damaged: {error.message}",
                code="spool-damaged",
                hint="restore the agent's folder",
            ) from error
        return TokenMachine(token_id, prints=token.prints, spares=token.spares, uses=uses)

    def record(self, token_id: TokenId, use: Use) -> None:
        """Make a use durable as it is now; what was recorded of it before must be part of it.

        Errors: LocalError `spool-conflict` when another process recorded something else in between.
        """
        key = (id_text(token_id), use.sequence)
        request = (use.request.body, use.request.detail_salt, canonical.encode(use.request.detail))
        try:
            with self._writing() as database:
                if database.execute("SELECT 1 FROM uses WHERE token_id = ? AND sequence = ?", key).fetchone() is None:
                    database.execute(
                        "INSERT INTO uses (token_id, sequence, request, detail_salt, detail) VALUES (?, ?, ?, ?, ?)",
                        (*key, *request),
                    )
                _complete(database, key, use)
        except sqlite3.IntegrityError as error:
            raise LocalError(
                f"another process recorded something else for print {use.sequence}",
                code="spool-conflict",
                hint="run the same command again",
            ) from error

    def find(self, serial: str) -> tuple[TokenId, int]:
        """Return the token and the sequence of a part that this agent asked for.

        Errors: RefusedError `serial-unknown`.
        """
        with self._disk():
            rows = self._database.execute("SELECT token_id, sequence FROM uses").fetchall()
        for text, sequence in rows:
            token_id = TokenId(parse_id(text))
            if serial_of(token_id, sequence) == serial:
                return token_id, int(sequence)
        raise RefusedError("this agent never asked for that part", kind=Kind.NOT_FOUND, code="serial-unknown")

    def erase(self, token_id: TokenId, sequence: int) -> bool:
        """Take out of a use what opens the digests in the log: intended print, receipt, both salts; return whether any.

        Its material goes too. The use must be over: its outcome was acknowledged. Request, release, result, promise and
        attempts stay.

        Errors: RefusedError `print-open`, `sequence-unknown`, `token-unknown`.
        """
        use = self.machine(token_id).use(sequence)
        if use.acknowledgement is None:
            raise RefusedError(
                f"print {sequence} of this token is not over yet",
                kind=Kind.CONFLICT,
                code="print-open",
                hint="report its outcome first, with: platemark outcome",
            )
        with self._writing() as database:
            changed = database.execute(
                "UPDATE uses SET detail_salt = zeroblob(32), detail = CAST('null' AS BLOB), report = x'', receipt = x''"
                " WHERE token_id = ? AND sequence = ? AND report <> x''",
                (id_text(token_id), sequence),
            ).rowcount
            database.execute("DELETE FROM materials WHERE token_id = ? AND sequence = ?", (id_text(token_id), sequence))
        with self._disk():
            self._database.execute("VACUUM")  # no page of the file holds what was erased
        return changed > 0

    # --- materials -------------------------------------------------------------------------------------

    def keep_material(self, token_id: TokenId, sequence: int, material: Material) -> None:
        """Keep what is loaded for a use, in place of what was kept before."""
        with self._writing() as database:
            database.execute(
                "INSERT INTO materials VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET material = excluded.material",
                (id_text(token_id), sequence, canonical.encode(material.to_json())),
            )

    def material(self, token_id: TokenId, sequence: int) -> Material | None:
        """Return what was loaded for a use, if anybody said so; errors: LocalError `spool-damaged`."""
        with self._disk():
            row = self._database.execute(
                "SELECT material FROM materials WHERE token_id = ? AND sequence = ?", (id_text(token_id), sequence)
            ).fetchone()
        try:
            return None if row is None else Material.from_json(canonical.decode(row[0]))
        except MalformedError as error:
            raise LocalError("a material's record is damaged", code="spool-damaged") from error

    # --- attempts --------------------------------------------------------------------------------------

    def start_attempt(self, token_id: TokenId, sequence: int, started: JsonValue) -> int:
        """Record that a run begins and return its number, 1 and up."""
        key = (id_text(token_id), sequence)
        with self._writing() as database:
            (number,) = database.execute(
                "SELECT 1 + count(*) FROM attempts WHERE token_id = ? AND sequence = ?", key
            ).fetchone()
            database.execute(
                "INSERT INTO attempts (token_id, sequence, number, started) VALUES (?, ?, ?, ?)",
                (*key, number, canonical.encode(started)),
            )
        return int(number)

    def end_attempt(self, token_id: TokenId, sequence: int, number: int, ended: JsonValue) -> None:
        """Record how a run ended."""
        with self._writing() as database:
            database.execute(
                "UPDATE attempts SET ended = ? WHERE token_id = ? AND sequence = ? AND number = ?",
                (canonical.encode(ended), id_text(token_id), sequence, number),
            )

    def attempts(self, token_id: TokenId, sequence: int) -> list[AttemptRecord]:
        """Return the runs of a use, in their order."""
        with self._disk():
            rows = self._database.execute(
                "SELECT number, started, ended FROM attempts WHERE token_id = ? AND sequence = ? ORDER BY number",
                (id_text(token_id), sequence),
            ).fetchall()
        return [
            AttemptRecord(int(number), canonical.decode(started), None if ended is None else canonical.decode(ended))
            for number, started, ended in rows
        ]

    # --- claims ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def claim(self, token_id: TokenId, sequence: int | None = None, *, wait_seconds: float = 0) -> Iterator[None]:
        """Hold a token (or one use of it) for this process until the block ends, waiting for it as long as said.

        Errors: LocalError `spool-busy` when another process holds it.
        """
        name = id_text(token_id) if sequence is None else f"{id_text(token_id)}-{sequence}"
        path = self._claims / name
        with disk_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + wait_seconds
            while not _locked(descriptor):
                if time.monotonic() >= deadline:
                    what = "token" if sequence is None else f"print {sequence} of the token"
                    raise LocalError(
                        f"another process works with this {what}",
                        code="spool-busy",
                        hint="wait until it has finished",
                    )
                time.sleep(_CLAIM_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)  # this ends the claim

    # --- inside ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one transaction, durable when the block has ended."""
        with self._disk():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            with disk_errors(self._path):
                yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.OperationalError as error:
            busy = "locked" in str(error)
            raise LocalError(
                f"{self._path}: {'another process writes to it' if busy else 'the disk cannot be written or read'}",
                code="spool-busy" if busy else "disk-error",
                hint="run the same command again",
            ) from error
        except sqlite3.DatabaseError as error:
            raise LocalError(
                f"{self._path}: the file is damaged", code="spool-damaged", hint="restore the agent's folder"
            ) from error


def _locked(descriptor: int) -> bool:
    """Return whether the file could be locked now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _use(
    row: tuple[bytes, bytes, bytes, str | None, bytes | None, int | None, bytes | None, str | None, bytes | None],
) -> Use:
    request, salt, detail, release, sealed_key, result, report, promise, receipt = row
    return Use(
        Request.load(request, salt, canonical.decode(detail)),
        Answer(release, sealed_key) if release is not None and sealed_key is not None else None,
        Report(result, report) if result is not None and report is not None else None,
        Acknowledgement(promise, receipt) if promise is not None and receipt is not None else None,
    )


def _complete(database: sqlite3.Connection, key: tuple[str, int], use: Use) -> None:
    """Add to a recorded use what it has gained; the triggers refuse to change anything else."""
    if use.answer is not None:
        database.execute(
            "UPDATE uses SET release = ?, sealed_key = ? WHERE token_id = ? AND sequence = ? AND release IS NOT ?",
            (use.answer.release, use.answer.sealed_key, *key, use.answer.release),
        )
    if use.report is not None:
        database.execute(
            "UPDATE uses SET result = ?, report = ? WHERE token_id = ? AND sequence = ? AND report IS NOT ?",
            (use.report.result, use.report.body, *key, use.report.body),
        )
    if use.acknowledgement is not None:
        found = use.acknowledgement
        database.execute(
            "UPDATE uses SET promise = ?, receipt = ? WHERE token_id = ? AND sequence = ? AND promise IS NULL",
            (found.promise, found.receipt, *key),
        )
    (request,) = database.execute("SELECT request FROM uses WHERE token_id = ? AND sequence = ?", key).fetchone()
    if request != use.request.body:
        raise sqlite3.IntegrityError("a request is never changed")


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script; a trigger's body ends with END."""
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
