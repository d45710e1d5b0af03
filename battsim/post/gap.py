"""How far one curve of a cell is from another: voltage at equal capacity, capacity at the end, and loss by loss.

Curves are compared at equal charge, uniformly in charge, from 60 s over the C-rate (double layers and the first jump of
the concentrations are over then) to 95 % of the smaller end capacity (before either curve plunges).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from battsim.constants import SECONDS_PER_HOUR
from battsim.errors import InputError
from battsim.post.rows import LOSSES

Floats = NDArray[np.float64]

START, END = 60.0, 0.95
"""s at 1 C and inversely more at other rates; share of the smaller end capacity."""
POINTS = 2001


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One step of a protocol at a current that keeps its direction.

    Attributes
    ----------
    time, capacity
        Since the step began, shape (n,), s and Ah/m2; the capacity grows in discharge and in charge.
    voltage
        V.
    losses
        By name, V; NaN where a result has none.
    """

    time: Floats
    capacity: Floats
    voltage: Floats
    losses: Mapping[str, Floats]

    @property
    def mean_current(self) -> float:
        """Mean of the magnitude of the current, A/m2."""
        return float(self.capacity[-1]) * SECONDS_PER_HOUR / float(self.time[-1])

    def at(self, capacity: Floats) -> Floats:
        """Voltage at capacities within the curve, V."""
        return np.asarray(PchipInterpolator(self.capacity, self.voltage)(capacity))

    def loss_at(self, name: str, capacity: Floats) -> Floats:
        """A loss at capacities within the curve, V; NaN where the curve lacks it."""
        return np.interp(capacity, self.capacity, self.losses[name])


def curve_of(columns: Mapping[str, Floats], step: int) -> Curve | None:
    """One protocol step of a time series; None where it passes no charge, or fewer than three states.

    Parameters
    ----------
    columns
        Of timeseries.csv, by name, shape (n_rows,).
    step
        Number of the step.
    """
    rows = np.flatnonzero(columns["step"] == step)
    if rows.size < 3:
        return None
    capacity = np.abs(columns["capacity_Ah_m2"][rows] - columns["capacity_Ah_m2"][rows[0]])
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(capacity)) > 0.0])
    if np.count_nonzero(keep) < 3 or np.any(np.diff(capacity) < 0.0):
        return None
    rows, none = rows[keep], np.full(np.count_nonzero(keep), np.nan)
    return Curve(
        time=columns["time_s"][rows] - columns["time_s"][rows[0]],
        capacity=capacity[keep],
        voltage=columns["voltage_V"][rows],
        losses={name: columns[f"loss_{name}_V"][rows] if f"loss_{name}_V" in columns else none for name in LOSSES},
    )


def common_capacities(curves: Sequence[Curve], rate: float) -> Floats:
    """Capacities at which curves are compared, uniform, shape (POINTS,), Ah/m2.

    Parameters
    ----------
    curves
        The first is the one whose start counts.
    rate
        C-rate, positive.

    Raises
    ------
    InputError
        Where nothing is left between the start and the end.
    """
    first = curves[0]
    start = float(np.interp(START / rate, first.time, first.capacity))
    end = END * min(float(curve.capacity[-1]) for curve in curves)
    if not start < end:
        raise InputError(
            f"there is nothing to compare: the window starts {START / rate:.3g} s after the step began, at "
            f"{start:.4g} Ah/m2, and ends at {end:.4g} Ah/m2, {END:.0%} of the smaller end capacity"
        )
    return np.linspace(start, end, POINTS)


def gap(reference: Curve, other: Curve, capacities: Floats) -> dict[str, Any]:
    """How far `other` is from `reference`; differences are other minus reference, losses are means over the window.

    Parameters
    ----------
    capacities
        Where both are compared, uniform, Ah/m2.
    """
    difference = other.at(capacities) - reference.at(capacities)
    return {
        "capacity_Ah_m2": float(other.capacity[-1]),
        "capacity_ratio": float(other.capacity[-1] / reference.capacity[-1]),
        "voltage_rms_V": float(np.sqrt(np.mean(difference**2))),
        "mean_voltage_difference_V": float(np.mean(difference)),
        "largest_voltage_difference_V": float(difference[np.abs(difference).argmax()]),
        "losses": {name: _loss(reference, other, name, capacities) for name in LOSSES},
    }


def _loss(reference: Curve, other: Curve, name: str, capacities: Floats) -> dict[str, float | None]:
    theirs, ours = (float(np.mean(curve.loss_at(name, capacities))) for curve in (other, reference))
    return {"mean_V": _number(theirs), "difference_V": _number(theirs - ours)}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def rungs(names: Sequence[str], curves: Sequence[Curve], capacities: Floats) -> list[dict[str, Any]]:
    """What each rung of a ladder changes: mean voltage and end capacity, and their steps from the rung before.

    Parameters
    ----------
    names, curves
        From the first rung to the last.
    capacities
        Where the voltages are averaged, within all curves, Ah/m2.
    """
    means = [float(np.mean(curve.at(capacities))) for curve in curves]
    ends = [float(curve.capacity[-1]) for curve in curves]
    return [
        {
            "rung": name,
            "mean_voltage_V": means[k],
            "capacity_Ah_m2": ends[k],
            "dV": means[k] - means[k - 1] if k else None,
            "dQ_Ah_m2": ends[k] - ends[k - 1] if k else None,
        }
        for k, name in enumerate(names)
    ]


def gap_rows(reference: Curve, others: Mapping[str, Curve], capacities: Floats) -> tuple[tuple[str, ...], Floats]:
    """Columns and rows of gap.csv: voltages at equal capacity, and how much more each loss of the others is, V."""
    names, columns = ["capacity_Ah_m2", "voltage_V"], [capacities, reference.at(capacities)]
    for name, curve in others.items():
        names += [f"{name}_voltage_V", f"{name}_difference_V"]
        columns += [curve.at(capacities), curve.at(capacities) - columns[1]]
        for loss in LOSSES:
            names.append(f"{name}_more_{loss}_V")
            columns.append(curve.loss_at(loss, capacities) - reference.loss_at(loss, capacities))
    return tuple(names), np.stack(columns, axis=1)
