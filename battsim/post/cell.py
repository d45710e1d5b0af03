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
from battsim.models.resolved.equations import Evaluation, HalfCell
from battsim.models.resolved.network import ACTIVE, SEPARATOR
from battsim.post.losses import Losses, losses, mean_stoichiometry
from battsim.solvers.bdf import implicit_rate
from battsim.solvers.stepping import Step
from meshing.areas import FLOOR
from meshing.mesh import Mesh

Floats = NDArray[np.float64]
Row = dict[str, float | int | None]

LARGEST_IMBALANCE = 1e-8
"""Past it in any of BALANCES no number stands."""
BALANCES = ("lithium_imbalance", "charge_imbalance", "salt_drift")
"""Of lithium over the charge exchanged, of current over the current scale, of salt over its inventory."""
LARGEST_MISMATCH = 1e-6
"""Of the losses' sum, V."""
SATURATED = 0.5
"""Share of the reacting area outside the fitted range past which a voltage limit was met by saturating."""

LOSSES = ("electrolyte_ohmic", "electrolyte_concentration", "kinetics", "solid_diffusion", "electronic", "counter")
TIMESERIES_COLUMNS = (
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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state in numbers.

    Attributes
    ----------
    time, current, voltage
        s; A, positive in discharge; V.
    lithium, salt
        Inventories of active material and of electrolyte as charge, C.
    x_mean, x_surface, outside_share
        Mean stoichiometry, its range over the reacting surface, and the share of that surface outside the fitted range.
    c_e
        Range of the salt concentration, mol/m3.
    charge_imbalance
        Larger of the differences between the cell current and the currents through the two electrodes' surfaces, A.
    losses
        None at rest.
    """

    time: float
    current: float
    voltage: float
    lithium: float
    salt: float
    x_mean: float
    x_surface: tuple[float, float]
    outside_share: float
    c_e: tuple[float, float]
    charge_imbalance: float
    losses: Losses | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over a run up to its latest state.

    Attributes
    ----------
    charge
        Q = integral of I, by the integrator's own formula, C; positive in discharge.
    energy
        Integral of V I, by trapezoids, J.
    throughput
        Integral of abs(I), C.
    charge_imbalance
        Largest so far, over the current scale.
    loss_mismatch
        Largest so far, V.
    outside_share, c_e
        Largest share of surface outside the fitted range, and the range of salt concentration, so far.
    start, now
        First and latest state.
    current_scale
        A.
    recent
        Times (s) and charges (C) of the last two states of the protocol step: the history of the formula.
    """

    charge: float
    energy: float
    throughput: float
    charge_imbalance: float
    loss_mismatch: float
    outside_share: float
    c_e: tuple[float, float]
    start: Snapshot
    now: Snapshot
    current_scale: float
    recent: tuple[tuple[float, float], ...]

    @property
    def lithium_imbalance(self) -> float:
        """Change of the inventory minus Q, over the charge exchanged; over the inventory where none was."""
        scale = self.throughput or self.start.lithium
        return abs(self.now.lithium - self.start.lithium - self.charge) / scale

    @property
    def salt_drift(self) -> float:
        """Change of the salt inventory over the inventory."""
        return abs(self.now.salt - self.start.salt) / self.start.salt


def snapshot(cell: HalfCell, time: float, u: Floats, reference: float, evaluation: Evaluation) -> Snapshot:
    """A converged state in numbers; `reference` (V) is what its phi_s and V are relative to."""
    layout, reaction, counter = cell.layout, evaluation.reaction, evaluation.counter
    x_f, c_e, current = reaction.x_surface, u[layout.c_e], evaluation.current
    low, high = cell.parameters.active.fitted
    area = cell.network.reactive.area
    through = (float(area @ reaction.j), -float(cell.network.counter.area @ counter.j))
    return Snapshot(
        time=time,
        current=current,
        voltage=float(u[layout.V]) + reference,
        lithium=float(cell.solid_capacity @ u[layout.x]),
        salt=float(cell.salt_capacity @ c_e),
        x_mean=mean_stoichiometry(cell, u),
        x_surface=(float(x_f.min()), float(x_f.max())),
        outside_share=float(area[(x_f < low) | (x_f > high)].sum() / area.sum()),
        c_e=(float(c_e.min()), float(c_e.max())),
        charge_imbalance=max(abs(i + current) for i in through),
        losses=losses(cell, u, reference, evaluation),
    )


def begin(now: Snapshot, current_scale: float, earlier: Tally | None = None) -> Tally:
    """Sums at the consistent start of a protocol step, where current and voltage may jump.

    `current_scale` (A) is what imbalances are measured against; `earlier` holds the sums of the steps before.
    """
    if earlier is None:
        earlier = Tally(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, now.c_e, now, now, current_scale, ())
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
        outside_share=max(tally.outside_share, now.outside_share),
        c_e=(min(tally.c_e[0], now.c_e[0]), max(tally.c_e[1], now.c_e[1])),
        now=now,
    )


def timeseries_row(cell: HalfCell, protocol_step: int, now: Snapshot, tally: Tally) -> Row:
    """Row of timeseries.csv; losses are None at rest, and where they do not sum to U(x_mean) - V."""
    area, active = cell.network.cross_section, cell.parameters.active
    row: Row = {
        "time_s": now.time,
        "step": protocol_step,
        "current_A_m2": now.current / area,
        "voltage_V": now.voltage,
        "capacity_Ah_m2": tally.charge / SECONDS_PER_HOUR / area,
        "energy_Wh_m2": tally.energy / SECONDS_PER_HOUR / area,
        "soc": soc_at_stoichiometry(active, now.x_mean),
        "c_e_min_mol_m3": now.c_e[0],
        "c_e_max_mol_m3": now.c_e[1],
        "x_surf_min": now.x_surface[0],
        "x_surf_max": now.x_surface[1],
        "x_mean": now.x_mean,
        "x_outside_fit_share": now.outside_share,
        "temperature_K": cell.parameters.temperature,
    }
    sound = now.losses is not None and abs(now.losses.mismatch) <= LARGEST_MISMATCH
    return row | {f"loss_{name}_V": getattr(now.losses, name) if sound else None for name in LOSSES}


