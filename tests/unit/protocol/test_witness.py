import pytest

from golden import golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, KeyType, Note, NoteSigner
from platemark.protocol.units import Digest32, UnixSeconds
from platemark.protocol.witness import (
    MAX_PROOF_HASHES,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    Verdict,
    decide,
    encode_conflict,
    parse_conflict,
    read_cosignature,
)

PUBLISHED = golden("published_notes")
LEAVES = [merkle.leaf_hash(b"entry %d\n" % index) for index in range(20)]
LOG = NoteSigner.from_seed("log.example.test", b"\x01" * 32)
WITNESS = NoteSigner.from_seed("witness.example.test/w1", b"\x02" * 32, KeyType.COSIGNATURE)


def root(size: int) -> Digest32:
    return merkle.tree_head(LEAVES[:size])


def checkpoint(size: int, root_of: int | None = None) -> Checkpoint:
    return Checkpoint(LOG.key.name, size, root(size if root_of is None else root_of))


def signed(found: Checkpoint, signer: NoteSigner = LOG) -> Note:
    return Note(found.text(), (signer.sign(found.text()),))


def asked(old: int, size: int, *, proof: tuple[Digest32, ...] | None = None) -> AddCheckpoint:
    steps = merkle.consistency_proof(old, LEAVES[:size]) if proof is None else proof
    return AddCheckpoint(old, tuple(steps), signed(checkpoint(size)))


def verdict(request: AddCheckpoint, found: Checkpoint, last: int) -> Verdict:
    return decide(
        request, found, [NoteSigner.from_seed("log.example.test", b"\x09" * 32).key, LOG.key], last, root(last)
    )


@pytest.mark.parametrize("old, size", [(0, 0), (0, 3), (3, 3), (3, 20), (8, 16), (7, 19)])
def test_a_request_survives_its_bytes_and_is_cosigned(old: int, size: int) -> None:
    request = asked(old, size)
    assert AddCheckpoint.parse(request.encode()) == request
    assert verdict(request, checkpoint(size), old) is Verdict.COSIGN


def test_a_request_has_the_bytes_of_the_specification() -> None:
    request = asked(1, 2)
    body = request.encode().split(b"\n")
    assert body[0] == b"old 1"
    assert len(body[1]) == 44
    assert body[2] == b""
    assert b"\n".join(body[3:]) == request.note.to_bytes()


NOTE = signed(checkpoint(3)).to_bytes()
HASH = b"A" * 43 + b"=\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        NOTE,
        b"old 0\n" + NOTE,
        b"old -1\n\n" + NOTE,
        b"old 01\n\n" + NOTE,
        b"old 0 \n\n" + NOTE,
        b"old \xff\n\n" + NOTE,
        b"old 0\r\n\r\n" + NOTE,
        b"old 0\nAAAA\n\n" + NOTE,
        b"old 0\n\xff\n\n" + NOTE,
        b"old 0\n" + HASH * (MAX_PROOF_HASHES + 1) + b"\n" + NOTE,
        b"old 0\n\n",
        b"old 0\n\n" + NOTE + b" " * MAX_REQUEST_BYTES,
    ],
    ids=repr,
)
def test_other_bytes_are_no_request(body: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        AddCheckpoint.parse(body)
    assert caught.value.code in {"witness-request", "too-large", "note"}


def test_as_many_hashes_as_the_specification_allows_are_read() -> None:
    assert len(AddCheckpoint.parse(b"old 0\n" + HASH * MAX_PROOF_HASHES + b"\n" + NOTE).proof) == MAX_PROOF_HASHES


def test_a_checkpoint_that_the_log_did_not_sign_is_not_cosigned() -> None:
    other = NoteSigner.from_seed("log.example.test", b"\x03" * 32)
    request = AddCheckpoint(0, (), signed(checkpoint(3), other))
    assert verdict(request, checkpoint(3), 0) is Verdict.NOT_SIGNED
    broken = AddCheckpoint(0, (), Note(checkpoint(3).text(), (LOG.sign(checkpoint(4).text()),)))
    assert verdict(broken, checkpoint(3), 0) is Verdict.NOT_SIGNED


def test_a_request_that_goes_back_is_malformed() -> None:
    request = AddCheckpoint(5, (), signed(checkpoint(3)))
    assert verdict(request, checkpoint(3), 5) is Verdict.MALFORMED


@pytest.mark.parametrize("last", [0, 2, 4, 9])
def test_a_request_from_another_size_is_a_conflict(last: int) -> None:
    assert verdict(asked(3, 9), checkpoint(9), last) is Verdict.CONFLICT


@pytest.mark.parametrize(
    "request_, found, last",
    [
        (asked(3, 9, proof=()), checkpoint(9), 3),
        (asked(0, 9, proof=(root(1),)), checkpoint(9), 0),
        (asked(9, 9, proof=(root(1),)), checkpoint(9), 9),
        (AddCheckpoint(9, (), signed(checkpoint(9, 8))), checkpoint(9, 8), 9),
        (
            AddCheckpoint(3, tuple(merkle.consistency_proof(3, LEAVES[:9])), signed(checkpoint(9, 8))),
            checkpoint(9, 8),
            3,
        ),
    ],
)
def test_what_is_not_shown_to_continue_is_inconsistent(request_: AddCheckpoint, found: Checkpoint, last: int) -> None:
    assert verdict(request_, found, last) is Verdict.INCONSISTENT


def test_the_published_cosignature_is_read_from_an_answer() -> None:
    witness = NoteSigner.from_seed(
        "witness.example.test/w1", bytes.fromhex(PUBLISHED["witnessSeed"]), KeyType.COSIGNATURE
    )
    text = Note.parse(PUBLISHED["note"].encode()).text
    found = read_cosignature(PUBLISHED["cosignature"].encode(), text, witness.key)
    assert found.line() == PUBLISHED["cosignature"]


def test_the_newest_of_a_witness_and_no_other_line_is_taken() -> None:
    text = checkpoint(3).text()
    lines = [WITNESS.cosign(text, UnixSeconds(time)) for time in (5, 7, 6)]
    other = NoteSigner.from_seed("other.example.test", b"\x05" * 32, KeyType.COSIGNATURE).cosign(text, UnixSeconds(9))
    answer = "".join(line.line() for line in [*lines, other]).encode()
    assert read_cosignature(answer, text, WITNESS.key) == lines[1]


def test_an_answer_without_a_good_line_is_refused() -> None:
    text = checkpoint(3).text()
    wrong = WITNESS.cosign(checkpoint(4).text(), UnixSeconds(5)).line()
    other = NoteSigner.from_seed("other.example.test", b"\x05" * 32, KeyType.COSIGNATURE).cosign(text, UnixSeconds(9))
    for answer in (wrong, other.line()):
        with pytest.raises(VerificationError):
            read_cosignature(answer.encode(), text, WITNESS.key)
    good = WITNESS.cosign(text, UnixSeconds(5)).line()
    for answer in ("", "hello\n", "another text\n\n" + good):
        with pytest.raises(MalformedError):
            read_cosignature(answer.encode(), text, WITNESS.key)


def test_a_conflict_is_a_size() -> None:
    assert encode_conflict(37) == b"37\n"
    assert parse_conflict(b"37\n") == 37
    for body in (b"", b"37", b"-1\n", b"037\n", b"37\n\n", b"\xff\n", b"9" * 40 + b"\n"):
        with pytest.raises(MalformedError) as caught:
            parse_conflict(body)
        assert caught.value.code == "witness-answer"
