"""A state of a cell in numbers, and running sums over the states of a run.

A driver takes a `snapshot` of each accepted state. `begin` starts the sums at the consistent start of every protocol
step, and `advance` carries them over a time step:

    now = snapshot(cell, time, u, reference, evaluation)
    tally = begin(now, current_scale, tally)            # tally: None before the first protocol step
    for step in integrate(...):
        now = snapshot(cell, step.time, step.u, step.reference, step.evaluation)
        tally = advance(tally, now, step.dt)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from battsim.models.cell.equations import Cell, Evaluation
from battsim.models.cell.network import Electrode
from battsim.post.heat import Heat, heat
from battsim.post.losses import Losses, losses, mean_stoichiometry
from battsim.solvers.bdf import implicit_rate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ElectrodeState:
    """An electrode in numbers.

    Attributes
    ----------
    sign
        1 where it takes up lithium in discharge, -1 where it gives it off.
    lithium
        Inventory of its active material as charge, C.
    x_mean, x_surface, outside_share
        Mean stoichiometry, its range over the reacting surface, and the share of that surface outside the fitted range.
    """

    sign: float
    lithium: float
    x_mean: float
    x_surface: tuple[float, float]
    outside_share: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state in numbers.

    Attributes
    ----------
    time, current, voltage
        s; A, positive in discharge; V.
    electrodes
        In the order of the through-plane axis; the last one is at the terminal.
    salt
        Inventory of the electrolyte as charge, C.
    c_e
        Range of the salt concentration, mol/m3.
    charge_imbalance
        Largest of the differences between the cell current and the currents through the electrodes' surfaces, A.
    plating_margin, plating_face
        Smallest phi_s - phi_e at the surface of the negative electrode, V, and the reactive face where it is; None in a
        half cell.
    losses
        None at rest.
    heat
        Heat, electrical work and energy released, W.
    """

    time: float
    current: float
    voltage: float
    electrodes: tuple[ElectrodeState, ...]
    salt: float
    c_e: tuple[float, float]
    charge_imbalance: float
    plating_margin: float | None
    losses: Losses | None
    heat: Heat
    plating_face: int | None = None

    @property
    def outside_share(self) -> float:
        """Largest share of an electrode's surface outside its fitted range."""
        return max(electrode.outside_share for electrode in self.electrodes)


