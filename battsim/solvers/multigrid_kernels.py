"""Compiled kernels of the aggregation multigrid: adjacency, aggregates, coarse levels, sweeps and transfers.

A level is the network in compressed rows: row i holds its neighbours ``columns[pointers[i]:pointers[i + 1]]`` in
ascending order and the coupling conductances ``weights`` (float32) beside them, both triangles stored; ``middle[i]`` is
the first entry behind the diagonal. The diagonal is never stored: it is ``ground[i] + sum(weights of row i)``.

They are compiled because Gauss-Seidel and union-find are loops whose steps depend on each other. Index arrays are
int32, numbers float32, everywhere: one specialisation per kernel, so that the first run compiles each once. Where speed
counts they are read as unsigned, which spares the test for negative indices (a quarter of a sweep).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Kernel = Callable[..., None]
Index = NDArray[np.int32]
Single = NDArray[np.float32]

MOST_NODES = 8  # of an aggregate that is not bound to a 2x2x2 block
_FAST: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}


@njit(cache=True, error_model="numpy")
def adjacency(first: Index, second: Index, n_nodes: int) -> tuple[Index, Index, Index, Index]:
    """Pointers and columns of the network, and where edge k enters the row of its first and of its second node.

    Several edges between the same two nodes share one entry; an edge from a node to itself has none (-1).
    """
    start = np.zeros(n_nodes + 1, np.int32)
    for k in range(first.size):
        if first[k] != second[k]:
            start[first[k] + 1] += 1
            start[second[k] + 1] += 1
    for i in range(n_nodes):
        start[i + 1] += start[i]
    edge_by_row = np.empty(start[n_nodes], np.int32)
    end = start[:n_nodes].copy()
    for k in range(first.size):
        if first[k] != second[k]:
            edge_by_row[end[first[k]]] = k
            end[first[k]] += 1
            edge_by_row[end[second[k]]] = k
            end[second[k]] += 1
    # transposing a symmetric pattern leaves every row sorted, in linear time
    edge = np.empty(edge_by_row.size, np.int32)
    columns = np.empty(edge_by_row.size, np.int32)
    end = start[:n_nodes].copy()
    for i in range(n_nodes):
        for p in range(start[i], start[i + 1]):
            k = edge_by_row[p]
            j = second[k] if first[k] == i else first[k]
            edge[end[j]] = k
            columns[end[j]] = i
            end[j] += 1
    pointers = np.zeros(n_nodes + 1, np.int32)
    entry_of_first = np.full(first.size, -1, np.int32)
    entry_of_second = np.full(first.size, -1, np.int32)
    last = -1
    for i in range(n_nodes):
        for p in range(start[i], start[i + 1]):
            j = columns[p]
            if last < pointers[i] or columns[last] != j:
                last += 1
                columns[last] = j
            if first[edge[p]] == i:
                entry_of_first[edge[p]] = last
            else:
                entry_of_second[edge[p]] = last
        pointers[i + 1] = last + 1
    return pointers, columns[: last + 1].copy(), entry_of_first, entry_of_second


@njit(cache=True, error_model="numpy")
def middle_of_rows(pointers: Index, columns: Index) -> Index:
    """First entry behind the diagonal in each row, shape (n_nodes,)."""
    middle = np.empty(pointers.size - 1, np.int32)
    for i in range(middle.size):
        p = pointers[i]
        while p < pointers[i + 1] and columns[p] < i:
            p += 1
        middle[i] = p
    return middle


@njit(inline="always")
def _root(parent: Index, i: int) -> int:
    """Representative of i's set, halving the path on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(inline="always")
def _join(parent: Index, i: int, j: int) -> None:
    """Unite the sets of i and j under the smaller representative, so that the result has one order only."""
    a = _root(parent, i)
    b = _root(parent, j)
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@njit(inline="always")
def _same_block(position: Index, i: int, j: int) -> bool:
    """Whether both nodes have a position and lie in one 2x2x2 block."""
    same = True
    for axis in range(3):
        if position[i, axis] < 0 or position[j, axis] < 0 or position[i, axis] >> 1 != position[j, axis] >> 1:
            same = False
    return same


@njit(inline="always")
def _numbered(parent: Index, largest: Single) -> tuple[Index, int]:
    """Number the sets by their smallest node; a node without any coupling gets -1."""
    aggregate = np.full(parent.size, -1, np.int32)
    n_coarse = 0
    for i in range(parent.size):
        if largest[i] > 0:
            root = _root(parent, i)
            if root == i:
                aggregate[i] = n_coarse
                n_coarse += 1
            else:
                aggregate[i] = aggregate[root]
    return aggregate, n_coarse


