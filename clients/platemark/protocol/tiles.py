"""The print log as tiles (C2SP tlog-tiles): paths, bundles of entries, what growth writes, and a reader.

    tile/<L>/<N>[.p/<W>]        up to 256 hashes of level 8·L, 32 bytes each
    tile/entries/<N>[.p/<W>]    up to 256 entries, each u16 length ‖ bytes

A tile is full (256 wide) or partial (`.p/<W>`, 1 to 255 wide); there are no empty tiles. Files once written never
change. The reader believes nothing: each tile is checked against a root that the caller trusts.

Source: C2SP tlog-tiles; docs/formats.md, tiles.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol import merkle
from platemark.protocol.units import Digest32, digest_text

TILE_WIDTH: Final = 256
TILE_BYTES: Final = TILE_WIDTH * 32
MAX_ENTRY_BYTES: Final = 0xFFFF
MAX_SIZE: Final = 1 << 62
ENTRIES: Final = -1
"""The level of entry bundles."""

_MAX_LEVEL: Final = 63
_CACHED_TILES: Final = 64
_PATH: Final = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")

GetTile = Callable[[str], bytes | None]
"""Returns the bytes of a file of the log by its path, or None when it is not there."""


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """One file of the log: level (`ENTRIES` for bundles), number, and width from 1 to 256."""

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's address."""
        groups = [f"{self.number % 1000:03}"]
        rest = self.number // 1000
        while rest:
            groups.append(f"x{rest % 1000:03}")
            rest //= 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @classmethod
    def parse(cls, path: str) -> Self:
        """Return the tile of a path.

        Errors: MalformedError `log-tile` for a path that no tile has.
        """
        match = _PATH.fullmatch(path) if len(path) <= 64 else None
        if match is not None:
            level, groups, last, width = match.groups()
            number = int(groups.replace("x", "").replace("/", "") + last)
            found = cls(ENTRIES if level == "entries" else int(level), number, int(width or TILE_WIDTH))
            if found.path == path and found.level <= _MAX_LEVEL and found.width <= TILE_WIDTH:
                return found
        raise MalformedError("this is no path of a tile", code="log-tile")


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a log: all that is needed to let it grow.

    `hashes[L]` are the hashes of the partial tile of level L, `(size >> 8·L) % 256` of them; `entries` are the
    entries of the partial bundle, `size % 256` of them.
    """

    size: int
    hashes: tuple[tuple[Digest32, ...], ...]
    entries: tuple[bytes, ...]

    @classmethod
    def empty(cls) -> Self:
        """Return the edge of an empty log."""
        return cls(0, (), ())

    @classmethod
    def load(cls, size: int, get_tile: GetTile) -> Self:
        """Return the edge of a log of `size` entries from its files.

        Errors: MalformedError or VerificationError `log-tile` for files that are missing or misshapen, or when the
            bundle's entries are not those of the tile.
        """
        hashes = _load_hashes(size, get_tile)
        entries: tuple[bytes, ...] = ()
        if size % TILE_WIDTH:
            entries = tuple(_get_entries(Tile(ENTRIES, size // TILE_WIDTH, size % TILE_WIDTH), get_tile))
            if tuple(merkle.leaf_hashes(entries)) != hashes[0]:
                raise _not_of_log(Tile(ENTRIES, size // TILE_WIDTH, size % TILE_WIDTH))
        return cls(size, hashes, entries)

    def root(self) -> Digest32:
        """Return the root of the log."""
        return merkle.fold([peak for hashes in reversed(self.hashes) for peak in _peaks(hashes)])


@dataclass(frozen=True, slots=True)
class Growth:
    """What a batch of entries does to a log: its new edge and root, and the files to write before the root is used."""

    edge: Edge
    root: Digest32
    files: Mapping[str, bytes]


def grow(edge: Edge, entries: Sequence[bytes]) -> Growth:
    """Return the log with `entries` added at the end.

    The files are the full tiles that the entries complete and the partial tiles of the new edge.

    Errors: MalformedError `log-entry` for an entry above 65,535 bytes; `too-large` above 2^62 entries.
    """
    size = edge.size + len(entries)
    if size > MAX_SIZE:
        raise MalformedError("the log is full", code="too-large")
    files: dict[str, bytes] = {}
    pending = [*edge.entries, *entries]
    number = edge.size // TILE_WIDTH
    while len(pending) >= TILE_WIDTH:
        files[Tile(ENTRIES, number).path] = encode_entries(pending[:TILE_WIDTH])
        del pending[:TILE_WIDTH]
        number += 1
    if pending and entries:
        files[Tile(ENTRIES, number, len(pending)).path] = encode_entries(pending)
    levels: list[tuple[Digest32, ...]] = []
    added = merkle.leaf_hashes(entries)
    level = 0
    while added or level < len(edge.hashes):
        hashes = [*(edge.hashes[level] if level < len(edge.hashes) else ()), *added]
        number = edge.size >> 8 * (level + 1)
        completed: list[Digest32] = []
        while len(hashes) >= TILE_WIDTH:
            files[Tile(level, number).path] = b"".join(hashes[:TILE_WIDTH])
            completed.append(merkle.tree_head(hashes[:TILE_WIDTH]))
            del hashes[:TILE_WIDTH]
            number += 1
        if hashes and added:
            files[Tile(level, number, len(hashes)).path] = b"".join(hashes)
        levels.append(tuple(hashes))
        added = completed
        level += 1
    grown = Edge(size, tuple(levels), tuple(pending))
    return Growth(grown, grown.root(), files)


def tiles_between(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the files that a log of `new_size` entries has and one of `old_size` had not, level by level.

    Exactly what `grow` writes when it takes the log from one size to the other in one batch.
    """
    if not 0 <= old_size <= new_size:
        raise UsageError("a log does not shrink")
    level = 0
    while (old := old_size >> 8 * level) < (new := new_size >> 8 * level):
        for kind in (ENTRIES, 0) if level == 0 else (level,):
            for number in range(old // TILE_WIDTH, new // TILE_WIDTH):
                yield Tile(kind, number)
            if new % TILE_WIDTH:
                yield Tile(kind, new // TILE_WIDTH, new % TILE_WIDTH)
        level += 1


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return a bundle: u16 length and bytes of each entry.

    Errors: MalformedError `log-entry` for an entry above 65,535 bytes.
    """
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise MalformedError("an entry of the log has at most 65,535 bytes", code="log-entry")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(data: bytes, width: int) -> list[bytes]:
    """Return the `width` entries of a bundle.

    Errors: MalformedError `log-tile` when the bundle has fewer or more, or bytes after them.
    """
    entries: list[bytes] = []
    at, last = 0, len(data) - 2
    for _ in range(width):
        if at > last:
            break
        begin = at + 2
        at = begin + (data[at] << 8 | data[at + 1])
        entries.append(data[begin:at])
    if len(entries) != width or at != len(data):
        raise MalformedError(f"a bundle does not have exactly {width} entries", code="log-tile")
    return entries


def root_from_tiles(size: int, get_tile: GetTile) -> Digest32:
    """Return the root that the tiles of a log's right edge give; it is worth no more than where they come from.

    Errors: as `LogReader`.
    """
    _check_size(size)
    return Edge(size, _load_hashes(size, get_tile), ()).root()


class LogReader:
    """Reads a log of known size and root from files that nobody vouches for.

    Memory: a bounded number of tiles. For an older size the partial tiles may be gone; the full ones that replaced
    them are then read instead, as far as that size goes.
    """

    def __init__(self, size: int, root: Digest32, get_tile: GetTile) -> None:
        """Load the right edge and check it against the root.

        Errors: MalformedError `log-tile` for a tile of a wrong length, VerificationError `log-tile` for one that is
            missing or not of this log, `log-root` when the edge gives another root.
        """
        _check_size(size)
        self.size: int = size
        self.root: Digest32 = root
        self._get_tile = get_tile
        self._edge = _load_hashes(size, get_tile)
        self._full: OrderedDict[tuple[int, int], list[Digest32]] = OrderedDict()
        found = Edge(size, self._edge, ()).root()
        if found != root:
            raise VerificationError(
                f"the tiles of {size} entries give another root",
                step="log-root",
                code="log-root",
                expected=digest_text(root),
                found=digest_text(found),
            )

    def leaf_hash(self, index: int) -> Digest32:
        """Return the hash of leaf `index`; errors as the constructor."""
        if not 0 <= index < self.size:
            raise UsageError(f"the log has entries 0 to {self.size}, not {index}")
        return self._head(index, index + 1)

    def entry(self, index: int) -> bytes:
        """Return entry `index`; errors as the constructor."""
        return next(self.entries(index, index + 1))

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the entries from `start` up to `end`, each after its bundle was checked; errors as the constructor."""
        last = self.size if end is None else end
        if not 0 <= start <= last <= self.size:
            raise UsageError(f"the log has entries 0 to {self.size}, not {start} to {last}")
        for number in range(start // TILE_WIDTH, -(-last // TILE_WIDTH)):
            first = number * TILE_WIDTH
            yield from self.bundle(number)[max(0, start - first) : last - first]

    def bundle(self, number: int) -> list[bytes]:
        """Return the entries of a bundle, 256 but in the last, after it was checked; errors as the constructor."""
        width = min(TILE_WIDTH, self.size - number * TILE_WIDTH)
        tile = Tile(ENTRIES, number, width)
        bundle = _get_entries(tile, self._get_tile)
        if merkle.tree_head(merkle.leaf_hashes(bundle)) != self._bundle_head(number, width):
            raise _not_of_log(tile)
        return bundle

    def unchecked_bundle(self, number: int) -> tuple[bytes, Digest32]:
        """Return the bytes of a full bundle as they are found, and the head that its entries must have.

        For callers that check many at once. Errors: as the constructor.
        """
        if not 0 <= number < self.size // TILE_WIDTH:
            raise UsageError(f"a log of {self.size} entries has no full bundle {number}")
        data, _ = _get(Tile(ENTRIES, number), self._get_tile)
        return data, self._tile(1, number // TILE_WIDTH)[number % TILE_WIDTH]

    def inclusion_proof(self, index: int, old_size: int | None = None) -> list[Digest32]:
        """Return the proof that leaf `index` is in this log, or in the one it was at `old_size`.

        Errors: as the constructor; UsageError for a size that the log never had.
        """
        size = self.size if old_size is None else old_size
        if size > self.size:
            raise UsageError(f"this log never had {size} entries")
        return [self._head(low, high) for low, high in merkle.inclusion_ranges(index, size)]

    def consistency_proof(self, old_size: int) -> list[Digest32]:
        """Return the proof that this log begins with that of `old_size` entries; errors as the constructor."""
        return [self._head(low, high) for low, high in merkle.consistency_ranges(old_size, self.size)]

    def old_root(self, old_size: int) -> Digest32:
        """Return the root that this log had at `old_size` entries; errors as the constructor."""
        if not 0 <= old_size <= self.size:
            raise UsageError(f"this log never had {old_size} entries")
        return self._head(0, old_size)

    def _head(self, low: int, high: int) -> Digest32:
        """Return the tree head over leaves `low` up to `high`, a range as proofs have them.

        That is, `low` is a multiple of the largest power of two that is not above their number.
        """
        peaks: list[Digest32] = []
        at = low
        while at < high:
            height = (high - at).bit_length() - 1
            peaks.append(self._complete(at, height))
            at += 1 << height
        return merkle.fold(peaks)

    def _complete(self, low: int, height: int) -> Digest32:
        """Return the head of the complete subtree of 2^height leaves that begins at `low`."""
        level, rest = divmod(height, 8)
        first = low >> 8 * level
        hashes = self._tile(level, first // TILE_WIDTH)
        at = first % TILE_WIDTH
        return merkle.tree_head(hashes[at : at + (1 << rest)])

    def _bundle_head(self, number: int, width: int) -> Digest32:
        if width < TILE_WIDTH:
            return merkle.tree_head(self._edge[0])
        return self._complete(number * TILE_WIDTH, 8)

    def _tile(self, level: int, number: int) -> Sequence[Digest32]:
        """Return the checked hashes of a tile: the edge's, or a full one under its parent's hash."""
        if number == self.size >> 8 * (level + 1):
            return self._edge[level]
        known = self._full.get((level, number))
        if known is None:
            tile = Tile(level, number)
            known = _get_hashes(tile, self._get_tile)
            if merkle.tree_head(known) != self._complete(number << 8 * (level + 1), 8 * (level + 1)):
                raise _not_of_log(tile)
            self._full[level, number] = known
            while len(self._full) > _CACHED_TILES:
                self._full.popitem(last=False)
        else:
            self._full.move_to_end((level, number))
        return known


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise MalformedError("this is no size of a log", code="log-tile")


def _load_hashes(size: int, get_tile: GetTile) -> tuple[tuple[Digest32, ...], ...]:
    levels: list[tuple[Digest32, ...]] = []
    while size >> 8 * len(levels):
        level = len(levels)
        width = (size >> 8 * level) % TILE_WIDTH
        tile = Tile(level, size >> 8 * (level + 1), width)
        levels.append(tuple(_get_hashes(tile, get_tile)) if width else ())
    return tuple(levels)


def _get_hashes(tile: Tile, get_tile: GetTile) -> list[Digest32]:
    data, width = _get(tile, get_tile)
    if len(data) != width * 32:
        raise MalformedError(f"{tile.path} has {len(data)} bytes instead of {width * 32}", code="log-tile")
    return [Digest32(data[at : at + 32]) for at in range(0, tile.width * 32, 32)]


def _get_entries(tile: Tile, get_tile: GetTile) -> list[bytes]:
    data, width = _get(tile, get_tile)
    return decode_entries(data, width)[: tile.width]


def _get(tile: Tile, get_tile: GetTile) -> tuple[bytes, int]:
    """Return a tile's bytes and width; the full tile stands in for a partial one that is gone."""
    data = get_tile(tile.path)
    if data is not None:
        return data, tile.width
    if tile.width < TILE_WIDTH:
        data = get_tile(Tile(tile.level, tile.number).path)
        if data is not None:
            return data, TILE_WIDTH
    raise VerificationError(
        "a tile of the log is missing", step="log-tile", code="log-tile", expected=tile.path, found="nothing"
    )


def _not_of_log(tile: Tile) -> VerificationError:
    return VerificationError(
        "a tile does not belong to this log",
        step="log-tile",
        code="log-tile",
        expected=f"{tile.path} under the log's root",
        found="other hashes",
    )


def _peaks(hashes: Sequence[Digest32]) -> list[Digest32]:
    """Return the heads of the complete subtrees over fewer than 256 hashes, larger ones first."""
    peaks: list[Digest32] = []
    at = 0
    for bit in range(7, -1, -1):
        if len(hashes) & 1 << bit:
            peaks.append(merkle.tree_head(hashes[at : at + (1 << bit)]))
            at += 1 << bit
    return peaks
