"""The resolved full cell: a cell on the voxels of two electrodes and the separator between them."""

from __future__ import annotations

from battsim.models.cell.equations import Cell
from battsim.models.cell.network import CellMaterials
from battsim.models.resolved.network import ResolvedNetwork, full_cell_network, networks_of
from battsim.models.resolved.parameters import FullCellParameters
from battsim.threads import ALONE, Team
from meshing.mesh import Mesh


class FullCell(Cell):
    """The resolved full cell on a mesh.

    Parameters
    ----------
    mesh
        Of `meshing.stack`, with interfaces of both active materials; x runs from the negative collector, which is the
        ground, to the positive one, which is the terminal.
    parameters
        Materials and conditions.
    team
        Threads that share the work; no result depends on their number.

    Attributes
    ----------
    networks
        Resistor network of each diagonal block, for preconditioning.

    Raises
    ------
    ImpossibleError
        Where no current can flow from one collector to the other.
    """

    network: ResolvedNetwork

    def __init__(self, mesh: Mesh, parameters: FullCellParameters, team: Team = ALONE) -> None:
        p = self.parameters = parameters
        materials = CellMaterials(p.electrolyte, None, p.temperature, p.salt)
        super().__init__(full_cell_network(mesh, parameters), materials, team)
        self.networks = networks_of(mesh, self.network)
