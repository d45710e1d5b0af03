"""Which potentials an electrode determines: connected components of the joint potential graph.

Nodes are phi_s of the electron conductors, phi_e of the ion conductors, the grounded counter electrode and the
terminal. Edges are conduction faces, reactive faces, and the faces of both electrodes. A component without the
counter electrode has no reference: its linear system is singular, so its nodes are left out. A wetted cluster of
active material without electronic path hangs on its reactive faces: it floats and stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.errors import ImpossibleError
from battsim.fvm.operators import graph_components
from meshing.mesh import Interface, Mesh

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Conductors:
    """Cells that conduct, and the reactive pairs between them.

    Attributes
    ----------
    electronic, ionic
        Cells that hold phi_s and phi_e, shape (n_cells,).
    reactive
        Interfaces whose first side is the active material and whose second side conducts ions.
    """

    electronic: Bools
    ionic: Bools
    reactive: tuple[Interface, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Cells of one phase whose potential no path ties to the counter electrode."""

    phase: str
    potential: str
    cells: int
    volume_share: float


@dataclass(frozen=True, slots=True, eq=False)
class Determined:
    """Cells whose potentials are determined, and what was left out.

    Attributes
    ----------
    electronic, ionic
        Cells with a determined phi_s and phi_e, shape (n_cells,).
    at_collector
        Cells whose phi_s reaches the collector through electron conductors alone, shape (n_cells,).
    at_counter
        Cells whose phi_e reaches the counter electrode through ion conductors alone, shape (n_cells,).
    left_out
        Per phase and potential.
    """

    electronic: Bools
    ionic: Bools
    at_collector: Bools
    at_counter: Bools
    left_out: tuple[LeftOut, ...]


def determined_potentials(mesh: Mesh, conductors: Conductors, counter: str, collector: str) -> Determined:
    """Nodes of the joint potential graph that the grounded counter electrode reaches.

    Raises
    ------
    ImpossibleError
        Where the collector has no path to the counter electrode: no current can flow.
    """
    n = mesh.n_cells
    terminal, ground = 2 * n, 2 * n + 1
    electronic, ionic = conductors.electronic, conductors.ionic
    counter_cells = mesh.patches[counter].cells[ionic[mesh.patches[counter].cells]]
    collector_cells = mesh.patches[collector].cells[electronic[mesh.patches[collector].cells]]
    solid = electronic[mesh.owner] & electronic[mesh.neighbour]
    liquid = ionic[mesh.owner] & ionic[mesh.neighbour]
    own = [(mesh.owner[solid], mesh.neighbour[solid]), (mesh.owner[liquid] + n, mesh.neighbour[liquid] + n)]
    own.append((collector_cells, np.full_like(collector_cells, terminal)))
    own.append((counter_cells + n, np.full_like(counter_cells, ground)))
    across = [(pair.first, pair.second + n) for pair in conductors.reactive]
    separate, joint = _components(own, 2 * n + 2), _components(own + across, 2 * n + 2)
    if joint[terminal] != joint[ground]:
        raise ImpossibleError(_why_no_path(mesh, conductors, separate, counter_cells, collector_cells))
    grounded = joint == joint[ground]
    left = [
        _left_out(mesh, potential, name, cells & ~grounded[start : start + n] & mesh.in_phase(name))
        for potential, cells, start in (("phi_s", electronic, 0), ("phi_e", ionic, n))
        for name in mesh.phases
    ]
    return Determined(
        electronic=electronic & grounded[:n],
        ionic=ionic & grounded[n : 2 * n],
        at_collector=electronic & (separate[:n] == separate[terminal]),
        at_counter=ionic & (separate[n : 2 * n] == separate[ground]),
        left_out=tuple(item for item in left if item.cells),
    )


def _components(edges: list[tuple[NDArray[np.int32], NDArray[np.int32]]], n_nodes: int) -> NDArray[np.int32]:
    """Component of each node of the graph that several lists of edges make together, shape (n_nodes,)."""
    first, second = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    return graph_components(first, second, n_nodes)


def _left_out(mesh: Mesh, potential: str, name: str, cells: Bools) -> LeftOut:
    volume = mesh.volume[mesh.in_phase(name)].sum()
    share = float(mesh.volume[cells].sum() / volume) if volume > 0 else 0.0
    return LeftOut(name, potential, int(np.count_nonzero(cells)), share)


def _why_no_path(
    mesh: Mesh,
    conductors: Conductors,
    separate: NDArray[np.int32],
    counter_cells: NDArray[np.int32],
    collector_cells: NDArray[np.int32],
) -> str:
    """The first link that is missing on the way from the collector to the counter electrode."""
    if collector_cells.size == 0:
        return (
            "no active material or binder touches the current collector (high end of the through-plane axis), so no "
            "electron can leave the electrode; check [image] through_plane, separator_side, crop and labels"
        )
    if counter_cells.size == 0:
        return (
            "no electrolyte touches the counter electrode (low end of the through-plane axis); give "
            "[materials.separator] a thickness, or check [image] through_plane and labels"
        )
    if sum(pair.first.size for pair in conductors.reactive) == 0:
        return (
            "the active material touches no electrolyte: there is no face between active and pore, nano-porous binder "
            "or separator where lithium could react; check [image] labels and [materials.binder] transport"
        )
    n = mesh.n_cells
    reached = separate[mesh.n_cells : 2 * n] == separate[2 * n + 1]
    depth = float((mesh.centre[reached & conductors.ionic, 0]).max()) if reached.any() else 0.0
    return (
        "no reactive face joins the electrons' path from the collector to the ions' path from the counter electrode; "
        f"electrolyte connected to the separator reaches x = {1e6 * depth:.1f} um of "
        f"{1e6 * float(mesh.centre[:, 0].max()):.1f} um; use a larger crop, or check [image] labels and through_plane"
    )
