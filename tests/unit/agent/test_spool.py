import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import sample_documents as sample
from corpus import meshes
from platemark.agent.machine import Acknowledgement, Answer, Report, Request, Use
from platemark.agent.spool import Spool, TokenRecord
from platemark.errors import LocalError, MalformedError, RefusedError
from platemark.geometry.stl import write_stl
from platemark.protocol.permission import AgentSeed
from platemark.protocol.receipt import Material
from platemark.protocol.serial import serial_of
from platemark.protocol.units import Digest32, TokenId
from platemark.protocol.voucher import RedemptionRequest
from simulators.print_desk import World, make_world

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world([("cube.stl", write_stl(meshes.cube()))])


@pytest.fixture
def spool(tmp_path: Path, world: World) -> Spool:
    made = Spool(tmp_path / "spool")
    made.add(world.record)
    return made


def request(world: World, sequence: int, salt: int = 0) -> Request:
    record = world.record
    recipient = record.recipient_key(world.seed)
    zero = Digest32(bytes(32))
    wanted = RedemptionRequest(record.token_id, sequence, zero, bytes([salt]) * 16, recipient.digest, 5, zero, zero)
    signed = wanted.sign(record.agent_key(world.seed), record.domain)
    return Request.make(signed, recipient.public_bytes, bytes(32), {"printer": "ada"})


def whole(world: World, sequence: int) -> Use:
    return Use(
        request(world, sequence),
        Answer(f"release.{sequence}", b"sealed"),
        Report(2, b'{"outcome":2}'),
        Acknowledgement("promise", b"{}"),
    )


def test_what_was_recorded_is_there_again_after_opening(tmp_path: Path, world: World, spool: Spool) -> None:
    first, second = whole(world, 1), Use(request(world, 2), Answer("release.2", b"sealed"))
    for use in (replace(first, answer=None, report=None, acknowledgement=None), first, second, Use(request(world, 3))):
        spool.record(world.record.token_id, use)
    spool.close()
    machine = Spool(tmp_path / "spool").machine(world.record.token_id)
    assert list(machine) == [first, second, Use(request(world, 3))]
    assert machine.pending == request(world, 3)
    assert machine.released == 2


def test_a_token_is_kept_as_it_came(world: World, spool: Spool) -> None:
    assert spool.tokens() == [world.record]
    assert spool.add(world.record) == world.record.token_id
    assert TokenRecord.from_json(world.record.to_json()) == world.record
    other = replace(world.record, text=world.record.text[:-4] + "AAAA")
    with pytest.raises(RefusedError) as refused:
        spool.add(other)
    assert refused.value.code == "token-known"
    with pytest.raises(RefusedError) as refused:
        spool.token(TokenId(1))
    assert refused.value.code == "token-unknown"


@pytest.mark.parametrize("sequence", [2, 3])
def test_a_gap_is_never_recorded(world: World, spool: Spool, sequence: int) -> None:
    with pytest.raises(LocalError) as refused:
        spool.record(world.record.token_id, Use(request(world, sequence)))
    assert refused.value.code == "spool-conflict"


def test_a_second_request_for_a_sequence_is_never_recorded(world: World, spool: Spool) -> None:
    spool.record(world.record.token_id, Use(request(world, 1)))
    with pytest.raises(LocalError) as refused:
        spool.record(world.record.token_id, Use(request(world, 1, salt=1)))
    assert refused.value.code == "spool-conflict"
    with pytest.raises(LocalError):
        spool.record(world.record.token_id, Use(request(world, 2)))


@pytest.mark.parametrize(
    "change",
    [
        {"answer": Answer("another", b"sealed")},
        {"report": Report(1, b'{"outcome":1}')},
    ],
)
def test_what_was_recorded_is_never_changed(world: World, spool: Spool, change: dict[str, object]) -> None:
    use = whole(world, 1)
    spool.record(world.record.token_id, use)
    with pytest.raises(LocalError) as refused:
        spool.record(world.record.token_id, replace(use, **change))  # type: ignore[arg-type]
    assert refused.value.code == "spool-conflict"
    assert list(spool.machine(world.record.token_id)) == [use]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM uses",
        "DELETE FROM tokens",
        "DELETE FROM attempts",
        "UPDATE tokens SET record = x'00'",
        "UPDATE uses SET request = x'00'",
        "UPDATE uses SET release = 'another'",
        "UPDATE uses SET sequence = 5",
        "UPDATE uses SET promise = NULL, receipt = NULL",
        "UPDATE attempts SET started = x'00'",
    ],
)
def test_the_file_itself_refuses_changes(world: World, spool: Spool, statement: str) -> None:
    spool.record(world.record.token_id, whole(world, 1))
    number = spool.start_attempt(world.record.token_id, 1, {"printer": "ada"})
    spool.end_attempt(world.record.token_id, 1, number, {"result": "failed"})
    with sqlite3.connect(spool.folder / "spool.sqlite3") as database, pytest.raises(sqlite3.IntegrityError):
        database.execute(statement)
    database.close()


