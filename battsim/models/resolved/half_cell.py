"""The resolved half cell: a cell on the voxels of an electrode, opposite lithium metal."""

from __future__ import annotations

from battsim.models.cell.equations import Cell
from battsim.models.resolved.network import ResolvedNetwork, half_cell_network, networks_of
from battsim.models.resolved.parameters import HalfCellParameters
from battsim.threads import ALONE, Team
from meshing.mesh import Mesh


class HalfCell(Cell):
    """The resolved half cell on a mesh.

    Parameters
    ----------
    mesh
        Voxel mesh with interfaces of the active material; x runs from the counter electrode to the collector.
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
        Where no current can flow from the collector to the counter electrode.
    """

    network: ResolvedNetwork

    def __init__(self, mesh: Mesh, parameters: HalfCellParameters, team: Team = ALONE) -> None:
        self.parameters = parameters
        super().__init__(half_cell_network(mesh, parameters), parameters.materials, team)
        self.networks = networks_of(mesh, self.network)
