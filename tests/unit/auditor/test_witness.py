"""A witness over HTTP: the answers of the specification, and never two roots of one size."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from platemark.auditor.witness import Witness, WitnessLogs, WitnessServer, declared_log_key
from platemark.errors import LocalError, MalformedError, PlatemarkError, UsageError, VerificationError
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, KeyType, Note, NoteKey, NoteSigner, private_key_text
from platemark.protocol.units import UnixSeconds
from platemark.protocol.witness import AddCheckpoint, read_cosignature
from platemark.verify.policy import Policy
from sample_chain import GATEWAY_FACT
from sample_documents import HOLDER, PROFILE
from sample_evidence import PROFILE_BLOCK, SampleEvidence, evidence, with_gateway
from stack import command
from trusted import authorities

LOG = NoteSigner.from_seed("log.example.test/1", b"\x01" * 32)
OTHER = NoteSigner.from_seed("log.example.test/1", b"\x02" * 32)
ENTRIES = [b"entry %d" % index for index in range(20)]


class Noon:
    def now(self) -> UnixSeconds:
        return UnixSeconds(1_800_000_000)


def request(
    old: int, entries: Sequence[bytes], *, signer: NoteSigner = LOG, origin: str | None = None
) -> AddCheckpoint:
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    text = Checkpoint(origin or signer.key.name, len(leaves), merkle.tree_head(leaves)).text()
    proof = merkle.consistency_proof(old, leaves) if old <= len(leaves) else []
    return AddCheckpoint(old, tuple(proof), Note(text, (signer.sign(text),)))


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    Witness.create(tmp_path, "witness.example.test/w1")
    with closing(Witness.open(tmp_path, Noon())) as made:
        made.logs.add(LOG.key)
        yield made


@contextmanager
def serving(witness: Witness) -> Iterator[str]:
    with WitnessServer(witness, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def ask(url: str, body: bytes, path: str = "/add-checkpoint") -> httpx.Response:
    return httpx.post(url + path, content=body, timeout=30, trust_env=False, verify=authorities())


def test_a_log_that_grows_is_cosigned_each_time(witness: Witness) -> None:
    with serving(witness) as url:
        for old, size in ((0, 0), (0, 3), (3, 3), (3, 20)):
            asked = request(old, ENTRIES[:size])
            answer = ask(url, asked.encode())
            assert answer.status_code == 200
            line = read_cosignature(answer.content, asked.note.text, witness.key)
            assert answer.content == line.line().encode(), "the signature line alone"
            assert witness.key.verify(asked.note.with_signatures(line)) == Noon().now()


@pytest.mark.parametrize(
    "asked, status, body",
    [
        (request(0, ENTRIES[:9]), 409, b"5\n"),
        (request(3, ENTRIES[:9]), 409, b"5\n"),
        (request(6, ENTRIES[:9]), 409, b"5\n"),
        (request(0, ENTRIES[:3]), 409, b"5\n"),
        (request(5, ENTRIES[:3]), 400, None),
        (request(5, ENTRIES[1:10]), 422, None),
        (request(5, ENTRIES[1:6]), 422, None),
        (AddCheckpoint(5, (), request(5, ENTRIES[:9]).note), 422, None),
        (request(5, ENTRIES[:9], signer=OTHER), 403, None),
        (request(5, ENTRIES[:9], origin="log.example.test/2"), 404, None),
    ],
)
def test_other_requests_are_refused_as_the_specification_says(
    witness: Witness, asked: AddCheckpoint, status: int, body: bytes | None
) -> None:
    with serving(witness) as url:
        assert ask(url, request(0, ENTRIES[:5]).encode()).status_code == 200
        answer = ask(url, asked.encode())
        assert answer.status_code == status
        if body is not None:
            assert (answer.content, answer.headers["Content-Type"]) == (body, "text/x.tlog.size")
        assert "—" not in answer.text
        assert ask(url, request(5, ENTRIES[:9]).encode()).status_code == 200, "nothing was forgotten"


def test_what_is_no_request_is_malformed(witness: Witness) -> None:
    with serving(witness) as url:
        assert ask(url, b"").status_code == 400
        assert ask(url, b"old 0\n\nhello\n\n").status_code == 400
        assert ask(url, b"x" * (1 << 20)).status_code == 400
        unknown = httpx.post(
            url + "/add-checkpoint", content=iter([b"old 0\n"]), timeout=30, trust_env=False, verify=authorities()
        )
        assert unknown.status_code == 400, "no length"
        assert ask(url, request(0, ENTRIES).encode(), "/other").status_code == 404


def test_a_further_key_of_a_log_counts_too(witness: Witness) -> None:
    witness.logs.add(OTHER.key)
    assert witness.answer(request(0, ENTRIES[:5], signer=OTHER).encode()).status == 200
    assert witness.answer(request(5, ENTRIES[:9]).encode()).status == 200
    (log,) = witness.logs.all()
    assert set(log.keys) == {LOG.key, OTHER.key}


def test_what_was_cosigned_is_on_the_disk_before_it_is_signed(tmp_path: Path) -> None:
    inner = NoteSigner.from_seed("witness.example.test/w1", b"\x03" * 32, KeyType.COSIGNATURE)
    seen: list[tuple[int, bytes]] = []

    def sign(message: bytes) -> bytes:
        with closing(sqlite3.connect(tmp_path / "witness.sqlite3")) as database:
            seen.extend(database.execute("SELECT size, root FROM logs").fetchall())
        return inner._sign(message)

    with closing(Witness(NoteSigner(inner.key, sign), WitnessLogs(tmp_path), Noon())) as witness:
        witness.logs.add(LOG.key)
        for old, size in ((0, 3), (3, 9)):
            asked = request(old, ENTRIES[:size])
            assert witness.answer(asked.encode()).status == 200
            assert seen.pop() == (size, Checkpoint.parse(asked.note.text).root)


def test_of_two_continuations_that_come_at_once_one_is_cosigned(witness: Witness, tmp_path: Path) -> None:
    """Each is asked of a process of its own, on the same folder."""
    entries = list[bytes]()
    with closing(Witness.open(tmp_path, Noon())) as second:
        for size in range(1, 12):
            ways = [[*entries, b"%d, one way" % size], [*entries, b"%d, the other" % size]]
            barrier, statuses = threading.Barrier(2), [0, 0]

            def race(at: int, each: Witness, body: bytes, start: threading.Barrier, told: list[int]) -> None:
                start.wait()
                told[at] = each.answer(body).status

            threads = [
                threading.Thread(target=race, args=(at, each, request(size - 1, ways[at]).encode(), barrier, statuses))
                for at, each in enumerate((witness, second))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(statuses) == [200, 409]
            entries = ways[statuses.index(200)]


def test_a_witness_that_cannot_remember_signs_nothing(witness: Witness, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "witness.sqlite3")) as database:
        database.execute("CREATE TRIGGER full BEFORE UPDATE ON logs BEGIN SELECT RAISE(ABORT, 'full'); END")
    with serving(witness) as url:
        answer = ask(url, request(0, ENTRIES[:5]).encode())
        assert answer.status_code == 500
        assert "—" not in answer.text
    assert witness.logs.all()[0].size == 0


def test_a_port_that_is_taken_is_told(witness: Witness) -> None:
    with WitnessServer(witness, "127.0.0.1", 0) as server, pytest.raises(LocalError) as caught:
        WitnessServer(witness, "127.0.0.1", server.server_address[1])
    assert caught.value.code == "port-in-use"


def test_only_logs_are_known_and_only_witnesses_cosign(witness: Witness, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        witness.logs.add(witness.key)
    (tmp_path / "key").write_text(private_key_text("log", b"\x01" * 32))
    with pytest.raises(MalformedError):
        Witness.open(tmp_path, Noon())
    (tmp_path / "key").unlink()
    (tmp_path / "key").mkdir()
    with pytest.raises(PlatemarkError) as caught:
        Witness.open(tmp_path, Noon())
    assert caught.value.code != "witness-missing"


def test_commands_make_a_witness_and_let_it_know_logs(tmp_path: Path) -> None:
    home = f"--home={tmp_path}"
    missing = command("audit", "witness", "list", home, "--json")
    assert (missing.exit_code, missing.error_code) == (1, "witness-missing")
    key = NoteKey.parse(command("audit", "witness", "new", "witness.example.test/w1", home, "--json").value["key"])
    assert key.key_type is KeyType.COSIGNATURE
    assert (tmp_path / "witness" / "key").stat().st_mode & 0o777 == 0o600
    assert command("audit", "witness", "new", "again", home, "--json").error_code == "file-exists"
    added = command("audit", "witness", "add", LOG.key.text, home, "--json")
    assert added.value["origin"] == LOG.key.name
    (log,) = command("audit", "witness", "list", home, "--json").value["logs"]
    assert (log["origin"], log["keys"], log["size"]) == (LOG.key.name, [LOG.key.text], 0)
    for argv in ((), (LOG.key.text, "--tiles", "x", "--blocks", "y"), ("--tiles", "x"), ("nonsense",)):
        assert command("audit", "witness", "add", *argv, home, "--json").exit_code in {1, 2}


def test_a_log_is_known_by_the_key_that_its_gateway_declared() -> None:
    assert declared_log_key(evidence()) == NoteKey(PROFILE.log_origin, PROFILE.log_key)


def withheld() -> SampleEvidence:
    found = evidence()
    found.source.forget(PROFILE_BLOCK)
    return found


def of_an_epoch_that_ended() -> SampleEvidence:
    (declared,) = GATEWAY_FACT.declarations
    return evidence(with_gateway(declarations=(declared, replace(declared, epoch=2))))


@pytest.mark.parametrize(
    "found, code",
    [
        (withheld, "profile-withheld"),
        (of_an_epoch_that_ended, "epoch-behind"),
        (lambda: evidence(policy=Policy(gateways=frozenset({HOLDER.address}))), "gateway-not-accepted"),
    ],
)
def test_a_log_without_a_declared_key_is_not_known(found: Callable[[], SampleEvidence], code: str) -> None:
    with pytest.raises(VerificationError) as caught:
        declared_log_key(found())
    assert caught.value.code == code