def test_attempts_are_numbered_and_interrupted_ones_have_no_end(world: World, spool: Spool) -> None:
    token_id = world.record.token_id
    spool.record(token_id, whole(world, 1))
    assert spool.start_attempt(token_id, 1, {"printer": "ada"}) == 1
    assert spool.start_attempt(token_id, 1, {"printer": "grace"}) == 2
    spool.end_attempt(token_id, 1, 2, {"result": "completed"})
    first, second = spool.attempts(token_id, 1)
    assert (first.number, first.started, first.ended) == (1, {"printer": "ada"}, None)
    assert (second.number, second.ended) == (2, {"result": "completed"})


def test_nobody_else_may_read_the_spool(spool: Spool) -> None:
    assert spool.folder.stat().st_mode & 0o077 == 0
    assert (spool.folder / "spool.sqlite3").stat().st_mode & 0o077 == 0


def test_no_secret_is_in_the_spool(world: World, spool: Spool) -> None:
    spool.record(world.record.token_id, whole(world, 1))
    data = (spool.folder / "spool.sqlite3").read_bytes()
    assert world.seed.secret() not in data
    assert world.package.key.secret() not in data
    assert world.record.agent_key(world.seed).secret() not in data


def test_damage_is_an_error_of_this_machine(tmp_path: Path, world: World, spool: Spool) -> None:
    spool.record(world.record.token_id, whole(world, 1))
    spool.close()
    path = tmp_path / "spool" / "spool.sqlite3"
    path.write_bytes(b"junk" * 2000)
    with pytest.raises(LocalError) as refused:
        Spool(tmp_path / "spool").tokens()
    assert refused.value.code == "spool-damaged"


def test_records_of_a_newer_version_are_left_alone(tmp_path: Path, spool: Spool) -> None:
    spool.close()
    database = sqlite3.connect(tmp_path / "spool" / "spool.sqlite3")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(LocalError) as refused:
        Spool(tmp_path / "spool")
    assert refused.value.code == "spool-newer"


def test_a_wrong_seed_signs_for_nobody(world: World) -> None:
    assert world.record.agent_key(world.seed).address == world.record.reservation.agent
    assert world.record.agent_key(AgentSeed(bytes(32))).address != sample.AGENT.address
    with pytest.raises(MalformedError):
        TokenRecord.from_json({"version": 1})


REFERENCES = {"printer": "ada", "parts": [], "references": ["the order of Anna"]}


def with_marks(world: World, sequence: int) -> Use:
    """Return a use that is over, with a reference, a receipt and salts."""
    use = whole(world, sequence)
    return Use(
        replace(use.request, detail_salt=b"\xa5" * 32, detail=REFERENCES),
        use.answer,
        Report(1, b'{"salt":"salt of the receipt","statement":"statement"}'),
        Acknowledgement("promise", b'{"payload":"statement"}'),
    )


MARKS = (b"the order of Anna", b"\xa5" * 32, b"salt of the receipt", b"statement")


def test_what_opens_the_digests_of_a_print_is_erased_from_the_file(world: World, spool: Spool) -> None:
    token_id, path = world.record.token_id, spool.folder / "spool.sqlite3"
    for sequence in (1, 2):
        spool.record(token_id, with_marks(world, sequence))
    assert all(mark in path.read_bytes() for mark in MARKS)
    other = spool.machine(token_id).use(2)
    assert spool.erase(token_id, 1)
    assert not spool.erase(token_id, 1)
    machine, before = spool.machine(token_id), with_marks(world, 1)
    use = machine.use(1)
    assert (use.request.signed, use.answer) == (before.request.signed, before.answer)
    assert use.report == Report(1, b"")
    assert use.acknowledgement == Acknowledgement("promise", b"")
    assert machine.use(2) == other
    assert spool.erase(token_id, 2)
    data = b"".join(file.read_bytes() for file in spool.folder.iterdir() if file.is_file())
    assert [mark for mark in MARKS if mark in data] == []
    assert spool.machine(token_id).next_sequence() == 3
    spool.record(token_id, use)


def test_a_print_that_is_not_over_is_not_erased(world: World, spool: Spool) -> None:
    token_id, use = world.record.token_id, with_marks(world, 1)
    for part in (replace(use, report=None, acknowledgement=None), replace(use, acknowledgement=None)):
        spool.record(token_id, part)
        with pytest.raises(RefusedError) as refused:
            spool.erase(token_id, 1)
        assert refused.value.code == "print-open"
    assert spool.machine(token_id).use(1) == replace(use, acknowledgement=None)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE uses SET detail_salt = zeroblob(32)",
        "UPDATE uses SET detail = CAST('null' AS BLOB)",
        "UPDATE uses SET detail_salt = zeroblob(32), detail = CAST('null' AS BLOB), request = x'00'",
        "UPDATE uses SET report = x'', result = 2",
        "UPDATE uses SET report = x'00'",
        "UPDATE uses SET receipt = x'', promise = 'another'",
        "UPDATE uses SET promise = NULL, receipt = NULL, report = NULL, result = NULL",
    ],
)
def test_half_an_erasure_is_refused_by_the_file(world: World, spool: Spool, statement: str) -> None:
    spool.record(world.record.token_id, with_marks(world, 1))
    with sqlite3.connect(spool.folder / "spool.sqlite3") as database, pytest.raises(sqlite3.IntegrityError):
        database.execute(statement)
    database.close()


