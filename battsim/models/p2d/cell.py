"""The homogenised cell: the equations of every cell on a line with spherical particles."""

from __future__ import annotations

from battsim.models.cell.equations import Cell
from battsim.models.p2d.network import P2DNetwork, p2d_network
from battsim.models.p2d.parameters import P2DGrid, P2DParameters


class P2DCell(Cell):
    """The model of Doyle, Fuller and Newman, per m2 of electrode.

    Parameters
    ----------
    parameters
        Electrodes, separator, electrolyte.
    grid
        Cells across each layer, and shells of the particles.
    """

    network: P2DNetwork

    def __init__(self, parameters: P2DParameters, grid: P2DGrid | None = None) -> None:
        self.parameters, self.grid = parameters, grid or P2DGrid()
        super().__init__(p2d_network(parameters, self.grid), parameters.materials)
