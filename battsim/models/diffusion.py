"""Steady diffusion (or conduction) between two fixed values through cells of given conductivity.

    0 = div(k grad(u)),    u = 1 on the low patch, u = 0 on the high patch, no flux elsewhere

A face between cells o and n carries g (u_o - u_n), positive from owner to neighbour, with g the two-point conductance
of `fvm.operators.face_conductance`; a face towards a fixed value V carries g (u - V). The balance of all cells is
A u = b with A symmetric, and the flux from low to high is the least value of the energy

    E(u) = sum over faces g (u_o - u_n)^2 + sum g_low (1 - u)^2 + sum g_high u^2 = u.A u - 2 b.u + constant.

Cells whose cluster meets neither patch have no fixed value and are left out; dead ends stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from battsim.errors import ResourceError
from battsim.fvm.operators import face_conductance, graph_components, jump, mesh_conductance
from meshing.connect import components, reaching
from meshing.image import AXES, Axis, VoxelImage
from meshing.mesh import Mesh, Patch

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]
Length = Literal["outer", "centres"]

LARGEST = np.iinfo(np.int32).max // 7
"""Unknowns whose matrix entries, seven each, can be counted in 32 bits."""
_INSULATING, _LOW, _HIGH = -1, -2, -3  # numbers of voxels that are no unknowns


@dataclass(frozen=True, slots=True, eq=False)
class SteadyDiffusion:
    """The linear system A u = b and where its unknowns sit.

    Attributes
    ----------
    matrix
        A, shape (n, n), conductivity times m.
    low, high
        Conductance from each unknown to the fixed values, shape (n,), conductivity times m; b is `low`.
    direct
        Conductance that joins the two fixed values without an unknown between.
    guess
        Values falling linearly from low to high, and 1 or 0 where only one patch is in reach, shape (n,).
    cells
        Index of each unknown among all cells (voxels in C order of the turned image), shape (n,).
    position
        Grid position of each unknown, shape (n, 3).
    percolating
        Cells in clusters that meet both patches, shape (n_cells,).
    """

    matrix: sp.csr_array
    low: Floats
    high: Floats
    direct: float
    guess: Floats
    cells: Ints
    position: Ints
    percolating: Mask

    @property
    def constant(self) -> float:
        """Constant of the energy."""
        return float(self.low.sum()) + self.direct

    def flux_in(self, u: Floats) -> float:
        """Flux through the low patch for values u, shape (n,): conductivity times m, positive into the cells."""
        return float(self.low @ (1.0 - u)) + self.direct

    def flux_out(self, u: Floats) -> float:
        """Flux through the high patch for values u, shape (n,): conductivity times m, positive out of the cells."""
        return float(self.high @ u) + self.direct


def diffusion_on_mesh(
    mesh: Mesh, conductivity: Floats, *, low: str = "x-low", high: str = "x-high", length: Length = "outer"
) -> SteadyDiffusion:
    """Steady diffusion on any mesh.

    Parameters
    ----------
    conductivity
        Shape (n_cells,), 0 or more; cells with 0 insulate.
    low, high
        Patches at u = 1 and u = 0.
    length
        "outer" fixes u on the patches' faces, "centres" in the centres of the cells behind them.
    """
    _check_conductivity(conductivity, mesh.n_cells)
    first, second = mesh.patches[low], mesh.patches[high]
    faces = _conducting_faces(mesh, conductivity)
    cluster = graph_components(faces.owner, faces.neighbour, mesh.n_cells)
    meets_low, meets_high = ((conductivity > 0) & _meeting(patch, cluster) for patch in (first, second))
    fixed = _fixed_cells(mesh.n_cells, first, second, length)
    to_low, to_high = np.zeros((2, mesh.n_cells))
    if length == "outer":
        _add_patch(to_low, first, conductivity)
        _add_patch(to_high, second, conductivity)
    else:
        for here, there in ((faces.owner, faces.neighbour), (faces.neighbour, faces.owner)):
            to_low += np.bincount(here, faces.g * (fixed[there] == _LOW), mesh.n_cells)
            to_high += np.bincount(here, faces.g * (fixed[there] == _HIGH), mesh.n_cells)
    cells = np.flatnonzero((meets_low | meets_high) & (fixed == 0)).astype(np.int32)
    number = np.full(mesh.n_cells, _INSULATING, np.int32)
    number[cells] = np.arange(cells.size)
    return SteadyDiffusion(
        matrix=_matrix(faces, number, to_low[cells] + to_high[cells]),
        low=to_low[cells],
        high=to_high[cells],
        direct=float(faces.g[fixed[faces.owner] * fixed[faces.neighbour] == _LOW * _HIGH].sum()),
        guess=_guess(_between(mesh, first, second, length)[cells], meets_low[cells], meets_high[cells]),
        cells=cells,
        position=mesh.position[cells],
        percolating=meets_low & meets_high,
    )


def diffusion_on_image(
    image: VoxelImage, conductivity: Floats, *, axis: Axis = "x", length: Length = "outer"
) -> SteadyDiffusion:
    """Steady diffusion along one axis of an image, assembled without a mesh: a tenth of its memory.

    Parameters
    ----------
    conductivity
        Of each phase, in the order of `image.phases`, shape (n_phases,), 0 or more.
    axis
        From u = 1 at its low end to u = 0 at its high end. Cells count in C order of the image with this axis first.
    length
        "outer" fixes u on the outer faces of the end layers, "centres" in the centres of their voxels.

    Raises
    ------
    ResourceError
        Where the matrix would outgrow 32-bit indices.
    """
    _check_conductivity(conductivity, len(image.phases))
    turned = AXES.index(axis)
    labels = np.ascontiguousarray(np.moveaxis(image.labels, turned, 0))
    size = (image.voxel_size[turned], *(h for k, h in enumerate(image.voxel_size) if k != turned))
    n_layers = labels.shape[0]
    if length == "centres" and n_layers == 1:
        raise ValueError(f"along {axis} the image has one voxel: both fixed values would share its centre")
    cluster, count = components((conductivity > 0)[labels])
    meets_low, meets_high = reaching(cluster, count, 0, ("low",)), reaching(cluster, count, 0, ("high",))
    number, cells = _numbered((meets_low | meets_high)[cluster], length)
    if cells.size > LARGEST:
        raise ResourceError(
            f"{cells.size} conducting voxels are more than the {LARGEST} that one matrix can hold; "
            f"crop or coarsen the image of {image.shape} voxels"
        )
    of_cell = cluster.reshape(-1)[cells]
    percolating = (meets_low & meets_high)[cluster].reshape(-1)
    del cluster  # four bytes per voxel
    tables = _tables(conductivity, size)
    to_patch = _patch_table(conductivity, size) if length == "outer" else np.zeros(conductivity.size)
    matrix, (low, high) = _assembled(number, labels, tables, to_patch, cells.size)
    side_by_side = (number[0] == _LOW) & (number[-1] == _HIGH) if n_layers == 2 else np.zeros(number[0].shape, bool)
    position = np.stack(np.unravel_index(cells, labels.shape), axis=1).astype(np.int32)
    return SteadyDiffusion(
        matrix=matrix,
        low=low,
        high=high,
        direct=float(tables[0][labels[0][side_by_side], labels[-1][side_by_side]].sum()),
        guess=_guess(_profile(n_layers, length)[position[:, 0]], meets_low[of_cell], meets_high[of_cell]),
        cells=cells,
        position=position,
        percolating=percolating,
    )


def _check_conductivity(conductivity: Floats, n: int) -> None:
    if conductivity.shape != (n,) or not (np.isfinite(conductivity) & (conductivity >= 0)).all():
        raise ValueError(f"conductivity must be {n} finite numbers of 0 or more, not {conductivity}")


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """Faces between conducting cells and their conductances, conductivity times m."""

    owner: Ints
    neighbour: Ints
    g: Floats


def _conducting_faces(mesh: Mesh, conductivity: Floats) -> _Faces:
    inner = np.flatnonzero((conductivity[mesh.owner] > 0) & (conductivity[mesh.neighbour] > 0))
    return _Faces(mesh.owner[inner], mesh.neighbour[inner], mesh_conductance(mesh, inner, conductivity))


def _meeting(patch: Patch, cluster: Ints) -> Mask:
    """Cells whose cluster owns a face of the patch, shape (n_cells,)."""
    met = np.zeros(cluster.size, bool)
    met[cluster[patch.cells]] = True
    return met[cluster]


def _fixed_cells(n_cells: int, low: Patch, high: Patch, length: Length) -> Ints:
    """_LOW or _HIGH for cells whose centre has a fixed value, 0 for the others, shape (n_cells,)."""
    fixed = np.zeros(n_cells, np.int32)
    if length == "centres":
        fixed[low.cells] = _LOW
        if (fixed[high.cells] == _LOW).any():
            raise ValueError("a cell lies behind both patches; fix the values on the outer faces instead")
        fixed[high.cells] = _HIGH
    return fixed


def _matrix(faces: _Faces, number: Ints, ground: Floats) -> sp.csr_array:
    """J^T diag(g) J over the faces between unknowns, and what joins them to fixed values on the diagonal."""
    first, second = number[faces.owner], number[faces.neighbour]
    free = (first >= 0) & (second >= 0)
    J = jump(first[free], second[free], ground.size)
    matrix = sp.csr_array(J.T @ sp.diags_array(faces.g[free]) @ J + sp.diags_array(ground))
    matrix.sort_indices()
    return matrix


def _add_patch(conductance: Floats, patch: Patch, conductivity: Floats) -> None:
    """Add what joins the conducting cells behind a patch to the value on its faces."""
    here = conductivity[patch.cells] > 0
    cells, none = patch.cells[here], np.zeros(np.count_nonzero(here))
    k = conductivity[cells]
    np.add.at(conductance, cells, face_conductance(patch.area[here], patch.distance[here], none, k, k))


def _between(mesh: Mesh, low: Patch, high: Patch, length: Length) -> Floats:
    """Value of each cell if it fell linearly from patch to patch, shape (n_cells,)."""
    start, end = mesh.centre[low.cells].mean(axis=0), mesh.centre[high.cells].mean(axis=0)
    span = float(np.linalg.norm(end - start))
    if span == 0:
        return np.full(mesh.n_cells, 0.5)
    along = (mesh.centre - start) @ (end - start) / span
    near, far = (low.distance.mean(), high.distance.mean()) if length == "outer" else (0.0, 0.0)
    return np.asarray(np.clip(1.0 - (along + near) / (near + span + far), 0.0, 1.0), np.float64)


def _profile(n: int, length: Length) -> Floats:
    """Value of each layer if it fell linearly, shape (n,)."""
    layers = np.arange(n)
    return 1.0 - (layers + 0.5) / n if length == "outer" else 1.0 - layers / (n - 1)


def _guess(between: Floats, meets_low: Mask, meets_high: Mask) -> Floats:
    """Linear between the patches; the exact constant where only one of them is in reach."""
    return np.where(meets_low & meets_high, between, meets_low.astype(float))


def _tables(conductivity: Floats, size: Sequence[float]) -> Floats:
    """Conductance of the face between voxels of two phases, across each axis, shape (3, n_phases, n_phases)."""
    n = conductivity.size
    tables = np.zeros((3, n, n))
    a, b = np.nonzero(np.outer(conductivity > 0, conductivity > 0))
    for axis, h in enumerate(size):
        area, half = np.full(a.size, np.prod(size) / h), np.full(a.size, 0.5 * h)
        tables[axis, a, b] = face_conductance(area, half, half, conductivity[a], conductivity[b])
    return tables


def _patch_table(conductivity: Floats, size: Sequence[float]) -> Floats:
    """Conductance from a voxel of each phase to its outer face across axis 0, shape (n_phases,)."""
    table = np.zeros(conductivity.size)
    here = conductivity > 0
    k, ones = conductivity[here], np.ones(np.count_nonzero(here))
    table[here] = face_conductance(ones * size[1] * size[2], ones * 0.5 * size[0], 0.0 * ones, k, k)
    return table


def _numbered(kept: Mask, length: Length) -> tuple[Ints, Ints]:
    """Number of each voxel's unknown, or what it is instead, shape of `kept`; and the voxels that are unknowns."""
    number = np.where(kept, np.int32(0), np.int32(_INSULATING))
    if length == "centres":
        number[0][kept[0]] = _LOW
        number[-1][kept[-1]] = _HIGH
    flat = number.reshape(-1)
    cells = np.flatnonzero(flat == 0).astype(np.int32)
    flat[cells] = np.arange(cells.size, dtype=np.int32)
    return number, cells


