"""Fields of a cell on the voxels of its electrodes, saved while a run goes on.

Each saved time becomes a .vti file in case axes, and `fields.pvd` lists them by time; ParaView opens it at any moment.
A field is NaN outside its phases and in cells that were left out. The separator's layers are graded and belong to no
voxel of the image: they are not written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CaseError
from battsim.models.cell.equations import Cell, Evaluation
from battsim.models.cell.state import absolute_phi_s
from meshing.image import AXES, Orientation
from meshing.mesh import Mesh
from meshing.write import append_pvd, write_vti

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Cells = NDArray[np.int32]

UNITS = {"c_e": "mol.m-3", "phi_e": "V", "c_s": "mol.m-3", "x": "1", "phi_s": "V", "j": "A.m-2", "heat": "W.m-3"}
"""Fields and their units; j is the reaction current over the true reacting surface of an active voxel."""
SERIES = "fields.pvd"


class FieldWriter:
    """Writes fields on the voxels of one electrode's image at chosen times.

    Parameters
    ----------
    directory
        Made where it is missing.
    fields
        Names among UNITS; c_s brings x with it.
    cell, mesh
        The model, and its mesh in cell axes.
    cell_of
        Cell of the mesh that each voxel and layer belongs to, shape (n_places of the grid,); None: each is a cell. All
        voxels of a merged cell get the value of its centre.
    n_layers, n_planes
        Planes of the mesh in front of the image, such as the separator's layers, and those of the image; by default
        all others.
    first_phase
        Number of the image's first phase among those of the mesh.
    orientation
        How the image was turned into these planes; the files are in case axes.
    saved
        Times (s) and names of the files that are there already and stay; all others of the series are removed.
    heat
        Gives the heat of every cell of the mesh, shape (n_cells,), W/m3, in a state with its evaluation; for the field
        of this name.

    Attributes
    ----------
    saved
        Times (s) and names of the files so far.

    Raises
    ------
    CaseError
        For a field of another name.
    """

    def __init__(
        self,
        directory: Path,
        fields: Sequence[str],
        cell: Cell,
        mesh: Mesh,
        *,
        cell_of: Cells | None = None,
        n_layers: int,
        n_planes: int | None = None,
        first_phase: int = 0,
        orientation: Orientation,
        saved: Sequence[tuple[float, str]] = (),
        heat: Callable[[Floats, Evaluation], Floats] | None = None,
    ) -> None:
        unknown = [name for name in fields if name not in UNITS]
        if unknown:
            raise CaseError(f"output.fields: '{unknown[0]}' is no field; choose from {', '.join(UNITS)}")
        if "heat" in fields and heat is None:
            raise ValueError("the field heat needs what gives it")
        wanted = {*fields, "x"} if "c_s" in fields else set(fields)
        self._names = [name for name in UNITS if name in wanted]
        self._directory, self._cell, self._orientation, self._heat = directory, cell, orientation, heat
        n_x, n_y, n_z = mesh.grid_shape
        self._shape = (n_x - n_layers if n_planes is None else n_planes, n_y, n_z)
        first = n_layers * n_y * n_z
        stop = first + int(np.prod(self._shape))
        cells = (np.arange(mesh.n_cells, dtype=np.int32) if cell_of is None else cell_of)[first:stop]
        self._cells = cells
        self._phase = orientation.restore(mesh.phase[cells].reshape(self._shape) - np.uint8(first_phase))
        self._voxel_size = _case_voxel_size(mesh, orientation, "low" if n_layers == 0 else "high")
        network = cell.network
        self._voxels = {
            "x": _voxels(network.solid_cells, cells, mesh.n_cells),
            "c_e": _voxels(network.electrolyte_cells, cells, mesh.n_cells),
            "phi_s": _voxels(network.electronic_cells, cells, mesh.n_cells),
        }
        directory.mkdir(parents=True, exist_ok=True)
        self.saved = cut_series(directory, saved)

    def save(self, time_s: float, u: Floats, reference: float, evaluation: Evaluation) -> Path:
        """Writes the state at a time (s) and adds it to the series; returns its file.

        `reference` (V) is what phi_s of `u` is relative to; the file holds absolute potentials.
        """
        path = self._directory / f"t_{time_s:013.3f}.vti"
        fields: dict[str, NDArray[np.float32] | NDArray[np.uint8]] = {
            f"{name} [{UNITS[name]}]": values for name, values in self.fields(u, reference, evaluation).items()
        }
        write_vti(path, {**fields, "phase": self._phase}, self._voxel_size)
        append_pvd(self._directory / SERIES, time_s, path)
        self.saved = (*(entry for entry in self.saved if entry[0] < time_s), (time_s, path.name))
        return path

    def fields(self, u: Floats, reference: float, evaluation: Evaluation) -> Mapping[str, NDArray[np.float32]]:
        """Fields by name on the voxels in case axes, float32."""
        cell, layout = self._cell, self._cell.layout
        reactive = cell.network.reactive
        x, n = u[layout.x], layout.n_solid
        with np.errstate(invalid="ignore"):  # no reacting face: 0 / 0, and no current density
            j = np.bincount(reactive.solid, reactive.area * evaluation.reaction.j, n) / np.bincount(
                reactive.solid, reactive.area, n
            )
        c_max = np.empty(n)
        for electrode in cell.electrodes:
            c_max[electrode.solid] = electrode.material.max_concentration
        values = {
            "c_e": (u[layout.c_e], "c_e"),
            "phi_e": (u[layout.phi_e], "c_e"),
            "c_s": (c_max * x, "x"),
            "x": (x, "x"),
            "phi_s": (absolute_phi_s(layout, u, reference), "phi_s"),
            "j": (j, "x"),
        }
        found = {name: self._on_grid(*values[name]) for name in self._names if name in values}
        if self._heat is not None and "heat" in self._names:
            heat = self._heat(u, evaluation)[self._cells].reshape(self._shape)
            found["heat"] = self._orientation.restore(heat.astype(np.float32))
        return found

    def _on_grid(self, values: Floats, cells: str) -> NDArray[np.float32]:
        selected, voxel = self._voxels[cells]
        field = np.full(self._shape, np.nan, np.float32)
        field.reshape(-1)[voxel] = values[selected]
        return self._orientation.restore(field)


class StackFields:
    """Writes fields of both electrodes of a full cell, each as a series of its own in the axes of its image.

    Parameters
    ----------
    writers
        Of the electrodes.

    Attributes
    ----------
    saved
        Times (s) and names of the files so far; the names are the same in both series.
    """

    def __init__(self, *writers: FieldWriter) -> None:
        self._writers = writers

    @property
    def saved(self) -> tuple[tuple[float, str], ...]:
        """Times (s) and names of the files so far."""
        return self._writers[0].saved

    def save(self, time_s: float, u: Floats, reference: float, evaluation: Evaluation) -> Path:
        """Writes the state at a time (s); returns the folder of both series."""
        paths = [writer.save(time_s, u, reference, evaluation) for writer in self._writers]
        return paths[0].parents[1]


def cut_series(directory: Path, saved: Sequence[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """The saved times (s) and files whose files are there, in a series of these alone; every other file is removed.

    A file that is gone, since somebody needed the room, leaves the series.
    """
    kept = tuple((time, name) for time, name in saved if (directory / name).is_file())
    names = {name for _, name in kept}
    for path in [*directory.glob("t_*.vti"), *directory.glob(".*.part.*")]:
        if path.name not in names:
            path.unlink()
    (directory / SERIES).unlink(missing_ok=True)
    for time, name in kept:
        append_pvd(directory / SERIES, time, directory / name)
    return kept


def _voxels(unknowns: Cells, cells: Cells, n_cells: int) -> tuple[Ints, Ints]:
    """The unknown of each voxel of the image that has one, and the flat voxel.

    unknowns: mesh cell of each unknown of a field. cells: mesh cell of each voxel.
    """
    unknown_of = np.full(n_cells, -1, np.int32)
    unknown_of[unknowns] = np.arange(unknowns.size, dtype=np.int32)
    of_voxel = unknown_of[cells]
    voxel = np.flatnonzero(of_voxel >= 0)
    return of_voxel[voxel].astype(np.intp), voxel


def _case_voxel_size(mesh: Mesh, orientation: Orientation, end: str) -> tuple[float, float, float]:
    """Edges of the voxels of the image at an end of the mesh, "low" or "high", in case axes, m."""
    edges = [2.0 * float(mesh.patches[f"{axis}-{end}"].distance[0]) for axis in AXES]
    lateral = edges[1:]
    lateral.insert(orientation.axis, edges[0])
    return lateral[0], lateral[1], lateral[2]
