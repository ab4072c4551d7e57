"""Which print ids may have been there before: a filter of fixed size, so that the exact memory is seldom asked.

A Bloom filter. It never says of a pair of token and print id that it is new when it was added; it may say of a new one
that it may be known. Print ids are made by those who are audited: each filter has secret factors, so that nobody makes
them meet in it, which would hide nothing and take an audit days.
"""

import secrets
from typing import Final

import numpy as np
from numpy.typing import NDArray

PRINT_ID_BYTES: Final = 16
_BITS: Final = 1 << 27
"""16 MiB: when five million ids are added, one in three thousand is looked up in vain."""
_SHIFTS: Final = (0, 18, 37)


class PrintFilter:
    """A set of pairs of a token's number and a print id, which may take a new pair for a known one."""

    def __init__(self) -> None:
        self._bytes = np.zeros(_BITS // 8, np.uint8)
        self._factors = np.array([secrets.randbits(64) | 1 for _ in range(4)], np.uint64)

    def add(self, numbers: NDArray[np.int64], print_ids: bytes) -> NDArray[np.bool_]:
        """Add pairs, and return which of them may have been added before, or twice now.

        `print_ids` are 16 bytes each, one after the other.
        """
        halves = np.frombuffer(print_ids, "<u8").reshape(-1, 2)
        first, second, third, fourth = self._factors
        mixed = (halves[:, 0] + numbers.astype(np.uint64) * first) * second
        mixed = ((mixed ^ mixed >> np.uint64(32)) + halves[:, 1]) * third
        mixed = (mixed ^ mixed >> np.uint64(31)) * fourth
        mixed ^= mixed >> np.uint64(29)
        ascending = np.sort(mixed)
        twice = ascending[1:][ascending[1:] == ascending[:-1]]
        may_be_known = np.ones(len(numbers), np.bool_)
        for shift in _SHIFTS:
            bit = (mixed >> np.uint64(shift) & np.uint64(_BITS - 1)).astype(np.int64)
            mask = np.left_shift(1, bit & 7).astype(np.uint8)
            may_be_known &= (self._bytes[bit >> 3] & mask) != 0
            np.bitwise_or.at(self._bytes, bit >> 3, mask)
        return may_be_known | np.isin(mixed, twice) if len(twice) else may_be_known
