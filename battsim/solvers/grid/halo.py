"""The padding of a colour-split vector: what a voxel at the end of the grid sees as its neighbour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from battsim.solvers.grid.layout import Shape, layer, set_layer


def wrap(x: NDArray[Any], shape: Shape, periodic: Sequence[bool], rise: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
    """Copy each end of a periodic axis into the padding at the other one: low less, high plus the axis's `rise`."""
    for axis, n in enumerate(shape):
        if periodic[axis]:
            first, last = layer(x, shape, axis, 1), layer(x, shape, axis, n)
            set_layer(x, shape, axis, 0, last - x.dtype.type(rise[axis]))
            set_layer(x, shape, axis, n + 1, first + x.dtype.type(rise[axis]))


def unwrap(x: NDArray[Any], shape: Shape, periodic: Sequence[bool]) -> None:
    """Zeros in the padding of periodic axes."""
    for axis, n in enumerate(shape):
        if periodic[axis]:
            set_layer(x, shape, axis, 0, 0.0)
            set_layer(x, shape, axis, n + 1, 0.0)
