"""Where in a homogenised cell an unknown lies, in words: layer, depth, and radius in a particle."""

from __future__ import annotations

from battsim.models.cell.places import Numbered
from battsim.models.cell.state import Layout
from battsim.models.p2d.network import NEGATIVE, SEPARATOR, P2DNetwork


class LinePlaces(Numbered):
    """Words for the unknowns of a homogenised cell.

    Parameters
    ----------
    network, layout
        Unknowns, and where they lie in the state.
    """

    def __init__(self, network: P2DNetwork, layout: Layout) -> None:
        super().__init__(layout)
        self._network = network
        line = network.line
        edges = {name: line.centre[line.in_phase(name), 0] for name in line.phases}
        half = {name: 0.5 * float(line.volume[line.in_phase(name)][0]) for name in line.phases}
        self._start = {name: float(centres[0]) - half[name] for name, centres in edges.items()}
        self._end = {name: float(centres[-1]) + half[name] for name, centres in edges.items()}

    def of(self, field: str, index: int) -> str:
        """Place of an unknown of a field (x, c_e, phi_s or phi_e), counted within it."""
        network, line = self._network, self._network.line
        cells = {"x": network.solid_cells, "phi_s": network.electronic_cells}.get(field, network.electrolyte_cells)
        cell = int(cells[index])
        name, x = line.phases[line.phase[cell]], float(line.centre[cell, 0])
        if name == SEPARATOR:
            return f"the separator, {1e6 * (x - self._start[name]):.1f} um from its low end"
        depth = self._end[name] - x if name == NEGATIVE else x - self._start[name]
        electrode = f"the {name}" if len(network.electrodes) > 1 else "the working"
        radius = f", {1e6 * float(network.radius[index]):.2f} um from the middle of a particle" if field == "x" else ""
        return f"{electrode} electrode {1e6 * depth:.1f} um from the separator{radius}"
