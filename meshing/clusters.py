"""Compiled labelling of clusters: voxels as bits, runs of set bits, union-find over the runs.

The image is a block of rows along its last axis. Each row becomes one bit per voxel, set where it conducts, in words of
64. A run is an unbroken stretch of set bits in one row; it meets a run of the neighbouring row wherever both have a bit
set, so a word holds the contacts of 64 voxels at once, and where a run starts is never stored but counted from the
bits. Sets are united under their first run (He, Chao and Suzuki, IEEE Trans. Image Process. 17 (2008) 749-756, label
runs in the same spirit), so that neither the clusters nor their numbers depend on the order of the unions. Ranges of
rows are therefore labelled by as many threads as one likes and joined at their borders afterwards.

Extra memory: 1/8 byte per voxel for the bits and 4 bytes per run, at most one run for every two voxels.

Compiled because union-find is a loop whose steps depend on each other. Words and run numbers are unsigned, which spares
the test for negative indices; every mixed operation would turn them signed, hence the constants.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from meshing.errors import MeshError

Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
RunIndex = NDArray[np.uint32]
Labels = NDArray[np.int32]
Counts = NDArray[np.int64]
Shape = tuple[int, int, int]
PerAxis = tuple[bool, bool, bool]

SMALLEST_SHARE = 1_000_000
"""Voxels below which another thread costs about what it saves: 0.2 ms per step against 2 to 4 ms for all steps."""

LARGEST = 2**31 - 1
"""Most runs that 32-bit cluster numbers can tell apart."""

WORD = 64
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_TOP = np.uint64(63)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """The conducting voxels of a block of shape (n0, n1, n2) in clusters that share faces.

    Attributes
    ----------
    shape
        Voxels along each axis.
    bits
        One bit per voxel, the lowest first, shape (n0 n1, ceil(n2 / 64)).
    first
        Number of runs in front of each row, shape (n0 n1 + 1,).
    cluster
        Cluster of each run, 1 ... count in C order of their first voxels, shape (n_runs,).
    sides
        Which sides of the block each cluster touches, `side_bit` of each side added up, shape (count + 1,).
    """

    shape: Shape
    bits: Words
    first: Counts
    cluster: RunIndex
    sides: Bytes

    @property
    def count(self) -> int:
        """Number of clusters."""
        return self.sides.size - 1


def side_bit(axis: int, high: bool) -> int:
    """What the low or high side of an axis adds to `Clusters.sides`."""
    return 2 << (2 * axis) if high else 1 << (2 * axis)


def find_clusters(values: Bytes, conducts: Mask, periodic: PerAxis, threads: int) -> Clusters:
    """Clusters of a C-contiguous block, shape (n0, n1, n2), whose values conduct by a table of shape (256,).

    Clusters are also joined across the opposite sides of periodic axes. Raises MeshError above LARGEST runs.
    """
    if threads < 1:
        raise ValueError(f"threads = {threads}; at least 1 is needed")
    n0, n1, n2 = values.shape
    n_rows = n0 * n1
    bounds = _bounds(n_rows, values.size, threads)
    bits = np.empty((n_rows, -(-n2 // WORD)), np.uint64)
    first = np.zeros(n_rows + 1, np.int64)
    _in_parts(_pack, bounds, values.reshape(n_rows, n2), conducts, bits, first)
    np.cumsum(first, out=first)
    if first[-1] > LARGEST:
        raise MeshError(
            f"{values.shape} voxels hold {first[-1]} runs of conducting voxels, more than the {LARGEST} that can be "
            "numbered; crop or coarsen the image"
        )
    parent = np.empty(first[-1], np.uint32)
    _in_parts(_join_part, bounds, bits, first, parent, n1)
    _join_borders(bounds, bits, first, parent, values.shape, periodic)
    sides = np.zeros(_number(parent) + 1, np.uint8)
    _mark_sides(bits, first, parent, values.shape, sides)
    return Clusters((n0, n1, n2), bits, first, parent, sides)


def cluster_labels(clusters: Clusters, threads: int) -> Labels:
    """Cluster number of each voxel, 0 outside, shape (n0, n1, n2)."""
    labels = np.empty(clusters.shape, np.int32)
    rows = labels.reshape(clusters.bits.shape[0], -1)
    bounds = _bounds(len(rows), labels.size, threads)
    _in_parts(_write_labels, bounds, clusters.bits, clusters.first, clusters.cluster, rows)
    return labels


def cluster_mask(clusters: Clusters, chosen: Mask, threads: int) -> Mask:
    """Voxels of the clusters whose entry in `chosen`, shape (count + 1,), is True, shape (n0, n1, n2)."""
    mask = np.empty(clusters.shape, bool)
    rows = mask.reshape(clusters.bits.shape[0], -1)
    bounds = _bounds(len(rows), mask.size, threads)
    _in_parts(_write_mask, bounds, clusters.bits, clusters.first, clusters.cluster, chosen, rows)
    return mask


def voxels_by_sides(clusters: Clusters, threads: int) -> Counts:
    """Voxels in clusters that touch exactly the sides that add up to the index, shape (64,)."""
    bounds = _bounds(clusters.bits.shape[0], int(np.prod(clusters.shape)), threads)
    parts = _in_parts(_count_by_sides, bounds, clusters.bits, clusters.first, clusters.cluster, clusters.sides)
    return np.asarray(np.sum(parts, axis=0), dtype=np.int64)


def voxels_by_value(values: Bytes, mask: Mask, threads: int) -> Counts:
    """Voxels of each value outside and inside a mask, shape (2, 256); both arrays C-contiguous, shape (n0, n1, n2)."""
    bounds = _bounds(values.size, values.size, threads)
    parts = _in_parts(_count_by_value, bounds, values.reshape(-1), mask.reshape(-1).view(np.uint8))
    return np.asarray(np.sum(parts, axis=(0, 1)), dtype=np.int64)


def _bounds(count: int, n_voxels: int, threads: int) -> Counts:
    """Borders of the parts of range(count) that threads work on, shape (parts + 1,)."""
    parts = min(threads, count, max(1, n_voxels // SMALLEST_SHARE))
    return np.arange(parts + 1) * count // parts


def _in_parts(kernel: Callable[..., Any], bounds: Counts, *arguments: Any) -> list[Any]:
    """What `kernel(start, stop, *arguments)` returns for each part of a range."""
    parts = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    if len(parts) == 1:
        return [kernel(*parts[0], *arguments)]
    with ThreadPoolExecutor(len(parts), "meshing") as pool:
        return list(pool.map(lambda part: kernel(*part, *arguments), parts))


@njit(inline="always")
def _population(word: np.uint64) -> np.uint64:
    """Number of bits that are set; LLVM makes one instruction of it."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555_5555_5555_5555))
    word = (word & np.uint64(0x3333_3333_3333_3333)) + ((word >> np.uint64(2)) & np.uint64(0x3333_3333_3333_3333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F_0F0F_0F0F_0F0F)
    return (word * np.uint64(0x0101_0101_0101_0101)) >> np.uint64(56)


@njit(inline="always")
def _starts(word: np.uint64, carry: np.uint64) -> np.uint64:
    """Bits at which a run starts; `carry` is the last bit of the word before, which a run may continue."""
    return word & ~((word << _ONE) | carry)


@njit(inline="always")
def _lowest(word: np.uint64) -> np.uint64:
    return word & (~word + _ONE)


@njit(inline="always")
def _of_word(row: NDArray[Any], w: int) -> NDArray[Any]:
    """The voxels of one word; loops over such a part, from 0, are compiled to vector instructions."""
    return row[w * WORD : (w + 1) * WORD]


@njit(cache=True, nogil=True, error_model="numpy")
def _pack(start: int, stop: int, values: Bytes, conducts: Mask, bits: Words, runs: Counts) -> None:
    """Write the bits of each row, and its number of runs behind its own entry of `runs`."""
    for row in range(start, stop):
        carry, n_runs = _ZERO, _ZERO
        for w in range(bits.shape[1]):
            word = _ZERO
            part = _of_word(values[row], w)
            for k in range(part.size):
                word |= np.uint64(conducts[part[k]]) << np.uint64(k)
            bits[row, w] = word
            n_runs += _population(_starts(word, carry))
            carry = word >> _TOP
        runs[row + 1] = n_runs


@njit(inline="always")
def _root(parent: RunIndex, run: np.uint32) -> np.uint32:
    """First run of the set, halving the path on the way."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@njit(inline="always")
def _join(parent: RunIndex, run: np.uint64, other: np.uint64) -> None:
    """Unite two sets under their first run."""
    a, b = parent[run], parent[other]
    if a != b:
        a, b = _root(parent, a), _root(parent, b)
        parent[max(a, b)] = min(a, b)


@njit(nogil=True, error_model="numpy")
def _join_rows(bits: Words, first: Counts, parent: RunIndex, row: int, other: int) -> None:
    """Unite the runs of two rows wherever both have a bit set: once for each unbroken stretch of such bits."""
    run, run_other = np.uint64(first[row]), np.uint64(first[other])
    carry, carry_other, carry_both = _ZERO, _ZERO, _ZERO
    for w in range(bits.shape[1]):
        word, word_other = bits[row, w], bits[other, w]
        both = word & word_other
        starts, starts_other = _starts(word, carry), _starts(word_other, carry_other)
        contacts = _starts(both, carry_both)
        while contacts != _ZERO:
            reached = contacts ^ (contacts - _ONE)  # up to and with the lowest contact
            here = run + _population(starts & reached) - _ONE
            there = run_other + _population(starts_other & reached) - _ONE
            _join(parent, here, there)
            contacts &= contacts - _ONE
        run += _population(starts)
        run_other += _population(starts_other)
        carry, carry_other, carry_both = word >> _TOP, word_other >> _TOP, both >> _TOP


@njit(cache=True, nogil=True, error_model="numpy")
def _join_part(start: int, stop: int, bits: Words, first: Counts, parent: RunIndex, n1: int) -> None:
    """Unite the runs of a range of rows with each other; `parent` of other rows is left alone."""
    for row in range(start, stop):
        for run in range(first[row], first[row + 1]):
            parent[run] = run
        if row % n1 > 0 and row - 1 >= start:
            _join_rows(bits, first, parent, row, row - 1)
        if row - n1 >= start:
            _join_rows(bits, first, parent, row, row - n1)


@njit(cache=True, nogil=True, error_model="numpy")
def _join_borders(
    bounds: Counts, bits: Words, first: Counts, parent: RunIndex, shape: Shape, periodic: PerAxis
) -> None:
    """Unite the runs of different ranges of rows, and those across the sides of periodic axes."""
    n0, n1, n2 = shape
    for start in bounds[1:-1]:
        if start % n1 > 0:
            _join_rows(bits, first, parent, start, start - 1)
        for row in range(max(start, n1), min(start + n1, n0 * n1)):
            _join_rows(bits, first, parent, row, row - n1)
    if periodic[0]:
        for row in range(n1):
            _join_rows(bits, first, parent, (n0 - 1) * n1 + row, row)
    if periodic[1]:
        for row in range(0, n0 * n1, n1):
            _join_rows(bits, first, parent, row + n1 - 1, row)
    if periodic[2]:
        for row in range(n0 * n1):
            if bits[row, 0] & _last_bit(bits, row, n2) & _ONE:
                _join(parent, np.uint64(first[row + 1] - 1), np.uint64(first[row]))


@njit(inline="always")
def _last_bit(bits: Words, row: int, length: int) -> np.uint64:
    """The bit of a row's last voxel, moved to the lowest place."""
    return np.uint64(bits[row, bits.shape[1] - 1] >> np.uint64((length - 1) % WORD))


@njit(cache=True, nogil=True, error_model="numpy")
def _number(parent: RunIndex) -> int:
    """Number of sets; `parent` becomes the number of each run's set, from 1 in order of their first runs.

    A parent comes before its children, so it already holds its number when they ask for theirs.
    """
    count = 0
    for run in range(parent.size):
        if parent[run] == run:
            count += 1
            parent[run] = count
        else:
            parent[run] = parent[parent[run]]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_sides(bits: Words, first: Counts, cluster: RunIndex, shape: Shape, sides: Bytes) -> None:
    """Add to each cluster the sides that it touches."""
    n0, n1, n2 = shape
    for row in range(n0 * n1):
        x, y = row // n1, row % n1
        of_row = np.uint8((x == 0) | (x == n0 - 1) << 1 | (y == 0) << 2 | (y == n1 - 1) << 3)
        if of_row:
            for run in range(first[row], first[row + 1]):
                sides[cluster[run]] |= of_row
        if bits[row, 0] & _ONE:
            sides[cluster[first[row]]] |= np.uint8(16)
        if _last_bit(bits, row, n2) & _ONE:
            sides[cluster[first[row + 1] - 1]] |= np.uint8(32)


@njit(cache=True, nogil=True, error_model="numpy")
def _write_labels(start: int, stop: int, bits: Words, first: Counts, cluster: RunIndex, labels: Labels) -> None:
    for row in range(start, stop):
        run, carry = np.uint64(first[row]), _ZERO
        for w in range(bits.shape[1]):
            word = bits[row, w]
            run -= word & carry  # the first stretch of the word belongs to the last run of the one before
            part = _of_word(labels[row], w)
            part[:] = 0
            starts = _starts(word, _ZERO)
            while starts != _ZERO:
                low = _lowest(starts)
                begin = _population(low - _ONE)
                number = cluster[run]
                # adding the lowest bit of a run carries through it: the bits that this clears are the run
                for k in range(begin, begin + _population(word & ~(word + low))):
                    part[k] = number
                run += _ONE
                starts ^= low
            carry = word >> _TOP


@njit(cache=True, nogil=True, error_model="numpy")
def _write_mask(start: int, stop: int, bits: Words, first: Counts, cluster: RunIndex, chosen: Mask, mask: Mask) -> None:
    for row in range(start, stop):
        run, carry = np.uint64(first[row]), _ZERO
        for w in range(bits.shape[1]):
            word, kept = bits[row, w], _ZERO
            run -= word & carry
            starts = _starts(word, _ZERO)
            while starts != _ZERO:
                low = _lowest(starts)
                kept |= word & ~(word + low) & (_ALL * np.uint64(chosen[cluster[run]]))
                run += _ONE
                starts ^= low
            carry = word >> _TOP
            part = _of_word(mask[row], w)
            for k in range(part.size):
                part[k] = (kept >> np.uint64(k)) & _ONE


@njit(cache=True, nogil=True, error_model="numpy")
def _count_by_sides(start: int, stop: int, bits: Words, first: Counts, cluster: RunIndex, sides: Bytes) -> Counts:
    counts = np.zeros(64, np.int64)
    for row in range(start, stop):
        run, carry = np.uint64(first[row]), _ZERO
        for w in range(bits.shape[1]):
            word = bits[row, w]
            run -= word & carry
            starts = _starts(word, _ZERO)
            while starts != _ZERO:
                low = _lowest(starts)
                counts[sides[cluster[run]]] += np.int64(_population(word & ~(word + low)))
                run += _ONE
                starts ^= low
            carry = word >> _TOP
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def _count_by_value(start: int, stop: int, values: Bytes, mask: Bytes) -> Counts:
    # four tables in turn: adding to one entry again and again would wait for the last sum
    counts = np.zeros((4, 2, 256), np.int64)
    values, mask = values[start:stop], mask[start:stop]
    for k in range(values.size):
        counts[k & 3, mask[k], values[k]] += 1
    return counts
