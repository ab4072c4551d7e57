"""Our witness before tessera, which writes its log only as the witness allows, and beside litewitness."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from log_programs import check, running_litewitness, write
from platemark.auditor.witness import Witness, WitnessServer
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, Note, NoteSigner, private_key_text
from platemark.protocol.witness import AddCheckpoint
from platemark.sdk.clock import WallClock
from trusted import authorities

pytestmark = pytest.mark.interop

ORIGIN = "log.example.test/tessera"
SEED = b"\x07" * 32
LOG = NoteSigner.from_seed(ORIGIN, SEED)
ENTRIES = [b"entry %d" % index for index in range(9)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WitnessServer]:
    folder = tmp_path / "ours"
    Witness.create(folder, "witness.example.test/ours")
    with closing(Witness.open(folder, WallClock())) as witness, WitnessServer(witness, "127.0.0.1", 0) as server:
        witness.logs.add(LOG.key)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_tessera_writes_a_log_that_our_witness_cosigns(tmp_path: Path, server: WitnessServer) -> None:
    key = server.witness.key
    policy = f"witness w1 {key.text} {server.url}\nquorum w1\n"
    for low, high in ((0, 300), (300, 301)):
        inputs = tmp_path / f"from-{low}" / "inputs"
        inputs.mkdir(parents=True)
        for index in range(low, high):
            (inputs / f"{index:04}").write_bytes(b"entry %d\n" % index)
        write(tmp_path / "log", inputs, private_key_text(ORIGIN, SEED), policy)
        assert check(tmp_path / "log", LOG.key, [key]) is None
        (log,) = server.witness.logs.all()
        assert log.size == high


def request(old: int, entries: list[bytes], *, proof_of: int | None = None, origin: str = ORIGIN) -> bytes:
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    text = Checkpoint(origin, len(leaves), merkle.tree_head(leaves)).text()
    start = old if proof_of is None else proof_of
    proof = merkle.consistency_proof(start, leaves) if start <= len(leaves) else []
    return AddCheckpoint(old, tuple(proof), Note(text, (LOG.sign(text),))).encode()


FORKED = [*ENTRIES[:2], b"another", *ENTRIES[3:]]
ASKED = {
    "the first checkpoint": request(0, ENTRIES[:3]),
    "a later one": request(3, ENTRIES[:7]),
    "the same again": request(7, ENTRIES[:7]),
    "from another size": request(3, ENTRIES),
    "from nothing": request(0, ENTRIES),
    "another root of this size": request(7, FORKED[:7]),
    "a fork": request(7, FORKED),
    "another proof": request(7, ENTRIES, proof_of=3),
    "one that goes back": request(7, ENTRIES[:3]),
    "an unknown log": request(0, ENTRIES[:3], origin="log.example.test/unknown"),
    "a wrong signature": request(7, ENTRIES).replace(b"\n9\n", b"\n8\n"),
    "no request": b"hello",
}


def test_our_witness_answers_as_litewitness_does(tmp_path: Path, server: WitnessServer) -> None:
    with running_litewitness(tmp_path / "lite", {ORIGIN: LOG.key}) as lite:
        for name, body in ASKED.items():
            ours, theirs = (
                httpx.post(url + "/add-checkpoint", content=body, timeout=30, trust_env=False, verify=authorities())
                for url in (server.url, lite.url)
            )
            assert ours.status_code == theirs.status_code, name
            if ours.status_code == 409:
                assert ours.content == theirs.content, name
                assert ours.headers["Content-Type"] == theirs.headers["Content-Type"] == "text/x.tlog.size"
