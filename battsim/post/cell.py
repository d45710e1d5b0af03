"""The curves and the numbers of a cell run: rows of its tables, running sums, and the summary with its checks.

A driver takes a `snapshot` of each accepted state. `begin` starts the sums at the consistent start of every protocol
step, and `advance` carries them over a time step:

    now = snapshot(cell, time, u, reference, evaluation)
    tally = begin(now, current_scale, tally)            # tally: None before the first protocol step
    for step in integrate(...):
        now = snapshot(cell, step.time, step.u, step.reference, step.evaluation)
        tally = advance(tally, now, step.dt)
        timeseries.append(timeseries_row(cell, k, now, tally))
        steps.append(steps_row(cell, k, step, now, current_scale))
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from battsim.constants import SECONDS_PER_HOUR
from battsim.materials.charge import soc_at_stoichiometry
from battsim.models.cell.equations import Cell, Evaluation
from battsim.models.cell.network import Electrode
from battsim.post.heat import HEATS, Heat, heat
from battsim.post.losses import Losses, losses, mean_stoichiometry
from battsim.solvers.bdf import implicit_rate
from battsim.solvers.stepping import Step

Floats = NDArray[np.float64]
Row = dict[str, float | int | None]

LARGEST_IMBALANCE = 1e-8
"""Past it in any of BALANCES no number stands."""
BALANCES = ("lithium_imbalance", "charge_imbalance", "salt_drift")
"""Of lithium over the charge exchanged, of current over the current scale, of salt over its inventory."""
LARGEST_MISMATCH = 1e-6
"""Of the losses' sum, and of the first law over the current scale, V."""
SATURATED = 0.5
"""Share of the reacting area outside the fitted range past which a voltage limit was met by saturating."""

LOSSES = ("electrolyte_ohmic", "electrolyte_concentration", "kinetics", "solid_diffusion", "electronic", "counter")
_COLUMNS = (
    "time_s",
    "step",
    "current_A_m2",
    "voltage_V",
    "capacity_Ah_m2",
    "energy_Wh_m2",
    "soc",
    "c_e_min_mol_m3",
    "c_e_max_mol_m3",
    "x_surf_min",
    "x_surf_max",
    "x_mean",
    "x_outside_fit_share",
    "temperature_K",
    *(f"loss_{name}_V" for name in LOSSES),
)
_OF_HEAT = (*(f"heat_{name}_W_m2" for name in HEATS), "heat_W_m2")
_OF_NEGATIVE = ("x_surf_min", "x_surf_max", "x_mean", "x_outside_fit_share")
PLATING = "plating_margin_V"
STEPS_COLUMNS = (
    "step",
    "time_s",
    "dt_s",
    "newton_iterations",
    "linear_iterations",
    "residual",
    "lithium_imbalance",
    "charge_imbalance",
    "rejected",
    "failed",
    "local_error",
)


def timeseries_columns(n_electrodes: int) -> tuple[str, ...]:
    """Columns of timeseries.csv; with two electrodes, those of x are the positive one's, and the negative one has more.

    `heat_W_m2` is what the cell gives off, the sum of the columns before it (`battsim.post.heat`).
    `plating_margin_V` is the smallest phi_s - phi_e at the surface of the negative electrode: below 0, lithium plates.
    """
    columns = (*_COLUMNS, *_OF_HEAT)
    if n_electrodes == 1:
        return columns
    return (*columns, *(f"{name}_negative" for name in _OF_NEGATIVE), PLATING)


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


def limiting_electrode(cell: Cell) -> int:
    """Number of the electrode that holds less charge: its state of charge is the cell's."""
    capacities = [cell.electrode_capacity(electrode) for electrode in cell.electrodes]
    return capacities.index(min(capacities))


