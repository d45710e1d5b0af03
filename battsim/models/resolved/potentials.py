"""Which potentials a cell determines: connected components of the joint potential graph.

Nodes are phi_s of the electron conductors, phi_e of the ion conductors, the ground and the terminal. Edges are
conduction faces, reactive faces, and the faces at both ends: the ground is a counter electrode, which ions reach, or
the collector of a negative electrode, which electrons reach. A component without the ground has no reference: its
linear system is singular, so its nodes are left out. A wetted cluster of active material without electronic path hangs
on its reactive faces: it floats and stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from battsim.errors import ImpossibleError
from battsim.fvm.operators import graph_components
from meshing.mesh import Interface, Ints, Mesh

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


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Where current enters and leaves.

    Attributes
    ----------
    terminal
        Electron conductors at the collector of the terminal, shape (n,).
    ground, grounded
        Cells at the ground, shape (n,), and which potential of theirs it holds: "phi_e" at a counter electrode,
        "phi_s" at the collector of a negative electrode.
    opposite
        Electrolyte from which an electrode must be reached for its capacity to count, shape (n,): at the counter
        electrode, or in the separator of a full cell.
    """

    terminal: Ints
    ground: Ints
    grounded: Literal["phi_s", "phi_e"]
    opposite: Ints


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Cells of one phase whose potential no path ties to the ground."""

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
        Cells whose phi_s reaches a collector through electron conductors alone, shape (n_cells,).
    at_counter
        Cells whose phi_e reaches the counter electrode, or the separator of a full cell, through ion conductors alone,
        shape (n_cells,).
    left_out
        Per phase and potential.
    """

    electronic: Bools
    ionic: Bools
    at_collector: Bools
    at_counter: Bools
    left_out: tuple[LeftOut, ...]


def determined_potentials(mesh: Mesh, conductors: Conductors, ends: Ends) -> Determined:
    """Nodes of the joint potential graph that the ground reaches.

    Raises
    ------
    ImpossibleError
        Where the terminal has no path to the ground: no current can flow.
    """
    n = mesh.n_cells
    terminal, ground, opposite = 2 * n, 2 * n + 1, 2 * n + 2
    electronic, ionic = conductors.electronic, conductors.ionic
    solid = electronic[mesh.owner] & electronic[mesh.neighbour]
    liquid = ionic[mesh.owner] & ionic[mesh.neighbour]
    own = [(mesh.owner[solid], mesh.neighbour[solid]), (mesh.owner[liquid] + n, mesh.neighbour[liquid] + n)]
    own.append((ends.terminal, np.full_like(ends.terminal, terminal)))
    own.append((ends.ground + (n if ends.grounded == "phi_e" else 0), np.full_like(ends.ground, ground)))
    own.append((ends.opposite + n, np.full_like(ends.opposite, opposite)))
    across = [(pair.first, pair.second + n) for pair in conductors.reactive]
    separate, joint = _components(own, 2 * n + 3), _components(own + across, 2 * n + 3)
    if joint[terminal] != joint[ground]:
        raise ImpossibleError(_why_no_path(mesh, conductors, separate, ends))
    grounded = joint == joint[ground]
    left = [
        _left_out(mesh, potential, name, cells & ~grounded[start : start + n] & mesh.in_phase(name))
        for potential, cells, start in (("phi_s", electronic, 0), ("phi_e", ionic, n))
        for name in mesh.phases
    ]
    return Determined(
        electronic=electronic & grounded[:n],
        ionic=ionic & grounded[n : 2 * n],
        at_collector=electronic & np.isin(separate[:n], (separate[terminal], separate[ground])),
        at_counter=ionic & (separate[n : 2 * n] == separate[opposite]),
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


def _why_no_path(mesh: Mesh, conductors: Conductors, separate: NDArray[np.int32], ends: Ends) -> str:
    """The first link that is missing on the way from the terminal to the ground."""
    if ends.grounded == "phi_s":
        return _why_no_path_between_collectors(mesh, conductors, separate, ends)
    if ends.terminal.size == 0:
        return (
            "no active material or binder touches the current collector (high end of the through-plane axis), so no "
            "electron can leave the electrode; check [image] through_plane, separator_side, crop and labels"
        )
    if ends.ground.size == 0:
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
    reached = separate[mesh.n_cells : 2 * n] == separate[2 * n + 2]
    depth = float((mesh.centre[reached & conductors.ionic, 0]).max()) if reached.any() else 0.0
    return (
        "no reactive face joins the electrons' path from the collector to the ions' path from the counter electrode; "
        f"electrolyte connected to the separator reaches x = {1e6 * depth:.1f} um of "
        f"{1e6 * float(mesh.centre[:, 0].max()):.1f} um; use a larger crop, or check [image] labels and through_plane"
    )


def _why_no_path_between_collectors(mesh: Mesh, conductors: Conductors, separate: NDArray[np.int32], ends: Ends) -> str:
    """The electrode that interrupts the way through a full cell, and how; the negative one where both do."""
    n = mesh.n_cells
    wet = separate[n : 2 * n] == separate[2 * n + 2]
    for name, at_collector, node in (("negative", ends.ground, 2 * n + 1), ("positive", ends.terminal, 2 * n)):
        if at_collector.size == 0:
            return (
                f"no active material or binder of the {name} electrode touches its current collector, so no electron "
                f"can leave it; check [{name}.image] through_plane, separator_side, crop and labels"
            )
        reached = separate[:n] == separate[node]
        own = [pair for pair in conductors.reactive if reached[pair.first].any()]
        if not any((reached[pair.first] & wet[pair.second]).any() for pair in own):
            return (
                f"no reactive face of the {name} electrode joins the electrons' path from its collector to the ions' "
                f"path from the separator; use a larger crop, or check [{name}.image] labels and through_plane and "
                f"[{name}.materials.binder] transport"
            )
    raise AssertionError("both electrodes are joined to the separator, and so to each other")
