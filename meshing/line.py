"""Meshes in one dimension: a line of layers through a cell, and the shells of a spherical particle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from meshing.errors import MeshError
from meshing.mesh import Floats, Ints, Mesh, Patch


def line_mesh(layers: Sequence[tuple[str, Floats]], cross_section: float = 1.0) -> Mesh:
    """Layers in a row along x, each a phase of its own, cut into cells of given lengths.

    Patches are x-low and x-high.

    Parameters
    ----------
    layers
        Name and lengths of the cells, shape (n,), m, of each layer in the order of x.
    cross_section
        Area of every face across x, m2.

    Raises
    ------
    MeshError
        Where a layer has no cell, or a length is not positive.
    """
    for name, sizes in layers:
        if not (sizes.size and np.all((sizes > 0.0) & np.isfinite(sizes))):
            raise MeshError(
                f"layer '{name}' needs cells of positive length, not {np.array2string(sizes, threshold=6)} m"
            )
    sizes = np.concatenate([sizes for _, sizes in layers])
    phase = np.repeat(np.arange(len(layers), dtype=np.uint8), [sizes.size for _, sizes in layers])
    centre = np.zeros((sizes.size, 3))
    centre[:, 0] = np.cumsum(sizes) - 0.5 * sizes
    area = np.full(sizes.size - 1, cross_section)
    return _row(
        tuple(name for name, _ in layers),
        phase,
        volume=cross_section * sizes,
        centre=centre,
        area=area,
        distances=(0.5 * sizes[:-1], 0.5 * sizes[1:]),
        patches={
            "x-low": _end(0, cross_section, 0.5 * sizes[0]),
            "x-high": _end(sizes.size - 1, cross_section, 0.5 * sizes[-1]),
        },
    )


def shell_mesh(thickness: Floats) -> Mesh:
    """Spherical shells from the centre outwards; patch "surface" is the surface of the sphere.

    A shell's centre is the radius rho at which a parabola c = a + b r^2 has its mean over the shell,
    rho^2 = 3/5 (r_2^5 - r_1^5) / (r_2^3 - r_1^3), and its distance to a face at r is (r^2 - rho^2) / (2 r): two-point
    fluxes and the value at the surface are then exact for a parabola, the profile of a constant flux after the first
    moments, and of second order for any other. The first column of the centres holds rho.

    Parameters
    ----------
    thickness
        Of each shell, the innermost first, shape (n,), m; they sum to the radius.

    Raises
    ------
    MeshError
        Where there is no shell, or a thickness is not positive.
    """
    if not (thickness.size and np.all((thickness > 0.0) & np.isfinite(thickness))):
        raise MeshError(f"shells need positive thicknesses, not {np.array2string(thickness, threshold=6)} m")
    r = np.concatenate([[0.0], np.cumsum(thickness)])
    square = 0.6 * np.diff(r**5) / np.diff(r**3)
    centre = np.zeros((thickness.size, 3))
    centre[:, 0] = np.sqrt(square)
    face = r[1:-1]
    R = float(r[-1])
    return _row(
        ("particle",),
        np.zeros(thickness.size, np.uint8),
        volume=4.0 / 3.0 * np.pi * np.diff(r**3),
        centre=centre,
        area=4.0 * np.pi * face**2,
        distances=((face**2 - square[:-1]) / (2.0 * face), (square[1:] - face**2) / (2.0 * face)),
        patches={"surface": _end(thickness.size - 1, 4.0 * np.pi * R**2, (R**2 - float(square[-1])) / (2.0 * R))},
    )


def graded_sizes(length: float, count: int, ratio: float) -> Floats:
    """Lengths of `count` cells that sum to `length`, the last `ratio` times as long as the first, shape (count,), m.

    They grow or shrink by one factor from cell to cell.
    """
    if count < 1 or not (0.0 < length < np.inf and 0.0 < ratio < np.inf):
        raise MeshError(f"graded cells need count >= 1, length > 0 m and ratio > 0, not {count}, {length:g}, {ratio:g}")
    powers = np.linspace(0.0, 1.0, count) if count > 1 else np.zeros(1)
    sizes = ratio**powers
    return np.asarray(sizes * (length / sizes.sum()))


def _row(
    phases: tuple[str, ...],
    phase: NDArray[np.uint8],
    *,
    volume: Floats,
    centre: Floats,
    area: Floats,
    distances: tuple[Floats, Floats],
    patches: dict[str, Patch],
) -> Mesh:
    """Cells in a row; `distances` are those of owner and neighbour to each face."""
    n = volume.size
    position: Ints = np.zeros((n, 3), np.int32)
    position[:, 0] = np.arange(n)
    return Mesh(
        phases=phases,
        phase=phase,
        volume=volume,
        centre=centre,
        owner=np.arange(n - 1, dtype=np.int32),
        neighbour=np.arange(1, n, dtype=np.int32),
        area=area,
        owner_distance=distances[0],
        neighbour_distance=distances[1],
        patches=patches,
        interfaces=(),
        position=position,
        grid_shape=(n, 1, 1),
    )


def _end(cell: int, area: float, distance: float) -> Patch:
    return Patch(np.array([cell], np.int32), np.array([area]), np.array([distance]))
