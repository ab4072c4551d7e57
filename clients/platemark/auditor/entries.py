"""Entries of a log that lie one after the other in one piece of memory, so that many are looked at as columns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from platemark.protocol import merkle
from platemark.protocol.tiles import TILE_WIDTH, encode_entries
from platemark.protocol.units import Digest32

COMPILED_FROM: Final = 1 << 20
"""Entries for which compiled code is worth it: to load it takes as long as it saves with about so many."""
_TRIAL: Final = [bytes(length) for length in range(TILE_WIDTH)]


class Entries:
    """Entries of a log in their order, by place: entry `n` is `data[starts[n]:ends[n]]`."""

    def __init__(self, data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """`starts` and `ends` lie within `data`, one of each for an entry."""
        self.data = data
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, entries: Sequence[bytes]) -> Self:
        """Return these entries."""
        lengths = np.fromiter(map(len, entries), np.int64, len(entries))
        ends = np.cumsum(lengths)
        return cls(b"".join(entries), ends - lengths, ends)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.starts)

    def __getitem__(self, place: int) -> bytes:
        """Return one; errors: IndexError."""
        return self.data[self.starts[place] : self.ends[place]]

    def __iter__(self) -> Iterator[bytes]:
        """Yield each."""
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            yield self.data[start:end]

    def rows(self, places: NDArray[np.int64], layout: np.dtype[np.void]) -> NDArray[np.void]:
        """Return the beginnings of the entries at these places, none of which is shorter than a row of the layout."""
        if not len(places):
            return np.empty(0, layout)
        windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(self.data, np.uint8), layout.itemsize)
        return windows[self.starts[places]].view(layout)[:, 0]


HashBundles = Callable[[Sequence[bytes]], tuple[Entries, list[Digest32]] | None]
"""Returns the entries of full bundles and the head of each one's leaves; None when one is no full bundle."""


def bundle_hasher(entries: int, on_progress: Callable[[str], None]) -> HashBundles | None:
    """Return what hashes bundles many at once, if so many entries are worth it and Numba is there and works."""
    if entries < COMPILED_FROM:
        return None
    try:
        from platemark.auditor.compiled import hash_bundles

        on_progress("loading what hashes large logs; at the first time it is compiled, which takes some ten seconds")
        found = hash_bundles([encode_entries(_TRIAL)])  # is compiled now, or what was compiled is read
    except ImportError:
        on_progress("the log is large: with platemark[fast] its hashing takes a third of the time")
        return None
    except Exception as error:  # noqa: BLE001 (of a damaged cache Numba raises whatever its bytes come to mean)
        on_progress(f"hashing cannot be compiled here and is slower: {error}")
        return None
    if found is None or found[1] != [merkle.tree_head(merkle.leaf_hashes(_TRIAL))]:
        on_progress("hashing cannot be compiled here and is slower: what was compiled gives other hashes")
        return None
    return hash_bundles
