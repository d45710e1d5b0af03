"""Where in a meshed cell an unknown lies, in words: phase and depth."""

from __future__ import annotations

from battsim.models.cell.network import CellNetwork
from battsim.models.cell.places import Numbered
from battsim.models.cell.state import Layout
from battsim.models.resolved.network import SEPARATOR
from meshing.mesh import Mesh


class MeshPlaces(Numbered):
    """Words for the cells of a half cell or a full cell on a mesh.

    Parameters
    ----------
    network, layout
        Unknowns, and where they lie in the state.
    mesh
        Phases, and positions across the electrode.
    """

    def __init__(self, network: CellNetwork, layout: Layout, mesh: Mesh) -> None:
        super().__init__(layout)
        self._mesh = mesh
        self._cells = {
            "x": network.solid_cells,
            "c_e": network.electrolyte_cells,
            "phi_s": network.electronic_cells,
            "phi_e": network.electrolyte_cells,
        }
        in_front = mesh.volume[mesh.in_phase(SEPARATOR)].sum()
        before = 0.0
        self._full = len(network.electrodes) > 1
        if self._full:
            first = mesh.position[mesh.in_phase(SEPARATOR), 0].min()
            before = float(mesh.volume[mesh.position[:, 0] < first].sum()) / network.cross_section
        self._separator = before, before + float(in_front) / network.cross_section

    def of(self, field: str, index: int) -> str:
        """Place of an unknown of a field (x, c_e, phi_s or phi_e), counted within it."""
        cell = int(self._cells[field][index])
        phase = self._mesh.phases[self._mesh.phase[cell]]
        x, (start, end) = float(self._mesh.centre[cell, 0]), self._separator
        if phase == SEPARATOR and self._full:
            return f"the separator, {1e6 * (x - start):.1f} um from the negative electrode"
        if phase == SEPARATOR:
            return f"the separator, {1e6 * (end - x):.1f} um in front of the electrode"
        return f"a cell of {phase} {1e6 * (start - x if x < start else x - end):.1f} um from the separator"
