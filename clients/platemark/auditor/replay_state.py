"""How far the replay of a log has come: a database on disk, so that memory does not grow with the entries.

    log        one row: origin, entries replayed, size and root of the checkpoint they are under, the final block that
               the chain was read at, whose word was taken for it (a JSON list), the contracts and the policy (JSON)
    tokens     by token: what the chain said of its reservation, its counts, a bit for each outcome
    prints     the print ids of each token, in parts, each of them 16 bytes
    findings   what was wrong so far, in order, each as reports have it in JSON

A state is saved at boundaries of tiles only, whole or not at all, and never beyond the last anchor: what comes later is
provisional, and is replayed anew. A state is of one log, of one chain and of one policy: one that does not fit what
is read now is refused, never believed. So is one that is damaged: each row ends with a digest of itself, which a disk
that forgets does not know; it is no proof against whoever writes states.

Evolution: `user_version` numbers the tables; a state of another version is refused, and the audit begins anew.
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from platemark.auditor.print_filter import PRINT_ID_BYTES, PrintFilter
from platemark.errors import LocalError, MalformedError, UsageError
from platemark.protocol import canonical, log_entry
from platemark.protocol.canonical import list_of, text_of
from platemark.protocol.log_entry import ClosedEntry
from platemark.protocol.tiles import TILE_WIDTH, LogReader
from platemark.protocol.units import Digest32, TokenId, address_text, digest_text, id_text
from platemark.sdk.files import disk_errors, make_folder
from platemark.verify.counts import BlockHash, LogReplay, Sequences, TokenCounts
from platemark.verify.facts import ChainFacts, ReservationFact
from platemark.verify.policy import Policy
from platemark.verify.report import Finding
from platemark.verify.steps import Step, fail, require

SAVED_ENTRIES: Final = 64 * TILE_WIDTH
"""How many entries are replayed between two saves."""
_VERSION: Final = 3
_SEAL_BYTES: Final = 8
_CACHE_KIB: Final = 8 << 10
_ROWS: Final = 1024
_MOST_TRUSTED: Final = 1000
_TABLES: Final = f"""
CREATE TABLE log (origin BLOB NOT NULL, entries INTEGER NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,
    block INTEGER NOT NULL, block_hash BLOB NOT NULL, trusted BLOB NOT NULL, policy BLOB NOT NULL,
    seal BLOB NOT NULL);
CREATE TABLE tokens (number INTEGER PRIMARY KEY, token BLOB NOT NULL UNIQUE, reserved BLOB NOT NULL,
    released INTEGER NOT NULL, voided INTEGER NOT NULL, outcomes BLOB NOT NULL, beyond BLOB NOT NULL, closed BLOB,
    seal BLOB NOT NULL);
CREATE TABLE prints (number INTEGER NOT NULL, ids BLOB NOT NULL, seal BLOB NOT NULL);
CREATE INDEX prints_by_number ON prints (number);
CREATE TABLE findings (place INTEGER PRIMARY KEY, finding BLOB NOT NULL, seal BLOB NOT NULL);
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier run has left: its entries, its tokens' counts, its findings, and whose word it took."""

    entries: int
    tokens: dict[TokenId, TokenCounts]
    findings: list[Finding]
    trusted: list[str]


