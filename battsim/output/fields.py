"""Fields of a half cell on the voxels of its electrode, saved while a run goes on.

Each saved time becomes a .vti file in case axes, and `fields.pvd` lists them by time; ParaView opens it at any moment.
A field is NaN outside its phases and in cells that were left out. The separator's layers are graded and belong to no
voxel of the image: they are not written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from battsim.errors import CaseError
from battsim.models.cell.equations import Evaluation
from battsim.models.resolved.half_cell import HalfCell
from meshing.image import AXES, Orientation
from meshing.mesh import Mesh
from meshing.write import append_pvd, write_vti

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

UNITS = {"c_e": "mol.m-3", "phi_e": "V", "c_s": "mol.m-3", "x": "1", "phi_s": "V", "j": "A.m-2"}
"""Fields and their units; j is the reaction current over the true reacting surface of an active voxel."""
SERIES = "fields.pvd"


class FieldWriter:
    """Writes fields of a half cell at chosen times.

    Parameters
    ----------
    directory
        Made where it is missing.
    fields
        Names among c_e, phi_e, c_s, x, phi_s, j; c_s brings x with it.
    cell, mesh
        The model, and its mesh in cell axes with the separator's layers in front.
    n_layers
        Number of these layers.
    orientation
        How the image was turned into cell axes; the files are in case axes.
    saved
        Times (s) and names of the files that are there already and stay; all others of the series are removed.

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
        cell: HalfCell,
        mesh: Mesh,
        *,
        n_layers: int,
        orientation: Orientation,
        saved: Sequence[tuple[float, str]] = (),
    ) -> None:
        unknown = [name for name in fields if name not in UNITS]
        if unknown:
            raise CaseError(f"output.fields: '{unknown[0]}' is no field; choose from {', '.join(UNITS)}")
        wanted = {*fields, "x"} if "c_s" in fields else set(fields)
        self._names = [name for name in UNITS if name in wanted]
        self._directory, self._cell, self._orientation = directory, cell, orientation
        n_x, n_y, n_z = mesh.grid_shape
        self._shape = (n_x - n_layers, n_y, n_z)
        first = n_layers * n_y * n_z
        self._phase = orientation.restore(mesh.phase[first:].reshape(self._shape))
        self._voxel_size = _case_voxel_size(mesh, orientation)
        network = cell.network
        self._voxels = {
            "x": _voxels(network.solid_cells, first),
            "c_e": _voxels(network.electrolyte_cells, first),
            "phi_s": _voxels(network.electronic_cells, first),
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
        values = {
            "c_e": (u[layout.c_e], "c_e"),
            "phi_e": (u[layout.phi_e], "c_e"),
            "c_s": (cell.parameters.active.max_concentration * x, "x"),
            "x": (x, "x"),
            "phi_s": (u[layout.phi_s] + reference, "phi_s"),
            "j": (j, "x"),
        }
        return {name: self._on_grid(*values[name]) for name in self._names}

    def _on_grid(self, values: Floats, cells: str) -> NDArray[np.float32]:
        selected, voxel = self._voxels[cells]
        field = np.full(self._shape, np.nan, np.float32)
        field.reshape(-1)[voxel] = values[selected]
        return self._orientation.restore(field)


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


def _voxels(cells: NDArray[np.int32], first: int) -> tuple[Ints, Ints]:
    """Which of a field's unknowns lie in the image, and the flat voxel of each."""
    selected = np.flatnonzero(cells >= first)
    return selected, cells[selected].astype(np.intp) - first


def _case_voxel_size(mesh: Mesh, orientation: Orientation) -> tuple[float, float, float]:
    """Edges of the image's voxels in case axes, m."""
    edges = [2.0 * float(mesh.patches[f"{axis}-high"].distance[0]) for axis in AXES]
    lateral = edges[1:]
    lateral.insert(orientation.axis, edges[0])
    return lateral[0], lateral[1], lateral[2]