@njit(inline="always")
def _largest(pointers: Index, weights: Single) -> Single:
    """Largest coupling of each node."""
    largest = np.zeros(pointers.size - 1, np.float32)
    for i in range(largest.size):
        for p in range(pointers[i], pointers[i + 1]):
            largest[i] = max(largest[i], weights[p])
    return largest


@njit(cache=True, error_model="numpy")
def block_aggregates(
    pointers: Index, columns: Index, weights: Single, position: Index, strength: float
) -> tuple[Index, int]:
    """Aggregate of each node, shape (n_nodes,), and their number; -1 for a node without any coupling.

    Connected components inside each 2x2x2 block along edges that are strong for both ends; a node that has none follows
    its own strongest neighbour in the block, unless that one is such a node itself. A dead end, with one neighbour,
    joins it across blocks too, in the same two planes: it can but follow, and branched images leave thousands.
    """
    n_nodes = pointers.size - 1
    parent = np.arange(n_nodes).astype(np.int32)
    largest = _largest(pointers, weights)
    lone = np.ones(n_nodes, np.bool_)
    for i in range(n_nodes):
        for p in range(pointers[i], pointers[i + 1]):
            j = columns[p]
            if weights[p] > 0 and weights[p] >= strength * max(largest[i], largest[j]):
                lone[i] = False
                if j < i and _same_block(position, i, j):
                    _join(parent, i, j)
        if pointers[i + 1] - pointers[i] == 1:
            j = columns[pointers[i]]
            if position[i, 0] >= 0 and position[j, 0] >= 0 and position[i, 0] >> 1 == position[j, 0] >> 1:
                _join(parent, i, j)
    for i in range(n_nodes):
        if lone[i]:
            best = -1
            coupling = np.float32(0)
            for p in range(pointers[i], pointers[i + 1]):
                j = columns[p]
                if weights[p] > coupling and not lone[j] and _same_block(position, i, j):
                    coupling = weights[p]
                    best = j
            if best >= 0 and coupling >= strength * largest[i]:
                _join(parent, i, best)
    return _numbered(parent, largest)


@njit(cache=True, error_model="numpy")
def free_aggregates(pointers: Index, columns: Index, weights: Single, position: Index) -> tuple[Index, int]:
    """As `block_aggregates`, but wherever the strongest couplings lead: for networks whose blocks do not fit.

    In turn each node that is still alone joins its strongest neighbour whose aggregate has room; where it has no other
    neighbour, room or not: a hub may have thousands of such leaves. Nodes without a position stay alone.
    """
    n_nodes = pointers.size - 1
    parent = np.arange(n_nodes).astype(np.int32)
    size = np.ones(n_nodes, np.int32)
    for i in range(n_nodes):
        if position[i, 0] >= 0 and parent[i] == i and size[i] == 1:
            best = -1
            coupling = np.float32(0)
            leaf = pointers[i + 1] - pointers[i] == 1
            for p in range(pointers[i], pointers[i + 1]):
                j = columns[p]
                room = leaf or size[_root(parent, j)] < MOST_NODES
                if weights[p] > coupling and position[j, 0] >= 0 and room:
                    coupling = weights[p]
                    best = j
            if best >= 0:
                total = size[_root(parent, best)] + 1
                _join(parent, i, best)
                size[_root(parent, i)] = total
    return _numbered(parent, _largest(pointers, weights))


@njit(cache=True, error_model="numpy")
def coarse_pattern(pointers: Index, columns: Index, aggregate: Index, n_coarse: int) -> tuple[Index, Index, Index]:
    """Pointers and columns of the coarse network, and the coarse entry of each fine entry (-1: inside an aggregate)."""
    n_nodes = pointers.size - 1
    start = np.zeros(n_coarse + 1, np.int32)
    for i in range(n_nodes):
        if aggregate[i] >= 0:
            start[aggregate[i] + 1] += 1
    for c in range(n_coarse):
        start[c + 1] += start[c]
    member = np.empty(start[n_coarse], np.int32)
    end = start[:n_coarse].copy()
    for i in range(n_nodes):
        if aggregate[i] >= 0:
            member[end[aggregate[i]]] = i
            end[aggregate[i]] += 1
    coarse_pointers = np.zeros(n_coarse + 1, np.int32)
    unsorted = np.empty(columns.size, np.int32)
    entry_map = np.full(columns.size, -1, np.int32)
    seen = np.full(n_coarse, -1, np.int32)
    n_entries = 0
    for c in range(n_coarse):
        for q in range(start[c], start[c + 1]):
            for p in range(pointers[member[q]], pointers[member[q] + 1]):
                d = aggregate[columns[p]]
                if d >= 0 and d != c:
                    if seen[d] < coarse_pointers[c]:
                        seen[d] = n_entries
                        unsorted[n_entries] = d
                        n_entries += 1
                    entry_map[p] = seen[d]
        coarse_pointers[c + 1] = n_entries
    # transposing sorts the rows; entry (c, d) may land at (d, c), since the weights are symmetric
    coarse_columns = np.empty(n_entries, np.int32)
    moved = np.empty(n_entries, np.int32)
    end = coarse_pointers[:n_coarse].copy()
    for c in range(n_coarse):
        for p in range(coarse_pointers[c], coarse_pointers[c + 1]):
            d = unsorted[p]
            coarse_columns[end[d]] = c
            moved[p] = end[d]
            end[d] += 1
    for p in range(entry_map.size):
        if entry_map[p] >= 0:
            entry_map[p] = moved[entry_map[p]]
    return coarse_pointers, coarse_columns, entry_map


