"""The power that electrons and ions lose on every face of a cell: summed, its losses; in its place, its heat.

On a face that a current i passes, the potential falls by i / g among electrons and by i / K + beta ln(c_o / c_n) among
ions, and i times that fall is lost; the half cells in front of a reaction count as faces of their own. All in W, and
positive but for the ions' second part: a current down a gradient of the salt is driven by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.models.cell.equations import Cell, Evaluation

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ElectronicPower:
    """Power of the electrons in each list of faces, W.

    Attributes
    ----------
    faces
        Between electron conductors, contact resistances included.
    reactive
        Half cells of active material in front of the reaction.
    collector, ground
        At the collectors of the terminal and of a grounded electrode.
    """

    faces: Floats
    reactive: Floats
    collector: Floats
    ground: Floats

    @property
    def total(self) -> float:
        """Sum, W."""
        return float(self.faces.sum() + self.reactive.sum() + self.collector.sum() + self.ground.sum())


@dataclass(frozen=True, slots=True, eq=False)
class IonicPower:
    """Power of the ions in each list of faces, W.

    Attributes
    ----------
    faces
        Between cells that hold electrolyte.
    reactive, counter
        Half cells of electrolyte in front of the active material and of the counter electrode.
    """

    faces: Floats
    reactive: Floats
    counter: Floats

    @property
    def total(self) -> float:
        """Sum, W."""
        return float(self.faces.sum() + self.reactive.sum() + self.counter.sum())


def electronic_power(cell: Cell, u: Floats, evaluation: Evaluation) -> ElectronicPower:
    """Power i^2 / g that the electrons lose in a state u."""
    network, phi_s = cell.network, u[cell.layout.phi_s]
    faces, (at_collector, g_cc), (at_ground, g_0) = network.electronic_faces, network.collector, network.ground
    reactive = network.reactive
    return ElectronicPower(
        faces=faces.conductance * (phi_s[faces.owner] - phi_s[faces.neighbour]) ** 2,
        reactive=reactive.area * reactive.resistance * evaluation.reaction.j**2,
        collector=g_cc * (phi_s[at_collector] - u[cell.layout.V]) ** 2,
        ground=g_0 * phi_s[at_ground] ** 2,
    )


def ionic_powers(cell: Cell, u: Floats, evaluation: Evaluation) -> tuple[IonicPower, IonicPower]:
    """Power i^2 / K that the ions lose in a state u, and power i beta ln(c_o / c_n) that the salt's gradient takes."""
    network, c_e = cell.network, u[cell.layout.c_e]
    at_surfaces = []
    for faces, surface in ((network.reactive, evaluation.reaction), (network.counter, evaluation.counter)):
        i = faces.area * surface.j
        at_surfaces.append([i * drop for drop in cell.ionic_drop(faces, c_e, surface)])
    (ohmic, concentration), (counter_ohmic, counter_concentration) = at_surfaces
    return (
        IonicPower(evaluation.salt.ohmic, ohmic, counter_ohmic),
        IonicPower(evaluation.salt.concentration, concentration, counter_concentration),
    )