class ReplayState:
    """The state of one replay; nobody else can use its file meanwhile."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the state in a file, or begin one there; without a path, one that is gone when it is closed.

        Errors: LocalError `audit-state` for a file that is no such state, or is in use; `disk-error` and the like.
        """
        self._path = path
        self._numbers: dict[TokenId, int] = {}
        self._filter = PrintFilter()
        self._saved_findings = 0
        if path is not None:
            make_folder(path.parent)
        with self._disk():
            self._database = sqlite3.connect("" if path is None else path, timeout=0, isolation_level=None)
            self._database.text_factory = bytes
            try:
                self._open()
            except BaseException:
                self._database.close()
                raise

    def _open(self) -> None:
        database = self._database
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables:
            for statement in _TABLES.split(";"):
                database.execute(statement)
            version = _VERSION
        if version != _VERSION:
            raise self._unusable("it is no state of an audit, or one of another version")
        database.execute("COMMIT")
        database.execute("BEGIN EXCLUSIVE")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the database; what was not saved is gone."""
        self._database.close()

    def forget(self) -> None:
        """Close, and remove the file."""
        self.close()
        if self._path is not None:
            with disk_errors(self._path):
                self._path.unlink(missing_ok=True)

    def earlier(
        self, origin: str, reader: LogReader, facts: ChainFacts, policy: Policy, block_hash: BlockHash
    ) -> Earlier:
        """Return what an earlier run left, after it was held against log, chain and policy; nothing when it is new.

        Errors: UsageError `audit-state-log` for a state of another log, `audit-state-policy` for one that was made
            under another policy or of other contracts; VerificationError `log-rewritten` for a log
            that does not begin with what was audited, `endpoints-disagree` for a chain that says otherwise of its final
            block or of a token; those of the tiles; LocalError.
        """
        with self._disk():
            (damage,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
            row = next(self._rows("log"), None)
            if damage != b"ok" or (row is None and any(self._rows("tokens"))):
                raise MalformedError("the state does not fit together", code="audit-state")
            if row is None:
                return Earlier(0, {}, [], [])
            stated, entries, size, root, block, final_hash, trusted, stated_policy = row
            words = [text_of(each) for each in list_of(canonical.decode(trusted), max_items=_MOST_TRUSTED)]
            differing = _differing(stated_policy, _policy(policy, facts))
        if stated != origin.encode():
            raise UsageError(
                f"the state {self._path} is of another log: {stated.decode()}",
                code="audit-state-log",
                hint="name another file with --state, or begin anew with --afresh",
            )
        if differing:
            raise UsageError(
                f"the audit that was begun in {self._path} had another policy: {', '.join(differing)}",
                code="audit-state-policy",
                hint="give the options of that audit, name another file with --state, or begin anew with --afresh",
            )
        self._check_continued(reader, size, Digest32(root))
        _check_block(block, final_hash, block_hash(block))
        with self._disk():
            tokens = dict(self._tokens(facts))
            findings = list(self._findings())
            self._fill_filter()
        self._saved_findings = len(findings)
        return Earlier(entries, tokens, findings, words)

    def note_print(self, token_id: TokenId, print_id: bytes) -> bool:
        """Remember a print id and return whether it is the first time; errors: LocalError."""
        return not self.note_prints([(token_id, print_id)])

    def note_prints(self, prints: Sequence[tuple[TokenId, bytes]]) -> set[TokenId]:
        """Remember the print ids of tokens and return those that have one twice, of which none is remembered.

        Print ids are 16 bytes each, one after the other. Errors: LocalError.
        """
        numbers = [self._number(token_id) for token_id, _ in prints]
        places = np.repeat(np.arange(len(prints)), [len(ids) // PRINT_ID_BYTES for _, ids in prints])
        may_be_known = self._filter.add(np.array(numbers, np.int64)[places], b"".join(ids for _, ids in prints))
        again: set[int] = set()
        with self._disk():
            for place in set(places[may_be_known].tolist()):
                found = _print_ids(prints[place][1])
                if len(set(found)) < len(found) or not self._known(numbers[place]).isdisjoint(found):
                    again.add(place)
            rows = [_sealed(numbers[place], ids) for place, (_, ids) in enumerate(prints) if place not in again]
            self._database.executemany("INSERT INTO prints VALUES (?, ?, ?)", rows)
        return {prints[place][0] for place in again}

    def _known(self, number: int) -> set[bytes]:
        found = self._database.execute("SELECT ids FROM prints WHERE number = ?", (number,))
        return {print_id for (ids,) in found for print_id in _print_ids(ids)}

    def _fill_filter(self) -> None:
        rows = self._rows("prints")
        while some := list(islice(rows, _ROWS)):
            numbers = np.repeat([number for number, _ in some], [len(ids) // PRINT_ID_BYTES for _, ids in some])
            self._filter.add(numbers, b"".join(ids for _, ids in some))

    def _rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table in the order of their keys; errors: MalformedError for one that is damaged."""
        for *values, seal in self._database.execute(f"SELECT * FROM {table} ORDER BY rowid"):  # noqa: S608 (ours)
            if _sealed(*values)[-1] != seal:
                raise MalformedError(f"a row of {table} is not what was saved", code="audit-state")
            yield tuple(values)

    def _number(self, token_id: TokenId) -> int:
        return self._numbers.setdefault(token_id, len(self._numbers))

    def save(
        self,
        origin: str,
        reader: LogReader,
        policy: Policy,
        trusted: Sequence[str],
        replay: LogReplay,
        findings: list[Finding],
    ) -> None:
        """Put on the disk how far the replay has come, whole or not at all; errors: LocalError."""
        facts, final = replay.facts.reservations, replay.facts.final
        with self._disk():
            execute = self._database.execute
            for token_id in replay.touched:
                number = self._number(token_id)
                known = (number, token_id.to_bytes(32, "big"), _reserved(facts[token_id]))
                row = _sealed(*known, *_row(replay.tokens[token_id]))
                execute("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            for place in range(self._saved_findings, len(findings)):
                finding = canonical.encode(findings[place].to_json())
                execute("INSERT INTO findings VALUES (?, ?, ?)", _sealed(place, finding))
            execute("DELETE FROM log")
            log = (origin.encode(), replay.entries, reader.size, reader.root, final.number, final.hash)
            terms = (canonical.encode(list(trusted)), _policy(policy, replay.facts))
            execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _sealed(*log, *terms))
            execute("COMMIT")
            execute("BEGIN EXCLUSIVE")
        replay.touched.clear()
        self._saved_findings = len(findings)

    @staticmethod
    def _check_continued(reader: LogReader, size: int, root: Digest32) -> None:
        require(
            reader.size >= size,
            Step.ANCHOR,
            "the log is shorter than the one of the audit that was begun",
            code="log-rewritten",
            expected=f"{size} entries or more",
            found=reader.size,
        )
        found = reader.old_root(size)
        require(
            found == root,
            Step.ANCHOR,
            f"the log was rewritten: its first {size} entries are not those of the audit that was begun",
            code="log-rewritten",
            expected=digest_text(root),
            found=digest_text(found),
        )

    def _tokens(self, facts: ChainFacts) -> Iterator[tuple[TokenId, TokenCounts]]:
        for number, token, reserved, released, voided, outcomes, beyond, closed in self._rows("tokens"):
            token_id = TokenId(int.from_bytes(token, "big"))
            self._numbers[token_id] = number
            known = facts.reservations.get(token_id)
            if known is None or _reserved(known) != reserved:
                fail(
                    Step.CONTRACTS,
                    "this endpoint says otherwise of a token than the one of the audit that was begun",
                    code="endpoints-disagree",
                    expected=f"the reservation of token {id_text(token_id)} as it was",
                    found="none" if known is None else "another",
                )
            yield token_id, TokenCounts(released, voided, _sequences(outcomes, beyond), _closed(closed))

    def _findings(self) -> Iterator[Finding]:
        for _, finding in self._rows("findings"):
            yield Finding.from_json(canonical.decode(finding))

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise self._unusable("another audit works with it") from error
            raise LocalError(
                f"{self._path or 'the temporary folder'}: the disk cannot be written or read: {error}",
                code="disk-error",
                hint="free some space, or name another file with --state",
            ) from error
        except (sqlite3.DatabaseError, MalformedError, UnicodeDecodeError) as error:
            raise self._unusable("it is damaged, or no state of an audit") from error

    def _unusable(self, why: str) -> LocalError:
        return LocalError(
            f"the state {self._path} cannot be used: {why}",
            code="audit-state",
            hint="name another file with --state, or begin anew with --afresh",
        )


