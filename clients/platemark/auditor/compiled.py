"""SHA-256 of many bundles' leaves and nodes at once, compiled by Numba for the processor that runs it.

`hashlib` takes a call for each leaf and node, most of which is setting up and taking down; here 128 of them go through
the same rounds side by side, so that one instruction serves eight. To compile takes some ten seconds, once: Numba keeps
what it compiled, beside this module or in the user's cache. Needs `platemark[fast]`; without Numba, to import this
module raises ImportError.

Whoever calls it holds the heads against those of the log, so that a mistake here refuses what is right, and is found by
the exact path; it does not let pass what is wrong.

Where Numba is told not to compile, to import this module raises RuntimeError: NumPy's numbers do not wrap alike.

Messages are in columns: word `t` of message `n` is `words[t, n]`.

Source: FIPS 180-4, sections 5 and 6.2; RFC 6962, section 2.1.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from platemark.auditor.entries import Entries
from platemark.protocol.tiles import TILE_WIDTH
from platemark.protocol.units import Digest32

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # is set when it is imported
    raise RuntimeError("NUMBA_DISABLE_JIT is set")

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Words = NDArray[np.uint32]
_Numbers = NDArray[np.int64]

_LANES: Final = 128
"""Messages side by side: their 64 words and two states are 40 KiB, and stay in the processor's nearest cache."""
_WORD: Final = np.uint32
_AT: Final = np.uint64
_START: Final = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)
_ROUNDS: Final = np.array(
    [
        *(0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5),
        *(0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174),
        *(0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA),
        *(0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967),
        *(0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85),
        *(0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070),
        *(0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3),
        *(0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2),
    ],
    np.uint32,
)


def _compiled(function: _Function) -> _Function:
    """Return a function that is compiled when it is first called, and kept where that is possible."""
    try:
        return cast("_Function", numba.njit(cache=True)(function))
    except RuntimeError:  # no folder can be written to
        return cast("_Function", numba.njit(function))


# Numba adds two 32-bit words to a 64-bit one: `_WORD` takes it back to what SHA-256 works with.


@_compiled
def _rotated(word: np.uint32, bits: int) -> np.uint32:
    return _WORD(_WORD(word >> _WORD(bits)) | _WORD(word << _WORD(32 - bits)))


@_compiled
def _chosen(e: np.uint32, f: np.uint32, g: np.uint32, h: np.uint32, constant: np.uint32, word: np.uint32) -> np.uint32:
    sum1 = _rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)
    return _WORD(h + sum1 + (g ^ (e & (f ^ g))) + constant + word)


@_compiled
def _majority(a: np.uint32, b: np.uint32, c: np.uint32) -> np.uint32:
    sum0 = _rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)
    return _WORD(sum0 + ((a & b) | (c & (a | b))))


@_compiled
def _scheduled(of_15: np.uint32, of_2: np.uint32, of_16: np.uint32, of_7: np.uint32) -> np.uint32:
    sigma0 = _rotated(of_15, 7) ^ _rotated(of_15, 18) ^ (of_15 >> _WORD(3))
    sigma1 = _rotated(of_2, 17) ^ _rotated(of_2, 19) ^ (of_2 >> _WORD(10))
    return _WORD(of_16 + of_7 + sigma0 + sigma1)


@_compiled
def _compress(words: _Words, states: _Words, work: _Words, lanes: int) -> None:
    """Put the next block of each message, the first 16 of `words`, into its state; `work` is as large as `states`."""
    for t in range(16, 64):
        of_15, of_2, of_16, of_7, scheduled = words[t - 15], words[t - 2], words[t - 16], words[t - 7], words[t]
        for lane in range(lanes):
            scheduled[lane] = _scheduled(of_15[lane], of_2[lane], of_16[lane], of_7[lane])
    work[:] = states
    a_, b_, c_, d_, e_, f_, g_, h_ = work[0], work[1], work[2], work[3], work[4], work[5], work[6], work[7]
    for t in range(0, 64, 4):  # four rounds take `a` to `d` where `e` to `h` were, and those the other way
        word0, word1, word2, word3 = words[t], words[t + 1], words[t + 2], words[t + 3]
        k0, k1, k2, k3 = _ROUNDS[t], _ROUNDS[t + 1], _ROUNDS[t + 2], _ROUNDS[t + 3]
        for lane in range(lanes):
            a, b, c, d = a_[lane], b_[lane], c_[lane], d_[lane]
            e, f, g, h = e_[lane], f_[lane], g_[lane], h_[lane]
            t1 = _chosen(e, f, g, h, k0, word0[lane])
            d, h = _WORD(d + t1), _WORD(t1 + _majority(a, b, c))
            t1 = _chosen(d, e, f, g, k1, word1[lane])
            c, g = _WORD(c + t1), _WORD(t1 + _majority(h, a, b))
            t1 = _chosen(c, d, e, f, k2, word2[lane])
            b, f = _WORD(b + t1), _WORD(t1 + _majority(g, h, a))
            t1 = _chosen(b, c, d, e, k3, word3[lane])
            a, e = _WORD(a + t1), _WORD(t1 + _majority(f, g, h))
            a_[lane], b_[lane], c_[lane], d_[lane] = e, f, g, h
            e_[lane], f_[lane], g_[lane], h_[lane] = a, b, c, d
    states += work


@_compiled
def _split(data: NDArray[np.uint8], starts: _Numbers, ends: _Numbers) -> bool:
    """Find where the entries of bundles are; return whether the bundles have exactly so many."""
    at, size = 0, len(data)
    for place in range(len(starts)):
        if at + 2 > size:
            return False
        starts[place] = at + 2
        at += 2 + (data[at] << 8 | data[at + 1])
        ends[place] = at
    return at == size


