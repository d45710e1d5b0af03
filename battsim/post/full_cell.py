"""What the summary of a full cell says beside that of every cell: its balance, and how near lithium came to plating."""

from __future__ import annotations

from typing import Any

from battsim.constants import SECONDS_PER_HOUR
from battsim.models.cell.equations import Cell
from battsim.models.cell.places import Places
from battsim.post.tally import Tally


def full_cell_entries(cell: Cell, tally: Tally, places: Places) -> dict[str, Any]:
    """Capacity ratio, cyclable lithium, both electrodes, and the plating margin of a run.

    The electrodes' capacities lie between the limits of their materials, and nothing is balanced: the ratio is that of
    the negative to the positive one, and what can pass between them is the lithium above the lower limit of both at
    the start.
    """
    per_area = 1.0 / (SECONDS_PER_HOUR * cell.network.cross_section)
    capacity = [cell.electrode_capacity(electrode) for electrode in cell.electrodes]
    started = [state.x_mean for state in tally.start.electrodes]
    lithium = [_above_limit(cell, k, x) for k, x in enumerate(started)]
    return {
        "capacity_ratio": capacity[0] / capacity[1],
        "cyclable_lithium_Ah_m2": sum(lithium) * per_area,
        "electrodes": {
            electrode.name: {
                "material": electrode.material.name,
                "capacity_Ah_m2": capacity[k] * per_area,
                "cyclable_lithium_Ah_m2": lithium[k] * per_area,
                "x_start": started[k],
                "x_end": tally.now.electrodes[k].x_mean,
                "x_outside_fit_share": tally.outside_share[k],
            }
            for k, electrode in enumerate(cell.electrodes)
        },
        "plating_margin": _plating(cell, tally, places),
    }


def _above_limit(cell: Cell, number: int, x: float) -> float:
    """Lithium of an electrode at stoichiometry x that is more than its material's lower limit asks for, C."""
    material = cell.electrodes[number].material
    low, high = sorted((material.stoichiometry_soc0, material.stoichiometry_soc100))
    return cell.electrode_capacity(cell.electrodes[number]) * (x - low) / (high - low)


def _plating(cell: Cell, tally: Tally, places: Places) -> dict[str, Any]:
    """The smallest margin with its time and place, and when and where it first fell below zero."""
    found = tally.plating
    assert found is not None
    solid = cell.network.reactive.solid

    def at(time: float, face: int) -> dict[str, Any]:
        return {"time_s": float(time), "place": places.of("x", int(solid[face]))}

    first = None if found.below_zero is None else at(*found.below_zero)
    return {"minimum_V": found.margin, **at(found.time, found.face), "below_zero": first}