def timeseries_row(cell: Cell, protocol_step: int, now: Snapshot, tally: Tally) -> Row:
    """Row of timeseries.csv.

    Losses are None at rest, and where they do not sum to U - V; heats are None where they do not close the first law.
    """
    area, limiting = cell.network.cross_section, limiting_electrode(cell)
    row: Row = {
        "time_s": now.time,
        "step": protocol_step,
        "current_A_m2": now.current / area,
        "voltage_V": now.voltage,
        "capacity_Ah_m2": tally.charge / SECONDS_PER_HOUR / area,
        "energy_Wh_m2": tally.energy / SECONDS_PER_HOUR / area,
        "soc": soc_at_stoichiometry(cell.electrodes[limiting].material, now.electrodes[limiting].x_mean),
        "c_e_min_mol_m3": now.c_e[0],
        "c_e_max_mol_m3": now.c_e[1],
        **_of_x(now.electrodes[-1]),
        "temperature_K": cell.materials.temperature,
    }
    sound = now.losses is not None and abs(now.losses.mismatch) <= LARGEST_MISMATCH
    row |= {f"loss_{name}_V": getattr(now.losses, name) if sound else None for name in LOSSES}
    closed = abs(now.heat.mismatch) <= LARGEST_MISMATCH * tally.current_scale
    heats = [*(getattr(now.heat, name) for name in HEATS), now.heat.total]
    row |= {name: value / area if closed else None for name, value in zip(_OF_HEAT, heats, strict=True)}
    if len(now.electrodes) == 1:
        return row
    negative = {f"{name}_negative": value for name, value in _of_x(now.electrodes[0]).items()}
    return row | negative | {PLATING: now.plating_margin}


def _of_x(electrode: ElectrodeState) -> Row:
    return {
        "x_surf_min": electrode.x_surface[0],
        "x_surf_max": electrode.x_surface[1],
        "x_mean": electrode.x_mean,
        "x_outside_fit_share": electrode.outside_share,
    }


def steps_row(cell: Cell, protocol_step: int, step: Step[Evaluation], now: Snapshot, current_scale: float) -> Row:
    """Row of steps.csv for a time step and the state that it ends in; imbalances in units of `current_scale` (A)."""
    # the implicit rate of each inventory against the current: what the discrete equations say exactly
    change = cell.solid_capacity * (step.u - step.u_star)[cell.layout.x]
    lithium = [abs(step.a * float(change[e.solid].sum()) - e.sign * step.current) for e in cell.electrodes]
    return {
        "step": protocol_step,
        "time_s": step.time,
        "dt_s": step.dt,
        "newton_iterations": step.newton_iterations,
        "linear_iterations": step.linear_iterations,
        "residual": step.residual,
        "lithium_imbalance": max(lithium) / current_scale if step.dt > 0.0 else None,
        "charge_imbalance": now.charge_imbalance / current_scale,
        "rejected": step.rejected,
        "failed": step.failed,
        "local_error": step.error,
    }


