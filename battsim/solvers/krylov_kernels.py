"""Compiled sums over the vectors of a Krylov basis, in chunks that stay in a cache.

Sums are kept per chunk, so that no result depends on how chunks are shared between threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_FAST: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc"}}

CHUNK = 2048
"""Elements of a chunk."""

Array = Any
"""An array, as numba sees it."""


@njit(**_FAST)
def project(start: int, stop: int, rows: Array, n_rows: int, w: Array, products: Array) -> None:
    """Write the products of w with the first n_rows rows, chunk by chunk, shape (n_chunks, n_rows or more)."""
    for chunk in range(start, stop):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, w.size)
        k = 0
        while k + 4 <= n_rows:  # four at a time: w is read once for them
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for i in range(low, high):
                a += np.float64(rows[k, i]) * w[i]
                b += np.float64(rows[k + 1, i]) * w[i]
                c += np.float64(rows[k + 2, i]) * w[i]
                d += np.float64(rows[k + 3, i]) * w[i]
            products[chunk, k], products[chunk, k + 1], products[chunk, k + 2], products[chunk, k + 3] = a, b, c, d
            k += 4
        while k < n_rows:
            a = 0.0
            for i in range(low, high):
                a += np.float64(rows[k, i]) * w[i]
            products[chunk, k] = a
            k += 1


@njit(inline="always")
def _add_chunk(low: int, high: int, rows: Array, n_rows: int, factors: Array, out: Array) -> None:
    """Add factor times row to out between low and high, four rows at a time."""
    k = 0
    while k + 4 <= n_rows:
        a, b, c, d = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        for i in range(low, high):
            near = a * np.float64(rows[k, i]) + b * np.float64(rows[k + 1, i])
            out[i] += near + c * np.float64(rows[k + 2, i]) + d * np.float64(rows[k + 3, i])
        k += 4
    while k < n_rows:
        a = factors[k]
        for i in range(low, high):
            out[i] += a * np.float64(rows[k, i])
        k += 1


@njit(**_FAST)
def subtract(start: int, stop: int, rows: Array, n_rows: int, factors: Array, w: Array, squares: Array) -> None:
    """Take factor times row out of w for the first n_rows rows; write the square of what is left, chunk by chunk."""
    for chunk in range(start, stop):
        low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, w.size)
        _add_chunk(low, high, rows, n_rows, -factors, w)
        total = 0.0
        for i in range(low, high):
            total += w[i] * w[i]
        squares[chunk] = total


@njit(**_FAST)
def add(start: int, stop: int, rows: Array, n_rows: int, factors: Array, out: Array) -> None:
    """Add factor times row for the first n_rows rows."""
    for chunk in range(start, stop):
        _add_chunk(chunk * CHUNK, min((chunk + 1) * CHUNK, out.size), rows, n_rows, factors, out)


@njit(**_FAST)
def store(start: int, stop: int, v: Array, factor: float, row: Array) -> None:
    """Write factor times v."""
    for chunk in range(start, stop):
        for i in range(chunk * CHUNK, min((chunk + 1) * CHUNK, v.size)):
            row[i] = factor * v[i]