@_compiled
def _word(data: NDArray[np.uint8], at: np.uint64) -> np.uint32:
    high = _WORD(data[at]) << _WORD(24) | _WORD(data[at + _AT(1)]) << _WORD(16)
    return _WORD(high | _WORD(data[at + _AT(2)]) << _WORD(8) | _WORD(data[at + _AT(3)]))


@_compiled
def _fill(words: _Words, data: NDArray[np.uint8], begins: _Numbers, ends: _Numbers, block: int, lanes: int) -> None:
    """Write a block of each message, and what follows its last byte; messages that have no such block are left out."""
    for lane in range(lanes):
        at = begins[lane] + 64 * block
        rest = ends[lane] - at
        if rest >= 64:
            for t in range(16):
                words[t, lane] = _word(data, _AT(at + 4 * t))
        elif rest > -9:
            whole = max(0, rest) // 4
            for t in range(whole):
                words[t, lane] = _word(data, _AT(at + 4 * t))
            for t in range(whole, 16):
                words[t, lane] = 0
            if rest >= 0:
                last = _WORD(0x80) << _WORD(24 - 8 * (rest & 3))
                for odd in range(rest & 3):
                    last |= _WORD(data[_AT(at + 4 * whole + odd)]) << _WORD(24 - 8 * odd)
                words[whole, lane] = last
            if rest < 56:
                words[15, lane] = _WORD(8 * (ends[lane] - begins[lane]))


@_compiled
def _hash_leaves(
    data: NDArray[np.uint8], starts: _Numbers, ends: _Numbers, blocks: _Numbers, order: _Numbers, hashes: _Words
) -> None:
    """Hash leaves, in an order in which those of as many blocks stand together.

    The two bytes of its length are before each entry: the second stands where the leaf's first, zero, belongs.
    """
    words, states = np.empty((64, _LANES), np.uint32), np.empty((8, _LANES), np.uint32)
    work = np.empty((8, _LANES), np.uint32)
    for first in range(0, len(order), _LANES):
        places = order[first : first + _LANES]
        lanes = len(places)
        of_lane, begins, last = blocks[places], starts[places] - 1, ends[places]
        for row in range(8):
            states[row] = _START[row]
        for block in range(of_lane.max()):
            _fill(words, data, begins, last, block, lanes)
            if block == 0:
                words[0] &= _WORD(0xFFFFFF)
            _compress(words, states, work, lanes)
            for lane in range(lanes):
                if block == of_lane[lane] - 1:
                    for row in range(8):
                        hashes[row, places[lane]] = states[row, lane]


@_compiled
def _hash_nodes(children: _Words, hashes: _Words) -> None:
    """Hash each two neighbours to their node: 65 bytes, of which the last stands at the beginning of a second block."""
    words, states = np.empty((64, _LANES), np.uint32), np.empty((8, _LANES), np.uint32)
    work = np.empty((8, _LANES), np.uint32)
    nodes = hashes.shape[1]
    for first in range(0, nodes, _LANES):
        lanes = min(_LANES, nodes - first)
        left, right = children[:, 2 * first :: 2], children[:, 2 * first + 1 :: 2]
        for row in range(8):
            states[row] = _START[row]
        for lane in range(lanes):
            words[0, lane] = _WORD(1 << 24) | left[0, lane] >> _WORD(8)
            words[8, lane] = left[7, lane] << _WORD(24) | right[0, lane] >> _WORD(8)
        for row in range(1, 8):
            for lane in range(lanes):
                words[row, lane] = left[row - 1, lane] << _WORD(24) | left[row, lane] >> _WORD(8)
                words[row + 8, lane] = right[row - 1, lane] << _WORD(24) | right[row, lane] >> _WORD(8)
        _compress(words, states, work, lanes)
        for lane in range(lanes):
            words[0, lane] = right[7, lane] << _WORD(24) | _WORD(0x800000)
        words[1:15] = 0
        words[15] = 8 * 65
        _compress(words, states, work, lanes)
        for row in range(8):
            for lane in range(lanes):
                hashes[row, first + lane] = states[row, lane]


def hash_bundles(bundles: Sequence[bytes]) -> tuple[Entries, list[Digest32]] | None:
    """Return the entries of full bundles and the head of each bundle's leaves; None when one is no such bundle."""
    joined = b"".join(bundles)
    data = np.frombuffer(joined, np.uint8)
    size = len(bundles) * TILE_WIDTH
    starts, ends = np.empty(size, np.int64), np.empty(size, np.int64)
    bounds = np.cumsum([len(bundle) for bundle in bundles])
    if not _split(data, starts, ends) or (ends[TILE_WIDTH - 1 :: TILE_WIDTH] != bounds).any():
        return None
    blocks = (ends - starts + 1 + 8) // 64 + 1
    hashes = np.empty((8, size), np.uint32)
    _hash_leaves(data, starts, ends, blocks, np.argsort(blocks.astype(np.uint16), kind="stable"), hashes)
    while hashes.shape[1] > len(bundles):
        nodes = np.empty((8, hashes.shape[1] // 2), np.uint32)
        _hash_nodes(hashes, nodes)
        hashes = nodes
    heads = hashes.T.astype(">u4").tobytes()
    return Entries(joined, starts, ends), [Digest32(heads[at : at + 32]) for at in range(0, len(heads), 32)]