def stop_reason(reason: str, outside_share: float) -> str:
    """Why a run ended: a voltage limit met with most of the surface outside the fitted range is solid saturation."""
    return "solid saturation" if reason == "voltage" and outside_share > SATURATED else reason


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the summary says of the cell's geometry.

    Attributes
    ----------
    kind
        Of the model: "resolved" or "p2d".
    cells
        Of its mesh.
    thickness
        Of the electrodes without separator and collectors, m.
    active_mass
        Of all active material, connected or not, kg.
    active_disconnected_fraction
        Share of its volume that takes no part.
    warnings
        What the geometry calls for.
    """

    kind: str
    cells: int
    thickness: float
    active_mass: float
    active_disconnected_fraction: float
    warnings: tuple[str, ...] = ()


def summary(
    cell: Cell, geometry: Geometry, tally: Tally, *, protocol_step: int, reason: str, current_1C: float | None = None
) -> dict[str, Any]:
    """Content of summary.json; numbers that a failed balance discredits are None, with a warning that says so.

    Capacity and energy are net sums over the protocol, positive in discharge. Per mass they refer to all active
    material of the model, connected or not, at the density of its set.

    Parameters
    ----------
    cell, geometry
        The model, and what there is to say of its geometry.
    tally
        Sums up to the last state.
    protocol_step, reason
        Where in the protocol the run ended, and why as the integrator says.
    current_1C
        What 1 C means, A/m2; by default what connected and wetted active material holds.
    """
    area, mass = cell.network.cross_section, geometry.active_mass
    sound = all(getattr(tally, name) <= LARGEST_IMBALANCE for name in BALANCES)
    charge, energy = (value / SECONDS_PER_HOUR if sound else None for value in (tally.charge, tally.energy))
    closed = tally.first_law_mismatch <= LARGEST_MISMATCH
    return {
        "kind": geometry.kind,
        "stop": {
            "reason": stop_reason(reason, tally.now.outside_share),
            "step": protocol_step,
            "time_s": float(tally.now.time),
        },
        "capacity_Ah_m2": _over(charge, area),
        "capacity_mAh_g": _over(charge, mass),  # Ah/kg
        "energy_Wh_m2": _over(energy, area),
        "energy_Wh_kg_active": _over(energy, mass),
        "heat_Wh_m2": _over(tally.heat / SECONDS_PER_HOUR if sound and closed else None, area),
        "mean_voltage_V": _mean_voltage(charge, energy, tally),
        "current_1C_A_m2": cell.capacity / SECONDS_PER_HOUR / area if current_1C is None else current_1C,
        "electrode_area_m2": area,
        "thickness_m": geometry.thickness,
        "active_disconnected_fraction": geometry.active_disconnected_fraction,
        **{name: getattr(tally, name) for name in BALANCES},
        "first_law_mismatch_V": tally.first_law_mismatch,
        "cells": geometry.cells,
        "unknowns": cell.layout.size,
        "warnings": [*_failed_checks(tally), *_outside_ranges(cell, tally), *geometry.warnings],
        "baselines": {},
        "ladder": [],
    }


def _over(value: float | None, size: float) -> float | None:
    return None if value is None else value / size


def _mean_voltage(charge: float | None, energy: float | None, tally: Tally) -> float | None:
    """Energy over charge, V; None where charge and discharge cancel, so that it means nothing."""
    if charge is None or energy is None or abs(tally.charge) <= 1e-3 * tally.throughput:
        return None
    return energy / charge


def _failed_checks(tally: Tally) -> list[str]:
    found = []
    for name in BALANCES:
        value = getattr(tally, name)
        if not value <= LARGEST_IMBALANCE:
            found.append(
                f"{name} is {value:.1e}, allowed is {LARGEST_IMBALANCE:g}: capacity, energy and mean voltage are null, "
                "since the solution does not conserve; report this with the case"
            )
    if tally.loss_mismatch > LARGEST_MISMATCH:
        found.append(
            f"the losses miss U - V by up to {tally.loss_mismatch:.1e} V, allowed is {LARGEST_MISMATCH:g} V: "
            "they are left empty in timeseries.csv there"
        )
    if tally.first_law_mismatch > LARGEST_MISMATCH:
        found.append(
            f"work and heat miss the energy released by up to {tally.first_law_mismatch:.1e} V of the current, allowed "
            f"is {LARGEST_MISMATCH:g} V: heats are left empty in timeseries.csv there, and heat_Wh_m2 is null"
        )
    return found


def _outside_ranges(cell: Cell, tally: Tally) -> list[str]:
    found = []
    for electrode, share in zip(cell.electrodes, tally.outside_share, strict=True):
        material = electrode.material
        if share > 0.0:
            found.append(
                f"up to {share:.1%} of the reacting surface was outside the range x = {material.fitted[0]:g} "
                f"to {material.fitted[1]:g} in which '{material.name}' was fitted; U continues there by its end slope"
            )
    electrolyte = cell.materials.electrolyte
    low, high = electrolyte.fitted
    if tally.c_e[0] < low or tally.c_e[1] > high:
        found.append(
            f"c_e ran from {tally.c_e[0]:.0f} to {tally.c_e[1]:.0f} mol/m3; '{electrolyte.name}' was fitted from "
            f"{low:g} to {high:g} mol/m3"
        )
    return found