def _sealed(*values: int | bytes | None) -> tuple[int | bytes | None, ...]:
    """Return the values of a row with their digest."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, bytes):
            digest.update(b"%d bytes:" % len(value))
            digest.update(value)
        else:
            digest.update(b"%r," % value)
    return (*values, digest.digest()[:_SEAL_BYTES])


def _print_ids(ids: bytes) -> list[bytes]:
    return [ids[at : at + PRINT_ID_BYTES] for at in range(0, len(ids), PRINT_ID_BYTES)]


def saved_up_to(anchored: int) -> int:
    """Return after how many entries a state is saved last: the boundary of a tile that an anchor covers."""
    return anchored // TILE_WIDTH * TILE_WIDTH


def _policy(policy: Policy, facts: ChainFacts) -> bytes:
    """Return as canonical JSON what an audit was asked to accept, and of which contracts it is."""
    contracts = facts.contracts
    addresses = (contracts.registry, contracts.print_license, contracts.ledger)
    return canonical.encode(
        {
            "accepted chains": sorted(policy.chain_ids),
            "accepted gateways": sorted(map(address_text, policy.gateways)),
            "chain": contracts.chain_id,
            "contracts": [address_text(each) for each in addresses],
            "witnesses": sorted(key.text for key in policy.witnesses),
            "witnesses wanted": policy.witnesses_wanted,
        }
    )


def _differing(stated: bytes, wanted: bytes) -> list[str]:
    """Return the names of what differs between two policies; errors: MalformedError for what is none."""
    then, now = canonical.decode(stated), canonical.decode(wanted)
    if not isinstance(then, Mapping) or not isinstance(now, Mapping):
        raise MalformedError("a policy is an object", code="canonical-form")
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _check_block(number: int, expected: bytes, found: Digest32 | None) -> None:
    require(
        found == expected,
        Step.CONTRACTS,
        f"block {number}, which was final in the audit that was begun, is another one by now",
        code="endpoints-disagree",
        expected=expected.hex(),
        found="no such block" if found is None else found.hex(),
    )


def _reserved(fact: ReservationFact) -> bytes:
    """Return what the replay of entries takes from a reservation: gateway, agent, prints, spares, end."""
    permission = fact.permission
    numbers = (permission.prints, fact.spares, permission.expires_at)
    return permission.gateway + permission.agent + b"".join(number.to_bytes(8, "big") for number in numbers)


def _row(counts: TokenCounts) -> tuple[int, int, bytes, bytes, bytes | None]:
    beyond = b"".join(sequence.to_bytes(4, "big") for sequence in sorted(counts.outcomes.beyond))
    closed = None if counts.closed is None else counts.closed.to_bytes()
    return counts.released, counts.voided, bytes(counts.outcomes.bits), beyond, closed


def _sequences(bits: bytes, beyond: bytes) -> Sequences:
    return Sequences(bytearray(bits), {int.from_bytes(beyond[at : at + 4], "big") for at in range(0, len(beyond), 4)})


def _closed(data: bytes | None) -> ClosedEntry | None:
    entry = None if data is None else log_entry.decode(data)
    return entry if isinstance(entry, ClosedEntry) else None
