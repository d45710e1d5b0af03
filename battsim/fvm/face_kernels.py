"""Compiled sums of fluxes over face lists; see slabs.py for the order in which faces are visited.

Each kernel takes start, stop, parity and slabs first and visits the faces of the slabs 2 k + parity, start <= k < stop.
Differences are taken in float64 whatever the type of the field, so that a flux leaves one cell exactly as it enters
the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_FAST: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

Array = Any
"""An array of one dimension, as numba sees it."""


@njit(**_FAST)
def add_flux(
    start: int, stop: int, parity: int, slabs: Array, owner: Array, neighbour: Array, flux: Array, out: Array
) -> None:
    """Add what leaves the owner and enters the neighbour."""
    for k in range(start, stop):
        for f in range(slabs[2 * k + parity], slabs[2 * k + parity + 1]):
            out[owner[f]] += flux[f]
            out[neighbour[f]] -= flux[f]


@njit(**_FAST)
def add_conduction(
    start: int, stop: int, parity: int, slabs: Array, owner: Array, neighbour: Array, g: Array, u: Array, out: Array
) -> None:
    """Add the flux g (u_owner - u_neighbour)."""
    for k in range(start, stop):
        for f in range(slabs[2 * k + parity], slabs[2 * k + parity + 1]):
            o, n = owner[f], neighbour[f]
            flux = g[f] * (np.float64(u[o]) - np.float64(u[n]))
            out[o] += flux
            out[n] -= flux


@njit(**_FAST)
def add_linear(
    start: int,
    stop: int,
    parity: int,
    slabs: Array,
    owner: Array,
    neighbour: Array,
    by_owner: Array,
    by_neighbour: Array,
    u: Array,
    out: Array,
) -> None:
    """Add the flux by_owner u_owner + by_neighbour u_neighbour."""
    for k in range(start, stop):
        for f in range(slabs[2 * k + parity], slabs[2 * k + parity + 1]):
            o, n = owner[f], neighbour[f]
            flux = by_owner[f] * np.float64(u[o]) + by_neighbour[f] * np.float64(u[n])
            out[o] += flux
            out[n] -= flux


@njit(**_FAST)
def add_salt(
    start: int,
    stop: int,
    parity: int,
    slabs: Array,
    owner: Array,
    neighbour: Array,
    N_by_owner: Array,
    N_by_neighbour: Array,
    N_by_phi: Array,
    i_by_owner: Array,
    i_by_neighbour: Array,
    i_by_phi: Array,
    c: Array,
    phi: Array,
    to_c: Array,
    to_phi: Array,
) -> None:
    """Add linearised salt flux and current, each by_owner c_owner + by_neighbour c_neighbour + by_phi (dphi)."""
    for k in range(start, stop):
        for f in range(slabs[2 * k + parity], slabs[2 * k + parity + 1]):
            o, n = owner[f], neighbour[f]
            c_o, c_n = np.float64(c[o]), np.float64(c[n])
            dphi = np.float64(phi[o]) - np.float64(phi[n])
            N = N_by_owner[f] * c_o + N_by_neighbour[f] * c_n + N_by_phi[f] * dphi
            i = i_by_owner[f] * c_o + i_by_neighbour[f] * c_n + i_by_phi[f] * dphi
            to_c[o] += N
            to_c[n] -= N
            to_phi[o] += i
            to_phi[n] -= i


@njit(**_FAST)
def add_to(
    start: int, stop: int, parity: int, slabs: Array, cell: Array, factor: float, flux: Array, out: Array
) -> None:
    """Add `factor` times the flux of each face to one of its cells."""
    for k in range(start, stop):
        for f in range(slabs[2 * k + parity], slabs[2 * k + parity + 1]):
            out[cell[f]] += factor * flux[f]


@njit(**_FAST)
def reaction_of(
    start: int,
    stop: int,
    cells: tuple[Array, Array, Array],
    by: tuple[Array, Array, Array],
    fields: tuple[Array, Array, Array, Array],
    current: Array,
) -> None:
    """Write the linearised current of faces start to stop: by x, by c, and by phi_s - phi_e.

    fields: x, c, phi_s, phi_e.
    """
    solid, electronic, ionic = cells
    by_x, by_c, by_phi = by
    x, c, phi_s, phi_e = fields
    for f in range(start, stop):
        i = ionic[f]
        dphi = np.float64(phi_s[electronic[f]]) - np.float64(phi_e[i])
        current[f] = by_x[f] * np.float64(x[solid[f]]) + by_c[f] * np.float64(c[i]) + by_phi[f] * dphi


@njit(**_FAST)
def multiplied(start: int, stop: int, a: Array, u: Array, out: Array) -> None:
    """Write a u."""
    for i in range(start, stop):
        out[i] = a[i] * np.float64(u[i])