def test_records_of_the_first_version_are_taken_over(tmp_path: Path, world: World, spool: Spool) -> None:
    use = with_marks(world, 1)
    spool.record(world.record.token_id, use)
    spool.close()
    database = sqlite3.connect(tmp_path / "spool" / "spool.sqlite3")
    for name, columns in (
        ("request", "request, detail"),
        ("report", "result, report"),
        ("promise", "promise, receipt"),
    ):
        database.execute(f"DROP TRIGGER uses_keep_{name}")
        database.execute(
            f"CREATE TRIGGER uses_keep_{name} BEFORE UPDATE OF {columns} ON uses "
            "BEGIN SELECT raise(ABORT, 'never changed'); END"
        )
    database.execute("DROP TABLE materials")
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    opened = Spool(tmp_path / "spool")
    assert list(opened.machine(world.record.token_id)) == [use]
    assert opened.erase(world.record.token_id, 1)


def test_records_of_the_second_version_get_a_place_for_materials(tmp_path: Path, world: World, spool: Spool) -> None:
    token_id, use = world.record.token_id, with_marks(world, 1)
    spool.record(token_id, use)
    spool.close()
    database = sqlite3.connect(tmp_path / "spool" / "spool.sqlite3")
    database.execute("DROP TABLE materials")
    database.execute("PRAGMA user_version = 2")
    database.commit()
    database.close()
    opened = Spool(tmp_path / "spool")
    opened.keep_material(token_id, 1, Material("PLA", "L-7"))
    assert opened.material(token_id, 1) == Material("PLA", "L-7")
    assert list(opened.machine(token_id)) == [use]


def test_what_is_loaded_is_kept_with_its_use_until_the_use_is_erased(world: World, spool: Spool) -> None:
    token_id, path = world.record.token_id, spool.folder / "spool.sqlite3"
    for sequence in (1, 2):
        spool.record(token_id, with_marks(world, sequence))
    for lot in ("first lot", "second lot"):
        spool.keep_material(token_id, 1, Material("PLA", lot))
    assert (spool.material(token_id, 1), spool.material(token_id, 2)) == (Material("PLA", "second lot"), None)
    assert b"second lot" in path.read_bytes()
    spool.erase(token_id, 1)
    assert spool.material(token_id, 1) is None
    assert b" lot" not in path.read_bytes()


def test_a_part_is_found_by_its_serial(world: World, spool: Spool) -> None:
    spool.record(world.record.token_id, whole(world, 1))
    assert spool.find(serial_of(world.record.token_id, 1)) == (world.record.token_id, 1)
    with pytest.raises(RefusedError) as refused:
        spool.find(serial_of(world.record.token_id, 2))
    assert refused.value.code == "serial-unknown"


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
sys.path.insert(0, sys.argv[1] + "/unit/agent")
from pathlib import Path
from test_spool import request, make_world, meshes, write_stl, Use, Answer
from platemark.agent.spool import Spool, TokenRecord
from platemark.protocol import canonical

spool = Spool(Path(sys.argv[2]))
record = spool.tokens()[0]
import sample_documents as sample
class World: pass
world = World(); world.record = record; world.seed = sample.AGENT_SEED
for sequence in range(1, 1000):
    wanted = request(world, sequence)
    spool.record(record.token_id, Use(wanted))
    print("signed", sequence, wanted.body.hex(), flush=True)
    spool.record(record.token_id, Use(wanted, Answer(f"release.{sequence}", b"sealed")))
    print("released", sequence, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 4, 7, 12])
def test_nothing_that_was_said_to_be_recorded_is_lost_when_the_process_is_killed(
    world: World, spool: Spool, lines: int
) -> None:
    spool.close()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(TESTS), str(spool.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(lines)]
        os.kill(process.pid, signal.SIGKILL)
    assert said[-1], process.stderr
    machine = Spool(spool.folder).machine(world.record.token_id)
    for kind, number, *rest in said:
        use = machine.use(int(number))
        if kind == "signed":
            assert use.request.body.hex() == rest[0]
        else:
            assert use.answer == Answer(f"release.{number}", b"sealed")


def test_two_processes_never_hold_the_same_token(world: World, spool: Spool) -> None:
    script = (
        "import sys, time; from pathlib import Path; from platemark.agent.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1])); token = spool.tokens()[0].token_id\n"
        "with spool.claim(token):\n    print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(spool.folder)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LocalError) as refused, spool.claim(world.record.token_id):
            pass
        assert refused.value.code == "spool-busy"
        process.kill()
        process.wait()
        with spool.claim(world.record.token_id, wait_seconds=5):
            pass
