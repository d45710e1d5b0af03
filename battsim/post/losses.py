"""Where the voltage goes: the losses of a cell from the power that each part of it takes.

With w = -A j / I (positive in discharge where lithium is taken up; sum 1 over a working or positive electrode and -1
over a negative one) and the same letters as in the model, the terminal voltage is, without approximation,

    V = sum w (phi_e,f + U(x_f) + eta + j R_film) - electronic.

The power balance of the electrons, sum over all cells of phi_s times their row, gives

    electronic = (sum i_s^2 / g  +  sum i_cc^2 / g_cc  +  sum A j^2 d_s / sigma) / I,

over faces between electron conductors, faces at the collectors, and half cells in front of the reaction; and that of
the ions, with i (phi_o - phi_n) = i^2 / K + i beta ln(c_o / c_n) on each face, gives
sum w phi_e,f = - ohmic - concentration - counter with

    ohmic         = (sum i^2 / K                +  sum A j^2 d_e / (b kappa)) / I
    concentration = (sum i beta ln(c_o / c_n)   +  sum A j beta ln(c_f / c_e)) / I
    counter       = - sum A_Li j_Li phi_e,f / I = sum A_Li j_Li eta_Li / I

where the second sums run over the reactive and the counter faces. The other two follow directly,

    kinetics        = - sum w (eta + j R_film)
    solid_diffusion =   sum w (U(x_mean) - U(x_f)),

and all six sum to U - V with U = sum w U(x_mean), the difference of the electrodes' potentials. In rest they have no
meaning: no current, but a voltage that still relaxes.
J. Newman and K. E. Thomas-Alyea, Electrochemical Systems, 3rd ed., chapter 22; V. Srinivasan and J. Newman,
J. Electrochem. Soc. 151 (2004) A1530, split the losses of a discharge in this way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from battsim.constants import SECONDS_PER_HOUR
from battsim.materials.charge import potential_at
from battsim.models.cell.equations import Cell, Evaluation
from battsim.models.cell.network import Electrode
from battsim.post.powers import electronic_power, ionic_powers

Floats = NDArray[np.float64]

SMALLEST_RATE = 1e-6
"""C-rate below which the cell counts as at rest."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of a cell, V: positive where they lower its voltage, so negative in charge.

    Attributes
    ----------
    electrolyte_ohmic, electrolyte_concentration
        Ionic resistance, and the diffusion potential of the salt gradient, counter electrode's side included.
    kinetics
        Surface overpotential and film of the active materials.
    solid_diffusion
        Open-circuit potential of the mean minus that of the surface composition.
    electronic
        Resistance of active material, binder, their contact and the collectors'.
    counter
        Surface overpotential of the counter electrode.
    open_circuit
        U at the mean stoichiometry of the working electrode, or its difference of positive and negative, V.
    voltage
        Terminal voltage, V.
    """

    electrolyte_ohmic: float
    electrolyte_concentration: float
    kinetics: float
    solid_diffusion: float
    electronic: float
    counter: float
    open_circuit: float
    voltage: float

    @property
    def total(self) -> float:
        """Sum of all losses, V."""
        electrolyte = self.electrolyte_ohmic + self.electrolyte_concentration
        return electrolyte + self.kinetics + self.solid_diffusion + self.electronic + self.counter

    @property
    def mismatch(self) -> float:
        """Sum of the losses minus U - V, V: zero but for what Newton and round-off left."""
        return self.total - (self.open_circuit - self.voltage)


def losses(cell: Cell, u: Floats, reference: float, evaluation: Evaluation) -> Losses | None:
    """Losses in a converged state; None at rest.

    Parameters
    ----------
    cell
        The model.
    u, reference
        State, and the potential that its phi_s and V are relative to, V.
    evaluation
        The model's evaluation of this state, with the cell current.
    """
    current = evaluation.current
    if abs(current) < SMALLEST_RATE * cell.capacity / SECONDS_PER_HOUR:
        return None
    reaction, counter, i = evaluation.reaction, evaluation.counter, cell.network.reactive.area * evaluation.reaction.j
    ohmic, concentration = (power.total for power in ionic_powers(cell, u, evaluation))
    kinetics, solid_diffusion, open_circuit = 0.0, 0.0, 0.0
    for electrode in cell.electrodes:
        material, part = electrode.material, electrode.reactive
        U_mean = potential_at(material, mean_stoichiometry(cell, u, electrode), cell.materials.temperature)
        surface = reaction.eta[part] + reaction.j[part] * material.film_resistance
        kinetics += float(i[part] @ surface)
        solid_diffusion += float(i[part] @ (reaction.U[part] - U_mean))
        open_circuit += electrode.sign * U_mean
    return Losses(
        electrolyte_ohmic=ohmic / current,
        electrolyte_concentration=concentration / current,
        kinetics=kinetics / current,
        solid_diffusion=solid_diffusion / current,
        electronic=electronic_power(cell, u, evaluation).total / current,
        counter=float((cell.network.counter.area * counter.j) @ counter.eta) / current,
        open_circuit=open_circuit,
        voltage=float(u[cell.layout.V]) + reference,
    )


def mean_stoichiometry(cell: Cell, u: Floats, electrode: Electrode) -> float:
    """Mean of x over the volume of an electrode's active material."""
    volume = cell.network.solid_volume[electrode.solid]
    return float(volume @ u[cell.layout.x][electrode.solid] / volume.sum())