@dataclass(frozen=True, slots=True)
class Plating:
    """How near lithium came to plating, or how far it went.

    Attributes
    ----------
    margin, time, face
        Smallest plating margin so far, V, when it was, s, and on which reactive face.
    below_zero
        When it first fell below 0, between two steps linear in time, s, and on which face; None where it did not.
    """

    margin: float
    time: float
    face: int
    below_zero: tuple[float, int] | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over a run up to its latest state.

    Attributes
    ----------
    charge
        Q = integral of I, by the integrator's own formula, C; positive in discharge.
    energy, heat
        Integrals of V I and of the heat given off, by trapezoids, J.
    throughput
        Integral of abs(I), C.
    charge_imbalance
        Largest so far, over the current scale.
    loss_mismatch, first_law_mismatch
        Of the losses' sum, and of the first law over the current scale, largest so far, V.
    outside_share, c_e
        Largest share of each electrode's surface outside the fitted range, and the range of salt concentration, so far.
    start, now
        First and latest state.
    current_scale
        A.
    recent
        Times (s) and charges (C) of the last two states of the protocol step: the history of the formula.
    plating
        Of the negative electrode; None in a half cell.
    """

    charge: float
    energy: float
    heat: float
    throughput: float
    charge_imbalance: float
    loss_mismatch: float
    first_law_mismatch: float
    outside_share: tuple[float, ...]
    c_e: tuple[float, float]
    start: Snapshot
    now: Snapshot
    current_scale: float
    recent: tuple[tuple[float, float], ...]
    plating: Plating | None = None

    @property
    def lithium_imbalance(self) -> float:
        """Largest change of an inventory beyond Q, over the charge exchanged; over the inventory where none was."""
        return max(
            abs(now.lithium - start.lithium - now.sign * self.charge) / (self.throughput or start.lithium)
            for now, start in zip(self.now.electrodes, self.start.electrodes, strict=True)
        )

    @property
    def salt_drift(self) -> float:
        """Change of the salt inventory over the inventory."""
        return abs(self.now.salt - self.start.salt) / self.start.salt


def snapshot(cell: Cell, time: float, u: Floats, reference: float, evaluation: Evaluation) -> Snapshot:
    """A converged state in numbers; `reference` (V) is what it is relative to."""
    layout, current, network = cell.layout, evaluation.current, cell.network
    c_e, i = u[layout.c_e], network.reactive.area * evaluation.reaction.j
    through = [electrode.sign * float(i[electrode.reactive].sum()) for electrode in cell.electrodes]
    if network.counter.area.size:
        through.append(-float(network.counter.area @ evaluation.counter.j))
    margin, face = _plating_margin(cell, evaluation)
    return Snapshot(
        time=time,
        current=current,
        voltage=float(u[layout.V]) + reference,
        electrodes=tuple(_electrode_state(cell, electrode, u, evaluation) for electrode in cell.electrodes),
        salt=float(cell.salt_capacity @ c_e),
        c_e=(float(c_e.min()), float(c_e.max())),
        charge_imbalance=max(abs(sum_of + current) for sum_of in through),
        plating_margin=margin,
        plating_face=face,
        losses=losses(cell, u, reference, evaluation),
        heat=heat(cell, u, reference, evaluation),
    )


def _electrode_state(cell: Cell, electrode: Electrode, u: Floats, evaluation: Evaluation) -> ElectrodeState:
    x_f, area = evaluation.reaction.x_surface[electrode.reactive], cell.network.reactive.area[electrode.reactive]
    low, high = electrode.material.fitted
    return ElectrodeState(
        sign=electrode.sign,
        lithium=float(cell.solid_capacity[electrode.solid] @ u[cell.layout.x][electrode.solid]),
        x_mean=mean_stoichiometry(cell, u, electrode),
        x_surface=(float(x_f.min()), float(x_f.max())),
        outside_share=float(area[(x_f < low) | (x_f > high)].sum() / area.sum()),
    )


def _plating_margin(cell: Cell, evaluation: Evaluation) -> tuple[float | None, int | None]:
    """Smallest phi_s - phi_e between the surface of the negative electrode and the electrolyte at it, V, and its face.

    eta + U is the potential behind the film: metallic lithium would form there.
    """
    if len(cell.electrodes) == 1:
        return None, None
    part = cell.electrodes[0].reactive
    margins = evaluation.reaction.eta[part] + evaluation.reaction.U[part]
    lowest = int(margins.argmin())
    return float(margins[lowest]), part.start + lowest


def begin(now: Snapshot, current_scale: float, earlier: Tally | None = None) -> Tally:
    """Sums at the consistent start of a protocol step, where current and voltage may jump.

    `current_scale` (A) is what imbalances are measured against; `earlier` holds the sums of the steps before.
    """
    if earlier is None:
        none = (0.0,) * len(now.electrodes)
        earlier = Tally(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, none, now.c_e, now, now, current_scale, ())
    return _seen(replace(earlier, current_scale=current_scale, recent=((now.time, earlier.charge),)), now)


def advance(tally: Tally, now: Snapshot, dt: float) -> Tally:
    """Sums after a time step of length dt (s) to a new state; a step of no length repeats the last one.

    The charge follows the variable-step BDF2 of the integrator, so that the inventory's change equals it to the
    tolerance of Newton, whatever the current does.
    """
    if dt == 0.0:
        return replace(tally, now=now)
    a, Q_star = implicit_rate([time for time, _ in tally.recent], [np.array([Q]) for _, Q in tally.recent], dt)
    Q = float(Q_star[0]) + now.current / a
    power = 0.5 * (tally.now.voltage * tally.now.current + now.voltage * now.current)
    summed = replace(
        tally,
        charge=Q,
        energy=tally.energy + power * dt,
        heat=tally.heat + 0.5 * (tally.now.heat.total + now.heat.total) * dt,
        throughput=tally.throughput + abs(Q - tally.charge),
        recent=(*tally.recent, (now.time, Q))[-2:],
    )
    return _seen(summed, now)


def _seen(tally: Tally, now: Snapshot) -> Tally:
    """The tally with a new latest state, and its extremes."""
    return replace(
        tally,
        charge_imbalance=max(tally.charge_imbalance, now.charge_imbalance / tally.current_scale),
        loss_mismatch=max(tally.loss_mismatch, abs(now.losses.mismatch) if now.losses else 0.0),
        first_law_mismatch=max(tally.first_law_mismatch, abs(now.heat.mismatch) / tally.current_scale),
        outside_share=tuple(
            max(share, electrode.outside_share)
            for share, electrode in zip(tally.outside_share, now.electrodes, strict=True)
        ),
        c_e=(min(tally.c_e[0], now.c_e[0]), max(tally.c_e[1], now.c_e[1])),
        now=now,
        plating=_plating_so_far(tally, now),
    )


def _plating_so_far(tally: Tally, now: Snapshot) -> Plating | None:
    """The plating of a tally with a new latest state."""
    margin, face, before = now.plating_margin, now.plating_face, tally.now
    if margin is None or face is None:
        return None
    found = tally.plating
    if found is None or margin < found.margin:
        found = Plating(margin, now.time, face, None if found is None else found.below_zero)
    if margin < 0.0 and found.below_zero is None:
        passed = max(before.plating_margin or 0.0, 0.0)
        found = replace(found, below_zero=(now.time - (now.time - before.time) * margin / (margin - passed), face))
    return found