def _assembled(
    number: Ints, labels: NDArray[np.uint8], tables: Floats, to_patch: Floats, n: int
) -> tuple[sp.csr_array, Floats]:
    """The matrix, and the conductances to the fixed values, shape (2, n)."""
    pointers = np.zeros(n + 1, np.int32)
    _count_entries(number, pointers)
    np.cumsum(pointers, out=pointers)
    columns, values = np.empty(pointers[-1], np.int32), np.empty(pointers[-1])
    ground = np.zeros((2, n))
    _fill(number, labels, tables, to_patch, pointers, columns, values, ground)
    return sp.csr_array((values, columns, pointers), shape=(n, n)), ground


# Compiled: the matrix of a million voxels is filled in 20 ms; the same in numpy needs several times its memory.
@njit(cache=True)
def _count_entries(number: Ints, pointers: Ints) -> None:
    """Entries of row i, its diagonal among them, into pointers[i + 1]."""
    nx, ny, nz = number.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                row = number[i, j, k]
                if row < 0:
                    continue
                entries = 1
                entries += i > 0 and number[i - 1, j, k] >= 0
                entries += j > 0 and number[i, j - 1, k] >= 0
                entries += k > 0 and number[i, j, k - 1] >= 0
                entries += k < nz - 1 and number[i, j, k + 1] >= 0
                entries += j < ny - 1 and number[i, j + 1, k] >= 0
                entries += i < nx - 1 and number[i + 1, j, k] >= 0
                pointers[row + 1] = entries


