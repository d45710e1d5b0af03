"""Variable-step BDF2 as pure functions of the last states; backward Euler while there is only one.

With omega = dt / dt_previous the formula (Hairer, Norsett and Wanner, Solving ODEs I, section III.5) is

    du/dt = a (u - u_star),    a = (1 + 2 omega) / ((1 + omega) dt),
    u_star = ((1 + omega)^2 u_n - omega^2 u_{n-1}) / (1 + 2 omega).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def implicit_rate(times: Sequence[float], states: Sequence[Floats], dt: float) -> tuple[float, Floats]:
    """Factor a (1/s) and state u_star of du/dt = a (u - u_star) at times[-1] + dt."""
    if len(times) == 1:
        return 1.0 / dt, states[-1]
    omega = dt / (times[-1] - times[-2])
    a = (1.0 + 2.0 * omega) / ((1.0 + omega) * dt)
    weight = omega**2 / (1.0 + 2.0 * omega)
    return a, states[-1] + weight * (states[-1] - states[-2])


def extrapolate(times: Sequence[float], states: Sequence[Floats], time: float) -> Floats:
    """Polynomial through the given states at another time: the predictor, and the dense output between steps."""
    out = np.zeros_like(states[-1])
    for k, state in enumerate(states):
        weight = 1.0
        for m, other in enumerate(times):
            if m != k:
                weight *= (time - other) / (times[k] - other)
        out += weight * state
    return out


def error_factor(times: Sequence[float], dt: float) -> float:
    """Local error of the step as a share of (solution - prediction), from the error constants of both.

    The prediction is the polynomial through the last one, two or three states.
    """
    if len(times) == 1:
        # no history: half the difference to the state before, which is half of backward Euler's error at a start like a
        # square root of time, and far more than it at a smooth one
        return 0.5
    previous = times[-1] - times[-2]
    if len(times) == 2:
        # no third derivative yet: a third of the difference to the straight line bounds it for steps that grow by two
        return 1.0 / 3.0
    formula = dt**2 * (dt + previous) ** 2 / (6.0 * (2.0 * dt + previous))
    prediction = dt * (dt + previous) * (dt + times[-1] - times[-3]) / 6.0
    return formula / (formula + prediction)
