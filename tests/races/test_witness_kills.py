"""A witness that is killed while two continuations of a log are shown to it: never are both cosigned."""

import random
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from platemark.cli.demo.processes import Server
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, Note, NoteSigner
from platemark.protocol.witness import AddCheckpoint
from stack import command
from trusted import authorities

pytestmark = pytest.mark.slow

LOG = NoteSigner.from_seed("log.example.test/1", b"\x01" * 32)
ROUNDS = 8


def request(old: int, entries: Sequence[bytes]) -> bytes:
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    text = Checkpoint(LOG.key.name, len(leaves), merkle.tree_head(leaves)).text()
    proof = merkle.consistency_proof(old, leaves)
    return AddCheckpoint(old, tuple(proof), Note(text, (LOG.sign(text),))).encode()


def start(folder: Path) -> tuple[Server, str]:
    argv = [sys.executable, "-m", "platemark.cli", "audit", "witness", "serve", f"--home={folder}", "--port=0"]
    server = Server("witness", argv, log=folder / "witness.log", environment={"PATH": ""})
    return server, str(server.ready()["url"])


def test_a_witness_that_is_killed_never_cosigns_two_roots_of_a_size(tmp_path: Path) -> None:
    chance = random.Random(7)
    home = f"--home={tmp_path}"
    command("audit", "witness", "new", "witness.example.test/w1", home)
    command("audit", "witness", "add", LOG.key.text, home)
    server, url = start(tmp_path)
    cosigned: dict[int, set[int]] = defaultdict(set)

    def ask(way: int, old: int, entries: Sequence[bytes]) -> int:
        """Return the status, 0 when the witness died before it answered."""
        try:
            answer = httpx.post(
                url + "/add-checkpoint",
                content=request(old, entries),
                timeout=30,
                trust_env=False,
                verify=authorities(),
            )
        except httpx.HTTPError:
            return 0
        if answer.status_code == 200:
            cosigned[len(entries)].add(way)
        return answer.status_code

    try:
        entries: list[bytes] = []
        for size in range(1, ROUNDS + 1):
            ways = [[*entries, b"%d, one way" % size], [*entries, b"%d, the other" % size]]
            asking = [threading.Thread(target=ask, args=(way, size - 1, ways[way])) for way in (0, 1)]
            killing = threading.Timer(chance.uniform(0, 0.02), server.process.kill)
            for thread in (*asking, killing):
                thread.start()
            for thread in (*asking, killing):
                thread.join()
            server.process.wait(20)
            server.stop()
            server, url = start(tmp_path)
            # What it is asked after the crash, from where it says that it is, shows what it remembers.
            for way in chance.sample((0, 1), 2):
                if ask(way, size - 1, ways[way]) == 409:
                    assert ask(way, size, ways[way]) in {200, 422}
            assert len(cosigned[size]) == 1, f"{cosigned[size]} of {size}"
            entries = ways[next(iter(cosigned[size]))]
    finally:
        server.stop()
