"""Replaying a print log, beside SHA-256 over the same bytes, and with the signatures stated apart.

The log is written as a gateway writes it: one token after the other, each request and its outcome. The subject reads
the files, holds each bundle against the root and replays every entry with its state on disk, saved as `platemark audit
log` saves it; only the signers are not recovered. One baseline hashes the same files whole, with one call for each; the
other makes the calls that the tree cannot do without, one for each leaf and node: the floor of what is written in
Python.

Signatures are checked a batch at a time, in one process and in one for each processor, by the clock on the wall: other
work on the machine tells on both.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks import sealing
from benchmarks.paired import HEAD, alternate
from platemark.auditor.batches import BatchReplay
from platemark.auditor.entries import COMPILED_FROM, bundle_hasher
from platemark.auditor.evidence import LogFiles
from platemark.auditor.replay import batches_of
from platemark.auditor.replay_state import SAVED_ENTRIES, ReplayState
from platemark.auditor.signers import Signers, Unsigned, unsigned, usable_processors
from platemark.protocol.tiles import ENTRIES, TILE_WIDTH, Edge, LogReader, Tile, decode_entries, grow, root_from_tiles
from platemark.protocol.units import TokenId
from platemark.verify.counts import LogReplay
from platemark.verify.policy import ANYBODY
from sample_chain import FACTS, RESERVATION_FACT, block_hash, ended, redeemed
from sample_documents import AGENT, GATEWAY, LEDGER_DOMAIN, PROFILE

BAR: Final = 0.25
PRINTS: Final = 1000
"""Prints of each token."""
_SIGNATURES: Final = 500
_NODE: Final = bytes(65)


def make_log(folder: Path, entries: int) -> None:
    """Write the files of a log; all its signatures are of one request and one outcome."""
    request, outcome, edge = redeemed(1), ended(1), Edge.empty()
    for at in range(0, entries, SAVED_ENTRIES):
        batch: list[bytes] = []
        for place in range(at, min(at + SAVED_ENTRIES, entries)):
            token, print_ = divmod(place // 2, PRINTS)
            token_id, sequence = TokenId(token + 1), print_ + 1
            if place % 2:
                batch.append(replace(outcome, token_id=token_id, sequence=sequence).to_bytes())
            else:
                print_id = hashlib.sha256(b"%d" % place).digest()[:16]
                batch.append(replace(request, token_id=token_id, sequence=sequence, print_id=print_id).to_bytes())
        growth = grow(edge, batch)
        edge = growth.edge
        for path, data in growth.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)


def _bundles(folder: Path, entries: int) -> Iterator[bytes]:
    for number in range(entries // TILE_WIDTH):
        yield (folder / Tile(ENTRIES, number).path).read_bytes()


def hash_files(folder: Path, entries: int) -> None:
    """Read each bundle and hash it with one call."""
    for data in _bundles(folder, entries):
        hashlib.sha256(data).digest()


def hash_tree(folder: Path, entries: int) -> None:
    """Read each bundle and make the calls that its leaves and the nodes above them take."""
    for data in _bundles(folder, entries):
        for entry in decode_entries(data, TILE_WIDTH):
            hashlib.sha256(entry).digest()
        for _ in range(TILE_WIDTH):
            hashlib.sha256(_NODE).digest()


def replay(folder: Path, entries: int) -> None:
    """Replay the log with its state on disk, without recovering the signers."""
    permission = replace(RESERVATION_FACT.permission, prints=PRINTS)
    tokens = [TokenId(number + 1) for number in range(-(-entries // (2 * PRINTS)))]
    reservations = {each: replace(RESERVATION_FACT, token_id=each, permission=permission) for each in tokens}
    facts = replace(FACTS, reservations=reservations)
    files = LogFiles(str(folder))
    reader = LogReader(entries, root_from_tiles(entries, files.get), files.get)
    hash_bundles = bundle_hasher(entries, lambda _: None)
    with ReplayState(folder / "state") as state:
        replayed = LogReplay(facts, GATEWAY.address, block_hash, note_print=state.note_print)
        batches = BatchReplay(replayed, state.note_prints, unsigned=lambda *_: ())
        for batch in batches_of(reader, 0, entries, hash_bundles):
            if found := list(batches.feed(batch)):
                raise AssertionError(found)
            state.save(PROFILE.log_origin, reader, ANYBODY, ["nobody"], replayed, [])
        state.forget()
    if list(replayed.finish()):
        raise AssertionError("the log does not fit the chain")


def _check(signatures: int, unsigned: Unsigned) -> None:
    claims = [(redeemed(1).to_bytes(), AGENT.address), (ended(1).to_bytes(), AGENT.address)] * (signatures // 2)
    if unsigned(claims, LEDGER_DOMAIN):
        raise AssertionError("the agent signed them")


def _signatures() -> float:
    """Return how many microseconds of a processor the check of one signature takes."""
    started = time.process_time()
    _check(_SIGNATURES, unsigned)
    return (time.process_time() - started) / _SIGNATURES * 1e6


async def _in_processes(pairs: int) -> str:
    """Return the line of a table: signatures a second in this process, and in one for each processor once they run."""

    def paced(unsigned: Unsigned) -> Callable[[], Awaitable[float]]:
        async def measure() -> float:
            started = time.perf_counter()
            _check(SAVED_ENTRIES, unsigned)
            return SAVED_ENTRIES / (time.perf_counter() - started)

        return measure

    processes = usable_processors()
    with Signers(processes) as signers:
        _check(SAVED_ENTRIES, signers)
        found = await alternate(pairs, paced(unsigned), paced(signers))
    return found.row(f"check signatures in {processes} processes; in one", "signatures/s", None)


async def run(*, pairs: int, entries: int) -> list[str]:
    """Return the lines of a table; `entries` is a multiple of 10 · 16,384."""
    bundle_hasher(COMPILED_FROM, lambda _: None)  # what Numba compiles is kept, and is loaded below
    place = sealing.IN_MEMORY if sealing.IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as large, tempfile.TemporaryDirectory(dir=place) as small:
        make_log(Path(large), entries)
        make_log(Path(small), entries // 10)

        def paced(work: str) -> Callable[[], Awaitable[float]]:
            async def measure() -> float:
                return sealing.in_process("benchmarks.auditing", work, large, str(entries))[0]

            return measure

        tree = await alternate(pairs, paced("hash_tree"), paced("replay"))
        files = await alternate(pairs, paced("hash_files"), paced("replay"))
        least = sealing.in_process("benchmarks.auditing", "replay", small, str(entries // 10))[1]
        most = sealing.in_process("benchmarks.auditing", "replay", large, str(entries))[1]
    return [
        HEAD,
        files.row(f"replay {entries:,} entries; SHA-256 of their files", "entries/s", BAR),
        tree.row(f"replay {entries:,} entries; SHA-256 of leaves and nodes", "entries/s", None),
        await _in_processes(pairs),
        "",
        f"Memory added: {least:.0f} MiB by {entries // 10:,} entries, {most:.0f} MiB by {entries:,}.",
        f"One signature: {_signatures():,.0f} µs of a processor.",
    ]


_WORK: Final = {"hash_files": hash_files, "hash_tree": hash_tree, "replay": replay}


def _main(argv: list[str]) -> Iterator[str]:
    work, folder, entries = argv
    before, started = sealing.peak_mib(), time.process_time()
    _WORK[work](Path(folder), int(entries))
    yield f"{int(entries) / (time.process_time() - started)}"
    yield f"{sealing.peak_mib() - before}"


if __name__ == "__main__":
    sys.stdout.write(" ".join(_main(sys.argv[1:])))