@njit(cache=True, error_model="numpy")
def coarse_position(position: Index, aggregate: Index, n_coarse: int) -> Index:
    """Block of each aggregate's first node, shape (n_coarse, 3); -1 stays -1."""
    coarse = np.empty((n_coarse, 3), np.int32)
    for i in range(aggregate.size - 1, -1, -1):
        if aggregate[i] >= 0:
            for axis in range(3):
                coarse[aggregate[i], axis] = position[i, axis] >> 1
    return coarse


@njit(cache=True, error_model="numpy")
def accumulate(values: Single, target: Index, total: Single) -> None:
    """Add each value to `total` at its target; -1 has none."""
    for k in range(values.size):
        if target[k] >= 0:
            total[target[k]] += values[k]


@njit(cache=True, error_model="numpy")
def invert_diagonal(pointers: Index, weights: Single, ground: Single, inverse: Single) -> None:
    """Write 1/(ground + sum of the row's weights); 0 for an empty row, which keeps its unknown at 0."""
    for i in range(inverse.size):
        diagonal = np.float64(ground[i])
        for p in range(pointers[i], pointers[i + 1]):
            diagonal += weights[p]
        inverse[i] = 1.0 / diagonal if diagonal > 0 else 0.0


@njit(cache=True, error_model="numpy")
def only_adjacent(pointers: Index, columns: Index, slabs: Index) -> bool:
    """Whether all couplings stay in their slab of rows or reach the one before or behind it, the first behind the last.

    slabs: first row of each slab and the end of the last one.
    """
    count = slabs.size - 1
    for slab in range(count):
        before = (slab - 1) % count
        behind = (slab + 1) % count
        low, high = slabs[max(slab - 1, 0)], slabs[min(slab + 2, count)]
        for i in range(slabs[slab], slabs[slab + 1]):
            if pointers[i] == pointers[i + 1] or (columns[pointers[i]] >= low and columns[pointers[i + 1] - 1] < high):
                continue  # rows are sorted; what is left are couplings across periodic ends
            for p in range(pointers[i], pointers[i + 1]):
                j = columns[p]
                here = slabs[slab] <= j < slabs[slab + 1]
                beside = slabs[before] <= j < slabs[before + 1] or slabs[behind] <= j < slabs[behind + 1]
                if not (here or beside):
                    return False
    return True


@njit(cache=True, error_model="numpy")
def inside_slabs(aggregate: Index, slabs: Index, n_coarse: int) -> bool:
    """Whether each aggregate lies in one slab of rows."""
    slab_of = np.full(n_coarse, -1, np.int32)
    for slab in range(slabs.size - 1):
        for i in range(slabs[slab], slabs[slab + 1]):
            a = aggregate[i]
            if a >= 0:
                if slab_of[a] >= 0 and slab_of[a] != slab:
                    return False
                slab_of[a] = slab
    return True


@njit(**_FAST)
def sweep(
    start: int,
    stop: int,
    parity: int,
    slabs: Index,
    pointers: Index,
    columns: Index,
    weights: Single,
    ground: Single,
    inverse: Single,
    b: Single,
    x: Single,
    backward: bool,
) -> None:
    """One Gauss-Seidel sweep over the slabs 2 t + parity, t = start ... stop - 1, in place.

    Written with differences of x: they lose less to round-off than the diagonal's product where the network is nearly
    singular.
    """
    for t in range(start, stop):
        low, high = slabs[2 * t + parity], slabs[2 * t + parity + 1]
        for n in range(high - low):
            i = high - 1 - n if backward else low + n
            x_i = x[i]
            r = b[i] - ground[i] * x_i
            for p in range(np.uint32(pointers[i]), np.uint32(pointers[i + 1])):
                r += weights[p] * (x[np.uint32(columns[p])] - x_i)
            x[i] = x_i + r * inverse[i]


