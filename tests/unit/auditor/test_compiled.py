"""Bundles that are hashed many at once: heads and entries are those of the exact path, whatever is in the files."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numba
import pytest

from platemark.auditor import compiled, entries, replay
from platemark.auditor.compiled import hash_bundles
from platemark.auditor.entries import COMPILED_FROM, Entries, bundle_hasher
from platemark.auditor.replay import audit_log, batches_of
from platemark.errors import MalformedError, UpstreamError, VerificationError
from platemark.protocol import merkle
from platemark.protocol.tiles import TILE_WIDTH, Edge, LogReader, encode_entries, grow
from sample_chain import SampleLog
from sample_evidence import anchoring, evidence, logged
from simulators.dying_audit import ENTRIES_OF_LIES

LOADING: Final = "loading what hashes large logs; at the first time it is compiled, which takes some ten seconds"
SIZE: Final = 5 * TILE_WIDTH + 7
ENTRIES: Final = [b"%d" % place * (place % 60) for place in range(SIZE)]
GROWTH: Final = grow(Edge.empty(), ENTRIES)
BORDERS: Final = [0, 1, 2, 3, 53, 54, 55, 56, 57, 61, 62, 63, 64, 65, 117, 118, 119, 120, 126, 127, 128, 300, 65_535]


def bundle_of(lengths: Sequence[int]) -> list[bytes]:
    return [bytes((place * 7 + at) % 251 for at in range(lengths[place % len(lengths)])) for place in range(TILE_WIDTH)]


@pytest.mark.parametrize(
    "bundles",
    [
        [bundle_of([length]) for length in BORDERS[:-1]],
        [bundle_of(BORDERS[:-1])],
        [bundle_of([137, 255, 43])] * 3,
        [bundle_of([*BORDERS, *[20] * 40])],
    ],
)
def test_heads_and_entries_are_those_of_hashing_one_by_one(bundles: list[list[bytes]]) -> None:
    found = hash_bundles([encode_entries(bundle) for bundle in bundles])
    assert found is not None
    assert list(found[0]) == [entry for bundle in bundles for entry in bundle]
    assert found[1] == [merkle.tree_head(merkle.leaf_hashes(bundle)) for bundle in bundles]


@pytest.mark.parametrize(
    "bundles",
    [
        [b""],
        [encode_entries(bundle_of([5])[:-1])],
        [encode_entries([*bundle_of([5]), b""])],
        [encode_entries(bundle_of([5]))[:-1]],
        [encode_entries(bundle_of([5]))[:-6]],
        [encode_entries(bundle_of([5])) + b"\0"],
        [encode_entries(bundle_of([5])[:-1]), encode_entries([*bundle_of([5]), b"one more"])],
        [encode_entries(bundle_of([5]))[:-3], encode_entries(bundle_of([5]))[-3:] + encode_entries(bundle_of([6]))],
    ],
)
def test_files_that_are_no_full_bundles_are_refused(bundles: list[bytes]) -> None:
    assert hash_bundles(bundles) is None


def read(files: Mapping[str, bytes | None], hashed: Any) -> tuple[list[list[bytes]], str]:
    """Return the batches of a log until its end or an error, and the error."""
    reader = LogReader(SIZE, GROWTH.root, {**GROWTH.files, **files}.get)
    found: list[list[bytes]] = []
    try:
        found.extend(map(list, batches_of(reader, 0, SIZE, hashed)))
    except (VerificationError, MalformedError) as error:
        return found, str(error)
    return found, "none"


def forged(path: str) -> dict[str, bytes]:
    data = bytearray(GROWTH.files[path])
    data[-1] ^= 1
    return {path: bytes(data)}


@pytest.mark.parametrize("saved", [1, 2, 4, 64])
@pytest.mark.parametrize(
    "files",
    [
        {},
        *(forged(f"tile/entries/00{number}") for number in range(4)),
        {"tile/entries/003": GROWTH.files["tile/entries/003"][:-1]},
        {"tile/entries/002": GROWTH.files["tile/entries/004"]},
        {"tile/entries/003": None},
        forged("tile/entries/005.p/7"),
    ],
)
def test_what_is_read_at_once_is_what_is_read_one_by_one(
    files: Mapping[str, bytes | None], saved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "SAVED_ENTRIES", saved * TILE_WIDTH)
    exact = read(files, None)
    assert read(files, hash_bundles) == exact
    assert (exact[1] == "none") == (not files)


def test_true_batches_of_full_bundles_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SAVED_ENTRIES", TILE_WIDTH)
    asked: list[int] = []
    bundle = LogReader.bundle

    def watched(reader: LogReader, number: int) -> list[bytes]:
        asked.append(number)
        return bundle(reader, number)

    monkeypatch.setattr(LogReader, "bundle", watched)
    found, error = read({}, hash_bundles)
    assert ([entry for batch in found for entry in batch], error, asked) == (ENTRIES, "none", [5])


@pytest.mark.parametrize("hashed", [None, hash_bundles])
def test_entries_that_are_large_together_come_in_several_batches(hashed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [sum(map(len, ENTRIES[at : at + TILE_WIDTH])) for at in range(0, SIZE, TILE_WIDTH)]
    monkeypatch.setattr(replay, "BATCH_BYTES", sizes[0] + sizes[1] // 2)
    reader = LogReader(SIZE, GROWTH.root, GROWTH.files.get)
    found = list(batches_of(reader, 0, SIZE, hashed))
    assert [entry for batch in found for entry in batch] == ENTRIES
    assert [len(batch) // TILE_WIDTH for batch in found] == [2, 2, 1]
    assert all(len(batch) % TILE_WIDTH == 0 for batch in found[:-1])


@pytest.fixture(scope="module")
def lies() -> SampleLog:
    return logged(*ENTRIES_OF_LIES)


def test_audit_reports_the_same_however_it_hashes(lies: SampleLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SAVED_ENTRIES", TILE_WIDTH)
    exact = audit_log(evidence(anchoring(lies), lies))
    asked: list[int] = []

    def watched(bundles: Sequence[bytes]) -> Any:
        asked.append(len(bundles))
        return hash_bundles(bundles)

    monkeypatch.setattr(compiled, "hash_bundles", watched)
    monkeypatch.setattr(entries, "COMPILED_FROM", 1)
    report = audit_log(evidence(anchoring(lies), lies))
    assert (report.findings, report.facts) == (exact.findings, exact.facts)
    assert len(asked) == 1 + len(ENTRIES_OF_LIES) // TILE_WIDTH


def test_small_logs_wait_for_no_compiling() -> None:
    assert bundle_hasher(COMPILED_FROM - 1, pytest.fail) is None
    told: list[str] = []
    assert bundle_hasher(COMPILED_FROM, told.append) is hash_bundles
    assert told == [LOADING]


def test_who_has_no_numba_is_told_what_it_would_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setitem(sys.modules, "platemark.auditor.compiled", None)
    assert bundle_hasher(COMPILED_FROM, told.append) is None
    assert told == ["the log is large: with platemark[fast] its hashing takes a third of the time"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("no such processor"),
        EOFError("Ran out of input"),
        pickle.UnpicklingError("pickle data was truncated"),
    ],
)
def test_where_nothing_can_be_compiled_the_audit_goes_on(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Sequence[bytes]) -> None:
        raise error

    told: list[str] = []
    monkeypatch.setattr(compiled, "hash_bundles", fail)
    assert bundle_hasher(COMPILED_FROM, told.append) is None
    assert told == [LOADING, f"hashing cannot be compiled here and is slower: {error}"]


@pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:-9]])
@pytest.mark.parametrize("kept", ["*.nbi", "*.nbc"])
def test_damaged_cache_makes_an_audit_slower_and_does_not_end_it(
    kept: str, damage: Callable[[bytes], bytes], cache: Path, tmp_path: Path
) -> None:
    shutil.copytree(cache, tmp_path / "cache")
    damaged = list((tmp_path / "cache").rglob(kept))
    for path in damaged:
        path.write_bytes(damage(path.read_bytes()))
    assert damaged
    assert "hashing cannot be compiled here and is slower" in hasher_in(NUMBA_CACHE_DIR=str(tmp_path / "cache"))


def test_where_numba_is_told_not_to_compile_it_is_not_used() -> None:
    assert hasher_in(NUMBA_DISABLE_JIT="1") == "hashing cannot be compiled here and is slower: NUMBA_DISABLE_JIT is set"


def test_code_that_gives_other_hashes_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    for wrong in (None, (Entries.of([]), [merkle.leaf_hash(b"")])):
        monkeypatch.setattr(compiled, "hash_bundles", lambda _, wrong=wrong: wrong)
        assert bundle_hasher(COMPILED_FROM, told.append) is None
    assert told == [LOADING, "hashing cannot be compiled here and is slower: what was compiled gives other hashes"] * 2


def hasher_in(**environment: str) -> str:
    """Return what a process of its own tells when it is to hash a large log."""
    code = "from platemark.auditor import entries; entries.bundle_hasher(entries.COMPILED_FROM, print)"
    argv = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=os.environ | environment)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Numba keeps what it compiled."""
    found = tmp_path_factory.mktemp("cache")
    assert hasher_in(NUMBA_CACHE_DIR=str(found)) == LOADING
    return found


def test_where_no_folder_can_be_written_to_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_cache(function: Callable[..., Any] | None = None, *, cache: bool = False) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(numba, "njit", no_cache)
    assert compiled._compiled(len) is len


def test_entries_are_had_by_place_and_as_columns() -> None:
    found = Entries.of([b"one", b"", b"three"])
    assert (len(found), found[0], found[1], found[2]) == (3, b"one", b"", b"three")
    assert list(found) == [b"one", b"", b"three"]
    with pytest.raises(IndexError):
        found[3]


def test_bundle_that_cannot_be_reached_is_an_error_at_once_as_it_is_one_by_one() -> None:
    def away(path: str) -> bytes | None:
        if path == "tile/entries/003":
            raise UpstreamError("away", code="gateway-unreachable")
        return GROWTH.files.get(path)

    for hashed in (None, hash_bundles):
        with pytest.raises(UpstreamError):
            list(batches_of(LogReader(SIZE, GROWTH.root, away), 0, SIZE, hashed))
