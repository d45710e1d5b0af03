"""Exact solution of the homogenised cell's linear systems: particles are eliminated, what is left is a narrow band.

A particle meets the rest of the cell at its outermost shell alone. With T the tridiagonal system of its shells and r
their right-hand side, the change of the outermost one is

    x = z - s (jc dc + jp dphi),        z = (T^-1 r)_outermost,  s = (T^-1)_outermost,outermost,

so that its reaction takes part in the line's system with its derivatives times 1 - jx s, and jx z on the other side.
Ordered by position along the line, that system has a handful of diagonals.
"""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dgbsv

from battsim.fvm.blocks import BlockJacobian
from battsim.models.cell.jacobian import C, CellJacobian, P, block_entries, block_values
from battsim.models.cell.state import Layout
from battsim.models.p2d.network import P2DNetwork

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


class ParticleElimination:
    """Solves Jacobians of a homogenised cell exactly.

    Parameters
    ----------
    network, layout
        Of the cell.
    salt
        Scale of c_e, mol/m3: columns of the salt are scaled by it.
    """

    def __init__(self, network: P2DNetwork, layout: Layout, salt: float) -> None:
        self._network, self._layout = network, layout
        outermost = network.reactive.solid
        self._first = np.concatenate([[0], outermost.astype(np.int64) + 1])
        position = _along_the_line(network, layout)
        self._position = position
        start = {C: 0, P: layout.n_electrolyte}
        entries = block_entries(network, layout)
        self._keys = [key for key in entries if key[0] in start and key[1] in start]
        rows = np.concatenate([position[start[r] + e.rows] for r, c in self._keys for e in entries[r, c]])
        columns = np.concatenate([position[start[c] + e.columns] for r, c in self._keys for e in entries[r, c]])
        self._width = width = int(np.abs(rows - columns).max())
        self._size, self._height = position.size, 3 * width + 1
        # LAPACK's band storage, with room for the fill of pivoting above
        self._slots = (2 * width + rows - columns) * self._size + columns
        scale = np.ones(position.size)
        scale[position[: layout.n_electrolyte]] = salt
        self._scale, self._entry_scale = scale, scale[columns]

    def reset(self) -> None:
        """Nothing is kept from one solve to the next."""

    def solve(self, jacobian: BlockJacobian, rhs: Floats, rtol: float) -> tuple[Floats, int, bool]:  # noqa: ARG002 (exact)
        """The solution of J u = rhs, 1, and True; NaN and False where J is singular or not finite."""
        assert isinstance(jacobian, CellJacobian)
        layout, reactive = self._layout, self._network.reactive
        out = np.empty(rhs.size)
        pivot, r_x = np.empty(layout.n_solid), rhs[layout.x].copy()
        solid = jacobian.solid.dFN_dx_o, jacobian.solid.dFN_dx_n
        _eliminate(self._first, jacobian.live, jacobian.storage_x, *solid, jacobian.jx, pivot, r_x)
        s, z = 1.0 / pivot[reactive.solid], r_x[reactive.solid] / pivot[reactive.solid]
        kept = 1.0 - jacobian.live * jacobian.jx * s
        reduced = replace(jacobian, jc=kept * jacobian.jc, jp=kept * jacobian.jp)
        by_line = rhs[layout.n_solid :].copy()
        self._move_to_rhs(jacobian.jx * z, jacobian.live, by_line)
        line = self._solve_line(reduced, by_line)
        out[layout.n_solid :] = line
        dphi = out[layout.phi_s][reactive.electronic] - out[layout.phi_e][reactive.ionic]
        driven = jacobian.jc * out[layout.c_e][reactive.ionic] + jacobian.jp * dphi
        r_x[reactive.solid] -= jacobian.live * driven
        _substitute(self._first, jacobian.live, jacobian.solid.dFN_dx_n, pivot, r_x, out[layout.x])
        return out, 1, bool(np.isfinite(out).all())

    def _move_to_rhs(self, known: Floats, live: float, rhs: Floats) -> None:
        """Take the known part A j of each reaction from the rows that it enters."""
        layout, reactive = self._layout, self._network.reactive
        n_e, n_s = layout.n_electrolyte, layout.n_electronic
        by_cell = np.bincount(reactive.ionic, known, n_e)
        rhs[:n_e] += live * by_cell
        rhs[n_e : n_e + n_s] -= np.bincount(reactive.electronic, known, n_s)
        rhs[n_e + n_s : 2 * n_e + n_s] += by_cell

    def _solve_line(self, jacobian: CellJacobian, rhs: Floats) -> Floats:
        """c_e, phi_s, phi_e and V."""
        blocks = block_values(jacobian)
        values = np.concatenate([value for key in self._keys for value in blocks[key]])
        band = np.bincount(self._slots, values * self._entry_scale, self._height * self._size)
        ordered = np.empty(self._size)
        ordered[self._position] = rhs
        _, _, x, info = dgbsv(
            self._width, self._width, band.reshape(self._height, self._size), ordered, overwrite_ab=1, overwrite_b=1
        )
        if info != 0:
            return np.full(rhs.size, np.nan)
        return np.asarray((self._scale * x)[self._position])


def _along_the_line(network: P2DNetwork, layout: Layout) -> Ints:
    """Place of each unknown but x along the line, shape (size - n_solid,): c_e, phi_e, phi_s of each cell, then V."""
    cell = np.concatenate(
        [network.electrolyte_cells, network.electronic_cells, network.electrolyte_cells, [network.line.n_cells]]
    )
    kind = np.repeat([0, 2, 1, 3], [layout.n_electrolyte, layout.n_electronic, layout.n_electrolyte, 1])
    place = np.empty(cell.size, np.intp)
    place[np.lexsort((kind, cell))] = np.arange(cell.size)
    return place


@numba.njit(cache=True, nogil=True)
def _eliminate(
    first: NDArray[np.int64],
    live: float,
    storage: Floats,
    by_owner: Floats,
    by_neighbour: Floats,
    jx: Floats,
    pivot: Floats,
    r: Floats,
) -> None:
    """Pivots of each particle's tridiagonal system from the centre outwards, and r with what lies inside taken out."""
    for p in range(first.size - 1):
        start, stop, shift = first[p], first[p + 1], p
        for k in range(start, stop):
            d = storage[k]
            if k > start:  # the face to the shell inside: it takes by_owner x_inner + by_neighbour x from that one
                inner = k - 1 - shift
                d -= live * by_neighbour[inner]
                factor = -live * by_owner[inner] / pivot[k - 1]
                d -= factor * live * by_neighbour[inner]
                r[k] -= factor * r[k - 1]
            if k < stop - 1:
                d += live * by_owner[k - shift]
            else:
                d += live * jx[p]
            pivot[k] = d


@numba.njit(cache=True, nogil=True)
def _substitute(
    first: NDArray[np.int64], live: float, by_neighbour: Floats, pivot: Floats, r: Floats, x: Floats
) -> None:
    """Solution of each particle's system from its outermost shell inwards."""
    for p in range(first.size - 1):
        stop = first[p + 1]
        x[stop - 1] = r[stop - 1] / pivot[stop - 1]
        for k in range(stop - 2, first[p] - 1, -1):
            x[k] = (r[k] - live * by_neighbour[k - p] * x[k + 1]) / pivot[k]
