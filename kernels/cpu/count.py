"""Numba kernels that count distinct pixels and look their labels up.

There are three kinds of tables, by the type of the pixels: bins (up to 16 bits a
pixel), colours (8-bit RGB) and hashed rows (anything else). Pixels come as unsigned
integers of their bits; the counts are put in the order of the values afterwards, so
that nothing but speed depends on the tables.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# A full avalanche (the finalizer of MurmurHash3, in the public domain) after each word.
_MIX1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_TAG = np.uint64(0xFFFFFFFF00000000)
_ID = np.uint64(0x00000000FFFFFFFF)


def count_bins(
    codes,  # IN (n,) uint8 or uint16
    start,  # first pixel of the chunk
    stop,  # end of the chunk
    bins,  # INOUT (4, n_bins) uint32, in four so that equal neighbours do not wait in line
):
    """Count pixels of up to 16 bits."""
    # Unsigned, so that nothing asks for each pixel whether it counts from the end.
    whole = start + (stop - start) // 4 * 4
    for i in range(np.uint64(start), np.uint64(whole), np.uint64(4)):
        bins[0, codes[i]] += np.uint32(1)
        bins[1, codes[i + np.uint64(1)]] += np.uint32(1)
        bins[2, codes[i + np.uint64(2)]] += np.uint32(1)
        bins[3, codes[i + np.uint64(3)]] += np.uint32(1)
    for i in range(whole, stop):
        bins[0, codes[i]] += np.uint32(1)


def label_bins(
    codes,  # IN (n,) uint8 or uint16
    start,  # first pixel of the chunk
    stop,  # end of the chunk
    table,  # IN (n_bins,) label of each code
    labels,  # OUT (n,)
):
    """Look labels up for pixels of up to 16 bits."""
    for i in range(np.uint64(start), np.uint64(stop)):
        labels[i] = table[codes[i]]


# Colours whose codes are made at once: side by side, and still in the first cache.
TILE = 128


@njit(nogil=True)
def tile_codes(
    colors,  # IN (3 n,) uint8, pixels of three channels
    tile,  # uint64, which tile of pixels
    codes,  # OUT (TILE,) uint32, 65536 red + 256 green + blue
):
    """Codes of a tile of pixels."""
    first = np.uint64(3 * TILE) * tile
    for i in range(TILE):
        at = first + np.uint64(3 * i)
        codes[i] = (
            (np.uint32(colors[at]) << np.uint32(16))
            | (np.uint32(colors[at + np.uint64(1)]) << np.uint32(8))
            | np.uint32(colors[at + np.uint64(2)])
        )


def count_colors(
    colors,  # IN (3 n,) uint8, pixels of three channels
    start,  # first tile of the chunk
    stop,  # end of the chunk
    table,  # INOUT (2**24,) uint8, counts modulo 256; bytes, to stay near the caches
    carries,  # OUT (pixels,) uint32, a code for every 256 that its byte dropped
):
    """Count 8-bit colours; return the number of carries."""
    codes = np.empty(TILE, np.uint32)
    n_carries = 0
    for tile in range(start, stop):
        tile_codes(colors, np.uint64(tile), codes)
        for i in range(TILE):
            code = codes[i]
            count = np.uint8(table[code] + np.uint8(1))
            table[code] = count
            if count == 0:
                carries[n_carries] = code
                n_carries += 1
    return n_carries


def label_colors(
    colors,  # IN (3 n,) uint8, pixels of three channels
    start,  # first tile of the chunk
    stop,  # end of the chunk
    table,  # IN (2**24,) label of each code
    labels,  # OUT (n,)
):
    """Look labels up for 8-bit colours."""
    codes = np.empty(TILE, np.uint32)
    for tile in range(start, stop):
        tile_codes(colors, np.uint64(tile), codes)
        first = np.uint64(TILE) * np.uint64(tile)
        for i in range(0, TILE, 4):
            p, q, r, s = codes[i], codes[i + 1], codes[i + 2], codes[i + 3]
            at = first + np.uint64(i)
            labels[at] = table[p]
            labels[at + np.uint64(1)] = table[q]
            labels[at + np.uint64(2)] = table[r]
            labels[at + np.uint64(3)] = table[s]


def used_colors(
    tables,  # IN (n_tables, 2**21) uint64, eight counts each
    start,  # first word of the chunk, a multiple of 32
    stop,  # end of the chunk
    codes,  # OUT (as many as may be used,) uint32, ascending
    counts,  # OUT (as many as may be used,) int64
):
    """List colours in use and their counts; return how many there are."""
    n = 0
    byte = np.uint64(0xFF)
    for block in range(start, stop, 32):
        # Most of the table is empty: 32 words at once are quick to pass over.
        used = np.uint64(0)
        for t in range(tables.shape[0]):
            for i in range(32):
                used |= tables[t, block + i]
        if used == 0:
            continue
        for i in range(block, block + 32):
            word = np.uint64(0)
            for t in range(tables.shape[0]):
                word |= tables[t, i]
            lane = 0
            while word != 0:
                if word & byte:
                    shift = np.uint64(8 * lane)
                    total = np.uint64(0)
                    for t in range(tables.shape[0]):
                        total += (tables[t, i] >> shift) & byte
                    codes[n] = np.uint32(8 * i + lane)
                    counts[n] = np.int64(total)
                    n += 1
                word >>= np.uint64(8)
                lane += 1
    return n


@njit(nogil=True)
def hash_row(bits, row):
    """64-bit hash of a row."""
    h = np.uint64(bits.shape[1])
    for f in range(bits.shape[1]):
        h ^= np.uint64(bits[row, f])
        h = (h ^ (h >> _SHIFT)) * _MIX1
        h = (h ^ (h >> _SHIFT)) * _MIX2
        h ^= h >> _SHIFT
    return h


@njit(nogil=True)
def find_row(bits, row, h, slots, rows):
    """Slot of a row, or the free one where it belongs; it holds 32 bits of the hash, and id + 1."""
    mask = np.uint64(len(slots) - 1)
    at = h & mask
    while slots[at] != 0:
        if (slots[at] & _TAG) == (h & _TAG):
            known = np.int64(slots[at] & _ID) - 1
            same = True
            for f in range(bits.shape[1]):
                same &= rows[known, f] == bits[row, f]
            if same:
                return at
        at = (at + np.uint64(1)) & mask
    return at


def count_rows(
    bits,  # IN (n, n_features) unsigned
    start,  # first pixel of the chunk
    stop,  # end of the chunk
    part,  # which share of the hashes to count
    n_parts,  # number of shares, a power of two
    slots,  # INOUT (power of two,) uint64
    rows,  # INOUT (capacity, n_features), at most half as many as slots
    counts,  # INOUT (capacity,) int64
    n_rows,  # rows found so far
):
    """Count rows of one share; return where it stopped, early if full, and the rows found."""
    for i in range(start, stop):
        h = hash_row(bits, i)
        if np.int64((h >> np.uint64(24)) & np.uint64(n_parts - 1)) != part:
            continue
        at = find_row(bits, i, h, slots, rows)
        if slots[at] == 0:
            if n_rows == len(counts):
                return i, n_rows
            slots[at] = (h & _TAG) | np.uint64(n_rows + 1)
            for f in range(bits.shape[1]):
                rows[n_rows, f] = bits[i, f]
            counts[n_rows] = 1
            n_rows += 1
        else:
            counts[np.int64(slots[at] & _ID) - 1] += 1
    return stop, n_rows


def index_rows(
    rows,  # IN (capacity, n_features) unsigned, distinct
    n_rows,  # how many of them to index
    slots,  # OUT (power of two,) uint64, zero
):
    """Enter known rows into an empty table."""
    for i in range(n_rows):
        h = hash_row(rows, i)
        slots[find_row(rows, i, h, slots, rows)] = (h & _TAG) | np.uint64(i + 1)


def label_rows(
    bits,  # IN (n, n_features) unsigned
    start,  # first pixel of the chunk
    stop,  # end of the chunk
    slots,  # IN (power of two,) uint64
    rows,  # IN (n_rows, n_features)
    table,  # IN (n_rows,) label of each row
    labels,  # OUT (n,)
):
    """Look labels up for rows, all of which are known."""
    for i in range(start, stop):
        at = find_row(bits, i, hash_row(bits, i), slots, rows)
        labels[i] = table[np.int64(slots[at] & _ID) - 1]
