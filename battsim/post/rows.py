"""Rows of the tables that grow while a cell runs: timeseries.csv and steps.csv."""

from __future__ import annotations

from battsim.constants import SECONDS_PER_HOUR
from battsim.materials.charge import soc_at_stoichiometry
from battsim.models.cell.equations import Cell, Evaluation
from battsim.post.heat import HEATS
from battsim.post.tally import ElectrodeState, Snapshot, Tally
from battsim.solvers.stepping import Step

Row = dict[str, float | int | None]

LARGEST_MISMATCH = 1e-6
"""Of the losses' sum, and of the first law over the current scale, V."""
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