@njit(cache=True)
def _fill(
    number: Ints,
    labels: NDArray[np.uint8],
    tables: Floats,
    to_patch: Floats,
    pointers: Ints,
    columns: Ints,
    values: Floats,
    ground: Floats,
) -> None:
    """Columns and values of each row in ascending order, and its conductances to the fixed values, low and high."""
    nx, ny, nz = number.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                row = number[i, j, k]
                if row < 0:
                    continue
                here = labels[i, j, k]
                entry = pointers[row]
                total = 0.0
                middle = -1
                for side in range(6):
                    axis = side if side < 3 else 5 - side
                    step = -1 if side < 3 else 1
                    if side == 3:
                        middle = entry
                        entry += 1
                    a = i + (step if axis == 0 else 0)
                    b = j + (step if axis == 1 else 0)
                    c = k + (step if axis == 2 else 0)
                    if a < 0 or a >= nx:
                        ground[0 if a < 0 else 1, row] += to_patch[here]
                        continue
                    if b < 0 or b >= ny or c < 0 or c >= nz or number[a, b, c] == _INSULATING:
                        continue
                    g = tables[axis, here, labels[a, b, c]]
                    total += g
                    if number[a, b, c] >= 0:
                        columns[entry] = number[a, b, c]
                        values[entry] = -g
                        entry += 1
                    else:
                        ground[0 if number[a, b, c] == _LOW else 1, row] += g
                        total -= g
                columns[middle] = row
                values[middle] = total + ground[0, row] + ground[1, row]
