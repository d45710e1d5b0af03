"""The summary of a cell run, with the checks that its numbers rest on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from battsim.constants import SECONDS_PER_HOUR
from battsim.models.cell.equations import Cell
from battsim.post.rows import LARGEST_MISMATCH
from battsim.post.tally import Tally

LARGEST_IMBALANCE = 1e-8
"""Past it in any of BALANCES no number stands."""
BALANCES = ("lithium_imbalance", "charge_imbalance", "salt_drift")
"""Of lithium over the charge exchanged, of current over the current scale, of salt over its inventory."""
SATURATED = 0.5
"""Share of the reacting area outside the fitted range past which a voltage limit was met by saturating."""


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
