"""Block-sparse Jacobians with a pattern found once, and the resistor network inside each diagonal block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Positions of matrix entries, both shape (n,)."""

    rows: Ints
    columns: Ints


def point_entries(rows: Ints, columns: Ints) -> Entries:
    """One entry per pair."""
    return Entries(rows, columns)


def face_entries(row_owner: Ints, row_neighbour: Ints, column_owner: Ints, column_neighbour: Ints) -> Entries:
    """The four entries of each face's flux: it leaves the owner and enters the neighbour."""
    rows = [row_owner, row_owner, row_neighbour, row_neighbour]
    columns = [column_owner, column_neighbour, column_owner, column_neighbour]
    return Entries(np.concatenate(rows), np.concatenate(columns))


def face_values(by_owner: Floats, by_neighbour: Floats) -> Floats:
    """Values for `face_entries` from a flux's derivatives by the owner's and by the neighbour's value."""
    return np.concatenate([by_owner, by_neighbour, -by_owner, -by_neighbour])


class Pattern:
    """Compressed rows whose structure is found once; `matrix` sums new values into it."""

    def __init__(self, entries: Sequence[Entries], shape: tuple[int, int]) -> None:
        rows = np.concatenate([entry.rows for entry in entries]).astype(np.int64)
        columns = np.concatenate([entry.columns for entry in entries]).astype(np.int64)
        keys, slots = np.unique(rows * shape[1] + columns, return_inverse=True)
        self._slots = slots
        self._indices = (keys % shape[1]).astype(np.int32)
        counts = np.bincount(keys // shape[1], minlength=shape[0])
        self._indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        self.shape = shape

    def matrix(self, values: Sequence[Floats]) -> sp.csr_array:
        """The matrix whose entries are the sums of `values`, one array per `Entries`, in the same order."""
        data = np.bincount(self._slots, weights=np.concatenate(values), minlength=self._indices.size)
        return sp.csr_array((data, self._indices, self._indptr), shape=self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Nodes and edges of the resistor network in a diagonal block.

    Attributes
    ----------
    first, second
        Nodes of each edge, shape (n_edges,).
    position
        Integer grid position of each node, shape (n_nodes, 3); negative for a node that sits nowhere.
    """

    first: Ints
    second: Ints
    position: Ints

    @property
    def n_nodes(self) -> int:
        """Number of nodes."""
        return len(self.position)


class BlockJacobian(Protocol):
    """What a linear solver asks of a Jacobian by blocks."""

    @property
    def slices(self) -> tuple[slice, ...]:
        """Range of each block in the state vector."""
        ...

    @property
    def conductance(self) -> tuple[Floats, ...]:
        """Per diagonal block: conductance of each edge of its network, not negative."""
        ...

    @property
    def ground(self) -> tuple[Floats, ...]:
        """Per diagonal block: what the diagonal holds beyond the edges, shape (n_nodes,), not negative."""
        ...

    def multiply(self, u: NDArray[np.floating], out: Floats) -> None:
        """Write the product with a state vector (float32 or float64)."""
        ...

    def coupling(self, row: int, u: NDArray[np.floating], out: Floats) -> None:
        """Write what a state vector whose own part is zero contributes to the rows of one block, shape of the block."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class BlockMatrix:
    """A matrix by blocks, with the symmetric part of each diagonal block as conductances.

    Attributes
    ----------
    slices
        Range of each block in the state vector.
    blocks
        Non-zero blocks by (row, column).
    conductance
        Per diagonal block: conductance of each edge of its network.
    ground
        Per diagonal block: what the diagonal holds beyond the edges, shape (n_nodes,), not negative.
    """

    slices: tuple[slice, ...]
    blocks: Mapping[tuple[int, int], sp.csr_array]
    conductance: tuple[Floats, ...]
    ground: tuple[Floats, ...]

    def __matmul__(self, u: Floats) -> Floats:
        """Product with a state vector."""
        out = np.empty(u.size)
        self.multiply(u, out)
        return out

    def multiply(self, u: NDArray[np.floating], out: Floats) -> None:
        """Write the product with a state vector."""
        out[:] = 0.0
        for (row, column), block in self.blocks.items():
            out[self.slices[row]] += block @ u[self.slices[column]]

    def coupling(self, row: int, u: NDArray[np.floating], out: Floats) -> None:
        """Write what a state vector whose own part is zero contributes to the rows of one block, shape of the block."""
        out[:] = 0.0
        for (other, column), block in self.blocks.items():
            if other == row and column != row:
                out += block @ u[self.slices[column]]