def steps_row(cell: HalfCell, protocol_step: int, step: Step[Evaluation], now: Snapshot, current_scale: float) -> Row:
    """Row of steps.csv for a time step and the state that it ends in; imbalances in units of `current_scale` (A)."""
    x = cell.layout.x
    # the implicit rate of the inventory against the current: what the discrete equations say exactly
    rate = step.a * float(cell.solid_capacity @ (step.u[x] - step.u_star[x]))
    return {
        "step": protocol_step,
        "time_s": step.time,
        "dt_s": step.dt,
        "newton_iterations": step.newton_iterations,
        "linear_iterations": step.linear_iterations,
        "residual": step.residual,
        "lithium_imbalance": abs(rate - step.current) / current_scale if step.dt > 0.0 else None,
        "charge_imbalance": now.charge_imbalance / current_scale,
        "rejected": step.rejected,
        "failed": step.failed,
        "local_error": step.error,
    }


def stop_reason(reason: str, outside_share: float) -> str:
    """Why a run ended: a voltage limit met with most of the surface outside the fitted range is solid saturation."""
    return "solid saturation" if reason == "voltage" and outside_share > SATURATED else reason


def summary(
    cell: HalfCell, mesh: Mesh, tally: Tally, *, protocol_step: int, reason: str, current_1C: float | None = None
) -> dict[str, Any]:
    """Content of summary.json; numbers that a failed balance discredits are None, with a warning that says so.

    Capacity and energy are net sums over the protocol, positive in discharge. Per mass they refer to all active
    material of the model's image, connected or not, at the density of its set.

    Parameters
    ----------
    cell, mesh
        The model and its mesh.
    tally
        Sums up to the last state.
    protocol_step, reason
        Where in the protocol the run ended, and why as the integrator says.
    current_1C
        What 1 C means, A/m2; by default what connected and wetted active material holds.
    """
    area = cell.network.cross_section
    active_volume = float(mesh.volume[mesh.in_phase(ACTIVE)].sum())
    connected = float(cell.network.solid_volume[cell.network.counts_for_capacity].sum())
    mass = active_volume * cell.parameters.active.density
    sound = all(getattr(tally, name) <= LARGEST_IMBALANCE for name in BALANCES)
    charge, energy = (value / SECONDS_PER_HOUR if sound else None for value in (tally.charge, tally.energy))
    return {
        "kind": "resolved",
        "stop": {
            "reason": stop_reason(reason, tally.now.outside_share),
            "step": protocol_step,
            "time_s": float(tally.now.time),
        },
        "capacity_Ah_m2": _over(charge, area),
        "capacity_mAh_g": _over(charge, mass),  # Ah/kg
        "energy_Wh_m2": _over(energy, area),
        "energy_Wh_kg_active": _over(energy, mass),
        "mean_voltage_V": _mean_voltage(charge, energy, tally),
        "current_1C_A_m2": cell.capacity / SECONDS_PER_HOUR / area if current_1C is None else current_1C,
        "electrode_area_m2": area,
        "thickness_m": float(mesh.volume[~mesh.in_phase(SEPARATOR)].sum()) / area,
        "active_disconnected_fraction": 1.0 - connected / active_volume,
        **{name: getattr(tally, name) for name in BALANCES},
        "cells": mesh.n_cells,
        "unknowns": cell.layout.size,
        "warnings": [*_failed_checks(tally), *_outside_ranges(cell, tally), *_geometry_warnings(cell, mesh)],
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
            f"the losses miss U(x_mean) - V by up to {tally.loss_mismatch:.1e} V, allowed is {LARGEST_MISMATCH:g} V: "
            "they are left empty in timeseries.csv there"
        )
    return found


def _outside_ranges(cell: HalfCell, tally: Tally) -> list[str]:
    found = []
    active, electrolyte = cell.parameters.active, cell.parameters.electrolyte
    if tally.outside_share > 0.0:
        found.append(
            f"up to {tally.outside_share:.1%} of the reacting surface was outside the range x = {active.fitted[0]:g} "
            f"to {active.fitted[1]:g} in which '{active.name}' was fitted; U continues there by its end slope"
        )
    low, high = electrolyte.fitted
    if tally.c_e[0] < low or tally.c_e[1] > high:
        found.append(
            f"c_e ran from {tally.c_e[0]:.0f} to {tally.c_e[1]:.0f} mol/m3; '{electrolyte.name}' was fitted from "
            f"{low:g} to {high:g} mol/m3"
        )
    return found


def _geometry_warnings(cell: HalfCell, mesh: Mesh) -> list[str]:
    found = [
        f"{part.potential} of {part.cells} {part.phase} cells ({part.volume_share:.2%} of the phase) has no path to "
        "the counter electrode; they were left out"
        for part in cell.network.determined.left_out
    ]
    floored = sum(int(np.count_nonzero(pair.cosine == FLOOR)) for pair in mesh.interfaces)
    if floored:
        faces = sum(pair.cosine.size for pair in mesh.interfaces)
        found.append(
            f"{floored} of {faces} interface faces ({floored / faces:.2%}) lie almost along the surface that they "
            f"stand for; their area was raised to {FLOOR:g} of the voxel face"
        )
    return found