@njit(**_FAST)
def sweep_from_zero(
    start: int,
    stop: int,
    parity: int,
    slabs: Index,
    pointers: Index,
    middle: Index,
    columns: Index,
    weights: Single,
    inverse: Single,
    b: Single,
    x: Single,
) -> None:
    """`sweep` forward where x is 0: rows of even slabs, which come first, end at the diagonal."""
    for t in range(start, stop):
        for i in range(slabs[2 * t + parity], slabs[2 * t + parity + 1]):
            r = b[i]
            for p in range(np.uint32(pointers[i]), np.uint32(pointers[i + 1] if parity else middle[i])):
                r += weights[p] * x[np.uint32(columns[p])]
            x[i] = r * inverse[i]


@njit(**_FAST)
def restrict_residual(
    start: int,
    stop: int,
    slabs: Index,
    pointers: Index,
    columns: Index,
    weights: Single,
    ground: Single,
    b: Single,
    x: Single,
    aggregate: Index,
    coarse_b: Single,
) -> None:
    """Add the residual b - A x of the slabs start ... stop - 1 to its aggregates' sums."""
    for i in range(slabs[start], slabs[stop]):
        if aggregate[i] >= 0:
            x_i = x[i]
            r = b[i] - ground[i] * x_i
            for p in range(np.uint32(pointers[i]), np.uint32(pointers[i + 1])):
                r += weights[p] * (x[np.uint32(columns[p])] - x_i)
            coarse_b[aggregate[i]] += r


@njit(**_FAST)
def restrict_after_zero(
    start: int,
    stop: int,
    slabs: Index,
    pointers: Index,
    middle: Index,
    columns: Index,
    weights: Single,
    x: Single,
    aggregate: Index,
    coarse_b: Single,
) -> None:
    """`restrict_residual` after `sweep_from_zero`: what is left of a row are the neighbours swept after it.

    In even slabs these stand behind the diagonal or in a slab before; in odd slabs behind it in the same slab.
    """
    for slab in range(start, stop):
        low, high = slabs[slab], slabs[slab + 1]
        for i in range(low, high):
            if aggregate[i] < 0:
                continue
            r = np.float32(0)
            end = pointers[i + 1]
            if slab & 1:
                while end > middle[i] and columns[end - 1] >= high:
                    end -= 1
            else:
                p = pointers[i]
                while p < middle[i] and columns[p] < low:
                    r += weights[p] * x[columns[p]]
                    p += 1
            for p in range(np.uint32(middle[i]), np.uint32(end)):
                r += weights[p] * x[np.uint32(columns[p])]
            coarse_b[aggregate[i]] += r


@njit(**_FAST)
def prolong(start: int, stop: int, coarse_x: Single, aggregate: Index, factor: float, x: Single) -> None:
    """Add `factor` times each aggregate's correction to its nodes start ... stop - 1."""
    f = np.float32(factor)
    for i in range(start, stop):
        if aggregate[i] >= 0:
            x[i] += f * coarse_x[aggregate[i]]


@njit(**_FAST)
def gather(start: int, stop: int, node: Index, values: NDArray[np.floating], factor: float, out: Single) -> None:
    """Write factor times the value of each node into its place start ... stop - 1."""
    for i in range(start, stop):
        out[i] = factor * values[node[i]]


@njit(**_FAST)
def scatter(start: int, stop: int, node: Index, values: Single, factor: float, out: NDArray[np.floating]) -> None:
    """Write factor times the value of each place start ... stop - 1 to its node."""
    for i in range(start, stop):
        out[node[i]] = factor * values[i]


@njit(**_FAST)
def invert(matrix: NDArray[np.float64]) -> None:
    """Invert a symmetric positive definite matrix in place, by Gauss-Jordan elimination without pivots."""
    n = matrix.shape[0]
    for k in range(n):
        pivot = 1.0 / matrix[k, k]
        row = matrix[k]
        for j in range(n):
            row[j] *= pivot
        row[k] = pivot
        for i in range(n):
            if i != k:
                other = matrix[i]
                factor = other[k]
                other[k] = 0.0
                for j in range(n):
                    other[j] -= factor * row[j]


@njit(**_FAST)
def multiply(matrix: Single, b: Single, x: Single) -> None:
    """Write matrix b into x."""
    for i in range(x.size):
        row = matrix[i]
        total = np.float32(0)
        for j in range(row.size):
            total += row[j] * b[j]
        x[i] = total
