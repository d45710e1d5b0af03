"""Where in a cell an unknown lies, in words: for messages about what went wrong, and where the physics ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from battsim.models.resolved.network import SEPARATOR, HalfCellNetwork
from battsim.models.resolved.state import Layout
from meshing.mesh import Mesh

Floats = NDArray[np.float64]


class Places:
    """Words for the cells of a half cell.

    Parameters
    ----------
    network, layout
        Unknowns, and where they lie in the state.
    mesh
        Phases, and positions across the electrode; without it a cell is told by its number.
    """

    def __init__(self, network: HalfCellNetwork, layout: Layout, mesh: Mesh | None) -> None:
        self._layout, self._mesh = layout, mesh
        self._cells = {
            "x": network.solid_cells,
            "c_e": network.electrolyte_cells,
            "phi_s": network.electronic_cells,
            "phi_e": network.electrolyte_cells,
        }
        self._start = 0.0
        if mesh is not None:
            self._start = float(mesh.volume[mesh.in_phase(SEPARATOR)].sum()) / network.cross_section

    def of_unknown(self, index: int) -> str:
        """Field and place of an entry of the state."""
        for field in self._cells:
            part: slice = getattr(self._layout, field)
            if part.start <= index < part.stop:
                return f"{field} of {self.of(field, index - part.start)}"
        return "the terminal voltage"

    def of(self, field: str, index: int) -> str:
        """Place of an unknown of a field (x, c_e, phi_s or phi_e), counted within it."""
        cell = int(self._cells[field][index])
        if self._mesh is None:
            return f"cell {cell}"
        phase = self._mesh.phases[self._mesh.phase[cell]]
        depth = 1e6 * (float(self._mesh.centre[cell, 0]) - self._start)
        if phase == SEPARATOR:
            return f"the separator, {-depth:.1f} um in front of the electrode"
        return f"a cell of {phase} {depth:.1f} um from the separator"
